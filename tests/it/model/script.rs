//! What goes wrong in one run, and what is written down of it. Both ends ask at every call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidemark::domain::{NaturalKey, ResourcePath};
use tidemark::sandbox::{Database, View};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::machine::Trouble;
use super::play::told;
use crate::simulation::district;
use crate::simulation::history::{Side, Step};

/// The script of one run.
pub(super) struct Script {
    troubles: Vec<Trouble>,
    source: Arc<Database>,
    /// The images that were taken before, newest first.
    older: Vec<View>,
    /// Of what another's run asks.
    is_the_other: bool,
    pub(super) stop: CancellationToken,
    crashed: Notify,
    noted: Mutex<Noted>,
}

/// What has happened so far.
#[derive(Default)]
struct Noted {
    source_calls: u16,
    target_calls: u16,
    writes: u16,
    looks: u16,
    /// What the source held, at the start and after each edit of the run's time.
    moments: Vec<View>,
    /// What was served as its snapshot, the one that is served now last.
    snapshots: Vec<View>,
    edited: bool,
    has_crashed: bool,
    written: Vec<Written>,
    refused: Vec<String>,
}

/// A write that took effect at the target.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) resource: ResourcePath,
    pub(super) key: NaturalKey,
    pub(super) what: What,
    /// The target id of it.
    pub(super) id: String,
    /// The source id of what was written.
    pub(super) of: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) enum What {
    /// Created or updated to this.
    Body(Arc<str>),
    /// The same by PUT, from the key that it showed.
    Renamed(Arc<str>, Option<NaturalKey>),
    Deleted,
}

/// What becomes of the answer of a write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Arrives,
    Lost,
    /// Lost at first; the write is sent again.
    Repeated,
}

impl Script {
    /// Of a run to which the first of `images` is served as the source's snapshot.
    pub(super) fn new(troubles: &[Trouble], source: Arc<Database>, images: Vec<View>) -> Script {
        let noted = Noted {
            moments: vec![source.view()],
            snapshots: vec![images[0].clone()],
            ..Noted::default()
        };
        Script {
            troubles: troubles.to_vec(),
            source,
            older: images,
            is_the_other: false,
            stop: CancellationToken::new(),
            crashed: Notify::new(),
            noted: Mutex::new(noted),
        }
    }

    /// Of an end that is asked by another's run, and does not answer if that is among its troubles.
    pub(super) fn of_the_other(troubles: &[Trouble], source: Arc<Database>) -> Script {
        let silent: Vec<Trouble> =
            troubles.iter().filter(|trouble| **trouble == Trouble::Silent).cloned().collect();
        let image = source.view();
        Script { is_the_other: true, ..Script::new(&silent, source, vec![image]) }
    }

    /// One call of a side. Fails if it is to fail; does not return if the process ends here.
    pub(super) async fn asked(&self, side: Side) -> Result<(), &'static str> {
        // Whoever else is under way comes first now and then, as over a wire.
        tokio::task::yield_now().await;
        if self.noted().has_crashed {
            std::future::pending::<()>().await;
        }
        let call = self.note_call(side);
        for trouble in &self.troubles {
            match trouble {
                Trouble::Crash(at, n) if (*at, *n) == (side, call) => {
                    self.noted().has_crashed = true;
                    self.crashed.notify_one();
                    std::future::pending::<()>().await;
                }
                Trouble::Silent if self.is_the_other => return Err("it does not answer"),
                Trouble::Fail(at, n) if (*at, *n) == (side, call) => return Err("it fails"),
                Trouble::Stop(at, n) if (*at, *n) == (side, call) => self.stop.cancel(),
                Trouble::Meanwhile(n, steps) if (Side::Source, *n) == (side, call) => {
                    self.edit_source(steps);
                }
                Trouble::Renewed(n, steps) if (Side::Source, *n) == (side, call) => {
                    self.edit_source(steps);
                    self.serve_renewed(self.source.view());
                }
                Trouble::PutBack(n, back) if (Side::Source, *n) == (side, call) => {
                    if let Some(image) = self.older.get(usize::from(*back) + 1) {
                        self.serve(image.clone());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn serve(&self, image: View) {
        self.noted().snapshots.push(image);
    }

    /// Newest is all that there is to go by (R11): an image with the newest of the first, after another
    /// was served between them, is the first to everybody.
    fn serve_renewed(&self, image: View) {
        let has_been_another = self.snapshots().len() > 1;
        if !has_been_another || self.snapshots()[0].newest() != image.newest() {
            self.serve(image);
        }
    }

    fn edit_source(&self, steps: &[Step]) {
        self.noted().edited = true;
        for step in steps {
            district::edit(&self.source, step);
            let now = self.source.view();
            self.noted().moments.push(now);
        }
    }

    /// Makes the edits that the run was too short for.
    pub(super) fn catch_up(&self) {
        for trouble in &self.troubles {
            let is_done = self.noted().edited;
            if let Some(steps) = trouble.edits().filter(|_| !is_done) {
                self.edit_source(steps);
            }
        }
    }

    fn note_call(&self, side: Side) -> u16 {
        let mut noted = self.noted();
        let calls = match side {
            Side::Source => &mut noted.source_calls,
            Side::Target => &mut noted.target_calls,
        };
        *calls += 1;
        *calls - 1
    }

    /// What becomes of the answer of the next write.
    pub(super) fn answer(&self) -> Answer {
        let mut noted = self.noted();
        let write = noted.writes;
        noted.writes += 1;
        for trouble in &self.troubles {
            match trouble {
                Trouble::Lost(n) if *n == write => return Answer::Lost,
                Trouble::Repeated(n) if *n == write => return Answer::Repeated,
                _ => {}
            }
        }
        Answer::Arrives
    }

    /// The target was asked for something by its id or by its key.
    pub(super) fn looked(&self) {
        self.noted().looks += 1;
    }

    /// Writes and look-ups so far.
    pub(super) fn asked_of_target(&self) -> u16 {
        let noted = self.noted();
        noted.writes + noted.looks
    }

    pub(super) fn wrote(&self, written: Written) {
        self.noted().written.push(written);
    }

    /// What the target's data holds stands against a write.
    pub(super) fn was_refused(&self, resource: &ResourcePath, key: &NaturalKey) {
        self.noted().refused.push(format!("{resource} {}", told(key)));
    }

    /// Returns when the process ends.
    pub(super) async fn crash(&self) {
        self.crashed.notified().await;
    }

    /// The image that is served as the source's snapshot now.
    pub(super) fn snapshot(&self) -> View {
        self.noted().snapshots.last().expect("the first is there from the start").clone()
    }

    /// Every image that the run was served.
    pub(super) fn snapshots(&self) -> Vec<View> {
        self.noted().snapshots.clone()
    }

    pub(super) fn moments(&self) -> Vec<View> {
        self.noted().moments.clone()
    }

    pub(super) fn written(&self) -> Vec<Written> {
        self.noted().written.clone()
    }

    /// The first write that the target's data stood against, resources that refer to themselves
    /// apart (R28).
    pub(super) fn first_refused(&self) -> Option<String> {
        let noted = self.noted();
        noted.refused.iter().find(|told| !told.contains("learningStandards")).cloned()
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
