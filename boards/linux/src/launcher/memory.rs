//! The memory regions of the system description, as memfds.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use crate::system::Region;

/// One region. Each right has a descriptor of its own: who holds only the one for reading cannot map
/// the region any other way.
pub struct Memory {
    /// May only be mapped for reading.
    pub readable: OwnedFd,
    /// May be mapped for writing.
    pub writable: OwnedFd,
}

impl Memory {
    /// Memory for `region`, all zero.
    pub fn new(region: &Region) -> io::Result<Self> {
        let name = std::ffi::CString::new(region.name.as_str())?;
        // SAFETY: `name` is a C string that outlives the call.
        let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        let writable = unsafe { OwnedFd::from_raw_fd(fd) };
        let file = File::from(writable);
        file.set_len(region.bytes)?;
        let readable =
            OpenOptions::new().read(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        Ok(Self { readable: readable.into(), writable: file.into() })
    }

    /// Fills the region's beginning before any domain runs.
    pub fn prefill(&self, bytes: &[u8]) -> io::Result<()> {
        File::from(self.writable.try_clone()?).write_all_at(bytes, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::System;

    fn map(fd: &OwnedFd, protection: libc::c_int) -> bool {
        // SAFETY: a fresh mapping that nothing refers to.
        unsafe {
            let at = libc::mmap(
                std::ptr::null_mut(),
                0x1000,
                protection,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            );
            at != libc::MAP_FAILED && libc::munmap(at, 0x1000) == 0
        }
    }

    #[test]
    fn a_readable_descriptor_cannot_be_mapped_for_writing() {
        let system = System::parse(crate::launcher::SYSTEM_XML).expect("the built-in description");
        let memory = Memory::new(&system.regions[0]).expect("a memfd");
        assert!(map(&memory.readable, libc::PROT_READ));
        assert!(!map(&memory.readable, libc::PROT_READ | libc::PROT_WRITE));
        assert!(map(&memory.writable, libc::PROT_READ | libc::PROT_WRITE));
    }
}
