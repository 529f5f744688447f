//! Files that are wrong in ways nobody thought of: whatever is in them, they are taken or refused with
//! diagnostics that say where and what, and nothing panics.

use std::fmt::Write as _;
use std::path::Path;

use resh::config::{self, Board};
use resh::diagnostic::Diagnostic;
use resh::system::overlay::{Source, merge};
use resh::system::{System, authority};

const DESCRIPTION: &str = include_str!("../../../microkit-system.xml");

const SEED: u64 = 0x5245_5348;

/// Xorshift (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}

/// What is likely to hurt.
const ODD: &[&str] = &[
    "",
    "0",
    "-1",
    "62",
    "255",
    "0x",
    "0x1001",
    "0xffffffffffffffff",
    "18446744073709551616",
    "1e9",
    "ä",
    "\u{0}",
    "\r",
    "\"",
    "'",
    "<",
    ">",
    "<!--",
    "]]>",
    "&lt;",
    "[",
    "]]",
    "[[service]]",
    "{",
    "=",
    "#",
    "::",
    "[::]:0",
    "255.255.255.255/32",
    "::/128",
    "1.2.3.4/31",
    "nan",
    "1979-05-27",
    "\"\"\"",
    "monitor",
];

/// The text with one to four pieces removed, doubled, moved or replaced.
fn mutate(text: &str, random: &mut Random) -> String {
    let mut text = text.to_owned();
    for _ in 0..=random.below(4) {
        let boundaries: Vec<_> = text.char_indices().map(|(at, _)| at).collect();
        if boundaries.len() < 2 {
            break;
        }
        let start = boundaries[random.below(boundaries.len())];
        let longest = if random.below(4) == 0 { 400 } else { 12 };
        let mut end = (start + random.below(longest)).min(text.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        let piece = text[start..end].to_owned();
        match random.below(4) {
            0 => text.replace_range(start..end, ""),
            1 => text.insert_str(start, &piece),
            2 => {
                text.replace_range(start..end, "");
                let mut to = random.below(text.len() + 1);
                while !text.is_char_boundary(to) {
                    to += 1;
                }
                text.insert_str(to, &piece);
            }
            _ => text.replace_range(start..end, ODD[random.below(ODD.len())]),
        }
    }
    text
}

fn demand_useful(text: &str, diagnostics: &[Diagnostic]) {
    assert!(!diagnostics.is_empty());
    let lines = |text: &str| u32::try_from(text.split('\n').count()).unwrap();
    let lines = lines(text).max(lines(DESCRIPTION));
    for found in diagnostics {
        let mut shown = String::new();
        write!(shown, "{found}").unwrap();
        let position = found.position.unwrap();
        assert!((1..=lines).contains(&position.line) && position.column >= 1, "{shown}");
        assert!(!found.problem.is_empty() && !found.hint.is_empty(), "{shown}");
    }
}

/// Mutates each text `rounds` times and returns how many were taken and how many were refused.
fn mutations(
    texts: &[String],
    rounds: usize,
    findings: impl Fn(&str) -> Vec<Diagnostic>,
) -> (usize, usize) {
    println!("seed {SEED:#x}");
    let mut random = Random(SEED);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..rounds {
        for text in texts {
            let text = mutate(text, &mut random);
            let found = findings(&text);
            if found.is_empty() {
                taken += 1;
            } else {
                refused += 1;
                demand_useful(&text, &found);
            }
        }
    }
    (taken, refused)
}

#[test]
fn system_descriptions() {
    let (taken, refused) =
        mutations(&[DESCRIPTION.to_owned()], 3_000, |text| match System::parse(text) {
            Ok(system) => authority::check(&system),
            Err(diagnostics) => diagnostics,
        });
    assert!(taken > 100 && refused > 1_000, "{taken} taken, {refused} refused");
}

#[test]
fn additions_of_a_board() {
    let board = include_str!("../../qemu_virt_aarch64/board.xml").to_owned();
    let system = Source { file: "microkit-system.xml", text: DESCRIPTION };
    let (taken, refused) = mutations(&[board], 2_000, |text| {
        let merged = merge(system, Source { file: "board.xml", text });
        merged.and_then(|merged| merged.check()).err().unwrap_or_default()
    });
    assert!(taken > 100 && refused > 500, "{taken} taken, {refused} refused");
}

fn check(text: &str) -> Vec<Diagnostic> {
    check_for(Board::Linux, text)
}

fn check_for(board: Board, text: &str) -> Vec<Diagnostic> {
    match config::check_for(board, text, "resh.toml", &|_| None) {
        Ok(checked) => {
            assert_eq!(checked.appliance.validate(), Ok(()), "{text}");
            Vec::new()
        }
        Err(diagnostics) => diagnostics,
    }
}

#[test]
fn configurations() {
    let example = include_str!("../../../docs/example.toml").to_owned();
    let (taken, refused) = mutations(&[example], 3_000, check);
    assert!(taken > 100 && refused > 1_000, "{taken} taken, {refused} refused");
}

#[test]
fn configurations_with_guests() {
    let example = include_str!("../../qemu_virt_aarch64/resh.toml").to_owned();
    let check = |text: &str| check_for(Board::WithGuests, text);
    let (taken, refused) = mutations(&[example], 3_000, check);
    assert!(taken > 100 && refused > 1_000, "{taken} taken, {refused} refused");
}

#[test]
fn configurations_that_are_wrong_already() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut texts: Vec<_> = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    texts.sort();
    let (_, refused) = mutations(&texts, 50, check);
    assert!(refused > 1_000, "{refused} refused");
}
