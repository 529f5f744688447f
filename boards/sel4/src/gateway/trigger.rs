//! For tests: how a domain that is to misbehave hears so. A guest with `resh.faults=1` prints what it is asked for
//! (`xtask/src/guest/init/common.sh`), kinds that it does not know included.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, Ordering};

/// What a domain can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// Touch memory that is not there.
    Touch = 1,
    /// Overwrite all it can, and do nothing else but disturb.
    Overwrite,
    /// Do nothing else but disturb, with all that others read as it was.
    Disturb,
}

const FAULTS: [(&str, Fault); 3] =
    [("touch", Fault::Touch), ("overwrite", Fault::Overwrite), ("disturb", Fault::Disturb)];
/// What comes before the kind.
const PREFIX: &str = "resh: fault ";

/// What was heard, or 0.
static HEARD: AtomicU8 = AtomicU8::new(0);

/// What this domain was told to do.
pub fn heard() -> Option<Fault> {
    let heard = HEARD.load(Ordering::Relaxed);
    FAULTS.into_iter().map(|(_, fault)| fault).find(|fault| *fault as u8 == heard)
}

/// The beginning of a line.
struct Line {
    bytes: [u8; 80],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = &mut self.bytes[self.len..];
        let len = text.len().min(free.len());
        free[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        Ok(())
    }
}

/// Looks for it in a line of the guest.
pub(super) fn listen(text: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; 80], len: 0 };
    // It fails at nothing.
    let _ = line.write_fmt(text);
    let line = core::str::from_utf8(&line.bytes[..line.len]).unwrap_or_default();
    let Some((_, kind)) = line.split_once(PREFIX) else { return };
    if let Some((_, fault)) = FAULTS.into_iter().find(|(name, _)| *name == kind.trim_end()) {
        HEARD.store(fault as u8, Ordering::Relaxed);
    }
}
