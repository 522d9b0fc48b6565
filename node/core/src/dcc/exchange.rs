//! When exchanges run, and what follows from them: one neighbour after the other, a Merkle session where a log can't help.

use super::Dcc;
use crate::causal::{CausalMessage, ExchangeMessage, ExchangeOutcome};
use crate::failure_detector::Opinion;
use crate::timers::Timer;
use crate::{Lane, Mark, NodeId, Replica};

impl Replica {
    /// The exchange timer went off.
    pub(crate) fn on_exchange_timer(&mut self) {
        self.timers.set(self.now.time.plus_ms(self.config.exchange_interval_ms), Timer::Exchange);
        let now = self.now.time;
        let neighbours = self.ring.neighbours(self.identity);
        let dcc = self.dcc();
        dcc.exchanges.expire(now);
        let last = dcc.exchanged_last;
        // Round robin: the neighbours behind the last one, then the others.
        let behind =
            neighbours.iter().filter(|node| **node > last).chain(neighbours.iter().filter(|node| **node <= last));
        let order: alloc::vec::Vec<NodeId> = behind.copied().collect();
        let alive = |replica: &Replica, node: NodeId| replica.detector.opinion(node, now) == Opinion::Alive;
        let free = |replica: &Replica, node: NodeId| {
            let exchanges = &replica.dcc.as_ref().expect("only called under the policy dcc").exchanges;
            !exchanges.is_running(node) && !exchanges.awaits_comparison(node)
        };
        if let Some(peer) = order.into_iter().find(|node| alive(self, *node) && free(self, *node)) {
            self.dcc().exchanged_last = peer;
            self.start_exchange(peer);
        }
        let Dcc { store, .. } = &mut **self.dcc.as_mut().expect("only called under the policy dcc");
        store.strip_step(&mut self.output.durable);
        store.prune_step(&mut self.output.durable);
    }

    pub(crate) fn start_exchange(&mut self, peer: NodeId) {
        let now = self.now.time;
        let Dcc { store, exchanges, .. } = &mut **self.dcc.as_mut().expect("only called under the policy dcc");
        if let Some(request) = exchanges.start(now, peer, store) {
            self.send_causal(peer, Lane::Bulk, CausalMessage::Exchange(request));
        }
    }

    pub(super) fn on_exchange(&mut self, from: NodeId, message: ExchangeMessage) {
        let now = self.now.time;
        let Dcc { store, exchanges, .. } = &mut **self.dcc.as_mut().expect("only called under the policy dcc");
        let Some(reaction) = exchanges.on_message(now, from, message, store, &mut self.output.durable) else {
            self.counters.messages_invalid += 1;
            self.counters.mark(Mark::ExchangeIgnored);
            return;
        };
        if let Some(message) = reaction.send {
            self.send_causal(from, Lane::Bulk, CausalMessage::Exchange(message));
        }
        if reaction.outcome == Some(ExchangeOutcome::Compare) {
            self.counters.mark(Mark::ExchangeCompares);
            self.request_comparison(from);
        }
    }
}
