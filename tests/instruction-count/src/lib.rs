//! A plugin of QEMU's translator (TCG) that counts the instructions a machine executes, by ranges of
//! their virtual addresses:
//!
//! ```text
//! -plugin libinstruction_count.so,out=COUNTS,voter=0x3000000-0x4000000,kernel=0x8000000000-0x10000000000
//! ```
//!
//! `out` is a file of one native 64-bit number for each range, in the order in which they are given, and a
//! last one for what is in none. QEMU adds to it as to any memory, so it can be read at any time: the
//! difference of two readings is what was executed between them.
//!
//! What is counted is whole translated blocks as they begin, so an instruction that traps counts those
//! behind it in its block once more. The error is a few instructions for each trap.
//!
//! The plugin interface is that of QEMU 7.2, version 1 (include/qemu/qemu-plugin.h).

mod counts;
mod qemu;

use std::ffi::{CStr, c_char, c_int};
use std::sync::OnceLock;

use counts::Counts;
use qemu::{Block, Id, Info};

/// The version of the interface that this plugin was written for.
#[unsafe(no_mangle)]
pub static qemu_plugin_version: c_int = 1;

static COUNTS: OnceLock<Counts> = OnceLock::new();

/// QEMU calls it once, with the plugin's arguments. Anything but 0 ends QEMU.
///
/// # Safety
/// `arguments` are `count` strings that end in a zero byte, as QEMU gives them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: Id,
    _: *const Info,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    let arguments: Vec<String> = (0..usize::try_from(count).unwrap_or(0))
        .map(|at| {
            // SAFETY: by the contract of this function.
            let argument = unsafe { CStr::from_ptr(*arguments.add(at)) };
            argument.to_string_lossy().into_owned()
        })
        .collect();
    match Counts::new(&arguments) {
        Ok(counts) => {
            // The only call.
            let _ = COUNTS.set(counts);
            // SAFETY: `id` is this plugin's, and `translated` is of the type that QEMU calls.
            unsafe { qemu::qemu_plugin_register_vcpu_tb_trans_cb(id, translated) };
            0
        }
        Err(error) => {
            eprintln!("instruction-count: {error}");
            1
        }
    }
}

/// A block of instructions was translated: from now on each execution of it is added up.
extern "C" fn translated(_: Id, block: *mut Block) {
    let Some(counts) = COUNTS.get() else { return };
    // SAFETY: QEMU calls with a block that lives during the call.
    let (address, instructions) =
        unsafe { (qemu::qemu_plugin_tb_vaddr(block), qemu::qemu_plugin_tb_n_insns(block)) };
    let counter = counts.counter(address);
    // SAFETY: as above; the counter is valid for as long as QEMU runs.
    unsafe {
        qemu::qemu_plugin_register_vcpu_tb_exec_inline(
            block,
            qemu::INLINE_ADD_U64,
            counter.cast(),
            instructions as u64,
        );
    }
}
