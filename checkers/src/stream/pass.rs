//! One pass over a history: what it holds, and whether every register in it is linearizable.
//!
//! Memory: the names of keys, one state per process, the versions that are not closed ([`super::versions`]), and, where
//! sessions are asked for, a word for each pair of a session and a key that it used. Nothing grows with the operations.

use super::versions::{Horizon, Misfit, Versions};
use crate::registers::{Begun, Events, Processes, Said};
use crate::table::{Interner, Table, hash_pair};
use crate::{EventType, Function};

/// How often the pass looks back, and how much it may remember.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Events by which a recording may be out of the order of its times; beyond, versions can't be closed.
    pub(super) late_events: u64,
    /// Versions of a key below which none is cleared away.
    pub(super) versions_min: usize,
    /// Bytes that keys, versions and sessions may take.
    pub(super) bytes_max: u64,
}

/// Bytes of a key beside its versions, of a version, and of a session's use of a key, each with its place in a table.
const KEY_BYTES: u64 = 300;
const VERSION_BYTES: u64 = 64;
const PAIR_BYTES: u64 = 24;

impl Default for Pace {
    fn default() -> Pace {
        Pace { late_events: 1024, versions_min: 64, bytes_max: u64::MAX }
    }
}

/// Times are doubled.
const TIME_MAX: u64 = u64::MAX >> 3;
/// No time yet.
const NEVER: u64 = u64::MAX;

/// What the pass found out about all registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Each is linearizable, even if times that touch are an order.
    Linearizable,
    /// These values of a key do not fit together, or may not; `None` is the initial version.
    Misfit {
        /// Number of the key.
        key: u32,
        /// One or two values.
        values: Vec<Option<u64>>,
    },
    /// It can't be known in one pass: why, as a sentence.
    Unknown(String),
}

/// Counts of the evidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// Reads begun after any client had seen or made a version that replaced an acknowledged one.
    pub(super) in_time: u64,
    /// The same after any client had read one.
    pub(super) in_time_of_reads: u64,
    /// Reads before which the session had read, had written, or had either of a version that replaced an acknowledged one.
    pub(super) read_before: u64,
    pub(super) wrote_before: u64,
    pub(super) did_before: u64,
    /// Reads of keys of which the session had a version before, and of which it had read one.
    pub(super) knew: u64,
    pub(super) knew_by_reading: u64,
}

/// What one pass says of a history.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) fit: Fit,
    pub(super) keys: Vec<Box<str>>,
    /// Operations by number of the key, failed ones included.
    pub(super) operations: Vec<u64>,
    pub(super) sessions: u32,
    /// Reads that are ok, and writes and deletes that may have happened.
    pub(super) reads: u64,
    pub(super) changes: u64,
    pub(super) evidence: Evidence,
    /// Most versions that were remembered at once.
    pub(super) versions_max: usize,
    pub(super) notes: Vec<String>,
}

/// What is known of a key beside its versions.
#[derive(Clone, Copy, Debug)]
struct Key {
    /// When the first write was acknowledged.
    acknowledged: u64,
    /// When somebody first had seen or made, or only seen, a version that replaced an acknowledged one.
    shown: u64,
    shown_by_read: u64,
}

/// What a session did with a key.
const READ_NEWER: u8 = 1;
const WROTE_NEWER: u8 = 2;
const KNOWS: u8 = 4;
const KNOWS_BY_READING: u8 = 8;

/// What each session did with each key that it used, and where that is.
#[derive(Debug, Default)]
struct Pairs {
    did: Vec<(u32, u32, u8)>,
    table: Table,
}

struct Pass {
    pace: Pace,
    fit: Fit,
    keys: Vec<(Key, Versions)>,
    operations: Vec<u64>,
    /// What sessions did with keys; `None`: nobody asks.
    sessions: Option<Pairs>,
    horizon: Horizon,
    events: u64,
    /// Latest time so far, and as it was at the end of the block of events before.
    latest: u64,
    latest_before: u64,
    reads: u64,
    changes: u64,
    evidence: Evidence,
    versions_max: usize,
    /// Versions of all keys that are remembered.
    versions: u64,
}

/// Goes through a history once.
///
/// # Errors
/// As [`Events::read`].
pub(super) fn pass<E: Events>(events: &mut E, with_sessions: bool, pace: Pace) -> Result<Passed, E::Error> {
    let mut processes = events.processes();
    let mut names = Interner::default();
    let mut pass = Pass {
        pace,
        fit: Fit::Linearizable,
        keys: Vec::new(),
        operations: Vec::new(),
        sessions: with_sessions.then(Default::default),
        horizon: Horizon { events: 0, reads: 0 },
        events: 0,
        latest: 0,
        latest_before: 0,
        reads: 0,
        changes: 0,
        evidence: Evidence::default(),
        versions_max: 0,
        versions: 0,
    };
    let notes = events.read(|event| {
        let key = names.number(event.key);
        if key as usize == pass.keys.len() {
            let new = Key { acknowledged: NEVER, shown: NEVER, shown_by_read: NEVER };
            pass.keys.push((new, Versions::new(pace.versions_min)));
            pass.operations.push(0);
        }
        pass.time(event, &processes);
        if event.kind == EventType::Invoke {
            let (_, begun) = processes.begin(event, key, 0)?;
            pass.operations[key as usize] += 1;
            pass.begin(&begun);
        } else {
            let (session, begun) = processes.end(event, key)?;
            pass.end(session, &begun, event);
        }
        Ok(())
    })?;
    for open in processes.open().filter(|open| open.f != Function::Read) {
        pass.changes += 1;
        if let Some(value) = open.value {
            pass.keys[open.key as usize].1.end_write(value, None);
        }
    }
    pass.horizon = Horizon { events: TIME_MAX, reads: TIME_MAX };
    for key in 0..pass.keys.len() as u32 {
        pass.clear_away(key);
    }
    Ok(Passed {
        fit: pass.fit,
        keys: names.into_texts(),
        operations: pass.operations,
        sessions: processes.sessions(),
        reads: pass.reads,
        changes: pass.changes,
        evidence: pass.evidence,
        versions_max: pass.versions_max,
        notes: notes.into_iter().chain(processes.note()).collect(),
    })
}

impl Pass {
    fn misfit(&mut self, key: u32, misfit: Misfit) {
        if self.fit == Fit::Linearizable {
            self.fit = Fit::Misfit { key, values: misfit.0 };
        }
    }

    fn unknown(&mut self, why: impl FnOnce() -> String) {
        if self.fit == Fit::Linearizable {
            self.fit = Fit::Unknown(why());
        }
    }

    /// Time goes by.
    fn time(&mut self, event: &Said<'_>, processes: &Processes) {
        if event.time < self.horizon.events {
            let late = self.pace.late_events;
            self.unknown(|| format!("Event {} is recorded more than {late} events after later ones.", event.index));
        } else if event.time > TIME_MAX {
            self.unknown(|| format!("Event {} has a time beyond {TIME_MAX} ns.", event.index));
        }
        self.latest = self.latest.max(event.time);
        self.events += 1;
        if self.events.is_multiple_of(self.pace.late_events) {
            let reads = processes.open().filter(|open| open.f == Function::Read).map(|open| open.invoked).min();
            let events = self.latest_before;
            self.horizon = Horizon { events, reads: reads.unwrap_or(events).min(events) };
            self.latest_before = self.latest;
            self.look_at_memory();
        }
    }

    /// Gives up, and forgets what was remembered, when that is more than is allowed.
    fn look_at_memory(&mut self) {
        let pairs = self.sessions.as_ref().map_or(0, |pairs| pairs.did.len()) as u64;
        let bytes = self.keys.len() as u64 * KEY_BYTES + self.versions * VERSION_BYTES + pairs * PAIR_BYTES;
        if self.fit == Fit::Linearizable && bytes > self.pace.bytes_max {
            let (keys, versions) = (self.keys.len(), self.versions);
            self.unknown(|| {
                format!("What is under way at once, {versions} versions of {keys} keys, takes too much memory.")
            });
            self.sessions = None;
            self.keys.iter_mut().for_each(|(_, versions)| *versions = Versions::new(0));
        }
    }

    fn clear_away(&mut self, key: u32) {
        if self.fit != Fit::Linearizable {
            return;
        }
        let versions = &mut self.keys[key as usize].1;
        let before = versions.len();
        self.versions_max = self.versions_max.max(before);
        let cleared = versions.clear_away(self.horizon);
        self.versions -= (before - versions.len().min(before)) as u64;
        if let Err(misfit) = cleared {
            self.misfit(key, misfit);
        }
    }

    fn begin(&mut self, begun: &Begun) {
        if self.fit != Fit::Linearizable {
            return;
        }
        match (begun.f, begun.value) {
            (Function::Delete, _) => {
                self.unknown(|| format!("Something is deleted ({}), and deletes write no value.", begun.index));
            }
            (Function::Write, Some(value)) => {
                let versions = &mut self.keys[begun.key as usize].1;
                let before = versions.len();
                let began = versions.begin_write(value, begun.invoked);
                self.versions += (versions.len() - before) as u64;
                let are_many = versions.are_many();
                if let Err(misfit) = began {
                    self.misfit(begun.key, misfit);
                } else if are_many {
                    self.clear_away(begun.key);
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, session: u32, begun: &Begun, event: &Said<'_>) {
        let is_ok = event.kind == EventType::Ok;
        if begun.f == Function::Read {
            self.reads += u64::from(is_ok);
        } else {
            self.changes += u64::from(event.kind != EventType::Fail);
        }
        if self.fit != Fit::Linearizable {
            return;
        }
        let (key, versions) = &mut self.keys[begun.key as usize];
        match (begun.f, begun.value) {
            (Function::Write, Some(value)) if event.kind == EventType::Fail => {
                if let Err(misfit) = versions.fail_write(value) {
                    self.misfit(begun.key, misfit);
                }
            }
            (Function::Write, Some(value)) => {
                versions.end_write(value, is_ok.then_some(event.time));
                if is_ok {
                    key.acknowledged = key.acknowledged.min(event.time);
                    let newer = begun.invoked > key.acknowledged;
                    if newer {
                        key.shown = key.shown.min(event.time);
                    }
                    self.remember(session, begun.key, KNOWS | if newer { WROTE_NEWER } else { 0 });
                }
            }
            (Function::Read, _) if is_ok => match versions.read(event.value, begun.invoked, event.time) {
                Ok(written) => self.count_read(session, begun, event, written),
                Err(misfit) => self.misfit(begun.key, misfit),
            },
            _ => {}
        }
    }

    /// Whether the read could have been stale, by what each model promises; and what it shows.
    fn count_read(&mut self, session: u32, begun: &Begun, event: &Said<'_>, written: Option<u64>) {
        let key = &mut self.keys[begun.key as usize].0;
        self.evidence.in_time += u64::from(begun.invoked > key.shown);
        self.evidence.in_time_of_reads += u64::from(begun.invoked > key.shown_by_read);
        let newer = written.is_some_and(|written| written > key.acknowledged);
        if newer {
            key.shown = key.shown.min(event.time);
            key.shown_by_read = key.shown_by_read.min(event.time);
        }
        let teaches = if event.value.is_some() { KNOWS | KNOWS_BY_READING } else { 0 };
        let did = self.remember(session, begun.key, teaches | if newer { READ_NEWER } else { 0 });
        let evidence = &mut self.evidence;
        for (bits, count) in [
            (READ_NEWER, &mut evidence.read_before),
            (WROTE_NEWER, &mut evidence.wrote_before),
            (READ_NEWER | WROTE_NEWER, &mut evidence.did_before),
            (KNOWS, &mut evidence.knew),
            (KNOWS_BY_READING, &mut evidence.knew_by_reading),
        ] {
            *count += u64::from(did & bits != 0);
        }
    }

    /// What the session did with the key before, and from now on.
    fn remember(&mut self, session: u32, key: u32, bits: u8) -> u8 {
        let Some(Pairs { did: pairs, table }) = &mut self.sessions else { return 0 };
        let hash = |(session, key): (u32, u32)| hash_pair(u64::from(session), u64::from(key));
        let place = |at: u32| (pairs[at as usize].0, pairs[at as usize].1);
        let new = pairs.len() as u32;
        let at =
            table.find_or_insert(hash((session, key)), new, |at| place(at) == (session, key), |at| hash(place(at)));
        if at == new {
            pairs.push((session, key, bits));
            return 0;
        }
        let known = pairs[at as usize].2;
        pairs[at as usize].2 |= bits;
        known
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Fit, Pace, pass};
    use crate::causal::{Graph, UNKNOWN};
    use crate::registers::Lines;
    use crate::zones::zones_by_key;
    use crate::{Event, EventType, Function, ProcessId, registers_from_jsonl};

    /// A step of one of three clients: what it begins or how it ends, and what a read returns.
    type Step = (usize, u8, u8, bool);

    /// A history of one or two keys whose reads return something written lately, the initial version, or anything.
    fn history(steps: &[Step]) -> Vec<Event> {
        let mut open: [Option<(Function, &str, Option<u64>)>; 3] = [None; 3];
        let mut processes = [0, 1, 2];
        let (mut written, mut time, mut events) = (Vec::new(), 0, Vec::new());
        for (client, choice, back, passes) in steps {
            time += u64::from(*passes);
            let (kind, (f, key, value)) = match open[*client].take() {
                None => {
                    let f = if choice % 2 == 0 { Function::Write } else { Function::Read };
                    let value = (f == Function::Write).then(|| {
                        written.push(written.len() as u64 + 1);
                        written.len() as u64
                    });
                    let key = if choice % 16 == 15 { "y" } else { "x" };
                    open[*client] = Some((f, key, value));
                    (EventType::Invoke, (f, key, value))
                }
                Some((f, key, value)) => {
                    let kind = [EventType::Ok, EventType::Info, EventType::Fail][match choice {
                        0..14 => 0,
                        14 => 1,
                        _ => 2,
                    }];
                    let read = if *back < 6 {
                        written.iter().rev().nth(usize::from(*back)).copied()
                    } else if *back < 8 {
                        None
                    } else {
                        Some(written.len() as u64 + u64::from(*back) - 8)
                    };
                    (kind, (f, key, if f == Function::Read { read } else { value }))
                }
            };
            let process = ProcessId(processes[*client]);
            events.push(Event {
                index: 0,
                time,
                kind,
                process,
                f,
                key: key.to_owned(),
                value,
                items: None,
                node: None,
                error: None,
            });
            if kind == EventType::Info {
                processes[*client] += 3;
            }
        }
        events
    }

    fn text(mut events: Vec<Event>) -> Vec<u8> {
        let mut text = Vec::new();
        for (index, event) in (0..).zip(&mut events) {
            event.index = index;
            event.write_json_line(&mut text);
        }
        text
    }

    fn steps(max: usize) -> impl Strategy<Value = Vec<Step>> {
        // Returning the latest is most common, so that long histories hold at times.
        let back = prop_oneof![20 => Just(0_u8), 4 => 1..3_u8, 1 => 0..10_u8];
        proptest::collection::vec((0..3_usize, 0..16_u8, back, any::<bool>()), 0..max)
    }

    fn is_linearizable(text: &[u8]) -> bool {
        let registers = registers_from_jsonl(text).expect("a history");
        let graph = Graph::new(&registers);
        let zones = || zones_by_key(&registers, &graph.nodes, &graph.impossible);
        // A read that ends when its write begins is left to the models.
        let touches = |node: u32| {
            let (read, version) = (graph.op(node), graph.nodes[node as usize].version);
            read.is_read() && version < UNKNOWN && graph.op(version).invoked >= read.completed
        };
        let touches = (0..graph.nodes.len() as u32).any(touches);
        graph.impossible.is_empty() && !touches && zones().iter().all(|zones| zones.is_strictly_atomic())
    }

    /// Clients in turn change and read one register that works; each operation takes effect at its end.
    fn atomic(operations: u64) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        let mut value = None;
        for operation in 0..operations {
            let f = if operation % 2 == 0 { Function::Write } else { Function::Read };
            let asked = (f == Function::Write).then_some(operation);
            for kind in [EventType::Invoke, EventType::Ok] {
                if kind == EventType::Ok {
                    value = asked.or(value);
                }
                let returned = if kind == EventType::Ok { value } else { asked };
                let (time, process) = (events.len() as u64 * 10, ProcessId(operation % 5));
                let (key, node, error) = ("x".to_owned(), None, None);
                events.push(Event { index: 0, time, kind, process, f, key, value: returned, items: None, node, error });
            }
        }
        events
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn one_pass_decides_as_all_operations_together_do(steps in steps(60), late in 1..4_u64, least in 1..4_usize) {
            let text = text(history(&steps));
            let passed = pass(&mut Lines(text.as_slice()), true, Pace { late_events: late, versions_min: least, ..Pace::default() }).unwrap();
            prop_assert_eq!(passed.fit == Fit::Linearizable, is_linearizable(&text), "{:?}\n{}", passed.fit, String::from_utf8_lossy(&text));
        }

        #[test]
        fn events_out_of_order_are_waited_for_or_refused(steps in steps(60), swaps in proptest::collection::vec(0..60_usize, 0..8)) {
            let mut events = history(&steps);
            for at in swaps {
                if at + 1 < events.len() && events[at].process != events[at + 1].process {
                    events.swap(at, at + 1);
                }
            }
            let text = text(events);
            let passed = pass(&mut Lines(text.as_slice()), true, Pace { late_events: 3, versions_min: 1, ..Pace::default() }).unwrap();
            match passed.fit {
                Fit::Unknown(_) => {}
                fit => prop_assert_eq!(fit == Fit::Linearizable, is_linearizable(&text), "{:?}\n{}", fit, String::from_utf8_lossy(&text)),
            }
        }
    }

    #[test]
    fn memory_does_not_grow_with_the_history() {
        let most = |operations| {
            let passed = pass(&mut Lines(text(atomic(operations)).as_slice()), true, Pace::default()).unwrap();
            assert_eq!(passed.fit, Fit::Linearizable);
            passed.versions_max
        };
        let (short, long) = (most(10_000), most(100_000));
        assert!(long <= short && long < 3_000, "{short} versions at once, then {long}");
    }

    #[test]
    fn an_event_that_is_too_late_is_refused() {
        let mut events = atomic(100);
        // Its process has been idle since an earlier time than that.
        events[100].time = events[93].time;
        let fit = |late_events| {
            pass(
                &mut Lines(text(events.clone()).as_slice()),
                false,
                Pace { late_events, versions_min: 1, ..Pace::default() },
            )
            .unwrap()
            .fit
        };
        assert!(
            matches!(fit(2), Fit::Unknown(why) if why == "Event 100 is recorded more than 2 events after later ones.")
        );
        assert_eq!(fit(16), Fit::Linearizable);
    }

    #[test]
    fn what_was_forgotten_is_still_found_when_it_is_read_again() {
        let mut events = atomic(20_000);
        let read = events.len() - 1;
        assert_eq!((events[read].f, events[read].kind), (Function::Read, EventType::Ok));
        events[read].value = Some(2);
        let fit = pass(&mut Lines(text(events).as_slice()), false, Pace::default()).unwrap().fit;
        assert_eq!(fit, Fit::Misfit { key: 0, values: vec![Some(2)] });
    }
}
