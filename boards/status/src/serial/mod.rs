//! The monitor on a serial line: what all domains print, each line with the domain's name before it; a line
//! for each change of state; and the whole status for an operator who asks.

mod changes;
mod command;
mod logs;

pub use changes::{Changes, DISPUTES_AT_ONCE};
pub use command::{Command, HELP, Input};
pub use logs::{LINE_BYTES_MAX, Log, TURN_BYTES};

/// Bytes of the largest status as JSON, and some.
pub const JSON_BYTES_MAX: usize = 32 << 10;

/// Time between two looks at what the others print and publish, in milliseconds.
pub const LOOK_MS: u64 = 100;
