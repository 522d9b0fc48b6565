//! The last thing the clients do: every key is read once through every node, so that the history itself says what
//! survived.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use hearsay_checkers::EventType;
use hearsay_core::NodeId;
use hearsay_workloads::Action;

use crate::plan::PlannedOperation;
use crate::recorder::{Recorder, RecorderError};

use super::client::{ClientProcess, ClientSettings, Connections, Next};

/// A read that got no answer is tried so often in all; each try is an operation of its own in the history.
const ATTEMPTS_MAX: usize = 3;

/// Reads `keys` through `node` as the client of `slot`. How many keys never got an answer.
///
/// # Errors
/// The recorder has stopped.
pub async fn read_all(
    (slot, slots): (u64, u64),
    settings: ClientSettings,
    node: NodeId,
    keys: &BTreeSet<String>,
    mut connections: Connections,
    recorder: &Recorder,
    timeout: Duration,
) -> Result<usize, RecorderError> {
    let (settings, operations) = reads(slot, settings, node, keys);
    let mut client = ClientProcess::new(slot, slots, settings, operations);
    let mut unanswered = keys.clone();
    loop {
        match client.next(recorder.now()) {
            Next::Done => return Ok(unanswered.len()),
            Next::Wait { .. } => unreachable!("every read is due since the start of the run"),
            Next::Start(call) => {
                let key = call.invocation.key.clone();
                if !unanswered.contains(&key) {
                    client.withdraw();
                    continue;
                }
                recorder.record(call.invocation)?;
                let result = connections.call(call.node, &call.request, timeout).await;
                let completion = client.complete(result);
                if completion.kind == EventType::Ok {
                    unanswered.remove(&key);
                }
                recorder.record(completion)?;
            }
        }
    }
}

/// The reads that the client of `slot` has to do, unless an earlier one of the same key was answered, and its settings.
pub(crate) fn reads(
    slot: u64,
    settings: ClientSettings,
    node: NodeId,
    keys: &BTreeSet<String>,
) -> (ClientSettings, VecDeque<PlannedOperation>) {
    let client = u32::try_from(slot).expect("few clients");
    let read = |key: &String| PlannedOperation { at_ms: 0, client, node, action: Action::Read { key: key.clone() } };
    let attempts = |key: &String| std::iter::repeat_n(read(key), ATTEMPTS_MAX);
    // Each round is due since the start of the run, and none of it is too late.
    (ClientSettings { overdue_skip_ms: u64::MAX, ..settings }, keys.iter().flat_map(attempts).collect())
}
