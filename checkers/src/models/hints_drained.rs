//! Hinted handoff comes to its end: once every node is back, nobody keeps writes for anybody else any more
//! (DeCandia et al., *Dynamo*, 2007, section 4.6).
//!
//! From what every node says of itself after the load. Nothing was ever kept: unknown.

use crate::explain::counted;
use crate::{Case, CheckOptions, Judgement, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "hints-drained";

/// Judges a case.
pub(crate) fn check(case: &Case, _options: &CheckOptions) -> Verdict {
    let mut verdict = Verdict::new(NAME);
    let nodes = case.final_state.iter().flat_map(|state| &state.nodes);
    let (mut asked, mut kept, mut silent) = (0_u64, 0, Vec::new());
    for node in nodes {
        asked += 1;
        kept += node.hints_kept.unwrap_or(0);
        match node.hints_pending {
            Some(0) => {}
            Some(pending) => {
                verdict.violations += 1;
                let writes = counted(pending, "write");
                verdict.explanation.push(format!("{} keeps {writes} for other nodes at the end.", node.node));
            }
            None => silent.push(node.node.as_str()),
        }
    }
    verdict.count("nodes", asked);
    verdict.count("hints_kept", kept);
    if verdict.violations > 0 {
        verdict.found("hints-left", verdict.violations);
        verdict.judgement = Judgement::Violated;
        return verdict;
    }
    if asked == 0 {
        return verdict.because(Judgement::Unknown, "No node was asked what it keeps for others.");
    }
    if !silent.is_empty() {
        let reason = format!("It is not known what is kept by {}.", crate::explain::listed(&silent));
        return verdict.because(Judgement::Unknown, reason);
    }
    if kept == 0 {
        return verdict.because(Judgement::Unknown, "No node that runs at the end ever kept a write for another.");
    }
    let sentence = format!("{} kept for other nodes, and all of them handed over.", counted(kept, "write"));
    verdict.because(Judgement::Holds, sentence)
}
