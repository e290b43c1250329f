//! What the contract promises and a later version brings: refused by name, never ignored.

use super::failure::Failure;

/// The option is not in this version, if it was given.
pub(super) fn option(name: &str, given: bool) -> Result<(), Failure> {
    if given {
        return Err(Failure::usage(format!("`{name}` is not in this version")));
    }
    Ok(())
}
