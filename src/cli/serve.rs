//! `tidemark serve`: the daemon.

use super::arguments::ServeArguments;
use super::context::Context;
use super::failure::{Exit, Failure};

pub(super) async fn run(context: &Context, _arguments: &ServeArguments) -> Result<Exit, Failure> {
    context.log_fully()?;
    Err(Failure::failed("`tidemark serve` is to come"))
}
