//! Carries out the plan's faults in virtual time: each at its time, healed at its time, and proven by the nodes' own words,
//! step for step as the nemesis of real runs does it ([`crate::run::nemesis`]), with the same timeline, requirements and
//! proofs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hearsay_core::{ClientRequest, ClientResponse, NodeId, StatusReport};
use rand::Rng;

use crate::faults::{Evidence, UNSYNCED_WITHIN};
use crate::plan::{Fault, Plan, PlannedFault};
use crate::report::FaultReport;
use crate::run::clocks::{Reading, Readings, note_end, note_made, still_off};
use crate::run::evidence_text::{bit_text, heal_text};
use crate::run::execute::WHOLE_WITHIN;
use crate::run::nemesis::{LOOK_INTERVAL, Line, OTHERS_READY_WITHIN, PROOF_WITHIN, STRIKE_WITHIN, planned_report};
use crate::run::proof::{InForce, Neighbourhood, Requirements, Statuses, missing, summary};
use crate::run::ring::{Outside, all_nodes, left_before, note_phases, to_ask, to_have_ended, unsettled};
use crate::run::timeline::{Turn, broken_by, proof_of_healing, timeline};

use super::disk_faults;
use super::faults::Faults;
use super::run::{Recording, Wake, nanoseconds};
use super::settings::{ClockSettings, MICROSECOND, MILLISECOND};
use super::streams::stream;
use super::world::{Event, World};

/// A look asks every node about itself: in large clusters it is taken more rarely, or it would be most of what happens.
pub(super) const LOOK_INTERVAL_PER_NODE: u64 = 100 * MICROSECOND;

/// The cluster, waiting to prove something.
#[derive(Debug)]
struct Proof {
    required: Requirements,
    began: u64,
    within: Duration,
}

/// A crash or a power cut that is about to happen.
#[derive(Clone, Copy, Debug)]
struct Strike {
    index: usize,
    moment: Moment,
    /// When that ends at the latest.
    until: u64,
}

/// What a strike waits for.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// A further acknowledgement, when there were so many.
    Acknowledged(u64),
    /// Something that is not synced, while syncs are held.
    Unsynced,
    /// Only the time.
    Held,
}

/// What a look at the cluster told.
enum Look {
    /// Proven so long after the begin.
    Proven(Duration),
    NotYet,
    /// What was still missing at the deadline.
    GivenUp(String),
}

/// The proof at the end of the fault phase that nothing is broken any more.
#[derive(Debug)]
enum Whole {
    NotYet,
    Waiting(Proof),
    Ended(Result<u64, String>),
}

/// The one that carries out faults.
#[derive(Debug)]
pub(super) struct Nemesis {
    planned: Vec<PlannedFault>,
    faults_end: u64,
    neighbourhood: Neighbourhood,
    members: BTreeSet<NodeId>,
    outside: Outside,
    faults: Faults,
    active: BTreeMap<usize, Fault>,
    turns: VecDeque<(u64, Turn, usize)>,
    /// A wipe that waits for all others to be ready: no further turn meanwhile.
    wipe: Option<(usize, Proof)>,
    /// A crash or power cut that waits for its moment: no further turn meanwhile.
    strike: Option<Strike>,
    /// A leave whose nodes have not ended yet: no further turn meanwhile.
    leaving: Option<(usize, Evidence)>,
    /// Clocks before a fault, and since when they are off.
    skews: BTreeMap<usize, (Readings, u64)>,
    proofs: BTreeMap<usize, Proof>,
    whole: Whole,
    former: BTreeMap<usize, BTreeMap<NodeId, u64>>,
    injected: BTreeMap<usize, Evidence>,
    reports: BTreeMap<usize, FaultReport>,
    lines: Vec<u8>,
}

impl Nemesis {
    /// One that has done nothing yet.
    pub(super) fn new(plan: &Plan) -> Nemesis {
        Nemesis {
            planned: plan.faults.clone(),
            faults_end: plan.phases.faults_until_ms() * MILLISECOND,
            neighbourhood: Neighbourhood::of_plan(plan),
            members: all_nodes(plan),
            outside: Outside::of(plan),
            faults: Faults::default(),
            active: BTreeMap::new(),
            turns: timeline(&plan.faults).into(),
            wipe: None,
            strike: None,
            leaving: None,
            skews: BTreeMap::new(),
            proofs: BTreeMap::new(),
            whole: Whole::NotYet,
            former: BTreeMap::new(),
            injected: BTreeMap::new(),
            reports: BTreeMap::new(),
            lines: Vec::new(),
        }
    }

    /// When the cluster was whole again, or what was missing; `None` while that is not known.
    pub(super) fn outcome(&self) -> Option<&Result<u64, String>> {
        match &self.whole {
            Whole::Ended(outcome) => Some(outcome),
            Whole::NotYet | Whole::Waiting(_) => None,
        }
    }

    /// The faults that were reached, in the order of the plan, and the lines of `faults.jsonl`.
    pub(super) fn into_reports(self) -> (Vec<FaultReport>, Vec<u8>) {
        (self.reports.into_values().collect(), self.lines)
    }

    /// Proves, before the run, that the whole cluster serves; what was missing at the deadline otherwise.
    pub(super) fn prove_ready(&self, world: &mut World, began: u64, within: Duration) -> Option<Result<(), String>> {
        match self.look(world, &Proof { required: self.everything(), began, within }) {
            Look::Proven(_) => Some(Ok(())),
            Look::NotYet => None,
            Look::GivenUp(missing) => Some(Err(missing)),
        }
    }

    /// Members that are up as far as the faults in force are concerned, each with what it says.
    pub(super) fn statuses(&self, world: &mut World) -> Statuses {
        let absent = self.in_force().absent;
        let present = self.members.iter().filter(|node| !absent.contains(node));
        present.map(|&node| (node, status(world, node))).collect()
    }

    /// Who belongs to the cluster, as far as the changes of the ring that were made go.
    pub(super) fn belonging(&self) -> BTreeSet<NodeId> {
        self.members.difference(self.outside.nodes()).copied().collect()
    }

    /// Carries out the turns that are due, and plans the next.
    pub(super) fn turn(&mut self, world: &mut World, recording: &mut Recording) {
        while self.wipe.is_none() && self.strike.is_none() && self.leaving.is_none() {
            let Some(&(at_ms, turn, index)) = self.turns.front() else { break };
            // Operations begin at whole milliseconds: faults that did, too, would always meet them at the same moments.
            let within = match turn {
                Turn::Inject => {
                    // By its name: it keeps its moment when another fault is taken out of the plan.
                    let name = self.planned[index].id.bytes().map(u64::from).collect::<Vec<_>>();
                    stream(world.seed, "fault time", &name).next_u64() % MILLISECOND
                }
                Turn::Heal => 0,
            };
            let due = recording.world_time(at_ms * MILLISECOND + within);
            if due > world.now() {
                world.queue.push(due, Event::Wake(Wake::Turn));
                return;
            }
            self.turns.pop_front();
            match turn {
                Turn::Inject => self.reach(world, recording, index),
                Turn::Heal => self.heal(world, recording, index),
            }
        }
        self.begin_whole(world, recording);
    }

    fn reach(&mut self, world: &mut World, recording: &mut Recording, index: usize) {
        let planned = &self.planned[index];
        if let Some(node) = self.outside.only_target(&planned.fault).filter(|node| !world.has_process(*node)) {
            return self.leave_out(world, recording, index, &left_before(node));
        }
        let Some(&node) = planned.fault.empties().first() else { return self.inject(world, recording, index) };
        // A second copy lost before the first was made good would lose data by the plan's fault, not the cluster's.
        if let Some(absent) = broken_by(self.active.values()).absent.first() {
            let reason = format!("another fault keeps {absent} away");
            return self.skip(world, recording, index, &reason);
        }
        let ready = self.members.iter().copied().filter(|&other| other != node).collect();
        let within = OTHERS_READY_WITHIN.min(Duration::from_millis(planned.duration_ms / 2));
        let required = Requirements { ready, ..Requirements::default() };
        self.wipe = Some((index, Proof { required, began: world.now(), within }));
        self.look_for_wipe(world, recording);
    }

    /// Makes the wipe that waits, or gives it up, when that is decided.
    pub(super) fn others_ready(&mut self, world: &mut World, recording: &mut Recording) {
        self.look_for_wipe(world, recording);
        if self.wipe.is_none() {
            self.turn(world, recording);
        }
    }

    fn look_for_wipe(&mut self, world: &mut World, recording: &mut Recording) {
        let Some((index, proof)) = self.wipe.take() else { return };
        match self.look(world, &proof) {
            Look::Proven(_) => self.inject(world, recording, index),
            Look::GivenUp(reason) => self.skip(world, recording, index, &reason),
            Look::NotYet => {
                self.wipe = Some((index, proof));
                world.queue.push(next_look(world), Event::Wake(Wake::OthersReady));
            }
        }
    }

    fn skip(&mut self, world: &mut World, recording: &Recording, index: usize, reason: &str) {
        let mut report = planned_report(&self.planned[index]);
        report.bit_evidence = format!("not made, {reason}");
        self.write(world, recording, &report, "skipped", None, Some(&report.bit_evidence));
        self.reports.insert(index, report);
    }

    fn leave_out(&mut self, world: &mut World, recording: &Recording, index: usize, reason: &str) {
        let mut report = planned_report(&self.planned[index]);
        report.left_out = true;
        report.bit_evidence = format!("left out: {reason}");
        self.write(world, recording, &report, "left-out", None, Some(&report.bit_evidence));
        self.reports.insert(index, report);
    }

    fn inject(&mut self, world: &mut World, recording: &Recording, index: usize) {
        let planned = self.planned[index].clone();
        if planned.fault.restarts() {
            let nodes = broken_by([&planned.fault]).absent;
            let known = nodes.into_iter().filter_map(|node| Some((node, status(world, node).ok()?.incarnation)));
            let former = known.collect();
            self.former.insert(index, former);
        }
        self.active.insert(index, planned.fault);
        match &self.planned[index].fault {
            Fault::Crash { .. } => {
                let moment = Moment::Acknowledged(recording.acknowledged_writes());
                self.strike_at(world, index, moment, nanoseconds(STRIKE_WITHIN));
            }
            Fault::PowerCut { nodes, .. } => {
                disk_faults::hold(world, nodes);
                self.strike_at(world, index, Moment::Unsynced, nanoseconds(UNSYNCED_WITHIN));
                world.queue.push(world.now(), Event::Wake(Wake::Strike));
            }
            _ => self.make(world, recording, index),
        }
    }

    fn strike_at(&mut self, world: &mut World, index: usize, moment: Moment, within: u64) {
        let until = world.now() + within;
        self.strike = Some(Strike { index, moment, until });
        world.queue.push(until, Event::Wake(Wake::Strike));
    }

    /// Makes the crash or power cut that waits, once its moment has come or its time is over.
    pub(super) fn strike(&mut self, world: &mut World, recording: &mut Recording) {
        let Some(strike) = self.strike else { return };
        let in_time = world.now() < strike.until;
        match (strike.moment, &self.planned[strike.index].fault) {
            (Moment::Acknowledged(before), _) if in_time && recording.acknowledged_writes() == before => return,
            (Moment::Unsynced, Fault::PowerCut { nodes, .. })
                if in_time && !disk_faults::anything_unsynced(world, nodes) =>
            {
                return world.queue.push(world.now() + MILLISECOND, Event::Wake(Wake::Strike));
            }
            (Moment::Unsynced, Fault::PowerCut { hold_ms, .. }) => {
                let within = hold_ms * MILLISECOND;
                return self.strike_at(world, strike.index, Moment::Held, within);
            }
            (Moment::Held, _) if in_time => return,
            _ => {}
        }
        self.strike = None;
        self.make(world, recording, strike.index);
        self.turn(world, recording);
    }

    fn make(&mut self, world: &mut World, recording: &Recording, index: usize) {
        let planned = self.planned[index].clone();
        let before = self.clocks(world, &planned.fault);
        let mut evidence = self.faults.inject(world, &planned);
        if let Some(node) = self.outside.only_target(&planned.fault).filter(|_| evidence.bit == Some(false)) {
            self.faults.forget(&planned.id);
            self.active.remove(&index);
            return self.leave_out(world, recording, index, &left_before(node));
        }
        if evidence.bit == Some(true) {
            self.outside.begin(&planned.fault);
        }
        match &planned.fault {
            Fault::Clock { clocks } => {
                note_made(&mut evidence, clocks, 0, &before, &self.clocks(world, &planned.fault));
                self.skews.insert(index, (before, world.now()));
            }
            Fault::Leave { .. } => {
                self.leaving = Some((index, evidence));
                return self.left(world, recording);
            }
            Fault::Partition { .. }
            | Fault::Crash { .. }
            | Fault::Pause { .. }
            | Fault::Wipe { .. }
            | Fault::PowerCut { .. }
            | Fault::SlowDisk { .. }
            | Fault::FailingDisk { .. }
            | Fault::Join { .. }
            | Fault::Retire { .. }
            | Fault::Replace { .. }
            | Fault::Links { .. } => {}
        }
        self.made(world, recording, index, evidence);
    }

    /// Looks whether the nodes of a leave have all ended.
    fn left(&mut self, world: &mut World, recording: &Recording) {
        let Some((index, mut evidence)) = self.leaving.take() else { return };
        let planned = self.planned[index].clone();
        if self.faults.left(world, &planned, &mut evidence).is_some() {
            self.made(world, recording, index, evidence);
        } else {
            self.leaving = Some((index, evidence));
            world.queue.push(world.now() + MILLISECOND, Event::Wake(Wake::Left));
        }
    }

    /// Goes on with the turns once the nodes of a leave have ended.
    pub(super) fn have_left(&mut self, world: &mut World, recording: &mut Recording) {
        self.left(world, recording);
        if self.leaving.is_none() {
            self.turn(world, recording);
        }
    }

    /// What the clocks of a fault's nodes show; none for other faults.
    fn clocks(&self, world: &mut World, fault: &Fault) -> Readings {
        let Fault::Clock { clocks } = fault else { return Readings::new() };
        clocks.iter().map(|clock| (clock.node, clock_of(world, clock.node))).collect()
    }

    fn made(&mut self, world: &mut World, recording: &Recording, index: usize, evidence: Evidence) {
        let planned = self.planned[index].clone();
        let mut report = planned_report(&planned);
        report.from = Some(recording.time(world.now()));
        report.bit_evidence = bit_words(&planned.fault, &evidence, None);
        report.bit = evidence.bit.unwrap_or(false);
        self.write(world, recording, &report, "inject", Some(&evidence), None);
        self.injected.insert(index, evidence);
        self.reports.insert(index, report);
    }

    fn heal(&mut self, world: &mut World, recording: &mut Recording, index: usize) {
        if !self.active.contains_key(&index) {
            return;
        }
        let planned = self.planned[index].clone();
        let end = self.clocks(world, &planned.fault);
        let mut evidence = self.faults.heal(world, &planned);
        if let (Fault::Clock { clocks }, Some((before, since))) = (&planned.fault, self.skews.remove(&index)) {
            note_end(&mut evidence, clocks, world.now() - since, &before, &end);
        }
        if planned.fault.changes_ring() {
            let known = note_phases(&mut evidence, &planned.fault, &world.rings(self.belonging()));
            evidence.bit = evidence.bit.map(|bit| bit && known);
        }
        self.active.remove(&index);
        let mut report = self.reports.remove(&index).expect("what is in force has a report");
        report.to = Some(recording.time(world.now()));
        report.bit = evidence.bit.unwrap_or(false);
        let injected = self.injected.remove(&index).expect("what is in force was made");
        report.bit_evidence = bit_words(&planned.fault, &injected, Some(&evidence));
        report.heal_evidence = heal_text(&planned.fault, &evidence);
        self.write(world, recording, &report, "heal", Some(&evidence), None);
        self.reports.insert(index, report);
        if evidence.healed == Some(true) {
            let required = proof_of_healing(&planned.fault, self.former.remove(&index).unwrap_or_default());
            self.proofs.insert(index, Proof { required, began: world.now(), within: PROOF_WITHIN });
            self.proof(world, recording, index);
        }
    }

    /// Looks whether the healing of a fault is proven by now.
    pub(super) fn proof(&mut self, world: &mut World, recording: &mut Recording, index: usize) {
        let Some(proof) = self.proofs.remove(&index) else { return };
        let mut report = self.reports.remove(&index).expect("what is proven was made");
        let ended = match self.look(world, &proof) {
            Look::Proven(took) => {
                report.healed = true;
                Some(("proven", format!("whole again {:.1} s later", took.as_secs_f64())))
            }
            Look::GivenUp(missing) => Some(("not-proven", format!("not proven by the cluster: {missing}"))),
            Look::NotYet => None,
        };
        match ended {
            Some((step, text)) => {
                report.heal_evidence = format!("{}; {text}", report.heal_evidence);
                self.write(world, recording, &report, step, None, Some(&text));
            }
            None => {
                self.proofs.insert(index, proof);
                world.queue.push(next_look(world), Event::Wake(Wake::Proof(index)));
            }
        }
        self.reports.insert(index, report);
        self.begin_whole(world, recording);
    }

    /// When all turns are done and all proofs have ended: waits for the end of the phase, then for the whole cluster.
    fn begin_whole(&mut self, world: &mut World, recording: &Recording) {
        let waits = self.wipe.is_some() || self.strike.is_some() || self.leaving.is_some();
        let done = self.turns.is_empty() && !waits && self.proofs.is_empty();
        if done && matches!(self.whole, Whole::NotYet) {
            let began = recording.world_time(self.faults_end).max(world.now());
            self.whole = Whole::Waiting(Proof { required: self.everything(), began, within: WHOLE_WITHIN });
            world.queue.push(began, Event::Wake(Wake::Whole));
        }
    }

    /// Looks whether the whole cluster is well.
    pub(super) fn whole(&mut self, world: &mut World, recording: &Recording) {
        let Whole::Waiting(proof) = &self.whole else { return };
        match self.look(world, proof) {
            Look::Proven(_) => self.whole = Whole::Ended(Ok(recording.time(world.now()))),
            Look::GivenUp(missing) => self.whole = Whole::Ended(Err(missing)),
            Look::NotYet => world.queue.push(next_look(world), Event::Wake(Wake::Whole)),
        }
    }

    fn look(&self, world: &mut World, proof: &Proof) -> Look {
        let in_force = self.in_force();
        let mut missing = missing(&proof.required, &in_force, &self.neighbourhood, &self.statuses(world));
        let rings = world.rings(to_ask(&proof.required, &in_force, &self.members));
        let mut running = to_have_ended(&proof.required);
        running.retain(|node| world.has_process(*node));
        missing.extend(unsettled(&proof.required, &in_force, &rings, &running));
        let clocks = proof.required.clocks_to_read(&in_force).into_iter();
        missing.extend(still_off(&clocks.map(|node| (node, clock_of(world, node))).collect()));
        let waited = Duration::from_nanos(world.now() - proof.began);
        if missing.is_empty() {
            Look::Proven(waited)
        } else if waited >= proof.within {
            Look::GivenUp(format!("after {:.0} s still: {}", proof.within.as_secs_f64(), summary(&missing)))
        } else {
            Look::NotYet
        }
    }

    fn in_force(&self) -> InForce {
        let mut in_force = broken_by(self.active.values());
        in_force.absent.extend(self.outside.nodes());
        in_force
    }

    fn everything(&self) -> Requirements {
        let all = self.members.clone();
        Requirements { ready: all.clone(), linked: all, settled: self.outside.changes(), ..Requirements::default() }
    }

    fn write(
        &mut self,
        world: &mut World,
        recording: &Recording,
        report: &FaultReport,
        step: &str,
        evidence: Option<&Evidence>,
        text: Option<&str>,
    ) {
        let time = recording.time(world.now());
        let line = Line { time, fault: &report.id, name: &report.name, step, evidence, text };
        let begin = self.lines.len();
        serde_json::to_writer(&mut self.lines, &line).expect("the store's own types always serialize");
        self.lines.push(b'\n');
        let now = world.now();
        world.hash.line(now, &self.lines[begin..]);
    }
}

fn next_look(world: &World) -> u64 {
    world.now() + nanoseconds(LOOK_INTERVAL).max(LOOK_INTERVAL_PER_NODE * world.nodes.len() as u64)
}

/// What a node says about itself.
fn status(world: &mut World, node: NodeId) -> Result<StatusReport, String> {
    match world.ask(node, ClientRequest::Status)? {
        ClientResponse::Status(report) => Ok(report),
        _ => Err("it gave another request's answer".to_owned()),
    }
}

/// What its wall clock shows, against true time.
fn clock_of(world: &mut World, node: NodeId) -> Result<Reading, String> {
    let shown = status(world, node)?.wall.0;
    let truth = ClockSettings::default().now(world.now()).wall.0;
    Ok(Reading::between(truth, shown, truth))
}

/// How it is known that the fault bit, in a few words: without the times that nothing takes here.
fn bit_words(fault: &Fault, inject: &Evidence, heal: Option<&Evidence>) -> String {
    let bit = heal.map_or(inject.bit, |heal| heal.bit) == Some(true);
    let sum = |ending: &str| -> u64 {
        inject.numbers.iter().filter(|(name, _)| name.ends_with(ending)).map(|(_, number)| number).sum()
    };
    match fault {
        Fault::Crash { .. } if bit => format!("killed, {} unsynced batches lost", sum("_batches_lost")),
        Fault::Wipe { .. } if bit => format!("killed, {} bytes removed", sum("bytes_removed")),
        Fault::PowerCut { hold_ms, torn, .. } if bit => {
            let number = |name: &str| inject.numbers.get(name).copied().unwrap_or(0);
            let torn = if *torn { format!(" and {} kept", number("batches_kept")) } else { String::new() };
            let lost = number("batches_lost");
            format!("syncs held for {hold_ms} ms, killed, {lost} unsynced batches lost{torn}")
        }
        Fault::SlowDisk { .. } | Fault::FailingDisk { .. } if heal.is_none() => inject.sentences.join(" "),
        Fault::Pause { .. } if bit && heal.is_some() => "stopped, nothing handled".to_owned(),
        Fault::Pause { .. } if heal.is_none() => "stopped".to_owned(),
        _ => bit_text(fault, inject, heal),
    }
}
