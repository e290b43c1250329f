//! The state as a whole: taken out, brought in, renamed, forgotten.

use std::collections::{BTreeMap, BTreeSet};

use super::{FleetDesk, of_state};
use crate::desk::{Caller, DeskError};
use crate::domain::ChangeVersion;
use crate::state::text::{self, Text};
use crate::state::{self, BlockCause, PairId, Step};

impl FleetDesk {
    pub(super) async fn export_state(&self, by: &Caller) -> Result<Vec<u8>, DeskError> {
        refuse_part_of_the_fleet(by)?;
        self.note(self.record(by, "state export", None, String::new(), None)).await?;
        let mut out = Vec::new();
        let now = self.assembly.clock.now();
        text::export(&*self.assembly.store, now, &mut out)
            .await
            .map_err(|error| DeskError::State(error.to_string()))?;
        Ok(out)
    }

    /// Everything is looked at before anything is changed, and a pair is changed in one step. What
    /// fails in the middle leaves whole pairs, and importing again is safe.
    pub(super) async fn import_state(
        &self,
        by: &Caller,
        text: &str,
        replace: bool,
    ) -> Result<Vec<PairId>, DeskError> {
        refuse_part_of_the_fleet(by)?;
        let parsed = text::read(text).map_err(|error| {
            DeskError::Refused(format!("it cannot be imported: {error}; nothing was imported"))
        })?;
        let (is_export, steps) = match parsed {
            Text::Export(steps) => (true, steps),
            Text::Watermarks(watermarks) => (false, self.as_steps(watermarks).await?),
        };
        self.may_replace(steps.keys().cloned().collect(), replace).await?;
        let changed = steps.keys().cloned().collect();
        let mut audited = BTreeMap::new();
        for (pair, step) in steps {
            let audit = self.record(by, "state import", Some(&pair), String::new(), None);
            audited.insert(pair, Step { audit: Some(audit), ..step });
        }
        let store = &*self.assembly.store;
        if is_export {
            state::import(store, audited).await.map_err(of_state)?;
            return Ok(changed);
        }
        // What a person says of a watermark is meant, as in `watermark set`.
        for (pair, step) in audited {
            store.commit(&pair, step).await.map_err(of_state)?;
        }
        Ok(changed)
    }

    /// Tells each pair how far another program had brought it. Both ends are asked what there is:
    /// the watermark speaks for every selected resource (R17).
    async fn as_steps(
        &self,
        watermarks: BTreeMap<PairId, ChangeVersion>,
    ) -> Result<BTreeMap<PairId, Step>, DeskError> {
        let unknown: Vec<String> = watermarks
            .keys()
            .filter(|id| self.assembly.pair(id).is_none())
            .map(PairId::to_string)
            .collect();
        if !unknown.is_empty() {
            return Err(DeskError::Refused(format!(
                "the configuration has no {}; nothing was imported",
                few(&unknown)
            )));
        }
        let mut steps = BTreeMap::new();
        for (id, to) in watermarks {
            let pair = self.assembly.pair(&id).expect("every pair was found above");
            let step = self.moved(pair, Some(to)).await?;
            steps.insert(id, step);
        }
        Ok(steps)
    }

    async fn may_replace(&self, pairs: BTreeSet<PairId>, replace: bool) -> Result<(), DeskError> {
        for pair in &pairs {
            self.refuse_while_running(pair)?;
        }
        let known = self.assembly.store.pairs().await.map_err(of_state)?;
        let there: Vec<String> =
            known.iter().filter(|pair| pairs.contains(pair)).map(PairId::to_string).collect();
        if there.is_empty() || replace {
            return Ok(());
        }
        let pairs = if there.len() == 1 { "pair" } else { "pairs" };
        Err(DeskError::Conflict(format!(
            "there is state already of {} {pairs}: {}; the import would replace it: say so if that is \
             meant (`--yes`, in the API `replace`)",
            there.len(),
            few(&there)
        )))
    }

    pub(super) async fn rename(
        &self,
        by: &Caller,
        old: &str,
        new: &str,
    ) -> Result<Vec<PairId>, DeskError> {
        refuse_part_of_the_fleet(by)?;
        let known = self.assembly.store.pairs().await.map_err(of_state)?;
        let moving: Vec<&PairId> = known.iter().filter(|pair| pair.publication == old).collect();
        if moving.is_empty() {
            return Err(DeskError::NotThere(format!(
                "publication `{old}` has no state: `tidemark state list` shows what has"
            )));
        }
        let renamed =
            |pair: &PairId| PairId { publication: new.to_owned(), target: pair.target.clone() };
        let mut taken = Vec::new();
        for pair in moving.iter().map(|pair| renamed(pair)).filter(|pair| known.contains(pair)) {
            if !self.waits_for_an_orphan(&pair).await? {
                taken.push(pair.to_string());
            }
        }
        if !taken.is_empty() {
            return Err(DeskError::Conflict(format!(
                "{} has state already; nothing was moved. If that state is of no use, `tidemark \
                 state forget` it first",
                few(&taken)
            )));
        }
        if !self.assembly.pairs.contains_key(new) {
            return Err(DeskError::Refused(format!(
                "the configuration has no publication `{new}`; nothing was moved. Rename it there \
                 first"
            )));
        }
        for pair in &moving {
            self.refuse_while_running(pair)?;
            self.refuse_while_running(&renamed(pair))?;
        }
        let mut moved = Vec::new();
        for pair in moving {
            let to = renamed(pair);
            let audit = self.record(by, "state move", Some(&to), format!("from {old}"), None);
            let taken_from = Some(pair.clone());
            let step = Step { forget_all: true, taken_from, audit: Some(audit), ..Step::default() };
            self.assembly.store.commit(&to, step).await.map_err(of_state)?;
            moved.push(to);
        }
        Ok(moved)
    }

    /// A pair that did nothing but be blocked until its state is moved.
    async fn waits_for_an_orphan(&self, pair: &PairId) -> Result<bool, DeskError> {
        let state = self.assembly.store.load(pair).await.map_err(of_state)?.unwrap_or_default();
        let waits = state.blocked.is_some_and(|block| block.cause == BlockCause::Orphan);
        Ok(waits && state.watermark.is_none())
    }

    pub(super) async fn forget(
        &self,
        by: &Caller,
        pair: &PairId,
        reason: Option<&str>,
    ) -> Result<(), DeskError> {
        let known = self.assembly.store.pairs().await.map_err(of_state)?;
        if !known.contains(pair) || !self.sees(by, pair) {
            return Err(DeskError::NotThere(format!("{pair} has no state")));
        }
        let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
        if self.assembly.pair(pair).is_some() && reason.is_none() {
            return Err(DeskError::Refused(format!(
                "the configuration names {pair}: its next run would publish everything again, and \
                 what was parked is gone; that wants a reason: whoever asks later sees it"
            )));
        }
        self.refuse_while_running(pair)?;
        let audit = self.record(by, "state forget", Some(pair), String::new(), reason);
        let step = Step { forget_all: true, audit: Some(audit), ..Step::default() };
        self.assembly.store.commit(pair, step).await.map_err(of_state)
    }
}

/// The state of all pairs is nobody's who sees some of them.
fn refuse_part_of_the_fleet(by: &Caller) -> Result<(), DeskError> {
    match by.labels.is_empty() {
        true => Ok(()),
        false => Err(DeskError::Conflict(
            "the state holds every pair, and this token sees some: use one without labels"
                .to_owned(),
        )),
    }
}

/// The first of them, and how many more there are.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}
