//! Every command that a document shows is one that this program takes.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use super::Arguments;

/// Where people read commands to type.
const FOLDERS: [&str; 4] = [".", "docs", "config", "helm/tidemark"];

fn documents() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in FOLDERS {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    found
}

/// Lines of blocks that a shell would be given, those that begin a command of ours.
fn typed(document: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_shell = false;
    let mut pending = String::new();
    for line in document.lines().map(str::trim) {
        if let Some(language) = line.strip_prefix("```") {
            is_shell = matches!(language, "sh" | "bash" | "console");
            continue;
        }
        if !is_shell {
            continue;
        }
        if let Some(begun) = line.strip_suffix('\\') {
            pending.push_str(begun);
            continue;
        }
        pending.push_str(line);
        let command = std::mem::take(&mut pending);
        let command = command.trim_start_matches("$ ");
        if command.starts_with("tidemark ") {
            found.push(command.to_owned());
        }
    }
    found
}

/// Commands in the middle of a sentence, which may leave out what they act on.
fn named(document: &str) -> Vec<String> {
    let mut found = Vec::new();
    let text: String =
        document.split("```").step_by(2).collect::<Vec<_>>().join(" ").replace('\n', " ");
    for code in text.split('`').skip(1).step_by(2) {
        if code.starts_with("tidemark ") {
            found.push(code.to_owned());
        }
    }
    found
}

/// The words of a line, without what is the shell's.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), close) if open == close => quote = None,
            (None, '#' | '|' | '<' | '>' | ';' | '&') => break,
            (None, ' ') => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            (_, letter) => word.push(letter),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words.into_iter().map(|word| filled(&word)).collect()
}

/// Something that fits where a document says what has to stand there.
fn filled(word: &str) -> String {
    match word {
        "VERSION" | "N" => "230".to_owned(),
        "TIME" | "$TAKEN_AT" => "2026-01-31T20:00:00Z".to_owned(),
        _ => word.to_owned(),
    }
}

/// The longest run of words that are commands within one another; how many of `words` they are.
fn depth(words: &[String]) -> usize {
    let mut command = Arguments::command();
    let mut depth = 0;
    for word in words {
        let Some(inner) = command.find_subcommand(word).cloned() else { break };
        command = inner;
        depth += 1;
    }
    depth
}

#[test]
fn what_documents_have_people_type_is_taken() {
    let mut refused = Vec::new();
    let mut count = 0;
    for (path, text) in documents() {
        for line in typed(&text) {
            count += 1;
            // A group of commands alone shows what is in it.
            if let Err(error) = Arguments::try_parse_from(words(&line))
                && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            {
                refused.push(format!("{}: {line}\n{error}", path.display()));
            }
        }
    }

    assert!(count > 40, "only {count} commands");
    assert_eq!(refused, Vec::<String>::new());
}

#[test]
fn what_documents_name_is_a_command_with_these_options() {
    let mut refused = Vec::new();
    let mut count = 0;
    for (path, text) in documents() {
        for line in named(&text) {
            count += 1;
            let words = words(&line);
            let depth = depth(&words[1..]);
            let mut command = Arguments::command();
            command.build();
            let mut inner = &command;
            for word in &words[1..=depth] {
                inner = inner.find_subcommand(word).expect("it was just found");
            }
            let options = words.iter().filter_map(|word| word.strip_prefix("--"));
            let unknown: Vec<&str> = options
                .filter(|option| {
                    let option = option.split('=').next().unwrap_or(option);
                    !inner.get_arguments().any(|argument| argument.get_long() == Some(option))
                })
                .collect();
            let is_a_group_with_more = inner.has_subcommands()
                && words.get(depth + 1).is_some_and(|word| !word.starts_with("--"));
            if is_a_group_with_more || !unknown.is_empty() {
                refused.push(format!("{}: {line}: {unknown:?}", path.display()));
            }
        }
    }

    assert!(count > 40, "only {count} commands");
    assert_eq!(refused, Vec::<String>::new());
}
