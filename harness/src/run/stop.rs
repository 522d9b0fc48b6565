//! Why a run ends, and how everybody hears of it.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::recorder::RecorderError;
use crate::sandbox::NodeDied;

/// Why to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The plan is done with.
    LoadEnded,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// A node's process ended by itself.
    NodeDied(NodeDied),
    /// The history can't be written.
    Recorder(RecorderError),
}

/// Tells everybody to stop; the first reason stays.
pub fn stop_for(sender: &watch::Sender<Option<Stop>>, reason: Stop) {
    sender.send_if_modified(|known| {
        let first = known.is_none();
        if first {
            *known = Some(reason);
        }
        first
    });
}

/// Whether to stop before the plan is done with.
pub fn ended_early(stop: &watch::Receiver<Option<Stop>>) -> bool {
    stop.borrow().as_ref().is_some_and(|reason| *reason != Stop::LoadEnded)
}

/// Waits for a reason to stop before the plan is done with.
pub async fn until_ended_early(stop: &mut watch::Receiver<Option<Stop>>) {
    let early = |reason: &Option<Stop>| reason.as_ref().is_some_and(|reason| *reason != Stop::LoadEnded);
    if stop.wait_for(early).await.is_err() {
        // The sender lives as long as the run; without it nobody can stop anything any more.
        std::future::pending::<()>().await;
    }
}

/// Hears of reasons to stop that come from outside the plan.
#[derive(Debug)]
pub struct Watch {
    interrupt: Signal,
    terminate: Signal,
    died: mpsc::Receiver<NodeDied>,
}

impl Watch {
    /// From now on, SIGINT and SIGTERM no longer end this process. `died` tells of nodes that end by themselves.
    ///
    /// # Errors
    /// The system lets nobody handle signals.
    pub fn new(died: mpsc::Receiver<NodeDied>) -> std::io::Result<Watch> {
        Ok(Watch { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, died })
    }

    /// The first reason from outside; for ever none if there is none. `failed` tells of a recorder that stopped.
    pub async fn first_reason(&mut self, failed: impl Future<Output = RecorderError>) -> Stop {
        let death = async {
            match self.died.recv().await {
                Some(died) => died,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupted,
            _ = self.terminate.recv() => Stop::Interrupted,
            died = death => Stop::NodeDied(died),
            error = failed => Stop::Recorder(error),
        }
    }

    /// A node that ended by itself and that nobody was told of yet.
    pub fn next_death(&mut self) -> Option<NodeDied> {
        self.died.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays_and_the_planned_end_is_not_early() {
        let (sender, receiver) = watch::channel(None);
        assert!(!ended_early(&receiver));
        stop_for(&sender, Stop::LoadEnded);
        assert!(!ended_early(&receiver));
        let (sender, receiver) = watch::channel(None);
        stop_for(&sender, Stop::Interrupted);
        stop_for(&sender, Stop::LoadEnded);
        assert_eq!(*receiver.borrow(), Some(Stop::Interrupted));
        assert!(ended_early(&receiver));
    }
}
