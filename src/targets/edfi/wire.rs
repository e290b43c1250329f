//! Bodies on their way to a target, and the small things that its answers tell.

use std::cell::Cell;

use bytes::{Bytes, BytesMut};

use crate::domain::scan::{Malformed, Scanner, unescaped};
use crate::domain::{Body, ChangeVersion, KeyText, ResourcePath, TargetId};

use super::quick;

/// Cuts out of a body what a target must not see, at every depth: `id`, `_etag`,
/// `_lastModifiedDate`, the `link` of references and, at the root of a descriptor, its surrogate
/// id. All other bytes stay as they are. One pass; a body with nothing to cut is not copied.
///
/// # Errors
/// The body is not one JSON object in UTF-8.
pub fn cut(resource: &ResourcePath, body: &Body) -> Result<Bytes, Malformed> {
    let surrogate = resource.is_descriptor().then(|| {
        let collection = resource.collection();
        format!("{}Id", collection.strip_suffix('s').unwrap_or(collection))
    });
    let mut cutter = Cutter {
        body: body.bytes(),
        scanner: Scanner::new(body.bytes()),
        kept: BytesMut::new(),
        from: 0,
        surrogate: surrogate.as_deref(),
    };
    cutter.object(Place::Root)?;
    cutter.scanner.end()?;
    if !cutter.scanner.saw_only_ascii()
        && let Err(error) = std::str::from_utf8(body.bytes())
    {
        return Err(Malformed { at: error.valid_up_to(), what: "invalid UTF-8" });
    }
    if cutter.from == 0 {
        return Ok(body.0.clone());
    }
    cutter.keep_until(body.len());
    let cut = cutter.kept.split().freeze();
    BLOCK.set(cutter.kept);
    Ok(cut)
}

/// The same for a body that a page reader has looked through already: mostly it need not be read once
/// more.
///
/// # Errors
/// As [`cut`], where the body has to be read.
pub fn cut_what_was_read(resource: &ResourcePath, body: &Body) -> Result<Bytes, Malformed> {
    let Some(mut kept) = quick::cut(resource, body, room_for) else { return cut(resource, body) };
    if kept.len() == body.len() {
        kept.clear();
        BLOCK.set(kept);
        return Ok(body.0.clone());
    }
    let cut = kept.split().freeze();
    BLOCK.set(kept);
    Ok(cut)
}

/// What is cut out of bodies is kept in blocks of so many bytes, several bodies in one: bodies are of
/// the sizes that take an allocator longest, and one thread cuts many of them one after the other.
const BLOCK_BYTES: usize = 32 << 10;

thread_local! {
    /// The rest of this thread's last block.
    static BLOCK: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// Room for so many bytes.
fn room_for(bytes: usize) -> BytesMut {
    let rest = BLOCK.take();
    if rest.capacity() >= bytes { rest } else { BytesMut::with_capacity(bytes.max(BLOCK_BYTES)) }
}

/// Where an object stands, as far as it decides what is cut out of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Reference,
    Elsewhere,
}

struct Cutter<'a> {
    body: &'a [u8],
    scanner: Scanner<'a>,
    kept: BytesMut,
    /// Where the bytes begin that are neither kept nor cut yet.
    from: usize,
    surrogate: Option<&'a str>,
}

impl Cutter<'_> {
    fn object(&mut self, place: Place) -> Result<(), Malformed> {
        let mut more = self.scanner.enter_object()?;
        let mut comma = None;
        let mut kept_one = false;
        while more {
            let start = self.scanner.position();
            let name = self.scanner.name()?;
            if self.is_cut(name, place) {
                self.scanner.value()?;
                let end = self.scanner.position();
                more = self.scanner.next_member()?;
                match comma {
                    // The comma before goes along, the one behind becomes the one before.
                    Some(comma) if kept_one => self.cut_out(comma, end),
                    _ if more => self.cut_out(start, self.scanner.position()),
                    _ => self.cut_out(start, end),
                }
            } else {
                kept_one = true;
                let within =
                    if name.ends_with(b"Reference") { Place::Reference } else { Place::Elsewhere };
                self.value(within)?;
                more = self.scanner.next_member()?;
            }
            comma = Some(self.scanner.position() - 1);
        }
        Ok(())
    }

    fn value(&mut self, place: Place) -> Result<(), Malformed> {
        match self.scanner.peek() {
            Some(b'{') => self.object(place),
            Some(b'[') => {
                let mut more = self.scanner.enter_array()?;
                while more {
                    self.value(place)?;
                    more = self.scanner.next_element()?;
                }
                Ok(())
            }
            _ => self.scanner.value().map(|_| ()),
        }
    }

    fn is_cut(&mut self, spelt: &[u8], place: Place) -> bool {
        if self.scanner.last_name_is_plain() {
            return self.is_name_cut(spelt, place);
        }
        unescaped(spelt).is_some_and(|name| self.is_name_cut(name.as_bytes(), place))
    }

    fn is_name_cut(&mut self, name: &[u8], place: Place) -> bool {
        match name {
            b"id" | b"_etag" | b"_lastModifiedDate" => true,
            // Elsewhere than in a reference it is the server's if it is an object; a text of that
            // name is somebody's data.
            b"link" => place == Place::Reference || self.scanner.peek() == Some(b'{'),
            name => {
                let is_own = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
                place == Place::Root && self.surrogate.is_some_and(is_own)
            }
        }
    }

    fn cut_out(&mut self, start: usize, end: usize) {
        self.keep_until(start);
        self.from = end;
    }

    fn keep_until(&mut self, end: usize) {
        if self.kept.capacity() == 0 {
            self.kept = room_for(self.body.len());
        }
        self.kept.extend_from_slice(&self.body[self.from..end]);
    }
}

/// A body that [`cut`] has left, with the target's own id as its first member.
pub(super) fn naming(id: &TargetId, body: &Bytes) -> Bytes {
    let start = body.iter().position(|byte| *byte == b'{').map_or(0, |at| at + 1);
    let members = body[start..].trim_ascii_start();
    let comma = if members.starts_with(b"}") { "" } else { "," };
    let first = format!("{{\"id\":{}{comma}", serde_json::Value::from(id.0.as_str()));
    let mut named = first.into_bytes();
    named.extend_from_slice(members);
    Bytes::from(named)
}

/// The id at the end of a `Location`.
pub(super) fn id_of_location(location: &str) -> Option<TargetId> {
    let path = memchr::memchr2(b'?', b'#', location.as_bytes());
    let path = path.map_or(location, |end| &location[..end]).trim_end_matches('/');
    let id = &path[memchr::memrchr(b'/', path.as_bytes()).filter(|at| *at > 0)? + 1..];
    let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_id.then(|| TargetId(id.to_owned()))
}

/// `newestChangeVersion`, in whichever case the host spells it (`edfi-wire §3`).
pub(super) fn newest_change_version(body: &[u8]) -> Result<ChangeVersion, String> {
    let mut scanner = Scanner::new(body);
    let newest = read_newest(&mut scanner).ok().flatten();
    let newest = newest.and_then(|text| text.as_str().parse().ok());
    newest.map(ChangeVersion).ok_or_else(|| "the answer has no `newestChangeVersion`".to_owned())
}

fn read_newest(scanner: &mut Scanner<'_>) -> Result<Option<KeyText>, Malformed> {
    let mut newest = None;
    let mut more = scanner.enter_object()?;
    while more {
        if scanner.name()?.eq_ignore_ascii_case(b"newestChangeVersion") {
            newest = scanner.scalar()?;
        } else {
            scanner.value()?;
        }
        more = scanner.next_member()?;
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const CUT: [&str; 3] = ["id", "_etag", "_lastModifiedDate"];

    fn resource(name: &str) -> ResourcePath {
        ResourcePath::parse(&format!("/ed-fi/{name}")).unwrap()
    }

    /// Read or not, the same is left.
    fn cut_text(name: &str, text: &str) -> String {
        let body = Body(Bytes::copy_from_slice(text.as_bytes()));
        let cut = cut(&resource(name), &body).unwrap();
        assert_eq!(cut_what_was_read(&resource(name), &body).unwrap(), cut, "{text}");
        String::from_utf8(cut.to_vec()).unwrap()
    }

    #[test]
    fn what_a_target_must_not_see_is_cut_and_every_other_byte_stays() {
        for (case, body, left) in [
            ("the first", r#"{"id":"x","a":1}"#, r#"{"a":1}"#),
            ("the last", r#"{"a":1,"_etag":"x"}"#, r#"{"a":1}"#),
            ("the only one", r#"{"id":"x"}"#, "{}"),
            ("all of them", r#"{"id":1,"_etag":{"id":2},"_lastModifiedDate":[3]}"#, "{}"),
            ("in the middle", r#"{"a":1,"id":"x","b":2}"#, r#"{"a":1,"b":2}"#),
            ("around", r#"{"id":"x","a":1,"_etag":"y"}"#, r#"{"a":1}"#),
            ("twice", r#"{"a":1,"id":1,"id":2,"b":2,"id":3}"#, r#"{"a":1,"b":2}"#),
            ("space", "{ \"id\" : 1 ,\n  \"a\" : 1.10 , \"_etag\":2 }", "{ \n  \"a\" : 1.10  }"),
            ("escaped", r#"{"\u0069d":1,"a":"\u0041"}"#, r#"{"a":"\u0041"}"#),
            (
                "deep down",
                r#"{"a":[{"b":{"id":1,"c":[{"_etag":2,"d":3}]}}]}"#,
                r#"{"a":[{"b":{"c":[{"d":3}]}}]}"#,
            ),
            (
                "links",
                r#"{"schoolReference":{"schoolId":1,"link":{"rel":"School","href":"/x"}},"xs":[{"yReference":{"link":null,"z":2}}]}"#,
                r#"{"schoolReference":{"schoolId":1},"xs":[{"yReference":{"z":2}}]}"#,
            ),
            (
                "a link that is data",
                r#"{"_ext":{"s":{"link":"http://a"}}}"#,
                r#"{"_ext":{"s":{"link":"http://a"}}}"#,
            ),
            ("other case", r#"{"Id":1,"ID":2,"studentId":3}"#, r#"{"Id":1,"ID":2,"studentId":3}"#),
            (
                "numbers",
                r#"{"a":74.0,"b":1e5,"c":9007199254740993}"#,
                r#"{"a":74.0,"b":1e5,"c":9007199254740993}"#,
            ),
            ("empty", "{}", "{}"),
            (
                "a text that names names",
                r#"{"a":"say \"id\": 1","b":["id","_etag"],"c":"link","\"id":2,"d":"{\"link\":{}}"}"#,
                r#"{"a":"say \"id\": 1","b":["id","_etag"],"c":"link","\"id":2,"d":"{\"link\":{}}"}"#,
            ),
            ("escapes", r#"{"a":"\u00e9\u003C\\","id":"\\"}"#, r#"{"a":"\u00e9\u003C\\"}"#),
            ("hidden", r#"{"a":{"\u006cink":{}},"_e\u0074ag":1}"#, r#"{"a":{}}"#),
        ] {
            assert_eq!(cut_text("students", body), left, "{case}");
        }
    }

    #[test]
    fn a_name_is_found_wherever_it_stands() {
        for length in 0..40 {
            let filling = "x".repeat(length);
            for (body, left) in [
                (format!(r#"{{"a":"{filling}","id":1}}"#), format!(r#"{{"a":"{filling}"}}"#)),
                (format!(r#"{{"_etag":"{filling}","b":2}}"#), r#"{"b":2}"#.to_owned()),
                (
                    format!(r#"{{"a":"{filling}\"id","link":{{}}}}"#),
                    format!(r#"{{"a":"{filling}\"id"}}"#),
                ),
            ] {
                assert_eq!(cut_text("students", &body), left);
            }
        }
    }

    #[test]
    fn a_body_is_named_by_the_targets_id_and_nothing_else_of_it_changes() {
        for (body, named) in [
            (r#"{"a":1.10,"b":{"c":2}}"#, r#"{"id":"x\"1","a":1.10,"b":{"c":2}}"#),
            ("{}", r#"{"id":"x\"1"}"#),
            (" { \n} ", "{\"id\":\"x\\\"1\"} "),
        ] {
            let named_body =
                naming(&TargetId("x\"1".to_owned()), &Bytes::from_static(body.as_bytes()));

            assert_eq!(named_body, named, "{body}");
        }
    }

    #[test]
    fn a_descriptors_own_surrogate_id_is_cut_and_only_at_its_root() {
        let body = r#"{"academicSubjectDescriptorId":7,"codeValue":"x","n":{"academicSubjectDescriptorId":8},"termDescriptorId":9}"#;

        assert_eq!(
            cut_text("academicSubjectDescriptors", body),
            r#"{"codeValue":"x","n":{"academicSubjectDescriptorId":8},"termDescriptorId":9}"#
        );
        assert_eq!(cut_text("students", body), body);
    }

    #[test]
    fn a_body_with_nothing_to_cut_is_not_copied() {
        let body = Body(Bytes::from_static(b"{\"a\":{\"b\":[1,2]}}"));

        let cut = cut(&resource("students"), &body).unwrap();

        assert_eq!(cut.as_ptr(), body.0.as_ptr());
    }

    #[test]
    fn what_is_not_one_object_is_an_error() {
        for body in [&b"[]"[..], b"", b"{} {}", b"{\"a\":1", b"\"id\"", b"{\"a\":\"\xff\"}"] {
            let body = Body(Bytes::copy_from_slice(body));

            assert!(cut(&resource("students"), &body).is_err());
        }
    }

    #[test]
    fn an_id_is_read_off_a_location_and_nothing_else() {
        for (location, id) in [
            ("https://h/data/v3/ed-fi/students/ab12", Some("ab12")),
            ("/data/v3/ed-fi/students/ab12/", Some("ab12")),
            ("https://h/x/7ffb4dbe-7d7e-4ab2?y=z", Some("7ffb4dbe-7d7e-4ab2")),
            ("", None),
            ("ab12", None),
            ("https://h/x/a b", None),
        ] {
            assert_eq!(id_of_location(location).map(|id| id.0).as_deref(), id, "{location}");
        }
    }

    #[test]
    fn the_newest_version_is_read_in_either_case() {
        for (body, newest) in [
            (r#"{"oldestChangeVersion":0,"newestChangeVersion":1234}"#, Some(1234)),
            (r#"{"OldestChangeVersion":0,"NewestChangeVersion":1234}"#, Some(1234)),
            (r#"{"newestChangeVersion":"12"}"#, Some(12)),
            (r#"{"newestChangeVersion":null}"#, None),
            ("<html>", None),
            ("", None),
        ] {
            let read = newest_change_version(body.as_bytes()).ok();

            assert_eq!(read, newest.map(ChangeVersion), "{body}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let names = prop_oneof![
            Just("id".to_owned()),
            Just("_etag".to_owned()),
            Just("_lastModifiedDate".to_owned()),
            Just("link".to_owned()),
            Just("aReference".to_owned()),
            "[a-z\"\\\\é]{0,4}",
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((names.clone(), inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The plain way to say what [`cut`] does.
    fn without(value: &Value, in_reference: bool) -> Value {
        match value {
            Value::Array(items) => items.iter().map(|item| without(item, in_reference)).collect(),
            Value::Object(members) => {
                let is_cut = |name: &str, value: &Value| {
                    CUT.contains(&name) || name == "link" && (in_reference || value.is_object())
                };
                let kept = members.iter().filter(|(name, value)| !is_cut(name, value));
                let kept =
                    kept.map(|(name, v)| (name.clone(), without(v, name.ends_with("Reference"))));
                Value::Object(kept.collect())
            }
            scalar => scalar.clone(),
        }
    }

    proptest! {
        #[test]
        fn what_is_left_is_the_body_without_those_members(value in any_json(), pretty: bool) {
            let value = serde_json::json!({"id": "x", "root": value, "link": "kept"});
            let text = match pretty {
                true => serde_json::to_string_pretty(&value).unwrap(),
                false => value.to_string(),
            };

            let left: Value = serde_json::from_str(&cut_text("students", &text)).unwrap();

            prop_assert_eq!(left, without(&value, false));
        }

        #[test]
        fn texts_of_numbers_survive(number in r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?") {
            let text = format!("{{\"id\":1,\"a\":[{number}],\"b\":{number}}}");

            prop_assert_eq!(cut_text("students", &text), format!("{{\"a\":[{number}],\"b\":{number}}}"));
        }

        #[test]
        fn arbitrary_bytes_are_a_body_or_an_error_and_never_a_crash(bytes: Vec<u8>) {
            let _ = cut(&resource("students"), &Body(Bytes::from(bytes.clone())));
            let _ = newest_change_version(&bytes);
        }

        #[test]
        fn almost_json_is_a_body_or_an_error_and_never_a_crash(text in r#"\{["ida:,\[\]{} link1_etag\\]{0,30}\}?"#) {
            let _ = cut(&resource("termDescriptors"), &Body(Bytes::from(text)));
        }
    }
}
