//! What is remembered of a comparison of both ends while it goes on (contract, `verify`).
//!
//! What lives here: the record by which the next one goes on where this one stopped. What does not:
//! the keyed hashes, which are in files of their own (`engine/verify/spool.rs`). The one thing to
//! know: the record holds the key of those hashes, and no file does; it goes when the comparison ends,
//! and no export takes it along (ADR 0015).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::Timestamp;
use crate::domain::{ChangeVersion, Position, ResourcePath};

/// A comparison that has begun and not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// What its files are found under.
    pub id: String,
    /// Hash of what was asked, of whom, and above which watermark: it is gone on with by nobody who
    /// asks anything else.
    pub question: String,
    pub began_at: Timestamp,
    /// The source's newest version when it began: its upper edge.
    pub through: ChangeVersion,
    /// The target's own newest version then, where it offers one: below it, the target was restored.
    pub target_newest: Option<ChangeVersion>,
    /// It looks at what a repair has done.
    pub is_after_repair: bool,
    pub key: SpoolKey,
    /// The resources that are done, in the target's order.
    pub compared: Vec<Compared>,
    pub under_way: Option<ResourceUnderWay>,
}

/// How source and target stand in one resource (contract, `{"verify":[…]}`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    pub resource: ResourcePath,
    pub source: u64,
    pub target: u64,
    pub missing: u64,
    /// `null` where others write to the same data: extras are not looked for.
    pub extra: Option<u64>,
    pub different: u64,
    /// Missing or different, and parked or dead: known, and told apart.
    pub parked: u64,
}

/// How far a comparison has come in the resource after those that are done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceUnderWay {
    pub resource: ResourcePath,
    pub source: SpooledSide,
    pub target: SpooledSide,
    /// What the looks at differences came to so far.
    pub looked: Option<Looked>,
}

/// How much of one end is in its file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpooledSide {
    pub items: u64,
    /// On disk; what the file has beyond is of nobody.
    pub bytes: u64,
    /// Where the first page begins that is not in it.
    pub position: Option<Position>,
    pub is_whole: bool,
}

/// The hashes are compared a share of them at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    pub shares: u64,
    pub counts: Compared,
    /// How much of the files of differences is on disk.
    pub unlike_bytes: u64,
    pub extra_bytes: u64,
}

/// The random key of one comparison's hashes. Cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SpoolKey(pub [u8; 32]);

impl fmt::Debug for SpoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpoolKey(…)")
    }
}

impl Serialize for SpoolKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        serializer.serialize_str(&digits)
    }
}

impl<'de> Deserialize<'de> for SpoolKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SpoolKey, D::Error> {
        let digits: String = Deserialize::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom("a key is 64 hexadecimal digits");
        if digits.len() != 64 || !digits.is_ascii() {
            return Err(wrong());
        }
        let mut key = [0; 32];
        for (byte, at) in key.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(SpoolKey(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_as_it_was_written_and_cannot_be_printed() {
        let key = SpoolKey(std::array::from_fn(|at| u8::try_from(at * 7 % 256).unwrap()));

        let written = serde_json::to_string(&key).unwrap();

        assert_eq!(serde_json::from_str::<SpoolKey>(&written).unwrap(), key);
        assert_eq!(format!("{key:?}"), "SpoolKey(…)");
        for wrong in ["\"\"", "\"zz\"", &format!("\"{}\"", "é".repeat(32)), &"0".repeat(64)] {
            assert!(serde_json::from_str::<SpoolKey>(wrong).is_err(), "{wrong}");
        }
    }
}
