//! Places each program at an address of its own, so that a tool that counts instructions can tell them
//! apart by address alone.

/// Programs and where they begin. The other programs' addresses are in `boards/sel4/build.rs`.
const PROGRAMS: [(&str, u64); 4] = [
    ("network", 0x0200_0000),
    ("network_selftest", 0x0200_0000),
    ("monitor", 0x0600_0000),
    ("timer", 0x0700_0000),
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        for (program, address) in PROGRAMS {
            println!("cargo::rustc-link-arg-bin={program}=--image-base={address:#x}");
        }
    }
}
