//! The archive a Linux kernel unpacks into its root file system: "newc" of
//! Documentation/driver-api/early-userspace/buffer-format.rst, uncompressed.

use super::tree::{FILE_TIME_S, Node, Tree};

/// Length the archive is padded to a multiple of.
const PADDING_BYTES: usize = 512;

/// The archive of a tree. The same tree gives the same bytes.
pub(super) fn archive(tree: &Tree) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(tree.size() + (1 << 20));
    for (index, (path, node)) in tree.nodes().enumerate() {
        let (mode, device, data) = match node {
            Node::Directory(mode) => (0o040_000 | mode, (0, 0), &[][..]),
            Node::File(mode, data) => (0o100_000 | mode, (0, 0), data.as_slice()),
            Node::Link(target) => (0o120_777, (0, 0), target.as_bytes()),
            Node::Device(mode, major, minor) => (0o020_000 | mode, (*major, *minor), &[][..]),
        };
        entry(&mut bytes, path, index as u32 + 1, mode, device, data);
    }
    entry(&mut bytes, "TRAILER!!!", 0, 0, (0, 0), &[]);
    bytes.resize(bytes.len().next_multiple_of(PADDING_BYTES), 0);
    bytes
}

fn entry(bytes: &mut Vec<u8>, path: &str, inode: u32, mode: u32, device: (u32, u32), data: &[u8]) {
    let size = data.len() as u32;
    let name_size = path.len() as u32 + 1;
    bytes.extend_from_slice(b"070701");
    let (owner, group, links, checksum) = (0, 0, 1, 0);
    for field in [
        inode,
        mode,
        owner,
        group,
        links,
        FILE_TIME_S,
        size,
        0,
        0,
        device.0,
        device.1,
        name_size,
        checksum,
    ] {
        bytes.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    bytes.extend_from_slice(path.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_bytes() {
        let mut tree = Tree::default();
        tree.put("a/b", Node::File(0o644, b"xyz".to_vec()));
        let bytes = archive(&tree);
        assert_eq!(bytes.len() % PADDING_BYTES, 0);
        let directory = "070701\
            00000001000041ed0000000000000000000000016774858000000000\
            00000000000000000000000000000000000000020000000\
            0a\0";
        assert_eq!(&bytes[..directory.len()], directory.as_bytes());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // The header of 110 bytes, the name and its NUL are padded to 4 bytes, and so is the content.
        assert_eq!(text.find("a/b\0"), Some(112 + 110));
        assert_eq!(text.find("xyz\x00070701"), Some(112 + 116));
        assert!(text.trim_end_matches('\0').ends_with("TRAILER!!!"));
    }

    #[test]
    fn order_of_putting_does_not_matter() {
        let nodes = [
            ("b", Node::Link("a".into())),
            ("c/d", Node::Device(0o600, 5, 1)),
            ("a", Node::Directory(0o755)),
        ];
        let (mut one, mut other) = (Tree::default(), Tree::default());
        nodes.iter().for_each(|(path, node)| one.put(path, node.clone()));
        nodes.iter().rev().for_each(|(path, node)| other.put(path, node.clone()));
        assert_eq!(archive(&one), archive(&other));
    }
}
