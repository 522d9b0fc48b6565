//! How fast a node hands its hints over: a node is killed, the other takes writes for it, and both are real processes with
//! their stores when it is back.
//!
//! The configured pace is set so high that it limits nothing. Stands beside the rate of the durable writes that made the
//! hints, in the same run.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hearsay_core::{ClientRequest, ClientResponse, ClusterConfig, Hints, Key, Level, NodeId, ReadRepair, Value};
use hearsay_node::client::ClientConnection;

use super::local_cluster::LocalCluster;
use super::measure::{cpu_time, load};
use super::{Figure, Options};

/// Bytes of a value.
const VALUE_LENGTH: usize = 128;
/// Requests in flight while the hints are made.
const IN_FLIGHT: usize = 64;
/// Hints handed over a second that are wanted.
const GOAL: f64 = 20_000.0;
/// How long the hints may take to be made, and to be handed over.
const WITHIN: Duration = Duration::from_secs(60);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Waits until a counter of a node's has reached `wanted`, and says where it stands. A status sums up all that the node stores:
/// the questions take at most a tenth of the time, so that it is not them that are measured.
async fn reached(connection: &ClientConnection, counter: &str, wanted: u64) -> Result<u64> {
    let end = Instant::now() + WITHIN;
    loop {
        let asked = Instant::now();
        let counted = match connection.request(&ClientRequest::Status, TIMEOUT).await? {
            ClientResponse::Status(report) => *report.counters.get(counter).context("an unknown counter")?,
            other => bail!("a status was answered by {other:?}"),
        };
        if counted >= wanted {
            return Ok(counted);
        }
        ensure!(Instant::now() < end, "only {counted} of {wanted} {counter} within {WITHIN:?}");
        tokio::time::sleep((asked.elapsed() * 9).max(Duration::from_millis(2))).await;
    }
}

/// Hints of one node for another, handed over.
///
/// # Errors
/// A process that does not start, a request that fails, hints that never arrive.
pub(super) async fn replay(options: &Options) -> Result<Vec<Figure>> {
    let settings = ClusterConfig {
        replication: 2,
        read_repair: ReadRepair::None,
        merkle_interval_ms: 0,
        hints: Hints::Coordinator,
        hint_replay_per_s: 10_000_000,
        ..ClusterConfig::default()
    };
    let mut cluster = LocalCluster::start_with(2, settings).await?;
    let connection = Arc::new(cluster.connect(NodeId(1)).await?);
    cluster.kill(NodeId(2));
    // The first writes are sent and wait for an acknowledgement; once it is held for dead a write makes its hint at once.
    let writes = load(cluster.process(1), IN_FLIGHT, options.duration, |number| {
        let request = ClientRequest::Put {
            key: Key(format!("key-{number:08}").into_bytes()),
            value: Value(vec![number as u8; VALUE_LENGTH]),
            level: Level::One,
        };
        let connection = Arc::clone(&connection);
        async move {
            match connection.request(&request, TIMEOUT).await? {
                ClientResponse::Written { .. } => Ok(()),
                other => bail!("a put was answered by {other:?}"),
            }
        }
    })
    .await
    .context("writes")?;
    reached(&connection, "hints_stored", writes.requests).await?;

    cluster.start_again(NodeId(2))?;
    let before_began = reached(&connection, "hints_replayed", 1).await?;
    let cpu = || anyhow::Ok([cpu_time(cluster.process(1))?, cpu_time(cluster.process(2))?]);
    let (began, before) = (Instant::now(), cpu()?);
    reached(&connection, "hints_replayed", writes.requests).await?;
    let (elapsed, after) = (began.elapsed(), cpu()?);
    let replayed = writes.requests.saturating_sub(before_began);
    ensure!(replayed > 0, "all hints were handed over before the first question was answered: make more of them");
    let rate = replayed as f64 / elapsed.as_secs_f64();
    let each = |side: usize| (after[side] - before[side]).as_secs_f64() * 1e6 / replayed as f64;
    Ok(vec![Figure {
        what: format!("hint replay, {} hints of {VALUE_LENGTH} bytes", writes.requests),
        measured: format!("{rate:.0}/s, CPU {:.1} + {:.1} us", each(0), each(1)),
        reference: format!("writes at ONE with a hint each {:.0}/s, {}", writes.rate(), writes.cpu_per_request()),
        ratio: Some(rate / writes.rate()),
        goal: Some(format!("{GOAL:.0}/s")),
        met: Some(rate >= GOAL),
    }])
}
