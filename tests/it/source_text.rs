//! The text of the program as tests read it: which files are program and which are tests.
//!
//! It leans on rustfmt: an item ends with the first closing brace at its own indentation.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of program under `src/`: its path from there, and its text without tests.
pub(crate) fn program() -> BTreeMap<String, String> {
    let src = root().join("src");
    let texts: BTreeMap<String, String> = rust_files(&src)
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&src).expect("found under src").to_owned();
            let text = fs::read_to_string(&path).expect("source files are readable");
            (name.to_string_lossy().replace('\\', "/"), text)
        })
        .collect();

    let tests: Vec<String> =
        texts.iter().flat_map(|(file, text)| modules_for_tests(file, text)).collect();
    texts
        .into_iter()
        .filter(|(file, _)| !tests.iter().any(|test| file.starts_with(test.as_str())))
        .map(|(file, text)| (file, without_tests(&text)))
        .collect()
}

pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("its entries are readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Paths that begin with what this answers are files of tests: `#[cfg(test)] mod name;`.
fn modules_for_tests(file: &str, text: &str) -> Vec<String> {
    let folder = folder_of(file);
    let mut found = Vec::new();
    let mut for_tests = false;
    let mut elsewhere = None;
    for line in text.lines().map(str::trim) {
        if line == "#[cfg(test)]" {
            for_tests = true;
        } else if let Some(path) = line.strip_prefix("#[path = \"") {
            elsewhere = path.strip_suffix("\"]").map(str::to_owned);
        } else if !line.starts_with("#[") {
            let module = line.trim_start_matches("pub(super) ").strip_prefix("mod ");
            if let Some(name) = module.and_then(|rest| rest.strip_suffix(';'))
                && for_tests
            {
                match elsewhere.take() {
                    Some(path) => found.push(format!("{}{path}", beside(file))),
                    None => {
                        found.push(format!("{folder}{name}.rs"));
                        found.push(format!("{folder}{name}/"));
                    }
                }
            }
            for_tests = false;
            elsewhere = None;
        }
    }
    found
}

/// Where the files of a file's modules are: `engine/` for `engine/mod.rs`, `state/sled/` for
/// `state/sled.rs`.
fn folder_of(file: &str) -> String {
    let stem = file.trim_end_matches(".rs");
    match stem.rsplit_once('/') {
        Some((folder, "mod")) => format!("{folder}/"),
        None if stem == "lib" || stem == "main" => String::new(),
        Some(_) | None => format!("{stem}/"),
    }
}

fn beside(file: &str) -> String {
    file.rsplit_once('/').map(|(folder, _)| format!("{folder}/")).unwrap_or_default()
}

/// A text without comments and without what is there for tests alone.
pub(crate) fn program_of(text: &str) -> String {
    let text = without_tests(text);
    let program = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    program.flat_map(|line| [line.split(" // ").next().unwrap_or(line), "\n"]).collect()
}

fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() == "#[cfg(test)]" {
            skip_item(&mut lines);
        } else {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn skip_item<'a>(lines: &mut impl Iterator<Item = &'a str>) {
    let mut end = None;
    for line in lines {
        if let Some(end) = &end {
            if line == end {
                return;
            }
        } else if line.trim_start().starts_with("#[") {
            continue;
        } else if line.ends_with('{') {
            let indentation = &line[..line.len() - line.trim_start().len()];
            end = Some(format!("{indentation}}}"));
        } else if line.ends_with(';') || line.ends_with('}') {
            return;
        }
    }
}
