//! Reads from a Microkit SDK what its kernel's ABI is, so that no number of it stands in the sources.
//!
//! The SDK is the directory in `MICROKIT_SDK`, or else `/opt/microkit-sdk-2.3.0`; `MICROKIT_BOARD`
//! (`qemu_virt_aarch64` if not set) and `MICROKIT_CONFIG` (`debug`) choose the kernel. Without an SDK the
//! crate builds all the same, and a program made of it stops at its first call of the kernel.
#![allow(unreachable_pub, reason = "build/sdk.rs is shared with its test")]

#[path = "build/sdk.rs"]
mod sdk;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

const DEFAULT_SDK: &str = "/opt/microkit-sdk-2.3.0";
const DEFAULT_BOARD: &str = "qemu_virt_aarch64";
const DEFAULT_CONFIG: &str = "debug";

const INVOCATIONS: &[&str] = &[
    "IRQAckIRQ",
    "TCBSuspend",
    "TCBResume",
    "TCBReadRegisters",
    "TCBWriteRegisters",
    "ARMVCPUInjectIRQ",
    "ARMVCPUReadReg",
    "ARMVCPUWriteReg",
    "ARMVCPUAckVPPI",
    "ARMVSpaceUnify_Instruction",
];
const FAULTS: &[&str] = &[
    "NullFault",
    "CapFault",
    "UnknownSyscall",
    "UserException",
    "Timeout",
    "VMFault",
    "VGICMaintenance",
    "VCPUFault",
    "VPPIEvent",
];
const SYSTEM_CALLS: &[&str] =
    &["Call", "ReplyRecv", "NBSendRecv", "Send", "Recv", "NBRecv", "DebugPutChar"];
/// The registers of a virtual CPU that the kernel keeps for it (`seL4_VCPUReg`).
const VCPU_REGISTERS: &[&str] = &[
    "SCTLR",
    "CPACR",
    "TTBR0",
    "TTBR1",
    "TCR",
    "MAIR",
    "AMAIR",
    "CIDR",
    "ACTLR",
    "AFSR0",
    "AFSR1",
    "ESR",
    "FAR",
    "PAR",
    "VBAR",
    "TPIDR_EL1",
    "VMPIDR_EL2",
    "SP_EL1",
    "ELR_EL1",
    "SPSR_EL1",
    "CNTV_CTL",
    "CNTV_CVAL",
    "CNTVOFF",
    "CNTKCTL_EL1",
];

/// Everything that is generated.
struct Abi {
    sdk: Option<String>,
    invocations: Vec<(&'static str, u64)>,
    faults: Vec<(&'static str, u64)>,
    system_calls: Vec<(&'static str, u64)>,
    vcpu_registers: Vec<(&'static str, u64)>,
    user_top: u64,
    has_printing: bool,
    has_counter: bool,
    has_cache: bool,
    cache_line_bytes: u64,
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build/sdk.rs");
    // Elsewhere than on seL4 nothing is called that the numbers would be needed for.
    let for_sel4 = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "none");
    let abi = match for_sel4.then(kernel_directory).flatten() {
        Some(directory) => from_sdk(&directory),
        None => without_sdk(),
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("abi.rs");
    fs::write(out, abi.source()).expect("OUT_DIR can be written");
}

fn variable(name: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={name}");
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where the SDK keeps what belongs to the chosen kernel.
fn kernel_directory() -> Option<PathBuf> {
    let given = variable("MICROKIT_SDK");
    let board = variable("MICROKIT_BOARD").unwrap_or(DEFAULT_BOARD.into());
    let config = variable("MICROKIT_CONFIG").unwrap_or(DEFAULT_CONFIG.into());
    let root = PathBuf::from(given.as_deref().unwrap_or(DEFAULT_SDK));
    let directory = root.join("board").join(board).join(config);
    if directory.is_dir() {
        return Some(directory);
    }
    assert!(
        given.is_none(),
        "{} is no directory: MICROKIT_SDK, MICROKIT_BOARD or MICROKIT_CONFIG is wrong",
        directory.display()
    );
    None
}

fn read(path: &Path) -> String {
    println!("cargo::rerun-if-changed={}", path.display());
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The numbers of `names`, each known in `table` with `prefix` before it.
fn numbers(
    names: &'static [&'static str],
    prefix: &str,
    table: &BTreeMap<String, i64>,
) -> Vec<(&'static str, u64)> {
    let number = |name: &&'static str| {
        let full = format!("{prefix}{name}");
        let value = table.get(&full).unwrap_or_else(|| panic!("the SDK has no `{full}`"));
        (*name, *value as u64)
    };
    names.iter().map(number).collect()
}

fn from_sdk(directory: &Path) -> Abi {
    let include = directory.join("include");
    let header = |name: &str| sdk::enumerators(&read(&include.join(name)));
    let invocations = json(&directory.join("invocations_all.json"));
    let invocations: BTreeMap<String, i64> =
        serde_json::from_value(invocations).expect("invocations_all.json: labels by name");
    let spaces = json(&directory.join("address_space_constants.json"));
    let config = json(&include.join("kernel/gen_config.json"));
    let flag = |name: &str| config[name].as_bool().unwrap_or(false);
    let line_bits = config["L1_CACHE_LINE_SIZE_BITS"].as_str().and_then(|bits| bits.parse().ok());
    Abi {
        sdk: Some(directory.display().to_string()),
        invocations: numbers(INVOCATIONS, "", &invocations),
        faults: numbers(FAULTS, "seL4_Fault_", &header("sel4/sel4_arch/types_gen.h")),
        system_calls: numbers(SYSTEM_CALLS, "seL4_Sys", &header("sel4/syscall.h")),
        vcpu_registers: numbers(
            VCPU_REGISTERS,
            "seL4_VCPUReg_",
            &header("sel4/sel4_arch/constants.h"),
        ),
        user_top: spaces["vspace_user_top"].as_u64().expect("vspace_user_top is a number"),
        has_printing: flag("PRINTING"),
        has_counter: flag("EXPORT_PCNT_USER"),
        has_cache: flag("AARCH64_USER_CACHE_ENABLE"),
        cache_line_bytes: 1 << line_bits.unwrap_or(6u32),
    }
}

/// Numbers that are good for nothing but telling names apart.
fn without_sdk() -> Abi {
    let count = |names: &'static [&'static str]| {
        names.iter().enumerate().map(|(at, name)| (*name, u64::MAX - at as u64)).collect()
    };
    Abi {
        sdk: None,
        invocations: count(INVOCATIONS),
        faults: count(FAULTS),
        system_calls: count(SYSTEM_CALLS),
        vcpu_registers: count(VCPU_REGISTERS),
        user_top: u64::MAX,
        has_printing: false,
        has_counter: true,
        has_cache: true,
        cache_line_bytes: 64,
    }
}

impl Abi {
    fn source(&self) -> String {
        let mut text = String::new();
        let mut constant = |doc: &str, name: &str, kind: &str, value: &dyn std::fmt::Debug| {
            writeln!(text, "/// {doc}\npub const {name}: {kind} = {value:?};").expect("a string");
        };
        constant("Where the numbers were read.", "SDK", "Option<&str>", &self.sdk);
        constant("Last address of a domain.", "USER_TOP", "u64", &self.user_top);
        constant("Whether the kernel prints for it.", "HAS_PRINTING", "bool", &self.has_printing);
        constant("Whether it may read CNTPCT_EL0.", "HAS_COUNTER", "bool", &self.has_counter);
        constant("Whether it may clean caches.", "HAS_CACHE", "bool", &self.has_cache);
        constant("Bytes of a cache line.", "CACHE_LINE_BYTES", "usize", &self.cache_line_bytes);
        let mut module = |doc: &str, name: &str, entries: &[(&str, u64)]| {
            writeln!(text, "/// {doc}\npub mod {name} {{").expect("a string");
            for (name, value) in entries {
                let constant = sdk::constant_name(name);
                writeln!(text, "    /// `{name}`.\n    pub const {constant}: u64 = {value:#x};")
                    .expect("a string");
            }
            text.push_str("}\n");
        };
        module("Labels of invocations.", "invocation", &self.invocations);
        module("Labels of faults.", "fault", &self.faults);
        module("Numbers of system calls.", "system_call", &self.system_calls);
        module("Registers of a virtual CPU.", "vcpu_register", &self.vcpu_registers);
        text
    }
}
