//! Whether another process has this node's identity: peers say so when they refuse its connection, see [`super::links`].
//!
//! A peer asks the process that is linked whether it is there, and takes the next acknowledgement for an answer. When that
//! process has died just now, an acknowledgement may still be on its way. So a node believes a peer that says it
//! [`BELIEVED`] times in a row, with the dialler's back-off between.

use std::collections::BTreeMap;

use hearsay_core::NodeId;

/// How often one peer has to say it.
pub(crate) const BELIEVED: u32 = 3;

/// Who has said so how often since it was last linked.
#[derive(Debug, Default)]
pub(crate) struct Contest {
    said: BTreeMap<NodeId, u32>,
}

impl Contest {
    /// A peer says that another process of this identity answers; whether that is believed now.
    pub(crate) fn said_by(&mut self, peer: NodeId) -> bool {
        let times = self.said.entry(peer).or_default();
        *times += 1;
        *times >= BELIEVED
    }

    /// A peer has linked this process.
    pub(crate) fn linked(&mut self, peer: NodeId) {
        self.said.remove(&peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_believed_that_says_so_again_and_again_and_never_links() {
        let mut contest = Contest::default();
        let [one, other] = [1, 2].map(NodeId);
        assert_eq!([one, other, one, other].map(|peer| contest.said_by(peer)), [false; 4], "twice each");
        contest.linked(one);
        assert_eq!([one, one].map(|peer| contest.said_by(peer)), [false; 2], "it was wrong about it before");
        assert!(contest.said_by(other), "the third time, and never linked");
        assert!(contest.said_by(one));
    }
}
