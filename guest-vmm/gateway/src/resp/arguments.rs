//! The arguments of a request.

/// The arguments of a request that the scanner has found whole, the name of the command first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arguments<'a> {
    rest: &'a [u8],
    inline: bool,
}

impl<'a> Arguments<'a> {
    /// Those of `request`.
    pub(super) fn of(request: &'a [u8]) -> Self {
        match request.split_first() {
            Some((b'*', _)) => Self { rest: after_line(request), inline: false },
            _ => Self { rest: request, inline: true },
        }
    }

    /// Whether the request is a line.
    pub(super) fn are_inline(&self) -> bool {
        self.inline
    }
}

fn after_line(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|byte| *byte == b'\n').and_then(|at| bytes.get(at + 1..)).unwrap_or(&[])
}

impl<'a> Iterator for Arguments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.inline {
            let start = self.rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
            let rest = &self.rest[start..];
            let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
            let (word, rest) = rest.split_at(end);
            self.rest = rest;
            return Some(word);
        }
        let digits = self.rest.strip_prefix(b"$")?.iter().take_while(|byte| byte.is_ascii_digit());
        let len = digits.fold(0usize, |len, digit| {
            len.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
        });
        let body = after_line(self.rest);
        let argument = body.get(..len)?;
        self.rest = body.get(len + 2..)?;
        Some(argument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn words(request: &[u8]) -> Vec<&[u8]> {
        Arguments::of(request).collect()
    }

    #[test]
    fn arguments() {
        assert_eq!(words(b"*2\r\n$3\r\nGET\r\n$4\r\n\r\n\r\n\r\n"), [&b"GET"[..], b"\r\n\r\n"]);
        assert_eq!(words(b" a\tbc \r\n"), [&b"a"[..], b"bc"]);
        assert_eq!(words(b"\r\n"), [&b""[..]; 0]);
    }
}
