//! Things as items: bodies and keys, and what a vendor does with them at a source.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidemark::sandbox::{Database, Sandbox};

use super::history::{Step, Thing};
use crate::district;

/// Collections in which things live, dependencies first.
pub(crate) const COLLECTIONS: [&str; 10] = [
    "gradeLevelDescriptors",
    "classPeriods",
    "courses",
    "sessions",
    "courseOfferings",
    "sections",
    "students",
    "studentSchoolAssociations",
    "studentSectionAssociations",
    "learningStandards",
];

/// Published beside them: what stands above, and every resource whose key contains one of theirs,
/// without which no guard of R6 would allow a PUT.
pub(crate) const BESIDE: [&str; 8] = [
    "localEducationAgencies",
    "schools",
    "grades",
    "sectionAttendanceTakenEvents",
    "staffSectionAssociations",
    "studentSchoolAttendanceEvents",
    "studentSectionAttendanceEvents",
    "surveySectionAssociations",
];

/// Two of each list are one name to who forgives case.
const SESSIONS: [&str; 5] = ["Fall", "fall", "Spring", "Winter", "Summer"];
const PERIODS: [&str; 5] = ["First", "first", "Second", "Third", "Fourth"];
const SECTIONS: [&str; 5] = ["S1", "s1", "S2", "S3", "S4"];
const COURSES: [&str; 2] = ["ALG-1", "BIO-1"];

impl Thing {
    pub(crate) fn collection(self) -> &'static str {
        match self {
            Thing::GradeLevel(_) => "gradeLevelDescriptors",
            Thing::Period(_) => "classPeriods",
            Thing::Course(_) => "courses",
            Thing::Session(_) => "sessions",
            Thing::Offering(..) => "courseOfferings",
            Thing::Section(..) => "sections",
            Thing::Student(_) => "students",
            Thing::Enrolment(_) => "studentSchoolAssociations",
            Thing::Attends(..) => "studentSectionAssociations",
            Thing::Standard(_) => "learningStandards",
        }
    }

    pub(crate) fn path(self) -> String {
        format!("/ed-fi/{}", self.collection())
    }

    pub(crate) fn key(self) -> Value {
        match self {
            Thing::GradeLevel(n) => {
                json!({"namespace": "uri://ed-fi.org/GradeLevelDescriptor", "codeValue": grade(n)})
            }
            Thing::Period(n) => district::class_period_key(PERIODS[usize::from(n)]),
            Thing::Course(n) => {
                json!({"courseCode": COURSES[usize::from(n)], "educationOrganizationId": district::SCHOOL})
            }
            Thing::Session(n) => district::session_key(SESSIONS[usize::from(n)]),
            Thing::Offering(course, session) => {
                district::offering_key(COURSES[usize::from(course)], SESSIONS[usize::from(session)])
            }
            Thing::Section(n, course, session) => district::section_key(
                SECTIONS[usize::from(n)],
                COURSES[usize::from(course)],
                SESSIONS[usize::from(session)],
            ),
            Thing::Student(n) => district::student_key(&student(n)),
            Thing::Enrolment(n) => district::enrolment_key(&student(n)),
            Thing::Attends(..) => {
                let body = self.body(0);
                let mut key = body["sectionReference"].clone();
                key["studentUniqueId"] = body["studentReference"]["studentUniqueId"].clone();
                key["beginDate"] = body["beginDate"].clone();
                key
            }
            Thing::Standard(n) => json!({"learningStandardId": standard(n)}),
        }
    }

    /// What must be there before it.
    pub(crate) fn needs(self) -> Vec<Thing> {
        match self {
            Thing::Offering(course, session) => {
                vec![Thing::Course(course), Thing::Session(session)]
            }
            Thing::Section(_, course, session) => vec![Thing::Offering(course, session)],
            Thing::Enrolment(n) => vec![Thing::Student(n)],
            Thing::Attends(n, section, course, session) => {
                vec![Thing::Enrolment(n), Thing::Section(section, course, session)]
            }
            Thing::GradeLevel(_)
            | Thing::Period(_)
            | Thing::Course(_)
            | Thing::Session(_)
            | Thing::Student(_)
            | Thing::Standard(_) => Vec::new(),
        }
    }

    /// What this content refers to beside: a section its class period, a standard its parent and
    /// its grade level. Low numbers refer to nothing.
    pub(crate) fn refers_to(self, content: u8) -> Option<Thing> {
        match (self, content) {
            (Thing::Section(..), 4..=8) => Some(Thing::Period(content - 4)),
            (Thing::Standard(own), 4..=7) if content - 4 != own => {
                Some(Thing::Standard(content - 4))
            }
            (Thing::Standard(_), 8 | 9) => Some(Thing::GradeLevel(content - 8)),
            _ => None,
        }
    }

    fn body(self, content: u8) -> Value {
        let name = |names: &[&'static str], n: u8| names[usize::from(n)];
        match self {
            Thing::GradeLevel(n) => json!({
                "namespace": "uri://ed-fi.org/GradeLevelDescriptor",
                "codeValue": grade(n),
                "shortDescription": format!("Grade {content}"),
            }),
            Thing::Period(n) => {
                let mut body = district::class_period(name(&PERIODS, n));
                body["officialAttendancePeriod"] = json!(content % 2 == 1);
                body
            }
            Thing::Course(n) => {
                let mut body = district::course(name(&COURSES, n));
                body["courseTitle"] = json!(format!("Course, edition {content}"));
                body
            }
            Thing::Session(n) => {
                let mut body = district::session(name(&SESSIONS, n));
                body["totalInstructionalDays"] = json!(80 + content);
                body
            }
            Thing::Offering(course, session) => {
                let mut body = district::offering(name(&COURSES, course), name(&SESSIONS, session));
                body["localCourseTitle"] = json!(format!("Edition {content}"));
                body
            }
            Thing::Section(n, course, session) => {
                let (course, session) = (name(&COURSES, course), name(&SESSIONS, session));
                let mut body = district::section(name(&SECTIONS, n), course, session);
                body["sectionName"] = json!(format!("Edition {content}"));
                if let Some(period) = self.refers_to(content) {
                    body["classPeriods"] = json!([{"classPeriodReference": period.key()}]);
                }
                body
            }
            Thing::Student(n) => {
                let mut body = district::student(&student(n));
                body["firstName"] = json!(format!("Edition {content}"));
                body
            }
            Thing::Enrolment(n) => {
                let mut body = district::enrolment(&student(n));
                body["primarySchool"] = json!(content % 2 == 1);
                body
            }
            Thing::Attends(n, section, course, session) => {
                let (course, session) = (name(&COURSES, course), name(&SESSIONS, session));
                let mut body =
                    district::attends(&student(n), name(&SECTIONS, section), course, session);
                body["homeroomIndicator"] = json!(content % 2 == 1);
                body
            }
            Thing::Standard(n) => {
                let parent = match self.refers_to(content) {
                    Some(Thing::Standard(parent)) => Some(standard(parent)),
                    _ => None,
                };
                let mut body = district::standard(&standard(n), parent.as_deref());
                body["description"] = json!(format!("Edition {content}"));
                if let Some(Thing::GradeLevel(level)) = self.refers_to(content) {
                    body["gradeLevels"] = json!([{"gradeLevelDescriptor": grade_uri(level)}]);
                }
                body
            }
        }
    }
}

fn student(n: u8) -> String {
    format!("70{n}")
}

fn standard(n: u8) -> String {
    format!("STD-{n}")
}

fn grade(n: u8) -> String {
    format!("Custom {n}")
}

fn grade_uri(n: u8) -> String {
    format!("uri://ed-fi.org/GradeLevelDescriptor#{}", grade(n))
}

/// Does one step to a source. What its rules refuse does not happen, and that is part of the
/// history too.
pub(crate) fn edit(source: &Database, step: &Step) {
    match step {
        Step::Put(thing, content) => put(source, *thing, *content),
        Step::Delete(thing) => {
            delete(source, &thing.path(), &thing.key(), &mut BTreeSet::new());
        }
        Step::Rename(old, new) => {
            let _ = source.rename(&old.path(), &old.key(), &new.key());
        }
        Step::Run(_) => panic!("a run is not an edit"),
    }
}

fn put(source: &Database, thing: Thing, content: u8) {
    for needed in thing.needs() {
        if source.item(&needed.path(), &needed.key()).is_none() {
            put(source, needed, 0);
        }
    }
    if let Some(referred) = thing.refers_to(content) {
        let is_there = source.item(&referred.path(), &referred.key()).is_some();
        if !is_there || is_below(source, referred, thing) {
            return put(source, thing, 0);
        }
    }
    let _ = source.upsert(&thing.path(), &thing.body(content));
}

/// Whether a standard is below another: no vendor makes a circle of them.
fn is_below(source: &Database, thing: Thing, above: Thing) -> bool {
    let (Thing::Standard(_), Thing::Standard(_)) = (thing, above) else { return false };
    let mut key = thing.key();
    let own = above.key();
    while key != own {
        let Some(item) = source.item(&thing.path(), &key) else { return false };
        let Some(parent) = item.get("parentLearningStandardReference") else { return false };
        key = parent.clone();
    }
    true
}

/// Deletes an item and what depends on it first.
fn delete(sandbox: &Database, path: &str, key: &Value, asked: &mut BTreeSet<String>) {
    if !asked.insert(format!("{path} {key}")) || sandbox.item(path, key).is_none() {
        return;
    }
    for collection in COLLECTIONS.iter().rev() {
        let theirs = format!("/ed-fi/{collection}");
        for item in sandbox.items(&theirs) {
            if mentions(&item, key)
                && let Some(other) = sandbox.key_of(&theirs, &item)
                && !(theirs == path && other == *key)
            {
                delete(sandbox, &theirs, &other, asked);
            }
        }
    }
    let _ = sandbox.delete(path, key);
}

/// Whether a reference of the item holds the whole key, or a value of it is the descriptor.
fn mentions(item: &Value, key: &Value) -> bool {
    match item {
        Value::Object(members) => members.iter().any(|(name, value)| {
            let holds_all = name.ends_with("Reference")
                && key
                    .as_object()
                    .is_some_and(|key| key.iter().all(|(part, own)| value.get(part) == Some(own)));
            holds_all || mentions(value, key)
        }),
        Value::Array(items) => items.iter().any(|item| mentions(item, key)),
        Value::String(text) => {
            let (namespace, code) = (key.get("namespace"), key.get("codeValue"));
            matches!((namespace, code), (Some(Value::String(namespace)), Some(Value::String(code)))
                if *text == format!("{namespace}#{code}"))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Empties a sandbox for the next history and puts in what every history needs.
pub(super) fn begin(sandbox: &Sandbox, is_source: bool) {
    sandbox.repair_all();
    for collection in COLLECTIONS.iter().chain(&BESIDE[..2]).rev() {
        let path = format!("/ed-fi/{collection}");
        for item in sandbox.items(&path) {
            let ours = *collection != "gradeLevelDescriptors"
                || item["codeValue"].as_str().is_some_and(|code| code.starts_with("Custom"));
            if ours && let Some(key) = sandbox.key_of(&path, &item) {
                delete(sandbox, &path, &key, &mut BTreeSet::new());
            }
        }
    }
    for collection in ["schools", "localEducationAgencies"] {
        let path = format!("/ed-fi/{collection}");
        for item in sandbox.items(&path) {
            sandbox.delete(&path, &sandbox.key_of(&path, &item).unwrap()).unwrap();
        }
    }
    sandbox.clear_requests();
    if is_source {
        crate::scene::put(sandbox, "localEducationAgencies", &district::agency());
        crate::scene::put(sandbox, "schools", &district::school());
    }
}
