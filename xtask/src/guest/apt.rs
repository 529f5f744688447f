//! Packages from Debian's archive for arm64, by an apt that has a root of its own.
//!
//! The system's apt keeps its lists, its cache and its list of installed packages to itself; ours takes from
//! it where packages come from, the keys they are signed with, and how to reach the network (`Acquire`).
//! apt verifies the signature of the lists; packages are held against the SHA-256 in those lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use resh_tests::process::find_program;
use resh_tests::site::sha256;

use super::tree::Tree;

/// Where packages come from instead of the system's sources.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    /// Address of an archive.
    pub(super) url: String,
    /// Release, such as `bookworm`.
    pub(super) suite: String,
}

/// apt with a root of its own.
pub(super) struct Apt {
    root: PathBuf,
}

/// A package that is on this computer.
#[derive(Clone, Debug)]
pub(super) struct Package {
    pub(super) name: String,
    /// As Debian writes it, such as `1:1.35.0-4+deb12u1`.
    pub(super) version: String,
    path: PathBuf,
}

impl Apt {
    /// Prepares a root below `out`, one for each mirror. Nothing is downloaded.
    ///
    /// # Errors
    /// If a program is missing or the root cannot be written.
    pub(super) fn new(out: &Path, mirror: Option<&Mirror>) -> Result<Self, String> {
        for (program, package) in
            [("apt-get", "apt"), ("apt-cache", "apt"), ("apt-config", "apt"), ("dpkg-deb", "dpkg")]
        {
            if find_program(program).is_none() {
                return Err(format!(
                    "{program} is missing; it is in the package {package} of Debian and its kin (elsewhere, \
                     build the guests in a Debian container, or give your own: docs/guests.md)"
                ));
            }
        }
        let name = match mirror {
            None => "apt".to_owned(),
            Some(mirror) => format!("apt-{:.8}", sha256(format!("{mirror:?}").as_bytes())),
        };
        let root = out.join(name);
        let apt = Apt { root: root.clone() };
        for directory in ["lists/partial", "cache/archives/partial", "packages"] {
            let path = root.join(directory);
            fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        apt.write("status", "")?;
        apt.write("apt.conf", &apt.configuration(mirror)?)?;
        Ok(apt)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let path = self.root.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The system's `Acquire` settings, and our own directories.
    fn configuration(&self, mirror: Option<&Mirror>) -> Result<String, String> {
        let dump = Command::new("apt-config").arg("dump").output();
        let dump = dump.map_err(|error| format!("apt-config: {error}"))?.stdout;
        let mut text: String = String::from_utf8_lossy(&dump)
            .lines()
            .filter(|line| line.starts_with("Acquire::"))
            .map(|line| format!("{line}\n"))
            .collect();
        let root = self.root.display();
        text += &format!(
            "Dir::State \"{root}\";\nDir::State::status \"{root}/status\";\nDir::State::lists \"lists\";\n\
             Dir::Cache \"{root}/cache\";\nDir::Etc::Parts \"/dev/null\";\nDir::Etc::Main \"/dev/null\";\n\
             Dir::Etc::Preferences \"/dev/null\";\nDir::Etc::PreferencesParts \"/dev/null\";\n\
             APT::Architecture \"arm64\";\nAPT::Architectures \"arm64\";\nAcquire::Languages \"none\";\n"
        );
        if let Some(Mirror { url, suite }) = mirror {
            let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
            if !Path::new(keys).exists() {
                return Err(format!(
                    "{keys} is missing; it is in the package debian-archive-keyring"
                ));
            }
            self.write(
                "sources.list",
                &format!(
                    "deb [signed-by={keys}] {url} {suite} main\n\
                     deb [signed-by={keys}] {url} {suite}-updates main\n"
                ),
            )?;
            text += &format!(
                "Dir::Etc::SourceList \"{root}/sources.list\";\nDir::Etc::SourceParts \"/dev/null\";\n"
            );
        }
        Ok(text)
    }

    /// Runs apt and gives what it printed.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        self.run_in(&self.root, program, arguments)
    }

    fn run_in(&self, dir: &Path, program: &str, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(program)
            .args(arguments)
            .env("APT_CONFIG", self.root.join("apt.conf"))
            .env("LC_ALL", "C")
            .current_dir(dir)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{program}: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> = said.lines().filter(|line| line.starts_with("E:")).collect();
        Err(format!("{program} {} failed:\n{}", arguments.join(" "), said.join("\n")))
    }

    /// Whether the lists of packages are here.
    pub(super) fn has_lists(&self) -> bool {
        let lists = fs::read_dir(self.root.join("lists")).into_iter().flatten().flatten();
        lists.into_iter().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
    }

    /// Gets the lists of packages anew.
    ///
    /// # Errors
    /// If no source has packages for arm64, or none can be reached.
    pub(super) fn update(&self) -> Result<(), String> {
        println!("getting Debian's lists of packages for arm64");
        self.run("apt-get", &["-qq", "-o", "APT::Update::Error-Mode=any", "update"])?;
        match self.has_lists() {
            true => Ok(()),
            false => Err(
                "apt's sources have no packages for arm64; say where they are with --mirror URL \
                          --suite NAME"
                    .to_owned(),
            ),
        }
    }

    /// The first of `names` that the archive has.
    ///
    /// # Errors
    /// If it has none.
    pub(super) fn first_available<'a>(&self, names: &[&'a str]) -> Result<&'a str, String> {
        let known = self.run("apt-cache", &["pkgnames"])?;
        let known: BTreeSet<&str> = known.lines().collect();
        names.iter().copied().find(|name| known.contains(name)).ok_or_else(|| {
            format!(
                "the archive has no package {}; Debian 12 or later has, see --suite",
                names.join(" or ")
            )
        })
    }

    /// `roots` and the libraries that they depend on, but for those whose name begins with one of `without`
    /// and what only those need.
    ///
    /// # Errors
    /// If apt fails.
    pub(super) fn closure(&self, roots: &[&str], without: &[&str]) -> Result<Vec<String>, String> {
        let mut arguments = vec!["depends", "--recurse"];
        arguments.extend(
            ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"].map(|kind| {
                match kind {
                    "recommends" => "--no-recommends",
                    "suggests" => "--no-suggests",
                    "conflicts" => "--no-conflicts",
                    "breaks" => "--no-breaks",
                    "replaces" => "--no-replaces",
                    _ => "--no-enhances",
                }
            }),
        );
        arguments.extend(roots);
        let depends = self.run("apt-cache", &arguments)?;
        let is_wanted = |name: &str| {
            (name.starts_with("lib") || name.starts_with("zlib"))
                && !without.iter().any(|prefix| name.starts_with(prefix))
        };
        Ok(closure(&parse_depends(&depends), roots, is_wanted))
    }

    /// The packages that `name` depends on and whose names begin with `prefix`.
    ///
    /// # Errors
    /// If apt fails.
    pub(super) fn depends(&self, name: &str, prefix: &str) -> Result<Vec<String>, String> {
        let depends = parse_depends(&self.run("apt-cache", &["depends", name])?);
        let depends = depends.get(name).into_iter().flatten();
        Ok(depends.filter(|depended| depended.starts_with(prefix)).cloned().collect())
    }

    /// Gets those of the packages that are not here yet, and verifies all.
    ///
    /// # Errors
    /// If one cannot be had or is not what the lists say.
    pub(super) fn get(&self, names: &[String]) -> Result<Vec<Package>, String> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut arguments = vec!["download", "--print-uris"];
        arguments.extend(&names);
        // apt leaves out what is in the directory it runs in: it runs elsewhere than where packages are.
        let offers = self.run("apt-get", &arguments)?;
        let offers: Vec<Offer> = offers.lines().filter_map(Offer::parse).collect();
        let missing: Vec<&Offer> =
            offers.iter().filter(|offer| !self.path(offer).exists()).collect();
        if !missing.is_empty() {
            let bytes: u64 = missing.iter().map(|offer| offer.bytes).sum();
            println!("downloading {} packages, {} MB", missing.len(), bytes.div_ceil(1_000_000));
            let mut arguments = vec!["-qq".to_owned(), "download".to_owned()];
            arguments.extend(missing.iter().map(|o| format!("{}={}", o.name, o.version)));
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            self.run_in(&self.root.join("packages"), "apt-get", &arguments)?;
        }
        offers.into_iter().map(|offer| self.verified(offer)).collect()
    }

    fn path(&self, offer: &Offer) -> PathBuf {
        self.root.join("packages").join(&offer.file)
    }

    fn verified(&self, offer: Offer) -> Result<Package, String> {
        let path = self.path(&offer);
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        if sha256(&bytes) != offer.sha256 {
            // So that the next run gets it anew.
            let _ = fs::remove_file(&path);
            return Err(format!(
                "{}: its SHA-256 is not that of the archive's list; removed, run again",
                path.display()
            ));
        }
        Ok(Package { name: offer.name, version: offer.version, path })
    }
}

impl Package {
    /// Adds its files to `tree`, but for paths that `wanted` refuses.
    ///
    /// # Errors
    /// If the package is broken.
    pub(super) fn unpack(
        &self,
        tree: &mut Tree,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("{}: {error}", self.path.display());
        let mut child = Command::new("dpkg-deb")
            .arg("--fsys-tarfile")
            .arg(&self.path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(mut tar) = child.stdout.take() {
            tree.unpack(&mut tar, wanted).map_err(failed)?;
            std::io::copy(&mut tar.by_ref(), &mut std::io::sink()).map_err(failed)?;
        }
        match child.wait().map_err(failed)?.success() {
            true => Ok(()),
            false => Err(format!("{}: dpkg-deb cannot read it", self.path.display())),
        }
    }

    /// The version its authors gave it: without Debian's epoch and revision.
    pub(super) fn upstream_version(&self) -> &str {
        let version = self.version.split_once(':').map_or(self.version.as_str(), |(_, rest)| rest);
        version.rsplit_once('-').map_or(version, |(upstream, _)| upstream)
    }
}

/// A package as the archive offers it.
#[derive(Debug, PartialEq, Eq)]
struct Offer {
    name: String,
    version: String,
    file: String,
    bytes: u64,
    sha256: String,
}

impl Offer {
    /// From a line of `apt-get --print-uris`: `'URI' name_version_architecture.deb bytes SHA256:hash`.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix('\'')?.split_once("' ")?.1.split(' ');
        let file = words.next()?;
        let mut parts = file.split('_');
        Some(Offer {
            name: parts.next()?.to_owned(),
            version: parts.next()?.replace("%3a", ":"),
            file: file.to_owned(),
            bytes: words.next()?.parse().ok()?,
            sha256: words.next()?.strip_prefix("SHA256:")?.to_owned(),
        })
    }
}

/// What each package depends on; of alternatives, the first.
fn parse_depends(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut depends: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut package = "";
    let mut is_alternative = false;
    for line in text.lines() {
        if !line.starts_with([' ', '|']) {
            package = line;
            is_alternative = false;
            continue;
        }
        let was_alternative = std::mem::replace(&mut is_alternative, line.starts_with(" |"));
        let Some((kind, name)) = line.trim_start_matches([' ', '|']).split_once(": ") else {
            continue;
        };
        if matches!(kind, "Depends" | "PreDepends") && !was_alternative {
            depends.entry(package.to_owned()).or_default().push(name.to_owned());
        }
    }
    depends
}

fn closure(
    depends: &BTreeMap<String, Vec<String>>,
    roots: &[&str],
    is_wanted: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut found: BTreeSet<String> = roots.iter().map(|&root| root.to_owned()).collect();
    let mut waiting: Vec<String> = found.iter().cloned().collect();
    while let Some(name) = waiting.pop() {
        for depended in depends.get(&name).into_iter().flatten() {
            if is_wanted(depended) && found.insert(depended.clone()) {
                waiting.push(depended.clone());
            }
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers() {
        let line = "'scheme://host/pool/b/busybox_1.35.0-4_arm64.deb' busybox_1%3a1.35.0-4_arm64.deb 42 SHA256:ab";
        let offer = Offer::parse(line).expect("an offer");
        assert_eq!(offer.version, "1:1.35.0-4");
        assert_eq!(
            (offer.name.as_str(), offer.bytes, offer.sha256.as_str()),
            ("busybox", 42, "ab")
        );
        assert_eq!(Offer::parse("'scheme://host' x_1_arm64.deb 42 MD5Sum:ab"), None);
        assert_eq!(Offer::parse("NOTICE: something"), None);
    }

    #[test]
    fn versions_without_epoch_and_revision() {
        for (version, upstream) in
            [("1:1.35.0-4+deb12u1", "1.35.0"), ("1.4.69-1", "1.4.69"), ("7", "7")]
        {
            let package =
                Package { name: String::new(), version: version.into(), path: PathBuf::new() };
            assert_eq!(package.upstream_version(), upstream);
        }
    }

    #[test]
    fn closure_takes_libraries_and_first_alternatives() {
        let text = "server\n  Depends: libone\n |Depends: libtwo\n  Depends: libthree\n  Depends: perl\n  \
                    PreDepends: zlib1g\n  Suggests: libfour\nlibone\n  Depends: libcut1\nlibcut1\n  Depends: libdeep\n";
        let found = closure(&parse_depends(text), &["server"], |name| {
            (name.starts_with("lib") || name.starts_with("zlib")) && !name.starts_with("libcut")
        });
        assert_eq!(found, ["libone", "libtwo", "server", "zlib1g"]);
    }
}
