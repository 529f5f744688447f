//! What is missing or wrong before a command can begin. All of it is collected and said at once.

use std::fmt;

/// What is missing or wrong, and what to do about each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    /// Adds that something is wrong, and how to put it right.
    pub(crate) fn report(&mut self, what: impl fmt::Display, hint: impl fmt::Display) {
        self.0.push(format!("{what}; {hint}"));
    }

    /// Adds what is said in the form "what is wrong; what would be right" already.
    pub(crate) fn extend<T: fmt::Display>(&mut self, said: impl IntoIterator<Item = T>) {
        self.0.extend(said.into_iter().map(|one| one.to_string()));
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Nothing if there are none, else all of them as one error.
    ///
    /// # Errors
    /// One line for each.
    pub(crate) fn none(&self) -> Result<(), String> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(self.0[0].clone()),
            n => Err(format!("{n} things are missing or wrong:\n{self}")),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.0 {
            writeln!(f, "  - {one}")?;
        }
        Ok(())
    }
}
