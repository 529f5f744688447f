//! Programs that a domain can be made to run in place of its own, to see what the others make of it. Only
//! in builds with the cargo feature `faults`.

use std::convert::Infallible;

#[cfg(feature = "faults")]
mod hostile;
#[cfg(feature = "faults")]
mod liar;
#[cfg(feature = "faults")]
mod probe;

/// Runs `hostile:<seed>` or `probe` as this domain. Returns only with what went wrong.
///
/// # Errors
/// There is no such program in this build, or it ended.
pub fn run(program: &str, argument: &str) -> Result<Infallible, String> {
    #[cfg(feature = "faults")]
    match program {
        "hostile" => {
            let seed = argument.parse().map_err(|_| format!("`{argument}` is no seed"))?;
            return hostile::run(seed);
        }
        "probe" => return probe::run(),
        _ => {}
    }
    Err(format!("no program `{program}` (argument `{argument}`) in this build"))
}
