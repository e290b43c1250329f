//! Items as a source has them: bodies of some size, prepared in pages whose ids alone differ.

use std::fmt::Write;

/// Items a page.
pub(crate) const PAGE: usize = 500;

/// A number is written into a body with so many digits.
const DIGITS: usize = 12;

/// One page of items, prepared.
pub(crate) struct Page {
    bytes: Vec<u8>,
    /// Where each item ends.
    ends: Vec<usize>,
    /// Where the number of each item is written.
    places: Vec<Vec<usize>>,
}

impl Page {
    /// `body_bytes` are the smallest and the largest body; the sizes between are spread evenly.
    pub(crate) fn prepare(body_bytes: (usize, usize)) -> Page {
        let (smallest, largest) = body_bytes;
        let mut page = Page { bytes: vec![b'['], ends: Vec::new(), places: Vec::new() };
        for place in 0..PAGE {
            // 37 and 500 have no common divisor: every size comes, in no order.
            let size = smallest + (largest - smallest) * (place * 37 % PAGE) / PAGE;
            let start = page.bytes.len();
            let (text, places) = body(size);
            page.bytes.extend_from_slice(text.as_bytes());
            page.places.push(places.into_iter().map(|at| start + at).collect());
            page.ends.push(page.bytes.len());
            page.bytes.push(b',');
        }
        page
    }

    /// The items numbered `from` up to `to`, at most [`PAGE`] of them, as an array.
    pub(crate) fn of(&self, from: u64, to: u64) -> Vec<u8> {
        let count = usize::try_from(to - from).expect("a page is small");
        if count == 0 {
            return b"[]".to_vec();
        }
        let end = self.ends[count - 1];
        let mut bytes = Vec::with_capacity(end + 1);
        bytes.extend_from_slice(&self.bytes[..end]);
        bytes.push(b']');
        for (number, places) in (from..to).zip(&self.places) {
            let digits = format!("{number:0DIGITS$}");
            for place in places {
                bytes[*place..place + DIGITS].copy_from_slice(digits.as_bytes());
            }
        }
        bytes
    }
}

/// A body of about `size` bytes and where its number stands: what an association looks like, with
/// everything that a target must not see.
fn body(size: usize) -> (String, Vec<usize>) {
    let number = "0".repeat(DIGITS);
    let mut text = format!(
        "{{\"id\":\"{number}00000000000000000000\",\"studentUniqueId\":\"{number}\",\
         \"studentReference\":{{\"studentUniqueId\":\"{number}\",\"link\":{{\"rel\":\"Student\",\
         \"href\":\"/ed-fi/students/{number}00000000000000000000\"}}}},\
         \"schoolReference\":{{\"schoolId\":255901001,\"link\":{{\"rel\":\"School\",\
         \"href\":\"/ed-fi/schools/1b1c1d1e1f20212223242526272829ff\"}}}},\
         \"entryDate\":\"2026-08-17\",\"numberOfCredits\":74.500,\"wasAbsent\":false,\"periods\":["
    );
    let tail = "],\"_etag\":\"5250168731208835753\",\
                \"_lastModifiedDate\":\"2026-09-01T12:00:00.123456Z\"}";
    let mut period = 0;
    while text.len() + tail.len() < size {
        let comma = if period == 0 { "" } else { "," };
        let _ = write!(
            text,
            "{comma}{{\"periodDescriptor\":\"uri://ed-fi.org/PeriodDescriptor#Period {period}\",\
             \"beginDate\":\"2026-08-17\",\"sequence\":{period},\"remark\":\"as planned\"}}"
        );
        period += 1;
    }
    text.push_str(tail);
    let places = text.match_indices(&number).map(|(at, _)| at).collect();
    (text, places)
}
