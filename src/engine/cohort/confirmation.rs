//! Looks at a view, so few as are needed: one is for everything that came before it began.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::sources::{Reader, SourceError};

/// What was read of the view, counted as it came, and up to where the view was looked at since: what
/// came before a look began came from the view that the look found (R11).
#[derive(Default)]
pub(in crate::engine) struct Confirmation {
    read: AtomicU64,
    covered: Mutex<u64>,
}

impl Confirmation {
    /// Something came. Tells its number.
    pub(in crate::engine) fn note(&self) -> u64 {
        self.read.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The view was looked at since everything up to `read` came; if not, it is now.
    pub(in crate::engine) async fn of(
        &self,
        view: &dyn Reader,
        read: u64,
    ) -> Result<(), SourceError> {
        let mut covered = self.covered.lock().await;
        if *covered >= read {
            return Ok(());
        }
        let all = self.read.load(Ordering::SeqCst);
        view.confirm().await?;
        *covered = all;
        Ok(())
    }
}
