//! The status call: what a node says about itself. For people and for the harness; no protocol reads it.

use alloc::boxed::Box;
use alloc::format;

use crate::{Marks, Replica, StatusReport};

impl Replica {
    /// Which rare branches this process has taken, and how often.
    pub fn marks(&self) -> Marks {
        let mut marks = self.counters.marks.clone();
        marks.add(&self.sync.counters().marks);
        marks
    }

    /// The node as it is now. The digest of the state is taken from the data itself, so it costs a pass over all of it.
    pub(crate) fn status(&mut self) -> StatusReport {
        let mut counters = self.counters.by_name();
        counters.extend(self.sync.counters().by_name().map(|(name, count)| (name.into(), count)));
        counters.extend(self.marks().hits().map(|(mark, count)| (format!("mark_{}", mark.name()), count)));
        counters.insert("requests_in_work".into(), self.coordinator.in_work() as u64);
        let (keys, state_digest, merkle_roots) = match &mut self.dcc {
            None => {
                let table = self.store.table();
                (table.len(), table.state_digest(), table.merkle_roots())
            }
            Some(dcc) => {
                counters.insert("requests_in_work".into(), dcc.in_work() as u64);
                counters.extend(dcc.store.counters().by_name().map(|(name, count)| (name.into(), count)));
                counters.insert("causal_dots_logged".into(), dcc.store.log().len() as u64);
                counters.insert("causal_bare_containers".into(), dcc.store.bare_len() as u64);
                counters.insert("causal_clock_words".into(), dcc.store.clock().words() as u64);
                let table = dcc.store.table();
                (table.len(), table.state_digest(), table.merkle_roots())
            }
        };
        if let Some(host) = &self.broadcast {
            let layer = host.layer();
            let named = |(name, count)| (format!("dissemination_{name}"), count);
            counters.extend(layer.counters().by_name().into_iter().map(named));
            counters.insert("dissemination_neighbours".into(), layer.peers().len() as u64);
            counters.insert("dissemination_entries".into(), layer.state_size() as u64);
            counters.insert("dissemination_flaws".into(), u64::from(layer.flaw().is_some()));
        }
        if let Some(host) = &self.metadata {
            let plane = host.plane();
            counters.extend(plane.counters().by_name().map(|(name, count)| (format!("metadata_{name}"), count)));
            counters.insert("metadata_members".into(), plane.map().members().count() as u64);
            counters.insert("metadata_options".into(), plane.map().options_len() as u64);
            counters.insert("metadata_root".into(), plane.map().root());
        }
        let (mut records, mut bytes) = (0, 0);
        for (owner, queued, queued_bytes) in self.hints.pending() {
            counters.insert(format!("hints_pending_{owner}"), queued);
            records += queued;
            bytes += queued_bytes;
        }
        for (replica, (records, bytes)) in &self.coordinator.repaired {
            counters.insert(format!("read_repairs_to_{replica}"), *records);
            counters.insert(format!("read_repair_bytes_to_{replica}"), *bytes);
        }
        counters.extend([("hints_pending".into(), records), ("hints_pending_bytes".into(), bytes)]);
        StatusReport {
            node: self.identity,
            incarnation: self.incarnation,
            wall: self.now.wall,
            ready: self.is_ready(),
            catching_up_from: self.catching_up_from.iter().copied().collect(),
            peers: self.detector.statuses(),
            keys: keys as u64,
            state_digest,
            merkle_roots,
            counters,
            overlay: self.overlay_report(1).filter(|report| !report.is_full).map(Box::new),
        }
    }
}
