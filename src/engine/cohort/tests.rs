//! A cohort over a source of four pages, or more, that counts what it is asked.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::*;
use crate::domain::Body;

const PAGES: usize = 4;
/// One page of it is kept for a cohort of two, and no second one.
const LARGE: usize = 3 * 1024 * 1024;

/// Four of it are kept for a cohort of two, and no fifth one.
const A_QUARTER: usize = 1_000_000;

/// Pages `0 1 2 3` and so on, of one item each; position `n` is where page `n` begins.
#[derive(Clone, Default)]
struct Source {
    size: usize,
    /// Beyond the four.
    more_pages: usize,
    pages_read: Arc<AtomicUsize>,
    confirmed: Arc<AtomicUsize>,
    /// The page whose reading fails, counted over everybody.
    fails_at: Option<usize>,
}

struct Numbered {
    source: Source,
    next: usize,
}

#[async_trait]
impl ItemPages for Numbered {
    async fn next(&mut self) -> Result<Option<Vec<Item>>, SourceError> {
        if self.next == PAGES + self.source.more_pages {
            return Ok(None);
        }
        let read = self.source.pages_read.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        if self.source.fails_at == Some(read) {
            return Err(broken());
        }
        let id = SourceId(self.next.to_string());
        let body = Body(Bytes::from(vec![b' '; self.source.size]));
        self.next += 1;
        Ok(Some(vec![Item { id, body }]))
    }

    fn position(&self) -> Option<Position> {
        self.next.checked_sub(1).map(|page| Position(page.to_string()))
    }
}

/// The version of a tombstone is the number of its page, of which one is kept and no second one.
struct Deleted {
    pages: Numbered,
}

#[async_trait]
impl TombstonePages for Deleted {
    async fn next(&mut self) -> Result<Option<Vec<Tombstone>>, SourceError> {
        let Some(page) = self.pages.next().await? else { return Ok(None) };
        let version = ChangeVersion(i64::try_from(self.pages.next - 1).unwrap());
        let id = page[0].id.clone();
        let tombstone = Tombstone { id, version, key: None };
        Ok(Some(vec![tombstone; 3 * 512]))
    }
}

fn broken() -> SourceError {
    SourceError::Unusable { connection: "district".to_owned(), what: "it is broken".to_owned() }
}

#[async_trait]
impl Reader for Source {
    fn newest(&self) -> ChangeVersion {
        ChangeVersion(9)
    }

    fn isolation(&self) -> Isolation {
        Isolation::Snapshot
    }

    fn upserts(&self, _: &ResourcePath, _: Window) -> Box<dyn ItemPages> {
        Box::new(Numbered { source: self.clone(), next: 0 })
    }

    fn upserts_from(
        &self,
        _: &ResourcePath,
        _: Window,
        position: &Position,
    ) -> Option<Box<dyn ItemPages>> {
        Some(Box::new(Numbered { source: self.clone(), next: position.0.parse().unwrap() }))
    }

    fn key_changes(&self, _: &ResourcePath, _: ChangeVersion) -> Box<dyn KeyChangePages> {
        unreachable!("no test reads key changes")
    }

    fn tombstones(&self, _: &ResourcePath, _: Window) -> Box<dyn TombstonePages> {
        Box::new(Deleted { pages: Numbered { source: self.clone(), next: 0 } })
    }

    fn tombstones_after(&self, _: &ResourcePath, _: ChangeVersion) -> Box<dyn TombstonePages> {
        unreachable!("no test reads tombstones without an edge")
    }

    async fn count_tombstones(&self, _: &ResourcePath, _: Window) -> Result<u64, SourceError> {
        Err(broken())
    }

    async fn count(&self, _: &ResourcePath, _: Option<Window>) -> Result<u64, SourceError> {
        Err(broken())
    }

    async fn get(&self, _: &ResourcePath, _: &SourceId) -> Result<Lookup, SourceError> {
        Err(broken())
    }

    async fn tells(&self, _: &Canary) -> Result<bool, SourceError> {
        Err(broken())
    }

    async fn find(&self, _: &ResourcePath, _: &NaturalKey) -> Result<Lookup, SourceError> {
        Err(broken())
    }

    async fn key_shape(&self, _: &ResourcePath) -> Result<Option<Arc<KeyShape>>, SourceError> {
        Ok(None)
    }

    async fn confirm(&self) -> Result<(), SourceError> {
        self.confirmed.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Ok(())
    }

    fn for_run(&self, _: &str, _: CancellationToken) -> Arc<dyn Reader> {
        Arc::new(self.clone())
    }

    fn requests(&self) -> u64 {
        0
    }
}

fn small() -> Source {
    Source { size: 10, ..Source::default() }
}

fn members(source: &Source, count: usize) -> (Arc<Cohort>, Vec<Arc<dyn Reader>>) {
    let cohort = Cohort::of(count);
    let readers = (0..count).map(|n| cohort.member(n, Arc::new(source.clone()))).collect();
    (cohort, readers)
}

fn students() -> ResourcePath {
    ResourcePath::parse("/ed-fi/students").unwrap()
}

fn upserts(reader: &Arc<dyn Reader>) -> Box<dyn ItemPages> {
    reader.upserts(&students(), everything())
}

fn everything() -> Window {
    Window { after: None, through: ChangeVersion(9) }
}

async fn rest_of(pages: &mut dyn ItemPages) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        ids.extend(page.into_iter().map(|item| item.id.0));
    }
    ids
}

#[tokio::test]
async fn what_one_member_reads_the_others_are_handed() {
    let source = small();
    let (cohort, readers) = members(&source, 4);

    let mut reading = tokio::task::JoinSet::new();
    for reader in readers {
        reading.spawn(async move { rest_of(&mut *upserts(&reader)).await });
    }
    let read = reading.join_all().await;

    assert_eq!(read, vec![["0", "1", "2", "3"]; 4]);
    assert_eq!(source.pages_read.load(Ordering::SeqCst), PAGES);
    assert_eq!(cohort.items.size(), 0, "everyone has taken everything");
}

#[tokio::test]
async fn who_begins_late_is_handed_what_was_kept() {
    let source = small();
    let (cohort, readers) = members(&source, 2);

    let first = rest_of(&mut *upserts(&readers[0])).await;
    let kept = cohort.items.size();
    let late = rest_of(&mut *upserts(&readers[1])).await;

    assert_eq!((first, late), (words(&["0", "1", "2", "3"]), words(&["0", "1", "2", "3"])));
    assert!(kept > 0);
    assert_eq!(source.pages_read.load(Ordering::SeqCst), PAGES);
    assert_eq!(cohort.items.size(), 0);
}

#[tokio::test]
async fn a_feed_that_nobody_is_at_any_more_is_let_go_of_and_who_comes_later_goes_on_alone() {
    let source = small();
    let (_cohort, readers) = members(&source, 2);
    let without_feeds = Arc::strong_count(&source.pages_read);

    let mut first = upserts(&readers[0]);
    first.next().await.unwrap();
    drop(first);

    assert_eq!(Arc::strong_count(&source.pages_read), without_feeds, "it holds no room");
    let late = rest_of(&mut *upserts(&readers[1])).await;
    assert_eq!(late, ["0", "1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn who_falls_too_far_behind_goes_on_alone_after_the_page_it_had_last() {
    let source = Source { size: LARGE, ..Source::default() };
    let (cohort, readers) = members(&source, 2);
    let mut slow = upserts(&readers[1]);
    let first = slow.next().await.unwrap().unwrap();

    let fast = rest_of(&mut *upserts(&readers[0])).await;
    let rest = rest_of(&mut *slow).await;

    assert_eq!(fast, ["0", "1", "2", "3"], "nobody waits for long");
    assert_eq!(first[0].id.0, "0");
    assert_eq!(rest, ["1", "2", "3"], "without what it had");
    assert_eq!(slow.position(), Some(Position("3".to_owned())));
    drop(slow);
    assert_eq!(cohort.items.size(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_stays_within_its_room() {
    let source = Source { size: LARGE, ..Source::default() };
    let (cohort, readers) = members(&source, 2);
    let mut fast = upserts(&readers[0]);

    let mut most = 0;
    while fast.next().await.unwrap().is_some() {
        most = most.max(cohort.items.size());
    }

    assert!(most > 0 && most <= KEPT_FOR_EACH, "{most} bytes were kept");
}

#[tokio::test(start_paused = true)]
async fn who_falls_behind_among_tombstones_is_told_each_of_them_once() {
    let source = small();
    let (_cohort, readers) = members(&source, 2);
    let mut fast = readers[0].tombstones(&students(), everything());
    let mut slow = readers[1].tombstones(&students(), everything());
    let mut seen: Vec<i64> = Vec::new();
    for _ in 0..2 {
        fast.next().await.unwrap();
        seen.push(slow.next().await.unwrap().unwrap()[0].version.0);
    }

    while fast.next().await.unwrap().is_some() {}
    while let Some(page) = slow.next().await.unwrap() {
        seen.push(page[0].version.0);
    }

    assert_eq!(seen, [0, 1, 2, 3], "nothing comes again");
}

#[tokio::test]
async fn a_reading_that_fails_fails_its_reader_and_nobody_else() {
    let source = Source { fails_at: Some(1), ..small() };
    let (_cohort, readers) = members(&source, 2);
    let mut unlucky = upserts(&readers[0]);
    let mut other = upserts(&readers[1]);
    unlucky.next().await.unwrap();

    let failed = unlucky.next().await;
    let read = rest_of(&mut *other).await;

    assert!(failed.is_err());
    assert_eq!(read, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn a_page_that_was_being_read_by_who_was_stopped_is_lost_to_nobody() {
    let source = small();
    let (_cohort, readers) = members(&source, 2);
    let mut stopped = upserts(&readers[0]);
    let mut other = upserts(&readers[1]);

    // Polled once, so that the page is on its way, and dropped.
    let on_its_way = futures_util::poll!(Box::pin(stopped.next()));
    assert!(on_its_way.is_pending());
    let read = rest_of(&mut *other).await;

    assert_eq!(read, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn nothing_is_kept_for_who_has_left() {
    let source = small();
    let (cohort, readers) = members(&source, 2);
    rest_of(&mut *upserts(&readers[0])).await;
    assert!(cohort.items.size() > 0);

    cohort.leave(1);

    assert_eq!(cohort.items.size(), 0);
    let alone = rest_of(&mut *upserts(&readers[1])).await;
    assert_eq!(alone, ["0", "1", "2", "3"], "and who has left reads alone");
}

#[tokio::test]
async fn one_look_at_the_view_is_for_all_that_came_before_it() {
    let source = small();
    let (_cohort, readers) = members(&source, 4);
    let confirmed = || source.confirmed.load(Ordering::SeqCst);
    let mut feeds: Vec<_> = readers.iter().map(upserts).collect();
    for feed in &mut feeds {
        feed.next().await.unwrap();
    }

    for reader in &readers {
        reader.confirm().await.unwrap();
    }
    assert_eq!(confirmed(), 1, "they were all handed the same page");

    feeds[0].next().await.unwrap();
    readers[0].confirm().await.unwrap();
    assert_eq!(confirmed(), 2, "what was looked at before says nothing of a later page");
    readers[1].confirm().await.unwrap();
    assert_eq!(confirmed(), 2, "who has read nothing since need not look");
    let _ = readers[1].get(&students(), &SourceId("0".to_owned())).await;
    readers[1].confirm().await.unwrap();
    assert_eq!(confirmed(), 3, "a look at one item is an answer like any other");
}

/// Works on the pages of so many resources one after the other, so long on each page; tells how many
/// came, and how long it took.
async fn work_on(
    reader: Arc<dyn Reader>,
    resources: u64,
    each_takes: impl Fn(u64) -> Duration,
) -> (u64, Duration) {
    let began = Instant::now();
    let mut all = 0;
    for resource in 0..resources {
        let resource = ResourcePath::parse(&format!("/ed-fi/resource{resource}")).unwrap();
        let mut pages = reader.upserts(&resource, everything());
        let mut come = 0;
        while let Some(page) = pages.next().await.unwrap() {
            assert_eq!(page[0].id.0, come.to_string(), "every page comes once and in order");
            sleep(each_takes(come)).await;
            come += 1;
        }
        all += come;
    }
    (all, began.elapsed())
}

const A_PAGE: Duration = Duration::from_millis(10);

#[tokio::test(start_paused = true)]
async fn members_that_are_slow_in_turns_stay_together_and_the_source_is_read_once() {
    let source = Source { size: A_QUARTER, more_pages: 396, ..Source::default() };
    let (_cohort, readers) = members(&source, 2);
    // From the hundredth page on, each has ten pages in which it falls five behind, and the other
    // ten in which it comes after it.
    let slow = |page: u64, member: u64| page >= 100 && page / 10 % 2 == member;
    let pace = |member| move |page| if slow(page, member) { 2 * A_PAGE } else { A_PAGE };

    let [first, second] = [Arc::clone(&readers[0]), Arc::clone(&readers[1])];
    let (first, second) = tokio::join!(work_on(first, 1, pace(0)), work_on(second, 1, pace(1)));

    assert_eq!((first.0, second.0), (400, 400));
    assert_eq!(source.pages_read.load(Ordering::SeqCst), 400);
}

#[tokio::test(start_paused = true)]
async fn i13_who_is_truly_slow_is_waited_for_once_and_not_for_long() {
    let source = Source { size: A_QUARTER, more_pages: 196, ..Source::default() };
    let (_cohort, readers) = members(&source, 3);
    let pages_apart = 8;

    let mut reading = tokio::task::JoinSet::new();
    for (reader, pace) in readers.into_iter().zip([1, 1, 10]) {
        reading.spawn(work_on(reader, 5, move |_| pace * A_PAGE));
    }
    let mut took: Vec<(u64, Duration)> = reading.join_all().await;
    took.sort();

    let alone = 1000 * A_PAGE;
    let (fast, slow) = (took[1].1, took[2].1);
    assert_eq!(took.iter().map(|(come, _)| *come).collect::<Vec<_>>(), [1000; 3]);
    assert!(fast > alone, "it was waited for");
    // A moment, and one in 32 of the time after which it was that far behind.
    let most = Duration::from_millis(100) + pages_apart * 2 * A_PAGE / 32;
    assert!(fast <= alone + most, "{fast:?} for {alone:?}");
    assert_eq!(slow, 10 * alone);
}

/// Members with the patience of hours, of which the last is behind all others by all that may be
/// kept. Comes back with their feeds.
async fn the_last_far_behind<const MEMBERS: usize>(
    readers: &[Arc<dyn Reader>],
) -> [Box<dyn ItemPages>; MEMBERS] {
    let mut feeds = std::array::from_fn(|member| upserts(&readers[member]));
    for feed in &mut feeds {
        feed.next().await.unwrap();
    }
    sleep(Duration::from_secs(24 * 3600)).await;
    for feed in &mut feeds[..MEMBERS - 1] {
        for _ in 0..4 {
            feed.next().await.unwrap();
        }
    }
    feeds
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_who_has_ended_failed_or_left() {
    type Leave = fn(&Cohort, Box<dyn ItemPages>);
    let ways: [(&str, Leave); 2] = [
        ("its feed is given up", |_, behind| drop(behind)),
        ("it has left the cohort", |cohort, behind| {
            cohort.leave(1);
            drop(behind);
        }),
    ];
    for (case, leave) in ways {
        let source = Source { size: A_QUARTER, more_pages: 96, ..Source::default() };
        let (cohort, readers) = members(&source, 2);
        let [mut ahead, behind] = the_last_far_behind(&readers).await;

        let began = Instant::now();
        let left_later = async {
            sleep(A_PAGE).await;
            leave(&cohort, behind);
        };
        let (rest, ()) = tokio::join!(rest_of(&mut *ahead), left_later);

        assert_eq!(rest.len(), 95, "{case}");
        assert_eq!(
            began.elapsed(),
            A_PAGE,
            "{case}: it waited while somebody was behind, not longer"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn who_stands_still_is_waited_for_half_a_minute_however_long_they_have_read() {
    let source = Source { size: A_QUARTER, more_pages: 96, ..Source::default() };
    let (_cohort, readers) = members(&source, 2);
    let [mut ahead, _behind] = the_last_far_behind(&readers).await;

    let began = Instant::now();
    let rest = rest_of(&mut *ahead).await;

    assert_eq!(rest.len(), 95);
    assert_eq!(began.elapsed(), Duration::from_secs(30), "once, and not for each page");
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_stop_waits_neither_for_those_behind_nor_for_who_does() {
    for stopped in [0, 1] {
        let source = Source { size: 2 * A_QUARTER, more_pages: 96, ..Source::default() };
        let (_cohort, mut readers) = members(&source, 3);
        let stop = CancellationToken::new();
        readers[stopped] = readers[stopped].for_run("a-run", stop.clone());
        let [mut ahead, mut beside, _behind] = the_last_far_behind(&readers).await;

        let began = Instant::now();
        let waits = [ahead.next(), beside.next()];
        let came = waits.map(|page| async {
            page.await.unwrap();
            began.elapsed()
        });
        let [ahead, beside] = came;
        let stopped_later = async {
            sleep(A_PAGE).await;
            stop.cancel();
        };
        let (ahead, beside, ()) = tokio::join!(ahead, beside, stopped_later);

        assert_eq!([ahead, beside][stopped], A_PAGE, "member {stopped}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_waits_for_room_is_not_lost_with_who_read_it() {
    let source = Source { size: 2 * A_QUARTER, more_pages: 6, ..Source::default() };
    let (_cohort, readers) = members(&source, 3);
    let [mut ahead, mut beside, mut behind] = the_last_far_behind(&readers).await;
    // It waits with the sixth page in its hand.
    let waits = tokio::time::timeout(A_PAGE, ahead.next()).await;
    assert!(waits.is_err());
    drop(ahead);

    let (rest, late) = tokio::join!(rest_of(&mut *beside), rest_of(&mut *behind));

    assert_eq!((rest.len(), late.len()), (5, 9));
    assert_eq!(source.pages_read.load(Ordering::SeqCst), 10);
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
