//! The seam `Target` over a simulated database, without a wire.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tidemark::domain::{
    Body, ChangeVersion, Item, KeyShape, NaturalKey, ParkReason, ResourceGraph, ResourcePath,
    TargetId,
};
use tidemark::edfi::{Meaning, Problem};
use tidemark::sandbox::{self, Database, Shown};
use tidemark::targets::{
    Deleted, Disposition, Found, FoundPages, Match, Refusal, Target, TargetCapabilities, Upserted,
    WriteError,
};
use tokio_util::sync::CancellationToken;

use super::ends::{self, GRAPH};
use super::machine::Refused;
use super::script::{Answer, Script, What, Written};
use crate::simulation::history::{Side, Thing};

/// The other end of a run.
#[derive(Clone)]
pub(super) struct ModelTarget {
    pub(super) database: Arc<Database>,
    pub(super) refuses: Vec<Refused>,
    pub(super) script: Arc<Script>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Doing {
    Post,
    Put,
    Delete,
    Read,
}

fn failed(what: &str) -> WriteError {
    WriteError::Unusable { connection: "state".to_owned(), what: what.to_owned() }
}

fn refusal(doing: Doing, disposition: Disposition, refusal: Refusal) -> WriteError {
    let doing = match doing {
        Doing::Post => "writing",
        Doing::Put => "renaming",
        Doing::Delete => "deleting",
        Doing::Read => "reading",
    };
    WriteError::Refused {
        connection: "state".to_owned(),
        doing: doing.to_owned(),
        disposition,
        refusal: Box::new(refusal),
    }
}

/// The table "Answers of a target", once more and on its own.
fn refused(doing: Doing, by: &sandbox::Refused) -> WriteError {
    let problem = Problem::parse(by.status, by.answer.as_bytes());
    let disposition = match (doing, problem.status, problem.meaning) {
        (Doing::Put, ..) => Disposition::PlainAgreement,
        (_, 403, _) => Disposition::AwaitAssociation,
        (Doing::Delete, 409, _) => Disposition::AwaitDeletes(ParkReason::StillReferenced),
        (Doing::Post, 409, Meaning::IdentityTaken | Meaning::ValueTaken) => {
            Disposition::AwaitDeletes(ParkReason::Taken)
        }
        (Doing::Post, 409, _) => Disposition::ResolveReference,
        (Doing::Post | Doing::Delete | Doing::Read, ..) => Disposition::Park(ParkReason::Invalid),
    };
    let kept = Refusal {
        status: problem.status,
        kind: problem.kind,
        members: problem.members,
        detail: problem.detail,
        missing: problem.missing,
    };
    refusal(doing, disposition, kept)
}

impl ModelTarget {
    /// Fails what the target refuses although its data would let it.
    fn check(
        &self,
        doing: Doing,
        resource: &ResourcePath,
        key: &NaturalKey,
    ) -> Result<(), WriteError> {
        for refused in &self.refuses {
            let (applies, disposition, status) = match refused {
                Refused::Item(thing) => (
                    matches!(doing, Doing::Post | Doing::Put) && is(*thing, resource, key),
                    Disposition::Park(ParkReason::Invalid),
                    400,
                ),
                Refused::Delete(thing) => (
                    doing == Doing::Delete && is(*thing, resource, key),
                    Disposition::Park(ParkReason::Invalid),
                    400,
                ),
                Refused::Items(collection) => (
                    doing == Doing::Post && resource.collection() == *collection,
                    Disposition::Park(ParkReason::Invalid),
                    400,
                ),
                Refused::Renames => (doing == Doing::Put, Disposition::PlainAgreement, 405),
                Refused::Collection(collection) => (
                    doing != Doing::Read && resource.collection() == *collection,
                    Disposition::CloseResource,
                    403,
                ),
            };
            if !applies {
                continue;
            }
            let disposition = match (doing, disposition) {
                (Doing::Put, _) => Disposition::PlainAgreement,
                (_, other) => other,
            };
            return Err(refusal(doing, disposition, Refusal { status, ..Refusal::default() }));
        }
        Ok(())
    }

    /// Does a write, of an item or of none, once or twice, and answers or not.
    fn write<T>(
        &self,
        doing: Doing,
        (resource, key): (&ResourcePath, &NaturalKey),
        of: Option<&Item>,
        what: What,
        mut write: impl FnMut() -> Result<T, sandbox::Refused>,
    ) -> Result<T, WriteError> {
        self.check(doing, resource, key)?;
        let answer = self.script.answer();
        let shown =
            || self.database.view().of_everyone().find(resource.as_str(), &ends::parts(key));
        let before = shown();
        let mut done = write();
        match &done {
            Ok(_) => {
                let id = shown().or(before).expect("it was written, or is gone").id();
                let (resource, key) = (resource.clone(), key.clone());
                let of = of.map(|item| item.id.0.clone());
                self.script.wrote(Written { resource, key, what, id, of });
            }
            Err(refused) if refused.status == 409 => self.script.was_refused(resource, key),
            Err(_) => {}
        }
        if answer == Answer::Repeated {
            done = write();
        }
        if answer == Answer::Lost {
            return Err(failed("no answer came"));
        }
        done.map_err(|by| refused(doing, &by))
    }
}

fn is(thing: Thing, resource: &ResourcePath, key: &NaturalKey) -> bool {
    resource.as_str() == thing.path()
        && serde_json::to_value(key).is_ok_and(|key| key == thing.key())
}

#[async_trait]
impl Target for ModelTarget {
    async fn capabilities(&self) -> Result<Arc<TargetCapabilities>, WriteError> {
        Ok(Arc::new(TargetCapabilities {
            api_version: "7.3".to_owned(),
            fingerprint: ends::fingerprint("state"),
        }))
    }

    async fn resources(&self) -> Result<Arc<ResourceGraph>, WriteError> {
        Ok(Arc::clone(&GRAPH))
    }

    async fn newest(&self) -> Result<Option<ChangeVersion>, WriteError> {
        self.script.asked(Side::Target).await.map_err(failed)?;
        Ok(Some(ChangeVersion(self.database.newest())))
    }

    async fn upsert(&self, resource: &ResourcePath, item: &Item) -> Result<Upserted, WriteError> {
        self.script.asked(Side::Target).await.map_err(failed)?;
        let body = body_for_target(item);
        let key = ends::key_of(resource, &body);
        let what = What::Body(body.as_str().into());
        let (id, created) = self.write(Doing::Post, (resource, &key), Some(item), what, || {
            self.database.post(resource.as_str(), &body)
        })?;
        Ok(Upserted { id: Some(TargetId(id)), created })
    }

    async fn rename(
        &self,
        resource: &ResourcePath,
        id: &TargetId,
        item: &Item,
    ) -> Result<(), WriteError> {
        self.script.asked(Side::Target).await.map_err(failed)?;
        let body = body_for_target(item);
        let key = ends::key_of(resource, &body);
        let shown = self.database.view().of_everyone().item(resource.as_str(), &id.0);
        let old = shown.and_then(Result::ok).map(|shown| ends::key_of(resource, shown.body()));
        let what = What::Renamed(body.as_str().into(), old);
        self.write(Doing::Put, (resource, &key), Some(item), what, || {
            self.database.put(resource.as_str(), &id.0, &body)
        })
    }

    async fn delete(&self, resource: &ResourcePath, id: &TargetId) -> Result<Deleted, WriteError> {
        self.script.asked(Side::Target).await.map_err(failed)?;
        let shown = self.database.view().of_everyone().item(resource.as_str(), &id.0);
        let Some(Ok(shown)) = shown else { return Ok(Deleted::AlreadyGone) };
        let key = ends::key_of(resource, shown.body());
        self.write(Doing::Delete, (resource, &key), None, What::Deleted, || {
            match self.database.remove(resource.as_str(), &id.0) {
                Ok(()) => Ok(Deleted::Deleted),
                Err(refused) if refused.status == 404 => Ok(Deleted::AlreadyGone),
                Err(refused) => Err(refused),
            }
        })
    }

    async fn find(&self, resource: &ResourcePath, key: &NaturalKey) -> Result<Match, WriteError> {
        self.script.asked(Side::Target).await.map_err(failed)?;
        self.script.looked();
        let key = ends::in_own_words(resource, key);
        let shown = self.database.view().find(resource.as_str(), &ends::parts(&key));
        Ok(shown.map_or(Match::None, |shown| Match::One(found(resource, shown))))
    }

    async fn get(
        &self,
        resource: &ResourcePath,
        id: &TargetId,
    ) -> Result<Option<Found>, WriteError> {
        self.script.asked(Side::Target).await.map_err(failed)?;
        self.script.looked();
        match self.database.view().item(resource.as_str(), &id.0) {
            Some(Ok(shown)) => Ok(Some(found(resource, shown))),
            Some(Err(status)) => {
                let hidden = Refusal { status, ..Refusal::default() };
                Err(refusal(Doing::Read, Disposition::AwaitAssociation, hidden))
            }
            None => Ok(None),
        }
    }

    async fn count(&self, resource: &ResourcePath) -> Result<u64, WriteError> {
        self.script.asked(Side::Target).await.map_err(failed)?;
        Ok(self.database.view().items(resource.as_str(), i64::MIN, i64::MAX).len() as u64)
    }

    fn pages(&self, resource: &ResourcePath) -> Box<dyn FoundPages> {
        Box::new(WholePage { target: self.clone(), resource: resource.clone(), is_read: false })
    }

    async fn key_shape(
        &self,
        resource: &ResourcePath,
    ) -> Result<Option<Arc<KeyShape>>, WriteError> {
        Ok(Some(ends::shape_of(resource)))
    }

    fn for_run(&self, _: &str, _: CancellationToken) -> Arc<dyn Target> {
        Arc::new(self.clone())
    }

    fn requests(&self) -> u64 {
        0
    }
}

/// Everything of a resource at once.
struct WholePage {
    target: ModelTarget,
    resource: ResourcePath,
    is_read: bool,
}

#[async_trait]
impl FoundPages for WholePage {
    async fn next(&mut self) -> Result<Option<Vec<Found>>, WriteError> {
        self.target.script.asked(Side::Target).await.map_err(failed)?;
        let items = self.target.database.view().items(self.resource.as_str(), i64::MIN, i64::MAX);
        if std::mem::replace(&mut self.is_read, true) || items.is_empty() {
            return Ok(None);
        }
        Ok(Some(items.into_iter().map(|shown| found(&self.resource, shown)).collect()))
    }
}

fn body_for_target(item: &Item) -> String {
    let text = std::str::from_utf8(item.body.bytes()).expect("a source sends UTF-8");
    ends::without_server_members(text)
}

fn found(resource: &ResourcePath, shown: Shown) -> Found {
    Found {
        id: TargetId(shown.id()),
        key: Some(ends::key_of(resource, shown.body())),
        body: Body(Bytes::from(shown.text())),
    }
}
