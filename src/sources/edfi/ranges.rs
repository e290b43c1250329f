//! Closed ranges of change versions, for servers without cursors (R9).
//!
//! An offset counts from the start of a collection that moves; a range does not. Each range is
//! answered whole by one request, or what came is thrown away and the range is read again in
//! pieces. The one thing to know: a full answer never tells whether there was more, and the lower
//! edge of a range that was partly read is never moved, because the answer is not in order of
//! version.

use async_trait::async_trait;

use super::limit::PageLimit;
use super::paging::Feed;
use super::position::Place;
use crate::domain::{ChangeVersion, Item};
use crate::sources::SourceError;

/// Change versions from … to, both inclusive; no `to` is no upper edge (R8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: i64,
    pub(super) to: Option<i64>,
}

impl Range {
    pub(super) fn closed(from: i64, to: i64) -> Range {
        Range { from, to: Some(to) }
    }

    pub(super) fn open(from: i64) -> Range {
        Range { from, to: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.to.is_some_and(|to| to < self.from)
    }
}

/// One answer to a question for a range.
#[derive(Debug)]
pub(super) struct Answer<T> {
    pub(super) records: Vec<T>,
    /// How many records the request asked for at most.
    pub(super) limit: usize,
    /// How many there are, if the request wanted that counted.
    pub(super) total: Option<u64>,
}

/// Whoever can ask one collection of one view for a range.
#[async_trait]
pub(super) trait RangeRequests: Send + Sync {
    type Record: Send;

    fn limit(&self) -> &PageLimit;

    async fn ask(&self, range: Range, count: bool) -> Result<Answer<Self::Record>, SourceError>;

    /// The newest change version of the view now.
    async fn newest(&self) -> Result<ChangeVersion, SourceError>;

    /// What to say of an answer that makes no sense.
    fn nonsense(&self, what: &str) -> SourceError;

    /// What to say when one change version holds more than an answer may.
    fn too_many_at_once(&self) -> SourceError;
}

/// What is known of a range after it was asked for.
#[derive(Debug)]
pub(super) enum Told<T> {
    /// Everything that the range holds.
    Whole(Vec<T>),
    /// There may be more; `total` as far as the server counted.
    Full { records: Vec<T>, total: Option<u64> },
}

/// A short answer with a larger count is asked for so many times before the count is believed: a
/// collection that moves between counting and reading looks the same once.
const SUSPICIONS: u32 = 3;

/// Asks for `range` and says whether the answer is whole. While the server has not been seen to
/// honour the limit, the count that comes along decides (R10).
pub(super) async fn tell<R: RangeRequests + ?Sized>(
    requests: &R,
    range: Range,
) -> Result<Told<R::Record>, SourceError> {
    let mut shortest = None;
    for _ in 0..SUSPICIONS {
        let count = !requests.limit().is_honoured();
        let answer = requests.ask(range, count).await?;
        let (told, limit) = (answer.records.len(), answer.limit);
        if told >= limit {
            requests.limit().saw_full_answer(limit);
            return Ok(Told::Full { records: answer.records, total: answer.total });
        }
        if !count {
            return Ok(Told::Whole(answer.records));
        }
        let Some(total) = answer.total else {
            return Err(requests.nonsense(
                "the count that was asked for (`Total-Count`) is missing, so a short page cannot be told from a capped one; let the header through",
            ));
        };
        if total <= told as u64 {
            return Ok(Told::Whole(answer.records));
        }
        if told > 0 && shortest == Some(told) {
            requests.limit().cap(told);
            return Ok(Told::Full { records: answer.records, total: Some(total) });
        }
        shortest = Some(told);
    }
    Err(requests.nonsense("fewer items came than were counted, time and again"))
}

/// Live items of a closed range, range by range, each answered whole.
pub(super) struct RangeFeed<R> {
    requests: R,
    /// What is still to be read, the lowest last.
    ahead: Vec<Range>,
    /// The range of the answer that came last.
    last: Option<Range>,
}

impl<R: RangeRequests> RangeFeed<R> {
    /// `whole` is closed: what has no upper edge cannot be cut.
    pub(super) fn new(requests: R, whole: Range) -> RangeFeed<R> {
        let ahead = if whole.is_empty() { Vec::new() } else { vec![whole] };
        RangeFeed { requests, ahead, last: None }
    }

    /// What was to be read before the answer that came last, the lowest last.
    fn ahead_of_last(&self) -> Vec<(i64, i64)> {
        let ranges = self.ahead.iter().chain(&self.last);
        ranges.filter_map(|range| Some((range.from, range.to?))).collect()
    }

    /// The next answer that is whole and holds something.
    pub(super) async fn next_records(&mut self) -> Result<Option<Vec<R::Record>>, SourceError> {
        while let Some(range) = self.ahead.pop() {
            self.last = Some(range);
            match tell(&self.requests, range).await? {
                Told::Whole(records) if records.is_empty() => {}
                Told::Whole(records) => return Ok(Some(records)),
                Told::Full { records, total } => {
                    let pieces = split(range, pieces(total, self.requests.limit().get()));
                    if pieces.is_empty() {
                        let whole = single_version(&self.requests, range, records, total).await?;
                        // Its item may have been rewritten between the two questions.
                        if !whole.is_empty() {
                            return Ok(Some(whole));
                        }
                    }
                    self.ahead.extend(pieces.into_iter().rev());
                }
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl<R: RangeRequests<Record = Item>> Feed for RangeFeed<R> {
    async fn next(&mut self) -> Result<Option<Vec<Item>>, SourceError> {
        self.next_records().await
    }

    fn place(&self) -> Option<Place> {
        Some(Place::Ranges { ahead: self.ahead_of_last(), above: None })
    }
}

/// Live items from the lower edge of a range on, without an upper one. What has no edge cannot be
/// cut, so the range itself is read first, and then what lies above it, up to what is newest by
/// then: an item that was rewritten meanwhile is met there, and one that is rewritten once more
/// has a version that the next run asks for (R9).
pub(super) struct OpenRangeFeed<R> {
    ranges: RangeFeed<R>,
    /// Where the last range begins; `None` once it is among the ranges.
    above: Option<i64>,
}

impl<R: RangeRequests> OpenRangeFeed<R> {
    pub(super) fn new(requests: R, range: Range) -> OpenRangeFeed<R> {
        let above = range.to.map(|to| to + 1);
        OpenRangeFeed { ranges: RangeFeed::new(requests, range), above }
    }

    /// Begins with the last of `ahead`; a closed feed has nothing above.
    pub(super) fn at(requests: R, ahead: &[(i64, i64)], above: Option<i64>) -> OpenRangeFeed<R> {
        let ahead = ahead.iter().map(|(from, to)| Range::closed(*from, *to)).collect();
        OpenRangeFeed { ranges: RangeFeed { requests, ahead, last: None }, above }
    }

    async fn next_records(&mut self) -> Result<Option<Vec<R::Record>>, SourceError> {
        if let Some(records) = self.ranges.next_records().await? {
            return Ok(Some(records));
        }
        let Some(from) = self.above.take() else { return Ok(None) };
        let newest = self.ranges.requests.newest().await?;
        let last = Range::closed(from, newest.0);
        if !last.is_empty() {
            self.ranges.ahead.push(last);
        }
        self.ranges.next_records().await
    }
}

#[async_trait]
impl<R: RangeRequests<Record = Item>> Feed for OpenRangeFeed<R> {
    async fn next(&mut self) -> Result<Option<Vec<Item>>, SourceError> {
        self.next_records().await
    }

    fn place(&self) -> Option<Place> {
        Some(Place::Ranges { ahead: self.ranges.ahead_of_last(), above: self.above })
    }
}

/// A range that cannot be split: whole only if the count says so. Versions are unique, so with
/// a server that keeps to that a page of one suffices.
pub(super) async fn single_version<R: RangeRequests + ?Sized>(
    requests: &R,
    range: Range,
    records: Vec<R::Record>,
    total: Option<u64>,
) -> Result<Vec<R::Record>, SourceError> {
    if total.is_some_and(|total| total <= records.len() as u64) {
        return Ok(records);
    }
    let counted = requests.ask(range, true).await?;
    if counted.total.is_some_and(|total| total <= counted.records.len() as u64) {
        return Ok(counted.records);
    }
    Err(requests.too_many_at_once())
}

/// How many pieces a full range is cut into: two, or what the count suggests with some air. More
/// than a few at once would be a guess that versions are spread evenly, which they rarely are.
fn pieces(total: Option<u64>, limit: usize) -> i64 {
    const MOST: u64 = 8;
    let Some(total) = total else { return 2 };
    let wanted = total.saturating_mul(3) / (limit as u64).saturating_mul(2) + 1;
    i64::try_from(wanted.clamp(2, MOST)).unwrap_or(2)
}

/// Cuts a closed range into adjacent ones, ascending; empty when there is only one version in it.
fn split(range: Range, pieces: i64) -> Vec<Range> {
    let Some(to) = range.to else { return Vec::new() };
    let span = to - range.from;
    if span < 1 {
        return Vec::new();
    }
    let width = (span / pieces + 1).min(span);
    let mut parts = Vec::new();
    let mut from = range.from;
    while from <= to {
        let end = from.saturating_add(width - 1).min(to);
        parts.push(Range::closed(from, end));
        from = end + 1;
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;

    /// A collection whose items move while it is read.
    struct Moving {
        limit: PageLimit,
        /// What the server returns at most, whatever it is asked for.
        silent_cap: usize,
        /// Item → change version.
        items: Mutex<BTreeMap<u32, i64>>,
        /// Edits done after the n-th request: item → new version (`None`: deleted).
        edits: BTreeMap<usize, Vec<(u32, Option<i64>)>>,
        asked: AtomicUsize,
    }

    impl Moving {
        fn with(items: impl IntoIterator<Item = (u32, i64)>, limit: usize) -> Moving {
            Moving {
                limit: PageLimit::new(limit),
                silent_cap: usize::MAX,
                items: Mutex::new(items.into_iter().collect()),
                edits: BTreeMap::new(),
                asked: AtomicUsize::new(0),
            }
        }
    }

    fn unusable(what: &str) -> SourceError {
        SourceError::Unusable { connection: "test".to_owned(), what: what.to_owned() }
    }

    #[async_trait]
    impl RangeRequests for &Moving {
        type Record = u32;

        fn limit(&self) -> &PageLimit {
            &self.limit
        }

        async fn ask(&self, range: Range, count: bool) -> Result<Answer<u32>, SourceError> {
            let asked = self.asked.fetch_add(1, Ordering::SeqCst);
            let mut items = self.items.lock().unwrap();
            let within = |version: i64| version >= range.from && version <= range.to.unwrap();
            let found: Vec<u32> =
                items.iter().filter(|(_, version)| within(**version)).map(|(id, _)| *id).collect();
            for (id, version) in self.edits.get(&asked).into_iter().flatten() {
                match version {
                    Some(version) => items.insert(*id, *version),
                    None => items.remove(id),
                };
            }
            let limit = self.limit.get();
            Ok(Answer {
                total: count.then_some(found.len() as u64),
                records: found.into_iter().take(limit.min(self.silent_cap)).collect(),
                limit,
            })
        }

        async fn newest(&self) -> Result<ChangeVersion, SourceError> {
            let items = self.items.lock().unwrap();
            Ok(ChangeVersion(items.values().copied().max().unwrap_or(0)))
        }

        fn nonsense(&self, what: &str) -> SourceError {
            unusable(what)
        }

        fn too_many_at_once(&self) -> SourceError {
            unusable("too many at once")
        }
    }

    async fn read(moving: &Moving, from: i64, to: i64) -> Result<Vec<u32>, SourceError> {
        let mut feed = RangeFeed::new(moving, Range::closed(from, to));
        let mut all = Vec::new();
        while let Some(records) = feed.next_records().await? {
            assert!(!records.is_empty(), "a page is never empty");
            all.extend(records);
        }
        Ok(all)
    }

    /// What is told up to the `stop`-th answer, and then from the beginning of that answer on by a
    /// feed of its own; `None` if there are fewer answers.
    async fn read_in_two(
        moving: &Moving,
        (from, to): (i64, i64),
        stop: usize,
    ) -> Result<Option<(Vec<u32>, Vec<u32>)>, SourceError> {
        let mut feed = OpenRangeFeed::new(moving, Range::closed(from, to));
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..stop {
            let Some(records) = feed.next_records().await? else { return Ok(None) };
            first.extend(records);
        }
        if feed.next_records().await?.is_none() {
            return Ok(None);
        }
        let mut again = OpenRangeFeed::at(moving, &feed.ranges.ahead_of_last(), feed.above);
        while let Some(records) = again.next_records().await? {
            second.extend(records);
        }
        Ok(Some((first, second)))
    }

    /// What an open feed tells, and the newest version when its last range began.
    async fn read_openly(
        moving: &Moving,
        from: i64,
        to: i64,
    ) -> Result<(Vec<u32>, i64), SourceError> {
        let mut feed = OpenRangeFeed::new(moving, Range::closed(from, to));
        let (mut all, mut edge) = (Vec::new(), to);
        loop {
            let before = moving.newest().await?.0;
            let had_last_range = feed.above.is_none();
            let records = feed.next_records().await?;
            if !had_last_range && feed.above.is_none() {
                edge = before.max(to);
            }
            match records {
                Some(records) => all.extend(records),
                None => return Ok((all, edge)),
            }
        }
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    proptest! {
        #[test]
        fn every_item_of_a_range_is_read_exactly_once_with_bounded_requests(
            versions in prop::collection::btree_set(1_i64..100_000, 0..300),
            limit in 1_usize..60,
            (a, b) in (0_i64..100_000, 0_i64..100_000),
        ) {
            let (from, to) = (a.min(b), a.max(b));
            let moving = Moving::with((0..).zip(versions.iter().copied()), limit);

            let mut told = block_on(read(&moving, from, to)).unwrap();

            told.sort_unstable();
            let wanted: Vec<u32> = (0..).zip(&versions)
                .filter(|(_, version)| (from..=to).contains(*version))
                .map(|(id, _)| id)
                .collect();
            // Every full answer lies on a path of at most 17 halvings above `limit` items of its own.
            let bound = 4 + 17 * 8 * (wanted.len() / limit + 1);
            prop_assert_eq!(&told, &wanted);
            prop_assert!(moving.asked.load(Ordering::SeqCst) <= bound);
        }

        #[test]
        fn r12_a_feed_begins_again_with_the_answer_that_came_last_and_misses_nothing(
            versions in prop::collection::btree_set(1_i64..2_000, 1..200),
            limit in 1_usize..30,
            stop in 0_usize..40,
            to in 1_i64..2_000,
        ) {
            let moving = Moving::with((0..).zip(versions.iter().copied()), limit);

            let told = block_on(read_in_two(&moving, (0, to), stop)).unwrap();

            let Some((mut told, rest)) = told else { return Ok(()) };
            told.extend(rest);
            told.sort_unstable();
            let all: Vec<u32> = (0..).zip(&versions).map(|(id, _)| id).collect();
            prop_assert_eq!(told, all);
        }

        #[test]
        fn what_was_in_the_window_and_was_left_alone_is_never_missed(
            versions in prop::collection::btree_set(1_i64..5_000, 1..200),
            limit in 1_usize..30,
            edits in prop::collection::vec((0_usize..100, 0_u32..250, prop::bool::ANY), 0..120),
        ) {
            let mut moving = Moving::with((0..).zip(versions.iter().copied()), limit);
            let mut newest = 5_000;
            let mut touched = BTreeSet::new();
            for (at, id, deleted) in edits {
                newest += 1;
                touched.insert(id);
                moving.edits.entry(at).or_default().push((id, (!deleted).then_some(newest)));
            }

            let told = block_on(read(&moving, 0, 5_000)).unwrap();

            let unique: BTreeSet<u32> = told.iter().copied().collect();
            prop_assert_eq!(unique.len(), told.len(), "no item twice");
            for id in 0..u32::try_from(versions.len()).unwrap() {
                prop_assert!(unique.contains(&id) || touched.contains(&id), "{} was missed", id);
            }
        }

        #[test]
        fn r9_what_is_read_openly_is_as_it_is_at_the_end_but_for_what_moves_during_the_last_range(
            versions in prop::collection::btree_set(1_i64..5_000, 1..200),
            limit in 1_usize..30,
            edits in prop::collection::vec((0_usize..100, 0_u32..250, prop::bool::ANY), 0..120),
        ) {
            let mut moving = Moving::with((0..).zip(versions.iter().copied()), limit);
            let mut newest = 5_000;
            let mut edits = edits;
            edits.sort_by_key(|(at, _, _)| *at);
            for (at, id, deleted) in edits {
                newest += 1;
                moving.edits.entry(at).or_default().push((id, (!deleted).then_some(newest)));
            }

            let (told, edge) = block_on(read_openly(&moving, 0, 5_000)).unwrap();

            let told: BTreeSet<u32> = told.into_iter().collect();
            for (id, version) in moving.items.lock().unwrap().iter() {
                let comes_next_time = *version > edge;
                prop_assert!(told.contains(id) || comes_next_time, "{} was missed", id);
            }
        }

        #[test]
        fn s10_a_silent_cap_is_learnt_and_nothing_is_taken_for_whole(
            versions in prop::collection::btree_set(1_i64..2_000, 0..150),
            cap in 1_usize..20,
        ) {
            let mut moving = Moving::with((0..).zip(versions.iter().copied()), 50);
            moving.silent_cap = cap;

            let told = block_on(read(&moving, 0, 2_000)).unwrap();

            prop_assert_eq!(told.len(), versions.len());
            prop_assert!(versions.len() <= cap || moving.limit.get() == cap);
        }
    }

    #[tokio::test]
    async fn a_version_that_holds_more_than_a_page_is_an_error_not_a_loss() {
        let moving = Moving::with((0..10).map(|id| (id, 7)), 4);

        let error = read(&moving, 0, 100).await.unwrap_err();

        assert!(error.to_string().contains("too many at once"), "{error}");
    }

    #[tokio::test]
    async fn an_item_that_leaves_its_only_version_between_two_questions_makes_no_empty_page() {
        let mut moving = Moving::with([(1, 7)], 1);
        moving.limit.saw_full_answer(usize::MAX);
        moving.edits.insert(0, vec![(1, Some(9))]);

        let told = read(&moving, 7, 7).await.unwrap();

        assert!(told.is_empty());
    }

    #[tokio::test]
    async fn once_the_limit_is_known_to_be_honoured_nothing_is_counted() {
        let moving = Moving::with((0..10).map(|id| (id, i64::from(id))), 4);
        moving.limit.saw_full_answer(usize::MAX);

        let Told::Full { total, .. } = tell(&&moving, Range::closed(0, 100)).await.unwrap() else {
            panic!("ten items are more than four");
        };

        assert_eq!(total, None);
    }

    #[test]
    fn pieces_are_adjacent_and_cover_the_range() {
        for (case, range, pieces, wanted) in [
            ("halves", (1, 10), 2, vec![(1, 5), (6, 10)]),
            ("two versions", (1, 2), 8, vec![(1, 1), (2, 2)]),
            ("one version", (5, 5), 2, vec![]),
            ("more than halves", (0, 9), 5, vec![(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]),
        ] {
            let parts = split(Range::closed(range.0, range.1), pieces);

            let edges: Vec<_> = parts.iter().map(|part| (part.from, part.to.unwrap())).collect();
            assert_eq!(edges, wanted, "{case}");
        }
    }
}
