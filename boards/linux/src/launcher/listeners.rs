//! The sockets on which the monitor answers. They are opened here, so that they outlive it.

use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use resh_channel::config::Appliance;

use crate::{monitor, runtime_dir};

/// Listening sockets of an appliance's monitor. The Unix socket's name goes when this is dropped.
pub(super) struct Listeners {
    unix: UnixListener,
    tcp: Option<TcpListener>,
    path: PathBuf,
}

impl Listeners {
    /// Opens the control socket `<dir>/<name>.sock` and, if configured, the metrics address.
    pub(super) fn open(appliance: &Appliance, dir: &Path) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let path = runtime_dir::socket_path(dir, &appliance.name, runtime_dir::STATUS);
        let path = path.map_err(text)?;
        let unix = runtime_dir::listen(&path).map_err(text)?;
        unix.set_nonblocking(true).map_err(text)?;
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
