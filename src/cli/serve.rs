//! `tidemark serve`: the daemon.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::daemon::serve::Reloading;
use crate::tasks::Tasks;
use crate::telemetry::{Logging, Telling};
use crate::{daemon, telemetry};

use super::arguments::ServeArguments;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::signals::{self, Signals};

/// How long the end of the process waits for somebody to read the end of its log.
const LAST_WORDS: Duration = Duration::from_secs(2);

pub(super) async fn run(context: &Context, arguments: &ServeArguments) -> Result<Exit, Failure> {
    let Logging { queue, telling } = context.log_fully()?;
    let ended = serve(context, arguments, telling).await;
    queue.flush(LAST_WORDS).await;
    ended
}

async fn serve(
    context: &Context,
    arguments: &ServeArguments,
    telling: Telling,
) -> Result<Exit, Failure> {
    let config = context.config_logging_warnings()?;
    let signals = Signals::listen()?;
    let tasks = Tasks::new();
    let stop = CancellationToken::new();
    let reloading = Reloading {
        path: context.config_path()?,
        env: context.env.clone(),
        now: signals::hangups(&tasks)?,
    };
    let wait = arguments.wait_for_state;
    let work = daemon::serve::serve(config, reloading, telling, wait, stop.clone());
    let ended = signals.heeding(&stop, || tracing::info!("stopping"), work).await;
    tasks.stop().await;
    ended.map(|()| Exit::Done).map_err(|error| Failure {
        exit: Exit::of_code(error.exit_status()),
        message: telemetry::chain(&error),
    })
}
