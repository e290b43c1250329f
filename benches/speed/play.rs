//! What a server of the bench is told to play, and what it has counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One server: a source that holds items, a target that counts, or both.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Play {
    /// Paths of resources with how many items each has: `ed-fi/students`.
    pub(crate) items: Vec<(String, u64)>,
    /// The smallest and the largest body, in bytes.
    pub(crate) body_bytes: (usize, usize),
    /// How long a read takes, in milliseconds.
    pub(crate) read_takes: u64,
    /// How long a write takes, in milliseconds.
    pub(crate) write_takes: u64,
    /// How many writes are served at once from when on, in milliseconds after the first write;
    /// empty for no limit.
    pub(crate) at_once: Vec<(u64, usize)>,
    /// What is beyond the limit waits instead of being refused with 429.
    pub(crate) queues: bool,
    /// Items that are new with each `/advance`, by resource; none while nobody asks for one.
    pub(crate) changes: Vec<(String, u64)>,
    /// After so many writes nothing is answered for so many milliseconds.
    pub(crate) stall: Option<(u64, u64)>,
}

/// What a server has seen since its start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Of items and of names.
    pub(crate) reads: u64,
    /// Requests by path, what an API tells of itself left out, since the last `/advance`.
    pub(crate) asked: BTreeMap<String, u64>,
    /// The most reads that were open at once since then.
    pub(crate) most_reads_open: u64,
    pub(crate) writes: u64,
    pub(crate) refused: u64,
    /// From the first write to the last, in seconds.
    pub(crate) seconds: f64,
    /// How long writes were in service together, in seconds.
    pub(crate) busy: f64,
    /// The most writes that were open at once, those that wait included.
    pub(crate) most_open: u64,
    /// By tenths of a second since the first write.
    pub(crate) tenths: Vec<Tenth>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tenth {
    pub(crate) served: u64,
    pub(crate) refused: u64,
    /// In seconds.
    pub(crate) busy: f64,
}
