//! The command line: arguments to exit code, one file a command.
//!
//! What lives here: what is typed, printed and asked. What does not: what a command does to a
//! pair, which is the engine's, and how the parts are put together (`daemon.rs`). The one thing to
//! know: standard output carries the answer and nothing else; what goes on and what went wrong
//! goes to standard error.

mod approve;
mod arguments;
mod ask;
mod causes;
mod check;
mod choose;
mod config;
mod context;
mod demo;
mod failure;
mod not_yet;
mod parked;
mod parked_groups;
mod parked_table;
mod plan;
mod progress;
pub mod remote;
mod run;
mod run_report;
mod sandbox;
mod serve;
mod show;
mod signals;
mod state;
mod status;
mod verify;
mod watermark;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command, Form, ParkedCommand};
use context::Context;
use failure::Failure;

pub use failure::Exit;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
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
    not_yet::refuse_global(&arguments.global)?;
    let lists_parked = matches!(arguments.command, Command::Parked(ParkedCommand::List(_)));
    not_yet::option("--output csv", arguments.global.output == Form::Csv && !lists_parked)?;
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
        Command::Pause(_) => not_yet::command("pause"),
        Command::Resume(_) => not_yet::command("resume"),
        Command::Cancel(_) => not_yet::command("cancel"),
        Command::Runs(_) => not_yet::command("runs"),
        Command::Audit(_) => not_yet::command("audit"),
        Command::Forget(_) => not_yet::command("forget"),
        Command::Report(_) => not_yet::command("report"),
    }
}
