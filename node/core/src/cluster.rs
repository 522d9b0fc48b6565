//! What all nodes of a cluster have in common: the checked configuration and the ring made of it.
//!
//! A real node has one of its own. A process that holds many nodes makes it once and lets them share it: a ring of ten
//! thousand members has about a megabyte, and takes longer to make than everything else at a start.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::ring::Ring;
use crate::ring::topology::Topology;
use crate::{ClusterConfig, ConfigError, NodeId};

/// A cluster. Clones share what is in it.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub(crate) config: Arc<ClusterConfig>,
    pub(crate) ring: Arc<Ring>,
    /// Of the members of the configuration.
    pub(crate) topology: Topology,
    pub(crate) fingerprint: [u8; 32],
}

impl Cluster {
    /// The cluster of a configuration.
    ///
    /// # Errors
    /// As [`ClusterConfig::validate`].
    pub fn new(config: ClusterConfig) -> Result<Cluster, ConfigError> {
        config.validate()?;
        let ring = Arc::new(Ring::new(&config.members, config.vnodes, config.replication));
        let topology = Topology::of_founders(&config.members, ring.clone());
        let fingerprint = ring_fingerprint(&config);
        Ok(Cluster { config: Arc::new(config), ring, topology, fingerprint })
    }

    /// Its configuration.
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// Its ring.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }
}

/// Names the ring that a configuration makes: what decides which node replicates which key.
pub(crate) fn ring_fingerprint(config: &ClusterConfig) -> [u8; 32] {
    let mut members: Vec<NodeId> = config.members.clone();
    members.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"hearsay ring");
    hasher.update(&config.vnodes.to_be_bytes());
    hasher.update(&[config.replication]);
    for member in members {
        hasher.update(&member.0.to_be_bytes());
    }
    *hasher.finalize().as_bytes()
}
