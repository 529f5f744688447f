//! System descriptions that Microkit would take and RESH must not, each one edit away from the real one.

#[path = "../board/mod.rs"]
mod board;
mod channels;
#[path = "../description/mod.rs"]
mod description;
mod devices;
mod pages;
mod parents;
mod replicas;
mod rings;
mod schedule;

use description::wrong;

/// Gives the domain one more element.
#[track_caller]
fn added(domain: &str, program: &str, element: &str, place: &str, words: &[&str]) {
    let program = format!("<program_image path=\"{program}.elf\" />");
    let to = format!("{program}{element}");
    wrong(&format!("<protection_domain name=\"{domain}\""), &program, &to, 0, place, words);
}

/// Changes something in the domain.
#[track_caller]
fn changed(domain: &str, from: &str, to: &str, place: &str, words: &[&str]) {
    wrong(&format!("<protection_domain name=\"{domain}\""), from, to, 0, place, words);
}

/// Connects two domains.
#[track_caller]
fn connected(one: &str, other: &str, words: &[&str]) {
    let channel = format!(
        "<channel><end pd=\"{one}\" id=\"40\" /><end pd=\"{other}\" id=\"41\" /></channel><!-- Both"
    );
    wrong("<system>", "<!-- Both", &channel, 0, "<end pd>", words);
}
