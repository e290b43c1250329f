//! The two feeds of names: `/keyChanges` and `/deletes`. Both come in order of change version, so
//! the next question starts one past the last answer and no offset is ever used.
//!
//! The one thing to know: `/keyChanges` collapses. Within the range of one question an item that
//! went A → B → C is one record A → C with the last version, and B is not told (`edfi-wire §5`).
//! What a collapse may hide is asked for with shorter ranges (R7).

use std::collections::{BTreeMap, VecDeque};

use async_trait::async_trait;

use super::ranges::{Range, RangeRequests, Told, single_version, tell};
use crate::domain::{ChangeVersion, KeyChange, SourceId, Tombstone};
use crate::sources::{KeyChangePages, SourceError, TombstonePages};

/// Questions asked of one resource for the history only. Each change costs about two, so fifty
/// changes of a window are told hop by hop; where thousands changed, which is a cascade, the
/// questions are spread evenly over them (R7).
const LOOKS_BEHIND: usize = 100;

/// Key changes held at once. A resource with more of them is told in several parts, and what a
/// collapse hides is then asked for within each part (R30).
const TOLD_AT_ONCE: usize = 50_000;

/// Every key change above a version, part by part, each ascending by version. An item that was
/// renamed several times is told several times, hop by hop.
pub(super) struct KeyChangeFeed<R> {
    requests: R,
    /// What is still to be read, the lowest last.
    ahead: Vec<Range>,
    /// Questions that may still be asked for the history only.
    looks: usize,
    at_once: usize,
}

impl<R> KeyChangeFeed<R> {
    pub(super) fn new(requests: R, after: ChangeVersion) -> KeyChangeFeed<R> {
        KeyChangeFeed {
            requests,
            ahead: vec![Range::open(after.0 + 1)],
            looks: LOOKS_BEHIND,
            at_once: TOLD_AT_ONCE,
        }
    }
}

#[async_trait]
impl<R: RangeRequests<Record = KeyChange>> KeyChangePages for KeyChangeFeed<R> {
    async fn next(&mut self) -> Result<Option<Vec<KeyChange>>, SourceError> {
        let requests = &self.requests;
        let mut history = History::default();
        while let Some(range) = self.ahead.pop() {
            let records = match tell(requests, range).await? {
                Told::Whole(records) => in_order(requests, range, records)?,
                Told::Full { records, total } => {
                    let records = in_order(requests, range, records)?;
                    match split_at_middle(range, &records) {
                        Some((low, high)) => {
                            self.ahead.extend([high, low]);
                            continue;
                        }
                        None => single_version(requests, range, records, total).await?,
                    }
                }
            };
            history.told(range, records);
            if history.hops.len() >= self.at_once {
                break;
            }
        }
        history.look_behind(requests, &mut self.looks).await?;
        let told = history.into_ascending();
        Ok((!told.is_empty()).then_some(told))
    }
}

/// Sorts what a range told, and refuses what it cannot have told: a server that ignores the edges
/// would be asked for ever.
fn in_order<R>(
    requests: &R,
    range: Range,
    mut records: Vec<KeyChange>,
) -> Result<Vec<KeyChange>, SourceError>
where
    R: RangeRequests<Record = KeyChange>,
{
    if records.iter().any(|record| !contains(range, record.version)) {
        return Err(requests.nonsense(OUT_OF_RANGE));
    }
    records.sort_by_key(|record| record.version);
    Ok(records)
}

const OUT_OF_RANGE: &str = "records came from outside the change versions that were asked for";

fn contains(range: Range, version: ChangeVersion) -> bool {
    version.0 >= range.from && range.to.is_none_or(|to| version.0 <= to)
}

/// Two ranges in place of a full one, cut at the version of the middle record; `None` when there
/// is nothing to cut.
fn split_at_middle(range: Range, records: &[KeyChange]) -> Option<(Range, Range)> {
    let middle = records.get(records.len().saturating_sub(1) / 2)?.version.0;
    match range.to {
        None => Some((Range::closed(range.from, middle), Range::open(middle + 1))),
        Some(to) if to <= range.from => None,
        Some(to) => {
            let cut = if middle < to { middle } else { range.from + (to - range.from) / 2 };
            Some((Range::closed(range.from, cut), Range::closed(cut + 1, to)))
        }
    }
}

/// What the feed has told, and the ranges in which it may have hidden something.
#[derive(Default)]
struct History {
    hops: BTreeMap<(ChangeVersion, SourceId), KeyChange>,
    /// Whole ranges with what they told, ascending.
    collapsed: VecDeque<(Range, Vec<KeyChange>)>,
}

impl History {
    fn told(&mut self, range: Range, records: Vec<KeyChange>) {
        for record in &records {
            self.hops.insert((record.version, record.id.clone()), record.clone());
        }
        let Some(last) = records.last() else { return };
        let up_to_last = Range::closed(range.from, last.version.0);
        // Every hop has a version of its own: as many records as versions leave no room.
        let room = last.version.0 - range.from + 1 > records.len() as i64;
        if room {
            self.collapsed.push_back((up_to_last, records));
        }
    }

    /// Breadth first, so that questions that run out have been spread over everything.
    async fn look_behind<R>(&mut self, requests: &R, looks: &mut usize) -> Result<(), SourceError>
    where
        R: RangeRequests<Record = KeyChange>,
    {
        while *looks > 0 {
            let Some((range, records)) = self.collapsed.pop_front() else { return Ok(()) };
            *looks -= 1;
            let (below, rest) = below_and_rest(range, records);
            if below.is_empty() {
                self.told(Range { from: below.from, to: range.to }, rest);
                continue;
            }
            let Told::Whole(earlier) = tell(requests, below).await? else { continue };
            let earlier = in_order(requests, below, earlier)?;
            let rest = continued(rest, &earlier);
            let above = Range { from: below.to.map_or(range.from, |to| to + 1), to: range.to };
            self.told(below, earlier);
            self.told(above, rest);
        }
        Ok(())
    }

    fn into_ascending(self) -> Vec<KeyChange> {
        self.hops.into_values().collect()
    }
}

/// The part of a range to ask for again, and the records that lie above it. With one record that
/// is everything below its version; with more it is the lower half.
fn below_and_rest(range: Range, mut records: Vec<KeyChange>) -> (Range, Vec<KeyChange>) {
    if let [only] = records.as_slice() {
        return (Range::closed(range.from, only.version.0 - 1), records);
    }
    let middle = (records.len() - 1) / 2;
    let cut = records[middle].version.0;
    let rest = records.split_off(middle + 1);
    (Range::closed(range.from, cut), rest)
}

/// An item that was renamed `earlier` goes on from the key that it got there.
fn continued(mut rest: Vec<KeyChange>, earlier: &[KeyChange]) -> Vec<KeyChange> {
    for later in &mut rest {
        if let Some(hop) = earlier.iter().find(|hop| hop.id == later.id) {
            later.old = hop.new.clone();
        }
    }
    rest
}

/// Tombstones of a range, ascending.
pub(super) struct TombstoneFeed<R> {
    requests: R,
    /// What is still to be read; `None` at the end.
    ahead: Option<Range>,
    told: u64,
    total: Option<u64>,
}

impl<R> TombstoneFeed<R> {
    pub(super) fn new(requests: R, range: Range) -> TombstoneFeed<R> {
        TombstoneFeed { requests, ahead: Some(range), told: 0, total: None }
    }
}

#[async_trait]
impl<R: RangeRequests<Record = Tombstone>> TombstonePages for TombstoneFeed<R> {
    /// A short page does not end the feed, the server's own limit may be lower than ours: it ends
    /// with an empty page, or when as many were told as the first answer counted.
    async fn next(&mut self) -> Result<Option<Vec<Tombstone>>, SourceError> {
        let Some(range) = self.ahead.filter(|range| !range.is_empty()) else { return Ok(None) };
        self.ahead = None;
        let first = self.told == 0;
        let answer = self.requests.ask(range, first).await?;
        if first {
            self.total = answer.total;
        }
        let Some(last) = self.last_version(range, &answer.records)? else { return Ok(None) };

        self.told += answer.records.len() as u64;
        if self.total.is_none_or(|total| self.told < total) {
            self.ahead = Some(Range { from: last.0 + 1, to: range.to });
        }
        Ok(Some(answer.records))
    }
}

impl<R: RangeRequests<Record = Tombstone>> TombstoneFeed<R> {
    /// The version after which the feed goes on; `None` for an empty page.
    fn last_version(
        &self,
        range: Range,
        records: &[Tombstone],
    ) -> Result<Option<ChangeVersion>, SourceError> {
        if records.iter().any(|record| !contains(range, record.version)) {
            return Err(self.requests.nonsense(OUT_OF_RANGE));
        }
        if !records.is_sorted_by_key(|record| record.version) {
            return Err(self.requests.nonsense("deletes came out of the order of their versions"));
        }
        Ok(records.last().map(|record| record.version))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{KeyText, NaturalKey};
    use crate::sources::edfi::limit::PageLimit;
    use crate::sources::edfi::ranges::Answer;

    fn key(number: i64) -> NaturalKey {
        NaturalKey::from_iter([("k".to_owned(), KeyText::Bare(number.to_string()))])
    }

    fn id(number: u32) -> SourceId {
        SourceId(format!("{number:04}"))
    }

    fn unusable(what: &str) -> SourceError {
        SourceError::Unusable { connection: "test".to_owned(), what: what.to_owned() }
    }

    /// A key-change table whose rows a question collapses per item.
    struct Table {
        limit: PageLimit,
        /// Version, item; the key after a hop is the version, the key before it what was before.
        hops: Vec<KeyChange>,
        asked: AtomicUsize,
    }

    impl Table {
        fn of(hops: &[(i64, u32)], limit: usize) -> Table {
            let mut last = BTreeMap::new();
            let hop = |(version, item): &(i64, u32)| {
                let old = last.insert(*item, *version).unwrap_or(-i64::from(*item) - 1);
                KeyChange {
                    id: id(*item),
                    version: ChangeVersion(*version),
                    old: key(old),
                    new: key(*version),
                }
            };
            Table {
                limit: PageLimit::new(limit),
                hops: hops.iter().map(hop).collect(),
                asked: AtomicUsize::new(0),
            }
        }
    }

    #[async_trait]
    impl RangeRequests for &Table {
        type Record = KeyChange;

        fn limit(&self) -> &PageLimit {
            &self.limit
        }

        async fn ask(&self, range: Range, count: bool) -> Result<Answer<KeyChange>, SourceError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let mut collapsed: BTreeMap<SourceId, KeyChange> = BTreeMap::new();
            for hop in self.hops.iter().filter(|hop| contains(range, hop.version)) {
                collapsed
                    .entry(hop.id.clone())
                    .and_modify(|record| {
                        record.version = hop.version;
                        record.new = hop.new.clone();
                    })
                    .or_insert_with(|| hop.clone());
            }
            let mut records: Vec<KeyChange> = collapsed.into_values().collect();
            records.sort_by_key(|record| record.version);
            let limit = self.limit.get();
            let total = count.then_some(records.len() as u64);
            records.truncate(limit);
            Ok(Answer { records, limit, total })
        }

        async fn newest(&self) -> Result<ChangeVersion, SourceError> {
            Err(unusable("feeds of names have no need of it"))
        }

        fn nonsense(&self, what: &str) -> SourceError {
            unusable(what)
        }

        fn too_many_at_once(&self) -> SourceError {
            unusable("too many at once")
        }
    }

    async fn read_key_changes<R: RangeRequests<Record = KeyChange>>(
        requests: R,
        after: ChangeVersion,
    ) -> Result<Vec<KeyChange>, SourceError> {
        let mut feed = KeyChangeFeed::new(requests, after);
        let mut all = Vec::new();
        while let Some(part) = feed.next().await? {
            assert!(!part.is_empty(), "a part is never empty");
            all.extend(part);
        }
        Ok(all)
    }

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn hops(most: usize) -> impl Strategy<Value = Vec<(i64, u32)>> {
        prop::collection::btree_map(1_i64..3_000, 0_u32..12, 0..most)
            .prop_map(|hops| hops.into_iter().collect())
    }

    proptest! {
        #[test]
        fn r7_a_collapse_hides_no_hop_of_an_ordinary_night(
            hops in hops(30),
            limit in 1_usize..40,
            after in 0_i64..1_500,
        ) {
            let table = Table::of(&hops, limit);

            let told = block_on(read_key_changes(&table, ChangeVersion(after))).unwrap();

            let wanted: Vec<KeyChange> =
                table.hops.iter().filter(|hop| hop.version.0 > after).cloned().collect();
            prop_assert_eq!(told, wanted);
        }

        #[test]
        fn r30_what_is_too_much_to_hold_is_told_in_parts_that_are_no_larger_than_that_and_a_page(
            hops in hops(200),
            limit in 1_usize..20,
            at_once in 1_usize..60,
        ) {
            let table = Table::of(&hops, limit);
            let mut feed = KeyChangeFeed::new(&table, ChangeVersion(0));
            feed.at_once = at_once;
            feed.looks = 0;

            let mut told: Vec<KeyChange> = Vec::new();
            while let Some(part) = block_on(feed.next()).unwrap() {
                prop_assert!(part.len() < at_once + limit, "{} at once", part.len());
                told.extend(part);
            }

            prop_assert!(told.is_sorted_by_key(|record| record.version));
            for item in 0..12 {
                let last = |all: &[KeyChange]| -> Option<KeyChange> {
                    all.iter().rfind(|record| record.id == id(item)).cloned()
                };
                let (told, true_hops) = (last(&told), last(&table.hops));
                prop_assert_eq!(told.map(|r| r.new), true_hops.map(|r| r.new));
            }
        }

        #[test]
        fn where_thousands_changed_the_chains_still_hold_together(
            hops in hops(900),
            limit in 1_usize..40,
        ) {
            let table = Table::of(&hops, limit);

            let told = block_on(read_key_changes(&table, ChangeVersion(0))).unwrap();

            prop_assert!(told.is_sorted_by_key(|record| record.version));
            for item in 0..12 {
                let of_item = |all: &[KeyChange]| -> Vec<KeyChange> {
                    all.iter().filter(|record| record.id == id(item)).cloned().collect()
                };
                let (told, true_hops) = (of_item(&told), of_item(&table.hops));
                prop_assert!(told.windows(2).all(|pair| pair[0].new == pair[1].old));
                prop_assert_eq!(told.first().map(|r| &r.old), true_hops.first().map(|r| &r.old));
                prop_assert_eq!(told.last().map(|r| &r.new), true_hops.last().map(|r| &r.new));
            }
        }
    }

    #[tokio::test]
    async fn a_resource_without_key_changes_costs_one_request() {
        let table = Table::of(&[(5, 1)], 500);

        let told = read_key_changes(&table, ChangeVersion(5)).await.unwrap();

        assert!(told.is_empty());
        assert_eq!(table.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn the_history_of_a_cascade_costs_a_bounded_number_of_requests() {
        let cascade: Vec<(i64, u32)> = (0..400).map(|n| (i64::from(n) * 3 + 10, n)).collect();
        let table = Table::of(&cascade, 500);

        let told = read_key_changes(&table, ChangeVersion(0)).await.unwrap();

        assert_eq!(told, table.hops);
        assert!(table.asked.load(Ordering::SeqCst) <= LOOKS_BEHIND + 1);
    }

    /// A deletes feed; `cap` is what it returns at most, whatever it is asked for.
    struct Deletes {
        limit: PageLimit,
        cap: usize,
        counts: bool,
        versions: Vec<i64>,
        asked: AtomicUsize,
    }

    impl Deletes {
        fn of(versions: impl IntoIterator<Item = i64>, limit: usize, cap: usize) -> Deletes {
            Deletes {
                limit: PageLimit::new(limit),
                cap,
                counts: true,
                versions: versions.into_iter().collect(),
                asked: AtomicUsize::new(0),
            }
        }
    }

    #[async_trait]
    impl RangeRequests for &Deletes {
        type Record = Tombstone;

        fn limit(&self) -> &PageLimit {
            &self.limit
        }

        async fn ask(&self, range: Range, count: bool) -> Result<Answer<Tombstone>, SourceError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let limit = self.limit.get();
            let all: Vec<i64> = self
                .versions
                .iter()
                .copied()
                .filter(|version| contains(range, ChangeVersion(*version)))
                .collect();
            let tombstone = |version: &i64| Tombstone {
                id: SourceId(version.to_string()),
                version: ChangeVersion(*version),
                key: None,
            };
            Ok(Answer {
                records: all.iter().take(limit.min(self.cap)).map(tombstone).collect(),
                limit,
                total: (count && self.counts).then_some(all.len() as u64),
            })
        }

        async fn newest(&self) -> Result<ChangeVersion, SourceError> {
            Err(unusable("feeds of names have no need of it"))
        }

        fn nonsense(&self, what: &str) -> SourceError {
            unusable(what)
        }

        fn too_many_at_once(&self) -> SourceError {
            unusable("too many at once")
        }
    }

    async fn read_tombstones(deletes: &Deletes, range: Range) -> Result<Vec<i64>, SourceError> {
        let mut feed = TombstoneFeed::new(deletes, range);
        let mut all = Vec::new();
        while let Some(page) = feed.next().await? {
            assert!(!page.is_empty(), "a page is never empty");
            all.extend(page.iter().map(|tombstone| tombstone.version.0));
        }
        Ok(all)
    }

    proptest! {
        #[test]
        fn every_tombstone_is_told_once_and_in_order_whatever_the_pages_hold(
            versions in prop::collection::btree_set(1_i64..1_000, 0..80),
            limit in 1_usize..30,
            cap in 1_usize..30,
            counts in prop::bool::ANY,
            from in 0_i64..500,
            to in prop::option::of(500_i64..1_000),
        ) {
            let mut deletes = Deletes::of(versions.iter().copied(), limit, cap);
            deletes.counts = counts;
            let range = Range { from, to };

            let told = block_on(read_tombstones(&deletes, range)).unwrap();

            let wanted: Vec<i64> =
                versions.into_iter().filter(|v| contains(range, ChangeVersion(*v))).collect();
            prop_assert_eq!(told, wanted);
        }
    }

    #[tokio::test]
    async fn a_feed_whose_count_was_reached_needs_no_further_page() {
        let deletes = Deletes::of([3, 5, 8], 500, 500);

        let told = read_tombstones(&deletes, Range::open(1)).await.unwrap();

        assert_eq!(told, [3, 5, 8]);
        assert_eq!(deletes.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_feed_that_is_out_of_order_is_refused() {
        let deletes = Deletes::of([5, 3, 8], 500, 500);

        let error = read_tombstones(&deletes, Range::open(1)).await.unwrap_err();

        assert!(error.to_string().contains("out of the order"), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_ignores_the_edges_is_refused_and_not_asked_for_ever() {
        struct Deaf(PageLimit);
        #[async_trait]
        impl RangeRequests for Deaf {
            type Record = KeyChange;
            fn limit(&self) -> &PageLimit {
                &self.0
            }
            async fn ask(&self, _: Range, _: bool) -> Result<Answer<KeyChange>, SourceError> {
                Ok(Answer { records: Table::of(&[(5, 1)], 1).hops, limit: 1, total: Some(1) })
            }
            async fn newest(&self) -> Result<ChangeVersion, SourceError> {
                Err(unusable("feeds of names have no need of it"))
            }
            fn nonsense(&self, what: &str) -> SourceError {
                unusable(what)
            }
            fn too_many_at_once(&self) -> SourceError {
                unusable("too many at once")
            }
        }

        let error = read_key_changes(Deaf(PageLimit::new(1)), ChangeVersion(0)).await.unwrap_err();

        assert!(error.to_string().contains("outside the change versions"), "{error}");
    }

    #[test]
    fn a_full_range_is_cut_into_two_that_are_both_smaller() {
        let records = |versions: &[i64]| -> Vec<KeyChange> {
            Table::of(&versions.iter().map(|v| (*v, 0)).collect::<Vec<_>>(), 9).hops
        };
        for (case, range, versions, wanted) in [
            ("open", Range::open(1), &[4, 6, 9][..], Some((Range::closed(1, 6), Range::open(7)))),
            (
                "closed",
                Range::closed(1, 9),
                &[4, 6, 9],
                Some((Range::closed(1, 6), Range::closed(7, 9))),
            ),
            (
                "everything at the top",
                Range::closed(1, 9),
                &[9],
                Some((Range::closed(1, 5), Range::closed(6, 9))),
            ),
            ("one version", Range::closed(9, 9), &[9], None),
        ] {
            assert_eq!(split_at_middle(range, &records(versions)), wanted, "{case}");
        }
        let ids: BTreeSet<SourceId> = records(&[1]).into_iter().map(|r| r.id).collect();
        assert_eq!(ids.len(), 1);
    }
}
