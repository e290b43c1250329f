//! What a sandbox is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::version::ApiVersion;
use crate::clock::Clock;

/// How a sandbox behaves, what it holds and who may use it.
#[derive(Clone, Debug)]
pub struct SandboxOptions {
    /// A loopback address; port 0 takes a free one. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// Whose behaviour on the wire. Default 7.3.
    pub version: ApiVersion,
    /// What it holds at the start. Default nothing but school years.
    pub data: Seed,
    /// Which resources there are. Default Data Standard 5.2.
    pub standard: Standard,
    /// Answers 400 to `id`, `_etag`, `_lastModifiedDate` or `link` at any depth of a body. A real
    /// server forbids only `id` and ignores the rest. Default false.
    pub strict: bool,
    /// Default `sandbox-key`.
    pub key: String,
    /// Default `sandbox-secret`.
    pub secret: String,
    /// Default and largest page. Default 500.
    pub page_limit: usize,
    /// Default 1800 seconds.
    pub token_lifetime: Duration,
    /// How many tokens may live at once before version 7.3 answers 429. Default 15.
    pub token_limit: usize,
    /// Whether clients can read from a snapshot. Default automatic.
    pub snapshots: SnapshotMode,
    /// A school year that stands in the paths: after `data/v3` before 7.0, before
    /// everything since.
    pub year: Option<u16>,
    /// A tenant that stands before everything. Since 7.0 only.
    pub tenant: Option<String>,
    /// Whether references carry a `link`. Default true.
    pub links: bool,
    /// Whether people can be reached only through their associations. Default no.
    pub people: PeopleAuthorization,
    /// What the namespaces begin with under which the caller may write descriptors, assessments
    /// and the like; everything else is answered with 403. Default those of the data that comes
    /// with the program.
    pub namespaces: Vec<String>,
    /// Members that the host does not know, by the path of the resource and their name at the root
    /// of a body: it names them nowhere and drops them in silence. Default none.
    pub lacks: Vec<(String, String)>,
    /// Whether `/deletes` and `/keyChanges` exist (edfi-wire §11). Default both.
    pub feeds: Feeds,
    /// Where modification times come from.
    pub clock: Clock,
}

impl Default for SandboxOptions {
    fn default() -> SandboxOptions {
        SandboxOptions {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            version: ApiVersion::V7_3,
            data: Seed::Empty,
            standard: Standard::DataStandard52,
            strict: false,
            key: "sandbox-key".to_owned(),
            secret: "sandbox-secret".to_owned(),
            page_limit: 500,
            token_lifetime: Duration::from_secs(1800),
            token_limit: 15,
            snapshots: SnapshotMode::Auto,
            year: None,
            tenant: None,
            links: true,
            people: PeopleAuthorization::NoFurther,
            namespaces: ["uri://ed-fi.org", "uri://gbisd.edu", "uri://other.example"]
                .map(str::to_owned)
                .to_vec(),
            lacks: Vec::new(),
            feeds: Feeds { deletes: true, key_changes: true },
            clock: Clock::system(),
        }
    }
}

/// What a sandbox holds when it starts.
#[derive(Clone, Debug)]
pub enum Seed {
    /// Nothing but the school years, which no client can create.
    Empty,
    /// Nothing but the school years and the descriptors.
    Descriptors,
    /// All 34,288 items of the sample data.
    Sample,
    /// Files named `<endpoint>.ndjson`, and `descriptors.ndjson` with an endpoint a line. They are
    /// loaded in dependency order and take the place of the built-in school years if the
    /// directory has some.
    Directory(PathBuf),
}

/// Which resources, keys and references there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// Ed-Fi Data Standard 5.2, 349 resources.
    DataStandard52,
    /// Ten resources that no Ed-Fi data standard has, for what must not depend on names.
    Other,
}

/// Whether there is a snapshot and when it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotMode {
    /// There never is one.
    None,
    /// There is one after `Sandbox::take_snapshot`.
    Manual,
    /// There always is one: reading `availableChangeVersions` under the snapshot header (before
    /// 7.0 listing the snapshots) renews it to the present first, so that a client that starts by
    /// asking for the newest version reads the present, held still. A client that asks again at
    /// its end finds that the snapshot moved if the data was written meanwhile.
    Auto,
}

/// How the server decides who may touch people (edfi-wire §10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeopleAuthorization {
    NoFurther,
    /// People can be created by anyone and touched only through an association.
    Relationships,
}

/// Which of the feeds beside the items there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feeds {
    pub deletes: bool,
    pub key_changes: bool,
}
