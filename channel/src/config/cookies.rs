//! Names of cookies.

use serde::{Deserialize, Serialize};

/// Cookies of one service that can be named, at most.
pub const COOKIES_MAX: usize = 4;
/// Bytes of the name of a cookie, at most.
pub const COOKIE_NAME_BYTES_MAX: usize = 32;

/// A few names of cookies (RFC 6265, section 4.1.1: tokens).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CookieNames([[u8; COOKIE_NAME_BYTES_MAX]; COOKIES_MAX]);

impl CookieNames {
    /// Adds `name`. False if it is no token of 1 to [`COOKIE_NAME_BYTES_MAX`] bytes, is there already, or there
    /// is no room.
    pub fn insert(&mut self, name: &str) -> bool {
        let fits = (1..=COOKIE_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_token);
        if !fits || self.names().any(|other| other == name.as_bytes()) {
            return false;
        }
        let Some(free) = self.0.iter_mut().find(|slot| slot[0] == 0) else { return false };
        free[..name.len()].copy_from_slice(name.as_bytes());
        true
    }

    /// The names, in the order in which they were added.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(|slot| slot[0] != 0).map(|slot| {
            let len = slot.iter().position(|byte| *byte == 0).unwrap_or(slot.len());
            &slot[..len]
        })
    }

    /// Whether it is what [`insert`](Self::insert) makes.
    pub(super) fn is_valid(&self) -> bool {
        let mut again = Self::default();
        let each =
            self.names().all(|name| core::str::from_utf8(name).is_ok_and(|n| again.insert(n)));
        each && again == *self
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tokens_and_each_once() {
        let mut cookies = CookieNames::default();
        assert!(cookies.insert("sid") && cookies.insert("connect.sid"));
        for wrong in ["", "sid", "a b", "a=b", "a;b", "é", &"x".repeat(33)] {
            assert!(!cookies.insert(wrong), "{wrong:?}");
        }
        assert!(cookies.insert(&"y".repeat(32)) && cookies.insert("z"));
        assert!(!cookies.insert("no room"), "full");
        assert_eq!(
            cookies.names().take(2).collect::<std::vec::Vec<_>>(),
            [&b"sid"[..], b"connect.sid"]
        );
        assert!(cookies.is_valid());
        cookies.0[1] = *b"a=b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        assert!(!cookies.is_valid());
    }
}
