//! The desk, without a network: who sees what, and what is written down.

use std::collections::BTreeMap;

use super::*;
use crate::clock::Clock;
use crate::config;
use crate::desk::Role;
use crate::domain::{NaturalKey, ParkReason, ResourcePath, SourceId, TargetId};
use crate::state::{
    Block, BlockCause, Coverage, JournalledName, LeftBehind, MemoryStore, Operation, PairState,
    ParkStatus, Parked, RefusalRecord, Step,
};

const CONFIGURATION: &str = r#"
connections:
  district: {kind: ed-fi, url: "http://127.0.0.1:9/", key: k, secret: s}
  state: {kind: ed-fi, url: "http://127.0.0.1:9/state", key: k, secret: s}
  mirror: {kind: ed-fi, url: "http://127.0.0.1:9/mirror", key: k, secret: s}
publications:
  north-to-state: {source: district, targets: [state], labels: {region: north}}
  south-to-state: {source: mirror, targets: [state], labels: {region: south}}
"#;

fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn pair(publication: &str) -> PairId {
    PairId { publication: publication.to_owned(), target: "state".to_owned() }
}

fn parked(id: &str, reason: ParkReason) -> Parked {
    Parked {
        id: id.to_owned(),
        resource: ResourcePath::parse("/ed-fi/students").unwrap(),
        source_id: None,
        key: Some(NaturalKey(BTreeMap::new())),
        operation: Operation::Upsert,
        status: ParkStatus::Dead,
        reason,
        error: RefusalRecord::default(),
        attempts: 40,
        early_attempts: 2,
        first_seen_at: moment("2026-01-30T10:00:00Z"),
        next_attempt_at: moment("2026-01-30T10:00:00Z"),
        waits_for: None,
        named_for_deletion: false,
        target_id: None,
        hash: None,
    }
}

/// Two pairs with items `a1 a2` and `b1`, and an orphan with `c1`.
async fn desk() -> FleetDesk {
    desk_of(CONFIGURATION).await
}

async fn desk_of(configuration: &str) -> FleetDesk {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidemark.yaml");
    std::fs::write(&path, configuration).unwrap();
    let env = BTreeMap::new();
    let config = config::load(&path, &env).unwrap().config;
    let store = Arc::new(MemoryStore::new());
    let clock = Clock::held_at(moment("2026-01-31T10:00:00Z"));
    let assembly = super::super::assemble(config, &env, store, clock).unwrap();
    for (name, ids) in
        [("north-to-state", vec!["a1", "a2"]), ("south-to-state", vec!["b1"]), ("gone", vec!["c1"])]
    {
        let park = ids.into_iter().map(|id| parked(id, ParkReason::Invalid)).collect();
        let state = Some(PairState::default());
        let step = Step { park, state, ..Step::default() };
        assembly.store.commit(&pair(name), step).await.unwrap();
    }
    FleetDesk::new(Arc::new(assembly), None)
}

fn caller(role: Role, labels: &[(&str, &str)]) -> Caller {
    let labels =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Caller { name: "token test".to_owned(), role, labels }
}

fn ids(page: &Page<ParkedItem>) -> Vec<&str> {
    page.items.iter().map(|item| item.id.as_str()).collect()
}

async fn actions(desk: &FleetDesk) -> Vec<String> {
    let all = desk.audit(&caller(Role::Admin, &[]), None, &Part::first()).await.unwrap();
    // Their moments are the same: the clock is held.
    let mut actions: Vec<String> = all.items.into_iter().map(|entry| entry.action).collect();
    actions.sort();
    actions
}

#[tokio::test]
async fn a_caller_with_labels_sees_its_pairs_and_to_it_the_others_are_not_there() {
    let desk = desk().await;
    let north = caller(Role::Admin, &[("region", "north")]);

    let all = desk.pairs(&caller(Role::Admin, &[]), &Selectors::default()).await.unwrap();
    let seen = desk.pairs(&north, &Selectors::default()).await.unwrap();
    let items = desk
        .parked(&north, &Selectors::default(), &ParkedFilter::default(), &Part::first())
        .await
        .unwrap();

    assert_eq!(all.len(), 3, "with the orphan");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].publication, "north-to-state");
    assert_eq!(ids(&items), ["a1", "a2"]);
    for hidden in ["b1", "c1"] {
        let refused = desk.parked_item(&north, hidden).await;
        assert!(matches!(refused, Err(DeskError::NotThere(_))), "{hidden}");
    }
    for hidden in ["south-to-state", "gone"] {
        let moved = desk
            .move_watermark(&north, &pair(hidden), Moved::Reset, None, "to see what happens")
            .await;
        assert!(matches!(moved, Err(DeskError::NotThere(_))), "{hidden}");
    }
}

#[tokio::test]
async fn a_list_in_parts_is_the_whole_list() {
    let desk = desk().await;
    let admin = caller(Role::Admin, &[]);
    let mut seen = Vec::new();
    let mut part = Part { after: None, limit: 1 };

    loop {
        let page = desk
            .parked(&admin, &Selectors::default(), &ParkedFilter::default(), &part)
            .await
            .unwrap();
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        assert!(page.items.len() <= 1);
        let Some(next) = page.next else { break };
        part.after = Some(next);
    }

    assert_eq!(seen, ["c1", "a1", "a2", "b1"], "in order of pair, the orphan `gone` first");
}

#[tokio::test]
async fn a_viewer_sees_no_key_and_whoever_sees_one_is_written_down() {
    let desk = desk().await;

    let viewed = desk.parked_item(&caller(Role::Viewer, &[]), "a1").await.unwrap();
    assert_eq!(viewed.key, None);
    assert_eq!(actions(&desk).await, [""; 0]);

    let read = desk.parked_item(&caller(Role::Operator, &[]), "a1").await.unwrap();
    assert!(read.key.is_some());
    assert_eq!(actions(&desk).await, ["parked read"]);
}

#[tokio::test]
async fn the_audit_is_kept_as_long_as_the_configuration_says() {
    let kept_for = "state: {audit_for: 2d}\n".to_owned() + CONFIGURATION;
    let desk = desk_of(&kept_for).await;
    for (id, at) in [("old", "2026-01-29T09:59:59Z"), ("young", "2026-01-29T10:00:00Z")] {
        let by = caller(Role::Admin, &[]);
        let record = desk.record(&by, id, None, String::new(), None);
        let record = AuditRecord { at: moment(at), id: id.to_owned(), ..record };
        desk.assembly.store.note(record, None).await.unwrap();
    }

    let _ = desk.parked_item(&caller(Role::Operator, &[]), "a1").await.unwrap();

    assert_eq!(actions(&desk).await, ["parked read", "young"]);
}

#[tokio::test]
async fn what_is_retried_is_due_now_with_fresh_attempts() {
    let desk = desk().await;
    let operator = caller(Role::Operator, &[]);
    let choice = ParkedChoice { ids: vec!["a1".to_owned(), "a".to_owned() + "1"], which: None };

    let count = desk.retry(&operator, &choice).await.unwrap();

    let item = desk.parked_item(&operator, "a1").await.unwrap();
    assert_eq!(count, 1, "each once");
    assert_eq!((item.status, item.attempts), (ParkStatus::Parked, 0));
    assert_eq!(item.next_attempt_at, Some(moment("2026-01-31T10:00:00Z")));
    assert_eq!(actions(&desk).await, ["parked read", "parked retry"]);
}

#[tokio::test]
async fn to_give_up_several_items_wants_a_reason_and_an_id_has_to_be_enough() {
    let desk = desk().await;
    let admin = caller(Role::Admin, &[]);
    let all = ParkedChoice {
        ids: Vec::new(),
        which: Some((Selectors::default(), ParkedFilter::default())),
    };

    let ambiguous = desk.parked_item(&admin, "a").await;
    let unreasoned = desk.discard(&admin, &all, Some("  ")).await;
    let discarded = desk.discard(&admin, &all, Some("a test district")).await;

    assert!(matches!(ambiguous, Err(DeskError::Refused(_))));
    assert!(matches!(unreasoned, Err(DeskError::Refused(_))));
    assert_eq!(discarded, Ok(4));
    assert_eq!(actions(&desk).await, ["parked discard"; 3]);
}

#[tokio::test]
async fn a_closed_resource_is_not_given_up() {
    let desk = desk().await;
    let admin = caller(Role::Admin, &[]);
    let step = Step { park: vec![parked("d1", ParkReason::ResourceClosed)], ..Step::default() };
    desk.assembly.store.commit(&pair("south-to-state"), step).await.unwrap();
    let choice = ParkedChoice { ids: vec!["d1".to_owned()], which: None };

    let refused = desk.discard(&admin, &choice, Some("nobody wants it")).await;

    assert!(matches!(refused, Err(DeskError::Conflict(_))));
}

#[tokio::test]
async fn a_watermark_that_moved_meanwhile_is_not_moved() {
    let desk = desk().await;
    let admin = caller(Role::Admin, &[]);
    let id = pair("north-to-state");

    let stale = Some(Some(ChangeVersion(7)));
    let refused = desk.move_watermark(&admin, &id, Moved::Reset, stale, "why not").await;
    let unreasoned = desk.move_watermark(&admin, &id, Moved::Reset, Some(None), " ").await;
    let moved = desk.move_watermark(&admin, &id, Moved::Reset, Some(None), "why not").await;

    assert!(matches!(refused, Err(DeskError::Conflict(_))));
    assert!(matches!(unreasoned, Err(DeskError::Refused(_))));
    assert_eq!(moved.unwrap().watermark, None);
    assert_eq!(actions(&desk).await, ["watermark reset"]);
}

#[tokio::test]
async fn r5_ids_that_no_feed_tells_again_outlive_a_watermark_that_is_moved() {
    let admin = caller(Role::Admin, &[]);
    let id = pair("north-to-state");
    let sections = ResourcePath::parse("/ed-fi/sections").unwrap();
    let ids = |at: &str| TargetId(at.to_owned());
    for (to, cause, stays) in [
        (Moved::To(ChangeVersion(3)), None, true),
        (Moved::Reset, None, true),
        (Moved::Reset, Some(BlockCause::SourceRegressed), true),
        // In another database they name nothing.
        (Moved::Reset, Some(BlockCause::SourceChanged), false),
        (Moved::To(ChangeVersion(3)), Some(BlockCause::TargetChanged), false),
    ] {
        let desk = desk().await;
        let store = &desk.assembly.store;
        let blocked = cause.map(|cause| Block {
            cause,
            reason: "a reason".to_owned(),
            since: moment("2026-01-30T10:00:00Z"),
            deletes: None,
        });
        let name = JournalledName {
            resource: sections.clone(),
            key: NaturalKey(BTreeMap::new()),
            target_id: Some(ids("t1")),
            deleted: true,
        };
        let left = LeftBehind {
            resource: sections.clone(),
            id: SourceId("s2".to_owned()),
            target_id: ids("t2"),
            lived_as: None,
        };
        let spoken_for = [sections.clone()].into();
        let known = Step {
            state: Some(PairState { blocked, ..PairState::default() }),
            coverage: Some(Coverage { spoken_for, ..Coverage::default() }),
            names: vec![name.clone()],
            left_behind: vec![left.clone()],
            ..Step::default()
        };
        store.commit(&id, known).await.unwrap();

        desk.move_watermark(&admin, &id, to, Some(None), "why not").await.unwrap();

        let (names, lefts) = if stays { (vec![name], vec![left]) } else { (vec![], vec![]) };
        assert_eq!(store.names(&id).await.unwrap(), names, "{to:?} {cause:?}");
        assert_eq!(store.left_behind(&id).await.unwrap(), lefts, "{to:?} {cause:?}");
    }
}

#[tokio::test]
async fn a_state_that_was_taken_out_can_be_brought_in_and_not_over_another() {
    let desk = desk().await;
    let admin = caller(Role::Admin, &[]);
    let text = String::from_utf8(desk.export(&admin).await.unwrap()).unwrap();

    let refused = desk.import(&admin, &text, false).await;
    let replaced = desk.import(&admin, &text, true).await;
    let part = caller(Role::Admin, &[("region", "north")]);

    assert!(matches!(refused, Err(DeskError::Conflict(_))));
    assert_eq!(replaced.unwrap().len(), 3);
    assert!(matches!(desk.export(&part).await, Err(DeskError::Conflict(_))));
    assert_eq!(
        actions(&desk).await,
        ["state export", "state import", "state import", "state import"]
    );
}

#[tokio::test]
async fn orders_to_runs_want_a_daemon() {
    let desk = desk().await;
    let admin = caller(Role::Admin, &[]);

    let started = desk.start(&admin, "north-to-state", &[], false).await;
    let unknown = desk.start(&admin, "north-to-state", &["mirror".to_owned()], false).await;
    let paused = desk.pause(&admin, &pair("north-to-state"), None, None).await;

    assert!(matches!(started, Err(DeskError::Conflict(_))));
    assert!(matches!(unknown, Err(DeskError::NotThere(_))));
    assert!(matches!(paused, Err(DeskError::Conflict(_))));
}

#[tokio::test]
async fn a_pair_looked_at_closely_is_told_without_asking_its_ends() {
    let desk = desk().await;
    let viewer = caller(Role::Viewer, &[("region", "north")]);

    let detail = desk.closely(&viewer, &pair("north-to-state")).await.unwrap();

    let ends: Vec<(&str, usize)> =
        detail.connections.iter().map(|end| (end.name.as_str(), end.ceiling)).collect();
    assert_eq!(ends, [("district", 512), ("state", 512)]);
    assert_eq!((detail.isolation, detail.schedule.as_str()), ("snapshot", ""));
    let students = ResourcePath::parse("/ed-fi/students").unwrap();
    assert_eq!(detail.waiting[&students].dead, 2);
    for hidden in ["south-to-state", "gone"] {
        let refused = desk.closely(&viewer, &pair(hidden)).await;
        assert!(matches!(refused, Err(DeskError::NotThere(_))), "{hidden}");
    }
}

#[tokio::test]
async fn the_order_of_resources_is_given_up_where_an_end_does_not_answer() {
    let desk = desk().await;
    let admin = caller(Role::Admin, &[]);

    let order = desk.order(&admin, &pair("north-to-state"), std::time::Duration::ZERO).await;

    assert!(matches!(order, Err(DeskError::Failed(_))), "{order:?}");
}

#[tokio::test]
async fn a_caller_with_labels_sees_the_configuration_of_its_pairs_and_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidemark.yaml");
    std::fs::write(&path, CONFIGURATION).unwrap();
    let desk = desk().await.written(Some(Written { path: path.clone(), env: BTreeMap::new() }));
    let (all, north) = (caller(Role::Viewer, &[]), caller(Role::Viewer, &[("region", "north")]));
    let keys = async |by: &Caller, name: Option<&str>| {
        let told = desk.configuration(by, name).await?;
        assert_eq!(told.refused, None);
        let entry = |key: &str| key.split('.').take(2).collect::<Vec<_>>().join(".");
        let keys: BTreeSet<String> =
            told.settings.iter().map(|setting| entry(&setting.key)).collect();
        assert!(!told.settings.iter().any(|one| one.value == "k" || one.value == "s"));
        Ok::<_, DeskError>(keys)
    };

    let whole = keys(&all, None).await.unwrap();
    let seen = keys(&north, None).await.unwrap();

    assert!(whole.contains("state.path") && whole.contains("connections.mirror"), "{whole:?}");
    let expected = ["connections.district", "connections.state", "publications.north-to-state"];
    assert_eq!(seen, BTreeSet::from(expected.map(str::to_owned)));
    for hidden in ["mirror", "south-to-state", "server"] {
        let refused = keys(&north, Some(hidden)).await;
        assert!(matches!(refused, Err(DeskError::NotThere(_))), "{hidden}");
    }
    std::fs::write(&path, CONFIGURATION.replace("region: south", "region: east")).unwrap();
    assert!(desk.configuration(&all, None).await.unwrap().refused.is_some());
    std::fs::write(&path, "publications: 7").unwrap();
    let broken = desk.configuration(&all, None).await.unwrap();
    assert!(broken.refused.is_some() && broken.settings.is_empty());
}
