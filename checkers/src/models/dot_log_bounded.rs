//! The dot logs of bitmap version vectors are pruned by what the other replicas are known to have, not only by their limit
//! (Gonçalves et al., *DottedDB*, 2017): when the load has ended and all replicas are equal, next to nothing is logged.
//!
//! A log breaks it that is longer than its limit, or that still holds more than one in [`KEPT_SHARE`] of the dots that its
//! process saw: made itself or received. Dots of a process that ended count for nothing. No dots: unknown.

use crate::explain::counted;
use crate::{Case, CheckOptions, Judgement, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "dot-log-bounded";

/// One dot in so many may be left.
const KEPT_SHARE: u64 = 10;
/// So many may be left of however few.
const KEPT_LEAST: u64 = 20;

/// Judges a case.
pub(crate) fn check(case: &Case, _options: &CheckOptions) -> Verdict {
    let mut verdict = Verdict::new(NAME);
    let nodes = case.final_state.iter().flat_map(|state| &state.nodes);
    let (mut seen, mut left, mut dropped) = (0_u64, 0, 0);
    for node in nodes {
        let Some(log) = &node.dot_log else { continue };
        seen += log.seen;
        left += log.dots;
        dropped += log.dropped;
        let problem = if log.dots > log.limit {
            format!("limit is {}", log.limit)
        } else if log.dots > (log.seen / KEPT_SHARE).max(KEPT_LEAST) {
            format!("process saw {} in all: the log was not pruned", log.seen)
        } else {
            continue;
        };
        verdict.violations += 1;
        let dots = counted(log.dots, "dot");
        verdict.explanation.push(format!("{} logs {dots} at the end, and its {problem}.", node.node));
    }
    verdict.count("dots_seen", seen);
    verdict.count("dots_left", left);
    verdict.count("dots_dropped", dropped);
    if verdict.violations > 0 {
        verdict.found("log-too-long", verdict.violations);
        verdict.judgement = Judgement::Violated;
        return verdict;
    }
    if seen == 0 {
        return verdict.because(Judgement::Unknown, "No node says that it logged a dot.");
    }
    let at_limit = if dropped > 0 { format!("; {dropped} were dropped at the limit") } else { String::new() };
    let sentence = format!("Of {seen} dots that the nodes saw, {left} are logged at the end{at_limit}.");
    verdict.because(Judgement::Holds, sentence)
}
