//! The saved corpus of the fuzz targets, through the very entries that are fuzzed: what once broke a
//! reader, and what leads furthest into each, stays tried.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::source_text::root;

#[path = "../../fuzz/entries.rs"]
mod entries;

use entries::ENTRIES;

#[test]
fn every_input_of_the_corpus_is_read_as_it_must_be() {
    for (name, entry) in ENTRIES {
        let inputs = files(&root().join("fuzz/corpus").join(name));
        assert!(inputs.len() >= 5, "{name} has only {} inputs", inputs.len());

        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            // Its message says what is wrong; this, with which input.
            let run = std::panic::catch_unwind(|| entry(&bytes));
            assert!(run.is_ok(), "{}", input.display());
        }
    }
}

#[test]
fn the_corpus_is_small_and_every_target_has_one() {
    let corpus = root().join("fuzz/corpus");
    let names: BTreeSet<String> = entries_of(&corpus)
        .into_iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let targets: BTreeSet<String> = entries_of(&root().join("fuzz/fuzz_targets"))
        .into_iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    let inputs: Vec<PathBuf> = names.iter().flat_map(|name| files(&corpus.join(name))).collect();
    let bytes: u64 = inputs.iter().map(|input| fs::metadata(input).unwrap().len()).sum();

    assert_eq!(names, ENTRIES.map(|(name, _)| name.to_owned()).into());
    assert_eq!(names, targets);
    assert!(inputs.len() < 200, "{} inputs", inputs.len());
    assert!(bytes < 300_000, "{bytes} bytes");
}

/// An entry that holds its input to nothing would pass whatever the program does.
#[test]
fn every_entry_has_inputs_that_are_taken() {
    let corpus = root().join("fuzz/corpus");
    let read = |path: &str| fs::read(corpus.join(path)).unwrap();
    let text = |path: &str| String::from_utf8(read(path)).unwrap();

    let page = tidemark::edfi::split_page(&read("page/items.json").into()).unwrap();
    let graph = tidemark::edfi::dependencies::read(&read("dependencies/graph.xml"));
    let config = tidemark::config::read("t", &text("configuration/reference.yaml"), &[].into());
    let key = b"\x01\x00\x00\x00\x01a\x00\x00\x00\x01bp";
    let record = tidemark::state::examine(key, &read("state_record/parked")[1..]);
    let watermarks = tidemark::state::text::read(&text("state_text/watermarks.jsonl"));

    assert_eq!(page.len(), 2);
    assert_eq!(graph.unwrap().len(), 4);
    assert!(config.is_ok(), "{config:?}");
    assert!(record.is_ok(), "{record:?}");
    assert!(watermarks.is_ok(), "{watermarks:?}");
}

fn entries_of(directory: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

fn files(directory: &Path) -> Vec<PathBuf> {
    entries_of(directory).into_iter().filter(|path| path.is_file()).collect()
}
