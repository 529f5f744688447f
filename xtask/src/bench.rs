//! `cargo xtask bench`.
pub(crate) fn bench(_: &[String]) -> Result<bool, String> {
    Ok(false)
}
