//! Private cookies: values that each replica makes for itself, such as the keys of login sessions.
//!
//! The client gets a surrogate in the place of each, the same from all gateways, because it is made from what
//! they all know: the [nonce](resh_channel::message::Nonce) of the session or request, where the request
//! begins, and which cookie of the response it is. When the client sends the surrogate back, each gateway
//! puts its own replica's value there. A surrogate that it does not know is left out, as if the client had
//! no such cookie.
//!
//! All sessions of a service share one table. It holds [`TOKENS_MAX`] values; the one that was not used for the
//! longest time makes room for a new one.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use sha2::{Digest, Sha256};

/// Values remembered for a service, at most.
pub const TOKENS_MAX: usize = 2048;
/// Longest value that is replaced, in bytes. A longer one is sent as it is, and then differs.
pub const VALUE_BYTES_MAX: usize = 1024;
/// Length of a surrogate as the client sees it: 128 bits in hexadecimal digits.
pub(super) const SURROGATE_TEXT_BYTES: usize = 32;

/// The tokens of one service, shared by the canonicalisers of its sessions.
pub type SharedTokens = Rc<RefCell<Tokens>>;

/// What stands for a private value.
pub(super) type Surrogate = [u8; SURROGATE_TEXT_BYTES / 2];

struct Token {
    cookie: u8,
    surrogate: Surrogate,
    value: heapless::Vec<u8, VALUE_BYTES_MAX>,
    used: u64,
}

/// The tokens of one service.
pub struct Tokens {
    /// Which cookies are private.
    names: Vec<Vec<u8>>,
    tokens: Vec<Token>,
    /// Counts uses.
    uses: u64,
}

impl Tokens {
    /// For a service whose cookies of these names are private. Allocates all it will ever need, about
    /// 2 MiB.
    pub fn new(names: &[&[u8]]) -> Self {
        let names = names.iter().map(|name| name.to_vec()).collect();
        Self { names, tokens: Vec::with_capacity(TOKENS_MAX), uses: 0 }
    }

    /// The number of the private cookie of that name (case matters, RFC 6265, section 5.3).
    pub(super) fn private(&self, name: &[u8]) -> Option<u8> {
        self.names.iter().position(|private| private == name).map(|at| at as u8)
    }

    /// What stands for `value` of the private cookie `cookie`: what stood for it before, or `fresh`. `None`
    /// if it is too long.
    pub(super) fn surrogate(
        &mut self,
        cookie: u8,
        value: &[u8],
        fresh: Surrogate,
    ) -> Option<Surrogate> {
        self.uses += 1;
        let used = self.uses;
        let known = |token: &&mut Token| token.cookie == cookie && token.value == value;
        if let Some(token) = self.tokens.iter_mut().find(known) {
            token.used = used;
            return Some(token.surrogate);
        }
        let value = heapless::Vec::from_slice(value).ok()?;
        let token = Token { cookie, surrogate: fresh, value, used };
        if self.tokens.len() < TOKENS_MAX {
            self.tokens.push(token);
        } else if let Some(oldest) = self.tokens.iter_mut().min_by_key(|token| token.used) {
            *oldest = token;
        }
        Some(fresh)
    }

    /// The value of the private cookie `cookie` that the client's text stands for.
    pub(super) fn value(&mut self, cookie: u8, text: &[u8]) -> Option<&[u8]> {
        let surrogate = parse(text)?;
        self.uses += 1;
        let used = self.uses;
        let known = |token: &&mut Token| token.cookie == cookie && token.surrogate == surrogate;
        let token = self.tokens.iter_mut().find(known)?;
        token.used = used;
        Some(&token.value)
    }
}

/// Where a request stands among all that a service ever got: the same for all gateways, and nobody can
/// foresee it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    /// Of the session, or of the request in total order.
    pub(super) nonce: [u8; 16],
    /// Where the request begins in the session's stream. 0 in total order.
    pub(super) offset: u64,
}

impl Place {
    /// What stands for the value of cookie number `at` of the response.
    pub(super) fn surrogate(&self, at: u32) -> Surrogate {
        let digest = Sha256::new()
            .chain_update(b"RESH cookie")
            .chain_update(self.nonce)
            .chain_update(self.offset.to_le_bytes())
            .chain_update(at.to_le_bytes())
            .finalize();
        let mut surrogate = Surrogate::default();
        surrogate.copy_from_slice(&digest[..size_of::<Surrogate>()]);
        surrogate
    }
}

/// The surrogate as the client sees it.
pub(super) fn text(surrogate: Surrogate) -> [u8; SURROGATE_TEXT_BYTES] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    core::array::from_fn(|at| {
        let byte = surrogate[at / 2];
        DIGITS[usize::from(if at % 2 == 0 { byte >> 4 } else { byte & 15 })]
    })
}

fn parse(text: &[u8]) -> Option<Surrogate> {
    if text.len() != SURROGATE_TEXT_BYTES {
        return None;
    }
    let mut surrogate = Surrogate::default();
    for (byte, pair) in surrogate.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |at: usize| match pair[at] {
            digit @ b'0'..=b'9' => Some(digit - b'0'),
            digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        *byte = digit(0)? << 4 | digit(1)?;
    }
    Some(surrogate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens::new(&[b"sid", b"csrf"])
    }

    #[test]
    fn what_the_client_sends_back_is_what_the_replica_gave() {
        let mut tokens = tokens();
        let place = Place { nonce: [7; 16], offset: 90 };
        let sid = tokens.private(b"sid").unwrap();
        let first = tokens.surrogate(sid, b"secret", place.surrogate(0)).unwrap();
        assert_eq!(first, place.surrogate(0));
        assert_ne!(first, place.surrogate(1));
        // Given again, it is the same.
        assert_eq!(tokens.surrogate(sid, b"secret", place.surrogate(1)), Some(first));
        assert_eq!(tokens.value(sid, &text(first)), Some(&b"secret"[..]));
        // Another cookie of the same value is another one, and forgeries are nothing.
        let csrf = tokens.private(b"csrf").unwrap();
        assert_eq!(tokens.value(csrf, &text(first)), None);
        for forged in [&b"secret"[..], b"", &[b'0'; 32], &[b'A'; 32], &text(first)[..31]] {
            assert_eq!(tokens.value(sid, forged), None);
        }
        assert_eq!(tokens.private(b"SID"), None);
        assert_eq!(tokens.surrogate(sid, &[b'x'; VALUE_BYTES_MAX + 1], first), None);
    }

    #[test]
    fn the_one_not_used_for_the_longest_time_makes_room() {
        let mut tokens = tokens();
        let surrogate = |at: u32| Place::default().surrogate(at);
        for at in 0..TOKENS_MAX as u32 {
            assert!(tokens.surrogate(0, &at.to_le_bytes(), surrogate(at)).is_some());
        }
        assert!(tokens.value(0, &text(surrogate(0))).is_some());
        assert!(tokens.surrogate(0, b"new", surrogate(u32::MAX)).is_some());
        assert!(tokens.value(0, &text(surrogate(0))).is_some(), "used just before");
        assert!(tokens.value(0, &text(surrogate(1))).is_none());
        assert_eq!(tokens.tokens.len(), TOKENS_MAX);
    }
}
