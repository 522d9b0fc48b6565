//! Lets a client act: waits, records, asks, records.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::recorder::{Recorder, RecorderError};
use crate::run::stop::Stop;

use super::{ClientProcess, Connections, Next};

/// Drives one client until it has nothing left to do or there is a reason to stop; an open operation is ended first. Gives the
/// client back with what it left undone.
///
/// # Errors
/// The recorder has stopped. What was not recorded was not sent.
pub async fn drive(
    mut client: ClientProcess,
    mut connections: Connections,
    recorder: Recorder,
    start: Instant,
    timeout: Duration,
    mut stop: watch::Receiver<Option<Stop>>,
) -> Result<ClientProcess, RecorderError> {
    loop {
        if stop.borrow_and_update().is_some() {
            return Ok(client);
        }
        match client.next(recorder.now()) {
            Next::Done => return Ok(client),
            Next::Wait { until } => {
                let due = start + Duration::from_nanos(until);
                tokio::select! {
                    () = tokio::time::sleep_until(due.into()) => {}
                    _ = stop.changed() => {}
                }
            }
            Next::Start(call) => {
                recorder.record(call.invocation)?;
                let result = connections.call(call.node, &call.request, timeout).await;
                recorder.record(client.complete(result))?;
            }
        }
    }
}
