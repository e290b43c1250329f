//! YAML with positions. What does not live here: what any key means.
//!
//! The one thing to know: a scalar stays the text that was written (`00123`, `1e5`, `0x10`, `no`)
//! until its type is known. Anchors, aliases and tags are refused: a secret that begins with `&`,
//! `*` or `!` and was not quoted would otherwise silently become something else.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use config::{Map, Value, ValueKind};
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

use super::problem::{Place, Problem};

/// Deeper than any configuration; keeps a hostile file from exhausting the stack.
const DEEPEST: usize = 64;

/// One file as read.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    pub(super) root: Map<String, Value>,
    /// Where each key was written, by its path; values carry their own place as their origin.
    pub(super) keys: BTreeMap<Vec<String>, Place>,
}

/// Reads one document. `Err` when there is no telling what the rest of the file means.
pub(super) fn read(
    file: &str,
    text: &str,
    problems: &mut Vec<Problem>,
) -> Result<Document, Problem> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader {
        file,
        events: Parser::new_from_str(text),
        path: Vec::new(),
        keys: BTreeMap::new(),
        problems,
    };
    let root = reader.document()?;
    let keys = reader.keys;
    match root.map(|value| (value.origin().map(str::to_owned), value.kind)) {
        None | Some((_, ValueKind::Nil)) => Ok(Document::default()),
        Some((_, ValueKind::Table(root))) => Ok(Document { root, keys }),
        Some((origin, _)) => Err(Problem {
            key_path: String::new(),
            place: origin.as_deref().map(Place::from_origin),
            message: "the file must hold sections such as `connections:` and `publications:`"
                .to_owned(),
        }),
    }
}

struct Reader<'a, 'p> {
    file: &'a str,
    events: Parser<'a, StrInput<'a>>,
    path: Vec<String>,
    keys: BTreeMap<Vec<String>, Place>,
    problems: &'p mut Vec<Problem>,
}

impl<'a> Reader<'a, '_> {
    fn document(&mut self) -> Result<Option<Value>, Problem> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root),
                Event::DocumentStart(_) if root.is_some() => {
                    let message = "a second document; one file holds one: remove the `---`";
                    return Err(self.problem(&span, message.to_owned()));
                }
                Event::Nothing
                | Event::StreamStart
                | Event::DocumentStart(_)
                | Event::DocumentEnd => {}
                content => root = Some(self.value(content, &span)?),
            }
        }
    }

    fn value(&mut self, event: Event<'a>, span: &Span) -> Result<Value, Problem> {
        let origin = self.place(span).to_origin();
        let kind = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_anchor(anchor, span);
                scalar(&text, style, self.is_text(tag.as_deref(), span))
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_anchor(anchor, span);
                self.is_text(tag.as_deref(), span);
                ValueKind::Array(self.sequence(span)?)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_anchor(anchor, span);
                self.is_text(tag.as_deref(), span);
                ValueKind::Table(self.mapping(span)?)
            }
            Event::Alias(_) => {
                let message = "aliases (`*name`) are not read: write the value out or use \
                               `defaults`; put a text that begins with `*` in quotes";
                self.report(span, message);
                ValueKind::Nil
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => {
                return Err(self.problem(span, "the file ends where a value was due".to_owned()));
            }
        };
        Ok(Value::new(Some(&origin), kind))
    }

    fn sequence(&mut self, start: &Span) -> Result<Vec<Value>, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(items);
            }
            self.descend(format!("[{}]", items.len()), start)?;
            items.push(self.value(event, &span)?);
            self.path.pop();
        }
    }

    fn mapping(&mut self, start: &Span) -> Result<Map<String, Value>, Problem> {
        let mut entries = Map::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let Event::Scalar(name, _, anchor, tag) = event else {
                let message = "a key must be a plain text".to_owned();
                return Err(self.problem(&span, message));
            };
            self.refuse_anchor(anchor, &span);
            self.is_text(tag.as_deref(), &span);
            self.descend(name.clone().into_owned(), start)?;
            let place = self.place(&span);
            match self.keys.entry(self.path.clone()) {
                Entry::Vacant(free) => drop(free.insert(place)),
                Entry::Occupied(first) => {
                    let message = format!("written twice; it is first written at {}", first.get());
                    self.report(&span, &message);
                }
            }
            let (event, span) = self.next()?;
            let value = self.value(event, &span)?;
            self.path.pop();
            entries.entry(name.into_owned()).or_insert(value);
        }
    }

    fn descend(&mut self, name: String, start: &Span) -> Result<(), Problem> {
        if self.path.len() == DEEPEST {
            return Err(self.problem(start, format!("nested deeper than {DEEPEST} levels")));
        }
        self.path.push(name);
        Ok(())
    }

    /// Whether a tag says that the scalar is a text; any tag but `!!str` is refused.
    fn is_text(&mut self, tag: Option<&Tag>, span: &Span) -> bool {
        let Some(tag) = tag else {
            return false;
        };
        if tag.is_yaml_core_schema() && tag.suffix == "str" {
            return true;
        }
        self.report(span, "tags (`!name`) are not read: put a text that begins with `!` in quotes");
        false
    }

    fn refuse_anchor(&mut self, anchor: usize, span: &Span) {
        if anchor != 0 {
            let message = "anchors (`&name`) are not read: use `defaults` for what entries share; \
                           put a text that begins with `&` in quotes";
            self.report(span, message);
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.events.next_event() {
            Some(Ok(found)) => Ok(found),
            Some(Err(error)) => {
                // What the parser says names its own rules, and a single character at most.
                let mark = *error.marker();
                let message = format!("not valid YAML: {}", error.info());
                Err(self.problem(&Span::empty(mark), message))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn report(&mut self, span: &Span, message: &str) {
        let problem = self.problem(span, message.to_owned());
        self.problems.push(problem);
    }

    fn problem(&self, span: &Span, message: String) -> Problem {
        Problem { key_path: join(&self.path), place: Some(self.place(span)), message }
    }

    fn place(&self, span: &Span) -> Place {
        Place::File {
            file: self.file.to_owned(),
            line: span.start.line().max(1),
            column: span.start.col() + 1,
            row: None,
        }
    }
}

/// `a.b[0].c`.
pub(super) fn join(path: &[String]) -> String {
    let mut joined = String::new();
    for part in path {
        if !joined.is_empty() && !part.starts_with('[') {
            joined.push('.');
        }
        joined.push_str(part);
    }
    joined
}

fn scalar(text: &str, style: ScalarStyle, is_text: bool) -> ValueKind {
    let plain = style == ScalarStyle::Plain && !is_text;
    if plain && matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return ValueKind::Nil;
    }
    ValueKind::String(text.to_owned())
}
