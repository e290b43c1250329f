//! Natural keys: flat leaf names with scalar values, as `/deletes` and `/keyChanges` tell them.
//!
//! Two questions are asked of keys and they have two answers (R2): [`NaturalKey::is`] is exact,
//! [`NaturalKey::surely_differs_from`] forgives case, width and trailing space.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A scalar of a key, by its text. Numbers keep the text that was sent: `1.10` stays `1.10`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyText {
    Text(String),
    /// A number or boolean, as it was spelt.
    Bare(String),
}

impl KeyText {
    /// The value as a query parameter wants it.
    pub fn as_str(&self) -> &str {
        match self {
            KeyText::Text(text) | KeyText::Bare(text) => text,
        }
    }

    /// See [`NaturalKey::surely_differs_from`].
    pub fn surely_differs_from(&self, other: &KeyText) -> bool {
        fold(self.as_str()) != fold(other.as_str())
    }
}

/// A natural key: every leaf name with its value, in order of name. Personal data: `Debug` shows
/// the names alone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct NaturalKey(pub BTreeMap<String, KeyText>);

impl NaturalKey {
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(KeyText::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Without its names, which differ between an item and what refers to it; in order, and case set
    /// aside. Two keys that look alike so cost an attempt of what waits, no more.
    pub fn values(&self) -> Vec<String> {
        let mut values: Vec<String> = self.iter().map(|(_, value)| value.to_lowercase()).collect();
        values.sort();
        values
    }

    /// "Is this the one at the target?" Same names, same texts, nothing forgiven (R2, R4).
    pub fn is(&self, other: &NaturalKey) -> bool {
        self.0.len() == other.0.len()
            && self.iter().zip(other.iter()).all(|((a, x), (b, y))| a == b && x == y)
    }

    /// "Does this key live at the source?" is answered yes by whatever comes back unless its key
    /// surely differs: servers compare by collation, we must not be stricter than they (R2).
    pub fn surely_differs_from(&self, other: &NaturalKey) -> bool {
        self.0.iter().any(|(name, value)| {
            other.0.get(name).is_some_and(|theirs| value.surely_differs_from(theirs))
        })
    }
}

/// Case, width and trailing space set aside, as the collations of the usual servers do.
fn fold(text: &str) -> String {
    text.trim_end().chars().map(narrow).flat_map(char::to_lowercase).collect()
}

/// Full-width forms (U+FF01 to U+FF5E) are what SQL Server's width-insensitive collations equate.
fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        _ => c,
    }
}

impl fmt::Debug for NaturalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NaturalKey({})", self.0.keys().cloned().collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(…)")
    }
}

// A key is written as the JSON that the feeds write, so that a parked record and the contract's
// `key` member are the same thing.
impl Serialize for KeyText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            KeyText::Text(text) => serializer.serialize_str(text),
            KeyText::Bare(bare) => {
                let raw = serde_json::value::RawValue::from_string(bare.clone())
                    .map_err(serde::ser::Error::custom)?;
                raw.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw: Box<serde_json::value::RawValue> = Deserialize::deserialize(deserializer)?;
        KeyText::from_json(raw.get()).ok_or_else(|| {
            serde::de::Error::custom("a key value must be text, a number or a boolean")
        })
    }
}

impl KeyText {
    /// Reads one JSON scalar; `None` for anything else, null included.
    pub fn from_json(json: &str) -> Option<KeyText> {
        let json = json.trim();
        if json.starts_with('"') {
            return serde_json::from_str(json).ok().map(KeyText::Text);
        }
        if json == "null" || json.starts_with(['{', '[']) {
            return None;
        }
        // Only what is JSON may be kept: it is written out again as it stands.
        serde_json::from_str::<&serde_json::value::RawValue>(json).ok()?;
        Some(KeyText::Bare(json.to_owned()))
    }
}

impl FromIterator<(String, KeyText)> for NaturalKey {
    fn from_iter<I: IntoIterator<Item = (String, KeyText)>>(pairs: I) -> Self {
        NaturalKey(pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(json: &str) -> NaturalKey {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_key_is_itself_to_the_letter_and_nothing_else() {
        let stored = key(r#"{"schoolId":255901,"sessionName":"Fall"}"#);

        assert!(stored.is(&key(r#"{"sessionName":"Fall","schoolId":255901}"#)));
        assert!(!stored.is(&key(r#"{"sessionName":"fall","schoolId":255901}"#)));
        assert!(!stored.is(&key(r#"{"sessionName":"Fall"}"#)));
    }

    #[test]
    fn case_width_and_trailing_space_do_not_make_a_key_surely_another() {
        let stored = key(r#"{"sessionName":"Fall 24"}"#);

        assert!(!stored.surely_differs_from(&key(r#"{"sessionName":"FALL ２４  "}"#)));
        assert!(stored.surely_differs_from(&key(r#"{"sessionName":"Fall 25"}"#)));
    }

    #[test]
    fn numbers_keep_the_text_that_was_sent() {
        let json = r#"{"amount":1.10,"flag":true,"name":"x"}"#;

        assert_eq!(serde_json::to_string(&key(json)).unwrap(), json);
    }

    #[test]
    fn what_is_no_json_scalar_is_no_key_value() {
        for text in ["", "null", "tru", "1.2.3", "{}", "[1]", "\"open"] {
            assert!(KeyText::from_json(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_key_cannot_be_printed() {
        let shown = format!("{:?}", key(r#"{"studentUniqueId":"604854"}"#));

        assert!(!shown.contains("604854"), "{shown}");
    }
}
