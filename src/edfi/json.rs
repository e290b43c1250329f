//! Splitting a page into its items without reading them.
//!
//! The one thing to know: whatever is not the promised shape is an error that says what it was
//! instead, because an answer that is mistaken for an empty page is a loss that nobody sees.

use bytes::Bytes;

use crate::domain::scan::{Malformed, Scanner};
use crate::domain::{Body, Item, KeyText, SourceId};

/// Why an answer is not what it was to be: `the answer is HTML`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct PageShapeError {
    pub what: String,
}

/// The items of a collection's page, slices of it, with their ids picked out. Whatever is not an
/// array of objects that each have an `id` is an error, never an empty page.
///
/// # Errors
/// HTML, a page that was cut off, invalid UTF-8, another shape, an item without an id.
pub fn split_page(page: &Bytes) -> Result<Vec<Item>, PageShapeError> {
    checked(page, |scanner| {
        let mut items = Vec::new();
        let mut more = scanner.enter_array().map_err(|m| explain(page, m, "an array"))?;
        while more {
            items.push(next_item(page, scanner)?);
            more = scanner.next_element().map_err(|m| explain(page, m, "an array"))?;
        }
        scanner.end().map_err(|m| explain(page, m, "an array"))?;
        Ok(items)
    })
}

/// The objects of an array, slices of it: the feeds of deletes and key changes, `/snapshots`.
///
/// # Errors
/// As [`split_page`]; an `id` is not asked for.
pub fn split_objects(page: &Bytes) -> Result<Vec<Bytes>, PageShapeError> {
    checked(page, |scanner| {
        let mut objects = Vec::new();
        let wrong = |m| explain(page, m, "an array");
        let mut more = scanner.enter_array().map_err(wrong)?;
        while more {
            if scanner.peek().is_some_and(|first| first != b'{') {
                return Err(told("an element of the array is not an object"));
            }
            objects.push(page.slice_ref(scanner.value().map_err(wrong)?));
            more = scanner.next_element().map_err(wrong)?;
        }
        scanner.end().map_err(wrong)?;
        Ok(objects)
    })
}

/// The answer to a GET by id: one object with an `id`.
///
/// # Errors
/// As [`split_page`].
pub fn single_item(body: &Bytes) -> Result<Item, PageShapeError> {
    checked(body, |scanner| {
        if scanner.peek() != Some(b'{') {
            let malformed = Malformed { at: scanner.position(), what: "an object was due" };
            return Err(explain(body, malformed, "an object"));
        }
        let item = next_item(body, scanner)?;
        scanner.end().map_err(|m| explain(body, m, "an object"))?;
        Ok(item)
    })
}

/// Whether an answer is a page for people rather than for programs.
pub fn is_markup(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    body.trim_ascii_start().first() == Some(&b'<')
}

fn next_item(page: &Bytes, scanner: &mut Scanner<'_>) -> Result<Item, PageShapeError> {
    if scanner.peek().is_some_and(|first| first != b'{') {
        return Err(told("an element of the array is not an object"));
    }
    let start = scanner.position();
    let id = pass_item(scanner).map_err(|m| explain(page, m, "an object"))?;
    let Some(KeyText::Text(id)) = id.filter(|id| !id.as_str().is_empty()) else {
        return Err(told("an item of the answer has no `id`"));
    };
    Ok(Item { id: SourceId(id), body: Body(page.slice(start..scanner.position())) })
}

fn pass_item(scanner: &mut Scanner<'_>) -> Result<Option<KeyText>, Malformed> {
    let mut id = None;
    let mut more = scanner.enter_object()?;
    while more {
        let name = scanner.name()?;
        if scanner.is_last_name(name, "id") {
            id = scanner.scalar()?;
        } else {
            scanner.value()?;
        }
        more = scanner.next_member()?;
    }
    Ok(id)
}

/// Reads an answer with `read`, which looks at all of it. Invalid UTF-8 is told before anything
/// else that is wrong; texts of ASCII need not be looked through for it again.
fn checked<'p, T>(
    page: &'p Bytes,
    read: impl FnOnce(&mut Scanner<'p>) -> Result<T, PageShapeError>,
) -> Result<T, PageShapeError> {
    if page.trim_ascii().is_empty() {
        return Err(told("the answer is empty where JSON was due"));
    }
    if is_markup(page) {
        return Err(told("the answer is HTML or XML where JSON was due"));
    }
    let mut scanner = Scanner::new(page);
    let read = read(&mut scanner);
    if read.is_ok() && scanner.saw_only_ascii() {
        return read;
    }
    match std::str::from_utf8(page) {
        Ok(_) => read,
        Err(error) => Err(PageShapeError {
            what: format!("the answer is not valid UTF-8 at byte {}", error.valid_up_to()),
        }),
    }
}

fn explain(page: &Bytes, malformed: Malformed, due: &str) -> PageShapeError {
    let rest = &page[malformed.at.min(page.len())..];
    let what = if rest.trim_ascii_start().is_empty() || malformed.what.ends_with("within quotes") {
        format!("the answer ends in its middle, at byte {}", page.len())
    } else if malformed.at == 0 || page[..malformed.at].trim_ascii().is_empty() {
        format!("the answer is not {due}")
    } else {
        format!("the answer is not JSON: {malformed}")
    };
    PageShapeError { what }
}

fn told(what: &str) -> PageShapeError {
    PageShapeError { what: what.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn a_page_is_split_into_slices_of_itself() {
        let page =
            page(" [ {\"id\":\"a\",\"x\":1.10} ,\n{\"x\":{\"id\":\"inner\"},\"id\":\"b\"} ] ");

        let items = split_page(&page).unwrap();

        assert_eq!(items.len(), 2);
        assert_eq!(items[0].body.bytes(), br#"{"id":"a","x":1.10}"#);
        assert_eq!(items[1].id, SourceId("b".to_owned()));
        assert!(page.as_ptr_range().contains(&items[1].body.bytes().as_ptr()));
    }

    #[test]
    fn only_an_empty_array_is_an_empty_page() {
        assert!(split_page(&page("[]")).unwrap().is_empty());
        assert!(split_page(&page(" [ ]\r\n")).unwrap().is_empty());
    }

    #[test]
    fn what_is_not_a_page_is_told_for_what_it_is() {
        for (answer, told) in [
            ("", "the answer is empty where JSON was due"),
            ("  \n", "the answer is empty where JSON was due"),
            ("<!DOCTYPE html><html>", "the answer is HTML or XML where JSON was due"),
            ("\u{feff}<html>", "the answer is HTML or XML where JSON was due"),
            ("{\"message\":\"no\"}", "the answer is not an array"),
            ("null", "the answer is not an array"),
            ("Bad gateway", "the answer is not an array"),
            ("[{\"id\":\"a\"},", "the answer ends in its middle, at byte 12"),
            ("[{\"id\":\"a\"}", "the answer ends in its middle, at byte 11"),
            ("[{\"id\":\"a", "the answer ends in its middle, at byte 9"),
            ("[{\"id\":\"a\"", "the answer ends in its middle, at byte 10"),
            ("[", "the answer ends in its middle, at byte 1"),
            ("[{\"x\":1}]", "an item of the answer has no `id`"),
            ("[{\"id\":7}]", "an item of the answer has no `id`"),
            ("[{\"id\":\"\"}]", "an item of the answer has no `id`"),
            ("[1]", "an element of the array is not an object"),
            (
                "[{\"id\":\"a\"}] trailing",
                "the answer is not JSON: something follows the end at byte 13",
            ),
        ] {
            let error = split_page(&page(answer)).unwrap_err();

            assert_eq!(error.what, told, "{answer}");
        }
    }

    #[test]
    fn s23_invalid_utf8_is_told_with_its_place() {
        let page = Bytes::from_static(b"[{\"id\":\"\xff\"}]");

        assert_eq!(split_page(&page).unwrap_err().what, "the answer is not valid UTF-8 at byte 8");
    }

    #[test]
    fn one_item_is_an_object_with_an_id() {
        assert_eq!(single_item(&page("{\"id\":\"a\"}")).unwrap().id.0, "a");
        assert!(single_item(&page("[{\"id\":\"a\"}]")).is_err());
        assert!(single_item(&page("{}")).is_err());
    }

    proptest! {
        #[test]
        fn every_cut_of_a_page_is_an_error(at in 0usize..61) {
            let whole = br#"[{"id":"a","n":[1,{"b":"\u00e9"}]},{"id":"b","text":"caf\u00e9"}]"#;
            let page = Bytes::copy_from_slice(&whole[..at]);

            prop_assert!(split_page(&page).is_err());
            prop_assert!(split_objects(&page).is_err());
        }

        #[test]
        fn arbitrary_bytes_are_an_answer_or_an_error_and_never_a_crash(bytes: Vec<u8>) {
            let page = Bytes::from(bytes);

            let _ = split_page(&page);
            let _ = split_objects(&page);
            let _ = single_item(&page);
        }
    }
}
