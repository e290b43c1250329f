//! Pages by cursor, and the page that is fetched while the one before it is worked on.

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::limit::PageLimit;
use super::position::{Place, Question};
use super::room::{Room, Taken};
use crate::domain::{Item, Position, ResourcePath, Window};
use crate::sources::{ItemPages, SourceError};
use crate::tasks::Tasks;

/// Pages of live items, and where each begins.
#[async_trait]
pub(super) trait Feed: Send {
    /// As [`ItemPages::next`].
    async fn next(&mut self) -> Result<Option<Vec<Item>>, SourceError>;

    /// Where the page that came last begins; `None` at the beginning of all.
    fn place(&self) -> Option<Place>;
}

/// Whoever can ask one collection of one view for pages by cursor.
#[async_trait]
pub(super) trait CursorRequests: Send + Sync {
    fn limit(&self) -> &PageLimit;

    /// The first page, when `token` is `None`.
    async fn page(&self, token: Option<&str>) -> Result<CursorPage, SourceError>;

    /// What to say of an answer that makes no sense.
    fn nonsense(&self, what: &str) -> SourceError;
}

/// One answer of a cursor feed.
pub(super) struct CursorPage {
    pub(super) items: Vec<Item>,
    /// How many items the request asked for at most.
    pub(super) limit: usize,
    /// `Next-Page-Token`, opaque.
    pub(super) next: Option<String>,
}

/// Items in the order of the server's own surrogate: what is rewritten leaves the window, and
/// nothing that stays in it changes its place (`edfi-wire §4`).
pub(super) struct CursorFeed<R> {
    requests: R,
    at: Cursor,
    /// The token that brought the page that came last.
    last: Option<String>,
}

enum Cursor {
    Start,
    Token(String),
    End,
}

impl<R: CursorRequests> CursorFeed<R> {
    pub(super) fn new(requests: R) -> CursorFeed<R> {
        CursorFeed { requests, at: Cursor::Start, last: None }
    }

    /// Begins with the page that `token` asks for.
    pub(super) fn at(requests: R, token: String) -> CursorFeed<R> {
        CursorFeed { requests, at: Cursor::Token(token), last: None }
    }

    /// Where the feed goes on after `page`. The missing token ends it, and so does a first page
    /// that is short, once the server has been seen to return as many as it was asked for (R10).
    fn after(&self, page: &CursorPage) -> Result<Cursor, SourceError> {
        let full = page.items.len() >= page.limit;
        let Some(next) = &page.next else {
            if full {
                return Err(self.requests.nonsense(
                    "a full page came without its `Next-Page-Token`; let the header through",
                ));
            }
            return Ok(Cursor::End);
        };
        let ended = match &self.at {
            Cursor::Start => !full && self.requests.limit().is_honoured(),
            Cursor::Token(token) if token == next => {
                return Err(self.requests.nonsense("the cursor of the pages does not move on"));
            }
            Cursor::Token(_) => false,
            Cursor::End => true,
        };
        Ok(if ended { Cursor::End } else { Cursor::Token(next.clone()) })
    }
}

#[async_trait]
impl<R: CursorRequests> Feed for CursorFeed<R> {
    async fn next(&mut self) -> Result<Option<Vec<Item>>, SourceError> {
        loop {
            let token = match &self.at {
                Cursor::Start => None,
                Cursor::Token(token) => Some(token.as_str()),
                Cursor::End => return Ok(None),
            };
            let page = self.requests.page(token).await?;
            self.last = token.map(str::to_owned);
            if page.items.len() >= page.limit {
                self.requests.limit().saw_full_answer(page.limit);
            }
            self.at = self.after(&page)?;
            // A page that concurrent deletes have emptied is no end while it has a token.
            if !page.items.is_empty() {
                return Ok(Some(page.items));
            }
        }
    }

    fn place(&self) -> Option<Place> {
        self.last.clone().map(Place::Cursor)
    }
}

/// Fetches one page ahead, as soon as there is room for it. Nothing is asked for before the first page
/// is wanted, and dropping it ends the reading.
pub(super) struct ReadAhead {
    tasks: Tasks,
    resource: ResourcePath,
    reading: Reading,
    room: Room,
    /// Of the page that was handed out last: it is worked on until the next one is wanted.
    taken: Option<Taken>,
    question: Question,
    /// Where the page that was handed out last begins; the feed itself is further on.
    place: Option<Place>,
    connection: String,
}

enum Reading {
    NotBegun(Box<dyn Feed>),
    Ahead(mpsc::Receiver<Result<Option<Page>, SourceError>>),
    Ended,
}

struct Page {
    items: Vec<Item>,
    place: Option<Place>,
    taken: Taken,
}

impl ReadAhead {
    pub(super) fn new(
        resource: &ResourcePath,
        feed: Box<dyn Feed>,
        question: Question,
        room: Room,
        tasks: Tasks,
        connection: &str,
    ) -> ReadAhead {
        ReadAhead {
            tasks,
            resource: resource.clone(),
            reading: Reading::NotBegun(feed),
            room,
            taken: None,
            question,
            place: None,
            connection: connection.to_owned(),
        }
    }
}

#[async_trait]
impl ItemPages for ReadAhead {
    async fn next(&mut self) -> Result<Option<Vec<Item>>, SourceError> {
        self.taken = None;
        let mut pages = match std::mem::replace(&mut self.reading, Reading::Ended) {
            Reading::Ended => return Ok(None),
            Reading::Ahead(pages) => pages,
            Reading::NotBegun(feed) => {
                let (sender, pages) = mpsc::channel(1);
                let (resource, window) = (self.resource.clone(), self.question.window);
                let room = self.room.clone();
                self.tasks.spawn("read ahead", read_into(feed, room, resource, window, sender));
                pages
            }
        };
        // The end of a feed is told; a channel that merely closes is a reader that broke off.
        let Some(page) = pages.recv().await else { return Err(reader_is_gone(&self.connection)) };
        let Some(Page { items, place, taken }) = page? else { return Ok(None) };
        self.reading = Reading::Ahead(pages);
        self.place = place;
        self.taken = Some(taken);
        Ok(Some(items))
    }

    fn position(&self) -> Option<Position> {
        self.place.clone().map(|place| self.question.position(place))
    }
}

async fn read_into(
    mut feed: Box<dyn Feed>,
    room: Room,
    resource: ResourcePath,
    window: Window,
    sender: mpsc::Sender<Result<Option<Page>, SourceError>>,
) {
    let mut expected = room.of_a_first_page(&resource, window);
    loop {
        // A place first: with one place in the channel one page is ahead, and no more.
        let Ok(place) = sender.reserve().await else { return };
        let (mut taken, page) = tokio::select! {
            read = async { (room.take(expected).await, feed.next().await) } => read,
            () = sender.closed() => return,
        };
        let more = matches!(page, Ok(Some(_)));
        if let Ok(Some(items)) = &page {
            expected = items.iter().map(|item| item.body.len()).sum();
            taken.is_really(expected);
            room.saw_page(&resource, window, expected);
        }
        let place_of_page = feed.place();
        let page = page.map(|items| items.map(|items| Page { items, place: place_of_page, taken }));
        place.send(page);
        if !more {
            return;
        }
    }
}

fn reader_is_gone(connection: &str) -> SourceError {
    SourceError::Unusable {
        connection: connection.to_owned(),
        what: "reading broke off before its end; run again, and report it if it stays".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use bytes::Bytes;
    use tokio::sync::Notify;

    use super::super::room::PageRoom;
    use super::*;
    use crate::domain::{Body, ChangeVersion, SourceId};

    fn items(names: &[&str]) -> Vec<Item> {
        let item = |name: &&str| Item {
            id: SourceId((*name).to_owned()),
            body: Body(Bytes::from_static(b"{}")),
        };
        names.iter().map(item).collect()
    }

    fn names(page: &[Item]) -> Vec<&str> {
        page.iter().map(|item| item.id.0.as_str()).collect()
    }

    /// Answers in turn and notes the tokens it was asked with.
    struct Script {
        limit: PageLimit,
        pages: Mutex<Vec<CursorPage>>,
        asked: Mutex<Vec<Option<String>>>,
    }

    impl Script {
        fn of(pages: &[(&[&str], Option<&str>)]) -> Script {
            let page = |(names, next): &(&[&str], Option<&str>)| CursorPage {
                items: items(names),
                limit: 2,
                next: next.map(str::to_owned),
            };
            Script {
                limit: PageLimit::new(2),
                pages: Mutex::new(pages.iter().rev().map(page).collect()),
                asked: Mutex::default(),
            }
        }
    }

    #[async_trait]
    impl CursorRequests for &Script {
        fn limit(&self) -> &PageLimit {
            &self.limit
        }

        async fn page(&self, token: Option<&str>) -> Result<CursorPage, SourceError> {
            self.asked.lock().unwrap().push(token.map(str::to_owned));
            let page = self.pages.lock().unwrap().pop();
            page.ok_or_else(|| self.nonsense("asked beyond the end"))
        }

        fn nonsense(&self, what: &str) -> SourceError {
            SourceError::Unusable { connection: "test".to_owned(), what: what.to_owned() }
        }
    }

    async fn read(script: &Script) -> Result<Vec<String>, SourceError> {
        let mut feed = CursorFeed::new(script);
        let mut all = Vec::new();
        while let Some(page) = feed.next().await? {
            all.extend(names(&page).into_iter().map(str::to_owned));
        }
        Ok(all)
    }

    #[tokio::test]
    async fn the_missing_token_ends_a_cursor_feed() {
        let script = Script::of(&[
            (&["a", "b"], Some("t1")),
            (&["c"], Some("t2")),
            (&["d"], Some("t3")),
            (&[], None),
        ]);

        let all = read(&script).await.unwrap();

        assert_eq!(all, ["a", "b", "c", "d"]);
        let asked = script.asked.lock().unwrap().clone();
        assert_eq!(asked, [None, Some("t1".into()), Some("t2".into()), Some("t3".into())]);
    }

    #[tokio::test]
    async fn s11_an_empty_page_with_a_token_does_not_end_a_cursor_feed() {
        let script = Script::of(&[(&["a", "b"], Some("t1")), (&[], Some("t2")), (&["c"], None)]);

        let all = read(&script).await.unwrap();

        assert_eq!(all, ["a", "b", "c"]);
    }

    #[tokio::test]
    async fn a_short_first_page_ends_a_cursor_feed_only_once_the_limit_is_known() {
        let unknown = Script::of(&[(&["a"], Some("t1")), (&["b"], Some("t2")), (&[], None)]);
        let known = Script::of(&[(&["a"], Some("t1"))]);
        known.limit.saw_full_answer(2);

        assert_eq!(read(&unknown).await.unwrap(), ["a", "b"]);
        assert_eq!(read(&known).await.unwrap(), ["a"]);
    }

    #[tokio::test]
    async fn r10_a_full_page_without_a_token_is_an_error_and_not_the_end() {
        let script = Script::of(&[(&["a", "b"], None)]);

        let error = read(&script).await.unwrap_err();

        assert!(error.to_string().contains("Next-Page-Token"), "{error}");
    }

    #[tokio::test]
    async fn a_cursor_that_stands_still_is_an_error() {
        let script = Script::of(&[(&["a", "b"], Some("t")), (&["a", "b"], Some("t"))]);

        let error = read(&script).await.unwrap_err();

        assert!(error.to_string().contains("does not move"), "{error}");
    }

    /// Says when each of its pages is asked for.
    struct Watched {
        left: usize,
        asked: Arc<Mutex<usize>>,
        notify: Arc<Notify>,
        panics_at: Option<usize>,
    }

    #[async_trait]
    impl Feed for Watched {
        async fn next(&mut self) -> Result<Option<Vec<Item>>, SourceError> {
            let asked = {
                let mut asked = self.asked.lock().unwrap();
                *asked += 1;
                *asked
            };
            self.notify.notify_one();
            assert_ne!(Some(asked), self.panics_at, "told to");
            if self.left == 0 {
                return Ok(None);
            }
            self.left -= 1;
            Ok(Some(items(&["a"])))
        }

        fn place(&self) -> Option<Place> {
            Some(Place::Cursor(self.asked.lock().unwrap().to_string()))
        }
    }

    fn watched(left: usize) -> (Watched, Arc<Mutex<usize>>, Arc<Notify>) {
        let (asked, notify) = (Arc::default(), Arc::default());
        let feed = Watched {
            left,
            asked: Arc::clone(&asked),
            notify: Arc::clone(&notify),
            panics_at: None,
        };
        (feed, asked, notify)
    }

    fn question() -> Question {
        let window = Window { after: None, through: ChangeVersion(9) };
        Question { window, bounded: true, snapshot: None }
    }

    #[tokio::test]
    async fn r12_a_cursor_feed_begins_again_with_the_page_that_came_last() {
        let script = Script::of(&[
            (&["a", "b"], Some("t1")),
            (&[], Some("t2")),
            (&["c", "d"], Some("t3")),
            (&["c", "d"], Some("t3")),
        ]);
        let mut feed = CursorFeed::new(&script);

        feed.next().await.unwrap();
        let first = feed.place();
        feed.next().await.unwrap();
        let second = feed.place();
        let again = CursorFeed::at(&script, "t2".to_owned()).next().await.unwrap().unwrap();

        assert_eq!((first, second), (None, Some(Place::Cursor("t2".to_owned()))));
        assert_eq!(names(&again), ["c", "d"]);
        assert_eq!(script.asked.lock().unwrap().last().unwrap().as_deref(), Some("t2"));
    }

    fn read_ahead(feed: impl Feed + 'static, tasks: Tasks) -> ReadAhead {
        let resource = ResourcePath::parse("/ed-fi/students").unwrap();
        let room = PageRoom::new().of_a_run();
        ReadAhead::new(&resource, Box::new(feed), question(), room, tasks, "test")
    }

    #[tokio::test]
    async fn r12_the_position_is_that_of_the_page_handed_out_and_not_of_the_one_ahead() {
        let (feed, asked, notify) = watched(5);
        let mut pages = read_ahead(feed, Tasks::new());

        pages.next().await.unwrap();
        while *asked.lock().unwrap() < 2 {
            notify.notified().await;
        }

        let position = pages.position().unwrap();
        assert_eq!(question().place(&position), Some(Place::Cursor("1".to_owned())));
    }

    #[tokio::test]
    async fn one_page_is_fetched_ahead_and_no_more() {
        let (feed, asked, notify) = watched(5);
        let mut pages = read_ahead(feed, Tasks::new());
        assert_eq!(*asked.lock().unwrap(), 0, "nothing before the first page is wanted");

        pages.next().await.unwrap();
        while *asked.lock().unwrap() < 2 {
            notify.notified().await;
        }
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }

        assert_eq!(*asked.lock().unwrap(), 2);
    }

    #[tokio::test]
    async fn all_pages_arrive_and_the_end_stays_the_end() {
        let (feed, _, _) = watched(3);
        let mut pages = read_ahead(feed, Tasks::new());

        let mut seen = 0;
        while pages.next().await.unwrap().is_some() {
            seen += 1;
        }

        assert_eq!(seen, 3);
        assert!(pages.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_reader_that_breaks_off_is_never_taken_for_the_end() {
        let (mut feed, _, _) = watched(3);
        feed.panics_at = Some(2);
        let mut pages = read_ahead(feed, Tasks::new());

        pages.next().await.unwrap();
        let error = pages.next().await.unwrap_err();

        assert!(error.to_string().contains("broke off"), "{error}");
    }

    #[tokio::test]
    async fn dropping_the_pages_ends_the_task_that_reads() {
        let (feed, _, _) = watched(5);
        let tasks = Tasks::new();
        let mut pages = read_ahead(feed, tasks.clone());
        pages.next().await.unwrap();

        drop(pages);

        tokio::time::timeout(std::time::Duration::from_secs(10), tasks.stop()).await.unwrap();
    }
}
