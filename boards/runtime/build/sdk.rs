//! What the headers and tables of a Microkit SDK say, as numbers by name.

use std::collections::BTreeMap;

/// The enumerators of every `enum` in the C header `text`, by name.
///
/// Understands what libsel4's headers use: explicit values, values that name an earlier enumerator, and
/// counting on. Lines of the preprocessor are passed over, so the enumerators of every configuration are
/// among the result.
pub fn enumerators(text: &str) -> BTreeMap<String, i64> {
    let text = without_comments(text);
    let mut found = BTreeMap::new();
    for after in text.split("enum ").skip(1) {
        let Some((_, body)) = after.split_once('{') else { continue };
        let Some((body, _)) = body.split_once('}') else { continue };
        let mut next = 0;
        for item in body.split(',') {
            let item = item.trim();
            let (name, value) = match item.split_once('=') {
                Some((name, value)) => {
                    let value = value.trim();
                    (name.trim(), value.parse().ok().or_else(|| found.get(value).copied()))
                }
                None => (item, Some(next)),
            };
            // Not an enumerator, or one with a value that only a compiler can tell.
            let (true, Some(value)) = (is_identifier(name), value) else { continue };
            found.insert(name.to_owned(), value);
            next = value + 1;
        }
    }
    found
}

fn is_identifier(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn without_comments(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("/*") {
        kept.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    kept.push_str(rest);
    let lines = kept.lines().filter(|line| !line.trim_start().starts_with('#'));
    let lines: Vec<&str> = lines.map(|line| line.split("//").next().unwrap_or("")).collect();
    lines.join("\n")
}

/// `VCPUReg_TTBR0` as `TTBR0`, `VCPUFault` as `VCPU_FAULT`: names of C as constants of Rust.
pub fn constant_name(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut constant = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let after_lower = at > 0 && letters[at - 1].is_ascii_lowercase();
        let before_lower = letters.get(at + 1).is_some_and(char::is_ascii_lowercase);
        let after_upper = at > 0 && letters[at - 1].is_ascii_uppercase();
        if letter.is_ascii_uppercase() && (after_lower || (after_upper && before_lower)) {
            constant.push('_');
        }
        constant.push(letter.to_ascii_uppercase());
    }
    constant
}
