//! How the story looks: headlines, paragraphs of a width that reads well, lists, and commands as
//! a person would type them.

use std::io::{self, IsTerminal};

use super::super::failure::Failure;
use super::super::show;

/// Columns of text.
const WIDTH: usize = 96;

/// Begins the next part of the story.
pub(super) fn chapter(number: u32, headline: &str) -> Result<(), Failure> {
    show::answer(&format!("\n{}\n", bright(&format!("{number}. {headline}"))))
}

/// A paragraph.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    show::answer(&wrapped(text, "", ""))
}

pub(super) fn list(sentences: &[String]) -> Result<(), Failure> {
    let items: String = sentences.iter().map(|text| wrapped(text, "  - ", "    ")).collect();
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

fn wrapped(text: &str, first: &str, next: &str) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut margin = first.chars().count();
    for word in text.split_whitespace() {
        let length = line.chars().count();
        if length > margin && length + 1 + word.chars().count() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line = next.to_owned();
            margin = next.chars().count();
        }
        if line.chars().count() > margin {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines + &line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_breaks_between_words_and_keeps_its_margin() {
        let text = "word ".repeat(40);

        let told = wrapped(&text, "  - ", "    ");

        let lines: Vec<&str> = told.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{told}");
        assert!(lines[0].starts_with("  - word word"));
        assert!(lines[1].starts_with("    word word"));
        assert_eq!(told.split_whitespace().filter(|word| *word == "word").count(), 40);
    }
}
