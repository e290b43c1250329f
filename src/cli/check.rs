//! `tidemark check`: reaches every connection and says what each can do.

use super::arguments::CheckArguments;
use super::context::Context;
use super::failure::{Exit, Failure};

pub(super) async fn run(context: &Context, _arguments: &CheckArguments) -> Result<Exit, Failure> {
    context.log_quietly()?;
    Err(Failure::failed("`tidemark check` is to come"))
}
