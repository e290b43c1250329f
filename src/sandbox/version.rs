//! The versions that the sandbox plays, and each of their differences in behaviour, once
//! (edfi-wire §11). The rest of the sandbox asks here; only texts that differ from version to
//! version (root documents, messages) are chosen where they are written.

use std::str::FromStr;

/// The versions of the Ed-Fi API that the sandbox plays. Only behaviour on the wire follows it:
/// the data standard is that of `SandboxOptions::standard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiVersion {
    V5_3,
    V6_1,
    V7_1,
    V7_2,
    V7_3,
    /// Ed-Fi API 8.0, another program than the ODS/API before it.
    V8_0,
}

/// How a refusal is written (edfi-wire §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorStyle {
    Message,
    MessageAndCorrelation,
    ProblemDetails,
    /// Problem details that always have `validationErrors` and `errors`, in the words of 8.
    WholeProblemDetails,
}

/// Which header asks for a snapshot (edfi-wire §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SnapshotHeader {
    /// `Snapshot-Identifier`, one of a list.
    Identifier,
    UseSnapshot,
    /// None does: live data is served whatever is sent.
    Ignored,
}

/// In which order a collection is answered (edfi-wire §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Key,
    Insertion,
    /// That of insertion, and that of the change version where the window has an upper edge.
    InsertionOrVersion,
}

impl ApiVersion {
    pub const ALL: [ApiVersion; 6] = [
        ApiVersion::V5_3,
        ApiVersion::V6_1,
        ApiVersion::V7_1,
        ApiVersion::V7_2,
        ApiVersion::V7_3,
        ApiVersion::V8_0,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ApiVersion::V5_3 => "5.3",
            ApiVersion::V6_1 => "6.1",
            ApiVersion::V7_1 => "7.1",
            ApiVersion::V7_2 => "7.2",
            ApiVersion::V7_3 => "7.3",
            ApiVersion::V8_0 => "8.0",
        }
    }

    pub(super) fn errors(self) -> ErrorStyle {
        match self {
            ApiVersion::V5_3 | ApiVersion::V6_1 => ErrorStyle::Message,
            ApiVersion::V7_1 => ErrorStyle::MessageAndCorrelation,
            ApiVersion::V7_2 | ApiVersion::V7_3 => ErrorStyle::ProblemDetails,
            ApiVersion::V8_0 => ErrorStyle::WholeProblemDetails,
        }
    }

    pub(super) fn snapshots(self) -> SnapshotHeader {
        match self {
            ApiVersion::V5_3 | ApiVersion::V6_1 => SnapshotHeader::Identifier,
            ApiVersion::V7_1 | ApiVersion::V7_2 | ApiVersion::V7_3 => SnapshotHeader::UseSnapshot,
            ApiVersion::V8_0 => SnapshotHeader::Ignored,
        }
    }

    pub(super) fn order(self) -> Order {
        match self {
            ApiVersion::V5_3 | ApiVersion::V6_1 | ApiVersion::V7_1 | ApiVersion::V7_2 => Order::Key,
            ApiVersion::V7_3 => Order::Insertion,
            ApiVersion::V8_0 => Order::InsertionOrVersion,
        }
    }

    /// `Next-Page-Token`, `pageToken`, `/partitions`. 8.0.0 was released without.
    pub(super) fn has_cursors(self) -> bool {
        self == ApiVersion::V7_3
    }

    /// `/keyChanges`, and key values and counts in `/deletes` (edfi-wire §5).
    pub(super) fn tells_keys(self) -> bool {
        self != ApiVersion::V5_3
    }

    /// Too many living tokens are answered with 429.
    pub(super) fn limits_tokens(self) -> bool {
        self == ApiVersion::V7_3
    }

    /// Tokens are JWT, not 32 digits.
    pub(super) fn has_jwt(self) -> bool {
        self == ApiVersion::V8_0
    }

    /// The body of a PUT must hold the `id` of its path.
    pub(super) fn put_names_its_id(self) -> bool {
        self == ApiVersion::V8_0
    }

    /// A school year stands inside the paths, not before them.
    pub(super) fn year_is_inside(self) -> bool {
        matches!(self, ApiVersion::V5_3 | ApiVersion::V6_1)
    }

    /// Where data management is.
    pub(super) fn data_path(self) -> &'static str {
        if self.is_8() { "data" } else { "data/v3" }
    }

    pub(super) fn is_8(self) -> bool {
        self == ApiVersion::V8_0
    }
}

impl FromStr for ApiVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<ApiVersion, String> {
        let known = ApiVersion::ALL.into_iter().find(|version| version.as_str() == text);
        known.ok_or_else(|| {
            let names: Vec<&str> = ApiVersion::ALL.iter().map(|version| version.as_str()).collect();
            let (last, before) = names.split_last().expect("there are several versions");
            format!(
                "the sandbox cannot play version '{text}': not in this version of tidemark; use \
                 {} or {last}",
                before.join(", ")
            )
        })
    }
}
