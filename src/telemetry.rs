//! Logs: where they go, how they look, how much of them there is, and how an error is put into one
//! line.
//!
//! What lives here: the set-up for `--log-format` and `--log-level`, and its change while the process
//! lives. What does not: what is logged, which stands beside what happens, and the spans around it
//! (`pair`, `run`, `stage`, `resource`), which the engine opens. The one thing to know: only our own
//! records are let through. The crates under us would print addresses, and addresses can hold natural
//! keys.

mod lines;
#[cfg(any(feature = "otlp", test))]
pub mod otlp;
mod queue;

use std::error::Error;
use std::fmt;
use std::io::IsTerminal;
use std::str::FromStr;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::{Registry, fmt as lines_of, reload};

use self::lines::JsonLines;

pub use self::queue::{LogQueue, lost_records};

/// The crate whose records are let through.
const OURS: &str = "tidemark";

/// How a record looks: for people, or one JSON object a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// How much is logged: `off`, `error`, `warn`, `info` (the default), `debug` or `trace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLevel(LevelFilter);

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("`{0}` is not a log format: text or json")]
    UnknownFormat(String),

    #[error("`{0}` is not a log level: off, error, warn, info, debug or trace")]
    UnknownLevel(String),

    #[error("logging has no thread to write on")]
    Thread(#[source] std::io::Error),

    #[error("logging was set up twice in one process")]
    Twice(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// How much is logged from now on; clones change the same.
#[derive(Clone, Debug)]
pub struct LogSwitch {
    filter: reload::Handle<Targets, Registry>,
    usual: LogLevel,
}

impl LogSwitch {
    /// Of a process that logs nothing.
    #[cfg(test)]
    pub fn of_nothing(usual: LogLevel) -> LogSwitch {
        let (_, filter) = reload::Layer::new(only_ours(usual));
        LogSwitch { filter, usual }
    }

    /// What the process was started with.
    pub fn usual(&self) -> LogLevel {
        self.usual
    }

    pub fn set(&self, level: LogLevel) {
        // It fails only when nobody logs any more.
        let _ = self.filter.reload(only_ours(level));
    }
}

/// What a process that goes on for long logs through.
pub struct Logging {
    pub queue: LogQueue,
    pub telling: Telling,
}

/// What can be changed and taken of what is logged while the process lives.
pub struct Telling {
    pub switch: LogSwitch,
    /// Spans that have ended, for whoever sends them.
    #[cfg(feature = "otlp")]
    pub spans: otlp::Spans,
}

/// Sends this process's records to standard error. Once a process.
pub fn init(format: LogFormat, level: LogLevel) -> Result<(), TelemetryError> {
    init_to(format, level, std::io::stderr().is_terminal(), std::io::stderr)
}

/// The same to another writer: progress bars share the terminal with the log. `colours` only where
/// a terminal shows it; the variable `NO_COLOR` is heeded.
pub fn init_to<W>(
    format: LogFormat,
    level: LogLevel,
    colours: bool,
    writer: W,
) -> Result<(), TelemetryError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let (lines, _) = logged_lines(format, level, heeding_no_color(colours), writer);
    installed(tracing_subscriber::registry().with(lines))
}

/// For a process that goes on when nobody reads its log; what it logged last is written by
/// [`LogQueue::flush`].
pub fn init_queued(format: LogFormat, level: LogLevel) -> Result<Logging, TelemetryError> {
    let queue = LogQueue::to(std::io::stderr(), queue::RECORDS).map_err(TelemetryError::Thread)?;
    let colours = heeding_no_color(std::io::stderr().is_terminal());
    let (lines, switch) = logged_lines(format, level, colours, queue.clone());
    let subscriber = tracing_subscriber::registry().with(lines);
    #[cfg(not(feature = "otlp"))]
    {
        installed(subscriber)?;
        Ok(Logging { queue, telling: Telling { switch } })
    }
    #[cfg(feature = "otlp")]
    {
        let (ended, spans) = otlp::ended_spans();
        installed(subscriber.with(ended))?;
        Ok(Logging { queue, telling: Telling { switch, spans } })
    }
}

fn installed(subscriber: impl Subscriber + Send + Sync) -> Result<(), TelemetryError> {
    tracing::subscriber::set_global_default(subscriber).map_err(TelemetryError::Twice)
}

fn heeding_no_color(colours: bool) -> bool {
    colours && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn only_ours(level: LogLevel) -> Targets {
    Targets::new().with_target(OURS, level.0)
}

fn logged_lines<W>(
    format: LogFormat,
    level: LogLevel,
    colours: bool,
    writer: W,
) -> (Box<dyn Layer<Registry> + Send + Sync>, LogSwitch)
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(only_ours(level));
    let lines = lines_of::layer().with_writer(writer);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => Box::new(lines.with_ansi(colours).with_filter(filter)),
        LogFormat::Json => Box::new(
            lines.fmt_fields(JsonFields::new()).event_format(JsonLines).with_filter(filter),
        ),
    };
    (lines, LogSwitch { filter: handle, usual: level })
}

/// An error with everything that caused it, in one line: `a: b: c`. A cause that the message before
/// already ends with is not said twice.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

impl FromStr for LogFormat {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<LogFormat, TelemetryError> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(TelemetryError::UnknownFormat(other.to_owned())),
        }
    }
}

impl Default for LogLevel {
    fn default() -> LogLevel {
        LogLevel(LevelFilter::INFO)
    }
}

impl FromStr for LogLevel {
    type Err = TelemetryError;

    fn from_str(text: &str) -> Result<LogLevel, TelemetryError> {
        let level = match text.to_ascii_lowercase().as_str() {
            "off" => LevelFilter::OFF,
            "error" => LevelFilter::ERROR,
            "warn" => LevelFilter::WARN,
            "info" => LevelFilter::INFO,
            "debug" => LevelFilter::DEBUG,
            "trace" => LevelFilter::TRACE,
            _ => return Err(TelemetryError::UnknownLevel(text.to_owned())),
        };
        Ok(LogLevel(level))
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str, work: impl FnOnce(&LogSwitch)) -> String {
        let page = Page::default();
        let written = page.clone();
        let writer = move || page.clone();
        let (lines, switch) = logged_lines(format, level.parse().unwrap(), false, writer);
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || work(&switch));
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_record_in_json_is_one_object_a_line() {
        let text = logged(LogFormat::Json, "info", |_| {
            tracing::info!(publication = "a", "run began");
        });

        let record: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(record["publication"], "a");
        assert_eq!(record["message"], "run began");
        assert_eq!(record["level"], "INFO");
    }

    #[test]
    fn a_record_in_text_has_its_fields_and_no_colours() {
        let text = logged(LogFormat::Text, "info", |_| {
            tracing::info!(publication = "a", "run began");
        });

        assert!(text.contains("run began publication=\"a\""), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_record_says_which_pair_run_stage_and_resource_it_is_about() {
        let work = |_: &LogSwitch| {
            let pair = tracing::error_span!("pair", publication = "a", target = "b");
            let run = tracing::error_span!(parent: &pair, "run", run = "r1");
            let stage = tracing::error_span!(parent: &run, "stage", stage = "upserts");
            let resource = tracing::error_span!(parent: &stage, "resource", resource = "/c/d");
            resource.in_scope(|| tracing::warn!(target = "own", "it waits"));
        };

        let json = logged(LogFormat::Json, "warn", work);
        let text = logged(LogFormat::Text, "warn", work);

        let record: serde_json::Value = serde_json::from_str(json.trim_end()).unwrap();
        assert_eq!(json.matches("\"target\"").count(), 1, "{json}");
        for (name, value) in [
            ("publication", "a"),
            ("target", "own"),
            ("run", "r1"),
            ("stage", "upserts"),
            ("resource", "/c/d"),
            ("message", "it waits"),
        ] {
            assert_eq!(record[name], value, "{name}: {json}");
        }
        assert!(text.contains("run{run=\"r1\"}:stage{stage=\"upserts\"}"), "{text}");
    }

    #[test]
    fn the_level_changes_while_the_process_lives_and_only_ours_is_logged_at_any() {
        let text = logged(LogFormat::Text, "warn", |switch| {
            tracing::debug!("before");
            switch.set("trace".parse().unwrap());
            tracing::trace!("meanwhile");
            tracing::error!(target: "hyper::client", "not ours");
            switch.set(switch.usual());
            tracing::debug!("afterwards");
        });

        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("meanwhile"), "{text}");
    }

    #[test]
    fn what_is_below_the_level_or_not_ours_is_left_out() {
        let text = logged(LogFormat::Text, "warn", |_| {
            tracing::info!("below");
            tracing::warn!(target: "hyper::client", "not ours");
            tracing::warn!("ours");
        });

        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("ours"), "{text}");
    }

    #[test]
    fn unknown_words_are_refused_with_the_known_ones() {
        let format = "xml".parse::<LogFormat>().unwrap_err().to_string();
        let level = "loud".parse::<LogLevel>().unwrap_err().to_string();

        assert_eq!(format, "`xml` is not a log format: text or json");
        assert_eq!(level, "`loud` is not a log level: off, error, warn, info, debug or trace");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{message}")]
    struct Step {
        message: &'static str,
        #[source]
        cause: Option<Box<Step>>,
    }

    #[test]
    fn a_chain_is_said_in_one_line_and_nothing_twice() {
        let root = Step { message: "no route", cause: None };
        let middle = Step { message: "cannot connect: no route", cause: Some(Box::new(root)) };
        let top = Step { message: "reading a page", cause: Some(Box::new(middle)) };

        assert_eq!(chain(&top), "reading a page: cannot connect: no route");
    }
}
