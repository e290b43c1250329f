//! The only way to start a task: named, owned, and waited for.
//!
//! A panic ends its task and is reported to whoever waits; it does not end the daemon.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Starts tasks, tells them to stop and waits for them.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    pub fn new() -> Tasks {
        Tasks::default()
    }

    /// Starts `work`. Its name is for the log line that says that it panicked.
    pub fn spawn<F>(
        &self,
        name: &'static str,
        work: F,
    ) -> tokio::task::JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let running = self.tracker.spawn(work);
        self.tracker.spawn(async move {
            match running.await {
                Ok(output) => Some(output),
                Err(error) => {
                    // The panic text is not repeated: it could hold what a log may not.
                    tracing::error!(task = name, panicked = error.is_panic(), "a task ended early");
                    None
                }
            }
        })
    }

    /// What tasks wait on to learn that they should end.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Asks every task to end and waits until all have.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
