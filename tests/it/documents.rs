//! What is written about the program is true of it: samples load, named tests and files exist,
//! links lead somewhere, files are as small and as plainly named as we say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use tidemark::config;

use crate::source_text::{program, root, rust_files};

/// Lines of a file of program: past the first it says why it is one thing, past the second it is
/// split.
const SAYS_WHY_PAST: usize = 600;
const SPLIT_PAST: usize = 700;
/// How a module's documentation begins to say why.
const SAYS_WHY: &str = "//! Past 600 lines because ";

/// What says nothing about what is in it.
const EMPTY_WORDS: &[&str] =
    &["util", "utils", "helper", "helpers", "manager", "handler", "common", "service", "types"];

/// The words that people and programs outside rely on, and those that the pages explain with.
const TERMS: &[&str] = &[
    "agreement",
    "blocked",
    "change",
    "change version",
    "closed resource",
    "connection",
    "dead",
    "fingerprint",
    "joiner",
    "key change",
    "natural key",
    "pair",
    "parked",
    "publication",
    "run",
    "snapshot",
    "source",
    "stage",
    "target",
    "tombstone",
    "touched",
    "upsert",
    "watermark",
    "window",
];

#[test]
fn every_configuration_that_we_show_loads_without_a_doubt() {
    let mut samples: Vec<(String, String)> = Vec::new();
    for file in files("config", &["yaml"]) {
        samples.push((name(&file), text(&file)));
    }
    for block in yaml_blocks(&text(&root().join("README.md"))) {
        samples.push(("README.md".to_owned(), block));
    }
    let env: BTreeMap<String, String> =
        ["DISTRICT_KEY", "DISTRICT_SECRET", "STATE_KEY", "STATE_SECRET"]
            .into_iter()
            .map(|name| (name.to_owned(), "from the environment".to_owned()))
            .collect();

    assert!(samples.len() >= 3, "the two files of config/ and the block of README.md");
    for (place, sample) in samples {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.yaml");
        fs::write(&path, &sample).unwrap();

        let loaded = config::load(&path, &env);

        let loaded = loaded.unwrap_or_else(|problems| panic!("{place}:\n{problems}"));
        assert_eq!(loaded.warnings, [], "{place}");
    }
}

#[test]
fn every_example_loads_where_it_is_without_a_doubt() {
    let mut examples: Vec<PathBuf> = files("config/examples", &["yaml"]);
    examples.push(root().join("config/examples/state"));

    assert!(examples.len() >= 3, "two files and a directory");
    for example in examples {
        let loaded = config::load(&example, &BTreeMap::new());

        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(loaded.warnings, [], "{}", example.display());
    }
}

#[test]
fn the_example_of_a_state_has_six_hundred_districts_in_two_files() {
    let loaded = config::load(&root().join("config/examples/state"), &BTreeMap::new()).unwrap();

    assert_eq!(loaded.config.publications.len(), 600);
    assert_eq!(loaded.config.connections.len(), 601);
    assert_eq!(loaded.files.len(), 2);
}

#[test]
fn the_examples_show_every_isolation() {
    use tidemark::config::Isolation;

    let path = root().join("config/examples/isolations.yaml");
    let loaded = config::load(&path, &BTreeMap::new()).unwrap();

    let shown = |isolation: Isolation| {
        loaded.config.publications.values().any(|publication| publication.isolation == isolation)
    };
    let every = [Isolation::Snapshot, Isolation::Bounded, Isolation::Open, Isolation::Combined];
    assert!(every.into_iter().all(shown));
}

#[test]
fn every_invariant_names_a_test_that_exists() {
    let architecture = text(&root().join("ARCHITECTURE.md"));
    let tests = names_of_tests();

    let rows = rows_of_section(&architecture, "## The invariants");

    assert!(rows.len() >= 9, "the table of invariants has only {} rows", rows.len());
    let mut without = Vec::new();
    for row in rows {
        let named = row.rsplit('|').nth(1).map(in_backticks).unwrap_or_default();
        if named.is_empty() || named.iter().any(|test| !tests.contains(test)) {
            without.push(row);
        }
    }
    assert!(without.is_empty(), "no test is called what these name:\n{}", without.join("\n"));
}

#[test]
fn every_invariant_that_the_program_quotes_is_in_the_table() {
    let architecture = text(&root().join("ARCHITECTURE.md"));
    let rows = rows_of_section(&architecture, "## The invariants");
    let numbers: BTreeSet<&str> = rows.iter().filter_map(|row| row.split(' ').nth(1)).collect();

    let mut quoted = BTreeMap::new();
    for (file, text) in program() {
        let words = text.split(|c: char| !c.is_alphanumeric());
        for word in words.filter(|word| is_the_number_of_an_invariant(word)) {
            quoted.insert(word.to_owned(), file.clone());
        }
    }

    assert!(quoted.len() > 5, "only {} numbers are quoted", quoted.len());
    quoted.retain(|number, _| !numbers.contains(number.as_str()));
    assert!(quoted.is_empty(), "without a row: {quoted:?}");
}

#[test]
fn every_error_kind_and_every_reason_is_in_the_operations_page() {
    let operations = text(&root().join("docs/operations.md"));
    let mut missing = Vec::new();
    let mut found = 0;

    for (file, function) in [
        ("src/engine/mod.rs", "pub fn kind(&self)"),
        ("src/sources/mod.rs", "pub fn kind(&self)"),
        ("src/targets/mod.rs", "pub fn kind(&self)"),
        ("src/http/error.rs", "pub fn kind(&self)"),
        ("src/domain/outcome.rs", "ParkReason::Invalid => \"invalid\""),
    ] {
        for word in words_of_function(&text(&root().join(file)), function) {
            found += 1;
            if !operations.contains(&format!("| `{word}` |")) {
                missing.push(format!("`{word}` of {file}"));
            }
        }
    }

    assert!(found > 30, "only {found} kinds were found in the program");
    assert!(missing.is_empty(), "docs/operations.md has no row for {}", missing.join(", "));
}

/// S16 is of a kind of source that is not in this version.
#[test]
fn every_row_of_the_failure_catalogue_names_tests_that_exist_or_says_that_it_is_not_held() {
    let page = text(&root().join("docs/faults.md"));
    let tests = names_of_tests();
    let rows: BTreeMap<&str, &str> = page
        .lines()
        .filter_map(|line| Some((line.strip_prefix("| ")?.split(' ').next()?, line)))
        .collect();

    let mut wrong = Vec::new();
    for (letter, numbers) in
        [('S', 1..=35), ('T', 1..=25), ('O', 1..=12), ('P', 1..=12), ('P', 17..=19)]
    {
        for row in numbers.map(|number| format!("{letter}{number}")).filter(|row| row != "S16") {
            let Some(line) = rows.get(row.as_str()) else {
                wrong.push(format!("no row {row}"));
                continue;
            };
            let named = line.rsplit('|').nth(1).map(in_backticks).unwrap_or_default();
            let is_held = !named.is_empty() || line.contains("not in this version");
            let prefix = format!("{}_", row.to_lowercase());
            if !tests.iter().any(|test| test.starts_with(&prefix)) {
                wrong.push(format!("no test is named after {row}"));
            }
            let missing = named.iter().filter(|test| !tests.contains(*test));
            wrong.extend(missing.map(|test| format!("{row}: no test is called {test}")));
            if !is_held {
                wrong.push(format!("{row} names no test"));
            }
        }
    }
    for test in tests.iter().filter(|test| is_named_after_a_row(test)) {
        if !page.contains(&format!("`{test}`")) {
            wrong.push(format!("{test} is not on the page"));
        }
    }

    assert!(wrong.is_empty(), "docs/faults.md:\n{}", wrong.join("\n"));
}

#[test]
fn every_term_is_explained_once() {
    let glossary = text(&root().join("docs/glossary.md"));

    for term in TERMS {
        let times =
            glossary.lines().filter(|line| line.starts_with(&format!("**{term}**"))).count();
        assert_eq!(times, 1, "{term}");
    }
}

#[test]
fn every_decision_says_why_at_what_price_and_how_we_would_notice() {
    let decisions = files("docs/adr", &["md"]);
    let decisions: Vec<_> = decisions.iter().filter(|file| name(file) != "README.md").collect();
    let index = text(&root().join("docs/adr/README.md"));

    assert!(decisions.len() >= 5);
    for (at, file) in decisions.iter().enumerate() {
        let headings: Vec<String> = text(file)
            .lines()
            .filter_map(|line| line.strip_prefix("## ").map(str::to_owned))
            .collect();
        assert_eq!(headings, ["Context", "Decision", "Price", "How we would notice"], "{file:?}");
        assert!(name(file).starts_with(&format!("{:04}-", at + 1)), "a gap before {file:?}");
        assert!(index.contains(&format!("({})", name(file))), "{file:?} is not in the index");
    }
}

#[test]
fn links_and_named_files_lead_somewhere() {
    let mut astray = Vec::new();
    for file in documents() {
        let text = text(&file);
        let folder = file.parent().expect("documents are in a folder").to_owned();
        for link in links(&text) {
            if !leads_somewhere(&file, &folder, &link) {
                astray.push(format!("{}: link {link}", name(&file)));
            }
        }
        for path in in_backticks(&text).into_iter().filter(|word| looks_like_a_path(word)) {
            let places = [root().join(&path), root().join("src").join(&path), folder.join(&path)];
            if !places.iter().any(|place| place.exists()) {
                astray.push(format!("{}: file {path}", name(&file)));
            }
        }
    }

    assert!(astray.is_empty(), "{}", astray.join("\n"));
}

#[test]
fn every_make_target_that_is_named_exists() {
    let makefile = text(&root().join("Makefile"));

    for file in documents() {
        for word in in_backticks(&text(&file)) {
            let Some(target) = word.strip_prefix("make ") else { continue };
            let target = target.split(' ').next().unwrap_or(target);
            assert!(
                makefile.lines().any(|line| line.starts_with(&format!("{target}:"))),
                "{} names `make {target}`",
                name(&file)
            );
        }
    }
}

#[test]
fn nothing_is_named_by_a_word_that_says_nothing() {
    let mut found = Vec::new();
    for folder in ["src", "tests", "tools", "benches"] {
        for file in files_below(&root().join(folder)) {
            let parts = file.strip_prefix(root()).expect("found below the root").components();
            for part in parts {
                let stem = part.as_os_str().to_string_lossy();
                let stem = stem.split('.').next().unwrap_or(&stem).to_owned();
                if EMPTY_WORDS.contains(&stem.as_str()) {
                    found.push(file.display().to_string());
                }
            }
        }
    }
    for file in rust_files(&root().join("src")) {
        for named in named_types(&text(&file)) {
            if words_of(&named).iter().any(|word| EMPTY_WORDS.contains(&word.as_str())) {
                found.push(format!("{named} in {}", file.display()));
            }
        }
    }

    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_words_of_a_type_are_told_apart() {
    assert_eq!(words_of("SyncManager"), ["sync", "manager"]);
    assert_eq!(words_of("Commonality"), ["commonality"]);
    assert_eq!(named_types("pub struct A<T> {\nenum BcD\nlet trait_of = 1;"), ["A", "BcD"]);
}

#[test]
fn files_are_small_or_say_why_they_are_one_thing() {
    let mut too_large = Vec::new();
    for (file, text) in program() {
        let lines = text.lines().count();
        let says_why = text.lines().any(|line| line.starts_with(SAYS_WHY));
        if lines > SPLIT_PAST {
            too_large.push(format!("src/{file} has {lines} lines: split it by topic"));
        } else if lines > SAYS_WHY_PAST && !says_why {
            too_large.push(format!("src/{file} has {lines} lines: no line `{SAYS_WHY}…`"));
        }
    }

    assert!(too_large.is_empty(), "{}", too_large.join("\n"));
}

#[test]
fn the_project_speaks_of_no_machine() {
    // Put together here, so that this file is not one of those that it finds.
    let forbidden = [concat!("/wo", "rk/"), concat!("/tmp/", "wt"), concat!("/ro", "ot/")];
    let forbidden = [&forbidden[..], &[concat!("/ho", "me/")]].concat();
    let mut found = Vec::new();
    for file in files_below(root()) {
        // What is no text is the compressed sample data.
        let Ok(text) = fs::read_to_string(&file) else { continue };
        for (at, line) in text.lines().enumerate() {
            if forbidden.iter().any(|path| line.contains(path)) {
                found.push(format!("{}:{}", file.display(), at + 1));
            }
        }
    }

    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The Markdown of the project.
fn documents() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = files_below(root())
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "md"))
        .collect();
    found.sort();
    assert!(found.len() > 5, "only {} documents were found", found.len());
    found
}

/// Files directly in a folder of the project, by extension, in order of name.
fn files(folder: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).expect("the folder is readable");
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.expect("its entries are readable").path())
        .filter(|path| {
            let extension = path.extension().and_then(|extension| extension.to_str());
            path.is_file() && extension.is_some_and(|extension| extensions.contains(&extension))
        })
        .collect();
    found.sort();
    found
}

/// Every file of the project below a folder; what is built, and what git keeps, apart.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("its entries are readable").path();
        let name = name(&path);
        if path.is_dir() {
            let built = path.parent() == Some(root()) && (name == "target" || name == ".git");
            if !built {
                found.extend(files_below(&path));
            }
        } else if name != ".git" && name != "Cargo.lock" {
            found.push(path);
        }
    }
    found
}

fn name(file: &Path) -> String {
    file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn yaml_blocks(markdown: &str) -> Vec<String> {
    let blocks = markdown.split("```yaml\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or(rest).to_owned()).collect()
}

/// The rows of the tables under a heading, without the head and its line.
fn rows_of_section<'a>(markdown: &'a str, heading: &str) -> Vec<&'a str> {
    markdown
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .collect()
}

/// `s7_…`: the row of the failure catalogue that a test shows.
fn is_named_after_a_row(test: &str) -> bool {
    let Some((row, claim)) = test.split_once('_') else { return false };
    let digits = row.strip_prefix(['s', 't', 'o', 'p']).unwrap_or_default();
    let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    is_number && claim.contains('_')
}

fn is_the_number_of_an_invariant(word: &str) -> bool {
    let digits = word.strip_prefix('I').unwrap_or_default();
    (1..=2).contains(&digits.len()) && digits.chars().all(|c| c.is_ascii_digit())
}

/// What stands between single backticks, blocks of code left out.
fn in_backticks(markdown: &str) -> Vec<String> {
    let mut in_block = false;
    let mut found = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

fn links(markdown: &str) -> Vec<String> {
    let ends = markdown.split("](").skip(1);
    ends.filter_map(|rest| rest.split_once(')').map(|(link, _)| link.to_owned())).collect()
}

/// Links to other sites are for people to follow; a test asks nobody outside.
fn leads_somewhere(file: &Path, folder: &Path, link: &str) -> bool {
    if link.contains("://") {
        return true;
    }
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { file.to_owned() } else { folder.join(path) };
    if heading.is_empty() || !target.exists() {
        return target.exists();
    }
    text(&target).lines().any(|line| line.starts_with('#') && anchor_of(line) == heading)
}

fn anchor_of(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    words.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
}

fn looks_like_a_path(word: &str) -> bool {
    let endings = [".rs", ".md", ".yaml", ".toml", ".sh", ".py", ".txt", "/"];
    let plain = word.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c));
    plain
        && !word.starts_with('/')
        && word.contains('/')
        && endings.iter().any(|ending| word.ends_with(ending))
}

fn names_of_tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["src", "tests"] {
        for file in rust_files(&root().join(folder)) {
            let text = text(&file);
            let functions = text.split("fn ").skip(1);
            names.extend(
                functions.filter_map(|rest| rest.split(['(', '<']).next()).map(str::to_owned),
            );
        }
    }
    names
}

/// The words in quotes of the function in which `line` stands.
fn words_of_function(program: &str, line: &str) -> BTreeSet<String> {
    let at = program.find(line).unwrap_or_else(|| panic!("no {line}"));
    let body = &program[at..];
    let body = &body[..body.find("\n    }\n").unwrap_or(body.len())];
    let words = body.split('"').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

fn named_types(program: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in program.lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("pub ").unwrap_or(line);
        let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
        let line = line.strip_prefix("pub(super) ").unwrap_or(line);
        for keyword in ["struct ", "enum ", "trait ", "type ", "mod "] {
            if let Some(rest) = line.strip_prefix(keyword) {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                found.push(rest[..end.unwrap_or(rest.len())].to_owned());
            }
        }
    }
    found
}

/// `SyncManager` is `sync` and `manager`; so is `sync_manager`.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c.is_uppercase() && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if c != '_' {
            words.last_mut().expect("there is always a word").extend(c.to_lowercase());
        }
    }
    words
}
