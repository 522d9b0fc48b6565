//! Key-value rates at ONE with N=1 against the bare echo, and quorum latencies of three nodes.
//!
//! Every figure stands beside its reference from the same minute: rounds go echo, read, write, echo, read, write, and the
//! ratio is the median over the rounds. Server and client are processes of their own, on loopback, sharing the machine.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hearsay_core::{ClientRequest, ClientResponse, Key, Level, NodeId, Value};
use hearsay_node::client::ClientConnection;

use super::echo::EchoClient;
use super::local_cluster::LocalCluster;
use super::measure::{Load, load, median};
use super::{Figure, Options};

/// Bytes of a value and of an echoed message.
const MESSAGE_LENGTH: usize = 128;
/// Keys read and written.
const KEYS: u64 = 1_000;
/// A request that takes longer than this fails the benchmark.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

fn key(number: u64) -> Key {
    // A fixed stride visits all keys without favouring neighbours.
    Key(format!("key-{:06}", number.wrapping_mul(7_919) % KEYS).into_bytes())
}

async fn put(connection: &ClientConnection, number: u64, level: Level) -> Result<()> {
    let mut value = number.to_be_bytes().to_vec();
    value.resize(MESSAGE_LENGTH, 7);
    let request = ClientRequest::Put { key: key(number), value: Value(value), level };
    match connection.request(&request, REQUEST_TIMEOUT).await? {
        ClientResponse::Written { .. } => Ok(()),
        other => bail!("a put was answered by {other:?}"),
    }
}

async fn get(connection: &ClientConnection, number: u64, level: Level) -> Result<()> {
    match connection.request(&ClientRequest::Get { key: key(number), level }, REQUEST_TIMEOUT).await? {
        ClientResponse::Read { value: Some(_), .. } => Ok(()),
        other => bail!("a get of a written key was answered by {other:?}"),
    }
}

/// Reads and durable writes at ONE of one node, against the echo.
///
/// # Errors
/// A process that does not start, a request that fails.
pub(super) async fn against_echo(options: &Options) -> Result<Vec<Figure>> {
    let mut cluster = LocalCluster::start(1, 1).await?;
    let connection = cluster.connect(NodeId(1)).await?;
    let (port, server_name) = cluster.start_echo().await?;
    let echo = EchoClient::connect(port, &server_name, cluster.authority_pem(), cluster.client_identity()).await?;
    let connection = Arc::new(connection);
    for number in 0..KEYS {
        put(&connection, number, Level::One).await.context("filling the store")?;
    }
    let message = [7_u8; MESSAGE_LENGTH];
    let (node, echo_server) = (cluster.process(1), cluster.process(2));
    let mut figures = Vec::new();
    for &in_flight in &options.in_flight {
        let mut rounds: Vec<[Load; 3]> = Vec::new();
        for _ in 0..options.rounds {
            rounds.push([
                load(echo_server, in_flight, options.duration, |_| echo.echo(&message)).await.context("echo")?,
                load(node, in_flight, options.duration, |number| get(&connection, number, Level::One))
                    .await
                    .context("reads")?,
                load(node, in_flight, options.duration, |number| put(&connection, number, Level::One))
                    .await
                    .context("writes")?,
            ]);
        }
        let duration = options.duration;
        // Beside the runtime: a connection that is not served for so long is given up.
        let syncs = tokio::task::spawn_blocking(move || syncs_per_s(duration)).await??;
        for (which, name, goal) in [(1, "reads at ONE", 0.5), (2, "durable writes at ONE", 0.35)] {
            let ratio = median(rounds.iter().map(|round| round[which].rate() / round[0].rate()).collect());
            let rate = median(rounds.iter().map(|round| round[which].rate()).collect());
            let reference = median(rounds.iter().map(|round| round[0].rate()).collect());
            // The goal for writes is set where group commit can work.
            let goal = (which == 1 || in_flight == 64).then(|| format!("ratio >= {goal}"));
            figures.push(Figure {
                what: format!("{name}, N=1, {in_flight} in flight"),
                measured: format!(
                    "{rate:.0}/s, {}, {}",
                    rounds[0][which].percentiles(),
                    rounds[0][which].cpu_per_request()
                ),
                reference: match which {
                    1 => format!("bare quinn echo {reference:.0}/s, {}", rounds[0][0].cpu_per_request()),
                    _ => format!("bare quinn echo {reference:.0}/s; append + fdatasync {syncs:.0}/s"),
                },
                ratio: Some(ratio),
                met: goal.as_ref().map(|_| ratio >= if which == 1 { 0.5 } else { 0.35 }),
                goal,
            });
        }
    }
    Ok(figures)
}

/// Appends of one page a second, each synced: the most commits any store can make on this disk, now.
fn syncs_per_s(duration: Duration) -> Result<f64> {
    let mut file = tempfile::tempfile()?;
    let begin = Instant::now();
    let mut syncs = 0.0;
    while begin.elapsed() < duration {
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        syncs += 1.0;
    }
    Ok(syncs / begin.elapsed().as_secs_f64())
}

/// Quorum reads and writes of three nodes with three replicas, against the same at ONE.
///
/// # Errors
/// A process that does not start, a request that fails.
pub(super) async fn quorum(options: &Options) -> Result<Vec<Figure>> {
    let cluster = LocalCluster::start(3, 3).await?;
    let connection = cluster.connect(NodeId(1)).await?;
    for number in 0..KEYS {
        put(&connection, number, Level::All).await.context("filling the store")?;
    }
    let mut figures = Vec::new();
    let node = cluster.process(1);
    for &in_flight in &options.in_flight {
        let one = load(node, in_flight, options.duration, |number| get(&connection, number, Level::One)).await?;
        let reads = load(node, in_flight, options.duration, |number| get(&connection, number, Level::Quorum)).await?;
        let writes = load(node, in_flight, options.duration, |number| put(&connection, number, Level::Quorum)).await?;
        for (name, quorum) in [("quorum reads", reads), ("quorum writes", writes)] {
            figures.push(Figure {
                what: format!("{name}, 3 nodes, N=3, {in_flight} in flight"),
                measured: format!("{:.0}/s, p50/p99/p99.9 {}", quorum.rate(), quorum.percentiles()),
                reference: format!("reads at ONE {:.0}/s, {}", one.rate(), one.percentiles()),
                ratio: Some(quorum.rate() / one.rate()),
                goal: None,
                met: None,
            });
        }
    }
    Ok(figures)
}
