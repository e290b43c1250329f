//! Error bodies of both generations, and what they mean (`edfi-wire §6`).

/// What an error answer says, cleaned: no value of an item is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    /// The `type` of problem details, without the prefix `urn:ed-fi:api:`.
    pub kind: Option<String>,
    pub title: Option<String>,
    /// Names of the failing members: `$.birthDate`.
    pub members: Vec<String>,
    /// Entities that the body names as missing, as sent: `Student`.
    pub missing: Vec<String>,
    /// Quoted values and digits replaced by `…`, length capped.
    pub detail: Option<String>,
    pub meaning: Meaning,
}

/// What an error answer means, whichever generation spelt it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Something that the item refers to is not there.
    UnresolvedReference,
    /// Something still refers to the item.
    DependentItem,
    /// The key is taken.
    IdentityTaken,
    /// A unique value is taken.
    ValueTaken,
    /// The key of this resource cannot be changed.
    KeyChangeNotSupported,
    /// Somebody else wrote at the same time.
    Contended,
    /// The claim set has not got the resource or the action.
    ClaimDenied,
    NamespaceDenied,
    /// No relationship with the caller's organizations, or no word about why.
    Denied,
    /// A profile stands between the caller and the resource.
    ProfileDenied,
    SnapshotMissing,
    FeatureDisabled,
    /// Nothing more than the status says.
    Plain,
}

impl Problem {
    pub fn parse(status: u16, _body: &[u8]) -> Problem {
        Problem {
            status,
            kind: None,
            title: None,
            members: Vec::new(),
            missing: Vec::new(),
            detail: None,
            meaning: Meaning::Plain,
        }
    }
}
