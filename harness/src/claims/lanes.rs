//! Claim 1: metadata goes before data, whatever bulk repair is under way.

use super::{Claim, Figure, Measured, Options, Section, lanes_real};
use crate::sim::lanes::{BANDWIDTH, Latencies, latencies};

pub(super) const CLAIM: Claim =
    Claim { number: 1, sentence: "Cluster metadata must spread faster and more reliably than data records.", run };

/// A broadcast may wait for the message of the repair that is on the line, and no more: so long, milliseconds. (The simulator's line
/// carries a message at a stretch; QUIC would turn to the more urgent stream with the next packet.)
const DELAYED_MAX_MS: f64 = FRAME_BYTES_MAX as f64 * 1e3 / BANDWIDTH as f64;
/// Bytes of the longest message of a repair: a batch of versions, and its frame.
const FRAME_BYTES_MAX: u64 = 260 * 1024;

/// Real processes on loopback, set as the campaign of this claim says.
fn real() -> Result<Vec<Section>, String> {
    let campaign = crate::campaign::load("claims/01-lanes").map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let beside = runtime.block_on(lanes_real::measure(campaign.cluster)).map_err(|error| format!("{error:#}"))?;
    let row = |name: &str, list: &[f64]| {
        let at = |share| format!("{:.1} ms", Latencies::at(list, share));
        vec![name.to_owned(), at(0.5), at(0.99), at(1.0)]
    };
    let rows =
        vec![row("metadata beside the repair", &beside.metadata_ms), row("data beside the repair", &beside.data_ms)];
    let (metadata, data) = (Latencies::at(&beside.metadata_ms, 0.99), Latencies::at(&beside.data_ms, 0.99));
    let figures = vec![
        Figure::new(
            1,
            "99 % of the metadata, and of the data, are there after",
            format!("{metadata:.1} and {data:.1} ms"),
            "metadata first",
            Some(metadata < data),
        ),
        Figure::new(
            1,
            "keys still lacking at the end",
            beside.lacking.to_string(),
            "the repair never paused",
            Some(beside.lacking > 0),
        ),
    ];
    let columns = ["", "half", "99 %", "last"].map(str::to_owned).into();
    let title = "Claim 1, three real nodes on loopback: 60 broadcasts and 60 writes of 100 bytes, until the node has them that \
                 anti-entropy brings 40 MB back to";
    Ok(vec![Section { title: title.to_owned(), measured: Measured { columns, rows }, figures }])
}

fn run(options: &Options) -> Result<Vec<Section>, String> {
    if options.real {
        return real();
    }
    let (idle, beside) = (latencies(false, 1)?, latencies(true, 1)?);
    let row = |name: &str, list: &[f64]| {
        let at = |share| format!("{:.2} ms", Latencies::at(list, share));
        vec![name.to_owned(), at(0.5), at(0.99), at(1.0)]
    };
    let rows = vec![
        row("metadata, nothing else", &idle.metadata_ms),
        row("data, nothing else", &idle.data_ms),
        row("metadata beside the repair", &beside.metadata_ms),
        row("data beside the repair", &beside.data_ms),
    ];
    let (metadata, data) = (Latencies::at(&beside.metadata_ms, 0.99), Latencies::at(&beside.data_ms, 0.99));
    let delayed = metadata - Latencies::at(&idle.metadata_ms, 0.99);
    let figures = vec![
        Figure::new(
            1,
            "99 % of the metadata, and of the data, are there after",
            format!("{metadata:.2} and {data:.2} ms"),
            "metadata first",
            Some(metadata < data),
        ),
        Figure::new(
            1,
            "99 % of the metadata beside the repair, later than alone",
            format!("{delayed:.1} ms"),
            &format!("at most one message of the repair on the line, {DELAYED_MAX_MS:.0} ms"),
            Some(delayed <= DELAYED_MAX_MS),
        ),
        Figure::new(
            1,
            "keys still lacking at the end; share of the two lines that repaired keys took",
            format!("{}; {:.2}", beside.lacking, beside.filled),
            "the repair never paused",
            Some(beside.lacking > 0),
        ),
    ];
    let columns = ["", "half", "99 %", "last"].map(str::to_owned).into();
    let title = "Claim 1, three simulated nodes, 1 MB/s each way: 100 broadcasts and 100 writes of 100 bytes, until the node has them \
                 that anti-entropy brings 6 MB back to";
    Ok(vec![Section { title: title.to_owned(), measured: Measured { columns, rows }, figures }])
}
