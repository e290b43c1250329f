//! What a window has of each resource, asked for all at once before the first of them has its turn.
//!
//! Most windows hold little, and most of their feeds nothing: were each asked in its resource's turn,
//! a run with one change would wait for as many answers one after the other as the graph has levels.
//! What lives here: feeds that were read to their end because they are short. What does not: everything
//! else, which is read in its turn ([`super::pages`]), and a first run, which has no short feeds to
//! speak of.
//!
//! The one thing to know: what is held here holds nothing of the source's room, which those need who
//! have their turn first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::domain::{Item, Position, ResourcePath, Window};
use crate::sources::{Isolation, ItemPages, SourceError};

use super::RunError;
use super::resume;
use super::under_way::{Run, lock};

/// Feeds that are asked at once; the limit of the source lies below.
pub(super) const FEEDS_AT_ONCE: usize = 64;
/// What all feeds that are held have together, in bytes of bodies.
const HELD: usize = 2 << 20;
/// What one of them has: more than this is read in its turn.
const SHORT: usize = 64 << 10;
/// Without a snapshot a page grows old while it waits for its turn.
const FRESH: Duration = Duration::from_secs(10);

/// The short feeds of a window, by resource.
#[derive(Default)]
pub(super) struct Ahead {
    feeds: Mutex<BTreeMap<ResourcePath, Short>>,
    bytes: AtomicUsize,
}

/// All of a feed, read at one moment.
struct Short {
    items: Vec<Item>,
    read: Instant,
}

/// Reads the beginning of every feed of the run that has a lower edge, and keeps those that are
/// short.
pub(super) async fn read(run: &Arc<Run>) -> Result<(), RunError> {
    let mut feeds = Vec::new();
    for resource in run.graph.in_order() {
        let Some(window) = run.window_of(&resource) else { continue };
        let is_first_read = window.after.is_none();
        if is_first_read || run.is_closed(&resource) || resume::is_under_way(run, &resource) {
            continue;
        }
        feeds.push(read_one(run, resource, window));
    }
    let mut reading = futures_util::stream::iter(feeds).buffer_unordered(FEEDS_AT_ONCE);
    while let Some(read) = reading.next().await {
        read.map_err(RunError::Source)?;
        run.check_stop()?;
    }
    Ok(())
}

async fn read_one(
    run: &Arc<Run>,
    resource: ResourcePath,
    window: Window,
) -> Result<(), SourceError> {
    let read = Instant::now();
    let mut pages = run.reader.upserts(&resource, window);
    let items = match pages.next().await? {
        None => Vec::new(),
        Some(items) => {
            let bytes: usize = items.iter().map(|item| item.body.len()).sum();
            let held = run.ahead.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if bytes > SHORT || held > HELD || pages.next().await?.is_some() {
                run.ahead.bytes.fetch_sub(bytes, Ordering::Relaxed);
                return Ok(());
            }
            items
        }
    };
    lock(&run.ahead.feeds).insert(resource, Short { items, read });
    Ok(())
}

/// The feed of a resource, where all of it was read ahead and is still what would be read now.
pub(super) fn take(run: &Run, resource: &ResourcePath) -> Option<Box<dyn ItemPages>> {
    let Short { items, read } = lock(&run.ahead.feeds).remove(resource)?;
    let bytes: usize = items.iter().map(|item| item.body.len()).sum();
    run.ahead.bytes.fetch_sub(bytes, Ordering::Relaxed);
    // Of a closed range things leave, and nothing comes into it that an overlap does not bring.
    let stays = items.is_empty() || run.reader.isolation() == Isolation::Snapshot;
    (stays || read.elapsed() < FRESH).then(|| Box::new(Whole(Some(items))) as Box<dyn ItemPages>)
}

/// One page, and the end.
struct Whole(Option<Vec<Item>>);

#[async_trait]
impl ItemPages for Whole {
    async fn next(&mut self) -> Result<Option<Vec<Item>>, SourceError> {
        Ok(self.0.take().filter(|items| !items.is_empty()))
    }

    /// What one page holds is done again whole.
    fn position(&self) -> Option<Position> {
        None
    }
}
