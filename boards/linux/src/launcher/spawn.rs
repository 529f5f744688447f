//! Starting a domain: a process of this same program, with the descriptors it was granted and no other.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use sel4_microkit::linux::{GrantedChannel, GrantedRegion, Grants};

use super::memory::Memory;
use crate::system::{Domain, System};

/// Subcommand of `resh` that is a domain's process: program, name, and the descriptor of a file with its
/// [`Grants`] follow.
pub const DOMAIN_COMMAND: &str = "__domain";

/// What all domains are made of: every region and every channel end, by the system description.
pub struct Parts<'s> {
    system: &'s System,
    memories: Vec<Memory>,
    /// The eventfd that each channel end waits for: domain, id, descriptor.
    ends: Vec<(usize, u8, OwnedFd)>,
}

impl<'s> Parts<'s> {
    /// Makes the memory and the signals of `system`.
    pub fn new(system: &'s System) -> io::Result<Self> {
        let memories = system.regions.iter().map(Memory::new).collect::<io::Result<_>>()?;
        let mut ends = Vec::new();
        for (index, domain) in system.domains.iter().enumerate() {
            for end in &domain.channels {
                ends.push((index, end.id, eventfd()?));
            }
        }
        Ok(Self { system, memories, ends })
    }

    /// The memory of the region of that name.
    pub fn memory(&self, region: &str) -> Option<&Memory> {
        let index = self.system.regions.iter().position(|candidate| candidate.name == region)?;
        self.memories.get(index)
    }

    fn wait_fd(&self, domain: usize, id: u8) -> RawFd {
        self.ends
            .iter()
            .find(|(owner, number, _)| (*owner, *number) == (domain, id))
            .map_or(-1, |(_, _, fd)| fd.as_raw_fd())
    }

    /// What the system description grants to domain number `index`.
    pub fn grants(&self, index: usize) -> Grants {
        let domain: &Domain = &self.system.domains[index];
        let regions = domain.maps.iter().map(|map| {
            let memory = &self.memories[map.region];
            let fd = if map.rights.write { &memory.writable } else { &memory.readable };
            GrantedRegion {
                symbol: map.symbol.clone().unwrap_or_default(),
                vaddr: map.vaddr,
                len: self.system.regions[map.region].bytes as usize,
                writable: map.rights.write,
                fd: fd.as_raw_fd(),
            }
        });
        let channels = domain.channels.iter().map(|end| GrantedChannel {
            id: end.id,
            wait_fd: self.wait_fd(index, end.id),
            signal_fd: if end.may_notify { self.wait_fd(end.peer_domain, end.peer_id) } else { -1 },
        });
        Grants {
            name: domain.name.clone(),
            regions: regions.collect(),
            channels: channels.collect(),
            variables: Vec::new(),
            descriptors: Vec::new(),
        }
    }
}

fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Starts a domain's process with `grants`, to run `program`.
pub fn spawn(grants: &Grants, program: &str) -> io::Result<Child> {
    let bytes = postcard::to_stdvec(grants).map_err(io::Error::other)?;
    let mut list = anonymous_file()?;
    list.write_all(&bytes)?;
    list.rewind()?;
    let list_fd = list.as_raw_fd();
    let mut inherited = vec![list_fd];
    inherited.extend(grants.regions.iter().map(|region| region.fd));
    inherited.extend(grants.channels.iter().flat_map(|end| [end.wait_fd, end.signal_fd]));
    inherited.extend(grants.descriptors.iter().map(|(_, fd)| *fd));
    let mut command = Command::new("/proc/self/exe");
    command.arg0("resh").args([DOMAIN_COMMAND, program, &grants.name, &list_fd.to_string()]);
    // In a process group of its own: Ctrl-C is for the supervisor.
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    // SAFETY: between fork and exec only system calls on descriptors, and no allocation.
    unsafe {
        command.pre_exec(move || {
            for fd in inherited.iter().filter(|fd| **fd >= 0) {
                if libc::fcntl(*fd, libc::F_SETFD, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command.spawn()
}

fn anonymous_file() -> io::Result<File> {
    // SAFETY: the name is a C string literal.
    let fd = unsafe { libc::memfd_create(c"grants".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and belongs to nobody else.
    Ok(unsafe { File::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_granted_what_the_description_says_and_nothing_else() {
        let system = System::parse(crate::launcher::SYSTEM_XML).expect("the built-in description");
        let system = system.on_linux();
        let parts = Parts::new(&system).expect("memfds and eventfds");
        for (index, domain) in system.domains.iter().enumerate() {
            let grants = parts.grants(index);
            assert_eq!(grants.regions.len(), domain.maps.len());
            for (granted, map) in grants.regions.iter().zip(&domain.maps) {
                let memory = &parts.memories[map.region];
                let right = if map.rights.write { &memory.writable } else { &memory.readable };
                assert_eq!(granted.writable, map.rights.write);
                assert_eq!(granted.fd, right.as_raw_fd(), "{}: {}", domain.name, granted.symbol);
            }
            assert_eq!(grants.channels.len(), domain.channels.len());
            for (granted, end) in grants.channels.iter().zip(&domain.channels) {
                let peer = parts.grants(end.peer_domain);
                let other = peer.channels.iter().find(|other| other.id == end.peer_id);
                assert_eq!(other.map(|other| other.wait_fd), Some(granted.signal_fd));
            }
        }
    }
}
