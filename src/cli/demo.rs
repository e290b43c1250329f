//! `tidemark demo`: the whole job on this machine.

use super::failure::{Exit, Failure};

pub(super) async fn run() -> Result<Exit, Failure> {
    Err(Failure::failed("`tidemark demo` is to come"))
}
