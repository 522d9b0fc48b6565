//! Claim 1 on real processes: broadcasts and writes to a node that anti-entropy brings a large store back to.
//!
//! Three nodes on loopback. The third was away while many values were written, and comes back; from then on the first node publishes
//! and writes in turn, and it is noted when the third has either, by looking at both in the same rounds. There is no thin line as in
//! the simulator: what fills is the processor, so only the order of the two is judged.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use hearsay_core::dissemination::MessageId;
use hearsay_core::{ClientRequest, ClientResponse, ClusterConfig, Key, Level, NodeId, Value};
use hearsay_node::client::ClientConnection;

use crate::bench::local_cluster::LocalCluster;

/// Values that the third node lacks.
const KEYS: u32 = 40_000;
/// Bytes of each.
const VALUE_BYTES: usize = 1_000;
/// Writes under way at once while they are made.
const AT_ONCE: usize = 64;
/// Pairs of a broadcast and a write.
const PAIRS: u32 = 60;
/// From one to the next.
const APART: Duration = Duration::from_millis(5);
/// Longest wait for anything.
const LONGEST: Duration = Duration::from_secs(60);
/// Of one request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What came out.
#[derive(Debug, Default)]
pub(super) struct RealLanes {
    /// Milliseconds until the third node had a broadcast, ascending.
    pub(super) metadata_ms: Vec<f64>,
    /// The same of writes.
    pub(super) data_ms: Vec<f64>,
    /// Keys that the third node still lacked when all of them were there.
    pub(super) lacking: u64,
}

fn key(prefix: &str, number: u32) -> Key {
    Key(format!("{prefix}{number:06}").into_bytes())
}

async fn put(connection: &ClientConnection, key: Key, bytes: usize) -> Result<()> {
    let put = ClientRequest::Put { key, value: Value(vec![b'v'; bytes]), level: Level::One };
    match connection.request(&put, TIMEOUT).await? {
        ClientResponse::Written { .. } => Ok(()),
        other => bail!("a write was answered with {other:?}"),
    }
}

async fn keys(connection: &ClientConnection) -> Result<u64> {
    match connection.request(&ClientRequest::Status, TIMEOUT).await? {
        ClientResponse::Status(status) => Ok(status.keys),
        other => bail!("a question for the status was answered with {other:?}"),
    }
}

/// Measures, with the settings of the cluster but its members.
///
/// # Errors
/// What did not work, or a wait that was too long.
pub(super) async fn measure(settings: ClusterConfig) -> Result<RealLanes> {
    let mut cluster = LocalCluster::start_with(3, settings).await?;
    let third = NodeId(3);
    let first = cluster.connect(NodeId(1)).await?;
    cluster.kill(third);
    for from in (0..KEYS).step_by(AT_ONCE) {
        let puts = (from..KEYS.min(from + AT_ONCE as u32)).map(|number| put(&first, key("k", number), VALUE_BYTES));
        futures::future::try_join_all(puts).await?;
    }
    cluster.start_again(third)?;
    let begun = Instant::now();
    let connection = loop {
        if let Ok(connection) = cluster.connect(third).await
            && keys(&connection).await.is_ok_and(|keys| keys > 100)
        {
            break connection;
        }
        ensure!(begun.elapsed() < LONGEST, "n3 did not begin to catch up within {LONGEST:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    pairs(&first, &connection).await
}

async fn pairs(first: &ClientConnection, third: &ClientConnection) -> Result<RealLanes> {
    let mut result = RealLanes::default();
    let mut published: Vec<(MessageId, Instant)> = Vec::new();
    let mut written: Vec<(Key, Instant)> = Vec::new();
    let (mut made, begun) = (0, Instant::now());
    let mut next = begun;
    while made < PAIRS || !published.is_empty() || !written.is_empty() {
        let (news, values) = (published.len(), written.len());
        ensure!(begun.elapsed() < LONGEST, "{news} broadcasts and {values} writes never came to n3");
        if made < PAIRS && Instant::now() >= next {
            let at = Instant::now();
            let publish = ClientRequest::Publish { payload: Value(vec![b'm'; 100]) };
            match first.request(&publish, TIMEOUT).await? {
                ClientResponse::Published { id } => published.push((id, at)),
                other => bail!("a broadcast was answered with {other:?}"),
            }
            let at = Instant::now();
            put(first, key("m", made), 100).await?;
            written.push((key("m", made), at));
            made += 1;
            next = at + APART;
        }
        let scan = ClientRequest::LocalScan { after: Some(Key(b"l".to_vec())), limit: PAIRS };
        let (overlay, entries) =
            tokio::join!(third.request(&ClientRequest::Overlay, TIMEOUT), third.request(&scan, TIMEOUT));
        let since = |then: Instant| then.elapsed().as_secs_f64() * 1e3;
        if let ClientResponse::Overlay(report) = overlay? {
            published.retain(|(id, then)| {
                let came = report.broadcasts.iter().any(|broadcast| broadcast.id == *id);
                result.metadata_ms.extend(came.then(|| since(*then)));
                !came
            });
        }
        if let ClientResponse::Entries { entries, .. } = entries? {
            written.retain(|(key, then)| {
                let came = entries.iter().any(|entry| entry.key == *key);
                result.data_ms.extend(came.then(|| since(*then)));
                !came
            });
        }
    }
    result.lacking = u64::from(KEYS + PAIRS).saturating_sub(keys(third).await?);
    result.metadata_ms.sort_by(f64::total_cmp);
    result.data_ms.sort_by(f64::total_cmp);
    Ok(result)
}
