//! How many records the server puts into one answer at most: learnt from it, never assumed (R10).
//!
//! A server says so in two ways: it refuses a larger `limit` with 400, or, behind some proxies, it
//! silently returns fewer. Until an answer came back full the second cannot be ruled out, so a
//! short answer is believed only with the count that came along.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// The limit in force at one API, for one kind of feed. It only ever shrinks.
#[derive(Debug)]
pub(super) struct PageLimit {
    limit: AtomicUsize,
    honoured: AtomicBool,
}

impl PageLimit {
    /// Starts with what the configuration wants; at least one.
    pub(super) fn new(page_size: usize) -> PageLimit {
        PageLimit { limit: AtomicUsize::new(page_size.max(1)), honoured: AtomicBool::new(false) }
    }

    pub(super) fn get(&self) -> usize {
        self.limit.load(Ordering::SeqCst)
    }

    /// Whether the server has been seen to return as many records as were asked for. From then on
    /// a shorter answer is short because there is no more.
    pub(super) fn is_honoured(&self) -> bool {
        self.honoured.load(Ordering::SeqCst)
    }

    /// An answer came back with as many records as were asked for. That says something of the
    /// limit only if the limit was what was asked for.
    pub(super) fn saw_full_answer(&self, asked: usize) {
        if asked >= self.get() {
            self.honoured.store(true, Ordering::SeqCst);
        }
    }

    /// The server silently returns no more than this.
    pub(super) fn cap(&self, most: usize) {
        self.limit.fetch_min(most.max(1), Ordering::SeqCst);
        self.honoured.store(true, Ordering::SeqCst);
    }

    /// The server refused `asked`; `most` is what it says that it allows. False when there is
    /// nothing smaller left to ask for.
    pub(super) fn refused(&self, asked: usize, most: Option<usize>) -> bool {
        if asked <= 1 {
            return false;
        }
        let smaller = match most {
            Some(most) if (1..asked).contains(&most) => most,
            Some(_) | None => asked / 2,
        };
        self.limit.fetch_min(smaller, Ordering::SeqCst);
        true
    }
}

/// How much of the limit is asked for of one feed at present. Where items are large, a page of as
/// many as the server allows can be more than is received in time or held in memory: then it is
/// asked for in halves, and in more again once those arrive.
#[derive(Debug)]
pub(super) struct Portion(AtomicUsize);

impl Portion {
    pub(super) fn whole() -> Portion {
        Portion(AtomicUsize::new(usize::MAX))
    }

    /// For what wants no more than this, whatever the limit.
    pub(super) fn at_most(records: usize) -> Portion {
        Portion(AtomicUsize::new(records))
    }

    pub(super) fn of(&self, limit: usize) -> usize {
        limit.min(self.0.load(Ordering::SeqCst))
    }

    /// So many records were too much; at least two of them.
    pub(super) fn was_too_much(&self, asked: usize) {
        self.0.store((asked / 2).max(1), Ordering::SeqCst);
    }

    pub(super) fn was_received(&self, asked: usize) {
        if self.0.load(Ordering::SeqCst) == asked {
            self.0.store(asked.saturating_mul(2), Ordering::SeqCst);
        }
    }
}

/// What a 400 says about the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LimitRefusal {
    /// The largest value that the message names, if it names one.
    pub(super) most: Option<usize>,
}

impl LimitRefusal {
    /// Reads the sentences of every version: `Limit must be a value between 0 and 500.` and its
    /// relatives (`edfi-wire §4`); `None` when the 400 is about something else.
    pub(super) fn read(body: &[u8]) -> Option<LimitRefusal> {
        let text = String::from_utf8_lossy(body).to_lowercase();
        let about = ["limit must be", "pagesize must be"];
        let start = about.iter().filter_map(|sentence| text.find(sentence)).min()?;
        Some(LimitRefusal { most: upper_bound(&text[start..]) })
    }
}

/// The number after the first `and` of `between 0 and 500`.
fn upper_bound(sentence: &str) -> Option<usize> {
    let (_, range) = sentence.split_once("between ")?;
    let (_, upper) = range.split_once(" and ")?;
    let digits: String = upper.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read_from_the_refusals_of_every_version() {
        for (case, body, wanted) in [
            (
                "7.3",
                r#"{"status":400,"errors":["Limit must be a value between 0 and 500."]}"#,
                Some(Some(500)),
            ),
            (
                "7.3 by cursor",
                r#"{"errors":["PageSize must be a value between 0 and 100."]}"#,
                Some(Some(100)),
            ),
            (
                "feeds",
                r#"{"errors":["Limit must be omitted or set to a value between 1 and 250."]}"#,
                Some(Some(250)),
            ),
            (
                "6.1 names no number",
                r#"{"message":"Limit must be omitted or set to a value between 1 and max value defined in configuration file (defaultPageSizeLimit)."}"#,
                Some(None),
            ),
            ("another 400", r#"{"errors":["The page token provided was invalid."]}"#, None),
        ] {
            let read = LimitRefusal::read(body.as_bytes()).map(|refusal| refusal.most);

            assert_eq!(read, wanted, "{case}");
        }
    }

    #[test]
    fn a_refusal_without_a_number_halves_the_limit_down_to_one() {
        let limit = PageLimit::new(5);

        assert!(limit.refused(5, None));
        assert_eq!(limit.get(), 2);
        assert!(limit.refused(2, None));
        assert_eq!(limit.get(), 1);
        assert!(!limit.refused(1, None));
    }

    #[test]
    fn what_was_too_much_is_halved_and_grows_back_when_it_arrives() {
        let portion = Portion::whole();
        assert_eq!(portion.of(500), 500);

        portion.was_too_much(500);
        portion.was_too_much(portion.of(500));
        assert_eq!(portion.of(500), 125);

        portion.was_received(125);
        portion.was_received(250);
        portion.was_received(500);
        assert_eq!(portion.of(500), 500);
    }

    #[test]
    fn a_full_answer_to_a_smaller_question_says_nothing_of_the_limit() {
        let limit = PageLimit::new(500);

        limit.saw_full_answer(100);
        assert!(!limit.is_honoured());

        limit.saw_full_answer(500);
        assert!(limit.is_honoured());
    }

    #[test]
    fn a_refusal_that_names_a_larger_number_still_shrinks_the_limit() {
        let limit = PageLimit::new(100);

        assert!(limit.refused(100, Some(500)));

        assert_eq!(limit.get(), 50);
    }
}
