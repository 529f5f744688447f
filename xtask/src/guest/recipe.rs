//! What each guest is made of.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use resh_tests::server_config::{self, Place};

use super::tree::{Node, Tree};

/// What a guest is made of. Paths have no leading slash.
pub(super) struct Recipe {
    pub(super) name: &'static str,
    /// The web server as `guest.toml` names it.
    pub(super) server: &'static str,
    /// The package whose version is the web server's.
    pub(super) server_package: &'static str,
    /// Other packages. The libraries that these depend on come by themselves.
    pub(super) packages: &'static [&'static str],
    /// Beginnings of names of libraries that nothing taken here needs.
    pub(super) without: &'static [&'static str],
    /// Packages that depend on a kernel: the first that the archive has.
    pub(super) kernels: &'static [&'static str],
    /// Files taken from the packages; libraries that they need come by themselves.
    pub(super) files: &'static [&'static str],
    /// Links: where, and to what.
    pub(super) links: &'static [(&'static str, &'static str)],
    /// Names of the program `files[0]`, which does the work of several, in `usr/bin`.
    pub(super) applets: &'static [&'static str],
    /// The first part of `/init`.
    pub(super) init: &'static str,
    /// Adds the server's configuration.
    pub(super) configure: fn(&mut Tree, &Tree) -> Result<(), String>,
}

/// The second part of `/init`, the same in all.
pub(super) const INIT_COMMON: &str = include_str!("init/common.sh");
/// Where the document root is in a guest.
pub(super) const SITE: &str = "var/www/html";
/// Kernel modules that a guest loads, after those they depend on.
pub(super) const MODULES: [&str; 2] = ["virtio_mmio", "virtio_net"];
/// The module that sends frames for the fault `flood`.
pub(super) const FLOOD_MODULE: &str = "pktgen";

/// Small tools that `/init` and the CGI programs of the site need.
const TOOLS: &[&str] = &[
    "cat",
    "chmod",
    "cp",
    "date",
    "head",
    "mkdir",
    "mkfifo",
    "mktemp",
    "mount",
    "rm",
    "sha256sum",
    "sleep",
    "tail",
    "touch",
    "insmod",
];

/// The guests, in the order in which the replicas of the example configuration name them.
pub(super) const RECIPES: [Recipe; 4] = [NGINX, LIGHTTPD, APACHE, BUSYBOX];

const NGINX: Recipe = Recipe {
    name: "nginx",
    server: "nginx",
    server_package: "nginx",
    packages: &["nginx-common", "fcgiwrap", "busybox", "util-linux"],
    without: &["libnginx", "libpam", "libcap-ng", "libsmartcols", "libtinfo", "libudev"],
    kernels: &["linux-image-arm64"],
    files: &[
        "usr/bin/busybox",
        "usr/bin/chrt",
        "usr/sbin/nginx",
        "usr/sbin/fcgiwrap",
        "etc/nginx/mime.types",
        "etc/nginx/fastcgi_params",
    ],
    links: &[],
    applets: &["sh", "ip", "start-stop-daemon"],
    init: include_str!("init/nginx.sh"),
    configure: |guest, _| {
        configurations(guest, |place| {
            server_config::nginx(place, Path::new("/run/resh/fcgiwrap.socket"))
        });
        Ok(())
    },
};

const LIGHTTPD: Recipe = Recipe {
    name: "lighttpd",
    server: "lighttpd",
    server_package: "lighttpd",
    packages: &[
        "media-types",
        "dash",
        "coreutils",
        "net-tools",
        "mount",
        "klibc-utils",
        "util-linux",
    ],
    without: &["libpam", "libcap-ng", "libsystemd", "libsmartcols", "libtinfo", "libudev"],
    kernels: &["linux-image-6.12-cloud-arm64", "linux-image-cloud-arm64"],
    files: &[
        "usr/bin/dash",
        "usr/bin/chrt",
        "usr/bin/cat",
        "usr/bin/chmod",
        "usr/bin/cp",
        "usr/bin/date",
        "usr/bin/head",
        "usr/bin/mkdir",
        "usr/bin/mkfifo",
        "usr/bin/mktemp",
        "usr/bin/mount",
        "usr/bin/rm",
        "usr/bin/sha256sum",
        "usr/bin/sleep",
        "usr/bin/tail",
        "usr/bin/touch",
        "usr/sbin/ifconfig",
        "usr/sbin/route",
        "usr/lib/klibc/bin/insmod",
        "usr/sbin/lighttpd",
        "usr/lib/lighttpd/mod_accesslog.so",
        "usr/lib/lighttpd/mod_cgi.so",
        "usr/lib/lighttpd/mod_dirlisting.so",
    ],
    links: &[("usr/bin/sh", "dash"), ("usr/bin/insmod", "../lib/klibc/bin/insmod")],
    applets: &[],
    init: include_str!("init/lighttpd.sh"),
    configure: |guest, pool| {
        let types = match pool.get("etc/mime.types") {
            Some(Node::File(_, types)) => mime_types(&String::from_utf8_lossy(types)),
            _ => String::new(),
        };
        configurations(guest, |place| server_config::lighttpd(place, &types));
        if types.is_empty() {
            Err("no package here has /etc/mime.types".to_owned())
        } else {
            Ok(())
        }
    },
};

const APACHE: Recipe = Recipe {
    name: "apache2",
    server: "apache",
    server_package: "apache2-bin",
    packages: &["apache2", "media-types", "klibc-utils", "toybox"],
    without: &[
        "libaprutil1-",
        "libbrotli",
        "libcurl",
        "libicu",
        "libjansson",
        "libldap",
        "liblua",
        "libnghttp2",
        "libssl",
        "libxml2",
        "libselinux",
        "libprocps",
        "libproc2",
    ],
    kernels: &["linux-image-rt-arm64"],
    files: &[
        "usr/bin/toybox",
        "usr/lib/klibc/bin/sh",
        "usr/lib/klibc/bin/ipconfig",
        "etc/mime.types",
        "usr/sbin/apache2",
        "usr/lib/apache2/modules/mod_cgid.so",
    ],
    links: &[
        ("usr/bin/sh", "../lib/klibc/bin/sh"),
        ("usr/bin/ipconfig", "../lib/klibc/bin/ipconfig"),
    ],
    applets: &["chrt", "ifconfig", "printf"],
    init: include_str!("init/apache2.sh"),
    configure: configure_apache,
};

const BUSYBOX: Recipe = Recipe {
    name: "busybox",
    server: "busybox httpd",
    server_package: "busybox-static",
    packages: &[],
    without: &[],
    kernels: &["linux-image-cloud-arm64", "linux-image-arm64"],
    files: &["usr/bin/busybox"],
    links: &[],
    applets: &["sh", "ip", "renice", "httpd"],
    init: include_str!("init/busybox.sh"),
    configure: |_, _| Ok(()),
};

impl Recipe {
    /// Names in `usr/bin` of the program that does the work of several, if there is one.
    pub(super) fn applets(&self) -> impl Iterator<Item = &'static str> {
        let tools = if self.applets.is_empty() { &[] } else { TOOLS };
        tools.iter().chain(self.applets).copied()
    }
}

/// Writes `server.conf`, and `faults.conf` for a guest with `resh.faults=1`.
fn configurations(guest: &mut Tree, config: impl Fn(Place<'_>) -> String) {
    let root = format!("/{SITE}");
    for (name, fault_log) in [("server", None), ("faults", Some(Path::new("/run/faults")))] {
        let place = Place {
            dir: Path::new("/run/resh"),
            root: Path::new(&root),
            address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80)),
            user: Some("www-data"),
            fault_log,
        };
        let text = config(place);
        guest.put(&format!("etc/resh/{name}.conf"), Node::File(0o644, text.into_bytes()));
    }
}

/// Modules that Debian enables, and their configuration.
fn configure_apache(guest: &mut Tree, pool: &Tree) -> Result<(), String> {
    configurations(guest, server_config::apache);
    const ENABLED: [&str; 18] = [
        "access_compat",
        "alias",
        "auth_basic",
        "authn_core",
        "authn_file",
        "authz_core",
        "authz_host",
        "authz_user",
        "autoindex",
        "deflate",
        "dir",
        "env",
        "filter",
        "mime",
        "mpm_event",
        "negotiation",
        "reqtimeout",
        "setenvif",
    ];
    for module in ENABLED.iter().chain(&["status"]) {
        for kind in ["load", "conf"] {
            let name = format!("{module}.{kind}");
            if let Some(node) = pool.get(&format!("etc/apache2/mods-available/{name}")) {
                guest.put(&format!("etc/apache2/mods-enabled/{name}"), node.clone());
            } else if kind == "load" {
                return Err(format!("the package apache2 has no module {module}"));
            }
        }
        let library = format!("usr/lib/apache2/modules/mod_{module}.so");
        if pool.get(&library).is_some() {
            super::elf::copy(guest, pool, &library)?;
        }
    }
    Ok(())
}

/// lighttpd's table of types from Debian's. What several types claim goes to the first.
fn mime_types(types: &str) -> String {
    let mut text = "mimetype.assign = (\n".to_owned();
    let mut seen = std::collections::BTreeSet::new();
    for line in types.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_ascii_whitespace();
        let Some(kind) = words.next() else { continue };
        let charset = match kind {
            "text/css" | "text/csv" | "text/markdown" | "text/plain" => ";charset=utf-8",
            _ => "",
        };
        for extension in words {
            if seen.insert(extension.to_ascii_lowercase()) {
                text += &format!("  \".{extension}\" => \"{kind}{charset}\",\n");
            }
        }
    }
    text + ")"
}
