//! Finding the snapshot of a run, in both of its spellings (`edfi-wire §3`).

use chrono::{DateTime, NaiveDateTime};
use serde::Deserialize;

use super::wire::{Reading, View};
use crate::edfi::json::split_objects;
use crate::sources::SourceError;

/// 7 and later: one snapshot, there or not.
pub(super) const USE_SNAPSHOT: &str = "use-snapshot";
/// Before: one of several, by its identifier.
pub(super) const SNAPSHOT_IDENTIFIER: &str = "snapshot-identifier";

/// One of the snapshots that an API before 7 lists.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedSnapshot {
    pub(super) snapshot_identifier: String,
    #[serde(default)]
    snapshot_date_time: Option<String>,
}

impl ListedSnapshot {
    /// Versions write the moment with and without a zone; one that cannot be read is the oldest.
    fn moment(&self) -> Option<NaiveDateTime> {
        let text = self.snapshot_date_time.as_deref()?;
        let zoned = DateTime::parse_from_rfc3339(text).map(|moment| moment.naive_utc());
        zoned.or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f")).ok()
    }
}

/// The snapshots that the API lists now; none where it has no such list. `live` is a view without
/// a header.
pub(super) async fn list(live: &View) -> Result<Vec<ListedSnapshot>, SourceError> {
    let reading = Reading::Snapshots;
    let response = live.get(&reading, live.discovery().snapshots()).await?;
    match response.status().as_u16() {
        200 => {}
        // The feature is off: as missing as a snapshot can be.
        404 | 405 | 410 => return Ok(Vec::new()),
        _ => return Err(live.refused(&reading, &response)),
    }
    let objects =
        split_objects(response.body()).map_err(|error| live.shape(&reading, &error.what))?;
    let parse = |object: &bytes::Bytes| serde_json::from_slice(object);
    objects.iter().map(parse).collect::<Result<_, _>>().map_err(|_| {
        live.shape(&reading, "the answer holds a snapshot without a `snapshotIdentifier`")
    })
}

/// The newest by its date.
pub(super) fn newest(snapshots: Vec<ListedSnapshot>) -> Option<ListedSnapshot> {
    snapshots.into_iter().max_by_key(ListedSnapshot::moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(identifier: &str, moment: Option<&str>) -> ListedSnapshot {
        ListedSnapshot {
            snapshot_identifier: identifier.to_owned(),
            snapshot_date_time: moment.map(str::to_owned),
        }
    }

    #[test]
    fn the_newest_snapshot_is_taken_whatever_the_order_and_spelling() {
        let listed = vec![
            snapshot("older", Some("2024-05-02T14:31:07.1530000Z")),
            snapshot("newest", Some("2024-05-03T02:00:00")),
            snapshot("undated", None),
            snapshot("old", Some("2024-05-01T02:00:00+00:00")),
        ];

        let taken = newest(listed).unwrap();

        assert_eq!(taken.snapshot_identifier, "newest");
        assert_eq!(newest(Vec::new()), None);
    }
}
