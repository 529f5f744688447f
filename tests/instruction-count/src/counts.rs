//! The counters, in a file.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// Counters by range of addresses.
pub(crate) struct Counts {
    ranges: Vec<Range<u64>>,
    /// One for each range and one for the rest, which live as long as the process.
    first: *mut u64,
}

// SAFETY: only QEMU's generated code follows the pointers that are made from `first`.
unsafe impl Send for Counts {}
// SAFETY: as above.
unsafe impl Sync for Counts {}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

impl Counts {
    /// From arguments `out=FILE` and `NAME=0xFIRST-0xEND`.
    pub(crate) fn new(arguments: &[String]) -> Result<Self, String> {
        let (mut ranges, mut out) = (Vec::new(), None);
        for argument in arguments {
            let wrong = || format!("`{argument}` is neither `out=FILE` nor `NAME=0xFIRST-0xEND`");
            let (name, value) = argument.split_once('=').ok_or_else(wrong)?;
            if name == "out" {
                out = Some(value);
                continue;
            }
            let (first, end) = value.split_once('-').ok_or_else(wrong)?;
            ranges.push(number(first).zip(number(end)).map(|(a, b)| a..b).ok_or_else(wrong)?);
        }
        let out = out.ok_or("`out=FILE` is missing")?;
        let first = map(out, ranges.len() + 1).map_err(|error| format!("{out}: {error}"))?;
        Ok(Self { ranges, first })
    }

    /// Where instructions at `address` are counted.
    pub(crate) fn counter(&self, address: u64) -> *mut u64 {
        let at = self.ranges.iter().position(|range| range.contains(&address));
        // SAFETY: there is one counter more than ranges.
        unsafe { self.first.add(at.unwrap_or(self.ranges.len())) }
    }
}

/// The memory of a new file of `count` numbers, all 0, for as long as the process lives.
fn map(path: &str, count: usize) -> std::io::Result<*mut u64> {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    let bytes = count * size_of::<u64>();
    file.set_len(bytes as u64)?;
    // SAFETY: new memory, at a place of the kernel's choice; it stays when the file is closed.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    if memory == libc::MAP_FAILED {
        return Err(std::io::Error::last_os_error());
    }
    Ok(memory.cast())
}
