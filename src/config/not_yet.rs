//! What the contract names and this version does not do: refused by name, never ignored. A key
//! moves out of this table into `entries.rs` when it begins to work.

/// Which mapping a key stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Root,
    State,
    Backup,
    Server,
    Token,
    Tls,
    Defaults,
    Limit,
    Connection,
    ConnectionTls,
    Closed,
    Publication,
    Verify,
    Resources,
    Retry,
}

/// A key that may only be absent, empty, or ask for nothing.
pub(super) struct KeyNotYet {
    pub(super) section: Section,
    pub(super) key: &'static str,
    /// Spellings that ask for nothing, beside null, `[]` and `{}`.
    pub(super) asks_nothing: &'static [&'static str],
}

const fn key(
    section: Section,
    key: &'static str,
    asks_nothing: &'static [&'static str],
) -> KeyNotYet {
    KeyNotYet { section, key, asks_nothing }
}

pub(super) const KEYS: &[KeyNotYet] = &[key(Section::State, "audit_for", &[])];

/// Values of keys that work, by the key's name.
pub(super) const VALUES: &[(&str, &[&str])] =
    &[("store", &["postgres"]), ("kind", &["graph", "azure-sql-sync", "datasync", "rest", "file"])];
