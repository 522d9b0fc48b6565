//! One simulated run from the first process to the last, phase for phase as on real processes ([`crate::run::execute`]).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use hearsay_checkers::{Case, Event as HistoryEvent, EventType, FinalNode, FinalState, History, Phase};
use hearsay_core::{ClientRequest, ClientResponse, Event as NodeEvent, LocalEntry, NodeId};

use crate::plan::Plan;
use crate::report::marks::by_name;
use crate::report::{ProblemKind, RunReport, Simulation};
use crate::run::client::{entries_of_node, looks_at_node};
use crate::run::convergence::{Scans, differing, final_entries, keeps, kept};
use crate::run::end_state;
use crate::run::execute::{Ran, SCAN_INTERVAL, phases_until, tombstones_collected};
use crate::run::final_reads::reads;
use crate::run::judge::judged_report;
use crate::run::load::{Load, Undone, keys_of, operations_by_client};
use crate::run::metrics::{SAMPLE_INTERVAL, Sample};
use crate::run::pending::{LastLook, pending};
use crate::store::{Observed, RunDirectory, StoreError, needs_recording, recording_of, write_json, write_whole};

use super::clients::Clients;
use super::nemesis::{LOOK_INTERVAL_PER_NODE, Nemesis};
use super::run_hash::Watch;
use super::settings::{MILLISECOND, SECOND, Settings};
use super::tape::Tape;
use super::world::{Event, LogLine, Step, World};

/// Longest wait for the nodes to serve, at the start.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at the start.
const READY_LOOK: u64 = 20 * MILLISECOND;
/// Between two samples of large clusters, for each node: the lines of all samples are a kilobyte each.
const SAMPLE_INTERVAL_PER_NODE: u64 = MILLISECOND;
/// Entries asked of a node at a time.
const SCAN_PAGE: u32 = 1_000;
/// Longest wait for a repair that compares everything, and between two looks at it.
const REPAIR_WITHIN: u64 = 20 * SECOND;
const REPAIR_LOOK: u64 = 10 * MILLISECOND;

/// When the harness around the world acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// A client is due.
    Client(u32),
    /// Slot and number of a call.
    ConnectTimeout(u32, u64),
    /// Slot and number of a call.
    CallTimeout(u32, u64),
    /// Faults are due.
    Turn,
    /// A crash has waited long enough for an acknowledgement.
    Strike,
    /// Nodes that were asked to leave may have ended.
    Left,
    /// A wipe waits for the others.
    OthersReady,
    /// A healing is to be proven, by index of the fault.
    Proof(usize),
    /// The whole cluster is to be proven.
    Whole,
    /// The planned load is over.
    LoadEnds,
    /// Counters are sampled.
    Sample,
}

/// The history while it is made, and the run's clock: zero at the start of the load.
#[derive(Debug)]
pub(super) struct Recording {
    start: u64,
    events: Vec<HistoryEvent>,
    lines: Vec<u8>,
    acknowledged_writes: u64,
}

impl Recording {
    /// Nothing is recorded yet; the run begins at that time of the world.
    pub(super) fn starting_at(start: u64) -> Recording {
        Recording { start, events: Vec::new(), lines: Vec::new(), acknowledged_writes: 0 }
    }

    /// The history so far.
    #[cfg(test)]
    pub(super) fn events(&self) -> &[HistoryEvent] {
        &self.events
    }

    /// Writes and deletes acknowledged so far.
    pub(super) fn acknowledged_writes(&self) -> u64 {
        self.acknowledged_writes
    }

    /// Nanoseconds since the start of the run.
    pub(super) fn time(&self, world_time: u64) -> u64 {
        world_time - self.start
    }

    /// The world's time at a time of the run.
    pub(super) fn world_time(&self, time: u64) -> u64 {
        self.start.saturating_add(time)
    }

    /// Gives an event its index and time.
    pub(super) fn record(&mut self, world: &mut World, mut event: HistoryEvent) {
        event.index = self.events.len() as u64;
        event.time = self.time(world.now());
        let begin = self.lines.len();
        event.write_json_line(&mut self.lines);
        self.acknowledged_writes += u64::from(event.kind == EventType::Ok && !event.f.is_read());
        let now = world.now();
        world.hash.line(now, &self.lines[begin..]);
        world.hash.tape(|tape| tape.history(now, &event));
        self.events.push(event);
    }
}

/// What a simulated run brought.
#[derive(Debug)]
pub struct Simulated {
    /// What a run on real processes brings as well.
    pub ran: Ran,
    /// What is judged; `None`: nothing was started. An error is a history that is none.
    pub case: Option<Result<Case, String>>,
    /// Of a run that was asked for one.
    pub tape: Option<Tape>,
    history: Vec<u8>,
    faults: Vec<u8>,
    metrics: Vec<u8>,
    logs: BTreeMap<NodeId, String>,
    observed: Observed,
    final_state: Option<FinalState>,
}

impl Simulated {
    /// Hash over everything that happened.
    pub fn run_hash(&self) -> &str {
        self.ran.simulation.as_ref().map_or("", |simulation| &simulation.run_hash)
    }

    /// Writes what a run leaves in its directory, but for its report.
    ///
    /// # Errors
    /// It can't be written.
    pub fn write(&self, directory: &RunDirectory) -> Result<(), StoreError> {
        write_whole(&directory.history(), &self.history)?;
        write_whole(&directory.faults(), &self.faults)?;
        write_whole(&directory.metrics(), &self.metrics)?;
        for (node, log) in &self.logs {
            write_whole(&directory.logs().join(format!("{node}.log")), log.as_bytes())?;
        }
        write_json(&directory.phases(), &self.observed)?;
        self.final_state.iter().try_for_each(|state| write_json(&directory.final_state(), state))
    }

    /// The report, with the place of the evidence and the command that does it again.
    pub fn report(&self, plan: &Plan, directory: String, replay: String) -> RunReport {
        judged_report(plan, self.case.as_ref().map(Result::as_ref), (directory, replay), self.ran.clone())
    }
}

/// Carries out a plan in virtual time. Failures are among the problems of what it brought.
pub fn simulate(plan: &Plan, settings: Settings) -> Simulated {
    simulate_with(plan, settings, Watch::default())
}

/// As [`simulate`], and somebody looks on. The run is the same with and without.
pub fn simulate_with(plan: &Plan, settings: Settings, watch: Watch) -> Simulated {
    let mut ran = Ran::default();
    let world = match World::new(&plan.cluster, plan.seed, settings, watch) {
        Ok(world) => world.with(plan.planted_bug()).with_spares(plan.spares),
        Err(error) => {
            ran.problem(ProblemKind::Harness, error.to_string());
            return Simulated {
                ran,
                case: None,
                tape: None,
                history: Vec::new(),
                faults: Vec::new(),
                metrics: Vec::new(),
                logs: BTreeMap::new(),
                observed: Observed::default(),
                final_state: None,
            };
        }
    };
    let load = Load::of(plan);
    let timeout_ms = u64::try_from(load.timeout().as_millis()).unwrap_or(u64::MAX);
    let run = Run {
        plan,
        load,
        world,
        recording: Recording::starting_at(0),
        clients: Clients::new(timeout_ms),
        nemesis: Nemesis::new(plan),
        load_ended: false,
        metrics: Vec::new(),
    };
    run.play(ran)
}

/// A run while it goes on.
struct Run<'a> {
    plan: &'a Plan,
    load: Load,
    world: World,
    recording: Recording,
    clients: Clients,
    nemesis: Nemesis,
    load_ended: bool,
    metrics: Vec<u8>,
}

impl Run<'_> {
    fn play(mut self, mut ran: Ran) -> Simulated {
        for &node in &self.plan.cluster.members {
            let started = self.world.start(node);
            assert!(started, "nothing runs in a new world");
        }
        let mut final_state = None;
        let ready = self.wait_until_ready();
        match &ready {
            _ if self.world.died().is_some() => {}
            Ok(()) => {
                self.carry_out_load(&mut ran);
                if self.world.died().is_none() {
                    final_state = self.converge(&mut ran);
                }
                if self.world.died().is_none() {
                    self.final_reads(&mut ran);
                }
            }
            Err(missing) => {
                ran.problem(ProblemKind::Cluster, format!("the cluster was not ready to serve {missing}"));
            }
        }
        if let Some((node, message)) = self.world.died() {
            ran.problem(ProblemKind::NodeDied, format!("{node} ended by itself: {message}"));
        }
        let Run { recording, mut world, nemesis, metrics, .. } = self;
        let ended = recording.time(world.now());
        let (events, virtual_ns) = (world.events(), world.now());
        let logs = logs(&world.log, world.log_left_out);
        ran.marks = by_name(&world.marks());
        let tape = world.hash.take_tape();
        let run_hash = world.hash.finish();
        ran.simulation = Some(Simulation { run_hash, events, virtual_ns });
        let (faults, fault_lines) = nemesis.into_reports();
        ran.faults = faults;
        ran.note_faults();
        let observed = ran.observed(ended);
        let case = ready.is_ok().then(|| match History::from_events(recording.events) {
            Ok(history) => {
                let recording = needs_recording(&history).then(|| recording_of(recording.lines.as_slice())).transpose();
                recording.map(|recording| Case {
                    history,
                    recording,
                    final_state: final_state.clone(),
                    phases: observed.phases.clone(),
                    faults: observed.faults.clone(),
                    ..Case::default()
                })
            }
            Err(error) => Err(error.to_string()),
        });
        let (history, faults) = (recording.lines, fault_lines);
        Simulated { ran, case, tape, history, faults, metrics, logs, observed, final_state }
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let began = self.world.now();
        loop {
            if self.world.died().is_some() {
                return Ok(());
            }
            if let Some(ready) = self.nemesis.prove_ready(&mut self.world, began, READY_WITHIN) {
                return ready;
            }
            let look = READY_LOOK.max(LOOK_INTERVAL_PER_NODE * self.world.nodes.len() as u64);
            self.pass_until(self.world.now() + look);
        }
    }

    /// Clients, faults and the proof that nothing is broken any more, until all three have ended.
    fn carry_out_load(&mut self, ran: &mut Ran) {
        let now = self.world.now();
        self.recording = Recording::starting_at(now);
        self.world.hash.tape(|tape| tape.load_starts(now));
        let slots = self.load.slots();
        for (client, operations) in operations_by_client(self.plan) {
            self.clients.add(&mut self.world, (client, slots), self.load.settings(), operations, None);
        }
        let load_ends = self.recording.world_time(self.plan.phases.load_ms() * MILLISECOND);
        self.world.queue.push(load_ends, Event::Wake(Wake::LoadEnds));
        self.world.queue.push(self.recording.start, Event::Wake(Wake::Sample));
        self.nemesis.turn(&mut self.world, &mut self.recording);
        self.pass_while(|run| !run.load_ended || !run.clients.are_done() || run.nemesis.outcome().is_none());
        let ended = self.recording.time(self.world.now());
        let healed = match self.nemesis.outcome() {
            Some(Ok(healed)) => Some(*healed),
            Some(Err(missing)) => {
                let message = format!("the cluster was not whole again after the faults: {missing}");
                ran.problem(ProblemKind::HealNotProven, message);
                None
            }
            None => None,
        };
        ran.phases = phases_until(&self.plan.phases, healed, ended);
        if self.world.died().is_none() {
            let (skipped, remaining) = self.clients.clear(&mut self.world);
            ran.undone = Undone { skipped, remaining };
        }
    }

    /// Looks at all that is stored until all replicas are equal or the time is over; `None` when a node dies meanwhile.
    fn converge(&mut self, ran: &mut Ran) -> Option<FinalState> {
        let cluster = &self.plan.cluster;
        let mut before = None;
        let replication = usize::from(cluster.replication);
        let (began, deadline) = (self.world.now(), self.plan.phases.converge_within_ms * MILLISECOND);
        let (scans, converged_after) = loop {
            let scans = self.scans();
            let waited = self.world.now() - began;
            let collected = tombstones_collected(self.plan, self.recording.time(self.world.now()));
            let equal = differing(&scans, replication, collected).is_empty();
            if equal && (!keeps(cluster) || kept(&self.nemesis.statuses(&mut self.world)).is_empty()) {
                break (scans, Some(waited));
            }
            if waited >= deadline {
                let statuses = self.nemesis.statuses(&mut self.world);
                let before = before.as_ref().map(|(statuses, at)| (statuses, self.world.now() - at));
                let look = LastLook { scans: &scans, tombstones_collected: collected, statuses: &statuses, before };
                ran.pending = pending(self.plan, &look);
                break (scans, None);
            }
            if before.is_none() && waited >= deadline / 2 {
                before = Some((self.nemesis.statuses(&mut self.world), self.world.now()));
            }
            let look = nanoseconds(SCAN_INTERVAL).max(LOOK_INTERVAL_PER_NODE * self.world.nodes.len() as u64);
            self.pass_until(self.world.now() + look);
            if self.world.died().is_some() {
                return None;
            }
        };
        let nodes = self.end_state(converged_after.is_some());
        let (entries, unreachable) = final_entries(&scans, self.plan.workload.kind());
        let replication = u64::from(cluster.replication);
        Some(FinalState { replication, converged_after, deadline, entries, unreachable, nodes })
    }

    /// What the nodes say of themselves at the end, where somebody wants to know.
    fn end_state(&mut self, is_equal: bool) -> Vec<FinalNode> {
        if !end_state::is_asked(self.plan) {
            return Vec::new();
        }
        let mut second = BTreeMap::new();
        let members = self.nemesis.belonging();
        for &node in members.iter().filter(|_| is_equal && end_state::compares_twice(self.plan)) {
            if self.repair(node).is_some()
                && let Some(answer) = self.repair(node)
            {
                second.extend(end_state::second_exchange(&answer).map(|second| (node, second)));
            }
        }
        let statuses = self.nemesis.statuses(&mut self.world);
        end_state::final_nodes(self.plan, &statuses, &second)
    }

    /// Has a node compare everything with its neighbours, and repair; `None`: it did not answer in time.
    fn repair(&mut self, node: NodeId) -> Option<ClientResponse> {
        let asked = self.world.examine(node, ClientRequest::Repair)?;
        let until = self.world.now() + REPAIR_WITHIN;
        loop {
            let answer = self.world.take_examined(node, asked);
            if answer.is_some() || self.world.now() >= until || self.world.died().is_some() {
                return answer;
            }
            self.pass_until(self.world.now() + REPAIR_LOOK);
        }
    }

    fn final_reads(&mut self, ran: &mut Ran) {
        let from = self.recording.time(self.world.now());
        let keys = keys_of(self.plan);
        let slots = self.load.slots();
        for (node, slot) in self.load.readers() {
            let (settings, operations) = reads(slot, self.load.settings(), node, &keys);
            let slot = u32::try_from(slot).expect("few clients");
            self.clients.add(&mut self.world, (slot, slots), settings, operations, Some(keys.clone()));
        }
        self.pass_while(|run| !run.clients.are_done());
        let to = self.recording.time(self.world.now());
        ran.phases.push(Phase { name: "final-reads".to_owned(), from, to });
    }

    fn scans(&mut self) -> Scans {
        self.nemesis.belonging().into_iter().map(|node| (node, self.scan(node))).collect()
    }

    fn scan(&mut self, node: NodeId) -> Result<Vec<LocalEntry>, String> {
        let kind = self.plan.workload.kind();
        if kind.is_news() {
            let mut all = Vec::new();
            for request in looks_at_node(kind) {
                all.extend(entries_of_node(node, self.world.ask(node, request)?)?);
            }
            return Ok(all);
        }
        let mut all: Vec<LocalEntry> = Vec::new();
        loop {
            let after = all.last().map(|entry| entry.key.clone());
            match self.world.ask(node, ClientRequest::LocalScan { after, limit: SCAN_PAGE })? {
                ClientResponse::Entries { entries, more } => {
                    if more && entries.is_empty() {
                        return Err("it promised more entries and gave none".to_owned());
                    }
                    all.extend(entries);
                    if !more {
                        return Ok(all);
                    }
                }
                _ => return Err("it gave another request's answer".to_owned()),
            }
        }
    }

    // Time.

    /// A node that dies ends every phase.
    fn pass_while(&mut self, goes_on: impl Fn(&Run<'_>) -> bool) {
        while goes_on(self) && self.world.died().is_none() {
            let stepped = self.step();
            assert!(stepped, "nothing is to come, and the run has not ended");
        }
    }

    fn pass_until(&mut self, time: u64) {
        while self.world.queue.next_time().is_some_and(|next| next < time) {
            self.step();
        }
        self.world.queue.wait_until(time);
    }

    /// Carries out one event; false when there is none.
    fn step(&mut self) -> bool {
        match self.world.step() {
            Step::Nothing => return false,
            Step::World => {}
            Step::Wake(wake) => self.wake(wake),
        }
        while let Some(event) = self.world.next_client_event() {
            self.clients.hear(&mut self.world, &mut self.recording, event);
            self.nemesis.strike(&mut self.world, &mut self.recording);
        }
        true
    }

    fn wake(&mut self, wake: Wake) {
        let Run { world, recording, clients, nemesis, .. } = self;
        match wake {
            Wake::Client(slot) => clients.act(world, recording, slot),
            Wake::ConnectTimeout(slot, call) => clients.connect_timeout(world, recording, slot, call),
            Wake::CallTimeout(slot, call) => clients.call_timeout(world, recording, slot, call),
            Wake::Turn => nemesis.turn(world, recording),
            Wake::Strike => nemesis.strike(world, recording),
            Wake::Left => nemesis.have_left(world, recording),
            Wake::OthersReady => nemesis.others_ready(world, recording),
            Wake::Proof(index) => nemesis.proof(world, recording, index),
            Wake::Whole => nemesis.whole(world, recording),
            Wake::LoadEnds => {
                self.load_ended = true;
                clients.stop();
            }
            Wake::Sample => self.sample(),
        }
    }

    fn sample(&mut self) {
        let statuses = self.nemesis.statuses(&mut self.world);
        let time = self.recording.time(self.world.now());
        for (node, status) in &statuses {
            let sample = Sample::of(time, *node, status);
            serde_json::to_writer(&mut self.metrics, &sample).expect("the store's own types always serialize");
            self.metrics.push(b'\n');
        }
        let interval = nanoseconds(SAMPLE_INTERVAL).max(SAMPLE_INTERVAL_PER_NODE * self.world.nodes.len() as u64);
        self.world.queue.push(self.world.now() + interval, Event::Wake(Wake::Sample));
    }
}

pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What each node said, in the words of the real node's log.
fn logs(lines: &[LogLine], left_out: u64) -> BTreeMap<NodeId, String> {
    let mut logs: BTreeMap<NodeId, String> = BTreeMap::new();
    for LogLine { time, node, event } in lines {
        let log = logs.entry(*node).or_default();
        let (seconds, nanoseconds) = (time / SECOND, time % SECOND);
        let written = match event {
            NodeEvent::PeerUp(peer) => writeln!(log, "{seconds}.{nanoseconds:09} {peer} is alive"),
            NodeEvent::PeerDown(peer) => writeln!(log, "{seconds}.{nanoseconds:09} {peer} is held for dead"),
            NodeEvent::CatchingUp => writeln!(log, "{seconds}.{nanoseconds:09} catching up"),
            NodeEvent::CaughtUp => writeln!(log, "{seconds}.{nanoseconds:09} caught up"),
            NodeEvent::Ring(sentence) => writeln!(log, "{seconds}.{nanoseconds:09} {sentence}"),
            NodeEvent::Warning(sentence) => writeln!(log, "{seconds}.{nanoseconds:09} warning: {sentence}"),
        };
        written.expect("a String takes all that is written");
    }
    if left_out > 0 {
        let note = format!("{left_out} later lines of all nodes are left out\n");
        logs.values_mut().for_each(|log| log.push_str(&note));
    }
    logs
}
