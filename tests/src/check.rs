//! `resh check`: a wrong file is refused before anything starts, with its line, its key, and what would be
//! right. Each file in `boards/linux/tests/wrong/` says itself, behind the line it is about, what is wrong:
//! `# wrong: key | words of the message | more words`.

use std::fs;
use std::process::Command;

use resh_tests::appliance::resh;
use resh_tests::ensure;
use resh_tests::harness::{CaseResult, Context, project_root};

pub(crate) fn wrong_files(_: &Context) -> CaseResult {
    let program = resh()?;
    let mut files: Vec<_> = fs::read_dir(project_root().join("boards/linux/tests/wrong"))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    for path in &files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(path)?;
        let output = Command::new(&program).arg("check").arg(path).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        ensure!(!output.status.success(), "{name} was found right: {said}");
        let mut marks = 0;
        for (index, line) in text.lines().enumerate() {
            for mark in line.split("# wrong: ").skip(1) {
                marks += 1;
                // A message is one line: `file:line:column: key: what is wrong; what would be right`.
                let place = format!("{name}:{}:", index + 1);
                let words: Vec<&str> = mark.split(" | ").map(str::trim).collect();
                let found = said
                    .lines()
                    .any(|said| said.contains(&place) && words.iter().all(|w| said.contains(w)));
                ensure!(found, "{name}: no line has {place} and {words:?} in:\n{said}");
            }
        }
        ensure!(marks > 0, "{name} does not say what is wrong with it");
    }
    ensure!(files.len() >= 30, "only {} wrong files", files.len());
    println!("note: {} wrong files, each with line, key and what would be right", files.len());
    Ok(())
}

pub(crate) fn right_file(_: &Context) -> CaseResult {
    let file = project_root().join("docs/example.toml");
    let output = Command::new(resh()?).arg("check").arg(file).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "docs/example.toml was refused:\n{said}");
    Ok(())
}
