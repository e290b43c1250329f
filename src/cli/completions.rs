//! What the command line says of itself: completions for shells, and the manual page.

use clap::CommandFactory;

use super::arguments::Arguments;
use super::failure::{Exit, Failure};
use super::show;

const NAME: &str = "tidemark";

pub(super) fn print(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), NAME, &mut script);
    show::answer(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

/// The page of the program, then one of each command, in one text: `man -l -` reads it.
pub(super) fn manual() -> Result<Exit, Failure> {
    let mut command = Arguments::command();
    command.build();
    let mut page = Vec::new();
    render(&command, &mut page)?;
    for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        render_sections(command, &mut page)?;
    }
    show::answer(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Done)
}

fn render(command: &clap::Command, out: &mut Vec<u8>) -> Result<(), Failure> {
    clap_mangen::Man::new(command.clone()).render(out).map_err(|error| unwritten(&error))
}

/// A command in the page of its program.
fn render_sections(command: &clap::Command, out: &mut Vec<u8>) -> Result<(), Failure> {
    let name = command.get_display_name().unwrap_or(command.get_name()).replace('-', " ");
    out.extend_from_slice(format!(".SH {}\n", name.to_uppercase()).as_bytes());
    let man = clap_mangen::Man::new(command.clone());
    let rendered =
        man.render_description_section(out).and_then(|()| man.render_synopsis_section(out));
    rendered.and_then(|()| man.render_options_section(out)).map_err(|error| unwritten(&error))
}

fn unwritten(error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot write the manual page: {error}"))
}
