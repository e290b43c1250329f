//! Parked items at the desk: listed, shown, tried again, given up.

use std::collections::{BTreeMap, BTreeSet};

use super::{FleetDesk, of_state};
use crate::clock::Timestamp;
use crate::desk::wording::{self, many};
use crate::desk::{
    Caller, DeskError, Page, ParkedChoice, ParkedFilter, ParkedItem, Part, Role, Selectors,
};
use crate::domain::ParkReason;
use crate::metrics::Discarded;
use crate::state::{PairId, ParkStatus, Parked, Step};

/// Items read from the state at once.
const AT_ONCE: usize = 1000;

impl FleetDesk {
    pub(super) async fn list_parked(
        &self,
        by: &Caller,
        which: &Selectors,
        filter: &ParkedFilter,
        part: &Part,
    ) -> Result<Page<ParkedItem>, DeskError> {
        let begin = part.after.as_deref().map(Place::parse).transpose()?;
        let mut items: Vec<ParkedItem> = Vec::new();
        for pair in self.seen(by, which).await? {
            let mut after = match &begin {
                Some(place) if place.pair > pair => continue,
                Some(place) if place.pair == pair => Some(place.id.clone()),
                Some(_) | None => None,
            };
            loop {
                let page = self.assembly.store.parked(&pair, after.as_deref(), AT_ONCE).await;
                let page = page.map_err(of_state)?;
                after = page.last().map(|item| item.id.clone());
                let is_last = page.len() < AT_ONCE;
                for parked in page.into_iter().filter(|parked| filter.admits(parked)) {
                    if items.len() == part.limit {
                        let next = items.last().map(Place::of).map(|place| place.text());
                        return self.told(by, items, next).await;
                    }
                    items.push(ParkedItem::new(&pair, parked));
                }
                if is_last {
                    break;
                }
            }
        }
        self.told(by, items, None).await
    }

    /// Keys are for operators, and whoever reads them is written down.
    async fn told(
        &self,
        by: &Caller,
        items: Vec<ParkedItem>,
        next: Option<String>,
    ) -> Result<Page<ParkedItem>, DeskError> {
        if by.role < Role::Operator {
            let items = items.into_iter().map(ParkedItem::masked).collect();
            return Ok(Page { items, next });
        }
        if items.iter().any(|item| item.key.is_some()) {
            let what = format!("keys of {}", wording::count(many(items.len()), "item"));
            self.note(self.record(by, "parked read", None, what, None)).await?;
        }
        Ok(Page { items, next })
    }

    pub(super) async fn show_parked(&self, by: &Caller, id: &str) -> Result<ParkedItem, DeskError> {
        let (pair, parked) = self.with_id(by, id).await?;
        let item = ParkedItem::new(&pair, parked);
        let mut page = self.told(by, vec![item], None).await?;
        page.items.pop().ok_or_else(|| not_parked(id))
    }

    pub(super) async fn retry_parked(
        &self,
        by: &Caller,
        choice: &ParkedChoice,
    ) -> Result<u64, DeskError> {
        let now = self.assembly.clock.now();
        let mut count = 0;
        for (pair, items) in self.chosen_items(by, choice).await? {
            let mut step = Step::default();
            for item in &items {
                if item.reason == ParkReason::ResourceClosed {
                    // The record is what closes the resource. Without it the resource joins again,
                    // and "nothing is newer" is no longer the whole answer (R17, R23a).
                    step.settle.push(item.id.clone());
                } else {
                    step.park.push(due_now(item.clone(), now));
                }
            }
            if !step.settle.is_empty() {
                self.refuse_while_running(&pair)?;
                let state = self.assembly.store.load(&pair).await.map_err(of_state)?;
                let mut state = state.unwrap_or_default();
                state.selection = None;
                step.state = Some(state);
            }
            count += many(items.len());
            let what = wording::count(many(items.len()), "item");
            step.audit = Some(self.record(by, "parked retry", Some(&pair), what, None));
            self.assembly.store.commit(&pair, step).await.map_err(of_state)?;
            if let Some(at_work) = &self.at_work {
                at_work.parked_due(&pair).await?;
            }
        }
        Ok(count)
    }

    /// What is no longer waited for is forgotten: nobody tries it again, and the watermark stays.
    /// What source and target then differ in, `verify` finds.
    pub(super) async fn discard_parked(
        &self,
        by: &Caller,
        choice: &ParkedChoice,
        reason: Option<&str>,
    ) -> Result<u64, DeskError> {
        let chosen = self.chosen_items(by, choice).await?;
        let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
        let total: usize = chosen.values().map(Vec::len).sum();
        let closed =
            chosen.values().flatten().find(|item| item.reason == ParkReason::ResourceClosed);
        if let Some(closed) = closed {
            return Err(DeskError::Conflict(format!(
                "{} is closed: its record is what keeps the watermark from speaking for it. \
                 Exclude the resource, or have the item retried when the target takes it",
                closed.resource
            )));
        }
        if total > 1 && reason.is_none() {
            return Err(DeskError::Refused(format!(
                "{} would be given up, which wants a reason: whoever asks later sees it",
                wording::count(many(total), "item")
            )));
        }
        for (pair, items) in chosen {
            let what = wording::count(many(items.len()), "item");
            let audit = self.record(by, "parked discard", Some(&pair), what, reason);
            let given_up = many(items.len());
            let settle = items.into_iter().map(|item| item.id).collect();
            let step = Step { settle, audit: Some(audit), ..Step::default() };
            self.assembly.store.commit(&pair, step).await.map_err(of_state)?;
            self.assembly.metrics.discarded(&pair, Discarded::GivenUp, given_up);
        }
        Ok(many(total))
    }

    /// The chosen items by pair, each once.
    async fn chosen_items(
        &self,
        by: &Caller,
        choice: &ParkedChoice,
    ) -> Result<BTreeMap<PairId, Vec<Parked>>, DeskError> {
        let mut chosen: BTreeMap<PairId, Vec<Parked>> = BTreeMap::new();
        let mut taken = BTreeSet::new();
        for id in &choice.ids {
            let (pair, parked) = self.with_id(by, id).await?;
            if taken.insert((pair.clone(), parked.id.clone())) {
                chosen.entry(pair).or_default().push(parked);
            }
        }
        let Some((which, filter)) = &choice.which else { return Ok(chosen) };
        for pair in self.seen(by, which).await? {
            for parked in self.all_of(&pair).await? {
                if filter.admits(&parked) && taken.insert((pair.clone(), parked.id.clone())) {
                    chosen.entry(pair.clone()).or_default().push(parked);
                }
            }
        }
        Ok(chosen)
    }

    pub(super) async fn with_id(
        &self,
        by: &Caller,
        id: &str,
    ) -> Result<(PairId, Parked), DeskError> {
        let mut found = None;
        for pair in self.seen(by, &Selectors::default()).await? {
            // In order of id, so the first that is not before it is the one, if any is.
            let from = before(id);
            let page = self.assembly.store.parked(&pair, from.as_deref(), 2).await;
            for parked in page.map_err(of_state)?.into_iter().filter(|p| p.id.starts_with(id)) {
                if parked.id == id {
                    return Ok((pair, parked));
                }
                if found.replace((pair.clone(), parked)).is_some() {
                    return Err(DeskError::Refused(format!(
                        "more than one id begins with `{id}`: type more of it"
                    )));
                }
            }
        }
        found.ok_or_else(|| not_parked(id))
    }

    pub(super) async fn all_of(&self, pair: &PairId) -> Result<Vec<Parked>, DeskError> {
        let mut items: Vec<Parked> = Vec::new();
        loop {
            let after = items.last().map(|item| item.id.clone());
            let page = self.assembly.store.parked(pair, after.as_deref(), AT_ONCE).await;
            let page = page.map_err(of_state)?;
            let is_last = page.len() < AT_ONCE;
            items.extend(page);
            if is_last {
                return Ok(items);
            }
        }
    }

    /// What replaces the whole record of a pair would take back what its run is about to write.
    pub(super) fn refuse_while_running(&self, pair: &PairId) -> Result<(), DeskError> {
        match self.at_work.as_ref().is_some_and(|at_work| at_work.is_running(pair)) {
            true => Err(DeskError::Conflict(format!(
                "{pair} is running: cancel the run, or wait for its end"
            ))),
            false => Ok(()),
        }
    }
}

/// Where a part of the list ended.
struct Place {
    pair: PairId,
    id: String,
}

impl Place {
    fn of(item: &ParkedItem) -> Place {
        let (publication, target) = (item.publication.clone(), item.target.clone());
        Place { pair: PairId { publication, target }, id: item.id.clone() }
    }

    /// No name has a dot in it.
    fn text(&self) -> String {
        format!("{}.{}.{}", self.pair.publication, self.pair.target, self.id)
    }

    fn parse(text: &str) -> Result<Place, DeskError> {
        let mut parts = text.splitn(3, '.').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(publication), Some(target), Some(id)) => {
                Ok(Place { pair: PairId { publication, target }, id })
            }
            _ => Err(DeskError::Refused(
                "`after` is not the `next` of a part of this list".to_owned(),
            )),
        }
    }
}

/// Due at once, with fresh attempts, dead or not.
fn due_now(mut parked: Parked, now: Timestamp) -> Parked {
    parked.status = ParkStatus::Parked;
    parked.attempts = 0;
    parked.early_attempts = 0;
    parked.next_attempt_at = now;
    parked
}

/// Something that sorts right before every text that begins with `id`.
fn before(id: &str) -> Option<String> {
    let mut text = id.to_owned();
    let last = text.pop()?;
    let previous = char::from_u32(u32::from(last).checked_sub(1)?)?;
    text.push(previous);
    text.push(char::MAX);
    Some(text)
}

fn not_parked(id: &str) -> DeskError {
    DeskError::NotThere(format!("nothing is parked under the id `{id}`: it may have been settled"))
}
