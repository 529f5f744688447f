//! The monitor on a serial line: what all domains print, each line with the domain's name before it; a line
//! for each change of state; and the whole status for an operator who asks.

mod changes;
mod command;
mod logs;

pub use changes::Changes;
pub use command::{Command, HELP, Input};
pub use logs::Log;

/// Bytes of the largest status as JSON, and some.
pub const JSON_BYTES_MAX: usize = 32 << 10;
