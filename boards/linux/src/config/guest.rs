//! `[[guest]]`: the virtual machines of a board that holds its replicas itself.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use resh_channel::config::{
    COMMAND_LINE_BYTES_MAX, Guest, Name, REPLICAS_MAX, SOFTWARE_BYTES_MAX, is_one_line,
};

use super::reader::{Found, Place, Reader, Table};
use super::sections;
use super::service::ServiceRead;

/// A file that a guest starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFile {
    /// Where it is: a relative path is taken from the folder of the configuration.
    pub path: PathBuf,
    /// Where the configuration names it.
    pub(super) place: Place,
}

/// What a guest starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestFiles {
    /// The kernel: an uncompressed arm64 `Image`.
    pub kernel: GuestFile,
    /// The initial RAM file system, as the kernel takes it.
    pub initramfs: GuestFile,
}

/// A guest as the file has it.
pub(super) struct GuestRead {
    place: Place,
    name: Option<Found<Name>>,
    software: Option<heapless::String<SOFTWARE_BYTES_MAX>>,
    command_line: Option<heapless::String<COMMAND_LINE_BYTES_MAX>>,
    kernel: Option<GuestFile>,
    initramfs: Option<GuestFile>,
}

impl GuestRead {
    /// What the domains see, and the files, if nothing is missing.
    pub(super) fn compiled(self) -> Option<(Guest, GuestFiles)> {
        let guest = Guest {
            name: self.name?.value,
            software: self.software?,
            command_line: self.command_line?,
        };
        Some((guest, GuestFiles { kernel: self.kernel?, initramfs: self.initramfs? }))
    }
}

pub(super) fn guest<'a>(reader: &mut Reader<'a>, table: &Table<'a>) -> GuestRead {
    reader.only_keys(table, &["name", "kernel", "initramfs", "software", "command_line"]);
    for (key, hint) in [
        ("name", "add name = \"nginx\" or the like"),
        ("kernel", "add kernel = \"…\", the path of an arm64 Image"),
        ("initramfs", "add initramfs = \"…\", the path of its initial RAM file system"),
    ] {
        if !table.has(key) {
            reader.missing(table, key, hint);
        }
    }
    GuestRead {
        place: reader.place_of(table),
        name: sections::name(reader, table, "name"),
        software: line(reader, table, "software"),
        command_line: line(reader, table, "command_line"),
        kernel: file(reader, table, "kernel"),
        initramfs: file(reader, table, "initramfs"),
    }
}

/// A line of at most `N` bytes; empty if there is no such key.
fn line<'a, const N: usize>(
    reader: &mut Reader<'a>,
    table: &Table<'a>,
    key: &str,
) -> Option<heapless::String<N>> {
    let Some(found) = reader.string(table, key) else {
        return (!table.has(key)).then(heapless::String::new);
    };
    let value = Some(found.value).filter(|text| is_one_line(text));
    let value = value.and_then(|text| heapless::String::try_from(text).ok());
    if value.is_none() {
        let problem = format!("{:?} does not fit", found.value);
        let hint = format!("use at most {N} printable ASCII characters");
        reader.report(&found.place, problem, hint);
    }
    value
}

fn file<'a>(reader: &mut Reader<'a>, table: &Table<'a>, key: &str) -> Option<GuestFile> {
    let found = reader.string(table, key)?;
    if found.value.is_empty() {
        reader.report(&found.place, "names no file", "write the path of a file");
        return None;
    }
    let folder = Path::new(reader.file).parent().unwrap_or(Path::new(""));
    Some(GuestFile { path: folder.join(found.value), place: found.place })
}

/// Reports what is wrong between guests and replicas.
pub(super) fn check(reader: &mut Reader<'_>, guests: &[GuestRead], services: &[ServiceRead]) {
    if let Some(extra) = guests.get(REPLICAS_MAX) {
        let problem = format!("{} guests", guests.len());
        reader.report(&extra.place, problem, format!("use at most {REPLICAS_MAX}"));
    }
    for (at, guest) in guests.iter().enumerate() {
        let names = guests[..at].iter().filter_map(|other| other.name.as_ref());
        let named = guest.name.as_ref();
        let twice = named.filter(|name| names.into_iter().any(|other| other.value == name.value));
        if let Some(name) = twice {
            let problem = format!("a second guest {:?}", name.value);
            reader.report(&name.place, problem, "give each guest a name of its own");
        }
        if services.iter().all(|service| service.replicas.len() <= at) {
            let problem = "no service has a replica in this guest".to_owned();
            let hint = format!("remove it, or give a service replica {}", at + 1);
            reader.report(&guest.place, problem, hint);
        }
    }
    let mut seen: Vec<Address> = Vec::new();
    for service in services {
        for (at, replica) in service.replicas.iter().enumerate() {
            if at >= guests.len() && at < REPLICAS_MAX {
                let problem = "there is no guest for this replica".to_owned();
                let hint = format!("add a table [[guest]]: replica {} is in guest {0}", at + 1);
                reader.report(&replica.place, problem, hint);
            }
            if let Some(address) = &replica.address {
                own_address(reader, address, at, &mut seen);
            }
        }
    }
}

/// The address of a guest, and where it was first found.
struct Address {
    guest: usize,
    ip: IpAddr,
    path: String,
}

fn own_address(
    reader: &mut Reader<'_>,
    address: &Found<std::net::SocketAddr>,
    guest: usize,
    seen: &mut Vec<Address>,
) {
    let (ip, port) = (address.value.ip(), address.value.port());
    if !matches!(ip, IpAddr::V4(v4) if !v4.is_loopback() && !v4.is_broadcast()) {
        let problem = format!("{ip} cannot be the address of a guest");
        let hint = format!("use an IPv4 address, such as 10.77.{guest}.2:{port}");
        reader.report(&address.place, problem, hint);
        return;
    }
    if let Some(own) = seen.iter().find(|own| own.guest == guest && own.ip != ip) {
        let problem =
            format!("guest {} has the address {} already, by {}", guest + 1, own.ip, own.path);
        let hint = format!("write {}:{port}: a guest has one address", own.ip);
        reader.report(&address.place, problem, hint);
    } else if let Some(other) = seen.iter().find(|other| other.guest != guest && other.ip == ip) {
        let problem =
            format!("{ip} is the address of guest {}, by {}", other.guest + 1, other.path);
        let hint = format!("give guest {} an address of its own", guest + 1);
        reader.report(&address.place, problem, hint);
    } else {
        seen.push(Address { guest, ip, path: address.place.path.clone() });
    }
}
