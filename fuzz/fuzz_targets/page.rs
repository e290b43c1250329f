#![no_main]

#[path = "../entries.rs"]
#[allow(dead_code, reason = "one of several")]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| entries::page(data));
