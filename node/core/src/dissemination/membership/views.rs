//! The two views of HyParView as bare data: disjoint, bounded, never with the node itself.

use alloc::vec::Vec;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::chance;
use crate::NodeId;

#[derive(Debug)]
pub(super) struct Views {
    identity: NodeId,
    /// Ascending.
    active: Vec<NodeId>,
    passive: Vec<NodeId>,
    active_max: usize,
    passive_max: usize,
}

impl Views {
    pub(super) fn new(identity: NodeId, active_max: usize, passive_max: usize) -> Views {
        Views { identity, active: Vec::new(), passive: Vec::new(), active_max, passive_max }
    }

    pub(super) fn active(&self) -> &[NodeId] {
        &self.active
    }

    pub(super) fn passive(&self) -> &[NodeId] {
        &self.passive
    }

    pub(super) fn is_active(&self, peer: NodeId) -> bool {
        self.active.binary_search(&peer).is_ok()
    }

    pub(super) fn is_full(&self) -> bool {
        self.active.len() >= self.active_max
    }

    pub(super) fn add_active(&mut self, peer: NodeId) {
        assert!(peer != self.identity && !self.is_full(), "there is room for a peer");
        self.remove_passive(peer);
        if let Err(place) = self.active.binary_search(&peer) {
            self.active.insert(place, peer);
        }
    }

    /// Whether it was there.
    pub(super) fn remove_active(&mut self, peer: NodeId) -> bool {
        let place = self.active.binary_search(&peer);
        if let Ok(place) = place {
            self.active.remove(place);
        }
        place.is_ok()
    }

    /// Adds peers; what must go for them is first of `sent`, then random.
    pub(super) fn add_passive(&mut self, rng: &mut ChaCha8Rng, peers: &[NodeId], sent: &[NodeId]) {
        let mut sent = sent.to_vec();
        for &peer in peers {
            if peer == self.identity || peer.0 == 0 || self.is_active(peer) || self.passive.contains(&peer) {
                continue;
            }
            if self.passive.len() >= self.passive_max {
                let place = loop {
                    match sent.pop() {
                        Some(gone) => {
                            if let Some(place) = self.passive.iter().position(|known| *known == gone) {
                                break place;
                            }
                        }
                        None => break rng.random_range(0..self.passive.len()),
                    }
                };
                self.passive.swap_remove(place);
            }
            self.passive.push(peer);
        }
    }

    pub(super) fn remove_passive(&mut self, peer: NodeId) {
        if let Some(place) = self.passive.iter().position(|known| *known == peer) {
            self.passive.swap_remove(place);
        }
    }

    /// A random active peer that is not among `but`.
    pub(super) fn random_active(&self, rng: &mut ChaCha8Rng, but: &[NodeId]) -> Option<NodeId> {
        let candidates: Vec<NodeId> = self.active.iter().copied().filter(|peer| !but.contains(peer)).collect();
        chance::pick(rng, &candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::sub_stream;

    #[test]
    fn what_was_sent_away_leaves_the_passive_view_first() {
        let mut rng = sub_stream(&[1; 32], "views");
        let mut views = Views::new(NodeId(1), 2, 4);
        views.add_passive(&mut rng, &[NodeId(2), NodeId(3), NodeId(4), NodeId(5), NodeId(1), NodeId(2)], &[]);
        assert_eq!(views.passive(), [NodeId(2), NodeId(3), NodeId(4), NodeId(5)]);
        views.add_passive(&mut rng, &[NodeId(6), NodeId(7)], &[NodeId(3), NodeId(9), NodeId(5)]);
        let mut left = views.passive().to_vec();
        left.sort_unstable();
        assert_eq!(left, [NodeId(2), NodeId(4), NodeId(6), NodeId(7)]);
        views.add_passive(&mut rng, &[NodeId(8)], &[]);
        assert_eq!(views.passive().len(), 4);
        views.add_active(NodeId(8));
        assert!(!views.passive().contains(&NodeId(8)), "disjoint");
        views.add_passive(&mut rng, &[NodeId(8)], &[]);
        assert!(!views.passive().contains(&NodeId(8)), "disjoint");
    }
}
