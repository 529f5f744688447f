//! The same cases over the other TCP/IP stack: smoltcp on a TAP interface, in a network name space of the
//! test's own, so that nothing of the machine's network is touched.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::ensure;
use crate::harness::{CaseResult, Context, Halt, SKIPPED};
use crate::process;

/// Set in the process of a case that is to use smoltcp.
const VARIABLE: &str = "RESH_TEST_SMOLTCP";
/// Addresses of documentation (RFC 5737): nobody's.
const APPLIANCE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Makes the interfaces inside a new name space, the clients' address on one of them, and goes on.
const SET_UP: &str = "
ip link set lo up
ip tuntap add dev resh0 mode tap vnet_hdr
ip address add 192.0.2.2/24 dev resh0
ip link set resh0 up
exec \"$@\"
";

/// The section of `resh.toml` that asks for smoltcp.
pub(crate) const NETWORK_TOML: &str = "[network]
stack = \"smoltcp\"
tap = \"resh0\"
address = \"192.0.2.1/24\"
mac = \"02:00:5e:10:00:01\"
";

/// Whether this process is to use smoltcp.
pub fn is_asked_for() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// A new port on the appliance's own address.
pub(crate) fn address_of_appliance() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(8000);
    SocketAddr::new(IpAddr::V4(APPLIANCE), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs the case `name` again: in a name space of its own, with smoltcp towards its clients.
///
/// # Errors
/// [`Halt::Skip`] if that may not be done here; [`Halt::Fail`] if the case fails.
pub fn run_case(context: &Context, name: &str) -> CaseResult {
    if !process::is_root() {
        return Err(Halt::Skip("a TAP interface needs root".to_owned()));
    }
    if !Path::new("/dev/net/tun").exists() {
        return Err(Halt::Skip("there is no /dev/net/tun".to_owned()));
    }
    process::need_program("ip", "iproute2")?;
    let unshare = process::need_program("unshare", "util-linux")?;
    // The name space and all in it are gone when the last process in it is.
    let status = Command::new(unshare)
        .args(["--net", "sh", "-ec", SET_UP, "sh"])
        .arg(std::env::current_exe()?)
        .args(["--case", name, "--dir"])
        .arg(&context.dir)
        .env(VARIABLE, "1")
        .env("RESH_SEED", context.seed.to_string())
        .stdin(Stdio::null())
        .status()?;
    if status.code() == Some(i32::from(SKIPPED)) {
        return Err(Halt::Skip(format!("{name} was not run")));
    }
    ensure!(status.success(), "over smoltcp {name} ended with {status}");
    Ok(())
}
