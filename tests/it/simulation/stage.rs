//! Where histories are played: two sandboxes that are used again and again, because starting them
//! costs more than a history.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tidemark::clock::Clock;
use tidemark::edfi::Api;
use tidemark::http::Origins;
use tidemark::sandbox::{
    ApiVersion, LoggedRequest, PeopleAuthorization, Sandbox, SandboxOptions, SnapshotMode,
};

use super::district::{self, BESIDE, COLLECTIONS};
use super::history::{Frame, Side};
use crate::scene::{bare, connect, install_provider, strict};

/// Everything that is published, by collection and key. Keys are spelt as the log spells them,
/// their parts in order of name.
pub(super) type Everything = BTreeMap<(&'static str, String), Value>;

/// A sandbox and the connection to it.
pub(super) struct End {
    pub(super) sandbox: Sandbox,
    name: &'static str,
    pub(super) api: Arc<Api>,
}

impl End {
    async fn start(name: &'static str, options: SandboxOptions) -> End {
        let options = SandboxOptions { token_limit: 10_000, ..options };
        let sandbox = Sandbox::start(options).await.unwrap();
        let api = connect(name, &sandbox.url(), &Origins::new(Clock::system()));
        End { sandbox, name, api }
    }

    /// What a new process would have: no token, nothing learnt.
    pub(super) fn connect_anew(&mut self) {
        self.api = connect(self.name, &self.sandbox.url(), &Origins::new(Clock::system()));
    }

    pub(super) fn everything(&self) -> Everything {
        everything(&self.sandbox)
    }
}

pub(super) fn everything(sandbox: &Sandbox) -> Everything {
    let mut all = Everything::new();
    for collection in COLLECTIONS.into_iter().chain(BESIDE) {
        let path = format!("/ed-fi/{collection}");
        for item in sandbox.items(&path) {
            let key = sandbox.key_of(&path, &item).unwrap();
            all.insert((collection, spelt(&key)), item);
        }
    }
    all
}

/// The parts of a key as text, in order of name.
pub(super) fn spelt(key: &Value) -> String {
    let part = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    };
    let mut parts: Vec<_> = key.as_object().into_iter().flatten().map(part).collect();
    parts.sort();
    parts.join("&")
}

/// The collection and key of a write, as [`spelt`] spells it.
pub(super) fn written(request: &LoggedRequest) -> Option<(&str, String)> {
    let collection = request.resource.as_deref()?.strip_prefix("/ed-fi/")?;
    let mut parts: Vec<_> = request.key.as_deref()?.split('&').collect();
    parts.sort_unstable();
    Some((collection, parts.join("&")))
}

/// Ends by version; each is emptied before it is used again.
#[derive(Default)]
pub(super) struct Ends {
    idle: Vec<(Side, ApiVersion, End)>,
}

impl Ends {
    /// A source and a target for a history, as good as new.
    pub(super) async fn take(&mut self, frame: &Frame) -> (End, End) {
        install_provider();
        let source = match self.find(Side::Source, frame.source) {
            Some(end) => end,
            None => {
                let options = SandboxOptions {
                    version: frame.source,
                    snapshots: SnapshotMode::Manual,
                    ..bare()
                };
                End::start("district", options).await
            }
        };
        let target = match self.find(Side::Target, frame.target) {
            Some(end) if !frame.people => end,
            _ => {
                let people = match frame.people {
                    true => PeopleAuthorization::Relationships,
                    false => PeopleAuthorization::NoFurther,
                };
                let options = SandboxOptions { version: frame.target, people, ..strict() };
                End::start("state", options).await
            }
        };
        district::begin(&source.sandbox, true);
        district::begin(&target.sandbox, false);
        source.sandbox.drop_snapshot();
        source.sandbox.take_snapshot();
        (source, target)
    }

    fn find(&mut self, side: Side, version: ApiVersion) -> Option<End> {
        let matches = |(s, v, _): &(Side, ApiVersion, End)| (*s, *v) == (side, version);
        let position = self.idle.iter().position(matches)?;
        Some(self.idle.swap_remove(position).2)
    }

    /// Gives both back. A target with people keeps some that nobody may delete, so it is not.
    pub(super) fn give_back(&mut self, frame: &Frame, source: End, target: End) {
        self.idle.push((Side::Source, frame.source, source));
        if !frame.people {
            self.idle.push((Side::Target, frame.target, target));
        }
    }
}
