//! docs/performance.md: the last table, between two marks, with its date and machine.

use std::fs;
use std::path::Path;

use chrono::Utc;

use crate::Size;

const BEGIN: &str = "<!-- written by `make bench` -->\n";
const END: &str = "<!-- until here -->";

/// Puts `table` where the last one stands.
pub(crate) fn keep(table: &str, size: Size) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
    let page = fs::read_to_string(&path).expect("docs/performance.md is there");
    let (before, rest) = page.split_once(BEGIN).expect("the page has its first mark");
    let (_, after) = rest.split_once(END).expect("the page has its second mark");
    let sizes = format!("{size:?}").to_lowercase();
    let told =
        format!("{} on {}; sizes: {sizes}.\n\n{table}", Utc::now().format("%Y-%m-%d"), machine());
    fs::write(&path, format!("{before}{BEGIN}{told}{END}{after}"))
        .expect("the page can be written");
}

/// Cores and memory, and nothing that tells whose machine it is.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|total| total.trim().strip_suffix(" kB")?.trim().parse().ok());
    let gibibytes = kibibytes.unwrap_or(0.0f64) / f64::from(1 << 20);
    format!("a shared virtual machine with {cores} cores and {gibibytes:.0} GiB")
}
