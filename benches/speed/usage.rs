//! What this process has used of the machine, read from `/proc`.

use serde::{Deserialize, Serialize};

/// Of a whole process, from its beginning.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// User and system time, in seconds.
    pub(crate) cpu: f64,
    /// The most memory that was resident, in bytes.
    pub(crate) peak_rss: u64,
}

/// The kernel counts processor time in hundredths of a second, whatever its own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) fn of_this_process() -> Usage {
    of_process("self")
}

/// Of another, by its number.
pub(crate) fn of_process(process: &str) -> Usage {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name of the program, in brackets, may hold blanks.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    let peak = peak.and_then(|peak| peak.trim().parse::<u64>().ok()).unwrap_or(0);
    Usage { cpu: ticks / TICKS_PER_SECOND, peak_rss: peak * 1024 }
}
