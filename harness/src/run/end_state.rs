//! What the nodes say of themselves when all replicas are equal: what is kept for others, what is logged, and whether a second
//! comparison of everything finds anything. Asked only where a campaign expects something of it.
//!
//! Pure, as [`super::convergence`]: answers go in, what the checkers take comes out.

use std::collections::BTreeMap;

use hearsay_checkers::{DotLog, FinalNode, Gossip, SecondExchange};
use hearsay_core::{ClientResponse, Conflict, NodeId, StatusReport};

use super::proof::Statuses;
use crate::plan::{Plan, members_at_end};

/// Whether the checkers of this plan ask for anything here.
pub fn is_asked(plan: &Plan) -> bool {
    hearsay_workloads::END_CHECKERS.iter().any(|checker| plan.expect.contains_key(*checker))
}

/// Whether the nodes are to compare everything twice.
pub fn compares_twice(plan: &Plan) -> bool {
    plan.expect.contains_key("second-exchange-empty")
}

/// What a node's second repair on demand found; `None`: it was not carried out.
pub fn second_exchange(answer: &ClientResponse) -> Option<SecondExchange> {
    let ClientResponse::Repaired { done, left_out } = answer else { return None };
    let mut second = SecondExchange {
        peers: done.len() as u64,
        left_out: left_out.len() as u64,
        ranges_compared: 0,
        ranges_differing: 0,
        keys_moved: 0,
    };
    for report in done {
        second.ranges_compared += report.ranges_compared;
        second.ranges_differing += report.ranges_differing;
        second.keys_moved += report.keys_sent + report.keys_received;
    }
    Some(second)
}

/// All of it, node by node.
pub fn final_nodes(plan: &Plan, statuses: &Statuses, second: &BTreeMap<NodeId, SecondExchange>) -> Vec<FinalNode> {
    let node = |node: &NodeId| {
        let status = statuses.get(node).and_then(|status| status.as_ref().ok());
        let kept = |status| counter(status, "hints_stored") + counter(status, "stand_in_writes");
        FinalNode {
            node: node.to_string(),
            hints_pending: status.and_then(|status| status.counters.get("hints_pending").copied()),
            hints_kept: status.map(kept),
            dot_log: status.filter(|_| plan.cluster.conflict == Conflict::Dcc).map(|status| DotLog {
                dots: counter(status, "causal_dots_logged"),
                limit: plan.cluster.dot_log_max.into(),
                seen: counter(status, "causal_dots_made") + counter(status, "causal_updates_applied"),
                dropped: counter(status, "causal_dots_dropped"),
            }),
            second_exchange: second.get(node).copied(),
            gossip: status.filter(|_| plan.cluster.dissemination.is_some()).map(gossip),
        }
    };
    members_at_end(plan).iter().map(node).collect()
}

/// What a node counted of its broadcasts.
fn gossip(status: &StatusReport) -> Gossip {
    let of = |name| counter(status, &format!("dissemination_{name}"));
    Gossip {
        delivered: of("delivered"),
        duplicates: of("payloads_duplicate"),
        grafts: of("grafts_sent"),
        control: of("control_sent"),
        evictions: of("evictions"),
        incarnations: counter(status, "metadata_incarnations_raised"),
        left: of("entries"),
        flawed: of("flaws") > 0,
    }
}

fn counter(status: &StatusReport, name: &str) -> u64 {
    status.counters.get(name).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use hearsay_core::RepairReport;

    use super::*;

    #[test]
    fn what_moved_in_a_second_exchange_is_summed() {
        let report = |peer, ranges_differing, keys_sent, keys_received| RepairReport {
            peer: NodeId(peer),
            ranges_compared: 8,
            ranges_differing,
            leaves_compared: 0,
            keys_sent,
            keys_received,
            rounds: 1,
        };
        let answer =
            ClientResponse::Repaired { done: vec![report(1, 0, 0, 0), report(2, 1, 3, 4)], left_out: vec![NodeId(3)] };
        let expected =
            SecondExchange { peers: 2, left_out: 1, ranges_compared: 16, ranges_differing: 1, keys_moved: 7 };
        assert_eq!(second_exchange(&answer), Some(expected));
        assert_eq!(second_exchange(&ClientResponse::Replicas(Vec::new())), None);
    }
}
