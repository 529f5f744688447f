//! What is missing or wrong before a command can begin. All of it is collected and said at once.

use std::fmt;

/// Why a command did not do what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Something it needs is not on this machine: what, and how to get it.
    Missing(String),
    /// Something went wrong.
    Failed(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Missing(why) | Self::Failed(why)) = self;
        f.write_str(why)
    }
}

/// What is missing or wrong, and what to do about each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Problems {
    said: Vec<String>,
    /// Whether getting what is missing would not be enough.
    wrong: bool,
}

impl Problems {
    /// Adds that something is not there, and how to get it.
    pub(crate) fn missing(&mut self, what: impl fmt::Display, how: impl fmt::Display) {
        self.said.push(format!("{what}; {how}"));
    }

    /// Adds that something is wrong: `what is wrong; what would be right`.
    pub(crate) fn wrong(&mut self, what: impl fmt::Display) {
        self.said.push(what.to_string());
        self.wrong = true;
    }

    /// Adds that several things are wrong.
    pub(crate) fn all_wrong<T: fmt::Display>(&mut self, all: impl IntoIterator<Item = T>) {
        all.into_iter().for_each(|what| self.wrong(what));
    }

    /// Adds that several things are not there: `what is missing; how to get it`.
    pub(crate) fn all_missing<T: fmt::Display>(&mut self, all: impl IntoIterator<Item = T>) {
        self.said.extend(all.into_iter().map(|what| what.to_string()));
    }

    /// Adds what another command found.
    pub(crate) fn add(&mut self, failure: &Failure) {
        self.said.push(failure.to_string());
        self.wrong |= matches!(failure, Failure::Failed(_));
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.said.len()
    }

    /// Nothing if there are none, else all of them.
    ///
    /// # Errors
    /// One line for each; [`Failure::Missing`] if nothing is wrong.
    pub(crate) fn none(&self) -> Result<(), Failure> {
        let text = match &self.said[..] {
            [] => return Ok(()),
            [one] => one.clone(),
            all => format!("{} things are missing or wrong:\n{self}", all.len()),
        };
        Err(if self.wrong { Failure::Failed(text) } else { Failure::Missing(text) })
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.said.iter().map(|one| format!("  - {one}")).collect();
        f.write_str(&lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, Problems};

    #[test]
    fn what_is_wrong_outweighs_what_is_missing() {
        let mut problems = Problems::default();
        assert_eq!(problems.none(), Ok(()));
        problems.missing("no SDK", "get one");
        assert_eq!(problems.none(), Err(Failure::Missing("no SDK; get one".to_owned())));
        problems.wrong("resh.toml:1:1: unknown key");
        let said =
            "2 things are missing or wrong:\n  - no SDK; get one\n  - resh.toml:1:1: unknown key";
        assert_eq!(problems.none(), Err(Failure::Failed(said.to_owned())));
    }
}
