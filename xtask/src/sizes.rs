//! `cargo xtask sizes`: lines of code of each part, without comments, blank lines and tests.

use std::fs;
use std::path::Path;

use resh_tests::harness::project_root;

const PARTS: &[&str] = &[
    "channel",
    "pd-network",
    "pd-voter",
    "pd-groupcomm",
    "guest-vmm/gateway",
    "boards/runtime",
    "boards/linux",
    "tests",
    "xtask",
];

/// Prints the table.
pub(crate) fn sizes() -> Result<bool, String> {
    println!("{:20}{:>8}", "part", "lines");
    for part in PARTS {
        let source = project_root().join(part).join("src");
        if source.is_dir() {
            let lines = lines_below(&source).map_err(|error| format!("{part}: {error}"))?;
            println!("{part:20}{lines:>8}");
        }
    }
    Ok(true)
}

fn lines_below(dir: &Path) -> std::io::Result<usize> {
    let mut total = 0;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "tests") {
                total += lines_below(&path)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_name().is_some_and(|name| name != "tests.rs")
        {
            total += lines_of(&fs::read_to_string(path)?);
        }
    }
    Ok(total)
}

/// Lines of code up to the tests, which by custom end a file.
fn lines_of(source: &str) -> usize {
    source
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

#[cfg(test)]
mod tests {
    use super::lines_of;

    #[test]
    fn comments_and_tests_do_not_count() {
        let source = "//! About.\n\nfn one() {\n    // why\n}\n#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(lines_of(source), 2);
    }
}
