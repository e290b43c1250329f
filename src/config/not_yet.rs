//! What the contract names and this version does not do: refused by name, never ignored.

/// Values of keys that work, by the key's name.
pub(super) const VALUES: &[(&str, &[&str])] =
    &[("store", &["postgres"]), ("kind", &["graph", "azure-sql-sync", "datasync", "rest", "file"])];
