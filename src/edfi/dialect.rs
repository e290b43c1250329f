//! Every difference between versions of the Ed-Fi ODS/API, one place each (`edfi-wire §11`).

/// How a read is told to answer from a snapshot (`edfi-wire §3`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotStyle {
    /// 7 and later: `Use-Snapshot: true`; a missing one is a 404.
    UseSnapshotHeader,
    /// Before: `Snapshot-Identifier` with one of the identifiers that [`Discovery::snapshots`]
    /// lists; one that is gone is a 410.
    ///
    /// [`Discovery::snapshots`]: super::Discovery::snapshots
    SnapshotIdentifier,
    /// The header is ignored and live data served: counts as a missing snapshot (R11).
    None,
}

/// What one version of the API does differently from another.
#[derive(Debug, PartialEq, Eq)]
pub struct Dialect {
    /// As a person calls it: `7.3`.
    pub name: &'static str,
    /// Whether this version of the program works with it. One that does not is known well enough
    /// to say so, and that its snapshots are missing.
    pub accepted: bool,
    pub snapshots: SnapshotStyle,
    /// `Next-Page-Token`, `pageToken` and `pageSize`.
    pub cursor_paging: bool,
    /// Tombstones carry `keyValues`.
    pub deletes_have_keys: bool,
    /// There is a `/keyChanges` feed.
    pub key_changes: bool,
    /// The deletes feed hides keys that live again, descriptors and what is keyed by them apart.
    pub hides_recreated: bool,
}

static V7_3: Dialect = Dialect {
    name: "7.3",
    accepted: true,
    snapshots: SnapshotStyle::UseSnapshotHeader,
    cursor_paging: true,
    deletes_have_keys: true,
    key_changes: true,
    hides_recreated: true,
};

static V6_1: Dialect = Dialect {
    name: "6.1",
    accepted: true,
    snapshots: SnapshotStyle::SnapshotIdentifier,
    cursor_paging: false,
    deletes_have_keys: true,
    key_changes: true,
    hides_recreated: true,
};

static V8: Dialect = Dialect {
    name: "8",
    accepted: false,
    snapshots: SnapshotStyle::None,
    cursor_paging: true,
    deletes_have_keys: true,
    key_changes: true,
    hides_recreated: true,
};

impl Dialect {
    /// The dialect of the version that a root document tells; `None` for one that is not known.
    pub fn of_version(version: &str) -> Option<&'static Dialect> {
        let mut parts = version.trim().trim_start_matches(['v', 'V']).split(['.', '-', '+']);
        let major = parts.next()?;
        match (major, parts.next()) {
            ("7", Some("3")) => Some(&V7_3),
            ("6", Some("1")) => Some(&V6_1),
            ("8", _) => Some(&V8),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_however_exactly_it_is_told() {
        for (version, name) in [
            ("7.3", Some("7.3")),
            ("7.3.2", Some("7.3")),
            ("v7.3", Some("7.3")),
            ("6.1", Some("6.1")),
            ("8.0.0", Some("8")),
            ("7.2", None),
            ("7.30", None),
            ("61", None),
            ("", None),
        ] {
            assert_eq!(Dialect::of_version(version).map(|known| known.name), name, "{version}");
        }
    }
}
