//! Copies between private and shared memory.
#![cfg(not(loom))]

mod common;

use common::*;
use resh_channel::memory::{Bytes, copy_across, copy_in};

#[test]
fn bytes_are_cut_as_slices_are() {
    let memory = words(40);
    let source: Vec<u8> = (0..=255).collect();
    assert_eq!(copy_in(&memory, &source), 256);
    for skip in 0..40 {
        for len in 0..60 {
            let bytes = Bytes::new(&memory, 256).skip(skip).take(len);
            let mut out = vec![0xee; len + 3];
            assert_eq!(bytes.copy_to(&mut out), len);
            assert_eq!(out[..len], source[skip..skip + len]);
            assert_eq!(out[len..], [0xee; 3]);
            assert_eq!(bytes.copy_to(&mut out[..len / 2]), len / 2);
            let across = words(len.div_ceil(8) + 1);
            set(&across, len.div_ceil(8), 7);
            assert_eq!(copy_across(&across[..len.div_ceil(8)], bytes), len);
            let mut back = vec![0; len];
            Bytes::new(&across, len).copy_to(&mut back);
            assert_eq!(back, source[skip..skip + len]);
            assert_eq!(get(&across, len.div_ceil(8)), 7, "not a word further");
            if len % 8 > 0 {
                assert_eq!(get(&across, len / 8).to_ne_bytes()[len % 8..], [0; 8][len % 8..]);
            }
        }
    }
    let end = Bytes::new(&memory, usize::MAX).skip(319);
    assert_eq!((end.len(), end.skip(5).len(), end.skip(usize::MAX).len()), (1, 0, 0));
    assert_eq!(end.skip(1).copy_to(&mut [0; 4]), 0);
    assert_eq!(copy_in(&[], &source), 0);
    assert_eq!(copy_across(&memory[..1], end), 1);
}

#[test]
fn long_copies_agree_with_slices() {
    let mut rng = Rng(0x5eed_0001);
    let source = pattern(1, 70_000);
    let memory = words(70_000 / 8);
    assert_eq!(copy_in(&memory, &source), 70_000);
    for round in 0..2000 {
        let skip = rng.below(70_000) as usize;
        let len = rng.below(1 + (70_000 - skip as u64).min(20_000)) as usize;
        let bytes = Bytes::new(&memory, 70_000).skip(skip).take(len);
        let mut out = vec![0; len];
        assert_eq!(bytes.copy_to(&mut out), len);
        assert!(out == source[skip..skip + len], "copy_to, round {round}: {skip} {len}");
        let other = words(len.div_ceil(8));
        assert_eq!(copy_across(&other, bytes), len);
        Bytes::new(&other, len).copy_to(&mut out);
        assert!(out == source[skip..skip + len], "copy_across, round {round}: {skip} {len}");
        assert_eq!(copy_in(&other, &source[..len]), len);
        Bytes::new(&other, len).copy_to(&mut out);
        assert!(out == source[..len], "copy_in, round {round}: {len}");
    }
}
