//! The sockets on which the monitor answers. They are opened here, so that they outlive it.

use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use resh_channel::config::Appliance;

use crate::monitor;

/// Listening sockets of an appliance's monitor. The Unix socket's name goes when this is dropped.
pub(super) struct Listeners {
    unix: UnixListener,
    tcp: Option<TcpListener>,
    path: PathBuf,
}

impl Listeners {
    /// Opens the control socket `<dir>/<name>.sock` and, if configured, the metrics address.
    pub(super) fn open(appliance: &Appliance, dir: &Path) -> Result<Self, String> {
        let path = dir.join(format!("{}.sock", appliance.name));
        let shown = path.display();
        if UnixStream::connect(&path).is_ok() {
            return Err(format!("an appliance named `{}` is running: {shown}", appliance.name));
        }
        // What a process that was killed left behind.
        let _ = std::fs::remove_file(&path);
        let unix = UnixListener::bind(&path).map_err(|error| format!("{shown}: {error}"))?;
        unix.set_nonblocking(true).map_err(|error| format!("{shown}: {error}"))?;
        let tcp = match appliance.metrics {
            None => None,
            Some(address) => {
                let tcp = TcpListener::bind(address)
                    .and_then(|tcp| tcp.set_nonblocking(true).map(|()| tcp))
                    .map_err(|error| format!("metrics: cannot listen on {address}: {error}"))?;
                Some(tcp)
            }
        };
        Ok(Self { unix, tcp, path })
    }

    /// The descriptors for the monitor, by name.
    pub(super) fn descriptors(&self) -> Vec<(String, RawFd)> {
        let mut named = vec![(monitor::UNIX_DESCRIPTOR.to_owned(), self.unix.as_raw_fd())];
        if let Some(tcp) = &self.tcp {
            named.push((monitor::TCP_DESCRIPTOR.to_owned(), tcp.as_raw_fd()));
        }
        named
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
