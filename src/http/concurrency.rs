//! How many requests an origin is sent at once, found out by watching it.
//!
//! The limit grows while it is in use and answers come as fast as before, and beyond a few dozen only
//! while more are answered for it ([`super::worth`]); it is cut when the origin refuses (429, 503),
//! stalls, or answers far more slowly than it can. It grows once a *round*, the time it takes to hear
//! from a request that was sent after the last change, and what was in flight when it was cut does not
//! cut it again: that says nothing about the new limit.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::request::Traffic;
use super::worth::Worth;

/// What an exchange says about the load that its origin bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// It was answered.
    Borne,
    /// It was turned away: 408, 429, 503 or 504.
    Refused,
    /// It was not answered in time.
    Stalled,
    /// Neither: the connection broke, or the like.
    Unknown,
}

/// Hands out permits in the order in which they were asked for.
#[derive(Debug)]
pub(super) struct Limiter {
    permits: Arc<Semaphore>,
    controller: Mutex<Controller>,
    /// As the controller has it: asked for each item, and written where it moves.
    in_force: AtomicUsize,
}

impl Limiter {
    /// Where every limit starts, and below which slowness alone never brings it.
    pub(super) const START: usize = 8;

    pub(super) fn new(ceiling: usize) -> Limiter {
        let ceiling = ceiling.max(1);
        let start = Self::START.min(ceiling);
        Limiter {
            permits: Arc::new(Semaphore::new(start)),
            controller: Mutex::new(Controller::new(start, ceiling)),
            in_force: AtomicUsize::new(start),
        }
    }

    /// Several connections share an origin: the largest of their ceilings is the origin's.
    pub(super) fn raise_ceiling(&self, ceiling: usize) {
        let mut controller = self.controller();
        controller.ceiling = controller.ceiling.max(ceiling);
    }

    /// Waits for a permit. First come, first served.
    pub(super) async fn permit(self: &Arc<Self>) -> Permit {
        let has_to_wait = self.permits.available_permits() == 0;
        let held = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("the semaphore of a limiter is never closed");
        if has_to_wait {
            self.controller().reached = true;
        }
        Permit { limiter: Arc::clone(self), held: Some(held), began: Instant::now() }
    }

    pub(super) fn in_force(&self) -> usize {
        self.in_force.load(Ordering::Relaxed)
    }

    fn controller(&self) -> MutexGuard<'_, Controller> {
        self.controller.lock().expect("nothing panics while it holds the controller")
    }

    /// Brings the semaphore to the controller's limit. What cannot be taken back now, because it
    /// is in use, is owed and paid when permits come back.
    fn settle(&self, controller: &mut Controller) {
        let wanted = controller.whole_limit();
        if wanted == controller.in_force {
            return;
        }
        if wanted > controller.in_force {
            let more = wanted - controller.in_force;
            let forgiven = more.min(controller.owed);
            controller.owed -= forgiven;
            self.permits.add_permits(more - forgiven);
        } else {
            let fewer = controller.in_force - wanted;
            controller.owed += fewer - self.permits.forget_permits(fewer);
        }
        controller.in_force = wanted;
        self.in_force.store(wanted, Ordering::Relaxed);
    }
}

/// The right to have one request in flight. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Permit {
    limiter: Arc<Limiter>,
    held: Option<OwnedSemaphorePermit>,
    began: Instant,
}

impl Permit {
    /// Gives the permit back with what was learnt; tells the new limit if it moved.
    pub(super) fn finish(mut self, load: Load, traffic: Traffic) -> Option<usize> {
        let held = self.held.take();
        let mut controller = self.limiter.controller();
        let before = controller.in_force;
        controller.learn(load, traffic, self.began, Instant::now());
        self.limiter.settle(&mut controller);
        let after = controller.in_force;
        give_back(held, controller);
        (after != before).then_some(after)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let held = self.held.take();
        if held.is_some() {
            give_back(held, self.limiter.controller());
        }
    }
}

/// To whoever waits, once the controller is free, or to nobody, where one is owed.
fn give_back(held: Option<OwnedSemaphorePermit>, mut controller: MutexGuard<'_, Controller>) {
    let Some(held) = held else { return };
    if controller.owed > 0 {
        controller.owed -= 1;
        held.forget();
        return;
    }
    drop(controller);
    drop(held);
}

/// The arithmetic, without permits and waiting.
#[derive(Debug)]
struct Controller {
    limit: f64,
    ceiling: usize,
    /// What the semaphore stands for now.
    in_force: usize,
    /// Permits in use that have to go when they come back.
    owed: usize,
    /// Where the last cut happened, until the limit has gone beyond it.
    too_much: Option<f64>,
    /// Somebody had to wait for a permit in this round.
    reached: bool,
    round_began: Instant,
    /// The limit was cut for slowness: the next round hears from what was sent before.
    is_settling: bool,
    /// The last cut, or the beginning.
    cut_at: Instant,
    reads: Latency,
    writes: Latency,
    worth: Worth,
}

impl Controller {
    const CUT_WHEN_REFUSED: f64 = 0.9;
    const CUT_WHEN_STALLED: f64 = 0.5;
    const CUT_WHEN_SLOW: f64 = 0.9;
    const STEP_WHERE_IT_WAS_TOO_MUCH: f64 = 1.0 / 32.0;

    fn new(start: usize, ceiling: usize) -> Controller {
        Controller {
            limit: start as f64,
            ceiling,
            in_force: start,
            owed: 0,
            too_much: None,
            reached: false,
            round_began: Instant::now(),
            is_settling: false,
            cut_at: Instant::now(),
            reads: Latency::default(),
            writes: Latency::default(),
            worth: Worth::new(),
        }
    }

    fn whole_limit(&self) -> usize {
        (self.limit as usize).clamp(1, self.ceiling)
    }

    fn learn(&mut self, load: Load, traffic: Traffic, began: Instant, now: Instant) {
        let since_the_cut = began >= self.cut_at;
        match load {
            Load::Borne => {
                self.latency(traffic).add(now - began);
                self.worth.add(began, now - began);
                if began >= self.round_began {
                    self.end_round(now);
                }
            }
            Load::Refused if since_the_cut => self.cut(Self::CUT_WHEN_REFUSED, now),
            Load::Stalled if since_the_cut => self.cut(Self::CUT_WHEN_STALLED, now),
            Load::Refused | Load::Stalled | Load::Unknown => {}
        }
    }

    fn end_round(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_settling) {
            return self.begin_round(now);
        }
        let limit = self.limit;
        let slow = self.reads.end_round(limit, now) | self.writes.end_round(limit, now);
        if slow {
            self.is_settling = true;
            return self.cut(Self::CUT_WHEN_SLOW, now);
        }
        if self.reached {
            self.grow(now);
        }
        self.begin_round(now);
    }

    /// By a quarter where nothing is known and it is worth it, by one up to what was too much, and
    /// slowly past that: every attempt to pass it may cost somebody a refusal.
    fn grow(&mut self, now: Instant) {
        let ceiling = self.ceiling as f64;
        let Some(known) = self.too_much else {
            let wanted = self.limit + (self.limit / 4.0).max(1.0);
            self.limit = self.worth.next(self.limit, wanted.min(ceiling), now);
            return;
        };
        let step = if self.limit + 1.0 < known { 1.0 } else { Self::STEP_WHERE_IT_WAS_TOO_MUCH };
        self.limit = (self.limit + step).min(ceiling);
        if self.limit > known + 1.0 {
            self.too_much = None;
        }
    }

    /// At least one whole permit less, so that small limits shrink too.
    fn cut(&mut self, factor: f64, now: Instant) {
        let limit = self.limit.floor();
        self.limit = (self.limit * factor).min(self.limit - 1.0).max(1.0);
        self.too_much = Some(limit);
        self.worth = Worth::new();
        self.cut_at = now;
        self.begin_round(now);
    }

    fn begin_round(&mut self, now: Instant) {
        self.reached = false;
        self.round_began = now;
        self.reads.begin_round();
        self.writes.begin_round();
    }

    fn latency(&mut self, traffic: Traffic) -> &mut Latency {
        match traffic {
            Traffic::Read => &mut self.reads,
            Traffic::Write => &mut self.writes,
        }
    }
}

/// Whether answers take far longer than they need to.
#[derive(Debug, Default)]
struct Latency {
    total: Duration,
    answers: u32,
    /// The shortest mean of a round, in seconds, which rises slowly so that a server that became
    /// slower for good is not held against it for ever.
    best: Option<(f64, Instant)>,
    /// The limit and the mean when slowness was first seen.
    slow_since: Option<(f64, f64)>,
}

impl Latency {
    /// A round with fewer answers than this says too little.
    const ENOUGH: u32 = 4;
    /// Beyond so many times the best mean, waiting is queueing.
    const FAR_LONGER: f64 = 2.0;
    /// Differences below this are the machine's noise. More at once would only lie about in memory
    /// where a server answers as quickly as that.
    const NOISE: f64 = 0.002;
    const RISE_PER_SECOND: f64 = 1.001;

    fn add(&mut self, took: Duration) {
        self.total += took;
        self.answers += 1;
    }

    fn begin_round(&mut self) {
        self.total = Duration::ZERO;
        self.answers = 0;
    }

    /// True when the round was slow because of how much was in flight.
    fn end_round(&mut self, limit: f64, now: Instant) -> bool {
        if self.answers < Self::ENOUGH {
            return false;
        }
        let mean = self.total.as_secs_f64() / f64::from(self.answers);
        let best = match self.best {
            None => mean,
            Some((best, since)) => {
                mean.min(best * Self::RISE_PER_SECOND.powf((now - since).as_secs_f64()))
            }
        };
        self.best = Some((best, now));

        if mean <= best * Self::FAR_LONGER + Self::NOISE {
            self.slow_since = None;
            return false;
        }
        // So few at once do not queue, whatever they wait for.
        if limit <= Limiter::START as f64 {
            self.best = Some((mean, now));
            return false;
        }
        let (limit_then, mean_then) = *self.slow_since.get_or_insert((limit, mean));
        // A third less in flight and no faster: this is not queueing, the requests are merely
        // different or the server is. What is now becomes what to compare with.
        if limit < limit_then * 0.7 && mean > mean_then * 0.9 {
            self.best = Some((mean, now));
            self.slow_since = None;
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::SeqCst;

    use rand::Rng;

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// One round of a saturated limiter: as many requests as the limit allows, each answered
    /// after `took`, of which the last `refused` are turned away.
    async fn round(limiter: &Arc<Limiter>, took: Duration, refused: usize) {
        let mut permits = Vec::new();
        for _ in 0..limiter.in_force() {
            permits.push(limiter.permit().await);
        }
        limiter.controller().reached = true;
        tokio::time::advance(took).await;
        let borne = permits.len().saturating_sub(refused);
        for (place, permit) in permits.into_iter().enumerate() {
            let load = if place < borne { Load::Borne } else { Load::Refused };
            permit.finish(load, Traffic::Write);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_grows_to_its_ceiling_while_it_is_used_up() {
        let limiter = Arc::new(Limiter::new(20));

        for _ in 0..20 {
            round(&limiter, 20 * MILLI, 0).await;
        }

        assert_eq!(limiter.in_force(), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unused_limit_does_not_grow() {
        let limiter = Arc::new(Limiter::new(100));

        for _ in 0..50 {
            let permit = limiter.permit().await;
            tokio::time::advance(MILLI).await;
            permit.finish(Load::Borne, Traffic::Write);
        }

        assert_eq!(limiter.in_force(), Limiter::START);
    }

    #[tokio::test(start_paused = true)]
    async fn many_refusals_of_one_round_cut_once() {
        let limiter = Arc::new(Limiter::new(100));
        let permits = [limiter.permit().await, limiter.permit().await, limiter.permit().await];
        tokio::time::advance(MILLI).await;

        for permit in permits {
            permit.finish(Load::Refused, Traffic::Write);
        }

        assert_eq!(limiter.in_force(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_cut_the_limit_grows_back() {
        let limiter = Arc::new(Limiter::new(100));
        round(&limiter, MILLI, Limiter::START).await;
        assert_eq!(limiter.in_force(), 7);

        for _ in 0..300 {
            round(&limiter, MILLI, 0).await;
        }

        assert_eq!(limiter.in_force(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_never_falls_below_one() {
        let limiter = Arc::new(Limiter::new(100));

        for _ in 0..40 {
            let permit = limiter.permit().await;
            tokio::time::advance(MILLI).await;
            permit.finish(Load::Stalled, Traffic::Read);
        }

        assert_eq!(limiter.in_force(), 1);
        limiter.permit().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_shrunk_limit_holds_although_permits_were_out() {
        let limiter = Arc::new(Limiter::new(100));
        let mut held = Vec::new();
        for _ in 0..Limiter::START {
            held.push(limiter.permit().await);
        }
        tokio::time::advance(MILLI).await;

        held.remove(0).finish(Load::Stalled, Traffic::Write);
        assert_eq!(limiter.in_force(), 4);
        held.clear();

        assert_eq!(limiter.permits.available_permits(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_queues_is_not_sent_ever_more() {
        // Sixteen at once take 20 ms; whatever is beyond waits its turn.
        let limiter = Arc::new(Limiter::new(512));

        for _ in 0..400 {
            let queued = (limiter.in_force() as f64 / 16.0).max(1.0);
            round(&limiter, (20 * MILLI).mul_f64(queued), 0).await;
        }

        let limit = limiter.in_force();
        assert!((16..=64).contains(&limit), "{limit}");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_are_slow_by_nature_do_not_pin_the_limit() {
        let limiter = Arc::new(Limiter::new(64));
        for _ in 0..20 {
            round(&limiter, 5 * MILLI, 0).await;
        }
        assert_eq!(limiter.in_force(), 64);

        for _ in 0..80 {
            round(&limiter, 100 * MILLI, 0).await;
        }

        assert_eq!(limiter.in_force(), 64);
    }

    /// A server on the paused clock that takes 20 ms a write and turns away what is beyond its
    /// capacity at once; twice as many workers as could ever be in flight press upon it.
    async fn press(capacities: &[usize], each_for: Duration) -> Vec<(f64, f64)> {
        let limiter = Arc::new(Limiter::new(512));
        let capacity = Arc::new(AtomicUsize::new(capacities[0]));
        let in_flight = Arc::new(AtomicUsize::new(0));
        let served = Arc::new(AtomicUsize::new(0));
        let refused = Arc::new(AtomicUsize::new(0));
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..1024 {
            let (limiter, capacity, in_flight) =
                (Arc::clone(&limiter), Arc::clone(&capacity), Arc::clone(&in_flight));
            let (served, refused) = (Arc::clone(&served), Arc::clone(&refused));
            workers.spawn(async move {
                loop {
                    let permit = limiter.permit().await;
                    let room = in_flight.fetch_add(1, SeqCst) < capacity.load(SeqCst);
                    let took = if room { rand::rng().random_range(16..=24) } else { 1 };
                    tokio::time::sleep(took * MILLI).await;
                    in_flight.fetch_sub(1, SeqCst);
                    if room { &served } else { &refused }.fetch_add(1, SeqCst);
                    let load = if room { Load::Borne } else { Load::Refused };
                    permit.finish(load, Traffic::Write);
                }
            });
        }

        let mut shares = Vec::new();
        for now in capacities {
            capacity.store(*now, SeqCst);
            let began = served.load(SeqCst) + refused.load(SeqCst);
            tokio::time::sleep(each_for / 2).await;
            let half = served.load(SeqCst);
            tokio::time::sleep(each_for / 2).await;
            let possible = *now as f64 * (each_for / 2).as_secs_f64() / 0.020;
            let sent = served.load(SeqCst) + refused.load(SeqCst) - began;
            shares.push((
                (served.load(SeqCst) - half) as f64 / possible,
                refused.swap(0, SeqCst) as f64 / sent as f64,
            ));
        }
        shares
    }

    #[tokio::test(start_paused = true)]
    async fn the_capacity_of_a_server_is_found_and_followed_with_few_refusals() {
        for capacities in [&[16][..], &[256], &[64, 32, 64, 128]] {
            for (used, refused) in press(capacities, Duration::from_secs(20)).await {
                let found = format!("used {used:.3}, refused {refused:.4} of {capacities:?}");
                assert!(used > 0.9 && refused < 0.01, "{found}");
            }
        }
    }
}
