//! How many requests an origin is sent at once, found out by watching it.
//!
//! The limit grows while it is in use and answers come as fast as before; it is cut when the
//! origin refuses (429, 503), stalls, or answers far more slowly than it can. Growth and cuts
//! happen once a *round*, the time it takes to hear from a request that was sent after the last
//! change: what was in flight already says nothing about the new limit.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::request::Traffic;

/// What an exchange says about the load that its origin bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// It was answered.
    Borne,
    /// It was turned away: 429, 503 or 504.
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
        }
    }

    /// Several connections share an origin: the largest of their ceilings is the origin's.
    pub(super) fn raise_ceiling(&self, ceiling: usize) {
        let mut controller = self.controller();
        controller.ceiling = controller.ceiling.max(ceiling);
    }

    /// Waits for a permit. First come, first served.
    pub(super) async fn permit(self: &Arc<Self>) -> Permit {
        if self.permits.available_permits() == 0 {
            self.controller().reached = true;
        }
        let held = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("the semaphore of a limiter is never closed");
        Permit { limiter: Arc::clone(self), held: Some(held), began: Instant::now() }
    }

    pub(super) fn in_force(&self) -> usize {
        self.controller().in_force
    }

    fn controller(&self) -> MutexGuard<'_, Controller> {
        self.controller.lock().expect("nothing panics while it holds the controller")
    }

    /// Brings the semaphore to the controller's limit. What cannot be taken back now, because it
    /// is in use, is owed and paid when permits come back.
    fn settle(&self, controller: &mut Controller) {
        let wanted = controller.whole_limit();
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
    pub(super) fn finish(self, load: Load, traffic: Traffic) -> Option<usize> {
        let mut controller = self.limiter.controller();
        let before = controller.in_force;
        controller.learn(load, traffic, self.began, Instant::now());
        self.limiter.settle(&mut controller);
        let after = controller.in_force;
        // The permit itself is given back when `self` goes, which needs the lock.
        drop(controller);
        (after != before).then_some(after)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let mut controller = self.limiter.controller();
        if controller.owed > 0 {
            controller.owed -= 1;
            held.forget();
        }
    }
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
    /// Never cut yet: grow by a quarter, not by one.
    eager: bool,
    /// Somebody had to wait for a permit in this round.
    reached: bool,
    round_began: Instant,
    reads: Latency,
    writes: Latency,
}

impl Controller {
    const CUT_WHEN_REFUSED: f64 = 0.9;
    const CUT_WHEN_STALLED: f64 = 0.5;
    const CUT_WHEN_SLOW: f64 = 0.9;

    fn new(start: usize, ceiling: usize) -> Controller {
        Controller {
            limit: start as f64,
            ceiling,
            in_force: start,
            owed: 0,
            eager: true,
            reached: false,
            round_began: Instant::now(),
            reads: Latency::default(),
            writes: Latency::default(),
        }
    }

    fn whole_limit(&self) -> usize {
        (self.limit as usize).clamp(1, self.ceiling)
    }

    fn learn(&mut self, load: Load, traffic: Traffic, began: Instant, now: Instant) {
        let of_this_round = began >= self.round_began;
        match load {
            Load::Borne => {
                self.latency(traffic).add(now - began);
                if of_this_round {
                    self.end_round(now);
                }
            }
            Load::Refused if of_this_round => self.cut(Self::CUT_WHEN_REFUSED, now),
            Load::Stalled if of_this_round => self.cut(Self::CUT_WHEN_STALLED, now),
            Load::Refused | Load::Stalled | Load::Unknown => {}
        }
    }

    fn end_round(&mut self, now: Instant) {
        let limit = self.limit;
        let slow = self.reads.end_round(limit, now) | self.writes.end_round(limit, now);
        if slow && limit > Limiter::START as f64 {
            return self.cut(Self::CUT_WHEN_SLOW, now);
        }
        if self.reached {
            let step = if self.eager { (self.limit / 4.0).max(1.0) } else { 1.0 };
            self.limit = (self.limit + step).min(self.ceiling as f64);
        }
        self.begin_round(now);
    }

    /// At least one whole permit less, so that small limits shrink too.
    fn cut(&mut self, factor: f64, now: Instant) {
        self.limit = (self.limit * factor).min(self.limit - 1.0).max(1.0);
        self.eager = false;
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
    /// Differences below this are the machine's noise.
    const NOISE: f64 = 0.005;
    const RISE_PER_SECOND: f64 = 1.01;

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
    async fn after_a_cut_the_limit_grows_back_by_one_a_round() {
        let limiter = Arc::new(Limiter::new(100));
        round(&limiter, MILLI, Limiter::START).await;
        assert_eq!(limiter.in_force(), 7);

        round(&limiter, MILLI, 0).await;
        round(&limiter, MILLI, 0).await;

        assert!((8..=9).contains(&limiter.in_force()), "{}", limiter.in_force());
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

    #[tokio::test(start_paused = true)]
    async fn a_limit_of_sixty_four_is_found_and_followed_with_few_refusals() {
        let limiter = Arc::new(Limiter::new(512));
        let (mut sent, mut refused, mut used) = (0, 0, 0);

        for _ in 0..500 {
            let limit = limiter.in_force();
            let over = limit.saturating_sub(64);
            round(&limiter, 20 * MILLI, over).await;
            sent += limit;
            refused += over;
            used += limit.min(64);
        }

        assert!(used as f64 > 0.9 * 500.0 * 64.0, "used {used}");
        assert!((refused as f64) < 0.01 * sent as f64, "refused {refused} of {sent}");
    }
}
