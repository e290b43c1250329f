//! An export takes the place of what a store has of a pair.
//!
//! What lives here: what of the present outlives it. What does not: the text ([`super::text`]). The
//! one thing to know: an older watermark makes later runs do again what was done since, which is
//! safe, and a newer one is lowered to what the present speaks for: what runs wrote since then from an
//! older view, no newer watermark tells (I1). What no feed tells a second time stays: target ids that
//! were journalled before a rename moved what had them (R5), and which resources the target has got
//! since (I9).

use std::collections::BTreeMap;

use super::{
    Coverage, JournalledName, Operation, PairId, PairState, StateError, StateStore, Step, Watermark,
};
use crate::domain::{ChangeVersion, ParkReason};

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
        let present_coverage = store.coverage(&pair).await?;
        if let (Some(state), Some(present)) = (&mut exported.state, store.load(&pair).await?) {
            state.names_through = state.names_through.max(present.acted_through());
            lower_watermark(state, &present, &present_coverage);
        }
        let exported_coverage = exported.coverage.clone().unwrap_or_default();
        let coverage = with_what_was_read_since(&exported, &present_coverage);
        if let Some(state) = &mut exported.state
            && coverage != exported_coverage
        {
            // However silent the source is, what is behind is read (R17).
            state.selection = None;
        }
        exported.coverage = Some(coverage);
        store.commit(&pair, exported).await?;
    }
    Ok(())
}

/// To what the present has agreed upon, or to where its first run began.
fn lower_watermark(exported: &mut PairState, present: &PairState, coverage: &Coverage) {
    let Some(imported) = &exported.watermark else { return };
    let agreed = match &present.watermark {
        Some(watermark) => Some(watermark.change_version()),
        None => coverage.begun.values().min().copied(),
    };
    let Some(agreed) = agreed else { return };
    let watermark = imported.change_version().min(agreed);
    exported.watermark = Some(Watermark::ChangeVersion(watermark));
    // A view that reaches the watermark need not tell what lies above it (R20).
    exported.canaries.retain(|canary| canary.version <= watermark);
}

/// What the present has read less far than the export is agreed upon again from there: runs since then may
/// have written it from an older view. A resource that the export does not speak for will be read from its
/// beginning, which tells of nothing that is gone. What the present has written of it may have gone: the
/// feeds tell so from the watermark of the export on.
fn with_what_was_read_since(exported: &Step, present: &Coverage) -> Coverage {
    let watermark = exported.state.as_ref().and_then(|state| state.watermark.as_ref());
    let since = watermark.map_or(ChangeVersion(0), Watermark::change_version);
    let mut coverage = exported.coverage.clone().unwrap_or_default();
    let spoken_for = present.spoken_for.iter().map(|resource| (resource, since));
    let behind = present.left.iter().chain(&present.begun);
    let behind = behind.map(|(resource, read)| (resource, (*read).min(since)));
    for (resource, read) in spoken_for.chain(behind) {
        if read < since && coverage.spoken_for.remove(resource) {
            coverage.left.insert(resource.clone(), read);
        } else if let Some(left) = coverage.left.get_mut(resource) {
            *left = (*left).min(read);
        } else if !coverage.spoken_for.contains(resource) {
            let begun = coverage.begun.entry(resource.clone()).or_insert(read);
            *begun = (*begun).min(read);
        }
    }
    coverage
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
                // What waits for its new key is all that the target has of an item that lives (R6).
                let deleted = record.reason != ParkReason::WaitsForNewKey;
                let (resource, target_id) = (record.resource, Some(target_id));
                names.push(JournalledName { resource, key, target_id, deleted });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::conformance::{name, pair, parked, state};
    use super::super::{MemoryStore, ParkStatus, StateView};
    use super::*;
    use crate::domain::{Canary, CanaryKind, ResourcePath, SourceId, TargetId};

    #[tokio::test]
    async fn i9_what_was_read_since_an_older_state_may_have_gone_since() {
        let store = MemoryStore::new();
        let [before, since] = ["students", "schools"]
            .map(|name| ResourcePath::parse(&format!("/ed-fi/{name}")).unwrap());
        let spoken_for = BTreeSet::from([before.clone(), since.clone()]);
        let coverage = Some(Coverage { spoken_for, ..Coverage::default() });
        store.commit(&pair("a"), Step { coverage, ..Step::default() }).await.unwrap();
        let spoken_for = BTreeSet::from([before]);
        let coverage = Some(Coverage { spoken_for, ..Coverage::default() });
        let older = Step { forget_all: true, state: Some(state(3)), coverage, ..Step::default() };

        import(&store, BTreeMap::from([(pair("a"), older)])).await.unwrap();

        let begun = store.coverage(&pair("a")).await.unwrap().begun;
        assert_eq!(begun, BTreeMap::from([(since, ChangeVersion(3))]));
    }

    #[tokio::test]
    async fn r5_ids_that_no_feed_tells_again_outlive_an_older_state() {
        let store = MemoryStore::new();
        let mut waits = parked("p1", ParkStatus::Parked);
        waits.operation = Operation::Delete;
        waits.target_id = Some(TargetId("t2".to_owned()));
        let present =
            Step { names: vec![name("3.30", Some("t1"))], park: vec![waits], ..Step::default() };
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

    #[tokio::test]
    async fn i1_an_imported_watermark_is_lowered_to_what_the_present_speaks_for() {
        let canary = |version| Canary {
            resource: ResourcePath::parse("/ed-fi/students").unwrap(),
            kind: CanaryKind::Tombstone,
            id: SourceId("s".to_owned()),
            version: ChangeVersion(version),
        };
        for (present, imported, expected) in [(3, 5, 3), (5, 3, 3)] {
            let store = MemoryStore::new();
            let there = Step { state: Some(state(present)), ..Step::default() };
            store.commit(&pair("a"), there).await.unwrap();
            let exported = PairState { canaries: vec![canary(3), canary(4)], ..state(imported) };
            let export = Step { forget_all: true, state: Some(exported), ..Step::default() };

            import(&store, BTreeMap::from([(pair("a"), export)])).await.unwrap();

            let state = store.load(&pair("a")).await.unwrap().unwrap();
            assert_eq!(state.watermark, Some(Watermark::ChangeVersion(ChangeVersion(expected))));
            assert_eq!(state.canaries, [canary(3)]);
        }
    }

    #[tokio::test]
    async fn i1_what_the_present_has_read_less_far_is_read_from_there() {
        let store = MemoryStore::new();
        let [left, begun] = ["students", "schools"]
            .map(|name| ResourcePath::parse(&format!("/ed-fi/{name}")).unwrap());
        let present = Coverage {
            left: BTreeMap::from([(left.clone(), ChangeVersion(2))]),
            begun: BTreeMap::from([(begun.clone(), ChangeVersion(1))]),
            ..Coverage::default()
        };
        let there = Step { state: Some(state(5)), coverage: Some(present), ..Step::default() };
        store.commit(&pair("a"), there).await.unwrap();
        let spoken_for = BTreeSet::from([left.clone(), begun.clone()]);
        let export = Step {
            forget_all: true,
            state: Some(PairState { selection: Some("all".to_owned()), ..state(5) }),
            coverage: Some(Coverage { spoken_for, ..Coverage::default() }),
            ..Step::default()
        };

        import(&store, BTreeMap::from([(pair("a"), export)])).await.unwrap();

        let coverage = store.coverage(&pair("a")).await.unwrap();
        assert!(coverage.spoken_for.is_empty());
        let expected = BTreeMap::from([(left, ChangeVersion(2)), (begun, ChangeVersion(1))]);
        assert_eq!(coverage.left, expected);
        let selection = store.load(&pair("a")).await.unwrap().unwrap().selection;
        assert_eq!(selection, None, "a silent source is read too");
    }
}
