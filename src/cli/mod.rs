//! The command line: arguments to exit code, one file a command.
//!
//! What lives here: what is typed, printed and asked. What does not: what a command does to a
//! pair, which is the engine's, and how the parts are put together (`daemon.rs`). The one thing to
//! know: standard output carries the answer and nothing else; what goes on and what went wrong
//! goes to standard error.

mod approve;
mod arguments;
mod at_desk;
mod audit;
mod check;
mod choose;
mod completions;
mod config;
mod context;
mod demo;
mod failure;
mod forget;
mod log_level;
mod not_yet;
mod parked;
mod parked_groups;
mod parked_live;
mod parked_table;
mod pause;
mod plan;
mod progress;
pub mod remote;
mod report;
mod report_page;
mod run;
mod run_report;
mod run_there;
mod runs;
mod sandbox;
mod serve;
mod show;
mod signals;
mod state;
mod status;
mod verify;
mod verify_there;
mod watermark;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command, Form, ParkedCommand};
use context::Context;
use failure::Failure;

pub use failure::Exit;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    crate::core_dumps::turn_off();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Prints help to standard output with 0, mistakes to standard error with 2.
        Err(error) => error.exit(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            show::error(&format!("cannot start: {error}; check the limits of this process"));
            return Exit::Failed.into();
        }
    };
    match runtime.block_on(dispatch(arguments)) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            show::error(&failure.message);
            failure.exit.into()
        }
    }
}

async fn dispatch(arguments: Arguments) -> Result<Exit, Failure> {
    refuse_form(arguments.global.output, &arguments.command)?;
    let context = Context::new(arguments.global);
    match arguments.command {
        Command::Run(options) => run::run(&context, options).await,
        Command::Plan(options) => plan::run(&context, &options).await,
        Command::Check(options) => check::run(&context, &options).await,
        Command::Status(options) => status::run(&context, &options).await,
        Command::Verify(options) => verify::run(&context, options).await,
        Command::Parked(command) => parked::run(&context, command).await,
        Command::Watermark(command) => watermark::run(&context, command).await,
        Command::Approve(command) => approve::run(&context, command).await,
        Command::State(command) => state::run(&context, command).await,
        Command::Serve(options) => serve::run(&context, &options).await,
        Command::Demo => demo::tell(&context).await,
        Command::Sandbox(options) => sandbox::run(&context, options).await,
        Command::Config(command) => config::run(&context, &command),
        Command::Pause(options) => pause::pause(&context, &options).await,
        Command::Resume(options) => pause::resume(&context, &options).await,
        Command::Cancel(options) => pause::cancel(&context, &options).await,
        Command::Runs(command) => runs::run(&context, command).await,
        Command::Audit(command) => audit::run(&context, command).await,
        Command::Forget(options) => forget::run(&context, &options).await,
        Command::LogLevel(options) => log_level::run(&context, &options).await,
        Command::Report(options) => report::run(&context, &options).await,
        Command::Completions(options) => completions::print(options.shell),
        Command::Man => completions::manual(),
    }
}

/// Tables and pages are of the commands that say so.
fn refuse_form(form: Form, command: &Command) -> Result<(), Failure> {
    let lists_parked = matches!(command, Command::Parked(ParkedCommand::List(_)));
    let reports = matches!(command, Command::Report(_));
    match form {
        Form::Text | Form::Json => Ok(()),
        Form::Csv => not_yet::option("--output csv", !lists_parked && !reports),
        Form::Html => not_yet::option("--output html", !reports),
    }
}
