//! `tidemark serve`: the daemon.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::daemon::serve::Reloading;
use crate::tasks::Tasks;
use crate::{daemon, telemetry};

use super::arguments::ServeArguments;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::signals::{self, Signals};

/// How long the end of the process waits for somebody to read the end of its log.
const LAST_WORDS: Duration = Duration::from_secs(2);

pub(super) async fn run(context: &Context, arguments: &ServeArguments) -> Result<Exit, Failure> {
    let log = context.log_fully()?;
    let ended = serve(context, arguments).await;
    log.flush(LAST_WORDS).await;
    ended
}

async fn serve(context: &Context, arguments: &ServeArguments) -> Result<Exit, Failure> {
    let config = context.config()?;
    let signals = Signals::listen()?;
    let tasks = Tasks::new();
    let stop = CancellationToken::new();
    let reloading = Reloading {
        path: context.config_path()?,
        env: context.env.clone(),
        now: signals::hangups(&tasks)?,
    };
    let work = daemon::serve::serve(config, reloading, arguments.wait_for_state, stop.clone());
    let ended = signals.heeding(&stop, || tracing::info!("stopping"), work).await;
    tasks.stop().await;
    ended.map(|()| Exit::Done).map_err(|error| Failure {
        exit: Exit::of_code(error.exit_status()),
        message: telemetry::chain(&error),
    })
}
