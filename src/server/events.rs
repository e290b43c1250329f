//! Progress as it happens, for whoever listens (`GET events`).
//!
//! What lives here: what is known of the runs under way, and the listeners. What does not: who may
//! listen (`gate.rs`, `api/events.rs`). The one thing to know: a listener is owed the present, not the
//! past. It begins with a picture of what is under way, what it is slow to take is told as one sum,
//! and one that is far behind is told so and given a new picture. So nobody holds up a run, and what
//! is kept for a listener is bounded.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::desk::{RunFault, RunShown};
use crate::domain::{ResourcePath, Stage, Tally, Window};
use crate::engine::observe::{Event, Observer};
use crate::engine::report::{Requests, RunReport};
use crate::state::PairId;

/// What a listener may be behind by.
const MOST_PENDING: usize = 1000;
/// Who else wants to listen is turned away.
const MOST_LISTENERS: usize = 64;
/// Of how many runs that ended it is remembered how they went.
const MOST_COURSES: usize = 300;

/// One event, as it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Progressed {
    RunStarted {
        publication: String,
        target: String,
        run: String,
        window: Window,
    },
    /// How far a resource has come in a stage, in all: sums, not differences.
    Progress {
        publication: String,
        target: String,
        run: String,
        stage: Stage,
        #[schema(value_type = String)]
        resource: ResourcePath,
        /// Items, where the source told how many there are.
        expected: Option<u64>,
        tally: Tally,
        finished: bool,
    },
    RunEnded {
        run: RunShown,
    },
    /// The listener was too slow: what is under way follows anew.
    Missed,
}

impl Progressed {
    /// As the line `event:` names it.
    pub fn name(&self) -> &'static str {
        match self {
            Progressed::RunStarted { .. } => "run-started",
            Progressed::Progress { .. } => "progress",
            Progressed::RunEnded { .. } => "run-ended",
            Progressed::Missed => "missed",
        }
    }

    /// Whose it is; of nobody, everybody's.
    pub(super) fn pair(&self) -> Option<PairId> {
        let (publication, target) = match self {
            Progressed::RunStarted { publication, target, .. }
            | Progressed::Progress { publication, target, .. } => (publication, target),
            Progressed::RunEnded { run } => (&run.publication, &run.target),
            Progressed::Missed => return None,
        };
        Some(PairId { publication: publication.clone(), target: target.clone() })
    }
}

/// Watches runs, and tells those who listen.
#[derive(Default)]
pub struct Progress {
    known: Mutex<Known>,
}

/// How one run went, or goes, resource by resource. Known while the process lives.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    pub(super) run: String,
    /// So far, for one that goes on.
    pub(super) took: Duration,
    pub(super) resources: Vec<ResourceCourse>,
    /// What only the report of an ended run tells.
    pub(super) ending: Option<Ending>,
}

#[derive(Clone, Debug)]
pub(super) struct ResourceCourse {
    pub(super) stage: Stage,
    pub(super) resource: ResourcePath,
    pub(super) expected: Option<u64>,
    pub(super) tally: Tally,
    pub(super) finished: bool,
    /// After the run began.
    pub(super) began: Duration,
    /// So far, for one that is under way.
    pub(super) took: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) requests: Requests,
    pub(super) resumed: bool,
    /// A sentence each.
    pub(super) notes: Vec<String>,
}

#[derive(Default)]
struct Known {
    under_way: BTreeMap<PairId, UnderWay>,
    /// Of runs that did something, oldest first.
    courses: VecDeque<(PairId, Course)>,
    listeners: Vec<Weak<Listener>>,
}

struct UnderWay {
    run: String,
    window: Window,
    began: Instant,
    resources: BTreeMap<Place, Figures>,
}

type Place = (Stage, ResourcePath);

#[derive(Clone, Copy)]
struct Figures {
    expected: Option<u64>,
    tally: Tally,
    began: Instant,
    /// When it was finished, or stopped.
    finished: Option<Instant>,
}

impl Figures {
    fn new() -> Figures {
        let tally = Tally::default();
        Figures { expected: None, tally, began: Instant::now(), finished: None }
    }
}

/// Somebody who listens; dropped when it goes.
#[derive(Default)]
pub(super) struct Listener {
    pending: Mutex<Pending>,
    news: Notify,
}

#[derive(Default)]
struct Pending {
    events: Vec<Progressed>,
    /// What has moved since it was last told.
    moved: BTreeSet<(PairId, Place)>,
    has_missed: bool,
}

impl Progress {
    /// A new listener and the present; `None` where there are too many.
    pub(super) fn listen(&self) -> Option<(Arc<Listener>, VecDeque<Progressed>)> {
        let mut known = self.known();
        known.listeners.retain(|listener| listener.strong_count() > 0);
        if known.listeners.len() >= MOST_LISTENERS {
            return None;
        }
        let listener = Arc::new(Listener::default());
        known.listeners.push(Arc::downgrade(&listener));
        Some((listener, known.picture()))
    }

    /// How a run of the pair goes or went; `None` when it is not known here any more.
    pub(super) fn course(&self, pair: &PairId, run: &str) -> Option<Course> {
        let known = self.known();
        let under_way = known.under_way.get(pair).filter(|under_way| under_way.run == run);
        let ended = || {
            let mut courses = known.courses.iter().rev();
            courses.find(|(of, course)| of == pair && course.run == run)
        };
        match under_way {
            Some(under_way) => Some(under_way.course()),
            None => ended().map(|(_, course)| course.clone()),
        }
    }

    /// Waits for news, which [`Progress::take`] then gives.
    pub(super) async fn news(&self, listener: &Listener) {
        listener.news.notified().await;
    }

    pub(super) fn take(&self, listener: &Listener) -> VecDeque<Progressed> {
        // In this order everywhere: what is known, then what is pending.
        let known = self.known();
        let pending = std::mem::take(&mut *listener.pending());
        if pending.has_missed {
            let mut events = known.picture();
            events.push_front(Progressed::Missed);
            return events;
        }
        let moved = pending.moved.iter().filter_map(|(pair, place)| known.progress(pair, place));
        pending.events.into_iter().chain(moved).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("nothing panics while it holds what is known")
    }
}

impl Listener {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("nothing panics while it holds what is pending")
    }
}

impl Pending {
    fn push(&mut self, events: impl IntoIterator<Item = Progressed>) {
        self.events.extend(events);
        self.bound();
    }

    fn bound(&mut self) {
        if self.has_missed || self.events.len() + self.moved.len() > MOST_PENDING {
            *self = Pending { has_missed: true, ..Pending::default() };
        }
    }
}

impl Known {
    /// Everything that is under way.
    fn picture(&self) -> VecDeque<Progressed> {
        let mut picture = VecDeque::new();
        for (pair, under_way) in &self.under_way {
            picture.push_back(started(pair, &under_way.run, under_way.window));
            let places = under_way.resources.keys();
            picture.extend(places.filter_map(|place| self.progress(pair, place)));
        }
        picture
    }

    fn progress(&self, pair: &PairId, place: &Place) -> Option<Progressed> {
        let under_way = self.under_way.get(pair)?;
        let figures = under_way.resources.get(place)?;
        Some(Progressed::Progress {
            publication: pair.publication.clone(),
            target: pair.target.clone(),
            run: under_way.run.clone(),
            stage: place.0,
            resource: place.1.clone(),
            expected: figures.expected,
            tally: figures.tally,
            finished: figures.finished.is_some(),
        })
    }

    fn tell(&mut self, mut tell: impl FnMut(&mut Pending)) {
        self.listeners.retain(|listener| match listener.upgrade() {
            Some(listener) => {
                tell(&mut listener.pending());
                listener.news.notify_one();
                true
            }
            None => false,
        });
    }

    /// Something of a resource has changed.
    fn moved(&mut self, pair: &PairId, place: Place, change: impl FnOnce(&mut Figures)) {
        let Some(under_way) = self.under_way.get_mut(pair) else { return };
        change(under_way.resources.entry(place.clone()).or_insert_with(Figures::new));
        self.tell(|pending| {
            pending.moved.insert((pair.clone(), place.clone()));
            pending.bound();
        });
    }

    /// What has moved in a run is told before its end.
    fn ended(&mut self, pair: &PairId, report: &RunReport) {
        let last: BTreeMap<Place, Progressed> = self
            .under_way
            .get(pair)
            .into_iter()
            .flat_map(|under_way| under_way.resources.keys())
            .filter_map(|place| Some((place.clone(), self.progress(pair, place)?)))
            .collect();
        if let Some(under_way) = self.under_way.remove(pair) {
            self.remember(pair, &under_way, report);
        }
        let ended = Progressed::RunEnded { run: shown(report) };
        self.tell(|pending| {
            let mut events = Vec::new();
            pending.moved.retain(|(of, place)| {
                let is_its = of == pair;
                if is_its {
                    events.extend(last.get(place).cloned());
                }
                !is_its
            });
            events.push(ended.clone());
            pending.push(events);
        });
    }
}

impl Known {
    fn remember(&mut self, pair: &PairId, under_way: &UnderWay, report: &RunReport) {
        if under_way.resources.is_empty() {
            return; // There was nothing to do.
        }
        let RunReport { requests, resumed, notes, .. } = report;
        let ending = Ending { requests: *requests, resumed: *resumed, notes: notes.clone() };
        let course = Course { ending: Some(ending), ..under_way.course() };
        if self.courses.len() >= MOST_COURSES {
            self.courses.pop_front();
        }
        self.courses.push_back((pair.clone(), course));
    }
}

impl UnderWay {
    fn course(&self) -> Course {
        let now = Instant::now();
        let resources = self.resources.iter().map(|((stage, resource), figures)| ResourceCourse {
            stage: *stage,
            resource: resource.clone(),
            expected: figures.expected,
            tally: figures.tally,
            finished: figures.finished.is_some(),
            began: figures.began - self.began,
            took: figures.finished.unwrap_or(now) - figures.began,
        });
        let mut resources: Vec<ResourceCourse> = resources.collect();
        resources.sort_by_key(|course| (course.stage, course.began));
        Course { run: self.run.clone(), took: now - self.began, resources, ending: None }
    }
}

impl Observer for Progress {
    /// Whoever listens sees an estimate.
    fn wants_totals(&self) -> bool {
        self.known().listeners.iter().any(|listener| listener.strong_count() > 0)
    }

    fn observe(&self, event: &Event<'_>) {
        let mut known = self.known();
        match event {
            Event::RunStarted { pair, run, window, at: _ } => {
                let (run, window) = ((*run).to_owned(), *window);
                let told = started(pair, &run, window);
                let began = Instant::now();
                let under_way = UnderWay { run, window, began, resources: BTreeMap::new() };
                known.under_way.insert((*pair).clone(), under_way);
                known.tell(|pending| pending.push([told.clone()]));
            }
            Event::StageStarted { .. } | Event::Noted { .. } => {}
            Event::ResourceStarted { pair, stage, resource, expected } => {
                known.moved(pair, (*stage, (*resource).clone()), |figures| {
                    figures.expected = *expected;
                    figures.finished = None;
                });
            }
            Event::Settled { pair, stage, resource, tally } => {
                known.moved(pair, (*stage, (*resource).clone()), |figures| {
                    figures.tally.add(*tally);
                });
            }
            Event::ResourceFinished { pair, stage, resource } => {
                known.moved(pair, (*stage, (*resource).clone()), |figures| {
                    figures.finished = Some(Instant::now());
                });
            }
            Event::RunEnded { pair, report } => known.ended(pair, report),
        }
    }
}

fn started(pair: &PairId, run: &str, window: Window) -> Progressed {
    let (publication, target) = (pair.publication.clone(), pair.target.clone());
    Progressed::RunStarted { publication, target, run: run.to_owned(), window }
}

fn shown(report: &RunReport) -> RunShown {
    let seconds = TimeDelta::try_milliseconds((report.duration_seconds * 1000.0) as i64);
    RunShown {
        id: report.id.clone(),
        publication: report.publication.clone(),
        target: report.target.clone(),
        outcome: Some(report.outcome),
        window: report.window,
        started_at: report.started_at,
        ended_at: seconds.and_then(|took| report.started_at.checked_add_signed(took)),
        duration_seconds: Some(report.duration_seconds),
        stages: report.stages,
        error: report
            .error
            .as_ref()
            .map(|error| RunFault { kind: error.kind.clone(), message: error.message.clone() }),
    }
}
