//! How records are spelt as bytes: keys that sort, values that carry their format.
//!
//! What lives here: the layout. What does not: which records a step writes (`records.rs`) and
//! where the bytes go. The one thing to know: every key of a pair begins with the pair's own
//! prefix, and the first byte of every value is the format that it was written in.
//!
//! Values are JSON after that byte, because natural keys hold numbers by their text (`1.10`), and
//! because a person with a broken disk must be able to read them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::{Finished, PairId, RunRecord, StateError};
use crate::clock::Timestamp;
use crate::domain::{ChangeVersion, NaturalKey, ResourcePath, SourceId};

/// The format that this program writes. A higher one is refused, a lower one is migrated when the
/// state is opened (`migrate.rs`).
///
/// - 1: the first.
/// - 2: what a run had finished, of a resource or of its pages (R12), what the overlap needs (R7, R16),
///   how far a comparison had come and what it found, and what is planned for a pair, which a reader
///   of 1 takes for damage.
pub(super) const FORMAT: u8 = 2;
/// The lowest that can still be read.
pub(super) const OLDEST: u8 = 1;

/// Proves that a database is ours, and in which format.
pub(super) const FORMAT_KEY: &[u8] = b"\x00format";
/// How many steps were ever committed; see `marker.rs`.
pub(super) const STEPS_KEY: &[u8] = b"\x00steps";
/// First byte of every key that belongs to a pair.
pub(super) const PAIR_SPACE: u8 = 1;
/// What every key of the audit begins with.
pub(super) const AUDIT_PREFIX: &[u8] = b"\x02a";

/// What a key of a pair names. The letters are on disk: never give one a new meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Comparison,
    Coverage,
    Finished,
    Journal,
    KeyChange,
    LeftBehind,
    Name,
    Parked,
    /// When the pair runs next, and whether it is paused.
    Plan,
    Progress,
    Run,
    State,
    Tombstone,
    Verified,
    Written,
    /// Which item of the source was written under a target id.
    WrittenAs,
}

impl Kind {
    pub(super) const ALL: [Kind; 16] = [
        Kind::Comparison,
        Kind::Coverage,
        Kind::Finished,
        Kind::Journal,
        Kind::KeyChange,
        Kind::LeftBehind,
        Kind::Name,
        Kind::Parked,
        Kind::Plan,
        Kind::Progress,
        Kind::Run,
        Kind::State,
        Kind::Tombstone,
        Kind::Verified,
        Kind::Written,
        Kind::WrittenAs,
    ];

    fn letter(self) -> u8 {
        match self {
            Kind::Comparison => b'v',
            Kind::Coverage => b'c',
            Kind::Finished => b'f',
            Kind::Journal => b'j',
            Kind::KeyChange => b'k',
            Kind::LeftBehind => b'l',
            Kind::Name => b'n',
            Kind::Parked => b'p',
            Kind::Plan => b'a',
            Kind::Progress => b'q',
            Kind::Run => b'r',
            Kind::State => b's',
            Kind::Tombstone => b't',
            Kind::Verified => b'y',
            Kind::Written => b'w',
            Kind::WrittenAs => b'x',
        }
    }
}

/// Why stored bytes, or the engine that stores them, cannot be used. No text in here repeats what
/// was stored: it could be a natural key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The engine under us said so.
    Engine(String),
    /// What it returned is not what we write.
    Damaged(String),
    Newer {
        found: u8,
    },
}

impl Trouble {
    /// A word for metrics, of [`super::FAULTS`].
    pub(super) fn word(&self) -> &'static str {
        match self {
            Trouble::Engine(_) => "engine",
            Trouble::Damaged(_) | Trouble::Newer { .. } => "damaged",
        }
    }

    /// The sentence part that says what is wrong.
    pub(super) fn what(&self) -> String {
        match self {
            Trouble::Engine(what) | Trouble::Damaged(what) => what.clone(),
            Trouble::Newer { found } => {
                format!("a record has format {found}, this program reads up to {FORMAT}")
            }
        }
    }

    /// The error of a store that was already open.
    pub(super) fn failed(&self, path: &str, doing: &'static str) -> StateError {
        StateError::Failed { path: path.to_owned(), doing, what: self.what() }
    }
}

/// What every key of a pair begins with. Lengths before names keep `a` + `bc` apart from `ab` + `c`.
pub(super) fn pair_prefix(pair: &PairId) -> Vec<u8> {
    let mut key = vec![PAIR_SPACE];
    for name in [&pair.publication, &pair.target] {
        let length = u32::try_from(name.len()).expect("a configured name is shorter than 4 GiB");
        key.extend_from_slice(&length.to_be_bytes());
        key.extend_from_slice(name.as_bytes());
    }
    key
}

/// What every key of one kind of a pair begins with; the whole key where there is one record.
pub(super) fn kind_prefix(pair: &PairId, kind: Kind) -> Vec<u8> {
    let mut key = pair_prefix(pair);
    key.push(kind.letter());
    key
}

pub(super) fn finished_key(pair: &PairId, finished: &Finished) -> Vec<u8> {
    extended(kind_prefix(pair, Kind::Finished), finished.resource.as_str().as_bytes())
}

pub(super) fn verified_key(pair: &PairId, resource: &ResourcePath) -> Vec<u8> {
    extended(kind_prefix(pair, Kind::Verified), resource.as_str().as_bytes())
}

pub(super) fn progress_key(pair: &PairId, resource: &ResourcePath) -> Vec<u8> {
    extended(kind_prefix(pair, Kind::Progress), resource.as_str().as_bytes())
}

/// Everything of one resource among the records of one kind that the overlap needs.
pub(super) fn resource_prefix(pair: &PairId, kind: Kind, resource: &ResourcePath) -> Vec<u8> {
    extended(extended(kind_prefix(pair, kind), resource.as_str().as_bytes()), &[0])
}

/// In order of resource, then of id; what several records of one id differ in comes last.
pub(super) fn id_prefix(pair: &PairId, kind: Kind, resource: &ResourcePath, id: &str) -> Vec<u8> {
    extended(extended(resource_prefix(pair, kind, resource), id.as_bytes()), &[0])
}

pub(super) fn version_key(
    pair: &PairId,
    kind: Kind,
    resource: &ResourcePath,
    id: &SourceId,
    version: ChangeVersion,
) -> Vec<u8> {
    extended(id_prefix(pair, kind, resource, &id.0), &sortable(version.0).to_be_bytes())
}

pub(super) fn parked_key(pair: &PairId, id: &str) -> Vec<u8> {
    extended(kind_prefix(pair, Kind::Parked), id.as_bytes())
}

/// A natural key has no bound on its length and no place in an index: its hash stands for it.
pub(super) fn name_key(
    pair: &PairId,
    resource: &ResourcePath,
    key: &NaturalKey,
) -> Result<Vec<u8>, Trouble> {
    let mut hash = Sha256::new();
    hash.update(resource.as_str().as_bytes());
    // As it was in the first format, whatever the format is now: a name must not move with it.
    hash.update([0, 1]);
    hash.update(&encode(key)?[1..]);
    Ok(extended(kind_prefix(pair, Kind::Name), &hash.finalize()[..16]))
}

/// In order of the run's beginning, then of its id.
pub(super) fn run_key(pair: &PairId, run: &RunRecord) -> Vec<u8> {
    let began = sortable(run.started_at.timestamp_micros()).to_be_bytes();
    extended(extended(kind_prefix(pair, Kind::Run), &began), run.id.as_bytes())
}

/// Whether a key of [`run_key`] is of a run whose id begins with `id`.
pub(super) fn is_run_named(key: &[u8], pair: &PairId, id: &str) -> bool {
    let before = kind_prefix(pair, Kind::Run).len() + size_of::<u64>();
    key.get(before..).is_some_and(|name| name.starts_with(id.as_bytes()))
}

/// In order of time, then of id.
pub(super) fn audit_key(at: Timestamp, id: &str) -> Vec<u8> {
    let at = sortable(at.timestamp_micros()).to_be_bytes();
    extended(extended(AUDIT_PREFIX.to_vec(), &at), id.as_bytes())
}

/// Moves negative numbers below positive ones, so that big-endian bytes sort as the numbers do.
fn sortable(number: i64) -> u64 {
    number.cast_unsigned() ^ (1 << 63)
}

fn extended(mut key: Vec<u8>, suffix: &[u8]) -> Vec<u8> {
    key.extend_from_slice(suffix);
    key
}

/// The pair and the kind that a key of [`PAIR_SPACE`] names; `None` when it is none of ours.
pub(super) fn read_key(key: &[u8]) -> Option<(PairId, Kind)> {
    let rest = key.strip_prefix(&[PAIR_SPACE])?;
    let (publication, rest) = read_name(rest)?;
    let (target, rest) = read_name(rest)?;
    let kind = Kind::ALL.into_iter().find(|kind| Some(&kind.letter()) == rest.first())?;
    Some((PairId { publication, target }, kind))
}

fn read_name(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (name, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    Some((String::from_utf8(name.to_vec()).ok()?, rest))
}

/// The first key after every key that begins with `prefix`, which never ends in 0xff here: it ends
/// in a kind's letter, a name or a length.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while end.last() == Some(&0xff) {
        end.pop();
    }
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

pub(super) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, Trouble> {
    let mut bytes = vec![FORMAT];
    serde_json::to_writer(&mut bytes, record).map_err(|error| {
        Trouble::Damaged(format!("a record cannot be written ({})", at(&error)))
    })?;
    Ok(bytes)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Trouble> {
    let Some((format, json)) = bytes.split_first() else {
        return Err(Trouble::Damaged("a record is empty".to_owned()));
    };
    match *format {
        OLDEST..=FORMAT => serde_json::from_slice(json).map_err(|error| {
            Trouble::Damaged(format!("a record is not what was written ({})", at(&error)))
        }),
        0 => Err(Trouble::Damaged("a record has no format".to_owned())),
        found => Err(Trouble::Newer { found }),
    }
}

/// The text of a stored record, unread.
pub(super) fn json_of(bytes: &[u8]) -> Result<&RawValue, Trouble> {
    let json = bytes.get(1..).unwrap_or_default();
    serde_json::from_slice(json)
        .map_err(|error| Trouble::Damaged(format!("a record is no JSON ({})", at(&error))))
}

/// Where a record is wrong. The message of the JSON library would quote the value.
fn at(error: &serde_json::Error) -> String {
    format!("{:?} error at column {}", error.classify(), error.column()).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::NaturalKey;

    fn pair(publication: &str, target: &str) -> PairId {
        PairId { publication: publication.to_owned(), target: target.to_owned() }
    }

    #[test]
    fn a_key_tells_its_pair_and_its_kind() {
        for kind in Kind::ALL {
            let key = kind_prefix(&pair("district", "state"), kind);

            assert_eq!(read_key(&key), Some((pair("district", "state"), kind)));
        }
    }

    #[test]
    fn no_pairs_keys_begin_with_those_of_another() {
        let pairs = [pair("a", "bc"), pair("ab", "c"), pair("a", "b"), pair("", "abc")];

        for one in &pairs {
            for other in pairs.iter().filter(|other| *other != one) {
                assert!(!pair_prefix(one).starts_with(&pair_prefix(other)), "{one} / {other}");
            }
        }
    }

    #[test]
    fn keys_that_are_none_of_ours_are_told() {
        for (case, key) in [
            ("empty", &b""[..]),
            ("another space", b"\x02abc"),
            ("a length without a name", b"\x01\x00\x00\x00\x09ab"),
            ("no kind", b"\x01\x00\x00\x00\x01a\x00\x00\x00\x01b"),
            ("an unknown kind", b"\x01\x00\x00\x00\x01a\x00\x00\x00\x01bz"),
        ] {
            assert_eq!(read_key(key), None, "{case}");
        }
    }

    #[test]
    fn numbers_sort_as_bytes() {
        let numbers = [i64::MIN, -5, -1, 0, 1, 7, i64::MAX];

        let mut bytes: Vec<_> = numbers.iter().map(|n| sortable(*n).to_be_bytes()).collect();
        bytes.sort_unstable();

        let expected: Vec<_> = numbers.iter().map(|n| sortable(*n).to_be_bytes()).collect();
        assert_eq!(bytes, expected);
    }

    #[test]
    fn the_end_of_a_prefix_is_past_everything_under_it() {
        for prefix in [&b"ab"[..], b"a\xff", b"\x01"] {
            let mut longest = prefix.to_vec();
            longest.extend_from_slice(&[0xff; 8]);

            assert!(longest < end_of(prefix), "{prefix:?}");
        }
    }

    #[test]
    fn numbers_of_a_natural_key_keep_their_text() {
        let json = r#"{"amount":1.10,"big":123456789012345678901234567890.10,"name":"x"}"#;
        let key: NaturalKey = serde_json::from_str(json).unwrap();

        let stored = encode(&key).unwrap();

        assert_eq!(&stored[1..], json.as_bytes());
        assert_eq!(decode::<NaturalKey>(&stored), Ok(key));
    }

    #[test]
    fn a_newer_format_is_refused_and_not_guessed_at() {
        let refused = decode::<NaturalKey>(&[FORMAT + 1, b'{', b'}']);

        assert_eq!(refused, Err(Trouble::Newer { found: FORMAT + 1 }));
    }

    #[test]
    fn every_format_that_is_known_is_read() {
        let key = NaturalKey::default();

        for format in OLDEST..=FORMAT {
            assert_eq!(decode::<NaturalKey>(&[format, b'{', b'}']), Ok(key.clone()), "{format}");
        }
    }

    /// Names are found again by where they are: their place is part of every format.
    #[test]
    fn a_name_stays_where_the_first_format_put_it() {
        let key: NaturalKey = serde_json::from_str(r#"{"studentUniqueId":"604821"}"#).unwrap();
        let resource = crate::domain::ResourcePath::parse("/ed-fi/students").unwrap();

        let place = name_key(&pair("a", "b"), &resource, &key).unwrap();

        let of_first = b"/ed-fi/students\0\x01{\"studentUniqueId\":\"604821\"}";
        assert_eq!(place[place.len() - 16..], Sha256::digest(of_first)[..16]);
    }

    #[test]
    fn what_is_said_of_a_damaged_record_does_not_quote_it() {
        let refused = decode::<RunRecord>(b"\x01{\"id\":\"r\",\"outcome\":\"604854\"}");

        let Err(Trouble::Damaged(what)) = refused else { panic!("{refused:?}") };
        assert!(!what.contains("604854"), "{what}");
    }
}
