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

/// Wrong system descriptions, each one edit away from the real one: what is replaced, by what, and words of
/// the message. (All the rules are tried in `boards/linux/tests/system_errors.rs`.)
const WRONG_EDITS: &[(&str, &str, &[&str])] = &[
    ("name=\"voter\"", "nmae=\"voter\"", &["nmae"]),
    (
        "mr=\"window\" vaddr=\"0x30000000\" perms=\"r\"",
        "mr=\"widnow\" vaddr=\"0x30000000\" perms=\"r\"",
        &["widnow"],
    ),
    ("name=\"config\" size=\"0x10000\"", "name=\"config\" size=\"0x10001\"", &["size"]),
    ("<end pd=\"voter\" id=\"1\" />", "<end pd=\"voter\" id=\"0\" />", &["id"]),
    ("<end pd=\"gateway_2\" id=\"0\" />", "<end pd=\"gateway_9\" id=\"0\" />", &["gateway_9"]),
    ("</system>", "", &["system"]),
];

pub(crate) fn wrong_descriptions(context: &Context) -> CaseResult {
    let program = resh()?;
    let right = fs::read_to_string(project_root().join("microkit-system.xml"))?;
    let config = project_root().join("docs/example.toml");
    let file = context.dir.join("system.xml");
    for (from, to, words) in WRONG_EDITS {
        let Some(at) = right.find(from) else {
            return Err(format!("{from} is not in microkit-system.xml any more").into());
        };
        let line = right[..at].lines().count().max(1);
        fs::write(&file, right.replacen(from, to, 1))?;
        let mut command = Command::new(&program);
        let output = command.arg("check").arg(&config).arg("--system").arg(&file).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success(), "{to:?} in place of {from:?} was found right");
        let place = format!("system.xml:{line}:");
        // Without its end the file is wrong where it ends, or where what was not ended began.
        let placed = said.contains(&place) || (to.is_empty() && said.contains("system.xml:"));
        ensure!(placed, "{from:?}: {place} is not in:\n{said}");
        for words in *words {
            ensure!(said.contains(words), "{from:?}: {words:?} is not in:\n{said}");
        }
    }
    Ok(())
}

pub(crate) fn right_file(_: &Context) -> CaseResult {
    let file = project_root().join("docs/example.toml");
    let output = Command::new(resh()?).arg("check").arg(file).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "docs/example.toml was refused:\n{said}");
    Ok(())
}
