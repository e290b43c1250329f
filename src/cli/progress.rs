//! What `run` shows while it runs: live bars on a terminal, plain lines elsewhere. All of it goes
//! to standard error, and no item is ever named.

mod bars;
mod lines;

use std::io::{self, IsTerminal};
use std::sync::Arc;

use crate::engine::observe::Observer;

use super::context::Context;
use super::failure::Failure;
use super::show;

use bars::Bars;
use lines::Lines;

pub(super) struct Progress(Shown);

enum Shown {
    Bars(Arc<Bars>),
    Lines(Arc<Lines>),
}

impl Progress {
    /// Bars if standard error is a terminal that can move its cursor; sets up logging to go with
    /// them.
    pub(super) fn start(context: &Context) -> Result<Progress, Failure> {
        let dumb = context.env.get("TERM").is_some_and(|term| term == "dumb");
        if io::stderr().is_terminal() && !dumb {
            let bars = Bars::new();
            context.log_quietly_to(bars.log_writer())?;
            return Ok(Progress(Shown::Bars(Arc::new(bars))));
        }
        context.log_quietly()?;
        Ok(Progress(Shown::Lines(Arc::new(Lines::new(context.is_demo())))))
    }

    pub(super) fn observer(&self) -> Arc<dyn Observer> {
        match &self.0 {
            Shown::Bars(bars) => Arc::clone(bars) as Arc<dyn Observer>,
            Shown::Lines(lines) => Arc::clone(lines) as Arc<dyn Observer>,
        }
    }

    /// The runs begin.
    pub(super) fn begin(&self) {
        match &self.0 {
            Shown::Bars(bars) => bars.begin(),
            Shown::Lines(_) => {}
        }
    }

    /// Somebody asked to stop: it takes as long as what is in flight.
    pub(super) fn stopping(&self) {
        const LINE: &str =
            "stopping when what is in flight has been answered; again ends it at once";
        match &self.0 {
            Shown::Bars(bars) => bars.say(LINE),
            Shown::Lines(_) => show::note(LINE),
        }
    }

    /// Leaves the terminal as it was found.
    pub(super) fn finish(&self) {
        match &self.0 {
            Shown::Bars(bars) => bars.finish(),
            Shown::Lines(_) => {}
        }
    }
}
