//! Broadcasts of real nodes in a sandbox: how long the overlay takes to form, how fast news is everywhere, what a node costs while
//! nothing happens, and whether halves that were parted find together again.
//!
//! Latency is counted by the harness's clock from just before the publication was asked, and by each node's own clock from its
//! delivery to its report; so it is too long by the way of the report, never too short. Of a cluster on one machine, all of
//! whose nodes share its cores: the processor time beside it is what another machine would be compared by.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use hearsay_core::dissemination::{DisseminationConfig, MessageId};
use hearsay_core::{ClientRequest, ClientResponse, NodeId, OverlayReport, Value};
use hearsay_node::client::ClientConnection;
use hearsay_overlay::components_of;
use serde::{Deserialize, Serialize};

use super::Figure;
use super::measure::median;
use crate::campaign;
use crate::disk::DiskKind;
use crate::faults::firewall::pairs_max;
use crate::faults::{FirewallKind, Pair};
use crate::plan::make_plan;
use crate::run::cluster::Cluster;
use crate::sandbox::Sandbox;
use crate::store::RunDirectory;

/// Broadcasts that are timed; no more than an overlay report holds.
const BROADCASTS: usize = 20;
/// Before the first one, that a tree is made.
const WARM: usize = 5;
/// Before those of a settled overlay: as many as a node learns from how long the tree may take, and a few.
const SETTLED: usize = 40;
/// Between two.
const APART: Duration = Duration::from_millis(400);
/// Longest wait for the overlay to be one.
const FORMED_WITHIN: Duration = Duration::from_secs(120);
/// Without a payload for so long it is quiet.
const STILL: Duration = Duration::from_secs(3);
/// How long the idle cluster is watched.
const IDLE: Duration = Duration::from_secs(10);
/// How long halves are parted; a silent peer is given up after a few seconds.
const PARTED: Duration = Duration::from_secs(30);
/// Longest wait of one request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a node is asked that does not answer.
const ASKED_AT_MOST: usize = 10;
/// Bytes of a broadcast.
const PAYLOAD: usize = 64;

/// What a real cluster did.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Gossiped {
    /// Nodes.
    pub nodes: u16,
    /// From the start of the first process until the overlay was one component and every node had a neighbour, seconds.
    pub formed_s: f64,
    /// Processor time of all nodes until then, seconds.
    pub formed_cpu_s: f64,
    /// Broadcasts timed.
    pub broadcasts: usize,
    /// Deliveries that there should be: of each broadcast at each node but the origin.
    pub deliveries: usize,
    /// Of those, how many there were not.
    pub missed: usize,
    /// Milliseconds until 99 % of the deliveries of as many broadcasts, right after the overlay had formed.
    pub fresh_p99_ms: f64,
    /// Milliseconds until a delivery, over all broadcasts and nodes, once the overlay had settled: half.
    pub half_ms: f64,
    /// 99 %.
    pub p99_ms: f64,
    /// The last.
    pub last_ms: f64,
    /// Payloads that the origin sent for each broadcast, mean.
    pub origin_sent: f64,
    /// Payloads that all sent.
    pub sent: f64,
    /// Of one more broadcast: until the last node heard of it, milliseconds.
    pub informed_ms: f64,
    /// Until nobody sent a payload any more; looked at every few milliseconds, and as late as the looking takes.
    pub quiet_ms: f64,
    /// Processor time of an idle node, milliseconds in each second, mean.
    pub idle_cpu_ms: f64,
    /// Memory of an idle node, MiB, median.
    pub idle_mib: f64,
    /// Messages of the gossip layer that an idle node sends each second, mean.
    pub idle_messages: f64,
    /// Their bytes, without frame and transport.
    pub idle_bytes: f64,
    /// Parts into which the overlay fell while halves were cut off from each other; 0: they never were.
    pub parts: usize,
    /// From the healing until the overlay was one again, seconds.
    pub merged_s: Option<f64>,
    /// Nodes that a broadcast after that did not reach.
    pub missed_after: usize,
}

/// Ways to spread news, each with the campaign that says how its cluster is set.
pub(crate) const WAYS: [(&str, &str); 5] = [
    ("direct", "claims/02-notification"),
    ("periodic", "claims/03-three-ways"),
    ("rumor", "claims/15-quiet"),
    ("tree", "claims/16-spanning-tree"),
    ("plumtree", "claims/18-hyparview"),
];

/// The configuration of a way to spread news, as its campaign has it.
///
/// # Errors
/// There is no such way, or its campaign is damaged.
pub(crate) fn configuration(way: &str) -> Result<DisseminationConfig> {
    let Some((_, name)) = WAYS.iter().find(|(known, _)| *known == way) else {
        bail!("there is no protocol {way}: choose direct, periodic, rumor, tree or plumtree");
    };
    let campaign = campaign::load(name)?;
    campaign.cluster.dissemination.with_context(|| format!("the campaign {name} spreads no news"))
}

/// Measures a cluster of that many nodes that spreads news in that way, in a sandbox and a process of its own.
///
/// # Errors
/// What could not be measured, as a sentence.
pub fn gossiped(nodes: u16, way: &str, halves: bool) -> Result<Gossiped, String> {
    let mut command = std::process::Command::new("/proc/self/exe");
    command.args(["bench-inside", "gossip", &nodes.to_string(), "--rounds", "1", "--protocol", way]);
    if halves {
        command.arg("--halves");
    }
    let output = command.stderr(std::process::Stdio::inherit()).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{nodes} real nodes that use {way} could not be measured: {}", output.status));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{nodes} real nodes gave no figures: {error}"))
}

/// The figures of a benchmark: a hundred nodes that broadcast, two hundred whose halves are parted.
///
/// # Errors
/// A cluster that could not be measured.
pub(super) fn figures() -> Result<Vec<Figure>> {
    let hundred = gossiped(100, "plumtree", false).map_err(|error| anyhow!(error))?;
    let halves = gossiped(200, "plumtree", true).map_err(|error| anyhow!(error))?;
    let mut all = hundred.figures();
    all.extend(halves.figures());
    Ok(all)
}

impl Gossiped {
    /// As lines of a benchmark.
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let nodes = self.nodes;
        let cpu = self.formed_cpu_s;
        let line = |what: String, measured: String, reference: String, goal: Option<(&str, bool)>| Figure {
            what,
            measured,
            reference,
            ratio: None,
            goal: goal.map(|(goal, _)| goal.to_owned()),
            met: goal.map(|(_, met)| met),
        };
        let hundred = nodes == 100;
        let mut figures = vec![
            line(
                format!("{nodes} real nodes: overlay formed"),
                format!("{:.1} s, {cpu:.1} s of processor time", self.formed_s),
                "none: processes started together, two cores or more".to_owned(),
                hundred.then_some(("within 10 s", self.formed_s <= 10.0)),
            ),
            line(
                format!("{nodes} real nodes: broadcast to all right after forming, 99 %"),
                format!("{:.1} ms", self.fresh_p99_ms),
                "none: views and tree still change".to_owned(),
                None,
            ),
            line(
                format!("{nodes} real nodes: broadcast to all once settled, half / 99 % / last"),
                format!("{:.1} / {:.1} / {:.1} ms", self.half_ms, self.p99_ms, self.last_ms),
                format!("{} broadcasts each, {} deliveries missed", self.broadcasts, self.missed),
                hundred.then_some(("99 % within 100 ms, none missed", self.p99_ms < 100.0 && self.missed == 0)),
            ),
            line(
                format!("{nodes} real nodes: an idle node"),
                format!("{:.1} ms of processor time a second, {:.1} MiB", self.idle_cpu_ms, self.idle_mib),
                format!("gossip sends {:.1} messages, {:.0} bytes a second", self.idle_messages, self.idle_bytes),
                None,
            ),
        ];
        if self.parts > 0 {
            let merged = self.merged_s.map_or("not within the deadline".to_owned(), |s| format!("after {s:.1} s"));
            figures.push(line(
                format!("{nodes} real nodes: halves parted for {} s, then healed", PARTED.as_secs()),
                format!("{} parts; one overlay again {merged}; {} missed then", self.parts, self.missed_after),
                "none".to_owned(),
                Some(("one again, none missed", self.merged_s.is_some() && self.missed_after == 0)),
            ));
        }
        figures
    }
}

struct Room {
    cluster: Cluster,
    members: Vec<NodeId>,
    connections: BTreeMap<NodeId, ClientConnection>,
}

type Reports = BTreeMap<NodeId, OverlayReport>;

impl Room {
    /// One connection to each node: the clients' own path could be cut.
    async fn publish(&mut self, node: NodeId) -> Result<(MessageId, Instant)> {
        if !self.connections.contains_key(&node) {
            let address = self.cluster.addresses[&node];
            let connection = self.cluster.clients.connect(node, address, ANSWER_TIMEOUT).await?;
            self.connections.insert(node, connection);
        }
        let begun = Instant::now();
        let request = ClientRequest::Publish { payload: Value(vec![b'x'; PAYLOAD]) };
        match self.connections[&node].request(&request, ANSWER_TIMEOUT).await? {
            ClientResponse::Published { id } => Ok((id, begun)),
            other => bail!("{node} did not publish: {other:?}"),
        }
    }

    /// What every node says, and when its report was there. Those that do not answer are left out.
    async fn reports(&self) -> BTreeMap<NodeId, (OverlayReport, Instant)> {
        let mut all = BTreeMap::new();
        for part in self.members.chunks(20) {
            let asked = part.iter().map(|node| async move {
                // On a machine with much to do an answer may take longer than the observer waits.
                for _ in 0..ASKED_AT_MOST {
                    if let Ok(report) = self.cluster.observer.overlay(*node).await {
                        return Some((*node, (report, Instant::now())));
                    }
                }
                None
            });
            all.extend(futures::future::join_all(asked).await.into_iter().flatten());
        }
        all
    }

    async fn views(&self) -> Reports {
        self.reports().await.into_iter().map(|(node, (report, _))| (node, report)).collect()
    }

    /// Waits until the overlay is one; whether it became so in time.
    async fn until_one(&self, within: Duration) -> bool {
        let begun = Instant::now();
        loop {
            let views = self.views().await;
            if views.len() == self.members.len() && parts(&views) == 1 {
                return true;
            }
            if begun.elapsed() > within {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn cpu_s(&self) -> Result<f64> {
        let times: Result<Vec<u64>, _> =
            self.members.iter().map(|node| self.cluster.nodes.look(*node).map(|look| look.2)).collect();
        Ok(times?.into_iter().sum::<u64>() as f64 / 1e9)
    }

    async fn counter(&self, nodes: &[NodeId], name: &str) -> Result<f64> {
        let mut sum = 0;
        for &node in nodes {
            let mut status = self.cluster.observer.status(node).await;
            for _ in 1..ASKED_AT_MOST {
                if status.is_ok() {
                    break;
                }
                status = self.cluster.observer.status(node).await;
            }
            let status = status.map_err(|error| anyhow!("{node}: {error}"))?;
            sum += status.counters.get(name).copied().with_context(|| format!("{node} has no counter {name}"))?;
        }
        Ok(sum as f64)
    }
}

/// Components of the overlay; a node without neighbours is one by itself.
fn parts(views: &Reports) -> usize {
    let last = views.keys().next_back().map_or(0, |node| usize::from(node.0));
    let mut peers: Vec<Option<Vec<NodeId>>> = vec![None; last];
    for (node, report) in views {
        peers[usize::from(node.0) - 1] = Some(report.active.iter().map(|neighbour| neighbour.peer).collect());
    }
    let numbers = components_of(&peers.iter().map(Option::as_deref).collect::<Vec<_>>());
    numbers.into_iter().flatten().max().map_or(0, |most| most + 1)
}

/// Measures inside `sandbox`, once.
///
/// # Errors
/// A cluster that does not start or whose overlay does not form, or what the system says.
pub(super) async fn measure(sandbox: &Sandbox, nodes: u16, way: &str, halves: bool) -> Result<Gossiped> {
    let text = format!(
        "campaign: gossip\ncluster: {{nodes: {nodes}, replication: 3}}\nworkload: {{register: {{keys: 1, clients: 1, rate: 1, \
         mix: {{read: 1}}, read_level: one, write_level: one}}}}\nphases: {{warmup: 1s}}\nexpect: {{convergence: any}}\n"
    );
    let campaign = campaign::parse("gossip", &text).map_err(|mistakes| anyhow!("{mistakes}"))?;
    let mut plan = make_plan(&campaign, 1);
    plan.cluster.dissemination = Some(configuration(way)?);
    let folder = tempfile::tempdir_in(".").context("the working directory must be writable")?;
    let directory = RunDirectory::create(folder.path(), "gossip", "now", 1)?;

    let begun = Instant::now();
    let (cluster, _died) = Cluster::start(&plan, &directory, sandbox, DiskKind::Auto)?;
    let members = plan.cluster.members.clone();
    let mut room = Room { cluster, members, connections: BTreeMap::new() };
    ensure!(room.until_one(FORMED_WITHIN).await, "the overlay of {nodes} nodes was not one after {FORMED_WITHIN:?}");
    let mut result =
        Gossiped { nodes, formed_s: begun.elapsed().as_secs_f64(), formed_cpu_s: room.cpu_s()?, ..Gossiped::default() };
    broadcasts(&mut room, WARM, &mut result).await?;
    result.fresh_p99_ms = result.p99_ms;
    broadcasts(&mut room, SETTLED, &mut result).await?;
    until_quiet(&mut room, &mut result).await?;
    idle(&room, &mut result).await?;
    if halves {
        part_and_heal(&mut room, &mut result).await?;
    }
    let running = room.cluster.nodes.running().len();
    ensure!(running == room.members.len(), "{} nodes ended by themselves", room.members.len() - running);
    room.cluster.stop().await?;
    Ok(result)
}

/// After so many that are not counted.
async fn broadcasts(room: &mut Room, warm: usize, result: &mut Gossiped) -> Result<()> {
    let origin = room.members[0];
    for _ in 0..warm {
        room.publish(origin).await?;
        tokio::time::sleep(APART).await;
    }
    // Whatever is still on its way is not counted as sent later: the exchange comes round every 2 s.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let all = room.members.clone();
    let before = (
        room.counter(&all, "dissemination_payloads_sent").await?,
        room.counter(&all[..1], "dissemination_payloads_sent").await?,
    );
    let mut published = Vec::new();
    for _ in 0..BROADCASTS {
        published.push(room.publish(origin).await?);
        tokio::time::sleep(APART).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let reports = room.reports().await;
    let after = (
        room.counter(&all, "dissemination_payloads_sent").await?,
        room.counter(&all[..1], "dissemination_payloads_sent").await?,
    );
    let mut latencies_ms = Vec::new();
    for (id, begun) in &published {
        for node in all.iter().filter(|node| **node != origin) {
            let found = reports.get(node).and_then(|(report, at)| {
                let broadcast = report.broadcasts.iter().find(|broadcast| broadcast.id == *id)?;
                at.checked_sub(Duration::from_micros(broadcast.age_us))
            });
            match found {
                Some(at) => latencies_ms.push(at.saturating_duration_since(*begun).as_secs_f64() * 1e3),
                None => result.missed += 1,
            }
        }
    }
    ensure!(!latencies_ms.is_empty(), "not one broadcast arrived anywhere");
    latencies_ms.sort_by(f64::total_cmp);
    let at = |share: f64| latencies_ms[((latencies_ms.len() as f64 * share).ceil() as usize).max(1) - 1];
    let count = published.len() as f64;
    result.broadcasts = published.len();
    result.deliveries = published.len() * (all.len() - 1);
    (result.half_ms, result.p99_ms, result.last_ms) = (at(0.5), at(0.99), at(1.0));
    result.sent = (after.0 - before.0) / count;
    result.origin_sent = (after.1 - before.1) / count;
    Ok(())
}

/// One more broadcast, watched until nothing is sent any more.
async fn until_quiet(room: &mut Room, result: &mut Gossiped) -> Result<()> {
    let (origin, all) = (room.members[0], room.members.clone());
    let (id, begun) = room.publish(origin).await?;
    let (mut sent, mut changed) = (0.0, Instant::now());
    while changed.elapsed() < STILL {
        let looked = Instant::now();
        let now = room.counter(&all, "dissemination_payloads_sent").await?;
        if now > sent {
            (sent, changed) = (now, Instant::now());
            result.quiet_ms = looked.duration_since(begun).as_secs_f64() * 1e3;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (report, at) in room.reports().await.into_values() {
        let broadcast = report.broadcasts.iter().find(|broadcast| broadcast.id == id);
        let heard = broadcast.and_then(|broadcast| at.checked_sub(Duration::from_micros(broadcast.age_us)));
        let ms = heard.map_or(0.0, |at| at.saturating_duration_since(begun).as_secs_f64() * 1e3);
        result.informed_ms = result.informed_ms.max(ms);
    }
    Ok(())
}

async fn idle(room: &Room, result: &mut Gossiped) -> Result<()> {
    let all = &room.members;
    let said = (
        room.counter(all, "dissemination_control_sent").await?,
        room.counter(all, "dissemination_control_bytes_sent").await?,
    );
    let (cpu, begun) = (room.cpu_s()?, Instant::now());
    tokio::time::sleep(IDLE).await;
    let node_seconds = begun.elapsed().as_secs_f64() * all.len() as f64;
    result.idle_cpu_ms = (room.cpu_s()? - cpu) * 1e3 / node_seconds;
    result.idle_messages = (room.counter(all, "dissemination_control_sent").await? - said.0) / node_seconds;
    result.idle_bytes = (room.counter(all, "dissemination_control_bytes_sent").await? - said.1) / node_seconds;
    let weights: Result<Vec<f64>> = all
        .iter()
        .map(|node| {
            super::cluster::resident_mib(room.cluster.nodes.pid(*node).with_context(|| format!("{node} is gone"))?)
        })
        .collect();
    result.idle_mib = median(weights?);
    Ok(())
}

async fn part_and_heal(room: &mut Room, result: &mut Gossiped) -> Result<()> {
    let mut firewall = FirewallKind::Auto.open(pairs_max(room.members.len()))?;
    let address = |node: NodeId| room.cluster.network.node_address(node);
    let mut blocked = std::collections::BTreeSet::<Pair>::new();
    for &from in &room.members {
        blocked.extend(room.members.iter().filter(|to| to.0 % 2 != from.0 % 2).map(|to| (address(from), address(*to))));
    }
    firewall.apply(&blocked)?;
    tokio::time::sleep(PARTED).await;
    result.parts = parts(&room.views().await);
    firewall.apply(&std::collections::BTreeSet::new())?;
    let healed = Instant::now();
    let one = room.until_one(FORMED_WITHIN).await;
    result.merged_s = one.then(|| healed.elapsed().as_secs_f64());
    let (id, _) = room.publish(room.members[0]).await?;
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let views = room.views().await;
        let has = |report: &OverlayReport| report.broadcasts.iter().any(|broadcast| broadcast.id == id);
        result.missed_after = room.members.len() - views.values().filter(|report| has(report)).count();
        if result.missed_after == 0 || Instant::now() > deadline {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[cfg(test)]
mod tests {
    use hearsay_core::dissemination::{BroadcastKind, MembershipKind};

    use super::*;
    use crate::campaign::Variant;

    #[test]
    fn the_campaigns_of_the_claims_say_how_simulated_and_real_clusters_spread_news() {
        for way in hearsay_overlay::ways::WAYS {
            let config = configuration(way.name).expect("each way has its campaign");
            assert_eq!(config.protocol, way.protocol, "{}", way.name);
            let small = config.membership == MembershipKind::HyParView;
            assert_eq!(small, way.protocol == BroadcastKind::Plumtree, "{}", way.name);
        }
        assert!(configuration("carrier-pigeon").is_err());
        let world = hearsay_overlay::WorldConfig::default();
        for (_, name) in WAYS {
            let faults = campaign::load(name).expect("it ships").faults.expect("links are bad there");
            let links = faults.kinds.iter().flat_map(|kind| &kind.variants).find_map(|variant| match variant {
                Variant::Links(_, ranges) => {
                    Some((ranges.latency.min_ms, ranges.latency.max_ms + ranges.jitter.max_ms))
                }
                _ => None,
            });
            assert_eq!(links, Some((world.latency_min_ms, world.latency_max_ms)), "{name}");
        }
    }
}
