//! Cutting a body that is known to be JSON, without reading it.
//!
//! What lives here: finding the few names that a target must not see. What does not: what is cut
//! ([`super::wire::cut`], which reads a body from end to end and is asked wherever this gives up).
//! The one thing to know: in JSON whatever stands between two quotes is a text, so `"id"` with a colon
//! behind it is a member's name wherever it is found.

use std::sync::LazyLock;

use bytes::BytesMut;
use memchr::memmem::{FindIter, Finder};

use crate::domain::scan::Scanner;
use crate::domain::{Body, ResourcePath};

/// What is cut, quotes included. Names that begin alike are looked for together.
const NAMES: [&[u8]; 4] = [b"\"id\"", b"\"link\"", b"\"_etag\"", b"\"_lastModifiedDate\""];

static FINDERS: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| [Finder::new("\"id\""), Finder::new("\"link\""), Finder::new("\"_")]);
static ESCAPES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u00"));

/// What [`super::wire::cut`] gives of a body that is one JSON object; `None` where that has to be
/// asked: descriptors, names that are spelt with escapes, a `link` that may be data.
pub(super) fn cut(
    resource: &ResourcePath,
    body: &Body,
    room_for: impl FnOnce(usize) -> BytesMut,
) -> Option<BytesMut> {
    let bytes = body.bytes();
    if resource.is_descriptor() || may_hide_a_name(bytes) {
        return None;
    }
    let mut cut = Cut { bytes, kept: room_for(bytes.len()), from: 0, last: None };
    for start in Names::of(bytes) {
        cut.member(start)?;
    }
    cut.kept.extend_from_slice(&bytes[cut.from..]);
    Some(cut.kept)
}

/// Whether a letter or an underscore is spelt as an escape: a name could be.
fn may_hide_a_name(bytes: &[u8]) -> bool {
    memchr::memchr(b'\\', bytes).is_some_and(|first| {
        ESCAPES.find_iter(&bytes[first..]).any(|at| {
            let high = bytes.get(first + at + 4);
            high.is_none_or(|high| (b'4'..=b'7').contains(high))
        })
    })
}

/// Where the names stand that may be cut, in their order.
struct Names<'a> {
    bytes: &'a [u8],
    found: [FindIter<'a, 'static>; 3],
    next: [Option<usize>; 3],
}

impl<'a> Names<'a> {
    fn of(bytes: &'a [u8]) -> Names<'a> {
        let [ids, links, others] = &*FINDERS;
        let mut found = [ids.find_iter(bytes), links.find_iter(bytes), others.find_iter(bytes)];
        let next = std::array::from_fn(|which| found[which].next());
        Names { bytes, found, next }
    }
}

impl Iterator for Names<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        loop {
            let at = self.next.iter().flatten().min().copied()?;
            for (next, found) in self.next.iter_mut().zip(&mut self.found) {
                if *next == Some(at) {
                    *next = found.next();
                }
            }
            // A quote behind a backslash stands within a text.
            let is_within = at > 0 && self.bytes[at - 1] == b'\\';
            if !is_within && NAMES.iter().any(|name| self.bytes[at..].starts_with(name)) {
                return Some(at);
            }
        }
    }
}

struct Cut<'a> {
    bytes: &'a [u8],
    kept: BytesMut,
    /// Where the bytes begin that are neither kept nor cut yet.
    from: usize,
    /// Where the member that was cut last ends, and whether its object kept one before it.
    last: Option<(usize, bool)>,
}

impl Cut<'_> {
    /// Cuts the member whose name stands at `start`, if it is one and not within what is cut already.
    /// `None` where its bytes alone do not tell.
    fn member(&mut self, start: usize) -> Option<()> {
        if start < self.from || self.last.is_some_and(|(end, _)| start < end) {
            return Some(());
        }
        let quote = start + 1 + memchr::memchr(b'"', &self.bytes[start + 1..])?;
        let colon = self.after_space(quote + 1);
        if self.bytes.get(colon) != Some(&b':') {
            return Some(());
        }
        let value = self.after_space(colon + 1);
        if self.bytes[start..].starts_with(b"\"link\"") && self.bytes.get(value) != Some(&b'{') {
            return None;
        }
        let mut scanner = Scanner::new(&self.bytes[value..]);
        scanner.value().ok()?;
        let end = value + scanner.position();
        let behind = self.after_space(end);
        let before = self.before_space(start)?;
        let kept_one = match (self.bytes[before], self.last) {
            (b'{', _) => false,
            (_, Some((last, kept_one))) if self.after_space(last) == before => kept_one,
            (..) => true,
        };
        // The comma before goes along, the one behind becomes the one before.
        let (start, until) = match kept_one {
            true => (before, end),
            false if self.bytes.get(behind) == Some(&b',') => (start, behind + 1),
            false => (start, end),
        };
        self.kept.extend_from_slice(&self.bytes[self.from..start]);
        self.from = until;
        self.last = Some((end, kept_one));
        Some(())
    }

    fn after_space(&self, at: usize) -> usize {
        let space = self.bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace());
        at + space.count()
    }

    /// The last byte before `at` that is no space.
    fn before_space(&self, at: usize) -> Option<usize> {
        self.bytes[..at].iter().rposition(|byte| !byte.is_ascii_whitespace())
    }
}
