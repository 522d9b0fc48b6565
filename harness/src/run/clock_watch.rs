//! Watches the wall clocks of real nodes while a fault has them off.

use std::time::Instant;

use crate::faults::Evidence;
use crate::plan::{ClockSkew, Fault};

use super::clocks::{FOLLOWED_WITHIN, Readings, note_end, note_made, show_the_skew};
use super::nemesis::{LOOK_INTERVAL, Scene};

/// Clocks before a fault, and since when they are off.
#[derive(Debug)]
pub(super) struct ClockWatch {
    clocks: Vec<ClockSkew>,
    before: Readings,
    since: Instant,
}

/// Clocks right before the fault is healed.
pub(super) struct ClockEnd {
    watch: ClockWatch,
    elapsed_ns: u64,
    end: Readings,
}

impl ClockWatch {
    /// Looks at the clocks that a fault is about to put off; `None`: it is no such fault.
    pub(super) async fn before(scene: &Scene, fault: &Fault) -> Option<ClockWatch> {
        let Fault::Clock { clocks } = fault else { return None };
        let before = scene.observer.clocks(clocks.iter().map(|clock| clock.node)).await;
        Some(ClockWatch { clocks: clocks.clone(), before, since: Instant::now() })
    }

    /// Waits until the clocks show what they were told to, or for too long.
    pub(super) async fn note_made(&self, scene: &Scene, evidence: &mut Evidence) {
        loop {
            let now = self.look(scene).await;
            let elapsed = self.since.elapsed();
            if show_the_skew(&self.clocks, self.elapsed_ns(), &self.before, &now) || elapsed > FOLLOWED_WITHIN {
                return note_made(evidence, &self.clocks, self.elapsed_ns(), &self.before, &now);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Looks at the clocks for the last time while they are off.
    pub(super) async fn end(self, scene: &Scene) -> ClockEnd {
        let end = self.look(scene).await;
        ClockEnd { elapsed_ns: self.elapsed_ns(), end, watch: self }
    }

    async fn look(&self, scene: &Scene) -> Readings {
        scene.observer.clocks(self.clocks.iter().map(|clock| clock.node)).await
    }

    fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl ClockEnd {
    /// Notes whether the fault bit.
    pub(super) fn note(&self, evidence: &mut Evidence) {
        let held = evidence.bit != Some(false);
        note_end(evidence, &self.watch.clocks, self.elapsed_ns, &self.watch.before, &self.end);
        evidence.bit = evidence.bit.map(|bit| bit && held);
    }
}
