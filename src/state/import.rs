//! An export takes the place of what a store has of a pair.
//!
//! What lives here: what of the present outlives it. What does not: the text ([`super::text`]). The
//! one thing to know: an older watermark makes later runs do again what was done since, which is
//! safe; but a target id that was journalled before a rename moved it is told by no feed a second
//! time (R5), so what the present knows of such ids stays.

use std::collections::BTreeMap;

use super::{JournalledName, Operation, PairId, StateError, StateStore, Step};

/// Puts what was exported in the place of what is there, pair by pair, each in one atomic step. What
/// fails in the middle leaves whole pairs, and importing again is safe.
pub async fn import(
    store: &dyn StateStore,
    pairs: BTreeMap<PairId, Step>,
) -> Result<(), StateError> {
    for (pair, mut exported) in pairs {
        exported.left_behind.extend(store.left_behind(&pair).await?);
        // Written after those of the export: they are the newer ones.
        exported.names.extend(store.names(&pair).await?);
        exported.names.extend(waiting_for_deletion(store, &pair).await?);
        store.commit(&pair, exported).await?;
    }
    Ok(())
}

/// What is parked for deletion under an id that was looked up before a rename moved it.
async fn waiting_for_deletion(
    store: &dyn StateStore,
    pair: &PairId,
) -> Result<Vec<JournalledName>, StateError> {
    const PAGE: usize = 1_000;
    let mut names = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.parked(pair, after.as_deref(), PAGE).await?;
        let Some(last) = page.last() else { return Ok(names) };
        after = Some(last.id.clone());
        for record in page.into_iter().filter(|record| record.operation == Operation::Delete) {
            if let (Some(key), Some(target_id)) = (record.key, record.target_id) {
                let (resource, target_id) = (record.resource, Some(target_id));
                names.push(JournalledName { resource, key, target_id, deleted: true });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{name, pair, parked, state};
    use super::super::{MemoryStore, ParkStatus, StateView};
    use super::*;
    use crate::domain::TargetId;

    #[tokio::test]
    async fn r5_ids_that_no_feed_tells_again_outlive_an_older_state() {
        let store = MemoryStore::new();
        let mut waits = parked("p1", ParkStatus::Parked);
        waits.operation = Operation::Delete;
        waits.target_id = Some(TargetId("t2".to_owned()));
        let present =
            Step { names: vec![name("1.10", Some("t1"))], park: vec![waits], ..Step::default() };
        store.commit(&pair("a"), present).await.unwrap();
        let older = Step { forget_all: true, state: Some(state(3)), ..Step::default() };

        import(&store, BTreeMap::from([(pair("a"), older)])).await.unwrap();

        let names = store.names(&pair("a")).await.unwrap();
        let mut ids: Vec<String> =
            names.into_iter().filter_map(|name| name.target_id).map(|id| id.0).collect();
        ids.sort();
        assert_eq!(ids, ["t1", "t2"]);
        assert_eq!(store.load(&pair("a")).await.unwrap(), Some(state(3)));
        assert!(store.parked(&pair("a"), None, 10).await.unwrap().is_empty());
    }
}
