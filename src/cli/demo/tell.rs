//! How the story looks: headlines, paragraphs, lists, and commands as a person would type them.

use std::io::{self, IsTerminal};

use super::super::failure::Failure;
use super::super::show;

/// Begins the next part of the story.
pub(super) fn chapter(number: u32, headline: &str) -> Result<(), Failure> {
    show::answer(&format!("\n{}\n", bright(&format!("{number}. {headline}"))))
}

/// A paragraph.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    show::answer(&show::wrapped(text, "", ""))
}

pub(super) fn list(sentences: &[String]) -> Result<(), Failure> {
    let items: String = sentences.iter().map(|text| show::wrapped(text, "  - ", "    ")).collect();
    show::answer(&items)
}

/// A command that runs now; what it prints follows.
pub(super) fn typed(command: &str) -> Result<(), Failure> {
    show::answer(&format!("\n{}\n\n", bright(&format!("$ tidemark {command}"))))
}

/// Something that somebody else wrote, set in from the margin.
pub(super) fn quote(text: &str) -> Result<(), Failure> {
    let lines: String = text.lines().map(|line| format!("    {line}\n")).collect();
    show::answer(&format!("\n{lines}"))
}

fn bright(text: &str) -> String {
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if wanted && io::stdout().is_terminal() {
        format!("\u{1b}[1m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}
