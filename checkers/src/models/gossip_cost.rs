//! What broadcasts cost stays within the bounds that a campaign states ([`crate::GossipBounds`]): a broadcast tree brings
//! hardly anything twice (Leitão et al., *Epidemic broadcast trees*, 2007), a rumor is lost interest in (Demers et al.,
//! *Epidemic algorithms*, 1987), walks end, and no table keeps growing.
//!
//! From what every node counted until the end. Each bound is in percent of the broadcasts that the nodes delivered, all nodes
//! together; counts of processes that ended are gone with them, on both sides. A node whose tables contradict each other breaks
//! it without any bound. Too few deliveries, or no bound and nothing that could contradict itself: unknown.

use crate::{Case, CheckOptions, Gossip, GossipBounds, Judgement, Verdict};

/// Name of the checker.
pub(crate) const NAME: &str = "gossip-cost";

/// A bound is in whole percents: of fewer deliveries one percent is not even one.
const DELIVERED_LEAST: u64 = 100;

/// What is bounded: its name in evidence, words for it, what a node counted of it, and the bound.
type Cost = (&'static str, &'static str, fn(&Gossip) -> u64, fn(&GossipBounds) -> Option<u32>);

const COSTS: [Cost; 6] = [
    ("duplicates", "payloads received that were known", |g| g.duplicates, |b| b.duplicates_percent),
    ("grafts", "broadcasts asked for that the tree did not bring", |g| g.grafts, |b| b.grafts_percent),
    ("control", "messages without a payload", |g| g.control, |b| b.control_percent),
    ("evictions", "neighbours put out for others", |g| g.evictions, |b| b.evictions_percent),
    ("incarnations", "incarnations raised", |g| g.incarnations, |b| b.incarnations_percent),
    ("left", "entries left in tables", |g| g.left, |b| b.left_percent),
];

/// Judges a case.
pub(crate) fn check(case: &Case, options: &CheckOptions) -> Verdict {
    let mut verdict = Verdict::new(NAME);
    let nodes = || case.final_state.iter().flat_map(|state| &state.nodes);
    let told: Vec<(&str, &Gossip)> =
        nodes().filter_map(|node| Some((node.node.as_str(), node.gossip.as_ref()?))).collect();
    let sum = |of: fn(&Gossip) -> u64| told.iter().map(|(_, gossip)| of(gossip)).sum::<u64>();
    let delivered = sum(|gossip| gossip.delivered);
    verdict.count("nodes", told.len() as u64);
    verdict.count("delivered", delivered);
    for (node, _) in told.iter().filter(|(_, gossip)| gossip.flawed) {
        verdict.violations += 1;
        verdict.found("flawed-tables", 1);
        verdict
            .explanation
            .push(format!("{node} sends broadcasts to somebody who is not its neighbour, or not to one."));
    }
    let mut kept = Vec::new();
    for (name, words, of, bound) in COSTS {
        let count = sum(of);
        verdict.count(name, count);
        let Some(percent) = bound(&options.gossip) else { continue };
        if delivered < DELIVERED_LEAST {
            continue;
        }
        let share = count as f64 * 100.0 / delivered as f64;
        let sentence = format!("{count} {words}, {share:.1} per 100 deliveries");
        if share > f64::from(percent) {
            verdict.violations += 1;
            verdict.found(&format!("too-many-{name}"), 1);
            verdict.explanation.push(format!("There were {sentence}; the campaign allows {percent}."));
        } else {
            kept.push(format!("{sentence} (at most {percent})"));
        }
    }
    if verdict.violations > 0 {
        verdict.judgement = Judgement::Violated;
        return verdict;
    }
    let silent: Vec<&str> = nodes().filter(|node| node.gossip.is_none()).map(|node| node.node.as_str()).collect();
    if told.is_empty() || !silent.is_empty() {
        let who = if silent.is_empty() { "any node".to_owned() } else { crate::explain::listed(&silent) };
        return verdict.because(Judgement::Unknown, format!("It is not known what broadcasts cost {who}."));
    }
    if delivered < DELIVERED_LEAST {
        let reason = format!("Only {delivered} broadcasts were delivered: too few for a share of them.");
        return verdict.because(Judgement::Unknown, reason);
    }
    if kept.is_empty() {
        return verdict.because(Judgement::Unknown, "The campaign states no bound: write `at_most` into its workload.");
    }
    verdict.because(Judgement::Holds, format!("Of {delivered} deliveries: {}.", kept.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FinalNode, FinalState};

    fn judged(nodes: Vec<Option<Gossip>>, bounds: GossipBounds) -> Verdict {
        let nodes = nodes.into_iter().zip(1..);
        let nodes = nodes.map(|(gossip, n)| FinalNode { node: format!("n{n}"), gossip, ..FinalNode::default() });
        let state = FinalState { nodes: nodes.collect(), ..FinalState::default() };
        let case = Case { final_state: Some(state), ..Case::default() };
        check(&case, &CheckOptions { gossip: bounds, ..CheckOptions::default() })
    }

    fn delivered(delivered: u64) -> Gossip {
        Gossip { delivered, ..Gossip::default() }
    }

    #[test]
    fn a_share_is_of_all_nodes_together_and_its_bound_is_allowed() {
        let bounds = GossipBounds { duplicates_percent: Some(10), ..GossipBounds::default() };
        let one = |duplicates| Some(Gossip { duplicates, ..delivered(500) });
        let holds = judged(vec![one(100), one(0)], bounds);
        assert_eq!(holds.judgement, Judgement::Holds, "{holds:?}");
        assert!(holds.explanation[0].contains("10.0 per 100"), "{holds:?}");
        let broken = judged(vec![one(100), one(1)], bounds);
        assert_eq!((broken.judgement, broken.violations), (Judgement::Violated, 1), "{broken:?}");
        assert!(broken.explanation[0].contains("101 payloads received that were known"), "{broken:?}");
    }

    #[test]
    fn each_bound_is_about_its_own_count() {
        let all = |percent| GossipBounds {
            duplicates_percent: percent,
            grafts_percent: percent,
            control_percent: percent,
            evictions_percent: percent,
            incarnations_percent: percent,
            left_percent: percent,
        };
        type Change = fn(&mut Gossip);
        let much: [(&str, Change); 6] = [
            ("too-many-duplicates", |g| g.duplicates = 100),
            ("too-many-grafts", |g| g.grafts = 100),
            ("too-many-control", |g| g.control = 100),
            ("too-many-evictions", |g| g.evictions = 100),
            ("too-many-incarnations", |g| g.incarnations = 100),
            ("too-many-left", |g| g.left = 100),
        ];
        for (kind, change) in much {
            let mut gossip = delivered(1_000);
            change(&mut gossip);
            let verdict = judged(vec![Some(gossip)], all(Some(9)));
            let kinds: Vec<&str> = verdict.kinds.iter().map(|kind| kind.kind.as_str()).collect();
            assert_eq!(kinds, [kind]);
            assert_eq!(judged(vec![Some(gossip)], all(Some(10))).judgement, Judgement::Holds);
            assert_eq!(judged(vec![Some(gossip)], all(None)).judgement, Judgement::Unknown);
        }
    }

    #[test]
    fn without_evidence_it_is_unknown_and_a_contradiction_needs_no_bound() {
        let bounds = GossipBounds { left_percent: Some(1), ..GossipBounds::default() };
        for nodes in [vec![], vec![None], vec![Some(delivered(1_000)), None], vec![Some(delivered(10))]] {
            let verdict = judged(nodes, bounds);
            assert_eq!(verdict.judgement, Judgement::Unknown, "{verdict:?}");
        }
        let flawed = judged(vec![Some(Gossip { flawed: true, ..delivered(1) })], GossipBounds::default());
        assert_eq!(flawed.judgement, Judgement::Violated);
        assert!(flawed.explanation[0].starts_with("n1 "), "{flawed:?}");
    }
}
