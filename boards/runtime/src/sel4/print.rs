//! Output: into the page `log` if the domain has one, or else to the kernel's console if that has one.

use core::fmt::{self, Write};

use super::abi;
use super::symbols;
use super::system_call::{Arguments, system_call};

/// The kernel's console (seL4 manual, `seL4_DebugPutChar`).
struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            let capability = u64::from(byte);
            let arguments = Arguments { capability, ..Arguments::default() };
            system_call(abi::system_call::DEBUG_PUT_CHAR, &arguments);
        }
        Ok(())
    }
}

/// One line, with the domain's name before it unless the reader of the log puts it there.
pub(crate) fn debug_print(line: fmt::Arguments<'_>) {
    // There is nobody to tell that a line could not be printed.
    if let Some(mut writer) = symbols::region("log").and_then(resh_channel::log::Writer::new) {
        let _ = writeln!(writer, "{line}");
    } else if abi::HAS_PRINTING {
        let _ = writeln!(Console, "{}: {line}", symbols::name());
    }
}
