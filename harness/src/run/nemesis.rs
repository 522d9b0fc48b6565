//! Carries out the plan's faults: makes each at its time, heals it at its time, and has the cluster prove that it is whole.
//!
//! ```text
//! planned --time--> (wipe: are all others ready?) --> made --time--> healed --> proven | not proven
//!                   no: never in force
//! ```
//!
//! Invariants:
//! - Whatever was made is healed, however the run ends.
//! - Nothing is taken for granted: the injector brings the kernel's evidence, the nodes' own words prove the healing.
//! - Everything is in `faults.jsonl` as it happens.
//!
//! Proofs run beside the next faults: what those break meanwhile is not asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::Context;
use hearsay_core::NodeId;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::faults::{Evidence, Injector};
use crate::plan::{Disk, Fault, Plan, PlannedFault};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::FaultReport;
use crate::store::JsonLines;

use super::clock_watch::ClockWatch;
use super::clocks::still_off;
use super::cluster::Cluster;
use super::evidence_text::{bit_text, heal_text};
use super::observer::Observer;
use super::proof::{InForce, Neighbourhood, Requirements, missing, summary, unreached};
use super::ring::{Outside, all_nodes, left_before, note_phases, to_ask, to_have_ended, unsettled};
use super::stop::{Stop, until_ended_early};
use super::timeline::{Turn, broken_by, proof_of_healing, targets, timeline};

/// Longest wait for a proof of healing.
pub(crate) const PROOF_WITHIN: Duration = Duration::from_secs(20);
/// Longest wait, before a wipe, for all other nodes to be ready.
pub(crate) const OTHERS_READY_WITHIN: Duration = Duration::from_secs(3);
/// Longest wait, before a crash, for the acknowledgement it strikes after.
pub(crate) const STRIKE_WITHIN: Duration = Duration::from_millis(100);
/// How often a node is told to leave until it answers.
const LEAVE_TRIES: usize = 3;
/// Between two looks at the cluster.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// For each node, in large clusters.
const LOOK_INTERVAL_PER_NODE: Duration = Duration::from_millis(5);

/// A cluster as faults and proofs see it.
#[derive(Clone)]
pub struct Scene {
    /// The nodes' words, along the harness's own path.
    pub observer: Arc<Observer>,
    /// The same nodes along the path of the clients.
    pub clients_path: Arc<Observer>,
    /// Who should see whom.
    pub neighbourhood: Arc<Neighbourhood>,
    /// Every node.
    pub members: Arc<BTreeSet<NodeId>>,
    /// Faults that are in force, by id.
    pub active: Arc<Mutex<BTreeMap<String, Fault>>>,
    /// Who does not belong to the cluster now.
    pub outside: Arc<Mutex<Outside>>,
}

/// A line of `faults.jsonl`.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) time: u64,
    pub(crate) fault: &'a str,
    pub(crate) name: &'a str,
    pub(crate) step: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) evidence: Option<&'a Evidence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<&'a str>,
}

/// How a proof ended: the time it took, or what was still missing.
type Proof = Result<Duration, String>;

impl Scene {
    /// The scene of a started cluster, with no fault in force.
    pub fn of(cluster: &Cluster, plan: &Plan) -> Scene {
        Scene {
            observer: Arc::clone(&cluster.observer),
            clients_path: Arc::new(Observer::new(Arc::clone(&cluster.clients), &cluster.addresses)),
            neighbourhood: Arc::new(Neighbourhood::of_plan(plan)),
            members: Arc::new(all_nodes(plan)),
            active: Arc::default(),
            outside: Arc::new(Mutex::new(Outside::of(plan))),
        }
    }

    /// What is broken on purpose now.
    pub fn in_force(&self) -> InForce {
        let mut in_force = broken_by(lock(&self.active).values());
        in_force.absent.extend(lock(&self.outside).nodes());
        in_force
    }

    /// Members that are up as far as the faults in force are concerned.
    pub fn present(&self) -> Vec<NodeId> {
        let absent = self.in_force().absent;
        self.members.difference(&absent).copied().collect()
    }

    /// Who belongs to the cluster, as far as the changes of the ring that were made go.
    pub fn belonging(&self) -> Vec<NodeId> {
        self.members.difference(lock(&self.outside).nodes()).copied().collect()
    }

    /// Looks at the cluster until nothing is missing.
    ///
    /// # Errors
    /// What was still missing at the deadline.
    pub async fn prove(&self, required: &Requirements, within: Duration) -> Proof {
        let began = Instant::now();
        loop {
            // Taken before the nodes are asked: what breaks meanwhile only makes this look fail.
            let in_force = self.in_force();
            let asked = self.members.difference(&in_force.absent).copied();
            let statuses = self.observer.statuses(asked).await;
            let mut missing = missing(required, &in_force, &self.neighbourhood, &statuses);
            let answers = self.clients_path.statuses(required.to_reach(&in_force)).await;
            missing.extend(unreached(&answers));
            let rings = self.observer.rings(to_ask(required, &in_force, &self.members)).await;
            let ended = self.observer.statuses(to_have_ended(required)).await;
            let running: Vec<NodeId> = ended.iter().filter(|(_, said)| said.is_ok()).map(|(&node, _)| node).collect();
            missing.extend(unsettled(required, &in_force, &rings, &running));
            missing.extend(still_off(&self.observer.clocks(required.clocks_to_read(&in_force)).await));
            if missing.is_empty() {
                return Ok(began.elapsed());
            }
            if began.elapsed() >= within {
                let waited = within.as_secs_f64();
                return Err(format!("after {waited:.0} s still: {}", summary(&missing)));
            }
            // Looking is work for the nodes, too: at many of them not so often.
            tokio::time::sleep(LOOK_INTERVAL.max(LOOK_INTERVAL_PER_NODE * self.members.len() as u32)).await;
        }
    }

    /// Proves that nothing is broken any more, anywhere.
    ///
    /// # Errors
    /// What was still missing.
    pub async fn prove_whole(&self, within: Duration) -> Proof {
        let (all, settled): (BTreeSet<_>, bool) = ((*self.members).clone(), lock(&self.outside).changes());
        let required =
            Requirements { ready: all.clone(), linked: all.clone(), reached: all, settled, ..Requirements::default() };
        self.prove(&required, within).await
    }
}

/// The one that carries out faults.
pub struct Nemesis {
    scene: Scene,
    recorder: Recorder,
    progress: Progress,
    injector: Arc<Mutex<Injector>>,
    log: JsonLines,
    faults: Vec<PlannedFault>,
    former: BTreeMap<usize, BTreeMap<NodeId, u64>>,
    injected: BTreeMap<usize, Evidence>,
    skews: BTreeMap<usize, ClockWatch>,
    reports: BTreeMap<usize, FaultReport>,
    proofs: JoinSet<(usize, Proof)>,
}

impl Nemesis {
    /// One that has done nothing yet. `log` is `faults.jsonl`; times are the recorder's.
    pub fn new(
        scene: Scene,
        injector: Injector,
        faults: Vec<PlannedFault>,
        log: JsonLines,
        recorder: Recorder,
        progress: Progress,
    ) -> Nemesis {
        Nemesis {
            scene,
            recorder,
            progress,
            injector: Arc::new(Mutex::new(injector)),
            log,
            faults,
            former: BTreeMap::new(),
            injected: BTreeMap::new(),
            skews: BTreeMap::new(),
            reports: BTreeMap::new(),
            proofs: JoinSet::new(),
        }
    }

    /// Carries out all faults, or as many as there is time for until a reason to stop; everything is healed afterwards.
    ///
    /// # Errors
    /// The harness could not do its work; what was made may still be in force, and ends with the sandbox.
    pub async fn run(&mut self, mut stop: watch::Receiver<Option<Stop>>) -> anyhow::Result<()> {
        let mut stopped = false;
        for (at_ms, turn, index) in timeline(&self.faults) {
            let due = self.recorder.start() + Duration::from_millis(at_ms);
            tokio::select! {
                biased;
                () = until_ended_early(&mut stop) => stopped = true,
                () = self.collect_proofs_until(due) => {}
            }
            if stopped {
                break;
            }
            match turn {
                Turn::Inject => self.inject(index, &mut stop).await?,
                Turn::Heal => self.heal(index).await?,
            }
        }
        for index in 0..self.faults.len() {
            // Does nothing for those that are not in force.
            self.heal(index).await?;
        }
        if !stopped {
            let all = async { while self.collect_proof().await {} };
            tokio::select! {
                () = until_ended_early(&mut stop) => stopped = true,
                () = all => {}
            }
        }
        if stopped {
            self.proofs.abort_all();
            while self.proofs.join_next().await.is_some() {}
            for report in self.reports.values_mut().filter(|report| !report.healed && report.from.is_some()) {
                report.heal_evidence.push_str("; the run was ended before the cluster could prove it");
            }
        }
        Ok(())
    }

    /// The faults that were reached, in the order of the plan.
    pub fn into_reports(self) -> Vec<FaultReport> {
        self.reports.into_values().collect()
    }

    async fn inject(&mut self, index: usize, stop: &mut watch::Receiver<Option<Stop>>) -> anyhow::Result<()> {
        let planned = self.faults[index].clone();
        let mut report = planned_report(&planned);
        let leaves = lock(&self.scene.outside).only_target(&planned.fault);
        if let Some(node) = leaves.filter(|node| !lock(&self.injector).runs(*node)) {
            return self.leave_out(index, report, &left_before(node));
        }
        if let Some(&node) = planned.fault.empties().first()
            && let Err(reason) = self.others_ready(node, &planned, stop).await
        {
            // A second copy lost before the first was made good would lose data by the plan's fault, not the cluster's.
            report.bit_evidence = format!("not made, {reason}");
            self.write(&report, "skipped", None, Some(&report.bit_evidence))?;
            self.reports.insert(index, report);
            return Ok(());
        }
        if planned.fault.restarts() {
            let nodes = broken_by([&planned.fault]).absent;
            let statuses = self.scene.observer.statuses(nodes).await;
            let known = statuses.into_iter().filter_map(|(node, status)| Some((node, status.ok()?.incarnation)));
            self.former.insert(index, known.collect());
        }
        lock(&self.scene.active).insert(planned.id.clone(), planned.fault.clone());
        self.progress.fault_begins(&planned.id, &format!("{} {}", report.name, report.nodes));
        let strike = matches!(planned.fault, Fault::Crash { .. }).then(|| self.recorder.clone());
        let skew = ClockWatch::before(&self.scene, &planned.fault).await;
        let mut evidence = self.act(Injector::inject, &planned, strike).await?;
        if let Some(node) = leaves.filter(|_| evidence.bit == Some(false)) {
            lock(&self.injector).forget(&planned.id);
            lock(&self.scene.active).remove(&planned.id);
            self.progress.fault_ends(&planned.id);
            return self.leave_out(index, report, &left_before(node));
        }
        if let Fault::Retire { node } = planned.fault {
            self.tell_to_leave(node, &mut evidence).await;
        }
        if evidence.bit == Some(true) {
            lock(&self.scene.outside).begin(&planned.fault);
        }
        if let Some(skew) = skew {
            skew.note_made(&self.scene, &mut evidence).await;
            self.skews.insert(index, skew);
        }
        if let Some(reason) = &evidence.left_out {
            lock(&self.scene.active).remove(&planned.id);
            self.progress.fault_ends(&planned.id);
            report.left_out = true;
            report.bit_evidence = format!("left out, so the evidence is weaker: {reason}");
            self.write(&report, "left-out", Some(&evidence), None)?;
            self.reports.insert(index, report);
            return Ok(());
        }
        report.from = Some(self.recorder.now());
        report.bit_evidence = bit_text(&planned.fault, &evidence, None);
        report.bit = evidence.bit.unwrap_or(false);
        self.write(&report, "inject", Some(&evidence), None)?;
        self.injected.insert(index, evidence);
        self.reports.insert(index, report);
        Ok(())
    }

    fn leave_out(&mut self, index: usize, mut report: FaultReport, reason: &str) -> anyhow::Result<()> {
        report.left_out = true;
        report.bit_evidence = format!("left out: {reason}");
        self.write(&report, "left-out", None, Some(&report.bit_evidence))?;
        self.reports.insert(index, report);
        Ok(())
    }

    /// Tells a node to leave for good, again where no answer came.
    async fn tell_to_leave(&self, node: NodeId, evidence: &mut Evidence) {
        let mut told = self.scene.observer.retire(node).await;
        for _ in 1..LEAVE_TRIES {
            if told.is_ok() {
                break;
            }
            told = self.scene.observer.retire(node).await;
        }
        evidence.bit = evidence.bit.map(|bit| bit && told.is_ok());
        evidence.say(match told {
            Ok(_) => format!("{node} was told to leave for good."),
            Err(reason) => format!("{node} does not leave: {reason}."),
        });
    }

    async fn heal(&mut self, index: usize) -> anyhow::Result<()> {
        let planned = self.faults[index].clone();
        let in_force = lock(&self.scene.active).contains_key(&planned.id);
        if !in_force {
            return Ok(());
        }
        let end = match self.skews.remove(&index) {
            Some(skew) => Some(skew.end(&self.scene).await),
            None => None,
        };
        let mut evidence = self.act(Injector::heal, &planned, None).await?;
        if let Some(end) = end {
            end.note(&mut evidence);
        }
        if planned.fault.changes_ring() {
            let outside = lock(&self.scene.outside).nodes().clone();
            let members = self.scene.members.difference(&outside).copied();
            let known = note_phases(&mut evidence, &planned.fault, &self.scene.observer.rings(members).await);
            evidence.bit = evidence.bit.map(|bit| bit && known);
        }
        lock(&self.scene.active).remove(&planned.id);
        self.progress.fault_ends(&planned.id);
        let mut report = self.reports.remove(&index).expect("what is in force has a report");
        report.to = Some(self.recorder.now());
        report.bit = evidence.bit.unwrap_or(false);
        let injected = self.injected.remove(&index).expect("what is in force was made");
        report.bit_evidence = bit_text(&planned.fault, &injected, Some(&evidence));
        report.heal_evidence = heal_text(&planned.fault, &evidence);
        self.write(&report, "heal", Some(&evidence), None)?;
        if evidence.healed == Some(true) {
            let required = proof_of_healing(&planned.fault, self.former.remove(&index).unwrap_or_default());
            let scene = self.scene.clone();
            self.proofs.spawn(async move { (index, scene.prove(&required, PROOF_WITHIN).await) });
        }
        self.reports.insert(index, report);
        Ok(())
    }

    async fn others_ready(
        &self,
        wiped: NodeId,
        planned: &PlannedFault,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> Result<(), String> {
        let ready = self.scene.members.iter().copied().filter(|&node| node != wiped).collect();
        let required = Requirements { ready, ..Requirements::default() };
        let within = OTHERS_READY_WITHIN.min(Duration::from_millis(planned.duration_ms / 2));
        let absent = broken_by(lock(&self.scene.active).values()).absent;
        if let Some(node) = absent.first() {
            return Err(format!("another fault keeps {node} away"));
        }
        tokio::select! {
            () = until_ended_early(stop) => Err("the run was ended".to_owned()),
            proof = self.scene.prove(&required, within) => proof.map(drop),
        }
    }

    async fn act(
        &self,
        action: fn(&mut Injector, &PlannedFault) -> Result<Evidence, crate::faults::FaultError>,
        planned: &PlannedFault,
        strike: Option<Recorder>,
    ) -> anyhow::Result<Evidence> {
        let injector = Arc::clone(&self.injector);
        let planned = planned.clone();
        let acted = tokio::task::spawn_blocking(move || {
            let mut injector = lock(&injector);
            if let Some(recorder) = strike {
                wait_for_acknowledgement(&recorder);
            }
            action(&mut injector, &planned)
        });
        acted.await.context("a fault's thread ended")?.context("a fault could not be carried out")
    }

    /// Waits until `due`, taking in proofs as they come.
    async fn collect_proofs_until(&mut self, due: Instant) {
        let collect = async {
            while self.collect_proof().await {}
            std::future::pending::<()>().await;
        };
        // Ends at `due` unless it is past already: then nothing is collected now.
        let _ = tokio::time::timeout_at(due.into(), collect).await;
    }

    /// Takes in the next proof; false when none is under way.
    async fn collect_proof(&mut self) -> bool {
        let Some(joined) = self.proofs.join_next().await else { return false };
        let (index, proof) = match joined {
            Ok(proof) => proof,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return true,
        };
        let mut report = self.reports.remove(&index).expect("what is proven was made");
        let (step, text) = match proof {
            Ok(took) => {
                report.healed = true;
                ("proven", format!("whole again {:.1} s later", took.as_secs_f64()))
            }
            Err(missing) => ("not-proven", format!("not proven by the cluster: {missing}")),
        };
        report.heal_evidence = format!("{}; {text}", report.heal_evidence);
        if let Err(error) = self.write(&report, step, None, Some(&text)) {
            // The report still has it; a store that can't be written ends the run through the recorder.
            report.heal_evidence = format!("{} ({error:#})", report.heal_evidence);
        }
        self.reports.insert(index, report);
        true
    }

    fn write(
        &mut self,
        report: &FaultReport,
        step: &str,
        evidence: Option<&Evidence>,
        text: Option<&str>,
    ) -> anyhow::Result<()> {
        let time = self.recorder.now();
        Ok(self.log.append(&Line { time, fault: &report.id, name: &report.name, step, evidence, text })?)
    }
}

/// The report of a fault that was not made yet.
pub(crate) fn planned_report(planned: &PlannedFault) -> FaultReport {
    FaultReport {
        id: planned.id.clone(),
        name: name(&planned.fault),
        nodes: targets(&planned.fault),
        from: None,
        to: None,
        left_out: false,
        bit: false,
        bit_evidence: String::new(),
        healed: false,
        heal_evidence: String::new(),
    }
}

/// The kind of a fault, with the shape of a partition or the scope of bad links.
pub fn name(fault: &Fault) -> String {
    match fault {
        Fault::Partition { shape, .. } => format!("partition {shape}"),
        Fault::Crash { .. } => "crash".to_owned(),
        Fault::Pause { .. } => "pause".to_owned(),
        Fault::Wipe { .. } => "wipe".to_owned(),
        Fault::PowerCut { torn: false, .. } => "power-cut".to_owned(),
        Fault::PowerCut { torn: true, .. } => "power-cut torn".to_owned(),
        Fault::SlowDisk { .. } => "slow-disk".to_owned(),
        Fault::FailingDisk { .. } => "failing-disk".to_owned(),
        Fault::Links { scope, .. } => format!("links {scope}"),
        Fault::Clock { .. } => "clock".to_owned(),
        Fault::Leave { join: Disk::Kept, .. } => "leave".to_owned(),
        Fault::Leave { join: Disk::Empty, .. } => "leave, join empty".to_owned(),
        Fault::Join { .. } => "join".to_owned(),
        Fault::Retire { .. } => "retire".to_owned(),
        Fault::Replace { .. } => "replace".to_owned(),
    }
}

/// Returns right after a client has heard that a write is durable, the worst moment for a node that only said so; or after a
/// while when none does. Spins, because what an early acknowledgement puts at risk is on disk a fraction of a millisecond later.
fn wait_for_acknowledgement(recorder: &Recorder) {
    let begun = Instant::now();
    let before = recorder.acknowledged_writes();
    while recorder.acknowledged_writes() == before && begun.elapsed() < STRIKE_WITHIN {
        std::hint::spin_loop();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}
