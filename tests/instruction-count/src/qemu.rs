//! What is used of QEMU's plugin interface.

use std::ffi::{c_int, c_void};

/// `qemu_plugin_id_t`.
pub(crate) type Id = u64;

/// `qemu_info_t`, into which we do not look.
#[repr(C)]
pub struct Info {
    _private: [u8; 0],
}

/// `struct qemu_plugin_tb`: a block of instructions that was translated.
#[repr(C)]
pub(crate) struct Block {
    _private: [u8; 0],
}

/// `QEMU_PLUGIN_INLINE_ADD_U64`.
pub(crate) const INLINE_ADD_U64: c_int = 0;

unsafe extern "C" {
    /// `called` for every block that is translated from now on.
    pub(crate) fn qemu_plugin_register_vcpu_tb_trans_cb(
        id: Id,
        called: extern "C" fn(Id, *mut Block),
    );
    /// Virtual address of the first instruction.
    pub(crate) fn qemu_plugin_tb_vaddr(block: *const Block) -> u64;
    /// Number of instructions.
    pub(crate) fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    /// Adds `value` to the 64-bit number at `place` whenever the block is executed.
    pub(crate) fn qemu_plugin_register_vcpu_tb_exec_inline(
        block: *mut Block,
        operation: c_int,
        place: *mut c_void,
        value: u64,
    );
}
