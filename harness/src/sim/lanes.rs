//! What lanes are worth: broadcasts and writes beside a bulk repair that fills the line.
//!
//! Three nodes with thin lines between them. The third comes back with nothing, and anti-entropy brings it everything over the bulk
//! lane. Meanwhile the first node publishes and writes in turn, and it is noted when the third has either: broadcasts go by the
//! control lane, writes by the data lane.

use hearsay_core::dissemination::DisseminationConfig;
use hearsay_core::{ClientRequest, ClientResponse, ClusterConfig, Key, Level, NodeId, Value};

use super::run_hash::Watch;
use super::settings::{MILLISECOND, SECOND, Settings};
use super::world::{Step, World};

/// Bytes per second of each directed pair.
pub const BANDWIDTH: u64 = 1_000_000;
/// Keys that the third node lacks.
const KEYS: u32 = 6_000;
/// Bytes of each.
const VALUE_BYTES: usize = 1_000;
/// Pairs of a broadcast and a write.
const PAIRS: u32 = 100;
/// From one to the next.
const APART: u64 = 20 * MILLISECOND;
/// How finely is looked.
const LOOK: u64 = MILLISECOND / 4;
/// Longest wait for anything.
const LONGEST: u64 = 60 * SECOND;

/// Milliseconds until the third node had it, ascending.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    /// Broadcasts.
    pub metadata_ms: Vec<f64>,
    /// Writes.
    pub data_ms: Vec<f64>,
    /// Bytes that arrived at the third node over the bulk repair, against what its two lines could carry meanwhile: at least.
    pub filled: f64,
    /// Keys that the third node still lacked at the end: the repair was never done.
    pub lacking: u32,
}

impl Latencies {
    /// A share of a list, as 0.99 for the 99th percentile.
    pub fn at(list: &[f64], share: f64) -> f64 {
        list[((list.len() as f64 * share).ceil() as usize).clamp(1, list.len()) - 1]
    }
}

fn name(prefix: &str, number: u32) -> Key {
    Key(format!("{prefix}{number:06}").into_bytes())
}

fn pass(world: &mut World, nanoseconds: u64) -> Result<(), String> {
    let until = world.now() + nanoseconds;
    while world.queue.next_time().is_some_and(|next| next < until) {
        if !matches!(world.step(), Step::World) {
            return Err("a client spoke where there is none".to_owned());
        }
    }
    world.queue.wait_until(until);
    match world.died() {
        Some((node, message)) => Err(format!("{node} died: {message}")),
        None => Ok(()),
    }
}

fn put(world: &mut World, key: Key, bytes: usize) {
    let put = ClientRequest::Put { key, value: Value(vec![b'v'; bytes]), level: Level::One };
    // The answer comes later, to nobody.
    let _ = world.ask(NodeId(1), put);
}

fn keys(world: &mut World, node: NodeId) -> Result<u64, String> {
    match world.ask(node, ClientRequest::Status)? {
        ClientResponse::Status(status) => Ok(status.keys),
        other => Err(format!("{node} gave {other:?} for its status")),
    }
}

fn wait_for(world: &mut World, what: &str, done: impl Fn(&mut World) -> Result<bool, String>) -> Result<(), String> {
    let deadline = world.now() + LONGEST;
    while !done(world)? {
        if world.now() > deadline {
            return Err(format!("{what}: not within {} s", LONGEST / SECOND));
        }
        pass(world, 50 * MILLISECOND)?;
    }
    Ok(())
}

/// Measures beside a repair, or with nothing else on the line.
///
/// # Errors
/// Something did not happen in a minute, as a sentence.
pub fn latencies(beside_repair: bool, seed: u64) -> Result<Latencies, String> {
    let members: Vec<NodeId> = (1..=3).map(NodeId).collect();
    let dissemination = Some(DisseminationConfig::default());
    let config = ClusterConfig { members, replication: 3, dissemination, ..ClusterConfig::default() };
    let mut settings = Settings::default();
    settings.link.bandwidth = BANDWIDTH;
    settings.link.loss_per_million = 0;
    let mut world = World::new(&config, seed, settings, Watch::default()).map_err(|error| error.to_string())?;
    for node in 1..=3 {
        world.start(NodeId(node));
    }
    pass(&mut world, 10 * SECOND)?;
    let third = NodeId(3);
    if beside_repair {
        world.kill(third);
        pass(&mut world, 5 * SECOND)?;
        for number in 0..KEYS {
            put(&mut world, name("k", number), VALUE_BYTES);
            pass(&mut world, 2 * MILLISECOND)?;
        }
        for node in [NodeId(1), NodeId(2)] {
            wait_for(&mut world, "the two nodes that are up have all keys", |world| {
                Ok(keys(world, node)? == u64::from(KEYS))
            })?;
        }
        world.start(third);
        wait_for(&mut world, "the repair begins", |world| Ok(keys(world, third).is_ok_and(|keys| keys > 100)))?;
    }
    let begun = (world.now(), keys(&mut world, third)?);
    let mut result = Latencies::default();
    let (mut waiting_ids, mut waiting_keys, mut written) = (Vec::new(), Vec::new(), 0);
    let mut next = world.now();
    while written < PAIRS || !waiting_ids.is_empty() || !waiting_keys.is_empty() {
        let now = world.now();
        if now > begun.0 + LONGEST {
            return Err(format!("{} broadcasts and {} writes never came", waiting_ids.len(), waiting_keys.len()));
        }
        if written < PAIRS && now >= next {
            match world.ask(NodeId(1), ClientRequest::Publish { payload: Value(vec![b'm'; 100]) })? {
                ClientResponse::Published { id } => waiting_ids.push((id, now)),
                other => return Err(format!("a broadcast was answered with {other:?}")),
            }
            put(&mut world, name("m", written), 100);
            waiting_keys.push((name("m", written), now));
            written += 1;
            next = now + APART;
        }
        pass(&mut world, LOOK)?;
        let now = world.now();
        let since = |then: u64| (now - then) as f64 / MILLISECOND as f64;
        if !waiting_ids.is_empty()
            && let ClientResponse::Overlay(report) = world.ask(third, ClientRequest::Overlay)?
        {
            waiting_ids.retain(|(id, then)| {
                let came = report.broadcasts.iter().any(|broadcast| broadcast.id == *id);
                result.metadata_ms.extend(came.then(|| since(*then)));
                !came
            });
        }
        if !waiting_keys.is_empty() {
            // Keys of the repair begin otherwise, and sort before these.
            let scan = ClientRequest::LocalScan { after: Some(Key(b"l".to_vec())), limit: PAIRS };
            if let ClientResponse::Entries { entries, .. } = world.ask(third, scan)? {
                waiting_keys.retain(|(key, then)| {
                    let came = entries.iter().any(|entry| entry.key == *key);
                    result.data_ms.extend(came.then(|| since(*then)));
                    !came
                });
            }
        }
    }
    let (seconds, held) = ((world.now() - begun.0) as f64 / SECOND as f64, keys(&mut world, third)?);
    let brought = held.saturating_sub(begun.1 + u64::from(PAIRS)) as f64 * VALUE_BYTES as f64;
    result.filled = brought / (2.0 * BANDWIDTH as f64 * seconds);
    result.lacking = if beside_repair { (KEYS + PAIRS).saturating_sub(held as u32) } else { 0 };
    result.metadata_ms.sort_by(f64::total_cmp);
    result.data_ms.sort_by(f64::total_cmp);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_overtakes_a_repair_that_fills_the_line() {
        let (idle, beside) = (latencies(false, 1).expect("idle"), latencies(true, 1).expect("beside"));
        let p99 = |list: &[f64]| Latencies::at(list, 0.99);
        assert!(beside.lacking > 0 && beside.filled > 0.1, "the repair was on all the time: {beside:?}");
        assert!(p99(&beside.metadata_ms) <= p99(&beside.data_ms), "{beside:?}");
        assert!(p99(&idle.metadata_ms) <= p99(&beside.metadata_ms), "{idle:?}");
    }
}
