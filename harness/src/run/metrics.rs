//! The nodes' counters over time, into `metrics.jsonl`. Nothing is judged by them; they tell what happened.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

use hearsay_core::{NodeId, OverlayReport, StatusReport};
use serde::{Deserialize, Serialize};
use tokio::time::MissedTickBehavior;

use crate::recorder::Recorder;
use crate::report::marks::MARK_PREFIX;
use crate::store::{JsonLines, StoreError};

use super::nemesis::Scene;

/// Between two samples.
pub(crate) const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// A line of `metrics.jsonl`.
#[derive(Serialize)]
pub(crate) struct Sample<'a> {
    time: u64,
    node: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(flatten)]
    said: Option<Said<'a>>,
}

#[derive(Serialize)]
struct Said<'a> {
    incarnation: u64,
    ready: bool,
    keys: u64,
    state_digest: String,
    counters: &'a BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overlay: Option<&'a OverlayReport>,
}

/// Samples all nodes that are up, until dropped.
///
/// # Errors
/// The file can't be written.
pub async fn sample(scene: Scene, recorder: Recorder, mut file: JsonLines) -> Result<Infallible, StoreError> {
    let mut ticks = tokio::time::interval(SAMPLE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let statuses = scene.observer.statuses(scene.present()).await;
        let time = recorder.now();
        for (node, status) in &statuses {
            file.append(&Sample::of(time, *node, status))?;
        }
    }
}

impl<'a> Sample<'a> {
    /// What a node said at `time`, nanoseconds since the start of the run.
    pub(crate) fn of(time: u64, node: NodeId, status: &'a Result<StatusReport, String>) -> Sample<'a> {
        let said = status.as_ref().ok().map(said);
        let error = status.as_ref().err().map(String::as_str);
        Sample { time, node: node.to_string(), error, said }
    }
}

/// The marks in a file of samples, by name, over all processes of all nodes. What a process did after its last sample is
/// not in it.
pub(crate) fn sampled_marks(path: &Path) -> BTreeMap<String, u64> {
    #[derive(Deserialize)]
    struct Line {
        node: String,
        #[serde(default)]
        incarnation: u64,
        #[serde(default)]
        counters: BTreeMap<String, u64>,
    }
    // Nothing depends on them: without a file, or with a line that is cut, there are fewer.
    let Ok(file) = File::open(path) else { return BTreeMap::new() };
    let mut last: BTreeMap<(String, u64), BTreeMap<String, u64>> = BTreeMap::new();
    for line in BufReader::new(file).lines().map_while(Result::ok) {
        let Ok(Line { node, incarnation, counters }) = serde_json::from_str(&line) else { continue };
        let marks =
            counters.into_iter().filter_map(|(name, count)| Some((name.strip_prefix(MARK_PREFIX)?.to_owned(), count)));
        last.insert((node, incarnation), marks.collect());
    }
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in last.into_values().flatten() {
        *sums.entry(name).or_default() += count;
    }
    sums
}

fn said(status: &StatusReport) -> Said<'_> {
    let mut state_digest = String::with_capacity(64);
    for byte in status.state_digest {
        write!(state_digest, "{byte:02x}").expect("a String takes all that is written");
    }
    Said {
        incarnation: status.incarnation,
        ready: status.ready,
        keys: status.keys,
        state_digest,
        counters: &status.counters,
        overlay: status.overlay.as_deref(),
    }
}
