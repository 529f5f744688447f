//! The guest's memory, as its monitor sees it.
//!
//! The guest may write any byte of it at any time. So it is a slice of atomics, every access is checked
//! against its bounds, and a shared byte is read once: what a caller looks at is a copy of its own.

use core::fmt;
use resh_channel::memory::{AtomicU64, Bytes, Ordering, WORD_BYTES, Words, copy_across, copy_in};

/// The guest's RAM: one range of guest-physical addresses.
#[derive(Clone, Copy)]
pub struct GuestRam<'m> {
    words: &'m Words,
    base: u64,
}

/// A range of guest-physical addresses that is not all in RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutsideRam {
    /// Its first address.
    pub address: u64,
    /// Its length in bytes.
    pub len: u64,
}

impl fmt::Display for OutsideRam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes at {:#x} are not in the guest's RAM", self.len, self.address)
    }
}

impl<'m> GuestRam<'m> {
    /// RAM at guest-physical address `base`, a multiple of eight, with the contents of `words`.
    pub fn new(words: &'m Words, base: u64) -> Self {
        Self { words, base }
    }

    /// Its first address.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        (self.words.len() * WORD_BYTES) as u64
    }

    /// True if there is no RAM.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The memory itself, for a board that cleans caches.
    pub fn words(&self) -> &'m Words {
        self.words
    }

    /// Where in RAM `len` bytes from `address` on are, if all of them are in it.
    fn offset(&self, address: u64, len: u64) -> Result<usize, OutsideRam> {
        let outside = OutsideRam { address, len };
        let offset = address.checked_sub(self.base).ok_or(outside)?;
        let end = offset.checked_add(len).ok_or(outside)?;
        if end > self.len() {
            return Err(outside);
        }
        usize::try_from(offset).map_err(|_| outside)
    }

    /// Whether all of `len` bytes from `address` on are in RAM.
    pub fn check(&self, address: u64, len: u64) -> Result<(), OutsideRam> {
        self.offset(address, len).map(|_| ())
    }

    /// The bytes from `address` on, as memory that may change under the reader's hands.
    pub fn bytes(&self, address: u64, len: u64) -> Result<Bytes<'m>, OutsideRam> {
        let offset = self.offset(address, len)?;
        Ok(Bytes::new(self.words, usize::MAX).skip(offset).take(len as usize))
    }

    /// Copies what is at `address` to all of `to`.
    pub fn read(&self, address: u64, to: &mut [u8]) -> Result<(), OutsideRam> {
        self.bytes(address, to.len() as u64)?.copy_to(to);
        Ok(())
    }

    fn array<const N: usize>(&self, address: u64) -> Result<[u8; N], OutsideRam> {
        let mut bytes = [0; N];
        self.read(address, &mut bytes)?;
        Ok(bytes)
    }

    /// The byte at `address`.
    pub fn read_u8(&self, address: u64) -> Result<u8, OutsideRam> {
        self.array(address).map(u8::from_le_bytes)
    }

    /// The little-endian number at `address`, aligned or not, as the next two.
    pub fn read_u16(&self, address: u64) -> Result<u16, OutsideRam> {
        self.array(address).map(u16::from_le_bytes)
    }

    /// The little-endian number at `address`.
    pub fn read_u32(&self, address: u64) -> Result<u32, OutsideRam> {
        self.array(address).map(u32::from_le_bytes)
    }

    /// The little-endian number at `address`.
    pub fn read_u64(&self, address: u64) -> Result<u64, OutsideRam> {
        self.array(address).map(u64::from_le_bytes)
    }

    /// Copies all of `from` to `address`. No other byte is changed, not even for a moment.
    pub fn write(&self, address: u64, from: &[u8]) -> Result<(), OutsideRam> {
        let offset = self.offset(address, from.len() as u64)?;
        let (first, shift) = (offset / WORD_BYTES, offset % WORD_BYTES);
        // An odd start: the rest of the first word.
        let head = if shift == 0 { 0 } else { (WORD_BYTES - shift).min(from.len()) };
        let (start, rest) = from.split_at(head);
        let (whole, tail) = rest.split_at(rest.len() - rest.len() % WORD_BYTES);
        if let ([word, ..], false) = (&self.words[first..], start.is_empty()) {
            store_part(word, shift, start);
        }
        let after = &self.words[first + usize::from(head > 0)..];
        copy_in(after, whole);
        if let ([word, ..], false) = (&after[whole.len() / WORD_BYTES..], tail.is_empty()) {
            store_part(word, 0, tail);
        }
        Ok(())
    }

    /// Stores `value` at `address`.
    pub fn write_u8(&self, address: u64, value: u8) -> Result<(), OutsideRam> {
        self.write(address, &value.to_le_bytes())
    }

    /// Stores `value` at `address`, little-endian, aligned or not, as the next two.
    pub fn write_u16(&self, address: u64, value: u16) -> Result<(), OutsideRam> {
        self.write(address, &value.to_le_bytes())
    }

    /// Stores `value` at `address`.
    pub fn write_u32(&self, address: u64, value: u32) -> Result<(), OutsideRam> {
        self.write(address, &value.to_le_bytes())
    }

    /// Stores `value` at `address`.
    pub fn write_u64(&self, address: u64, value: u64) -> Result<(), OutsideRam> {
        self.write(address, &value.to_le_bytes())
    }

    /// Copies an image in. `address` must be a multiple of eight (else [`OutsideRam`]); the bytes of the last word after
    /// the image's end become 0.
    pub fn load(&self, address: u64, image: Bytes<'_>) -> Result<(), OutsideRam> {
        let len = image.len() as u64;
        let offset = self.offset(address, len)?;
        if !offset.is_multiple_of(WORD_BYTES) {
            return Err(OutsideRam { address, len });
        }
        copy_across(&self.words[offset / WORD_BYTES..], image);
        Ok(())
    }

    /// Sets all of RAM to 0.
    pub fn clear(&self) {
        for word in self.words {
            word.store(0, Ordering::Relaxed);
        }
    }
}

/// Stores `bytes` from byte `shift` of `word` on; they must end in it. The exclusive or leaves its other
/// bytes alone even if the guest writes them at this moment, and cannot be kept waiting as a
/// compare-and-swap could.
fn store_part(word: &AtomicU64, shift: usize, bytes: &[u8]) {
    let old = word.load(Ordering::Relaxed).to_ne_bytes();
    let mut difference = [0; WORD_BYTES];
    for ((difference, old), new) in difference[shift..].iter_mut().zip(&old[shift..]).zip(bytes) {
        *difference = old ^ new;
    }
    word.fetch_xor(u64::from_ne_bytes(difference), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use resh_channel::memory::words_for;

    const BASE: u64 = 0x4000_0000;

    fn words(bytes: usize) -> Vec<AtomicU64> {
        (0..words_for(bytes)).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn accesses_are_those_of_a_slice() {
        const LEN: usize = 64;
        let source: Vec<u8> = (1..=LEN as u8).collect();
        for start in 0..LEN {
            for len in 0..=LEN - start {
                let words = words(LEN);
                let ram = GuestRam::new(&words, BASE);
                let mut model = [0xa5; LEN];
                ram.write(BASE, &model).unwrap();
                ram.write(BASE + start as u64, &source[..len]).unwrap();
                model[start..start + len].copy_from_slice(&source[..len]);
                let mut all = [0; LEN];
                ram.read(BASE, &mut all).unwrap();
                assert_eq!(all, model, "{start} {len}");
                let mut part = [0; LEN];
                ram.read(BASE + start as u64, &mut part[..len]).unwrap();
                assert_eq!(part[..len], source[..len]);
            }
        }
    }

    #[test]
    fn numbers_are_little_endian_at_any_address() {
        let words = words(32);
        let ram = GuestRam::new(&words, BASE);
        for at in BASE..BASE + 24 {
            ram.write_u64(at, 0x0807_0605_0403_0201).unwrap();
            assert_eq!(ram.read_u8(at), Ok(1));
            assert_eq!(ram.read_u16(at + 1), Ok(0x0302));
            assert_eq!(ram.read_u32(at + 3), Ok(0x0706_0504));
            assert_eq!(ram.read_u64(at), Ok(0x0807_0605_0403_0201));
            ram.write_u8(at, 0xaa).unwrap();
            ram.write_u16(at + 1, 0xbbcc).unwrap();
            ram.write_u32(at + 3, 0xdead_beef).unwrap();
            assert_eq!(ram.read_u64(at), Ok(0x08de_adbe_efbb_ccaa));
        }
    }

    #[test]
    fn nothing_outside_ram_is_reached() {
        let words = words(64);
        let ram = GuestRam::new(&words, BASE);
        assert_eq!((ram.base(), ram.len(), ram.is_empty()), (BASE, 64, false));
        for address in [0, BASE - 1, BASE + 57, BASE + 64, u64::MAX - 7, u64::MAX] {
            let outside = OutsideRam { address, len: 8 };
            assert_eq!(ram.read_u64(address), Err(outside));
            assert_eq!(ram.write_u64(address, 1), Err(outside));
            assert_eq!(ram.check(address, 8), Err(outside));
        }
        for (address, len) in [(BASE, 65), (BASE, u64::MAX), (BASE + 1, u64::MAX), (BASE - 1, 0)] {
            assert!(ram.check(address, len).is_err(), "{address:#x} {len}");
        }
        assert!(ram.check(BASE, 64).is_ok() && ram.check(BASE + 64, 0).is_ok());
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
        assert!(GuestRam::new(&[], BASE).read_u8(BASE).is_err());
    }

    #[test]
    fn images_are_loaded_whole_or_not_at_all() {
        let source = words(24);
        GuestRam::new(&source, 0).write(0, b"an image of twenty bytes").unwrap();
        let words = words(64);
        let ram = GuestRam::new(&words, BASE);
        ram.write(BASE, &[0xff; 64]).unwrap();
        ram.load(BASE + 16, Bytes::new(&source, 20)).unwrap();
        let mut all = [0; 64];
        ram.read(BASE, &mut all).unwrap();
        assert_eq!(all[..16], [0xff; 16]);
        assert_eq!(&all[16..40], b"an image of twenty b\0\0\0\0");
        assert_eq!(all[40..], [0xff; 24]);
        assert!(ram.load(BASE + 48, Bytes::new(&source, 20)).is_err());
        assert!(ram.load(BASE + 4, Bytes::new(&source, 20)).is_err());
        assert_eq!(ram.read_u64(BASE + 48), Ok(u64::MAX));
        ram.clear();
        assert!(words.iter().all(|word| word.load(Ordering::Relaxed) == 0));
    }
}
