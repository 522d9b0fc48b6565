//! One run from the first process to the last, inside a sandbox.
//!
//! ```text
//! network, nodes -> ready -> warm-up -> faults -> whole again -> healed -> converged -> final reads -> nodes stopped
//! ```
//!
//! What goes wrong on the way does not undo what was seen: a run that ends early is healed, taken down and judged by
//! what there is. Left out: judging ([`super::judge`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hearsay_checkers::{FaultWindow, FinalNode, FinalState, Phase};
use tokio::sync::watch;

use crate::disk::DiskKind;
use crate::faults::firewall::pairs_max;
use crate::faults::{FirewallKind, Injector};
use crate::links::BadLinks;
use crate::plan::{Fault, Phases, Plan};
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::{FaultReport, Problem, ProblemKind, Simulation};
use crate::sandbox::{NodeDied, Sandbox};
use crate::store::{JsonLines, Observed, RunDirectory, write_json};

use super::cluster::Cluster;
use super::convergence::{differing, final_entries, keeps, kept};
use super::end_state;
use super::load::{Load, Undone};
use super::metrics;
use super::nemesis::{Nemesis, Scene};
use super::pending::{LastLook, pending};
use super::ring::all_nodes;
use super::stop::{Stop, Watch, ended_early, stop_for, until_ended_early};

/// Longest wait, when all faults are healed, for the whole cluster.
pub(crate) const WHOLE_WITHIN: Duration = Duration::from_secs(30);
/// How much longer than a request may take a node may take to end after it was asked to.
pub(crate) const LEAVE_MARGIN: Duration = Duration::from_secs(5);
/// Between two looks at what the nodes store.
pub(crate) const SCAN_INTERVAL: Duration = Duration::from_millis(100);
/// Lines of a dead node's log in the report.
const LOG_LINES_SHOWN: usize = 20;

/// What a run brought, besides what is in its directory.
#[derive(Clone, Debug, Default)]
pub struct Ran {
    /// Phases that were run.
    pub phases: Vec<Phase>,
    /// Faults that were reached.
    pub faults: Vec<FaultReport>,
    /// Planned operations left undone.
    pub undone: Undone,
    /// What went wrong.
    pub problems: Vec<Problem>,
    /// Of a cluster that did not converge: what it still has to do, and where.
    pub pending: Vec<String>,
    /// How often each rare branch of the node's code was taken, by name.
    pub marks: BTreeMap<String, u64>,
    /// Of a simulated run.
    pub simulation: Option<Simulation>,
    /// Whether somebody ended it early.
    pub interrupted: bool,
    /// What makes its evidence weaker than it could be.
    pub notes: Vec<String>,
}

impl Ran {
    pub(crate) fn problem(&mut self, kind: ProblemKind, message: impl Into<String>) {
        self.problems.push(Problem { kind, message: message.into() });
    }

    /// Makes problems of faults that did not bite, or whose healing is not proven.
    pub(crate) fn note_faults(&mut self) {
        for fault in self.faults.clone().into_iter().filter(|fault| !fault.left_out) {
            let (id, name) = (&fault.id, &fault.name);
            if !fault.bit {
                self.problem(ProblemKind::FaultDidNotBite, format!("{id} ({name}) never bit: {}", fault.bit_evidence));
            } else if !fault.healed {
                let reason = &fault.heal_evidence;
                self.problem(ProblemKind::HealNotProven, format!("no proof that {id} ({name}) was healed: {reason}"));
            }
        }
    }

    /// What the checkers need to know of it, at `now`, nanoseconds since the start of the run.
    pub(crate) fn observed(&self, now: u64) -> Observed {
        let windows = self.faults.iter().filter_map(|fault| {
            let (id, name, from) = (fault.id.clone(), fault.name.clone(), fault.from?);
            Some(FaultWindow { id, name, from, to: fault.to.unwrap_or(now) })
        });
        Observed { phases: self.phases.clone(), faults: windows.collect() }
    }

    fn note_plain_disks(&mut self, plan: &Plan, cluster: &Cluster) {
        let cuts = plan.faults.iter().any(|planned| matches!(planned.fault, Fault::PowerCut { .. }));
        let reason = match &cluster.plain_disks {
            Some(reason) => reason.clone(),
            None if cluster.has_plain_disks() => "as asked for".to_owned(),
            None => return,
        };
        if cuts {
            self.notes.push(format!(
                "weaker evidence: the disks are plain directories ({reason}), so the power cuts lost nothing that was not \
                 synced, and a node that acknowledges too early may not be found"
            ));
        }
    }

    fn died(&mut self, died: &NodeDied) {
        let lines: Vec<&str> = died.log_tail.lines().collect();
        let end = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n");
        let message = format!("{} ended by itself ({}); the end of its log:\n{end}", died.node, died.status);
        self.problem(ProblemKind::NodeDied, message);
    }

    fn ended_by(&mut self, reason: Option<&Stop>) {
        match reason {
            None | Some(Stop::LoadEnded) => {}
            Some(Stop::Interrupted) => {
                self.interrupted = true;
                let rest = "the run was interrupted: the rest of the plan was not carried out";
                self.problem(ProblemKind::DidNotEnd, rest);
            }
            Some(Stop::NodeDied(died)) => self.died(died),
            Some(Stop::Recorder(error)) => self.problem(ProblemKind::Harness, error.to_string()),
        }
    }
}

/// Carries out a plan. Failures are among the problems of what it brought.
pub async fn execute(
    plan: &Plan,
    directory: &RunDirectory,
    firewall: FirewallKind,
    disks: DiskKind,
    sandbox: &Sandbox,
    progress: &Progress,
) -> Ran {
    let mut ran = Ran::default();
    progress.phase("starting the nodes", None);
    let done = match start(plan, directory, firewall, disks, sandbox) {
        Ok((run, watch)) => run.finish(watch, progress, &mut ran).await,
        Err(error) => Err(error),
    };
    if let Err(error) = done {
        ran.problem(ProblemKind::Harness, told(&error));
    }
    ran
}

/// A run whose nodes are started.
struct Run<'a> {
    plan: &'a Plan,
    directory: &'a RunDirectory,
    cluster: Cluster,
    scene: Scene,
    injector: Injector,
    stop: watch::Sender<Option<Stop>>,
}

fn start<'a>(
    plan: &'a Plan,
    directory: &'a RunDirectory,
    firewall: FirewallKind,
    disks: DiskKind,
    sandbox: &Sandbox,
) -> anyhow::Result<(Run<'a>, Watch)> {
    let firewall = firewall.open(pairs_max(all_nodes(plan).len())).context("the firewall can't be used")?;
    let (cluster, died) = Cluster::start(plan, directory, sandbox, disks)?;
    let watch = Watch::new(died).context("signals can't be handled")?;
    let scene = Scene::of(&cluster, plan);
    let has_bad_links = plan.faults.iter().any(|planned| matches!(planned.fault, Fault::Links { .. }));
    let mut injector = Injector::new(firewall, cluster.nodes.clone())
        .with_clock_files(cluster.clock_files.clone())
        .with_leave_within(Duration::from_millis(plan.cluster.request_timeout_ms) + LEAVE_MARGIN);
    if has_bad_links {
        injector = injector.with_links(BadLinks::open(Arc::clone(&cluster.network), plan.seed));
    }
    Ok((Run { plan, directory, cluster, scene, injector, stop: watch::Sender::new(None) }, watch))
}

impl Run<'_> {
    async fn finish(self, mut watch: Watch, progress: &Progress, ran: &mut Ran) -> anyhow::Result<()> {
        let Run { plan, directory, cluster, scene, injector, stop } = self;
        ran.note_plain_disks(plan, &cluster);
        let ready = tokio::select! {
            reason = watch.first_reason(std::future::pending()) => {
                ran.ended_by(Some(&reason));
                cluster.stop().await?;
                return cluster.export_disks(directory);
            }
            ready = scene.prove_whole(cluster.ready_within()) => ready,
        };
        if let Err(missing) = ready {
            ran.problem(ProblemKind::Cluster, format!("the cluster was not ready to serve {missing}"));
            cluster.stop().await?;
            return cluster.export_disks(directory);
        }
        let (recorder, writer) = Recorder::create(&directory.history(), Instant::now())?;
        let faults = JsonLines::create(&directory.faults())?;
        let metrics = JsonLines::create(&directory.metrics())?;
        let sampling = tokio::spawn(metrics::sample(scene.clone(), recorder.clone(), metrics));
        let refreshing = tokio::spawn({
            let (progress, recorder) = (progress.clone(), recorder.clone());
            async move { progress.refresh(&recorder).await }
        });
        let nemesis =
            Nemesis::new(scene.clone(), injector, plan.faults.clone(), faults, recorder.clone(), progress.clone());
        let flow =
            Flow { plan, directory, cluster: &cluster, scene: &scene, recorder: &recorder, stop: &stop, progress };
        let flowed = {
            let flow = flow.run(nemesis, ran);
            tokio::pin!(flow);
            tokio::select! {
                flowed = &mut flow => flowed,
                reason = watch.first_reason(recorder.failed()) => {
                    progress.phase("ending early", None);
                    stop_for(&stop, reason);
                    // Everybody comes to an end by themselves now, and heals and writes what there is.
                    flow.await
                }
            }
        };
        refreshing.abort();
        sampling.abort();
        if let Ok(Err(error)) = sampling.await {
            ran.problem(ProblemKind::Harness, error.to_string());
        }
        progress.phase("stopping the nodes", None);
        let reason = stop.borrow().clone();
        ran.ended_by(reason.as_ref());
        let stopped = cluster.stop().await;
        for node in cluster.full_disks() {
            ran.notes.push(format!(
                "the disk of {node} was full: it is in memory and has room for 512 MiB; --disks plain has what the store has"
            ));
        }
        let exported = cluster.export_disks(directory);
        while let Some(died) = watch.next_death() {
            ran.died(&died);
        }
        let recorder_known = matches!(reason, Some(Stop::Recorder(_)));
        let written = writer.finish();
        flowed?;
        stopped?;
        exported?;
        if !recorder_known {
            written?;
        }
        Ok(())
    }
}

/// The part of a run with a clock.
struct Flow<'a> {
    plan: &'a Plan,
    directory: &'a RunDirectory,
    cluster: &'a Cluster,
    scene: &'a Scene,
    recorder: &'a Recorder,
    stop: &'a watch::Sender<Option<Stop>>,
    progress: &'a Progress,
}

impl Flow<'_> {
    async fn run(&self, mut nemesis: Nemesis, ran: &mut Ran) -> anyhow::Result<()> {
        let load = Load::of(self.plan);
        let mut stop = self.stop.subscribe();
        let (faults, undone, ()) = tokio::join!(
            self.faults(&mut nemesis),
            load.run(self.plan, self.cluster, self.recorder, &stop),
            self.clock()
        );
        let load_ended = self.recorder.now();
        ran.faults = nemesis.into_reports();
        let healed = faults.as_ref().ok().and_then(|healed| healed.as_ref().ok().copied().flatten());
        ran.phases = phases_until(&self.plan.phases, healed, load_ended);
        ran.note_faults();
        // What was seen until here is kept, whatever happens next.
        self.save_observed(ran)?;
        ran.undone = undone?;
        if let Err(missing) = faults? {
            ran.problem(
                ProblemKind::HealNotProven,
                format!("the cluster was not whole again after the faults: {missing}"),
            );
        }
        if ended_early(&stop) {
            return Ok(());
        }
        tokio::select! {
            () = until_ended_early(&mut stop) => return Ok(()),
            pending = self.converge(load_ended) => ran.pending = pending?,
        }
        self.progress.phase("final reads", None);
        let from = self.recorder.now();
        tokio::select! {
            () = until_ended_early(&mut stop) => {}
            read = load.final_reads(self.plan, self.cluster, self.recorder) => drop(read?),
        }
        ran.phases.push(Phase { name: "final-reads".to_owned(), from, to: self.recorder.now() });
        self.save_observed(ran)
    }

    /// Faults, then the proof that nothing is broken any more: when that was, or what was missing. `None` when the run
    /// was ended before.
    async fn faults(&self, nemesis: &mut Nemesis) -> anyhow::Result<Result<Option<u64>, String>> {
        let mut stop = self.stop.subscribe();
        nemesis.run(stop.clone()).await?;
        let faults_end = Duration::from_millis(self.plan.phases.warmup_ms + self.plan.phases.faults_ms);
        let whole = async {
            tokio::time::sleep_until((self.recorder.start() + faults_end).into()).await;
            self.scene.prove_whole(WHOLE_WITHIN).await
        };
        Ok(tokio::select! {
            () = until_ended_early(&mut stop) => Ok(None),
            whole = whole => whole.map(|_| Some(self.recorder.now())),
        })
    }

    /// Announces the phases and ends the load when its time has come.
    async fn clock(&self) {
        let phases = self.plan.phases;
        let mut stop = self.stop.subscribe();
        let mut until_ms = 0;
        for (name, lasts_ms) in
            [("warm-up", phases.warmup_ms), ("faults", phases.faults_ms), ("healed", phases.healed_ms)]
        {
            self.progress.phase(name, Some(Duration::from_millis(lasts_ms)));
            until_ms += lasts_ms;
            let until = self.recorder.start() + Duration::from_millis(until_ms);
            tokio::select! {
                () = until_ended_early(&mut stop) => return,
                () = tokio::time::sleep_until(until.into()) => {}
            }
        }
        stop_for(self.stop, Stop::LoadEnded);
    }

    fn save_observed(&self, ran: &Ran) -> anyhow::Result<()> {
        Ok(write_json(&self.directory.phases(), &ran.observed(self.recorder.now()))?)
    }

    /// Looks at all that is stored until all replicas are equal or the time is over, and saves what was seen last. What is
    /// pending then.
    async fn converge(&self, load_ended: u64) -> anyhow::Result<Vec<String>> {
        let cluster = &self.plan.cluster;
        let deadline = Duration::from_millis(self.plan.phases.converge_within_ms);
        self.progress.phase("waiting for convergence", Some(deadline));
        let at_end = self.scene.belonging();
        let members = || at_end.iter().copied();
        let mut before = None;
        let (scans, converged_after) = loop {
            let scans = self.scene.observer.scans(members(), self.plan.workload.kind()).await;
            let waited = Duration::from_nanos(self.recorder.now().saturating_sub(load_ended));
            let collected = tombstones_collected(self.plan, self.recorder.now());
            let equal = differing(&scans, usize::from(cluster.replication), collected).is_empty();
            if equal && (!keeps(cluster) || kept(&self.scene.observer.statuses(members()).await).is_empty()) {
                break (scans, Some(waited));
            }
            if waited >= deadline {
                break (scans, None);
            }
            if before.is_none() && waited >= deadline / 2 {
                before = Some((self.scene.observer.statuses(members()).await, self.recorder.now()));
            }
            tokio::time::sleep(SCAN_INTERVAL).await;
        };
        let mut told = Vec::new();
        if converged_after.is_none() {
            let now = self.recorder.now();
            let statuses = self.scene.observer.statuses(members()).await;
            let before = before.as_ref().map(|(statuses, at)| (statuses, now.saturating_sub(*at)));
            let tombstones_collected = tombstones_collected(self.plan, now);
            let look = LastLook { scans: &scans, tombstones_collected, statuses: &statuses, before };
            told = pending(self.plan, &look);
        }
        let nodes = self.end_state(converged_after.is_some()).await;
        let (entries, unreachable) = final_entries(&scans, self.plan.workload.kind());
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let state = FinalState {
            replication: u64::from(cluster.replication),
            converged_after: converged_after.map(nanoseconds),
            deadline: nanoseconds(deadline),
            entries,
            unreachable,
            nodes,
        };
        write_json(&self.directory.final_state(), &state)?;
        Ok(told)
    }

    /// What the nodes say of themselves at the end, where somebody wants to know.
    async fn end_state(&self, is_equal: bool) -> Vec<FinalNode> {
        if !end_state::is_asked(self.plan) {
            return Vec::new();
        }
        let at_end = self.scene.belonging();
        let members = || at_end.iter().copied();
        let mut second = BTreeMap::new();
        for node in members().filter(|_| is_equal && end_state::compares_twice(self.plan)) {
            let first = self.scene.observer.repair(node).await;
            if first.is_ok()
                && let Ok(answer) = self.scene.observer.repair(node).await
            {
                second.extend(end_state::second_exchange(&answer).map(|second| (node, second)));
            }
        }
        let statuses = self.scene.observer.statuses(members()).await;
        end_state::final_nodes(self.plan, &statuses, &second)
    }
}

/// The phases as they were, until `ended`; the healed one begins when that is proven.
pub(crate) fn phases_until(planned: &Phases, healed: Option<u64>, ended: u64) -> Vec<Phase> {
    let warmup = planned.warmup_ms * 1_000_000;
    let healed = healed.unwrap_or(u64::MAX);
    let bounds = [("warmup", 0, warmup), ("faults", warmup, healed), ("healed", healed, u64::MAX)];
    let until_the_end = bounds.into_iter().filter(|&(_, from, _)| from < ended);
    until_the_end.map(|(name, from, to)| Phase { name: name.to_owned(), from, to: to.min(ended) }).collect()
}

/// An error with its causes, without saying again what it says already.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Whether tombstones of this run can be gone `at` nanoseconds after its start.
pub fn tombstones_collected(plan: &Plan, at: u64) -> bool {
    plan.cluster.tombstone_grace_ms <= at / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let inner = std::io::Error::other("disk full");
        let outer = anyhow::Error::new(inner).context("can't write x: disk full").context("the run failed");
        assert_eq!(told(&outer), "the run failed: can't write x: disk full");
    }
}
