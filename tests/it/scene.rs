//! A source, its targets and a pair each, in one process: real HTTP between real adapters and
//! sandboxes on loopback, a state that can be looked at, and a clock that moves when told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Once};
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use tidemark::clock::Clock;
use tidemark::domain::{ResourcePath, Selection};
use tidemark::edfi::{Api, ConnectionSettings};
use tidemark::engine::observe::Observers;
use tidemark::engine::report::RunReport;
use tidemark::engine::run::Surroundings;
use tidemark::engine::runner::{RunOptions, Runner};
use tidemark::engine::{DeleteBrake, FirstOverlap, FirstRun, Pair, Policy, Publish, RetryPolicy};
use tidemark::http::{Origins, Unobserved};
use tidemark::sandbox::{LoggedRequest, Sandbox, SandboxOptions, Seed};
use tidemark::sources::Isolation;
use tidemark::sources::edfi::{EdfiSource, PageRoom};
use tidemark::state::{MemoryStore, PairId, PairState, Parked, StateStore};
use tidemark::targets::edfi::EdfiTarget;
use tokio_util::sync::CancellationToken;

pub(crate) struct Scene {
    pub(crate) source: Sandbox,
    targets: BTreeMap<String, Sandbox>,
    pub(crate) store: Arc<dyn StateStore>,
    pub(crate) clock: Clock,
    pub(crate) policy: Policy,
    pub(crate) stop: CancellationToken,
    spool: tempfile::TempDir,
    page_size: usize,
    origins: Origins,
}

/// What a scene is made of before it starts.
pub(crate) struct Setting {
    source: SandboxOptions,
    targets: Vec<(String, SandboxOptions)>,
    policy: Policy,
    page_size: usize,
}

/// The policy of a publication as the configuration's defaults have it, but for descriptors: the
/// sandboxes hold them all, and three thousand more items a test prove nothing.
pub(crate) fn policy() -> Policy {
    Policy {
        isolation: Isolation::Snapshot,
        on_missing_snapshot: None,
        key_changes: Publish::Publish,
        deletes: Publish::Publish,
        selection: Selection { descriptors: false, ..Selection::default() },
        overlap: Duration::ZERO,
        first_overlap: FirstOverlap::Versions(0),
        first_run: FirstRun::Full,
        brake: DeleteBrake { percent: 10.0, above: 100 },
        retry: RetryPolicy {
            max_attempts: 40,
            first_delay: Duration::from_secs(60),
            max_delay: Duration::from_secs(6 * 3600),
            max_parked: 10_000,
        },
        sole_writer: true,
        shared: Vec::new(),
        create_only: Vec::new(),
        look_again_after: Duration::ZERO,
        max_in_flight: 64,
    }
}

/// A sandbox that holds descriptors and school years and nothing else.
pub(crate) fn bare() -> SandboxOptions {
    SandboxOptions { data: Seed::Descriptors, ..SandboxOptions::default() }
}

/// A target that refuses whatever a target must not see.
pub(crate) fn strict() -> SandboxOptions {
    SandboxOptions { strict: true, ..bare() }
}

impl Setting {
    pub(crate) fn new() -> Setting {
        Setting { source: bare(), targets: Vec::new(), policy: policy(), page_size: 500 }
    }

    pub(crate) fn source(mut self, options: SandboxOptions) -> Setting {
        self.source = options;
        self
    }

    pub(crate) fn target(mut self, name: &str, options: SandboxOptions) -> Setting {
        self.targets.push((name.to_owned(), options));
        self
    }

    pub(crate) fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Setting {
        change(&mut self.policy);
        self
    }

    pub(crate) fn page_size(mut self, items: usize) -> Setting {
        self.page_size = items;
        self
    }

    pub(crate) async fn start(mut self) -> Scene {
        install_provider();
        if self.targets.is_empty() {
            self.targets.push(("state".to_owned(), strict()));
        }
        let source = Sandbox::start(self.source).await.unwrap();
        let mut targets = BTreeMap::new();
        for (name, options) in self.targets {
            targets.insert(name, Sandbox::start(options).await.unwrap());
        }
        Scene {
            source,
            targets,
            store: Arc::new(MemoryStore::new()),
            clock: Clock::held_at(chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap()),
            policy: self.policy,
            stop: CancellationToken::new(),
            spool: tempfile::tempdir().unwrap(),
            page_size: self.page_size,
            origins: Origins::new(Clock::system()),
        }
    }
}

impl Scene {
    /// A 7.3 source and one strict 7.3 target named `state`.
    pub(crate) async fn start() -> Scene {
        Setting::new().start().await
    }

    pub(crate) fn target(&self) -> &Sandbox {
        self.named("state")
    }

    pub(crate) fn named(&self, target: &str) -> &Sandbox {
        &self.targets[target]
    }

    pub(crate) fn pair_id(&self, target: &str) -> PairId {
        PairId { publication: "district-to-state".to_owned(), target: target.to_owned() }
    }

    /// The pairs as a freshly started process would have them.
    pub(crate) fn pairs(&self) -> Vec<Pair> {
        let api = connect("district", &self.source.url(), &self.origins);
        let source = Arc::new(EdfiSource::new(api, self.page_size, PageRoom::new()));
        let mut pairs = Vec::new();
        for (name, sandbox) in &self.targets {
            pairs.push(Pair {
                id: self.pair_id(name),
                source: source.clone(),
                target: Arc::new(EdfiTarget::new(connect(name, &sandbox.url(), &self.origins))),
                policy: Arc::new(self.policy.clone()),
            });
        }
        pairs
    }

    /// Where comparisons keep what they have read.
    pub(crate) fn spool(&self) -> &std::path::Path {
        self.spool.path()
    }

    pub(crate) fn surroundings(&self) -> Surroundings {
        Surroundings {
            store: Arc::clone(&self.store),
            clock: self.clock.clone(),
            observers: Observers::default(),
            stop: self.stop.clone(),
            configured: None,
        }
    }

    /// `tidemark run`: every pair, every parked item that is not dead.
    pub(crate) async fn run_all(&self) -> Vec<RunReport> {
        self.run_with(&RunOptions { allow_deletes: false, all_parked: true }).await
    }

    pub(crate) async fn run_with(&self, options: &RunOptions) -> Vec<RunReport> {
        Runner::new(self.surroundings()).run_publication(self.pairs(), options).await
    }

    /// The run of the only target.
    pub(crate) async fn run(&self) -> RunReport {
        self.run_all().await.pop().unwrap()
    }

    pub(crate) async fn state(&self, target: &str) -> PairState {
        self.store.load(&self.pair_id(target)).await.unwrap().unwrap_or_default()
    }

    pub(crate) async fn watermark(&self) -> Option<i64> {
        self.state("state").await.watermark.map(|watermark| watermark.change_version().0)
    }

    pub(crate) async fn parked(&self) -> Vec<Parked> {
        self.store.parked(&self.pair_id("state"), None, 10_000).await.unwrap()
    }

    /// Source and target hold the same items, and every body means the same.
    pub(crate) fn assert_agrees(&self) {
        self.assert_target_agrees("state");
    }

    pub(crate) fn assert_target_agrees(&self, target: &str) {
        let (source, target) = (self.source.all(), self.named(target).all());
        let resources: Vec<_> = source.keys().chain(target.keys()).collect();
        for resource in resources {
            let empty = BTreeMap::new();
            let ours = source.get(resource).unwrap_or(&empty);
            let theirs = target.get(resource).unwrap_or(&empty);
            let missing: Vec<_> = ours.keys().filter(|key| !theirs.contains_key(*key)).collect();
            let extra: Vec<_> = theirs.keys().filter(|key| !ours.contains_key(*key)).collect();
            assert!(missing.is_empty(), "missing at the target, {resource}: {missing:?}");
            assert!(extra.is_empty(), "extra at the target, {resource}: {extra:?}");
            for (key, body) in ours {
                assert_eq!(body, &theirs[key], "{resource} {key}");
            }
        }
    }

    /// Writes that a target answered, in the order in which it answered them.
    pub(crate) fn writes(&self, target: &str) -> Vec<LoggedRequest> {
        self.named(target).requests().into_iter().filter(LoggedRequest::is_write).collect()
    }
}

/// A connection to a sandbox.
pub(crate) fn connect(name: &str, url: &str, origins: &Origins) -> Arc<Api> {
    let text = |text: &'static str| -> tidemark::http::SecretSource {
        Arc::new(move || Ok(SecretString::from(text)))
    };
    let settings = ConnectionSettings {
        tls: tidemark::http::ClientTls::default(),
        name: name.to_owned(),
        url: url.parse().unwrap(),
        key: text("sandbox-key"),
        secret: text("sandbox-secret"),
        token_url: None,
        scope: None,
        school_year: None,
        instance: None,
        timeout: Duration::from_secs(30),
        max_concurrency: 64,
        max_requests_per_second: 0,
        shared_limit: None,
        closed_until: None,
        look_again_after: tidemark::edfi::LOOK_AGAIN_AFTER,
    };
    Api::new(settings, origins, Arc::new(Unobserved)).unwrap()
}

/// Another test of the process may have been first; either is ring.
pub(crate) fn install_provider() {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// A report whose stages add up and whose outcome is `outcome`.
#[track_caller]
pub(crate) fn assert_ended(report: &RunReport, outcome: &str) {
    assert_eq!(report.outcome.as_str(), outcome, "{:?} {:?}", report.error, report.stages);
    if outcome != "failed" {
        assert!(report.stages.is_conserved(), "{:?}", report.stages);
    }
}

/// Creates or replaces an item at a sandbox as a vendor would.
#[track_caller]
pub(crate) fn put(sandbox: &Sandbox, resource: &str, item: &Value) {
    sandbox.upsert(&format!("/ed-fi/{resource}"), item).unwrap();
}

pub(crate) fn path(resource: &str) -> ResourcePath {
    ResourcePath::parse(&format!("/ed-fi/{resource}")).unwrap()
}
