//! Images of the database that do not move, and who may read from them (edfi-wire §3).

use std::sync::Arc;

use super::options::SnapshotMode;
use super::rows::Image;
use crate::clock::Timestamp;

/// Older images than this many are dropped.
const KEPT: usize = 8;

/// The images that were taken and not dropped, oldest first.
#[derive(Debug)]
pub(super) struct Snapshots {
    pub(super) mode: SnapshotMode,
    taken: Vec<Snapshot>,
}

#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// 32 hexadecimal digits.
    pub(super) identifier: String,
    pub(super) moment: Timestamp,
    pub(super) image: Arc<Image>,
}

impl Snapshots {
    pub(super) fn new(mode: SnapshotMode) -> Snapshots {
        Snapshots { mode, taken: Vec::new() }
    }

    pub(super) fn take(&mut self, image: Arc<Image>, moment: Timestamp) {
        if self.mode == SnapshotMode::None {
            return;
        }
        let identifier = format!("{:032x}", rand::random::<u128>());
        self.taken.push(Snapshot { identifier, moment, image });
        if self.taken.len() > KEPT {
            self.taken.remove(0);
        }
    }

    pub(super) fn drop_all(&mut self) {
        self.taken.clear();
    }

    /// Keeps the oldest image alone and offers it anew, as the newest.
    pub(super) fn put_back_oldest(&mut self, moment: Timestamp) {
        let Some(oldest) = self.taken.first().map(|snapshot| snapshot.image.clone()) else {
            return;
        };
        self.drop_all();
        self.take(oldest, moment);
    }

    pub(super) fn all(&self) -> &[Snapshot] {
        &self.taken
    }

    /// The image that a server of one snapshot reads from.
    pub(super) fn current(&self) -> Option<Arc<Image>> {
        self.taken.last().map(|snapshot| snapshot.image.clone())
    }

    pub(super) fn named(&self, identifier: &str) -> Option<Arc<Image>> {
        self.taken
            .iter()
            .find(|snapshot| snapshot.identifier.eq_ignore_ascii_case(identifier))
            .map(|snapshot| snapshot.image.clone())
    }
}
