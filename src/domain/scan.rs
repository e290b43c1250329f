//! Where the values of a JSON text begin and end, and nothing more: no value is ever built.
//!
//! Bodies are bytes and stay bytes; what has to look into one steps through it with a [`Scanner`].
//! The one thing to know: it is as strict as the grammar (RFC 8259), so that what it accepts any
//! parser accepts, but for UTF-8, which whoever received the bytes checks once for all of them.

use std::borrow::Cow;

use super::key::KeyText;

/// Deeper nesting than this is refused: no body comes near it, and the stack has an end.
const MAX_DEPTH: u32 = 128;

/// So many bytes of a text are looked at together.
const CHUNK: usize = 16;

/// A position in a JSON text that moves forward value by value.
#[derive(Clone, Debug)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: u32,
    /// Every bit that was set in a byte of a text, by the place in its chunk.
    seen: [u8; CHUNK],
    /// The text that was passed last holds an escape.
    escaped: bool,
}

/// The text is not JSON, or not the value that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Malformed {
    pub at: usize,
    pub what: &'static str,
}

impl<'a> Scanner<'a> {
    pub fn new(bytes: &'a [u8]) -> Scanner<'a> {
        Scanner { bytes, at: 0, depth: 0, seen: [0; CHUNK], escaped: false }
    }

    /// How many bytes were passed.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The first byte of what comes next, white space passed; `None` at the end.
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                // Nearly always: white space between tokens is rare.
                Some(byte) if *byte > b' ' => return Some(*byte),
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Steps into an object; true when it has a member.
    pub fn enter_object(&mut self) -> Result<bool, Malformed> {
        self.enter(b'{', b'}', "an object was due")
    }

    /// Steps into an array; true when it has an element.
    pub fn enter_array(&mut self) -> Result<bool, Malformed> {
        self.enter(b'[', b']', "an array was due")
    }

    /// After a member's value: true when another member follows, false when the object ended.
    pub fn next_member(&mut self) -> Result<bool, Malformed> {
        self.next(b'}', "a comma or the end of the object was due")
    }

    /// After an element: true when another one follows, false when the array ended.
    pub fn next_element(&mut self) -> Result<bool, Malformed> {
        self.next(b']', "a comma or the end of the array was due")
    }

    /// A member's name as it is spelt, colon passed. Compare it with [`is_name`].
    pub fn name(&mut self) -> Result<&'a [u8], Malformed> {
        let name = self.string()?;
        if self.peek() != Some(b':') {
            return Err(self.malformed("a colon was due"));
        }
        self.at += 1;
        Ok(name)
    }

    /// Whether `spelt`, the name that was passed last, is this one: [`is_name`] that mostly need not
    /// look for escapes.
    pub fn is_last_name(&self, spelt: &[u8], name: &str) -> bool {
        if self.escaped { is_name(spelt, name) } else { spelt == name.as_bytes() }
    }

    /// Whether the name that was passed last is spelt as it is read.
    pub fn last_name_is_plain(&self) -> bool {
        !self.escaped
    }

    /// Whether everything that was passed is ASCII, so that nobody need look whether it is UTF-8.
    /// False too where it is and what comes next is not.
    pub fn saw_only_ascii(&self) -> bool {
        self.seen.is_ascii()
    }

    /// Passes one value, whatever it is, and gives its bytes.
    pub fn value(&mut self) -> Result<&'a [u8], Malformed> {
        let first = self.peek();
        let start = self.at;
        match first {
            Some(b'"') => {
                self.text()?;
            }
            Some(b'{') => {
                let mut more = self.enter_object()?;
                while more {
                    self.name()?;
                    self.value()?;
                    more = self.next_member()?;
                }
            }
            Some(b'[') => {
                let mut more = self.enter_array()?;
                while more {
                    self.value()?;
                    more = self.next_element()?;
                }
            }
            Some(b't') => self.word(b"true")?,
            Some(b'f') => self.word(b"false")?,
            Some(b'n') => self.word(b"null")?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(_) => return Err(self.malformed("a value was due")),
            None => return Err(self.malformed("the text ends where a value was due")),
        }
        Ok(&self.bytes[start..self.at])
    }

    /// Passes one value and keeps it when it is a scalar other than null.
    pub fn scalar(&mut self) -> Result<Option<KeyText>, Malformed> {
        let value = self.value()?;
        Ok(std::str::from_utf8(value).ok().and_then(KeyText::from_json))
    }

    /// Nothing but white space is left.
    pub fn end(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.malformed("something follows the end")),
        }
    }

    fn enter(&mut self, open: u8, close: u8, due: &'static str) -> Result<bool, Malformed> {
        if self.peek() != Some(open) {
            return Err(self.malformed(due));
        }
        if self.depth == MAX_DEPTH {
            return Err(self.malformed("nested too deeply"));
        }
        self.at += 1;
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(false);
        }
        self.depth += 1;
        Ok(true)
    }

    fn next(&mut self, close: u8, due: &'static str) -> Result<bool, Malformed> {
        let found = self.peek();
        if found == Some(b',') {
            self.at += 1;
            return Ok(true);
        }
        if found != Some(close) {
            return Err(self.malformed(due));
        }
        self.at += 1;
        self.depth = self.depth.saturating_sub(1);
        Ok(false)
    }

    /// The bytes between the quotes, escapes as they are.
    fn string(&mut self) -> Result<&'a [u8], Malformed> {
        if self.peek() != Some(b'"') {
            return Err(self.malformed("a name in quotes was due"));
        }
        self.text()
    }

    /// The same of a text whose first quote is what comes next.
    fn text(&mut self) -> Result<&'a [u8], Malformed> {
        self.at += 1;
        self.escaped = false;
        let start = self.at;
        loop {
            self.pass_plain();
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.bytes[start..self.at - 1]);
                }
                Some(b'\\') => {
                    self.escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.malformed("a bare control character in a text")),
                None => return Err(self.malformed("the text ends within quotes")),
            }
        }
    }

    /// Passes the plain part of a text, up to a quote, an escape or a control character. That is
    /// what reading a body costs.
    fn pass_plain(&mut self) {
        while let Some(chunk) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk::<CHUNK>) {
            for (seen, byte) in self.seen.iter_mut().zip(chunk) {
                *seen |= byte;
            }
            let ends = ends_plain(chunk);
            if ends != 0 {
                self.at += ends.trailing_zeros() as usize / 8;
                return;
            }
            self.at += CHUNK;
        }
        while let Some(byte) = self.bytes.get(self.at).filter(|byte| !is_end_of_plain(**byte)) {
            self.seen[0] |= byte;
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        let length = match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 2..self.at + 6);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return Err(self.malformed("an escape that is none"));
                }
                6
            }
            Some(_) | None => return Err(self.malformed("an escape that is none")),
        };
        self.at += length;
        Ok(())
    }

    fn word(&mut self, word: &'static [u8]) -> Result<(), Malformed> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.malformed("a value was due"));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Malformed> {
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { Err(self.malformed("a digit was due")) } else { Ok(()) }
    }

    fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }
}

/// All bits of every byte at which the plain part of a text ends. Written so that the compiler makes
/// a handful of instructions of it that look at all bytes together; that it does so is what
/// `make test-instructions` watches.
fn ends_plain(chunk: &[u8; CHUNK]) -> u128 {
    let ends = std::array::from_fn(|at| u8::from(is_end_of_plain(chunk[at])).wrapping_neg());
    u128::from_le_bytes(ends)
}

/// Quote, escape, control characters.
fn is_end_of_plain(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// Whether a name as it is spelt is this one: escapes are read, case counts.
pub fn is_name(spelt: &[u8], name: &str) -> bool {
    if !spelt.contains(&b'\\') {
        return spelt == name.as_bytes();
    }
    unescaped(spelt).is_some_and(|read| read == name)
}

/// A name with its escapes read; `None` when it is no text.
pub fn unescaped(spelt: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(spelt).ok()?;
    if !spelt.contains(&b'\\') {
        return Some(Cow::Borrowed(text));
    }
    serde_json::from_str(&format!("\"{text}\"")).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accepts(text: &[u8]) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.value().and_then(|_| scanner.end()).is_ok()
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":}",
            "{\"a\" 1}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "1e",
            "-",
            "tru",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"a\nb\"",
            "[1 2]",
            "{\"a\":1,}",
            "1 2",
            "\"abc",
            "nul",
        ] {
            assert!(!accepts(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn nesting_without_end_is_refused_and_not_a_crash() {
        assert!(accepts(format!("{}{}", "[".repeat(128), "]".repeat(128)).as_bytes()));
        assert!(!accepts(format!("{}{}", "[".repeat(130), "]".repeat(130)).as_bytes()));
        assert!(!accepts("[".repeat(1_000_000).as_bytes()));
    }

    #[test]
    fn a_name_is_itself_however_it_is_escaped() {
        assert!(is_name(br"\u0069d", "id"));
        assert!(is_name(b"id", "id"));
        assert!(!is_name(b"Id", "id"));
        assert!(!is_name(br"\u0069", "id"));
    }

    #[test]
    fn a_text_ends_at_its_quote_wherever_that_stands() {
        for length in 0..40 {
            for byte in [b'"', b'\\', 0x1f, 0x20, b'a', 0x7f, 0x80, 0xff] {
                let mut text = vec![b'x'; length];
                text.push(byte);
                text.extend_from_slice(b"n\"yyyyyyyyyyy\"");
                let mut scanner = Scanner::new(&text);
                scanner.pass_plain();

                let ends = matches!(byte, b'"' | b'\\' | 0x1f);
                assert_eq!(scanner.position(), if ends { length } else { length + 2 }, "{byte}");
            }
        }
    }

    #[test]
    fn what_is_not_ascii_is_seen_wherever_it_stands() {
        for length in 0..20 {
            let ascii = format!("\"{}\"", "x".repeat(length));
            let other = format!("\"{}\u{e9}\"", "x".repeat(length));
            let (mut plain, mut accented) =
                (Scanner::new(ascii.as_bytes()), Scanner::new(other.as_bytes()));
            plain.value().unwrap();
            accented.value().unwrap();

            assert!(plain.saw_only_ascii());
            assert!(!accented.saw_only_ascii(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn accepts_exactly_what_a_parser_accepts(text in r#"[\[\]{}:, "a\\u0-9.eE+\-truefalsn]{0,24}"#) {
            let parsed = serde_json::from_str::<Box<serde_json::value::RawValue>>(&text).is_ok();

            prop_assert_eq!(accepts(text.as_bytes()), parsed);
        }
    }
}
