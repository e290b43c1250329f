//! What a body means: order of members, nulls, empty collections, server members and links apart;
//! numbers by their text (contract, `verify`).

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Bytes that two bodies share when they mean the same. A body all the same: not to be kept.
pub(super) fn meaning(body: &[u8]) -> Cow<'_, [u8]> {
    let Ok(text) = std::str::from_utf8(body) else { return Cow::Borrowed(body) };
    let mut canonical = String::with_capacity(text.len());
    write_canonical(text, &mut canonical);
    Cow::Owned(canonical.into_bytes())
}

/// Writes the meaning of one JSON value; nothing for null, for an empty object or array, and for
/// what is no JSON.
fn write_canonical(json: &str, out: &mut String) {
    use serde_json::value::RawValue;
    let json = json.trim();
    match json.as_bytes().first() {
        Some(b'{') => {
            let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) else {
                return;
            };
            let mut inner = String::new();
            for (name, value) in members {
                if matches!(name.as_str(), "id" | "_etag" | "_lastModifiedDate" | "link") {
                    continue;
                }
                let mut written = String::new();
                write_canonical(value.get(), &mut written);
                if !written.is_empty() {
                    inner.push_str(&serde_json::Value::String(name).to_string());
                    inner.push(':');
                    inner.push_str(&written);
                    inner.push(',');
                }
            }
            if !inner.is_empty() {
                out.push('{');
                out.push_str(&inner);
                out.push('}');
            }
        }
        Some(b'[') => {
            let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json) else { return };
            let mut inner = String::new();
            for item in items {
                write_canonical(item.get(), &mut inner);
                inner.push(',');
            }
            if !inner.is_empty() {
                out.push('[');
                out.push_str(&inner);
                out.push(']');
            }
        }
        Some(b'"') => {
            let Ok(text) = serde_json::from_str::<String>(json) else { return };
            out.push_str(&serde_json::Value::String(text).to_string());
        }
        _ if json == "null" => {}
        _ => out.push_str(json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_equal_in_meaning_and_not_in_spelling() {
        let one = r#"{"a":1.10,"b":"x","c":null,"d":[],"id":"1","r":{"s":1,"link":{"rel":"R"}}}"#;
        for (case, other, equal) in [
            ("order of members", r#"{"b":"x","r":{"s":1},"a":1.10}"#, true),
            ("escapes", r#"{"b":"\u0078","r":{"s":1},"a":1.10}"#, true),
            ("the text of a number", r#"{"b":"x","r":{"s":1},"a":1.1}"#, false),
            ("a value", r#"{"b":"y","r":{"s":1},"a":1.10}"#, false),
            ("a member more", r#"{"b":"x","r":{"s":1},"a":1.10,"e":0}"#, false),
            ("a text is no number", r#"{"b":"x","r":{"s":"1"},"a":1.10}"#, false),
        ] {
            assert_eq!(meaning(one.as_bytes()) == meaning(other.as_bytes()), equal, "{case}");
        }
    }
}
