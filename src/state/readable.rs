//! Records that are read to their end and not kept: whether they can be read is all that is asked.
//!
//! The one thing to know: what is refused here is what the record's own type refuses, and nothing
//! else (I3). A record has its like here only where building it takes most of an opening.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::domain::ChangeVersion;

/// As [`super::Coverage`], with a member for each of its members.
#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "its members are read so that it is known that they can be")]
pub(super) struct ReadableCoverage {
    spoken_for: Texts,
    left: Named<ChangeVersion>,
    #[serde(default)]
    begun: Named<ChangeVersion>,
    #[serde(default)]
    organizations: Option<Named<Texts>>,
}

/// A text, whatever it says.
struct Text;

/// A list of texts.
struct Texts;

/// Members with texts for names, each with a `V`.
struct Named<V>(PhantomData<V>);

impl<V> Default for Named<V> {
    fn default() -> Named<V> {
        Named(PhantomData)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

impl Visitor<'_> for Text {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, _: &str) -> Result<Text, E> {
        Ok(Text)
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Texts, D::Error> {
        deserializer.deserialize_seq(Texts)
    }
}

impl<'de> Visitor<'de> for Texts {
    type Value = Texts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut texts: A) -> Result<Texts, A::Error> {
        while texts.next_element::<Text>()?.is_some() {}
        Ok(Texts)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Named<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Named<V>, D::Error> {
        deserializer.deserialize_map(Named(PhantomData))
    }
}

impl<'de, V: Deserialize<'de>> Visitor<'de> for Named<V> {
    type Value = Named<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("members by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Named<V>, A::Error> {
        while members.next_entry::<Text, V>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::codec::{Kind, OLDEST, encode};
    use super::super::{Coverage, migrate};
    use crate::domain::{ChangeVersion, Organizations, ResourcePath};

    fn coverage() -> Coverage {
        let resource = |text: &str| ResourcePath::parse(text).unwrap();
        let (students, schools) = (resource("/ed-fi/students"), resource("/ed-fi/schools"));
        let mut organizations = Organizations::default();
        organizations.add(&schools, "255901001");
        Coverage {
            spoken_for: [students.clone(), schools.clone()].into(),
            left: [(schools, ChangeVersion(7))].into(),
            begun: [(students, ChangeVersion(12))].into(),
            organizations: Some(organizations),
        }
    }

    /// What can and cannot be read of the record is what its own type says of it.
    fn assert_told_alike(bytes: &[u8]) {
        let built = migrate::record(Kind::Coverage, bytes).map(drop);
        let read = migrate::readable(Kind::Coverage, bytes);

        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(read.is_ok(), built.is_ok(), "{shown}: {read:?}, and built: {built:?}");
    }

    #[test]
    fn what_is_read_without_being_kept_is_refused_where_its_own_type_refuses_it() {
        let whole = encode(&coverage()).unwrap();

        assert!(migrate::readable(Kind::Coverage, &whole).is_ok());
        for end in 0..whole.len() {
            assert_told_alike(&whole[..end]);
        }
        for at in 0..whole.len() {
            for damage in *b"\0\xff\"\\{}[],:-0aen " {
                let mut damaged = whole.clone();
                damaged[at] = damage;
                assert_told_alike(&damaged);
            }
        }
    }

    #[test]
    fn members_that_are_missing_or_of_another_kind_are_told_alike() {
        let of_none = r#"{"spoken_for":[],"left":{}}"#;
        for (json, is_whole) in [
            (of_none, true),
            (r#"{"spoken_for":[],"left":{},"organizations":null}"#, true),
            (r#"{"spoken_for":["a\nb","\ud83d\ude00"],"left":{"c\td":1},"more":[{}]}"#, true),
            (r#"[["a"],{"b":1},{},{"c":["d"]}]"#, true),
            (r#"{"left":{}}"#, false),
            (r#"{"spoken_for":[]}"#, false),
            (r#"{"spoken_for":[],"left":{},"left":{}}"#, false),
            (r#"{"spoken_for":[1],"left":{}}"#, false),
            (r#"{"spoken_for":{},"left":{}}"#, false),
            (r#"{"spoken_for":["\ud83d"],"left":{}}"#, false),
            (r#"{"spoken_for":[],"left":{"a":"1"}}"#, false),
            (r#"{"spoken_for":[],"left":{"a":9223372036854775808}}"#, false),
            (r#"{"spoken_for":[],"left":{},"begun":null}"#, false),
            (r#"{"spoken_for":[],"left":{},"organizations":{"a":[1]}}"#, false),
            (r#"{"spoken_for":[],"left":{}} x"#, false),
        ] {
            let bytes = [&[OLDEST], json.as_bytes()].concat();

            assert_told_alike(&bytes);
            assert_eq!(migrate::readable(Kind::Coverage, &bytes).is_ok(), is_whole, "{json}");
        }
    }
}
