//! State as text: for a backup, for repair by hand, for another store.
//!
//! What lives here: the form, a line of JSON for each record between a header and a trailer that
//! proves the text whole, and what a text comes to, one step a pair. What does not: files, and who
//! may overwrite what (`cli/state.rs`). The one thing to know: a text that was cut off or changed
//! anywhere is refused whole, so that an import never leaves half a state.
//!
//! Natural keys are in it, as they are in the state directory: it is to be kept as private.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::codec::{self, FORMAT, Kind, OLDEST, Trouble};
use super::records::{self, Table};
use super::{
    Coverage, JournalledName, PairId, PairState, Parked, Plan, RunJournal, RunRecord, StateError,
    StateView, Step, Verified,
};
use crate::clock::Timestamp;
use crate::domain::ChangeVersion;

/// Why an export could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    State(StateError),
    #[error(
        "cannot write the export: {0}; what was written of it is of no use, and the state is as it was"
    )]
    Write(#[source] io::Error),
}

/// Why a text is no state. Nothing in here repeats what the text says: it could be a natural key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    #[error("it is empty")]
    Empty,
    #[error("it is cut off: its last line, which proves it whole, is missing")]
    CutOff,
    #[error("it was changed or damaged: it is not what its last line was written for")]
    Damaged,
    #[error("it has format {found}, this program reads up to {known}: run the newer program")]
    Newer { found: u64, known: u8 },
    #[error("line {line} is none that an import knows")]
    Line { line: usize },
    #[error("line {line} names a pair that another line gave a watermark")]
    Twice { line: usize },
}

/// What a text holds.
#[derive(Debug)]
pub enum Text {
    /// Whole states, each as the step that replaces what a pair has.
    Export(BTreeMap<PairId, Step>),
    /// Lines that name a pair and how far it came, and nothing else.
    Watermarks(BTreeMap<PairId, ChangeVersion>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: u8,
    /// Of the program that wrote it; for people.
    version: String,
    exported_at: Timestamp,
}

/// As much of a header as tells a newer one.
#[derive(Deserialize)]
struct FormatOnly {
    format: u64,
}

/// One record of one pair: exactly one member beside the names is there. The members are spelt out
/// because the values of natural keys keep their text, which `flatten` would lose.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    publication: String,
    target: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<PairState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coverage: Option<Coverage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parked: Option<Parked>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    journal: Option<RunJournal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plan: Option<Plan>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<JournalledName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<RunRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verified: Option<Verified>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    records: u64,
    /// Of every byte before this line.
    sha256: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WatermarkLine {
    publication: String,
    target: String,
    watermark: u64,
}

/// Writes everything of every pair, each as it is between two of its steps: pairs may run meanwhile.
pub async fn export(
    store: &dyn StateView,
    now: Timestamp,
    out: &mut (dyn Write + Send),
) -> Result<(), ExportError> {
    let mut writer = Writer::begin(FORMAT, now, out)?;
    for pair in store.pairs().await.map_err(ExportError::State)? {
        let whole = store.whole(&pair).await.map_err(ExportError::State)?;
        writer.pair(&pair, whole)?;
    }
    writer.finish()
}

/// Why the records of a table could not be written as text.
pub(super) enum RecordsError {
    Records(Trouble),
    Write(io::Error),
}

/// Writes the records of a table as they lie there, in the format that they are in: for the program
/// that wrote them.
pub(super) fn export_records(
    table: &dyn Table,
    format: u8,
    now: Timestamp,
    out: &mut (dyn Write + Send),
) -> Result<(), RecordsError> {
    let unwritten = |error| match error {
        ExportError::Write(error) => RecordsError::Write(error),
        ExportError::State(error) => RecordsError::Records(Trouble::Engine(error.to_string())),
    };
    let mut writer = Writer::begin(format, now, out).map_err(unwritten)?;
    let mut failed = None;
    let read = records::each(table, |key, kind, bytes| {
        let (Some(member), None) = (member_of(kind), &failed) else { return Ok(()) };
        let (pair, _) = codec::read_key(key).expect("it was read before");
        let record = codec::json_of(bytes)?;
        failed = writer.record(&StoredLine { pair: &pair, member, record }).err();
        Ok(())
    });
    read.map_err(RecordsError::Records)?;
    match failed {
        Some(error) => Err(unwritten(error)),
        None => writer.finish().map_err(unwritten),
    }
}

/// What a line calls a record of this kind; `None` where a text leaves it out (see [`Writer::pair`]).
fn member_of(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Coverage => Some("coverage"),
        Kind::Journal => Some("journal"),
        Kind::Name => Some("name"),
        Kind::Parked => Some("parked"),
        Kind::Plan => Some("plan"),
        Kind::Run => Some("run"),
        Kind::State => Some("state"),
        Kind::Verified => Some("verified"),
        Kind::Comparison
        | Kind::Finished
        | Kind::KeyChange
        | Kind::LeftBehind
        | Kind::Progress
        | Kind::Tombstone
        | Kind::Written
        | Kind::WrittenAs => None,
    }
}

/// A [`Line`] whose record is not looked into.
struct StoredLine<'a> {
    pair: &'a PairId,
    member: &'static str,
    record: &'a RawValue,
}

impl Serialize for StoredLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(Some(3))?;
        line.serialize_entry("publication", &self.pair.publication)?;
        line.serialize_entry("target", &self.pair.target)?;
        line.serialize_entry(self.member, self.record)?;
        line.end()
    }
}

struct Writer<'a> {
    out: &'a mut (dyn Write + Send),
    hash: Sha256,
    records: u64,
}

impl<'a> Writer<'a> {
    fn begin(
        format: u8,
        now: Timestamp,
        out: &'a mut (dyn Write + Send),
    ) -> Result<Writer<'a>, ExportError> {
        let mut writer = Writer { out, hash: Sha256::new(), records: 0 };
        writer.line(&Header {
            format,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            exported_at: now,
        })?;
        Ok(writer)
    }

    /// What a run had finished, and how far it had come, is left out: whoever imports the text does not know what became of
    /// the target since, and sending it again costs time alone.
    fn pair(&mut self, pair: &PairId, whole: Step) -> Result<(), ExportError> {
        let line = || Line {
            publication: pair.publication.clone(),
            target: pair.target.clone(),
            ..Line::default()
        };
        if let Some(state) = whole.state {
            self.record(&Line { state: Some(state), ..line() })?;
        }
        if let Some(coverage) = whole.coverage {
            self.record(&Line { coverage: Some(coverage), ..line() })?;
        }
        if let Some(journal) = whole.journal {
            self.record(&Line { journal: Some(journal), ..line() })?;
        }
        if let Some(plan) = whole.plan {
            self.record(&Line { plan: Some(plan), ..line() })?;
        }
        for name in whole.names {
            self.record(&Line { name: Some(name), ..line() })?;
        }
        for run in whole.history {
            self.record(&Line { run: Some(run), ..line() })?;
        }
        for verified in whole.verified {
            self.record(&Line { verified: Some(verified), ..line() })?;
        }
        for parked in whole.park {
            self.record(&Line { parked: Some(parked), ..line() })?;
        }
        Ok(())
    }

    fn record<T: Serialize>(&mut self, line: &T) -> Result<(), ExportError> {
        self.records += 1;
        self.line(line)
    }

    fn line<T: Serialize>(&mut self, line: &T) -> Result<(), ExportError> {
        let mut bytes =
            serde_json::to_vec(line).map_err(|error| ExportError::Write(error.into()))?;
        bytes.push(b'\n');
        self.hash.update(&bytes);
        self.out.write_all(&bytes).map_err(ExportError::Write)
    }

    fn finish(mut self) -> Result<(), ExportError> {
        let trailer = Trailer { records: self.records, sha256: hex(&self.hash.clone().finalize()) };
        self.line(&trailer)?;
        self.out.flush().map_err(ExportError::Write)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a text comes to. Its first line tells which of the two forms it has.
pub fn read(text: &str) -> Result<Text, TextError> {
    let first = text.lines().next().filter(|line| !line.trim().is_empty());
    let Some(first) = first else { return Err(TextError::Empty) };
    match serde_json::from_str::<FormatOnly>(first) {
        Ok(FormatOnly { format }) if format > FORMAT.into() => {
            Err(TextError::Newer { found: format, known: FORMAT })
        }
        Ok(FormatOnly { format }) if format < OLDEST.into() => Err(TextError::Line { line: 1 }),
        Ok(_) => read_export(text).map(Text::Export),
        Err(_) => read_watermarks(text).map(Text::Watermarks),
    }
}

fn read_export(text: &str) -> Result<BTreeMap<PairId, Step>, TextError> {
    let whole = text.strip_suffix('\n').ok_or(TextError::CutOff)?;
    let (_, last) = whole.rsplit_once('\n').ok_or(TextError::CutOff)?;
    let trailer: Trailer = serde_json::from_str(last).map_err(|_| TextError::CutOff)?;
    let covered = &text[..whole.len() - last.len()];
    if hex(&Sha256::digest(covered.as_bytes())) != trailer.sha256 {
        return Err(TextError::Damaged);
    }
    let mut lines = covered.lines();
    let header = lines.next().ok_or(TextError::CutOff)?;
    serde_json::from_str::<Header>(header).map_err(|_| TextError::Line { line: 1 })?;

    let mut steps = BTreeMap::new();
    let mut records = 0;
    for (index, line) in lines.enumerate() {
        const HEADER_AND_ONE_BASED: usize = 2;
        let trouble = TextError::Line { line: index + HEADER_AND_ONE_BASED };
        let Ok(line) = serde_json::from_str::<Line>(line) else { return Err(trouble) };
        take_in(line, &mut steps).ok_or(trouble)?;
        records += 1;
    }
    if records == trailer.records { Ok(steps) } else { Err(TextError::Damaged) }
}

/// Adds the record of a line to the step of its pair; `None` unless it has exactly one.
fn take_in(line: Line, steps: &mut BTreeMap<PairId, Step>) -> Option<()> {
    let Line { publication, target, state, coverage, parked, journal, plan, name, run, verified } =
        line;
    let step = steps
        .entry(PairId { publication, target })
        .or_insert_with(|| Step { forget_all: true, ..Step::default() });
    match (state, coverage, parked, journal, plan, name, run, verified) {
        (Some(state), None, None, None, None, None, None, None) => step.state = Some(state),
        (None, Some(coverage), None, None, None, None, None, None) => {
            step.coverage = Some(coverage)
        }
        (None, None, Some(parked), None, None, None, None, None) => step.park.push(parked),
        (None, None, None, Some(journal), None, None, None, None) => step.journal = Some(journal),
        (None, None, None, None, Some(plan), None, None, None) => step.plan = Some(plan),
        (None, None, None, None, None, Some(name), None, None) => step.names.push(name),
        (None, None, None, None, None, None, Some(run), None) => step.history.push(run),
        (None, None, None, None, None, None, None, Some(found)) => step.verified.push(found),
        _ => return None,
    }
    Some(())
}

fn read_watermarks(text: &str) -> Result<BTreeMap<PairId, ChangeVersion>, TextError> {
    let mut watermarks = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let number = index + 1;
        let read = serde_json::from_str::<WatermarkLine>(line);
        let Ok(WatermarkLine { publication, target, watermark }) = read else {
            return Err(TextError::Line { line: number });
        };
        let Ok(watermark) = i64::try_from(watermark) else {
            return Err(TextError::Line { line: number });
        };
        let pair = PairId { publication, target };
        if watermarks.insert(pair, ChangeVersion(watermark)).is_some() {
            return Err(TextError::Twice { line: number });
        }
    }
    Ok(watermarks)
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{moment, name, pair, parked, run, state};
    use super::super::{MemoryStore, ParkStatus, StateStore};
    use super::*;

    async fn filled() -> MemoryStore {
        let store = MemoryStore::new();
        for publication in ["a", "b"] {
            let step = Step {
                state: Some(state(9)),
                park: (0..1200).map(|n| parked(&format!("p{n:05}"), ParkStatus::Parked)).collect(),
                names: vec![name("1.10", Some("t1"))],
                history: (0..7).map(run).collect(),
                ..Step::default()
            };
            store.commit(&pair(publication), step).await.unwrap();
        }
        store
    }

    async fn exported(store: &MemoryStore) -> String {
        let mut out = Vec::new();
        export(store, moment(0), &mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn what_was_exported_and_imported_is_what_there_was() {
        let store = filled().await;
        let text = exported(&store).await;

        let Ok(Text::Export(steps)) = read(&text) else { panic!("no export") };
        let other = MemoryStore::new();
        other
            .commit(
                &pair("a"),
                Step { park: vec![parked("gone", ParkStatus::Dead)], ..Step::default() },
            )
            .await
            .unwrap();
        for (pair, step) in steps {
            other.commit(&pair, step).await.unwrap();
        }

        assert_eq!(exported(&other).await, text);
        assert!(text.contains(r#""amount":1.10"#), "numbers keep their text");
    }

    #[tokio::test]
    async fn a_text_that_was_cut_off_or_changed_is_refused_whole() {
        let text = exported(&filled().await).await;
        let lines: Vec<&str> = text.lines().collect();

        for cut in [1, 100, text.len() / 2, text.len() - 2, text.len() - 1] {
            assert!(read(&text[..cut]).is_err(), "cut at {cut}");
        }
        for (case, changed, expected) in [
            ("a line less", text.replace(&format!("{}\n", lines[1]), ""), TextError::Damaged),
            (
                "a changed number",
                text.replacen("\"watermark\":9", "\"watermark\":8", 1),
                TextError::Damaged,
            ),
            ("no trailer", format!("{}\n", lines[..lines.len() - 1].join("\n")), TextError::CutOff),
            ("nothing", String::new(), TextError::Empty),
            (
                "a newer format",
                text.replacen("\"format\":2", "\"format\":900", 1),
                TextError::Newer { found: 900, known: FORMAT },
            ),
            (
                "no format",
                text.replacen("\"format\":2", "\"format\":0", 1),
                TextError::Line { line: 1 },
            ),
        ] {
            assert_eq!(read(&changed).unwrap_err(), expected, "{case}");
        }
    }

    #[test]
    fn lines_of_watermarks_are_read_and_what_is_none_is_named_by_its_line() {
        let good = "{\"publication\":\"a\",\"target\":\"t\",\"watermark\":7}\n";

        let Ok(Text::Watermarks(read_ones)) = read(good) else { panic!("no watermarks") };

        let pair = PairId { publication: "a".to_owned(), target: "t".to_owned() };
        assert_eq!(read_ones, BTreeMap::from([(pair, ChangeVersion(7))]));
        for (case, text, expected) in [
            ("twice", format!("{good}{good}"), TextError::Twice { line: 2 }),
            ("no JSON", format!("{good}\n604854"), TextError::Line { line: 3 }),
            ("negative", good.replace('7', "-7"), TextError::Line { line: 1 }),
            ("more than it knows", good.replace('7', "7,\"x\":1"), TextError::Line { line: 1 }),
        ] {
            assert_eq!(read(&text).unwrap_err(), expected, "{case}");
        }
    }
}
