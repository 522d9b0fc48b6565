//! The frontier, and the search from one end of an operation to the next.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::Budget;
use crate::table::{Table, hash_pair};

/// Operations under way at once, indeterminate ones included.
const SLOTS: usize = 128;
/// Those of them that only calls that have to take effect may use.
const RESERVED: u32 = 32;
/// Ways of one state that a new one is compared with.
const COMPARED_MAX: usize = 256;
/// Steps between two questions whether to stop.
const STEPS_PER_QUESTION: u64 = 1 << 16;

/// What a call has to do with the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It leaves the state as it is.
    Observes,
    /// The state after it does not depend on the one before, and it is always possible.
    Overwrites,
    /// Anything else.
    Changes,
}

/// A deterministic data type: a pure step function.
pub trait SequentialModel {
    /// All that matters of what happened before.
    type State: Clone + Eq + Hash;
    /// What is called, with what it returned as far as that is known.
    type Call;

    /// The state after a call; `None` if the call can't have returned what it did.
    fn step(&self, state: &Self::State, call: &Self::Call) -> Option<Self::State>;

    /// What the call has to do with the state.
    fn effect(&self, call: &Self::Call) -> Effect;

    /// Whether both do the same to every state.
    fn is_same(&self, a: &Self::Call, b: &Self::Call) -> bool;

    /// Whether an observing call may still fit after calls that overwrite nothing. May say true too often.
    fn may_still_fit(&self, state: &Self::State, call: &Self::Call) -> bool {
        let _ = (state, call);
        true
    }
}

/// A call of a history.
#[derive(Clone, Debug)]
pub struct Called<C> {
    /// What was called.
    pub call: C,
    /// When it began. One call was before another if it ended at a smaller time than the other began.
    pub began: u64,
    /// When it ended; `None`: indeterminate.
    pub ended: Option<u64>,
    /// Whether it need not have happened.
    pub optional: bool,
}

/// How far the search may go.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'b> {
    /// Steps, memory and the caller's deadline.
    pub budget: &'b Budget,
}

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There is an order that explains everything.
    Linearizable,
    /// There is none: the call at this position can't have ended as it did.
    Impossible(usize),
    /// Not found out, for this reason.
    Unknown(String),
}

/// One way to explain what has happened so far. A call under way is in neither mask while it has not taken effect and has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    state: u32,
    /// Took effect, and may not again.
    used: u128,
    /// Need not take effect (any more), and may.
    free: u128,
}

impl Way {
    /// Whether it can explain all that the other can.
    fn covers(&self, other: &Way) -> bool {
        self.state == other.state && ((self.used ^ other.used) | other.free) & !self.free == 0
    }

    fn has_done(&self, slot: usize) -> bool {
        (self.used | self.free) >> slot & 1 == 1
    }

    fn clear(&mut self, slot: usize) {
        self.used &= !(1 << slot);
        self.free &= !(1 << slot);
    }
}

/// Ways of which none covers another, as far as that was looked at.
#[derive(Default)]
struct Ways {
    ways: Vec<(Way, bool)>,
    next: Vec<u32>,
    /// State, and the last way of it.
    states: Vec<(u32, u32)>,
    table: Table,
}

impl Ways {
    /// Adds a way unless another covers it; gives the number of those compared.
    fn add(&mut self, way: Way) -> (bool, u64) {
        let new = self.ways.len() as u32;
        let states = &self.states;
        let hash = |state: u32| hash_pair(u64::from(state), 0);
        let group = self.table.find_or_insert(
            hash(way.state),
            states.len() as u32,
            |at| states[at as usize].0 == way.state,
            |at| hash(states[at as usize].0),
        ) as usize;
        if group == self.states.len() {
            self.states.push((way.state, u32::MAX));
        }
        let mut at = self.states[group].1;
        let mut compared = 0;
        while at != u32::MAX && compared < COMPARED_MAX {
            let (known, dead) = &mut self.ways[at as usize];
            if !*dead {
                if known.covers(&way) {
                    return (false, compared as u64);
                }
                *dead = way.covers(known);
            }
            compared += 1;
            at = self.next[at as usize];
        }
        self.ways.push((way, false));
        self.next.push(self.states[group].1);
        self.states[group].1 = new;
        (true, compared as u64)
    }
}

/// States by number, each kept once.
struct States<S> {
    all: Vec<S>,
    table: Table,
}

impl<S: Clone + Eq + Hash> States<S> {
    fn number(&mut self, state: S) -> u32 {
        let hash = |state: &S| {
            let mut hasher = DefaultHasher::new();
            state.hash(&mut hasher);
            hasher.finish()
        };
        let all = &self.all;
        let new = all.len() as u32;
        let is_it = |known: u32| all[known as usize] == state;
        let number = self.table.find_or_insert(hash(&state), new, is_it, |known| hash(&all[known as usize]));
        if number == new {
            self.all.push(state);
        }
        number
    }
}

/// Whether the calls can have taken effect one after the other, each between its beginning and its end, from one of
/// `initial` on. The calls stand in the order of their beginnings.
pub fn linearize<M: SequentialModel>(
    model: &M,
    initial: &[M::State],
    calls: &[Called<M::Call>],
    limits: Limits<'_>,
) -> Ended {
    let mut search = Search::new(model, calls, limits);
    for state in initial {
        let state = search.states.number(state.clone());
        search.frontier.push(Way { state, used: 0, free: 0 });
    }
    // Beginnings before ends where times touch: then calls overlap.
    let mut events: Vec<(u64, bool, u32)> = Vec::with_capacity(calls.len() * 2);
    for (at, call) in calls.iter().enumerate() {
        events.push((call.began, false, at as u32));
        events.extend(call.ended.map(|ended| (ended, true, at as u32)));
    }
    events.sort_unstable();
    for (time, is_end, call) in events {
        search.now = time;
        let done = if is_end { search.end(call) } else { search.begin(call) };
        match done {
            Ok(true) => {}
            Ok(false) if search.left_out => {
                return Ended::Unknown(format!(
                    "More than {SLOTS} operations were under way or indeterminate at once, and some were left out."
                ));
            }
            Ok(false) => return Ended::Impossible(search.no_future_for.unwrap_or(call) as usize),
            Err(reason) => return Ended::Unknown(reason),
        }
        search.forget_states();
    }
    Ended::Linearizable
}

struct Search<'s, M: SequentialModel> {
    model: &'s M,
    calls: &'s [Called<M::Call>],
    limits: Limits<'s>,
    states: States<M::State>,
    frontier: Vec<Way>,
    /// Call in each slot.
    slots: [u32; SLOTS],
    slot_of: Vec<u8>,
    live: u128,
    overwriting: u128,
    observing: u128,
    /// Some optional call found no slot: what is impossible without it may be possible with it.
    left_out: bool,
    now: u64,
    steps: u64,
    asked: u64,
    /// Required observing calls by end, to look ahead; the first that has not ended.
    observations: Vec<u32>,
    next_observation: usize,
    /// The observation that ways of this end were given up for.
    no_future_for: Option<u32>,
    /// Beginnings and ends of overwriting calls, sorted.
    overwrites_begin: Vec<u64>,
    overwrites_end: Vec<u64>,
}

impl<'s, M: SequentialModel> Search<'s, M> {
    fn new(model: &'s M, calls: &'s [Called<M::Call>], limits: Limits<'s>) -> Search<'s, M> {
        let with = |effect: Effect| calls.iter().filter(move |call| model.effect(&call.call) == effect);
        let mut observations: Vec<u32> = (0..calls.len() as u32)
            .filter(|at| {
                let call = &calls[*at as usize];
                model.effect(&call.call) == Effect::Observes && call.ended.is_some() && !call.optional
            })
            .collect();
        observations.sort_by_key(|at| calls[*at as usize].ended);
        let mut overwrites_begin: Vec<u64> = with(Effect::Overwrites).map(|call| call.began).collect();
        let mut overwrites_end: Vec<u64> =
            with(Effect::Overwrites).map(|call| call.ended.unwrap_or(u64::MAX)).collect();
        overwrites_begin.sort_unstable();
        overwrites_end.sort_unstable();
        Search {
            model,
            calls,
            limits,
            states: States { all: Vec::new(), table: Table::default() },
            frontier: Vec::new(),
            slots: [u32::MAX; SLOTS],
            slot_of: vec![u8::MAX; calls.len()],
            live: 0,
            overwriting: 0,
            observing: 0,
            left_out: false,
            now: 0,
            steps: 0,
            asked: 0,
            observations,
            next_observation: 0,
            no_future_for: None,
            overwrites_begin,
            overwrites_end,
        }
    }

    fn spend(&mut self, steps: u64, ways: usize) -> Result<(), String> {
        self.steps += steps;
        let budget = self.limits.budget;
        if self.steps > budget.steps_max {
            return Err(format!("The budget of {} steps ended.", budget.steps_max));
        }
        let bytes = ways as u64 * (size_of::<(Way, bool)>() as u64 + 8);
        if bytes > budget.memory_bytes_max {
            return Err(format!("The budget of {} MB of memory ended.", budget.memory_bytes_max >> 20));
        }
        if self.steps - self.asked > STEPS_PER_QUESTION {
            self.asked = self.steps;
            if budget.is_over() {
                return Err("The time for judging ended.".to_owned());
            }
        }
        Ok(())
    }

    /// A call begins. False never.
    fn begin(&mut self, at: u32) -> Result<bool, String> {
        let call = &self.calls[at as usize];
        let effect = self.model.effect(&call.call);
        let is_free = call.optional || call.ended.is_none();
        if is_free && effect == Effect::Observes {
            return Ok(true);
        }
        if is_free && self.live.count_zeros() <= RESERVED {
            self.left_out = true;
            return Ok(true);
        }
        if self.live == u128::MAX {
            return Err(format!("More than {SLOTS} operations were under way or indeterminate at once."));
        }
        let slot = (!self.live).trailing_zeros() as usize;
        let bit = 1_u128 << slot;
        self.slots[slot] = at;
        self.slot_of[at as usize] = slot as u8;
        self.live |= bit;
        match effect {
            Effect::Overwrites => self.overwriting |= bit,
            Effect::Observes => self.observing |= bit,
            Effect::Changes => {}
        }
        for way in &mut self.frontier {
            let fits = || self.model.step(&self.states.all[way.state as usize], &call.call).is_some();
            if is_free || (effect == Effect::Observes && fits()) {
                way.free |= bit;
            }
        }
        Ok(true)
    }

    /// A call ends: every way in which it took effect stays. False if there is none.
    fn end(&mut self, at: u32) -> Result<bool, String> {
        while let Some(first) = self.observations.get(self.next_observation)
            && self.calls[*first as usize].ended <= Some(self.now)
            && *first != at
            && self.slot_of[*first as usize] == u8::MAX
        {
            self.next_observation += 1;
        }
        let slot = self.slot_of[at as usize];
        if slot == u8::MAX {
            // It found no slot, or observes and is optional.
            return Ok(true);
        }
        let slot = slot as usize;
        self.no_future_for = None;
        let mut ended = Ways::default();
        let mut open = Ways::default();
        for way in std::mem::take(&mut self.frontier) {
            if way.has_done(slot) {
                self.keep(&mut ended, way, slot)?;
            }
            if !self.is_through(&way, slot) {
                open.add(way);
            }
        }
        let mut next = 0;
        while next < open.ways.len() {
            let (way, dead) = open.ways[next];
            next += 1;
            if !dead {
                self.expand(way, slot, &mut open, &mut ended)?;
            }
        }
        let bit = 1_u128 << slot;
        self.live &= !bit;
        self.overwriting &= !bit;
        self.observing &= !bit;
        self.slots[slot] = u32::MAX;
        self.slot_of[at as usize] = u8::MAX;
        self.frontier = ended.ways.into_iter().filter(|(_, dead)| !dead).map(|(way, _)| way).collect();
        Ok(!self.frontier.is_empty())
    }

    /// Whether nothing more can become of a call that ends: a change that is free may still be the last thing seen before.
    fn is_through(&self, way: &Way, slot: usize) -> bool {
        way.used >> slot & 1 == 1 || (self.observing & way.free) >> slot & 1 == 1
    }

    fn keep(&mut self, ended: &mut Ways, mut way: Way, slot: usize) -> Result<(), String> {
        way.clear(slot);
        let (_, compared) = ended.add(way);
        self.spend(1 + compared, ended.ways.len())
    }

    /// All that one more call can lead to.
    fn expand(&mut self, way: Way, slot: usize, open: &mut Ways, ended: &mut Ways) -> Result<(), String> {
        let possible = self.live & !self.observing & !way.used;
        let mut left = possible;
        while left != 0 {
            let candidate = left.trailing_zeros() as usize;
            left &= left - 1;
            if self.is_behind_another(way, candidate, possible) {
                continue;
            }
            let call = &self.calls[self.slots[candidate] as usize].call;
            let Some(state) = self.model.step(&self.states.all[way.state as usize], call) else {
                self.spend(1, 0)?;
                continue;
            };
            let bit = 1_u128 << candidate;
            let mut after = Way { state: self.states.number(state), used: way.used | bit, free: way.free & !bit };
            if self.overwriting & bit != 0 {
                after.free |= self.overwriting & !after.used;
            }
            let mut reads = self.observing & !after.free;
            while reads != 0 {
                let read = reads.trailing_zeros() as usize;
                reads &= reads - 1;
                let call = &self.calls[self.slots[read] as usize].call;
                if self.model.step(&self.states.all[after.state as usize], call).is_some() {
                    after.free |= 1 << read;
                }
            }
            if !self.has_future(&after) {
                self.spend(1, 0)?;
                continue;
            }
            if after.has_done(slot) && !(way.has_done(slot) && after.free >> slot & 1 == 1) {
                self.keep(ended, after, slot)?;
            }
            if !self.is_through(&after, slot) {
                let (_, compared) = open.add(after);
                self.spend(1 + compared, open.ways.len())?;
            }
        }
        Ok(())
    }

    /// Whether another call that does the same should go first: it ends earlier (or has the lower slot), and is free or not
    /// just as this one.
    fn is_behind_another(&self, way: Way, candidate: usize, possible: u128) -> bool {
        let call = &self.calls[self.slots[candidate] as usize];
        let is_free = |slot: usize| way.free >> slot & 1;
        let order = |slot: usize| (self.calls[self.slots[slot] as usize].ended.unwrap_or(u64::MAX), slot);
        let mut others = possible & !(1 << candidate);
        while others != 0 {
            let other = others.trailing_zeros() as usize;
            others &= others - 1;
            if is_free(other) == is_free(candidate)
                && order(other) < order(candidate)
                && self.model.is_same(&self.calls[self.slots[other] as usize].call, &call.call)
            {
                return true;
            }
        }
        false
    }

    /// Whether the first observation that is still to come can be made, unless something overwrites the state before.
    fn has_future(&mut self, way: &Way) -> bool {
        let is_made = |at: &&u32| {
            let slot = self.slot_of[**at as usize];
            let over = self.calls[**at as usize].ended < Some(self.now);
            over || (slot != u8::MAX && way.free >> slot & 1 == 1)
        };
        let Some(observation) = self.observations[self.next_observation..].iter().find(|at| !is_made(at)) else {
            return true;
        };
        let number = *observation;
        let observation = &self.calls[number as usize];
        let ended = observation.ended.unwrap_or(u64::MAX);
        let begun = self.overwrites_begin.partition_point(|begin| *begin <= ended);
        let over = self.overwrites_end.partition_point(|end| *end < self.now);
        let fits = begun > over || self.model.may_still_fit(&self.states.all[way.state as usize], &observation.call);
        if !fits {
            self.no_future_for = Some(number);
        }
        fits
    }

    /// Lets go of states that no way is in any more.
    fn forget_states(&mut self) {
        if self.states.all.len() < 1024 + 8 * self.frontier.len() {
            return;
        }
        let old = std::mem::take(&mut self.states.all);
        self.states.table = Table::default();
        for way in &mut self.frontier {
            way.state = self.states.number(old[way.state as usize].clone());
        }
    }
}
