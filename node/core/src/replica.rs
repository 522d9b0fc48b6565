//! The node: one type that owns all of it.

use crate::{ClusterConfig, ConfigError, Input, NodeId, Now, Output, RecoveredState, Time};

/// A node of the cluster as a state machine.
#[derive(Debug)]
pub struct Replica {}

impl Replica {
    /// A node at its start. `incarnation` is drawn by the driver and unique among the starts of this node; `seed` feeds
    /// every random choice. The output may already hold things to make durable and to send.
    ///
    /// # Errors
    /// A configuration that can't work, or a store that this build can't read.
    pub fn boot(
        _config: ClusterConfig,
        _identity: NodeId,
        _incarnation: u64,
        _recovered: RecoveredState,
        _seed: [u8; 32],
        _now: Now,
    ) -> Result<(Replica, Output), ConfigError> {
        todo!()
    }

    /// Takes one input; the caller carries out the output.
    pub fn handle(&mut self, _now: Now, _input: Input) -> Output {
        todo!()
    }

    /// When to call `handle` with [`Input::Deadline`] at the latest.
    pub fn next_deadline(&self) -> Option<Time> {
        todo!()
    }
}
