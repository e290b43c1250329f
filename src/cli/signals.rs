//! SIGINT and SIGTERM. The first asks a command to end, the second ends it at once.

use std::future::Future;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::tasks::Tasks;

use super::failure::{Exit, Failure};
use super::show;

/// What somebody presses or a service manager sends.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// SIGHUP no longer ends the process: each notifies.
pub(super) fn hangups(tasks: &Tasks) -> Result<Arc<Notify>, Failure> {
    let mut hangup = signal(SignalKind::hangup())
        .map_err(|error| Failure::failed(format!("cannot watch signals: {error}")))?;
    let (received, stop) = (Arc::new(Notify::new()), tasks.stop_token());
    let told = Arc::clone(&received);
    tasks.spawn("hangups", async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                got = hangup.recv() => match got {
                    Some(()) => told.notify_one(),
                    None => return,
                },
            }
        }
    });
    Ok(received)
}

impl Signals {
    /// From now on the signals no longer end the process by themselves.
    pub(super) fn listen() -> Result<Signals, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::failed(format!("cannot watch signals: {error}")))
        };
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    pub(super) async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits for `work`, which heeds `stop`. A second signal ends the process where it stands:
    /// nothing is lost by it, the state is only ever written whole.
    pub(super) async fn heeding<T>(
        mut self,
        stop: &CancellationToken,
        stopping: impl FnOnce(),
        work: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = self.received() => {
                stop.cancel();
                stopping();
            }
        }
        tokio::select! {
            done = &mut work => done,
            () = self.received() => {
                show::error("ended at once; nothing is lost, the next run publishes the window again");
                std::process::exit(i32::from(Exit::Failed.code()));
            }
        }
    }
}
