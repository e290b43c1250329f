//! The pages of one resource: one after the other, or several stretches of a large resource at once.
//!
//! What lives here: who reads which page next, and how far the resource has come (R12). What does
//! not: what becomes of the items of a page ([`super::upserts`]), and what a run goes on from
//! ([`super::resume`]). The one thing to know: a page is settled whole before the next one of its
//! stretch begins, so what a run that is killed repeats is at most a page of each stretch.
//!
//! Who holds a page works on it, and waits for nobody's next page: the room for pages is bounded, and
//! what is held by those who wait for more of it is never given back. So no stretch waits for the first
//! page of another.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::domain::{Item, Position, ResourcePath, Tally, Window};
use crate::sources::{ItemPages, SourceError};
use crate::state::Progress;

use super::RunError;
use super::under_way::{Run, lock};
use super::{ahead, resume, upserts};

/// So many moves are journalled together where the target has enough to do meanwhile.
const TOGETHER: u64 = 4;
/// Whether it has is looked at so often, and so many times: a move waits for others no longer than that.
const LOOKS: u32 = 12;
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Pages that follow each other.
pub(super) struct Stretch {
    pages: Box<dyn ItemPages>,
    first: First,
}

enum First {
    Read(Option<Vec<Item>>),
    /// It begins here, and is read when it is worked on.
    At(Position),
}

impl Stretch {
    /// Reads its first page.
    async fn begin(mut pages: Box<dyn ItemPages>) -> Result<Stretch, SourceError> {
        let first = First::Read(pages.next().await?);
        Ok(Stretch { pages, first })
    }

    fn place(&self) -> Place {
        match &self.first {
            First::Read(_) => Place::of(self.pages.position()),
            First::At(position) => Place::At(position.clone()),
        }
    }
}

/// A stretch from each of these positions on, none of them read yet; `None` where the source cannot
/// begin at one of them.
pub(super) fn stretches_at<'a>(
    run: &Run,
    resource: &ResourcePath,
    window: Window,
    positions: impl Iterator<Item = &'a Position>,
) -> Option<Vec<Stretch>> {
    let stretch = |position: &Position| {
        let pages = run.reader.upserts_from(resource, window, position)?;
        Some(Stretch { pages, first: First::At(position.clone()) })
    };
    positions.map(stretch).collect()
}

/// Every item of the window, several stretches at once where the source can cut it up.
pub(super) async fn publish(
    run: &Arc<Run>,
    resource: &ResourcePath,
    window: Window,
) -> Result<(), RunError> {
    let (stretches, before) = match resume::stretches(run, resource, window).await? {
        Some(gone_on) => gone_on,
        None => (begin(run, resource, window).await?, Tally::default()),
    };
    let places = stretches.iter().map(Stretch::place).collect();
    let come = Arc::new(HowFar::of(places, before));
    let mut at_work = JoinSet::new();
    for (which, stretch) in stretches.into_iter().enumerate() {
        let (run, resource, come) = (Arc::clone(run), resource.clone(), Arc::clone(&come));
        let work = async move { publish_stretch(&run, &resource, stretch, which, &come).await };
        at_work.spawn(work.in_current_span());
    }
    // The first error drops the others in the middle: what a target acknowledged is only ever done
    // again.
    while let Some(ended) = at_work.join_next().await {
        match ended {
            Ok(result) => result?,
            // A panic in a stage is a defect; it ends its run as a panic would.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    run.commit_parked().await
}

/// One stretch, or as many as the source tells once a first page is full. Where items refer to
/// others of their own resource, the order of the pages brings parents first (R28).
async fn begin(
    run: &Run,
    resource: &ResourcePath,
    window: Window,
) -> Result<Vec<Stretch>, RunError> {
    if let Some(pages) = ahead::take(run, resource) {
        return Ok(vec![Stretch::begin(pages).await.map_err(RunError::Source)?]);
    }
    let whole = Stretch::begin(run.reader.upserts(resource, window)).await;
    let whole = whole.map_err(RunError::Source)?;
    let first = match &whole.first {
        First::Read(Some(page)) => page.len(),
        First::Read(None) | First::At(_) => 0,
    };
    let shape = run.reader.key_shape(resource).await.map_err(RunError::Source)?;
    if first == 0 || shape.is_some_and(|shape| shape.refers_to(resource)) {
        return Ok(vec![whole]);
    }
    let parts = run.reader.parts_of_upserts(resource, window, first).await;
    let parts = parts.map_err(RunError::Source)?;
    match stretches_at(run, resource, window, parts.iter()) {
        Some(stretches) if !stretches.is_empty() => Ok(stretches),
        Some(_) | None => Ok(vec![whole]),
    }
}

/// Page by page. What a page settled is put on disk with the word that the next one begins.
async fn publish_stretch(
    run: &Arc<Run>,
    resource: &ResourcePath,
    stretch: Stretch,
    which: usize,
    come: &HowFar,
) -> Result<(), RunError> {
    let Stretch { mut pages, first } = stretch;
    let mut next = match first {
        First::Read(page) => page,
        First::At(_) => pages.next().await.map_err(RunError::Source)?,
    };
    if next.is_none() {
        come.ended(which, Tally::default());
    }
    while let Some(page) = next {
        run.check_stop()?;
        let settled = upserts::publish_page(run, resource, page).await?;
        if run.is_closed(resource) {
            return Ok(());
        }
        next = pages.next().await.map_err(RunError::Source)?;
        match &next {
            Some(_) => {
                let turn = come.moved(which, pages.position(), settled);
                journal(run, resource, come, turn).await?;
            }
            None => come.ended(which, settled),
        }
    }
    Ok(())
}

/// How far every stretch of a resource has come.
struct HowFar {
    now: Mutex<Places>,
    /// A stretch has moved or ended.
    moved: Notify,
    /// The last move that is on disk; held by whoever writes.
    written: tokio::sync::Mutex<u64>,
}

struct Places {
    /// Where the page begins that each stretch is at.
    at: Vec<Place>,
    /// What became of the pages before.
    tally: Tally,
    moves: u64,
}

enum Place {
    /// Nothing can begin here but from the beginning of all.
    Beginning,
    At(Position),
    Ended,
}

impl Place {
    fn of(position: Option<Position>) -> Place {
        position.map_or(Place::Beginning, Place::At)
    }
}

impl HowFar {
    fn of(at: Vec<Place>, before: Tally) -> HowFar {
        let places = Places { at, tally: before, moves: 0 };
        HowFar {
            now: Mutex::new(places),
            moved: Notify::new(),
            written: tokio::sync::Mutex::default(),
        }
    }

    /// A page of a stretch is settled and the next one begins. Gives the number of this move.
    fn moved(&self, which: usize, position: Option<Position>, settled: Tally) -> u64 {
        self.put(which, Place::of(position), settled)
    }

    fn ended(&self, which: usize, settled: Tally) {
        self.put(which, Place::Ended, settled);
    }

    fn put(&self, which: usize, place: Place, settled: Tally) -> u64 {
        let mut now = lock(&self.now);
        now.at[which] = place;
        now.tally.add(settled);
        now.moves += 1;
        self.moved.notify_one();
        now.moves
    }

    /// Waits a moment for other stretches to move, so that a flush is for several pages. Not where
    /// there is too little to do without the stretch that waits.
    async fn gather(&self, written: u64, enough_to_do: impl Fn() -> bool) {
        for _ in 0..LOOKS {
            if !enough_to_do() || self.has_gathered(written) {
                return;
            }
            // Whoever moved meanwhile, or nobody: it is looked at again.
            let _moved = tokio::time::timeout(LOOK_EVERY, self.moved.notified()).await;
        }
    }

    /// Half of those at work are not waited for by the other half.
    fn has_gathered(&self, written: u64) -> bool {
        let now = lock(&self.now);
        let at_work = now.at.iter().filter(|place| !matches!(place, Place::Ended)).count();
        now.moves - written >= TOGETHER.min(at_work as u64 / 2)
    }

    /// The places to go on from, what became of what lies before them, and the last move in it;
    /// `None` while a stretch has none.
    fn places(&self) -> Option<(Vec<Position>, Tally, u64)> {
        let now = lock(&self.now);
        let mut positions = Vec::new();
        for place in &now.at {
            match place {
                Place::Beginning => return None,
                Place::At(position) => positions.push(position.clone()),
                Place::Ended => {}
            }
        }
        Some((positions, now.tally, now.moves))
    }
}

/// Journals that everything before the page that begins is settled, unless something of it waits
/// for what comes later in the run. Every page but the first is journalled, before it is worked on:
/// that is two small requests and one flush for so many writes as a page has items, or as several
/// have: stretches that wait here at the same time are journalled together.
///
/// A page may have come from a snapshot that took the place of the one that was opened, so the view
/// is looked at once more (R11).
async fn journal(
    run: &Run,
    resource: &ResourcePath,
    come: &HowFar,
    turn: u64,
) -> Result<(), RunError> {
    let mut written = come.written.lock().await;
    if *written >= turn {
        return Ok(());
    }
    // A half is what may be left of the work for an instant whenever a page ends.
    let enough_to_do = || 2 * run.items_begun() >= run.pair.target.at_once();
    come.gather(*written, enough_to_do).await;
    let Some((mut positions, tally, moves)) =
        come.places().filter(|_| !run.waits_for_later(resource))
    else {
        return run.commit_parked().await;
    };
    let (confirmed, newest) = join(run.reader.confirm(), run.pair.target.newest()).await;
    confirmed.map_err(RunError::Source)?;
    // A target that does not tell its newest version could be restored unnoticed.
    let newest = newest.map_err(RunError::Target)?;
    let progress = newest.map(|target_newest| Progress {
        resource: resource.clone(),
        through: run.window.through,
        position: positions.remove(0),
        others: positions,
        tally,
        target_newest,
    });
    run.commit_parked_with(progress).await?;
    *written = moves;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn at_work(stretches: usize) -> HowFar {
        HowFar::of((0..stretches).map(|_| Place::Beginning).collect(), Tally::default())
    }

    fn moves(come: &HowFar, stretches: std::ops::Range<usize>) {
        for which in stretches {
            come.moved(which, None, Tally::default());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_is_for_several_pages_while_the_target_has_enough_to_do() {
        let come = at_work(8);
        moves(&come, 0..1);
        let began = Instant::now();

        let others = async {
            tokio::time::sleep(LOOK_EVERY / 2).await;
            moves(&come, 1..4);
        };
        tokio::join!(come.gather(0, || true), others);

        assert_eq!(began.elapsed(), LOOK_EVERY / 2, "neither before the fourth move nor after it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_move_waits_for_others_a_moment_and_no_longer() {
        let come = at_work(8);
        moves(&come, 0..1);
        let began = Instant::now();

        come.gather(0, || true).await;

        assert!(began.elapsed() >= LOOK_EVERY, "others were waited for");
        assert!(began.elapsed() <= (LOOKS + 1) * LOOK_EVERY, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_alone_or_needed_at_work_waits_for_nobody() {
        for (stretches, ended, enough_to_do) in [(1, 0, true), (8, 7, true), (8, 0, false)] {
            let come = at_work(stretches);
            moves(&come, 0..1);
            for which in 1..=ended {
                come.ended(which, Tally::default());
            }
            let written = ended as u64;
            let began = Instant::now();

            come.gather(written, || enough_to_do).await;

            assert!(began.elapsed().is_zero(), "{stretches} of which {ended} ended");
        }
    }
}
