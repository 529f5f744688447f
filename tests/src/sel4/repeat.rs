//! The same run twice: with time counted in instructions nothing is left to chance.

use std::time::Duration;

use resh_tests::ensure;
use resh_tests::harness::{CaseResult, Context};
use resh_tests::machine::{self, Machine, Start};

/// What the network domain's own client says at its end.
const END: &str = "selftest: finished";
/// For three guests to boot while every instruction is counted, twice at once.
const LIMIT: Duration = Duration::from_secs(400);

/// Three guests boot and are voted on, with a client inside the machine: the console is the same twice.
pub(crate) fn deterministic(context: &Context) -> CaseResult {
    let image = machine::image(&context.dir, &["--replace", "network=network_selftest"])?;
    let start = Start { icount: true, ..Start::default() };
    let mut machines = Vec::new();
    for name in ["first", "second"] {
        let dir = context.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        machines.push(Machine::start(&dir, &image, &start)?);
    }
    let mut consoles = Vec::new();
    for machine in &machines {
        machine.wait_console(0, END, LIMIT)?;
        let console = machine.console();
        let end = console.find(END).map_or(0, |at| at + END.len());
        consoles.push(console[..end].to_owned());
    }
    let [first, second] = [&consoles[0], &consoles[1]];
    let same = first.lines().zip(second.lines()).take_while(|(a, b)| a == b).count();
    let line = |console: &str| console.lines().nth(same).unwrap_or_default().to_owned();
    ensure!(first == second, "line {} differs:\n{}\n{}", same + 1, line(first), line(second));
    ensure!(first.contains("selftest: GET /1k.bin: 100 of 100 right"), "not all right:\n{first}");
    println!("note: {} lines of the console, {} bytes, the same twice", same, first.len());
    Ok(())
}
