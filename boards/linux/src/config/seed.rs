//! What the voter makes its nonces from.

use std::io;

use super::Board;
use super::reader::{Reader, Table};

/// Bytes of a seed.
pub const SEED_BYTES: usize = 32;

/// A seed that nobody can foresee, from the kernel (getrandom(2)).
///
/// # Errors
/// If the kernel has no random numbers.
pub fn fresh_seed() -> io::Result<[u8; SEED_BYTES]> {
    let mut seed = [0; SEED_BYTES];
    let len = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
    // getrandom(2): up to 256 bytes come whole.
    if len == SEED_BYTES { Ok(seed) } else { Err(io::Error::other("too few random numbers")) }
}

/// The seed that the file sets, on a board that has no random numbers at its start.
pub(super) fn seed<'a>(
    reader: &mut Reader<'a>,
    board: Board,
    root: &Table<'a>,
) -> Option<[u8; SEED_BYTES]> {
    if board == Board::Linux {
        if root.has("seed") {
            let place = reader.place_of_key(root, "seed");
            let hint = "remove this key: the kernel gives a new one at each start";
            reader.report(&place, "has no meaning on Linux", hint);
        }
        return None;
    }
    let found = reader.string(root, "seed")?;
    let seed = bytes(found.value).filter(|seed| *seed != [0; SEED_BYTES]);
    if seed.is_none() {
        let hint = format!(
            "write {} hexadecimal digits that nobody can guess, not all 0, or remove this key: each \
             image then gets another one",
            2 * SEED_BYTES
        );
        reader.report(&found.place, format!("{:?} is not a seed", found.value), hint);
    }
    seed
}

fn bytes(text: &str) -> Option<[u8; SEED_BYTES]> {
    let mut seed = [0; SEED_BYTES];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != SEED_BYTES || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in seed.iter_mut().zip(pairs) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_32_bytes_of_hexadecimal() {
        let text = "00ff".repeat(16);
        let seed = bytes(&text).expect("64 digits");
        assert_eq!(seed[..4], [0, 255, 0, 255]);
        assert_eq!(bytes(&text[1..]), None);
        assert_eq!(bytes(&text[2..]), None);
        assert_eq!(bytes(&text.replace('f', "g")), None);
        assert_eq!(bytes(&text.replacen("00", "+0", 1)), None);
    }

    #[test]
    fn every_fresh_seed_is_another_one() {
        assert_ne!(fresh_seed().expect("random"), fresh_seed().expect("random"));
    }
}
