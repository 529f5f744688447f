//! The signals that the supervisor handles, as a descriptor.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use sel4_microkit::linux;

/// What the runtime calls events of this descriptor.
const TOKEN: u32 = 0;

/// SIGCHLD, and those that ask for the end.
pub(super) struct Signals(OwnedFd);

impl Signals {
    /// Blocks them, so that they only show here.
    pub(super) fn block() -> io::Result<Self> {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `set` is initialised by sigemptyset before any other use.
        let fd = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD] {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::sigprocmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
            libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and belongs to nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Has the runtime wake this process when one comes.
    pub(super) fn watch(&self) -> io::Result<()> {
        linux::watch_input(self.0.as_raw_fd(), TOKEN)
    }

    /// Takes all that came, and says whether one of them asks for the end.
    pub(super) fn ask_to_stop(&self) -> bool {
        let mut info = std::mem::MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let mut asked = false;
        loop {
            let len = size_of::<libc::signalfd_siginfo>();
            // SAFETY: `info` is valid for writes of `len` bytes.
            let got = unsafe { libc::read(self.0.as_raw_fd(), info.as_mut_ptr().cast(), len) };
            if got != len as isize {
                return asked;
            }
            // SAFETY: the kernel wrote the whole structure.
            let signal = unsafe { info.assume_init() }.ssi_signo as libc::c_int;
            asked |= signal != libc::SIGCHLD;
        }
    }
}
