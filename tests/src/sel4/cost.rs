//! What a request costs in instructions, by who executes them: QEMU counts them, so that the figures are the
//! same on every machine.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use resh_tests::ensure;
use resh_tests::harness::{CaseResult, Context, During, Halt, write_between_markers};
use resh_tests::machine::{self, Machine, Start};
use resh_tests::net;
use resh_tests::web::Load;

/// Requests that are counted, on one connection.
const REQUESTS: usize = 200;
/// What is counted, by virtual address: programs by their image base (`build.rs` of the boards), the kernel
/// of seL4 as a hypervisor, and Linux.
const RANGES: &[(&str, u64, u64)] = &[
    ("network", 0x0200_0000, 0x0300_0000),
    ("voter", 0x0300_0000, 0x0400_0000),
    ("gateways with VMMs", 0x0400_0000, 0x0500_0000),
    ("supervisor", 0x0500_0000, 0x0600_0000),
    ("monitor", 0x0600_0000, 0x0700_0000),
    ("timer", 0x0700_0000, 0x0800_0000),
    ("seL4", 0x80_0000_0000, 0x100_0000_0000),
    ("guests: Linux", 0xffff_0000_0000_0000, u64::MAX),
];
/// What is in none of them.
const REST: &str = "guests: servers";

/// The second service of the image: the first replica alone.
const ALONE: &str = "
[[service]]
name = \"alone\"
listen = \"10.0.2.15:81\"
protocol = \"http1\"

[[service.replica]]
name = \"nginx\"
address = \"10.77.0.2:80\"
";

fn read(counts: &Path) -> CaseResult<Vec<u64>> {
    let bytes = std::fs::read(counts).during("the counts")?;
    let (numbers, _) = bytes.as_chunks();
    Ok(numbers.iter().map(|number| u64::from_ne_bytes(*number)).collect())
}

/// Instructions of each range while `work` is done.
fn count(counts: &Path, work: impl FnOnce() -> CaseResult) -> CaseResult<Vec<u64>> {
    let before = read(counts)?;
    work()?;
    Ok(read(counts)?.iter().zip(before).map(|(after, before)| after - before).collect())
}

pub(crate) fn cost(context: &Context) -> CaseResult {
    let plugin = std::env::var_os("RESH_INSTRUCTION_COUNT")
        .ok_or_else(|| Halt::Skip("it needs QEMU's plugin (`cargo xtask test sel4`)".to_owned()))?;
    let appliance = context.dir.join("resh.toml");
    std::fs::write(&appliance, machine::board_toml()? + ALONE)?;
    let appliance = appliance.display().to_string();
    let image = machine::image(&context.dir, &["--appliance", &appliance])?;
    let counts = context.dir.join("counts");
    let mut argument = format!("{},out={}", plugin.display(), counts.display());
    for (number, (_, first, end)) in RANGES.iter().enumerate() {
        let _ = write!(argument, ",r{number}={first:#x}-{end:#x}");
    }
    let start = Start { arguments: vec!["-plugin".to_owned(), argument], icount: false };
    let machine = Machine::serving(&context.dir, &image, &start)?;

    let mut columns = Vec::new();
    for (name, address) in [("N=1", machine.addresses[1]), ("N=3", machine.addresses[0])] {
        let load = Load {
            clients: 1,
            per_connection: REQUESTS,
            ..Load::of(address, "/1k.bin").during(name)?
        };
        load.run(REQUESTS as u64).all_right()?;
        let counted = count(&counts, || load.run(REQUESTS as u64).all_right())?;
        columns.push(counted.iter().map(|count| count / REQUESTS as u64).collect::<Vec<_>>());
    }
    let idle = count(&counts, || {
        std::thread::sleep(Duration::from_secs(5));
        Ok(())
    })?;
    columns.push(idle.iter().map(|count| count / 5).collect());
    let table = table(&columns);
    println!("{table}");
    for line in table.lines() {
        println!("note: {line}");
    }
    ensure!(columns[1][1] > 0 && columns[1][6] > 0, "the voter or the kernel was not counted");
    ensure!(net::accepts(machine.addresses[0]), "the machine is gone");
    if context.write {
        write_between_markers("measurements.md", "instructions", &table)?;
    }
    Ok(())
}

fn table(columns: &[Vec<u64>]) -> String {
    let mut table = String::from(
        "| executed by | per request, N=1 | per request, N=3 | idle, per second |\n|---|---:|---:|---:|\n",
    );
    let names = RANGES.iter().map(|(name, _, _)| *name).chain([REST]);
    let mut sums = vec![0; columns.len()];
    for (row, name) in names.enumerate() {
        let _ = write!(table, "| {name} |");
        for (column, sum) in columns.iter().zip(&mut sums) {
            *sum += column[row];
            let _ = write!(table, " {} |", column[row]);
        }
        table.push('\n');
    }
    let _ = writeln!(table, "| all | {} | {} | {} |", sums[0], sums[1], sums[2]);
    table
}
