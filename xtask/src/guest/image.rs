//! One guest's kernel, initial RAM file system and `guest.toml`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use resh_tests::site::{GUEST_BIG_MEBIBYTES, sha256};

use super::apt::{Apt, Mirror, Package};
use super::recipe::{INIT_COMMON, MODULES, Recipe};
use super::tree::{FILE_TIME_S, Node, Tree};
use super::{cpio, elf, kernel};

/// A guest has 128 MiB, and the file system is there twice while the kernel unpacks it.
const INITRAMFS_LIMIT_BYTES: usize = 40 << 20;

/// A guest, ready to start.
pub(super) struct Image {
    pub(super) name: String,
    software: String,
    pub(super) command_line: String,
    kernel: Vec<u8>,
    initramfs: Vec<u8>,
    /// Which versions it is made of.
    packages: String,
    /// What it was made of, but for the versions of packages.
    inputs: String,
}

/// Packages of a guest, on this computer.
pub(super) struct Packages {
    all: Vec<Package>,
    kernel: Package,
}

/// The big file of the tests' site.
pub(super) fn big_file() -> String {
    format!("{GUEST_BIG_MEBIBYTES}m.bin")
}

/// A digest of what a guest is made of, but for the versions of packages: those change with `--fresh` only.
pub(super) fn inputs(
    recipe: &Recipe,
    site: &Tree,
    mirror: Option<&Mirror>,
    has_big: bool,
) -> String {
    let mut text = format!("{mirror:?} {} {INIT_COMMON} {MODULES:?}", command_line(has_big));
    let Recipe {
        name, server, server_package, packages, without, kernels, files, links, init, ..
    } = recipe;
    let applets: Vec<&str> = recipe.applets().collect();
    let _ = write!(
        text,
        "{name} {server} {server_package} {packages:?} {without:?} {kernels:?} {files:?} {links:?} {init} \
         {applets:?}"
    );
    let mut configuration = Tree::default();
    // What it takes from packages is not here yet; what is written here is all that can change.
    let _ = (recipe.configure)(&mut configuration, &Tree::default());
    configuration.merge(base());
    configuration.merge(site.clone());
    let mut bytes = text.into_bytes();
    bytes.extend(cpio::archive(&configuration));
    sha256(&bytes)
}

/// Gets the packages of a guest.
///
/// # Errors
/// If one cannot be had.
pub(super) fn packages(apt: &Apt, recipe: &Recipe) -> Result<Packages, String> {
    let kernel = apt.first_available(recipe.kernels)?;
    let depends = apt.depends(kernel, "linux-image-")?;
    let kernel =
        depends.first().ok_or_else(|| format!("{kernel} depends on no linux-image package"))?;
    let mut roots = vec![recipe.server_package];
    roots.extend(recipe.packages);
    let mut names = apt.closure(&roots, recipe.without)?;
    names.push(kernel.clone());
    let mut all = apt.get(&names)?;
    let at = all.iter().position(|package| package.name == *kernel);
    let kernel = all.remove(at.ok_or_else(|| format!("apt offers no {kernel}"))?);
    Ok(Packages { all, kernel })
}

impl Image {
    /// Makes a guest of its packages and a document root.
    ///
    /// # Errors
    /// What does not fit.
    pub(super) fn make(
        recipe: &Recipe,
        packages: Packages,
        site: &Tree,
        inputs: &str,
        has_big: bool,
    ) -> Result<Self, String> {
        let mut pool = Tree::default();
        for package in &packages.all {
            package.unpack(&mut pool, |path| !path.starts_with("usr/share/"))?;
        }
        let mut guest = base();
        for file in recipe.files {
            elf::copy(&mut guest, &pool, file)?;
        }
        for (path, target) in recipe.links {
            guest.put(path, Node::Link((*target).to_owned()));
        }
        for name in recipe.applets() {
            let target = recipe.files[0].rsplit('/').next().unwrap_or_default();
            let link = || Node::Link(target.to_owned());
            if guest.get(&format!("usr/bin/{name}")).is_none() {
                guest.put(&format!("usr/bin/{name}"), link());
            }
        }
        (recipe.configure)(&mut guest, &pool)?;
        elf::add_libraries(&mut guest, &pool)?;
        let mut package = Tree::default();
        packages.kernel.unpack(&mut package, kernel::wanted)?;
        let (kernel, release) = kernel::take(&mut guest, &package)?;
        let init = format!("{}{INIT_COMMON}", recipe.init);
        guest.put("init", Node::File(0o755, init.into_bytes()));
        guest.merge(site.clone());
        let initramfs = cpio::archive(&guest);
        if initramfs.len() > INITRAMFS_LIMIT_BYTES {
            return Err(format!(
                "the initial RAM file system has {} MiB, of which the document root has {}; a guest has room \
                 for {}",
                initramfs.len() >> 20,
                site.size() >> 20,
                INITRAMFS_LIMIT_BYTES >> 20
            ));
        }
        let version = packages.all.iter().find(|package| package.name == recipe.server_package);
        let version = version.map_or("", Package::upstream_version);
        let mut list = String::new();
        for package in packages.all.iter().chain([&packages.kernel]) {
            let _ = writeln!(list, "{} {}", package.name, package.version);
        }
        Ok(Image {
            name: recipe.name.to_owned(),
            software: format!("{} {version}, Linux {release}", recipe.server),
            command_line: command_line(has_big),
            kernel,
            initramfs,
            packages: list,
            inputs: inputs.to_owned(),
        })
    }

    /// Reads a guest that was made of the same inputs.
    pub(super) fn read(out: &Path, name: &str, inputs: &str) -> Option<Self> {
        let dir = out.join(name);
        let text = |file: &str| fs::read_to_string(dir.join(file)).ok();
        let table: toml::Table = text("guest.toml")?.parse().ok()?;
        let string = |key: &str| table.get(key)?.as_str().map(str::to_owned);
        let image = Image {
            name: string("name")?,
            software: string("software")?,
            command_line: string("command_line")?,
            kernel: fs::read(dir.join("kernel")).ok()?,
            initramfs: fs::read(dir.join("initramfs")).ok()?,
            packages: text("packages")?,
            inputs: text("inputs")?,
        };
        (image.inputs == inputs && kernel::check(&image.kernel).is_ok()).then_some(image)
    }

    /// Writes the directory `out/<name>`: all of it, or nothing.
    ///
    /// # Errors
    /// What cannot be written.
    pub(super) fn write(&self, out: &Path) -> Result<(), String> {
        let failed = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
        let made = out.join(format!(".{}.{}", self.name, std::process::id()));
        fs::create_dir_all(&made).map_err(|error| failed(&made, error))?;
        let toml = self.toml();
        let files = [
            ("kernel", self.kernel.as_slice()),
            ("initramfs", &self.initramfs),
            ("guest.toml", toml.as_bytes()),
            ("packages", self.packages.as_bytes()),
            ("inputs", self.inputs.as_bytes()),
        ];
        let dir = out.join(&self.name);
        let written = files
            .into_iter()
            .try_for_each(|(name, bytes)| {
                let path = made.join(name);
                fs::write(&path, bytes).map_err(|error| failed(&path, error))
            })
            .and_then(|()| {
                if dir.exists() {
                    fs::remove_dir_all(&dir).map_err(|error| failed(&dir, error))?;
                }
                fs::rename(&made, &dir).map_err(|error| failed(&dir, error))
            });
        if written.is_err() {
            let _ = fs::remove_dir_all(&made);
        }
        written
    }

    /// What a table `[[guest]]` of `resh.toml` says of it.
    fn toml(&self) -> String {
        let mut table = toml::Table::new();
        for (key, value) in [
            ("name", &self.name),
            ("software", &self.software),
            ("command_line", &self.command_line),
        ] {
            table.insert(key.to_owned(), toml::Value::String(value.clone()));
        }
        table.insert("kernel".to_owned(), toml::Value::String("kernel".to_owned()));
        table.insert("initramfs".to_owned(), toml::Value::String("initramfs".to_owned()));
        format!("# Made by `cargo xtask guest`.\n{table}")
    }

    /// One line about it.
    pub(super) fn shown(&self, out: &Path) -> String {
        format!(
            "{}: {} (kernel {:.1} MiB, initramfs {:.1} MiB)",
            out.join(&self.name).display(),
            self.software,
            self.kernel.len() as f64 / f64::from(1 << 20),
            self.initramfs.len() as f64 / f64::from(1 << 20),
        )
    }
}

/// What Linux is told, before what the VMM adds: to say little, to start again after a panic, and to leave
/// out what takes time or memory here.
fn command_line(has_big: bool) -> String {
    let big = if has_big { format!(" resh.big={GUEST_BIG_MEBIBYTES}") } else { String::new() };
    format!("quiet console=ttyAMA0 panic=1 ipv6.disable=1 cma=0 cryptomgr.notests{big}")
}

/// What is in every guest.
fn base() -> Tree {
    let mut tree = Tree::default();
    for directory in
        ["dev", "proc", "root", "run", "sys", "usr/bin", "usr/lib", "usr/sbin", "var/log"]
    {
        tree.put(directory, Node::Directory(0o755));
    }
    tree.put("tmp", Node::Directory(0o1777));
    for directory in ["bin", "lib", "sbin"] {
        tree.put(directory, Node::Link(format!("usr/{directory}")));
    }
    // The kernel opens it for /init (Documentation/filesystems/ramfs-rootfs-initramfs.rst).
    tree.put("dev/console", Node::Device(0o600, 5, 1));
    for (path, text) in [
        (
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/var/www:/bin/false\n".to_owned(),
        ),
        ("etc/group", "root:x:0:\nwww-data:x:33:\n".to_owned()),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n".to_owned()),
        // A day after all files.
        ("etc/resh/time", format!("{}\n", FILE_TIME_S + 86_400)),
    ] {
        tree.put(path, Node::File(0o644, text.into_bytes()));
    }
    tree
}
