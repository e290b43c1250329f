//! Every difference between versions of the Ed-Fi ODS/API, one place each (`edfi-wire §11`).

/// How a read is told to answer from a snapshot (`edfi-wire §3`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotStyle {
    /// 7: `Use-Snapshot: true`; a missing one is a 404.
    UseSnapshotHeader,
    /// Before: `Snapshot-Identifier` with one of the identifiers that [`Discovery::snapshots`]
    /// lists; one that is gone is a 410.
    ///
    /// [`Discovery::snapshots`]: super::Discovery::snapshots
    SnapshotIdentifier,
    /// 8: the header is ignored and live data served, which counts as a missing snapshot (R11).
    None,
}

/// What one version of the API does differently from another.
#[derive(Debug, PartialEq, Eq)]
pub struct Dialect {
    /// As a person calls it: `7.3`.
    pub name: &'static str,
    pub snapshots: SnapshotStyle,
    /// `Next-Page-Token`, `pageToken` and `pageSize`.
    pub cursor_paging: bool,
    /// Tombstones carry `keyValues`.
    pub deletes_have_keys: bool,
    /// There is a `/keyChanges` feed.
    pub key_changes: bool,
    /// The deletes feed hides keys that live again, descriptors and what is keyed by them apart.
    pub hides_recreated: bool,
    /// The body of a PUT must hold the `id` of its path (`edfi-wire §7`); others ignore it there.
    pub put_names_its_id: bool,
}

/// Its change queries tell ids alone, so what was deleted or renamed cannot be found elsewhere. The
/// build with extended change queries calls itself 5.3 too and is read as if it had none.
static V5_3: Dialect = Dialect {
    name: "5.3",
    snapshots: SnapshotStyle::SnapshotIdentifier,
    cursor_paging: false,
    deletes_have_keys: false,
    key_changes: false,
    hides_recreated: false,
    put_names_its_id: false,
};

static V6_1: Dialect = Dialect {
    name: "6.1",
    snapshots: SnapshotStyle::SnapshotIdentifier,
    cursor_paging: false,
    deletes_have_keys: true,
    key_changes: true,
    hides_recreated: true,
    put_names_its_id: false,
};

static V7_1: Dialect = Dialect {
    name: "7.1",
    snapshots: SnapshotStyle::UseSnapshotHeader,
    cursor_paging: false,
    deletes_have_keys: true,
    key_changes: true,
    hides_recreated: true,
    put_names_its_id: false,
};

static V7_2: Dialect = Dialect {
    name: "7.2",
    snapshots: SnapshotStyle::UseSnapshotHeader,
    cursor_paging: false,
    deletes_have_keys: true,
    key_changes: true,
    hides_recreated: true,
    put_names_its_id: false,
};

static V7_3: Dialect = Dialect {
    name: "7.3",
    snapshots: SnapshotStyle::UseSnapshotHeader,
    cursor_paging: true,
    deletes_have_keys: true,
    key_changes: true,
    hides_recreated: true,
    put_names_its_id: false,
};

/// Ed-Fi API 8. 8.0.0 was released without cursors, and after it a first page with an upper edge may
/// come without its token although there is more (`edfi-wire §4`): ranges serve both.
static V8: Dialect = Dialect {
    name: "8",
    snapshots: SnapshotStyle::None,
    cursor_paging: false,
    deletes_have_keys: true,
    key_changes: true,
    hides_recreated: true,
    put_names_its_id: true,
};

impl Dialect {
    /// The dialect of the version that a root document tells; `None` for one that is not known.
    pub fn of_version(version: &str) -> Option<&'static Dialect> {
        let mut parts = version.trim().trim_start_matches(['v', 'V']).split(['.', '-', '+']);
        let major = parts.next()?;
        match (major, parts.next()) {
            ("5", Some("3")) => Some(&V5_3),
            ("6", Some("1")) => Some(&V6_1),
            ("7", Some("1")) => Some(&V7_1),
            ("7", Some("2")) => Some(&V7_2),
            ("7", Some("3")) => Some(&V7_3),
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
            ("5.3", Some("5.3")),
            ("5.3-cqe", Some("5.3")),
            ("7.1", Some("7.1")),
            ("7.2.1", Some("7.2")),
            ("8.0.0", Some("8")),
            ("5.2", None),
            ("7.0", None),
            ("9.0.0", None),
            ("7.30", None),
            ("61", None),
            ("", None),
        ] {
            assert_eq!(Dialect::of_version(version).map(|known| known.name), name, "{version}");
        }
    }
}
