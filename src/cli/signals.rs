//! SIGINT and SIGTERM. The first asks a command to end, the second ends it at once.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure};
use super::show;

/// What somebody presses or a service manager sends.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
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
