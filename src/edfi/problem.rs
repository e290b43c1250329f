//! Error bodies of both generations, and what they mean (`edfi-wire §6`).
//!
//! Since 7.2 an error is a problem-details document with a `type`; before, it is a `message` whose
//! text has to be recognised. The one thing to know: texts quote values of people's records, so
//! what leaves this file is names of members, names of entities and a text without its values.

use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

const TYPE_PREFIX: &str = "urn:ed-fi:api:";
/// Longer texts and lists say nothing more.
const MAX_DETAIL_CHARS: usize = 200;
const MAX_MEMBERS: usize = 20;

/// What an error answer says, cleaned: no value of an item is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    /// The `type` of problem details, as sent.
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
    /// A profile stands between the caller and the resource.
    ProfileDenied,
    SnapshotMissing,
    FeatureDisabled,
    /// Nothing more than the status says: a relationship that is missing, if it is 403.
    Plain,
}

/// `type`, by its beginning, and what it means. The first that fits counts.
const BY_TYPE: &[(&str, Meaning)] = &[
    ("data-conflict:unresolved-reference", Meaning::UnresolvedReference),
    ("data-conflict:dependent-item-exists", Meaning::DependentItem),
    ("data-conflict:non-unique-identity", Meaning::IdentityTaken),
    ("identity-conflict", Meaning::IdentityTaken),
    ("data-conflict:non-unique-values", Meaning::ValueTaken),
    ("data-conflict:multi-user-conflict", Meaning::Contended),
    ("optimistic-lock-failed", Meaning::Contended),
    ("precondition-failed", Meaning::Contended),
    ("bad-request:data-validation-failed:key-change-not-supported", Meaning::KeyChangeNotSupported),
    ("security:authorization:access-denied:resource", Meaning::ClaimDenied),
    ("security:authorization:access-denied:action", Meaning::ClaimDenied),
    ("security:authorization:namespace:", Meaning::NamespaceDenied),
    ("security:data-policy:incorrect-usage", Meaning::ProfileDenied),
    ("profile:", Meaning::ProfileDenied),
    ("system:configuration:feature-disabled", Meaning::FeatureDisabled),
];

/// Where there is no `type`: status and a part of the text in lower case. The first that fits.
const BY_TEXT: &[(u16, &str, Meaning)] = &[
    (400, "reference could not be resolved", Meaning::UnresolvedReference),
    (409, "reference could not be resolved", Meaning::UnresolvedReference),
    (409, "references could not be resolved", Meaning::UnresolvedReference),
    (409, "the value supplied for the related", Meaning::UnresolvedReference),
    (409, "cannot be deleted because it is a dependency", Meaning::DependentItem),
    (409, "is a dependency of", Meaning::DependentItem),
    (409, "are not unique", Meaning::IdentityTaken),
    (409, "is not unique", Meaning::IdentityTaken),
    (409, "modified by another", Meaning::Contended),
    (412, "", Meaning::Contended),
    (400, "cannot be changed", Meaning::KeyChangeNotSupported),
    (403, "for the requested action", Meaning::ClaimDenied),
    (403, "missing a claim", Meaning::ClaimDenied),
    (403, "namespaceprefix", Meaning::NamespaceDenied),
    (410, "snapshot", Meaning::SnapshotMissing),
    (404, "snapshot", Meaning::SnapshotMissing),
];

/// What stands before and after the name of a missing entity.
const MISSING: &[(&str, &str)] = &[
    ("The referenced ", " item does not exist"),
    ("", " reference could not be resolved"),
    ("The value supplied for the related ", " resource does not exist"),
];

impl Problem {
    /// Reads what is there; a body that is HTML, empty or cut off leaves the status alone.
    pub fn parse(status: u16, body: &[u8]) -> Problem {
        let document: Document = serde_json::from_slice(body).unwrap_or_default();
        let validation = document.validation_errors.unwrap_or_default();
        let model_state = document.model_state.unwrap_or_default();
        let texts: Vec<&str> = [document.detail.as_deref(), document.message.as_deref()]
            .into_iter()
            .flatten()
            .chain(validation.values().flat_map(Texts::iter))
            .chain(model_state.values().flat_map(Texts::iter))
            .chain(document.errors.iter().flat_map(Texts::iter))
            .collect();

        let kind = document.kind.as_deref().filter(|kind| is_plain_type(kind));
        let from_model_state = model_state.keys().map(|name| rooted(name));
        let mut members: Vec<String> = validation
            .keys()
            .cloned()
            .chain(from_model_state)
            .filter(|m| is_plain_name(m))
            .collect();
        members.truncate(MAX_MEMBERS);
        Problem {
            status,
            meaning: meaning(status, kind, &texts),
            kind: kind.map(str::to_owned),
            title: document.title.as_deref().map(cleaned),
            members,
            missing: missing(&texts),
            detail: document.detail.as_deref().or(document.message.as_deref()).map(cleaned),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Document {
    #[serde(rename = "type", deserialize_with = "text_or_none")]
    kind: Option<String>,
    #[serde(deserialize_with = "text_or_none")]
    title: Option<String>,
    #[serde(deserialize_with = "text_or_none")]
    detail: Option<String>,
    #[serde(deserialize_with = "text_or_none")]
    message: Option<String>,
    #[serde(deserialize_with = "texts_or_none")]
    validation_errors: Option<BTreeMap<String, Texts>>,
    #[serde(deserialize_with = "texts_or_none")]
    model_state: Option<BTreeMap<String, Texts>>,
    errors: Option<Texts>,
}

/// One text, several, or something else that is of no use.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    Many(Vec<String>),
    One(String),
    Other(IgnoredAny),
}

impl Texts {
    fn iter(&self) -> impl Iterator<Item = &str> {
        let many = match self {
            Texts::Many(texts) => texts.as_slice(),
            Texts::One(text) => std::slice::from_ref(text),
            Texts::Other(_) => &[],
        };
        many.iter().map(String::as_str)
    }
}

fn text_or_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    Ok(match Texts::deserialize(from)? {
        Texts::One(text) => Some(text),
        Texts::Many(_) | Texts::Other(_) => None,
    })
}

fn texts_or_none<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<BTreeMap<String, Texts>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Named {
        Texts(BTreeMap<String, Texts>),
        Other(IgnoredAny),
    }
    Ok(match Named::deserialize(from)? {
        Named::Texts(texts) => Some(texts),
        Named::Other(_) => None,
    })
}

fn meaning(status: u16, kind: Option<&str>, texts: &[&str]) -> Meaning {
    let said = |part: &str| texts.iter().any(|text| text.to_lowercase().contains(part));
    if let Some(kind) = kind {
        let kind = kind.strip_prefix(TYPE_PREFIX).unwrap_or(kind);
        if kind == "not-found" && status == 404 && said("snapshot not found") {
            return Meaning::SnapshotMissing;
        }
        let by_type = BY_TYPE.iter().find(|(beginning, _)| kind.starts_with(beginning));
        return by_type.map_or(Meaning::Plain, |(_, meaning)| *meaning);
    }
    let by_text =
        BY_TEXT.iter().find(|(at, part, _)| *at == status && (part.is_empty() || said(part)));
    by_text.map_or(Meaning::Plain, |(_, _, meaning)| *meaning)
}

fn missing(texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for text in texts {
        for sentence in text.split(". ") {
            for (before, after) in MISSING {
                let name = sentence.strip_prefix(before).and_then(|rest| rest.split_once(after));
                let Some((name, _)) = name else { continue };
                let name = name.trim_matches(['\'', '"', '‘', '’', '“', '”']).to_owned();
                // Nothing but the name of an entity may leave by this door.
                let is_name = name.len() <= 80 && name.chars().all(|c| c.is_ascii_alphabetic());
                if is_name && !name.is_empty() && !found.contains(&name) {
                    found.push(name);
                }
            }
        }
    }
    found
}

/// `request.lastSurname` of a model state is `$.lastSurname`.
fn rooted(name: &str) -> String {
    match name.split_once('.') {
        Some((_, member)) => format!("$.{member}"),
        None => format!("$.{name}"),
    }
}

fn is_plain_name(name: &str) -> bool {
    name.len() <= 120 && name.chars().all(|c| c.is_ascii_alphanumeric() || "$._-[]:".contains(c))
}

fn is_plain_type(kind: &str) -> bool {
    kind.len() <= 120 && kind.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.".contains(c))
}

/// The text with quoted values and digits replaced by `…`, at most [`MAX_DETAIL_CHARS`] long.
/// A quote that is not closed hides all that follows; an apostrophe within a word is none.
pub fn cleaned(text: &str) -> String {
    let mut clean = String::new();
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        let opens = matches!(c, '"' | '“' | '”' | '‘' | '«' | '`')
            || matches!(c, '\'' | '’') && !before.is_alphanumeric();
        if opens {
            hide_quoted(&mut chars, c);
            push_hidden(&mut clean);
            before = '…';
        } else if c.is_numeric() {
            push_hidden(&mut clean);
            before = c;
        } else {
            clean.push(if c.is_control() { ' ' } else { c });
            before = c;
        }
    }
    if clean.chars().count() > MAX_DETAIL_CHARS {
        clean = clean.chars().take(MAX_DETAIL_CHARS).chain(['…']).collect();
    }
    clean
}

/// Passes what a quote encloses. A closing quote is one that no letter follows: values have
/// apostrophes of their own (`'O'Brien'`).
fn hide_quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, open: char) {
    let closes = |c: char| match open {
        '"' => c == '"',
        '“' | '”' => matches!(c, '”' | '“'),
        '«' => c == '»',
        '`' => c == '`',
        _ => matches!(c, '\'' | '’'),
    };
    while let Some(c) = chars.next() {
        if closes(c) && !chars.peek().is_some_and(|next| next.is_alphanumeric()) {
            return;
        }
    }
}

fn push_hidden(clean: &mut String) {
    if !clean.ends_with('…') {
        clean.push('…');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_lose_their_values_and_keep_their_sense() {
        for (text, clean) in [
            (
                "The referenced 'Student' item does not exist.",
                "The referenced … item does not exist.",
            ),
            ("Value \"O'Brien\" of 604854 is bad", "Value … of … is bad"),
            ("The value 'O'Brien' isn't valid", "The value … isn't valid"),
            ("“Ann” and ‘Bob’ are taken", "… and … are taken"),
            ("never closed 'Ann Example", "never closed …"),
            ("born 2010-01-13", "born …-…-…"),
        ] {
            assert_eq!(cleaned(text), clean);
        }
        assert!(cleaned(&"long ".repeat(100)).chars().count() <= MAX_DETAIL_CHARS + 1);
    }

    #[test]
    fn a_body_that_is_no_problem_leaves_the_status() {
        for body in
            ["", "<html>Forbidden</html>", "{", "[]", "null", "{\"message\":7,\"errors\":{}}"]
        {
            let problem = Problem::parse(403, body.as_bytes());

            assert_eq!((problem.status, problem.meaning), (403, Meaning::Plain), "{body}");
            assert_eq!((problem.detail, problem.kind), (None, None), "{body}");
        }
    }

    #[test]
    fn missing_entities_are_named_by_every_generation() {
        for (status, body, named) in [
            (
                409,
                r#"{"detail":"The referenced 'Student' item does not exist.","type":"urn:ed-fi:api:data-conflict:unresolved-reference"}"#,
                &["Student"][..],
            ),
            (
                409,
                r#"{"detail":"A referenced item does not exist.","type":"urn:ed-fi:api:data-conflict:unresolved-reference"}"#,
                &[],
            ),
            (
                409,
                r#"{"detail":"One or more references could not be resolved. See 'validationErrors' for details.","type":"urn:ed-fi:api:data-conflict:unresolved-reference","validationErrors":{"$.studentReference":["The referenced Student item does not exist."],"$.schoolReference":["The referenced School item does not exist."]},"errors":[]}"#,
                &["School", "Student"],
            ),
            (
                400,
                r#"{"message":"The request is invalid.","modelState":{"request.studentReference.studentUniqueId":["Student reference could not be resolved."]}}"#,
                &["Student"],
            ),
            (
                400,
                r#"{"message":"Validation of 'StudentSchoolAssociation' failed. Student reference could not be resolved."}"#,
                &["Student"],
            ),
            (
                409,
                r#"{"message":"The value supplied for the related 'student' resource does not exist."}"#,
                &["student"],
            ),
            (400, r#"{"message":"Jane Doe reference could not be resolved."}"#, &[]),
        ] {
            let problem = Problem::parse(status, body.as_bytes());

            assert_eq!(problem.meaning, Meaning::UnresolvedReference, "{body}");
            assert_eq!(problem.missing, named, "{body}");
        }
    }

    #[test]
    fn failing_members_are_named_by_every_generation() {
        let new = Problem::parse(400, br#"{"detail":"Data validation failed. See 'validationErrors' for details.","type":"urn:ed-fi:api:bad-request:data-validation-failed","validationErrors":{"$.birthDate":["BirthDate is required."],"$.addresses[0].city":["City must be between 2 and 30 characters in length."],"Ann's 12":["x"]}}"#);
        let old = Problem::parse(400, br#"{"message":"The request is invalid.","modelState":{"request.lastSurname":["LastSurname is required."]}}"#);

        assert_eq!(new.members, ["$.addresses[0].city", "$.birthDate"]);
        assert_eq!(new.kind.as_deref(), Some("urn:ed-fi:api:bad-request:data-validation-failed"));
        assert_eq!(old.members, ["$.lastSurname"]);
        assert_eq!(old.detail.as_deref(), Some("The request is invalid."));
    }

    proptest! {
        #[test]
        fn no_digit_and_nothing_between_quotes_survives(before in "[a-z ]{0,10}", value in "[A-Za-z' ]{1,12}[0-9]{1,4}") {
            let clean = cleaned(&format!("{before} \"{value}\" is bad"));

            prop_assert!(!clean.contains(&value));
            prop_assert!(!clean.chars().any(char::is_numeric));
        }

        #[test]
        fn arbitrary_bytes_are_a_problem_and_never_a_crash(bytes: Vec<u8>) {
            let _ = Problem::parse(400, &bytes);
        }
    }
}
