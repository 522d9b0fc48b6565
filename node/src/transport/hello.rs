//! The hello: the first frame of both sides of a peer connection.

use hearsay_core::{ClusterConfig, NodeId, codec};
use serde::{Deserialize, Serialize};

/// Who speaks, and by which rules. The frame's version byte comes with the codec.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Name of the cluster.
    pub(crate) cluster: String,
    /// The node that speaks.
    pub(crate) node: NodeId,
    /// Its start.
    pub(crate) incarnation: u64,
    /// Digest of the cluster's configuration.
    pub(crate) config_digest: [u8; 32],
}

/// The digest that nodes compare.
pub(crate) fn config_digest(config: &ClusterConfig) -> [u8; 32] {
    let mut config = config.clone();
    config.members.sort_unstable();
    blake3::derive_key("hearsay 2026-11 cluster configuration", &codec::encode(&config))
}

impl Hello {
    /// Checks the other side's hello against one's own and the id in its certificate.
    ///
    /// # Errors
    /// A sentence with the mend.
    pub(crate) fn check(&self, theirs: &Hello, certified: NodeId) -> Result<(), String> {
        if theirs.node != certified {
            return Err(format!("it calls itself {} and its certificate is that of {certified}", theirs.node));
        }
        if theirs.cluster != self.cluster {
            return Err(format!("it is of cluster {:?}, this node of {:?}", theirs.cluster, self.cluster));
        }
        if theirs.config_digest != self.config_digest {
            return Err(format!(
                "its configuration of the cluster differs: make members and settings of {} and {} equal",
                self.node, theirs.node
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_refused_for_id_cluster_and_configuration() {
        let digest = config_digest(&ClusterConfig::default());
        let own = Hello { cluster: "demo".into(), node: NodeId(1), incarnation: 1, config_digest: digest };
        let good = Hello { node: NodeId(2), incarnation: 9, ..own.clone() };
        assert_eq!(own.check(&good, NodeId(2)), Ok(()));
        assert!(own.check(&good, NodeId(3)).unwrap_err().contains("certificate is that of n3"));
        let other = Hello { cluster: "other".into(), ..good.clone() };
        assert!(own.check(&other, NodeId(2)).unwrap_err().contains("\"other\""));
        let config = ClusterConfig { vnodes: 9, ..ClusterConfig::default() };
        let other = Hello { config_digest: config_digest(&config), ..good };
        assert!(own.check(&other, NodeId(2)).unwrap_err().contains("settings of n1 and n2"));
    }
}
