//! The nodes' counters over time, into `metrics.jsonl`. Nothing is judged by them; they tell what happened.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write;
use std::time::Duration;

use hearsay_core::{NodeId, StatusReport};
use serde::Serialize;
use tokio::time::MissedTickBehavior;

use crate::recorder::Recorder;
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
    }
}
