//! A natural key that is to be forgotten: every record that holds it, found and removed.
//!
//! What lives here: which records hold a key, and what becomes of each. What does not: who may ask for
//! it (`daemon/desk/forget.rs`). The one thing to know: a key is held by every key that contains it, so
//! that forgetting a student forgets the student's associations too; ids, versions and hashes are no
//! keys and stay.

use super::codec::{self, Kind, Trouble};
use super::records::{Table, Writes, under};
use super::{JournalledName, PairId, Parked, RememberedKeyChange};
use crate::domain::{NaturalKey, ResourcePath};

/// The key of one item, to be erased. Cannot be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErasedKey {
    pub resource: ResourcePath,
    pub key: NaturalKey,
}

impl ErasedKey {
    /// Whether an item of `resource` under `key` is this one, or of another resource and names it.
    pub fn is_of(&self, resource: &ResourcePath, key: &NaturalKey) -> bool {
        let is_other = *resource != self.resource;
        (is_other || key.iter().count() == self.key.iter().count()) && self.is_in(key)
    }

    /// Whether `key` has all of this one inside. An item that refers to this one may call the members
    /// by longer names (`assessedStudentUniqueId`), and servers forgive case.
    fn is_in(&self, key: &NaturalKey) -> bool {
        let has = |name: &str, value: &str| {
            let name = name.to_lowercase();
            key.iter().any(|(theirs, text)| {
                theirs.to_lowercase().ends_with(&name)
                    && text.trim_end().to_lowercase() == value.trim_end().to_lowercase()
            })
        };
        !self.key.is_empty() && self.key.iter().all(|(name, value)| has(name, value))
    }
}

/// What becomes of a record that holds the key.
enum Erasure {
    Stays,
    Goes,
    /// It holds the key of another only: what it waits for.
    Becomes(Box<Parked>),
}

pub(super) fn erase(
    table: &dyn Table,
    pair: &PairId,
    erased: &ErasedKey,
    writes: &mut Writes,
) -> Result<(), Trouble> {
    each_with(table, pair, erased, |key, erasure| {
        let written = match erasure {
            Erasure::Stays => return Ok(()),
            Erasure::Goes => None,
            Erasure::Becomes(parked) => Some(codec::encode(&*parked)?),
        };
        writes.insert(key, written);
        Ok(())
    })
}

pub(super) fn count(table: &dyn Table, pair: &PairId, erased: &ErasedKey) -> Result<u64, Trouble> {
    let mut count = 0;
    each_with(table, pair, erased, |_, erasure| {
        match erasure {
            Erasure::Stays => {}
            Erasure::Goes | Erasure::Becomes(_) => count += 1,
        }
        Ok(())
    })?;
    Ok(count)
}

/// Every kind of record is named here: a new one has to be looked at, or this does not compile.
fn each_with(
    table: &dyn Table,
    pair: &PairId,
    erased: &ErasedKey,
    mut work: impl FnMut(Vec<u8>, Erasure) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    for kind in Kind::ALL {
        let look: fn(&ErasedKey, &[u8]) -> Result<Erasure, Trouble> = match kind {
            Kind::Parked => parked,
            Kind::Name => name,
            Kind::KeyChange => key_change,
            // Ids, versions, places, counts and hashes: nothing that names a person.
            Kind::Comparison
            | Kind::Coverage
            | Kind::Finished
            | Kind::Journal
            | Kind::LeftBehind
            | Kind::Plan
            | Kind::Progress
            | Kind::Run
            | Kind::State
            | Kind::Tombstone
            | Kind::Verified
            | Kind::Written
            | Kind::WrittenAs => continue,
        };
        for entry in under(table, &codec::kind_prefix(pair, kind)) {
            let (key, bytes) = entry?;
            work(key, look(erased, &bytes)?)?;
        }
    }
    Ok(())
}

fn parked(erased: &ErasedKey, bytes: &[u8]) -> Result<Erasure, Trouble> {
    let record: Parked = codec::decode(bytes)?;
    if record.key.as_ref().is_some_and(|key| erased.is_of(&record.resource, key)) {
        return Ok(Erasure::Goes);
    }
    if record.waits_for.as_ref().is_some_and(|what| erased.is_in(&what.key)) {
        return Ok(Erasure::Becomes(Box::new(Parked { waits_for: None, ..record })));
    }
    Ok(Erasure::Stays)
}

fn name(erased: &ErasedKey, bytes: &[u8]) -> Result<Erasure, Trouble> {
    let record: JournalledName = codec::decode(bytes)?;
    Ok(if erased.is_of(&record.resource, &record.key) { Erasure::Goes } else { Erasure::Stays })
}

fn key_change(erased: &ErasedKey, bytes: &[u8]) -> Result<Erasure, Trouble> {
    let record: RememberedKeyChange = codec::decode(bytes)?;
    let RememberedKeyChange { resource, change, .. } = record;
    let is_held = erased.is_of(&resource, &change.old) || erased.is_of(&resource, &change.new);
    Ok(if is_held { Erasure::Goes } else { Erasure::Stays })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(json: &str) -> NaturalKey {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_key_is_in_itself_and_in_the_keys_that_contain_it() {
        let student = ErasedKey {
            resource: ResourcePath::parse("/ed-fi/students").unwrap(),
            key: key(r#"{"studentUniqueId":"604854"}"#),
        };
        for (case, of, other, expected) in [
            ("itself", "students", r#"{"studentUniqueId":"604854"}"#, true),
            ("as a number", "students", r#"{"studentUniqueId":604854}"#, true),
            ("an association", "enrolments", r#"{"schoolId":1,"studentUniqueId":"604854"}"#, true),
            ("under a role", "scores", r#"{"assessedStudentUniqueId":"604854"}"#, true),
            ("one more member", "students", r#"{"studentUniqueId":"604854","year":1}"#, false),
            ("another student", "students", r#"{"studentUniqueId":"604855"}"#, false),
            ("another member", "staffs", r#"{"staffUniqueId":"604854"}"#, false),
            ("no key", "students", "{}", false),
        ] {
            let resource = ResourcePath::parse(&format!("/ed-fi/{of}")).unwrap();
            assert_eq!(student.is_of(&resource, &key(other)), expected, "{case}");
        }
    }

    #[test]
    fn no_key_is_in_nothing() {
        let nothing = ErasedKey {
            resource: ResourcePath::parse("/ed-fi/students").unwrap(),
            key: NaturalKey::default(),
        };

        let other = ResourcePath::parse("/ed-fi/schools").unwrap();
        assert!(!nothing.is_of(&other, &key(r#"{"studentUniqueId":"604854"}"#)));
    }
}
