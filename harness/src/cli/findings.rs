//! What many runs found, by kind: the checker and the kind of violation, or what else went wrong. The names are stable, so
//! that continuous integration can wait for one of them.

use std::collections::BTreeMap;
use std::fmt::Write;

use hearsay_checkers::Judgement;
use serde::Serialize;

use crate::exit::Outcome;
use crate::plan::Plan;
use crate::report::{ProblemKind, RunReport};
use crate::shrink::anomalies_of;

/// Seeds named for each finding.
const SEEDS_NAMED_MAX: usize = 5;

/// The findings of many runs, by name.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Findings {
    by_name: BTreeMap<String, Finding>,
}

/// One kind of thing that was not as expected.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    /// Runs that showed it.
    pub(super) count: u64,
    /// Their seeds, in order.
    pub(super) seeds: Vec<u64>,
    /// The one of them with the fewest faults, then operations.
    pub(super) shortest: Shortest,
}

/// The shortest plan that showed something. The order is by size, then seed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Shortest {
    pub(super) faults: usize,
    pub(super) operations: usize,
    pub(super) seed: u64,
    /// Where it is stored.
    pub(super) directory: String,
}

impl Shortest {
    /// Of a run that was stored, with this plan.
    pub(super) fn of(plan: &Plan, report: &RunReport) -> Shortest {
        Shortest {
            faults: plan.faults.len(),
            operations: plan.operations.len(),
            seed: report.seed,
            directory: report.directory.clone(),
        }
    }
}

impl Findings {
    /// Notes what a run found. Whether anything of it is called `stop_on`: a finding's name, or its checker or kind alone.
    pub(super) fn add(&mut self, report: &RunReport, shortest: &Shortest, stop_on: Option<&str>) -> bool {
        // Whoever waits for a finding gets it where the campaign expects it, too.
        let is_awaited = stop_on.is_some_and(|awaited| {
            let found = anomalies_of(report).into_iter().map(|found| found.anomaly.to_string());
            found.chain(names(report)).any(|name| is_called(&name, awaited))
        });
        for name in names(report) {
            let finding = self.by_name.entry(name).or_insert_with(|| Finding {
                count: 0,
                seeds: Vec::new(),
                shortest: shortest.clone(),
            });
            finding.count += 1;
            let place = finding.seeds.binary_search(&report.seed).unwrap_or_else(|place| place);
            finding.seeds.insert(place, report.seed);
            if *shortest < finding.shortest {
                finding.shortest = shortest.clone();
            }
        }
        is_awaited
    }

    /// A line and a half for each; `command` runs the campaign with the seed that follows.
    pub(super) fn write(&self, out: &mut String, command: &str) -> std::fmt::Result {
        if self.by_name.is_empty() {
            return Ok(());
        }
        writeln!(out, "\nFindings")?;
        for (name, Finding { count, seeds, shortest }) in &self.by_name {
            let named: Vec<String> = seeds.iter().take(SEEDS_NAMED_MAX).map(ToString::to_string).collect();
            let more = seeds.len().saturating_sub(SEEDS_NAMED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let Shortest { faults, operations, seed, directory } = shortest;
            writeln!(out, "  {count:>5}  {name}; seeds {}{more}", named.join(", "))?;
            writeln!(
                out,
                "         shortest: {command} {seed} ({faults} faults, {operations} operations); hearsay shrink {directory}"
            )?;
        }
        Ok(())
    }
}

/// Names of what was not as expected, such as `convergence: not-equal`.
pub(super) fn names(report: &RunReport) -> Vec<String> {
    let anomalies = anomalies_of(report).into_iter().filter(|found| !found.expected);
    let mut names: Vec<String> = anomalies.map(|found| found.anomaly.to_string()).collect();
    for judged in report.verdicts.iter().filter(|judged| judged.outcome != Outcome::AsExpected) {
        let checker = &judged.verdict.checker;
        match judged.verdict.judgement {
            Judgement::Violated => {}
            Judgement::Unknown => names.push(format!("{checker}: unknown")),
            Judgement::Holds => names.push(format!("{checker}: not violated")),
        }
    }
    for problem in &report.problems {
        names.push(match problem.kind {
            // They are anomalies.
            ProblemKind::NodeDied | ProblemKind::HealNotProven => continue,
            ProblemKind::FaultDidNotBite => "a fault never bit".to_owned(),
            ProblemKind::Cluster => "the cluster was not ready to serve".to_owned(),
            ProblemKind::NothingRan => "no operation succeeded".to_owned(),
            ProblemKind::Harness => "the harness failed".to_owned(),
            ProblemKind::DidNotEnd => "the run did not end".to_owned(),
            ProblemKind::MarksNotHit => "marks were never hit".to_owned(),
        });
    }
    names.sort();
    names.dedup();
    names
}

fn is_called(name: &str, awaited: &str) -> bool {
    name == awaited || name.split_once(": ").is_some_and(|(checker, kind)| checker == awaited || kind == awaited)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign;
    use crate::plan::make_plan;
    use crate::sim::{Settings, simulate};

    #[test]
    fn findings_are_counted_by_kind_with_the_shortest_plan() {
        let plan = make_plan(&campaign::load("stale-reads").unwrap(), 4);
        let mut report = simulate(&plan, Settings::default()).report(&plan, String::new(), String::new());
        assert_eq!(names(&report), [""; 0], "what is expected is no finding");
        let expected = Shortest { faults: 3, operations: 1, seed: 4, directory: String::new() };
        assert!(Findings::default().add(&report, &expected, Some("stale-read")), "it can be waited for");
        for judged in &mut report.verdicts {
            if judged.verdict.checker == "monotonic-reads" {
                judged.outcome = Outcome::Violation;
            }
        }
        let mut findings = Findings::default();
        let mut seen = |seed, operations, stop_on| {
            report.seed = seed;
            let directory = format!("store/{seed}");
            findings.add(&report, &Shortest { faults: 3, operations, seed, directory }, stop_on)
        };
        assert!(!seen(9, 200, None));
        assert!(!seen(4, 100, Some("lost-write")));
        for awaited in ["stale-read", "monotonic-reads", "monotonic-reads: stale-read"] {
            assert!(seen(11, 300, Some(awaited)), "{awaited}");
        }
        let mut text = String::new();
        findings.write(&mut text, "hearsay run q --sim --seed").unwrap();
        let expected = "\nFindings\n      5  monotonic-reads: stale-read; seeds 4, 9, 11, 11, 11\n         shortest: hearsay run q \
                        --sim --seed 4 (3 faults, 100 operations); hearsay shrink store/4\n";
        assert_eq!(text, expected);
    }
}
