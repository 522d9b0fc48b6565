//! Anti-entropy repairs what it finds: of two comparisons of all replicas in a row, without load, the second finds nothing
//! (Demers et al., *Epidemic algorithms for replicated database maintenance*, 1987; DeCandia et al., *Dynamo*, 2007).
//!
//! Every node compares everything with every neighbour, twice. Differences in the second comparison, or keys that it moved,
//! break it: a tree that does not show what is stored, or a repair that repairs nothing. Neighbours left out: unknown.

use crate::explain::{counted, listed};
use crate::{Case, CheckOptions, Judgement, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "second-exchange-empty";

/// Judges a case.
pub(crate) fn check(case: &Case, _options: &CheckOptions) -> Verdict {
    let mut verdict = Verdict::new(NAME);
    let nodes = case.final_state.iter().flat_map(|state| &state.nodes);
    let (mut asked, mut peers, mut ranges, mut silent) = (0_u64, 0_u64, 0_u64, Vec::new());
    for node in nodes {
        asked += 1;
        let Some(second) = &node.second_exchange else {
            silent.push(node.node.as_str());
            continue;
        };
        peers += second.peers;
        ranges += second.ranges_compared;
        if second.left_out > 0 {
            silent.push(node.node.as_str());
        }
        if second.ranges_differing > 0 || second.keys_moved > 0 {
            verdict.violations += 1;
            let (differing, moved) = (counted(second.ranges_differing, "range"), counted(second.keys_moved, "key"));
            verdict.explanation.push(format!(
                "{} compared itself with its neighbours for the second time: {differing} differed, and {moved} moved.",
                node.node
            ));
        }
    }
    verdict.count("nodes", asked);
    verdict.count("peers_compared", peers);
    verdict.count("ranges_compared", ranges);
    if verdict.violations > 0 {
        verdict.found("second-exchange", verdict.violations);
        verdict.judgement = Judgement::Violated;
        return verdict;
    }
    if asked == 0 || ranges == 0 {
        return verdict.because(Judgement::Unknown, "No node compared itself with another after the load.");
    }
    if !silent.is_empty() {
        let reason = format!("Not all of the second comparison was seen: that of {}.", listed(&silent));
        return verdict.because(Judgement::Unknown, reason);
    }
    let (nodes, ranges) = (counted(asked, "node"), counted(ranges, "range"));
    let sentence = format!("{nodes} compared {ranges} with their neighbours for the second time: none differed.");
    verdict.because(Judgement::Holds, sentence)
}
