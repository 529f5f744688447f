//! A file tree in memory: what a guest finds at `/`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Everything in an image has this time (2025-01-01 00:00 UTC), so that the same inputs give the same bytes.
pub(super) const FILE_TIME_S: u32 = 1_735_689_600;

/// What stands at a path. Everything belongs to root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A directory with these permissions.
    Directory(u32),
    /// A file with these permissions and bytes.
    File(u32, Vec<u8>),
    /// A symbolic link to this target.
    Link(String),
    /// A character device: permissions, major and minor number.
    Device(u32, u32, u32),
}

/// Nodes by path, without a leading slash. Directories above a node need not be there: [`Tree::put`] adds them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree(BTreeMap<String, Node>);

impl Tree {
    /// Adds a node, and the directories above it that are missing.
    pub(super) fn put(&mut self, path: &str, node: Node) {
        let path = usr_merged(path.trim_start_matches('/'));
        let mut slash = 0;
        while let Some(next) = path[slash..].find('/') {
            slash += next;
            self.0.entry(path[..slash].to_owned()).or_insert(Node::Directory(0o755));
            slash += 1;
        }
        self.0.insert(path, node);
    }

    /// What is at `path`.
    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        self.0.get(&usr_merged(path.trim_start_matches('/')))
    }

    /// All nodes, sorted by path, so that a directory comes before what is in it.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Adds everything of `other`; what both have becomes as in `other`.
    pub(super) fn merge(&mut self, other: Tree) {
        self.0.extend(other.0);
    }

    /// Bytes of all files.
    pub(super) fn size(&self) -> usize {
        self.0
            .values()
            .map(|node| if let Node::File(_, bytes) = node { bytes.len() } else { 0 })
            .sum()
    }

    /// Adds what a tar archive holds, but for paths that `wanted` refuses.
    ///
    /// # Errors
    /// If the archive is broken.
    pub(super) fn unpack(
        &mut self,
        tar: impl Read,
        wanted: impl Fn(&str) -> bool,
    ) -> io::Result<()> {
        let mut archive = tar::Archive::new(tar);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.to_string_lossy().into_owned();
            let path = usr_merged(path.trim_start_matches("./").trim_end_matches('/'));
            let mode = entry.header().mode()? & 0o7777;
            let target = entry.link_name()?.map(|target| target.to_string_lossy().into_owned());
            let node = match (entry.header().entry_type(), target) {
                (tar::EntryType::Regular, _) if wanted(&path) => {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes)?;
                    Node::File(mode, bytes)
                }
                (tar::EntryType::Symlink, Some(target)) if wanted(&path) => Node::Link(target),
                // Debian's packages hold a hard link after the file itself.
                (tar::EntryType::Link, Some(target)) if wanted(&path) => {
                    match self.get(target.trim_start_matches("./")) {
                        Some(node) => node.clone(),
                        None => continue,
                    }
                }
                _ => continue,
            };
            self.put(&path, node);
        }
        Ok(())
    }

    /// Adds the directory `from` of this computer as `to`, but for files named in `except`.
    ///
    /// # Errors
    /// What cannot be read, and why.
    pub(super) fn put_directory(
        &mut self,
        to: &str,
        from: &Path,
        except: &[&str],
    ) -> Result<(), String> {
        let failed = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
        self.put(to, Node::Directory(0o755));
        for entry in fs::read_dir(from).map_err(|error| failed(from, error))? {
            let entry = entry.map_err(|error| failed(from, error))?;
            let path = entry.path();
            let name = entry
                .file_name()
                .into_string()
                .map_err(|name| format!("{}: {name:?} is not UTF-8; rename it", from.display()))?;
            if except.contains(&name.as_str()) {
                continue;
            }
            let to = format!("{to}/{name}");
            let metadata = fs::symlink_metadata(&path).map_err(|error| failed(&path, error))?;
            if metadata.is_dir() {
                self.put_directory(&to, &path, &[])?;
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).map_err(|error| failed(&path, error))?;
                self.put(&to, Node::Link(target.to_string_lossy().into_owned()));
            } else if metadata.is_file() {
                let mode = metadata.permissions().mode() & 0o777;
                self.put(
                    &to,
                    Node::File(mode, read_any(&path, mode).map_err(|error| failed(&path, error))?),
                );
            }
        }
        Ok(())
    }
}

/// Reads a file, even one whose owner (this user) may not: a site may hold files that nobody may read.
fn read_any(path: &Path, mode: u32) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && mode & 0o400 == 0 => {
            fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o400))?;
            let bytes = fs::read(path);
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
            bytes
        }
        read => read,
    }
}

/// Where Debian has had programs and libraries since `/bin`, `/sbin` and `/lib` became links into `/usr`.
fn usr_merged(path: &str) -> String {
    match path.split('/').next() {
        Some("bin" | "sbin" | "lib") if path.contains('/') => format!("usr/{path}"),
        _ => path.to_owned(),
    }
}
