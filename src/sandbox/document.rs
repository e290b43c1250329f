//! A JSON document as a tree over its own text: scalars keep the characters they came with, so
//! that a server which answers with what it was given changes no number and no date.

use std::borrow::Cow;

use serde::de::IgnoredAny;

/// One value of a document.
#[derive(Clone, Debug)]
pub(super) enum Json<'a> {
    /// Members in the order in which they came.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
    Array(Vec<Json<'a>>),
    /// A string, a number, a boolean or null, as its JSON text.
    Scalar(Cow<'a, str>),
}

/// One step of a path such as `$.addresses[*].city`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) name: String,
    /// Whether the step goes on in every item of an array.
    pub(super) each: bool,
}

/// Where a value stands below the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<Step>);

impl Path {
    /// Reads the form `$.a.b[*].c`.
    pub(super) fn parse(text: &str) -> Path {
        let steps =
            text.trim_start_matches("$.").split('.').map(|part| match part.strip_suffix("[*]") {
                Some(name) => Step { name: name.to_owned(), each: true },
                None => Step { name: part.to_owned(), each: false },
            });
        Path(steps.collect())
    }

    pub(super) fn leaf(&self) -> &str {
        self.0.last().map_or("", |step| step.name.as_str())
    }

    /// Whether the path never enters an array.
    pub(super) fn is_single(&self) -> bool {
        self.0.iter().all(|step| !step.each)
    }

    /// Whether the path begins with that member of the root.
    pub(super) fn is_below(&self, member: &str) -> bool {
        self.0.first().is_some_and(|step| step.name == member)
    }

    /// The path of a member of what this path leads to.
    pub(super) fn member(&self, name: &str) -> Path {
        let mut steps = self.0.clone();
        steps.push(Step { name: name.to_owned(), each: false });
        Path(steps)
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "$")?;
        for step in &self.0 {
            write!(out, ".{}{}", step.name, if step.each { "[*]" } else { "" })?;
        }
        Ok(())
    }
}

impl<'a> Json<'a> {
    /// Reads a document, or says why it is none.
    pub(super) fn parse(text: &'a str) -> Result<Json<'a>, String> {
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| error.to_string())?;
        let mut reader = Reader { text, at: 0 };
        Ok(reader.value())
    }

    /// The member of that name, if this is an object that has it.
    pub(super) fn get(&self, name: &str) -> Option<&Json<'a>> {
        match self {
            Json::Object(members) => {
                members.iter().find(|(member, _)| member == name).map(|(_, value)| value)
            }
            Json::Array(_) | Json::Scalar(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Json<'a>> {
        match self {
            Json::Object(members) => {
                members.iter_mut().find(|(member, _)| member == name).map(|(_, value)| value)
            }
            Json::Array(_) | Json::Scalar(_) => None,
        }
    }

    /// The one value at a path that enters no array; null counts as absent.
    pub(super) fn at(&self, path: &Path) -> Option<&Json<'a>> {
        let mut here = self;
        for step in &path.0 {
            here = here.get(&step.name)?;
        }
        (!here.is_null()).then_some(here)
    }

    /// Every value that the steps lead to; null counts as absent.
    pub(super) fn all_at<'j>(&'j self, steps: &[Step], found: &mut Vec<&'j Json<'a>>) {
        let Some((step, rest)) = steps.split_first() else {
            if !self.is_null() {
                found.push(self);
            }
            return;
        };
        match self.get(&step.name) {
            Some(Json::Array(items)) if step.each => {
                for item in items {
                    item.all_at(rest, found);
                }
            }
            Some(value) if !step.each => value.all_at(rest, found),
            Some(_) | None => {}
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Json::Scalar(text) if text == "null")
    }

    pub(super) fn is_string(&self) -> bool {
        matches!(self, Json::Scalar(text) if text.starts_with('"'))
    }

    /// The JSON text of a scalar.
    pub(super) fn raw(&self) -> Option<&str> {
        match self {
            Json::Scalar(text) => Some(text),
            Json::Object(_) | Json::Array(_) => None,
        }
    }

    /// A scalar as a person writes it: a string without its quotes, anything else as it stands.
    pub(super) fn text(&self) -> Option<Cow<'_, str>> {
        let raw = self.raw()?;
        if !raw.starts_with('"') {
            return Some(Cow::Borrowed(raw));
        }
        if raw.contains('\\') {
            return serde_json::from_str::<String>(raw).ok().map(Cow::Owned);
        }
        Some(Cow::Borrowed(&raw[1..raw.len() - 1]))
    }

    /// Puts a scalar in the place of what a single path leads to; a path that leads nowhere
    /// changes nothing.
    pub(super) fn set(&mut self, path: &Path, raw: &str) {
        let mut here = self;
        for step in &path.0 {
            let Some(next) = here.get_mut(&step.name) else { return };
            here = next;
        }
        *here = Json::Scalar(Cow::Owned(raw.to_owned()));
    }

    /// Whether an object at any depth has a member of one of the names.
    pub(super) fn has_member_anywhere(&self, names: &[&str]) -> Option<String> {
        match self {
            Json::Object(members) => members.iter().find_map(|(name, value)| {
                if names.contains(&name.as_ref()) {
                    return Some(name.to_string());
                }
                value.has_member_anywhere(names)
            }),
            Json::Array(items) => items.iter().find_map(|item| item.has_member_anywhere(names)),
            Json::Scalar(_) => None,
        }
    }

    /// Writes the document without white space between its tokens.
    pub(super) fn write(&self, out: &mut String) {
        match self {
            Json::Object(members) => {
                out.push('{');
                for (number, (name, value)) in members.iter().enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    write_name(out, name);
                    value.write(out);
                }
                out.push('}');
            }
            Json::Array(items) => {
                out.push('[');
                for (number, item) in items.iter().enumerate() {
                    if number > 0 {
                        out.push(',');
                    }
                    item.write(out);
                }
                out.push(']');
            }
            Json::Scalar(text) => out.push_str(text),
        }
    }
}

/// Writes a member's name and its colon.
pub(super) fn write_name(out: &mut String, name: &str) {
    out.push_str(&quoted(name));
    out.push(':');
}

/// A string as JSON text.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

/// Walks text whose syntax has been checked.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self) -> Json<'a> {
        self.skip_space();
        match self.byte() {
            b'{' => self.object(),
            b'[' => self.array(),
            b'"' => Json::Scalar(Cow::Borrowed(self.string())),
            _ => Json::Scalar(Cow::Borrowed(self.word())),
        }
    }

    fn object(&mut self) -> Json<'a> {
        let mut members = Vec::new();
        self.at += 1;
        loop {
            self.skip_space();
            match self.byte() {
                b'}' => {
                    self.at += 1;
                    return Json::Object(members);
                }
                b',' => self.at += 1,
                _ => {
                    let raw = self.string();
                    let name = if raw.contains('\\') {
                        Cow::Owned(serde_json::from_str(raw).unwrap_or_default())
                    } else {
                        Cow::Borrowed(&raw[1..raw.len() - 1])
                    };
                    self.skip_space();
                    self.at += 1; // the colon
                    members.push((name, self.value()));
                }
            }
        }
    }

    fn array(&mut self) -> Json<'a> {
        let mut items = Vec::new();
        self.at += 1;
        loop {
            self.skip_space();
            match self.byte() {
                b']' => {
                    self.at += 1;
                    return Json::Array(items);
                }
                b',' => self.at += 1,
                _ => items.push(self.value()),
            }
        }
    }

    /// A string with its quotes.
    fn string(&mut self) -> &'a str {
        let start = self.at;
        let mut end = self.at + 1;
        loop {
            let quote = self.text[end..].find('"').expect("the syntax has been checked");
            end += quote + 1;
            let escapes =
                self.text.as_bytes()[..end - 1].iter().rev().take_while(|byte| **byte == b'\\');
            if escapes.count().is_multiple_of(2) {
                break;
            }
        }
        self.at = end;
        &self.text[start..end]
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> &'a str {
        let start = self.at;
        let bytes = self.text.as_bytes();
        while self.at < bytes.len()
            && !matches!(bytes[self.at], b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t')
        {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn skip_space(&mut self) {
        while matches!(self.byte(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    fn byte(&self) -> u8 {
        self.text.as_bytes().get(self.at).copied().unwrap_or(b'}')
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test ends where it fails")]
mod tests {
    use super::*;

    fn rewritten(text: &str) -> String {
        let mut out = String::new();
        Json::parse(text).unwrap().write(&mut out);
        out
    }

    #[test]
    fn every_scalar_keeps_its_characters() {
        let text = r#"{"a":1.50,"b":1e3,"c":"x\"y\\","d":[true,null,-0.0],"e":{},"é":"\u00e9"}"#;

        let again = rewritten(text);

        assert_eq!(again, text);
    }

    #[test]
    fn white_space_between_tokens_is_dropped_and_inside_strings_kept() {
        let again = rewritten(" { \"a b\" : [ 1 , \" x \" ] }\n");

        assert_eq!(again, r#"{"a b":[1," x "]}"#);
    }

    #[test]
    fn a_path_with_stars_finds_every_item() {
        let document = Json::parse(r#"{"a":[{"b":{"c":1}},{"b":{"c":2}},{"b":null}]}"#).unwrap();

        let mut found = Vec::new();
        document.all_at(&Path::parse("$.a[*].b.c").0, &mut found);

        let texts: Vec<_> = found.iter().filter_map(|value| value.raw()).collect();
        assert_eq!(texts, ["1", "2"]);
    }

    #[test]
    fn a_truncated_document_is_refused() {
        assert!(Json::parse(r#"{"a":[1,2"#).is_err());
        assert!(Json::parse("").is_err());
    }
}
