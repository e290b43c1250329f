//! Splitting a page into its items without reading them.

use bytes::Bytes;

use crate::domain::Item;

/// Why an answer is not the page it was to be. The text completes "the answer …".
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
pub fn split_page(_page: &Bytes) -> Result<Vec<Item>, PageShapeError> {
    Err(PageShapeError { what: "to be written".to_owned() })
}

/// The objects of an array, slices of it: the feeds of deletes and key changes, `/snapshots`.
///
/// # Errors
/// As [`split_page`]; an `id` is not asked for.
pub fn split_objects(_page: &Bytes) -> Result<Vec<Bytes>, PageShapeError> {
    Err(PageShapeError { what: "to be written".to_owned() })
}

/// The answer to a GET by id: one object with an `id`.
///
/// # Errors
/// As [`split_page`].
pub fn single_item(_body: &Bytes) -> Result<Item, PageShapeError> {
    Err(PageShapeError { what: "to be written".to_owned() })
}
