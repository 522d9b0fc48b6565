//! The search: candidates are tried, several at once, and the first in order that shows the anomaly is kept.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use crate::plan::Plan;

use super::vary::varied;
use super::{Anomaly, Trial, Witness};

/// When a search ends, whether or not there is more to take away.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Nothing is tried after this.
    pub until: Option<Instant>,
    /// Nothing is tried once the thread that searches has used so much processor time since the search began: what else the
    /// machine does has no say. Only of a search that tries one plan at a time.
    pub processor: Option<Duration>,
    /// Most plans that are tried.
    pub trials_max: u64,
}

/// Processor time that this thread has used so far; zero where the system does not say.
pub fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// A search for a smaller plan.
pub struct Search<'a> {
    trial: &'a dyn Trial,
    anomaly: &'a Anomaly,
    jobs: usize,
    budget: Budget,
    /// Processor time of the searching thread when the search began.
    began: Duration,
    best: Plan,
    witness: Witness,
    /// Hashes of plans that do not show the anomaly.
    refuted: Mutex<BTreeSet<[u8; 32]>>,
    tried: AtomicU64,
    kept: u64,
    /// Variations that each candidate is tried in, the candidate itself first.
    pub(super) variations: u64,
    cut_off: AtomicBool,
    stop: Option<Arc<AtomicBool>>,
    on_kept: &'a (dyn Fn(&Plan, u64) + Sync),
}

impl<'a> Search<'a> {
    /// A search that begins with `plan`, tried with its own seed and, when that does not show the anomaly, with up to
    /// `seeds` in all. `on_kept` hears of each smaller plan, with the number of plans tried so far.
    ///
    /// `None`: the plan does not show the anomaly.
    pub fn begin(
        trial: &'a dyn Trial,
        anomaly: &'a Anomaly,
        plan: &Plan,
        (jobs, seeds): (usize, u64),
        budget: Budget,
        on_kept: &'a (dyn Fn(&Plan, u64) + Sync),
    ) -> Option<Search<'a>> {
        assert!(jobs > 0 && seeds > 0, "somebody has to try something");
        assert!(jobs == 1 || budget.processor.is_none(), "processor time is that of one thread");
        let mut search = Search {
            trial,
            anomaly,
            jobs,
            budget,
            began: processor_time(),
            best: plan.clone(),
            witness: Witness::default(),
            refuted: Mutex::default(),
            tried: AtomicU64::new(0),
            kept: 0,
            variations: 1,
            cut_off: AtomicBool::new(false),
            stop: None,
            on_kept,
        };
        // However short the budget is, the plan itself is tried: otherwise it would seem not to show the anomaly.
        match search.try_plan(plan) {
            Some(witness) => {
                search.witness = witness;
                (on_kept)(&search.best, search.tried());
            }
            None => {
                let others = usize::try_from(seeds - 1).expect("few seeds");
                search.first_of(others, &|number| {
                    let seed = plan.seed.wrapping_add(number as u64 + 1);
                    Some(Plan { seed, ..plan.clone() })
                })?;
            }
        }
        // Another seed takes nothing away.
        search.kept = 0;
        Some(search)
    }

    /// Ends the search, as a budget does, once this is set.
    pub fn end_on(&mut self, stop: Arc<AtomicBool>) {
        self.stop = Some(stop);
    }

    /// Whether somebody has ended the search.
    pub fn is_interrupted(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// The smallest plan so far.
    pub fn best(&self) -> &Plan {
        &self.best
    }

    /// Where the smallest plan showed the anomaly.
    pub(super) fn witness(&self) -> &Witness {
        &self.witness
    }

    /// Variations of a candidate that are worth a try, at most.
    pub(super) fn variations_max(&self) -> u64 {
        self.trial.variations_max()
    }

    /// Plans tried so far.
    pub fn tried(&self) -> u64 {
        self.tried.load(Ordering::Relaxed)
    }

    /// Plans kept so far.
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// Whether the budget has ended before the search has.
    pub fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        let Budget { until, processor, trials_max } = self.budget;
        let over = self.is_interrupted()
            || self.tried() >= trials_max
            || until.is_some_and(|until| Instant::now() >= until)
            || processor.is_some_and(|most| processor_time().saturating_sub(self.began) >= most);
        if over {
            self.cut_off.store(true, Ordering::Relaxed);
        }
        over
    }

    /// Tries `count` candidates made from the best plan (`None`: there is no such one) and keeps the first that shows the
    /// anomaly; its number.
    pub(super) fn first(
        &mut self,
        count: usize,
        make: &(dyn Fn(&Plan, usize) -> Option<Plan> + Sync),
    ) -> Option<usize> {
        let best = self.best.clone();
        let variations = self.variations.min(self.variations_max());
        let places = count.saturating_mul(usize::try_from(variations).expect("few variations"));
        // All candidates as they are, then all in their next variation: what goes easily goes first.
        let place = self.first_of(places, &|place| {
            let candidate = make(&best, place % count).filter(|candidate| *candidate != best)?;
            Some(varied(&candidate, (place / count) as u64))
        })?;
        Some(place % count)
    }

    /// Tries `count` plans and keeps the first that shows the anomaly; its number.
    fn first_of(&mut self, count: usize, make: &(dyn Fn(usize) -> Option<Plan> + Sync)) -> Option<usize> {
        let (next, winner) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        let won: Mutex<Option<(usize, Plan, Witness)>> = Mutex::new(None);
        let this = &*self;
        let work = || {
            while !this.is_over() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count || number > winner.load(Ordering::Relaxed) {
                    return;
                }
                let Some(candidate) = make(number) else { continue };
                if let Some(witness) = this.try_plan(&candidate) {
                    winner.fetch_min(number, Ordering::Relaxed);
                    let mut won = won.lock().expect("nobody panics while holding it");
                    if won.as_ref().is_none_or(|(known, ..)| number < *known) {
                        *won = Some((number, candidate, witness));
                    }
                }
            }
        };
        if self.jobs == 1 || count == 1 {
            work();
        } else {
            thread::scope(|scope| {
                for _ in 0..self.jobs.min(count) {
                    scope.spawn(work);
                }
            });
        }
        let (number, plan, witness) = won.into_inner().expect("nobody panicked while holding it")?;
        (self.best, self.witness) = (plan, witness);
        self.kept += 1;
        (self.on_kept)(&self.best, self.tried());
        Some(number)
    }

    fn try_plan(&self, candidate: &Plan) -> Option<Witness> {
        let bytes = serde_json::to_vec(candidate).expect("a plan has only what JSON can say");
        let hash = *blake3::hash(&bytes).as_bytes();
        let lock = || self.refuted.lock().expect("nobody panics while holding it");
        if lock().contains(&hash) || !candidate.validate().is_empty() {
            return None;
        }
        self.tried.fetch_add(1, Ordering::Relaxed);
        let witness = self.trial.shows(candidate, self.anomaly);
        if witness.is_none() {
            lock().insert(hash);
        }
        witness
    }
}
