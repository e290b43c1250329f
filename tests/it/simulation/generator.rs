//! Histories drawn from a seed.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tidemark::sandbox::ApiVersion;
use tidemark::sources::Isolation;

use super::district::COLLECTIONS;
use super::history::{Frame, History, Hurt, Side, Step, Thing, Trouble};

/// The history of a seed.
pub(super) fn history(seed: u64) -> History {
    let mut draw = Draw { rng: SmallRng::seed_from_u64(seed), descriptors: false };
    let frame = draw.frame();
    draw.descriptors = frame.descriptors;
    let mut steps = Vec::new();
    for _ in 0..draw.rng.random_range(4..12) {
        draw.edits(&mut steps, 1);
    }
    for _ in 0..draw.rng.random_range(2..=4) {
        steps.push(Step::Run(draw.troubles()));
        for _ in 0..draw.rng.random_range(1..8) {
            draw.edits(&mut steps, 3);
        }
    }
    History { frame, steps }
}

/// Almost nothing but renames, of what is put in where it is not there yet.
pub(super) fn renames(seed: u64) -> Vec<Step> {
    let mut draw = Draw { rng: SmallRng::seed_from_u64(seed), descriptors: false };
    let mut steps = Vec::new();
    for _ in 0..draw.rng.random_range(3..8) {
        let content = draw.rng.random_range(0..10);
        steps.push(Step::Put(draw.namesakes().0, content));
        for _ in 0..3 {
            draw.renames(&mut steps);
        }
    }
    steps
}

struct Draw {
    rng: SmallRng,
    descriptors: bool,
}

impl Draw {
    fn one_in(&mut self, n: u32) -> bool {
        self.rng.random_ratio(1, n)
    }

    fn one_of(&mut self, versions: &[ApiVersion]) -> ApiVersion {
        versions[self.rng.random_range(0..versions.len())]
    }

    /// A version that tells its keys, and that has snapshots if one is wanted.
    fn source_for(&mut self, isolation: Isolation) -> ApiVersion {
        use ApiVersion::{V6_1, V7_1, V7_2, V7_3, V8_0};
        match isolation {
            Isolation::Snapshot => self.one_of(&[V6_1, V7_1, V7_2, V7_3, V7_3]),
            Isolation::Bounded | Isolation::Open | Isolation::Combined => {
                self.one_of(&[V6_1, V7_1, V7_2, V7_3, V7_3, V8_0])
            }
        }
    }

    fn frame(&mut self) -> Frame {
        let isolation = match self.rng.random_range(0..6) {
            0 => Isolation::Bounded,
            1 => Isolation::Open,
            2 => Isolation::Combined,
            _ => Isolation::Snapshot,
        };
        Frame {
            source: self.source_for(isolation),
            target: self.one_of(&ApiVersion::ALL),
            isolation,
            page_size: self.rng.random_range(1..=5),
            people: self.one_in(8),
            descriptors: self.one_in(8),
        }
    }

    fn thing(&mut self) -> Thing {
        let rng = &mut self.rng;
        let (course, session) = (rng.random_range(0..2), rng.random_range(0..4));
        let (section, student) = (rng.random_range(0..4), rng.random_range(0..3));
        match rng.random_range(0..if self.descriptors { 19 } else { 17 }) {
            0..=2 => Thing::Period(rng.random_range(0..4)),
            3 => Thing::Course(course),
            4..=5 => Thing::Session(session),
            6 => Thing::Offering(course, session),
            7..=9 => Thing::Section(section, course, session),
            10 => Thing::Student(student),
            11 => Thing::Enrolment(student),
            12..=13 => Thing::Attends(student, section, course, session),
            14..=16 => Thing::Standard(rng.random_range(0..4)),
            _ => Thing::GradeLevel(rng.random_range(0..2)),
        }
    }

    /// One edit, or a few that belong together. The larger `change`, the fewer of them create.
    fn edits(&mut self, steps: &mut Vec<Step>, change: u32) {
        let thing = self.thing();
        let content = self.rng.random_range(0..10);
        if !self.rng.random_ratio(change, 4) {
            return steps.push(Step::Put(thing, content));
        }
        match self.rng.random_range(0..10) {
            0..=1 => steps.push(Step::Put(thing, content)),
            2..=3 => steps.push(Step::Delete(thing)),
            4 => steps.extend([Step::Delete(thing), Step::Put(thing, content)]),
            _ => self.renames(steps),
        }
    }

    fn renames(&mut self, steps: &mut Vec<Step>) {
        let (a, b) = self.namesakes();
        match self.rng.random_range(0..9) {
            0..=3 => steps.push(Step::Rename(a, b)),
            4 => steps.extend([Step::Rename(a, b), Step::Rename(b, a)]),
            5 => {
                let aside = aside(a);
                steps.extend([Step::Rename(a, aside), Step::Rename(b, a), Step::Rename(aside, b)]);
            }
            6 => steps.extend([Step::Rename(a, b), Step::Delete(b)]),
            7 => steps.extend([Step::Delete(b), Step::Rename(a, b)]),
            _ => {
                let content = self.rng.random_range(0..10);
                steps.extend([Step::Rename(a, b), Step::Put(a, content)]);
            }
        }
    }

    /// Two keys of one kind that a PUT may change.
    fn namesakes(&mut self) -> (Thing, Thing) {
        let rng = &mut self.rng;
        let (a, b) = (rng.random_range(0..4), rng.random_range(0..4));
        let (course, session) = (rng.random_range(0..2), rng.random_range(0..4));
        match rng.random_range(0..8) {
            0..=2 => (Thing::Session(a), Thing::Session(b)),
            3..=4 => (Thing::Period(a), Thing::Period(b)),
            5..=6 => (Thing::Section(a, course, session), Thing::Section(b, course, session)),
            _ => {
                let student = rng.random_range(0..3);
                (
                    Thing::Attends(student, a, course, session),
                    Thing::Attends(student, b, course, session),
                )
            }
        }
    }

    fn troubles(&mut self) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        if self.one_in(3) {
            return troubles;
        }
        for _ in 0..self.rng.random_range(1..=2) {
            troubles.push(self.trouble());
        }
        troubles
    }

    fn trouble(&mut self) -> Trouble {
        let side = if self.one_in(3) { Side::Source } else { Side::Target };
        let moment = self.rng.random_range(
            0..match side {
                Side::Source => 90,
                Side::Target => 60,
            },
        );
        let collection = *COLLECTIONS[1..].choose(&mut self.rng).expect("there are some");
        match self.rng.random_range(0..20) {
            0..=3 => Trouble::Harm(side, self.hurt(), moment, self.rng.random_range(1..=3)),
            4..=5 => Trouble::Poison(collection),
            6 => Trouble::NoRename,
            7 => Trouble::Close(collection),
            8 => Trouble::Stop(side, moment),
            9..=11 => Trouble::Crash(side, moment),
            12 => Trouble::Meanwhile(self.rng.random_range(0..90), self.edits_meanwhile()),
            13 => Trouble::Without(collection),
            14 => Trouble::OldSnapshot,
            15 => Trouble::Fail(collection),
            16..=17 => Trouble::Renewed(self.rng.random_range(0..90), self.edits_meanwhile()),
            18 => Trouble::PutBack(self.rng.random_range(0..90)),
            _ => Trouble::Scheduled,
        }
    }

    fn edits_meanwhile(&mut self) -> Vec<Step> {
        let mut edits = Vec::new();
        for _ in 0..self.rng.random_range(1..=3) {
            self.edits(&mut edits, 3);
        }
        edits
    }

    fn hurt(&mut self) -> Hurt {
        *[
            Hurt::Error,
            Hurt::FailAfterWriting,
            Hurt::DropAfterWriting,
            Hurt::Drop,
            Hurt::Throttle,
            Hurt::ExpireTokens,
            Hurt::Redirect,
            Hurt::Redirect,
        ]
        .choose(&mut self.rng)
        .expect("there are some")
    }
}

/// A name that no other step uses.
fn aside(thing: Thing) -> Thing {
    match thing {
        Thing::Session(_) => Thing::Session(4),
        Thing::Period(_) => Thing::Period(4),
        Thing::Section(_, course, session) => Thing::Section(4, course, session),
        Thing::Attends(student, _, course, session) => Thing::Attends(student, 4, course, session),
        other => other,
    }
}
