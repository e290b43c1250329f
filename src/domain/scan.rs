//! Where the values of a JSON text begin and end, and nothing more: no value is ever built.
//!
//! Bodies are bytes and stay bytes; what has to look into one steps through it with a [`Scanner`].
//! The one thing to know: it is as strict as the grammar (RFC 8259), so that what it accepts any
//! parser accepts, but for UTF-8, which whoever received the bytes checks once for all of them.

use std::borrow::Cow;

use wide::u8x16;

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
    texts: Texts,
}

/// What is known of the texts that were passed.
#[derive(Clone, Copy, Debug, Default)]
struct Texts {
    /// One bit for each place in a chunk at which a byte was not ASCII.
    beyond_ascii: u32,
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
        Scanner { bytes, at: 0, depth: 0, texts: Texts::default() }
    }

    /// How many bytes were passed.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The first byte of what comes next, white space passed; `None` at the end.
    pub fn peek(&mut self) -> Option<u8> {
        let (found, at) = after_space(self.bytes, self.at);
        self.at = at;
        found
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
        let start = after_space(self.bytes, self.at).1;
        let name = name(self.bytes, start, &mut self.texts)?;
        self.at = name.value;
        Ok(&self.bytes[start + 1..name.end - 1])
    }

    /// Whether `spelt`, the name that was passed last, is this one: [`is_name`] that mostly need not
    /// look for escapes.
    pub fn is_last_name(&self, spelt: &[u8], name: &str) -> bool {
        if self.texts.escaped { is_name(spelt, name) } else { spelt == name.as_bytes() }
    }

    /// Whether the name that was passed last is spelt as it is read.
    pub fn last_name_is_plain(&self) -> bool {
        !self.texts.escaped
    }

    /// Whether everything that was passed is ASCII, so that nobody need look whether it is UTF-8.
    /// False too where it is and what comes next is not.
    pub fn saw_only_ascii(&self) -> bool {
        self.texts.beyond_ascii == 0
    }

    /// Passes one value, whatever it is, and gives its bytes.
    pub fn value(&mut self) -> Result<&'a [u8], Malformed> {
        let start = after_space(self.bytes, self.at).1;
        self.at = value(self.bytes, start, MAX_DEPTH - self.depth, &mut self.texts)?;
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

    fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }
}

// What follows goes from place to place and keeps no scanner up to date on its way: a body is a hundred
// texts of a dozen bytes, and what is done for each of them is what reading costs.

/// Passes the value that begins here, with room for so many levels, and tells where it ends.
fn value(bytes: &[u8], start: usize, room: u32, texts: &mut Texts) -> Result<usize, Malformed> {
    let mut within = Levels::default();
    let mut at = start;
    loop {
        let (first, here) = after_space(bytes, at);
        at = match first {
            Some(b'"') => text(bytes, here, texts)?,
            Some(open @ (b'{' | b'[')) => {
                if within.depth == room {
                    return Err(Malformed { at: here, what: "nested too deeply" });
                }
                let is_object = open == b'{';
                let (first, inside) = after_space(bytes, here + 1);
                if first != Some(closing(is_object)) {
                    within.enter(is_object);
                    at = match is_object {
                        true => name(bytes, inside, texts)?.value,
                        false => inside,
                    };
                    continue;
                }
                inside + 1
            }
            Some(b't') => word(bytes, here, b"true")?,
            Some(b'f') => word(bytes, here, b"false")?,
            Some(b'n') => word(bytes, here, b"null")?,
            Some(b'-' | b'0'..=b'9') => number(bytes, here)?,
            Some(_) => return Err(Malformed { at: here, what: "a value was due" }),
            None => {
                return Err(Malformed { at: here, what: "the text ends where a value was due" });
            }
        };
        match next_within(bytes, at, &mut within, texts)? {
            Next::Value(begins) => at = begins,
            Next::End(end) => return Ok(end),
        }
    }
}

enum Next {
    Value(usize),
    End(usize),
}

/// After a value: where the next one begins, or where the outermost ended.
#[inline]
fn next_within(
    bytes: &[u8],
    mut at: usize,
    within: &mut Levels,
    texts: &mut Texts,
) -> Result<Next, Malformed> {
    while within.depth > 0 {
        let is_object = within.is_object();
        let (found, here) = after_space(bytes, at);
        if found == Some(b',') {
            let begins = match is_object {
                true => name(bytes, after_space(bytes, here + 1).1, texts)?.value,
                false => here + 1,
            };
            return Ok(Next::Value(begins));
        }
        if found != Some(closing(is_object)) {
            let what = match is_object {
                true => "a comma or the end of the object was due",
                false => "a comma or the end of the array was due",
            };
            return Err(Malformed { at: here, what });
        }
        within.leave();
        at = here + 1;
    }
    Ok(Next::End(at))
}

/// Which of the levels around a place are objects, the innermost last.
#[derive(Default)]
struct Levels {
    objects: u128,
    depth: u32,
}

const _: () = assert!(MAX_DEPTH <= u128::BITS);

impl Levels {
    fn enter(&mut self, is_object: bool) {
        self.objects = self.objects << 1 | u128::from(is_object);
        self.depth += 1;
    }

    fn leave(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
    }

    fn is_object(&self) -> bool {
        self.objects & 1 == 1
    }
}

fn closing(is_object: bool) -> u8 {
    if is_object { b'}' } else { b']' }
}

/// The byte that comes next, white space passed, and where it stands.
#[inline(always)]
fn after_space(bytes: &[u8], mut at: usize) -> (Option<u8>, usize) {
    loop {
        match bytes.get(at) {
            // Nearly always: white space between tokens is rare.
            Some(byte) if *byte > b' ' => return (Some(*byte), at),
            Some(b' ' | b'\t' | b'\n' | b'\r') => at += 1,
            other => return (other.copied(), at),
        }
    }
}

/// A name that was passed: where its text ends, and where its value begins.
struct Name {
    end: usize,
    value: usize,
}

#[inline(always)]
fn name(bytes: &[u8], at: usize, texts: &mut Texts) -> Result<Name, Malformed> {
    if bytes.get(at) != Some(&b'"') {
        return Err(Malformed { at, what: "a name in quotes was due" });
    }
    let end = text(bytes, at, texts)?;
    let (found, colon) = after_space(bytes, end);
    if found != Some(b':') {
        return Err(Malformed { at: colon, what: "a colon was due" });
    }
    Ok(Name { end, value: colon + 1 })
}

/// Passes the text whose first quote stands here.
#[inline(always)]
fn text(bytes: &[u8], at: usize, texts: &mut Texts) -> Result<usize, Malformed> {
    texts.escaped = false;
    let ends = pass_plain(bytes, at + 1, texts);
    match bytes.get(ends) {
        Some(b'"') => Ok(ends + 1),
        _ => text_with_escapes(bytes, ends, texts),
    }
}

/// The rest of a text from the first place on that is not plain.
#[cold]
fn text_with_escapes(bytes: &[u8], mut at: usize, texts: &mut Texts) -> Result<usize, Malformed> {
    loop {
        at = match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => escape(bytes, at)?,
            Some(_) => return Err(Malformed { at, what: "a bare control character in a text" }),
            None => return Err(Malformed { at, what: "the text ends within quotes" }),
        };
        texts.escaped = true;
        at = pass_plain(bytes, at, texts);
    }
}

/// Passes the plain part of a text, up to a quote, an escape or a control character: sixteen bytes
/// at a time.
#[inline(always)]
fn pass_plain(bytes: &[u8], mut at: usize, texts: &mut Texts) -> usize {
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<CHUNK>) {
        let chunk = u8x16::from(*chunk);
        texts.beyond_ascii |= chunk.to_bitmask();
        let is_control = chunk.min(u8x16::splat(0x1f)).simd_eq(chunk);
        let is_quote = chunk.simd_eq(u8x16::splat(b'"'));
        let is_escape = chunk.simd_eq(u8x16::splat(b'\\'));
        let ends = (is_control | is_quote | is_escape).to_bitmask();
        if ends != 0 {
            return at + ends.trailing_zeros() as usize;
        }
        at += CHUNK;
    }
    while let Some(byte) = bytes.get(at).filter(|byte| !is_end_of_plain(**byte)) {
        texts.beyond_ascii |= u32::from(!byte.is_ascii());
        at += 1;
    }
    at
}

/// Quote, escape, control characters.
fn is_end_of_plain(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..0x20)
}

fn escape(bytes: &[u8], at: usize) -> Result<usize, Malformed> {
    let none = Malformed { at, what: "an escape that is none" };
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') => {
            let digits = bytes.get(at + 2..at + 6);
            let is_one = digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
            if is_one { Ok(at + 6) } else { Err(none) }
        }
        Some(_) | None => Err(none),
    }
}

fn word(bytes: &[u8], at: usize, word: &[u8]) -> Result<usize, Malformed> {
    if bytes[at..].starts_with(word) {
        return Ok(at + word.len());
    }
    Err(Malformed { at, what: "a value was due" })
}

fn number(bytes: &[u8], mut at: usize) -> Result<usize, Malformed> {
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = match bytes.get(at) {
        Some(b'0') => at + 1,
        _ => digits(bytes, at)?,
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits(bytes, at)?;
    }
    Ok(at)
}

fn digits(bytes: &[u8], start: usize) -> Result<usize, Malformed> {
    let mut at = start;
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at == start { Err(Malformed { at, what: "a digit was due" }) } else { Ok(at) }
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
                let passed = pass_plain(&text, 0, &mut Texts::default());

                let ends = matches!(byte, b'"' | b'\\' | 0x1f);
                assert_eq!(passed, if ends { length } else { length + 2 }, "{byte}");
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
