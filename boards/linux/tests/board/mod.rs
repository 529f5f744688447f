//! The system description with a board's additions, and edits of those.

use resh::diagnostic::Diagnostic;
use resh::system::System;
use resh::system::overlay::{Source, merge};

pub(crate) const SYSTEM: &str = include_str!("../../../../microkit-system.xml");
pub(crate) const BOARD: &str = include_str!("../../../qemu_virt_aarch64/board.xml");

pub(crate) fn with(board: &str) -> Result<(System, String), Vec<Diagnostic>> {
    let system = Source { file: "microkit-system.xml", text: SYSTEM };
    let merged = merge(system, Source { file: "board.xml", text: board })?;
    Ok((merged.check()?, merged.text().to_owned()))
}

pub(crate) fn listing(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|d| format!("    {d}\n")).collect()
}

/// Replaces the first `from` in the board's file and demands a finding there, on the line of the edit, whose
/// text contains the words.
#[track_caller]
pub(crate) fn wrong(from: &str, to: &str, place: &str, words: &[&str]) {
    let offset = BOARD.find(from).unwrap_or_else(|| panic!("no {from:?} in the board's file"));
    let line = BOARD[..offset].matches('\n').count() as u32 + 1;
    let found = with(&BOARD.replacen(from, to, 1)).expect_err("an edit that is wrong");
    let hit = found.iter().any(|d| {
        let message = d.to_string();
        message.starts_with(&format!("board.xml:{line}:"))
            && d.place == place
            && !d.hint.is_empty()
            && words.iter().all(|word| message.contains(word))
    });
    assert!(hit, "expected line {line}, {place}, {words:?}; found\n{}", listing(&found));
}
