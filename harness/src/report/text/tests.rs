//! Golden texts of reports.

use std::collections::BTreeMap;

use hearsay_checkers::{OpIndex, Phase, Verdict};

use super::*;
use crate::report::{PhaseOperations, Problem, ProblemKind};

fn verdict(checker: &str, judgement: Judgement, explanation: &[&str], evidence: &[(&str, f64)]) -> Verdict {
    Verdict {
        checker: checker.to_owned(),
        judgement,
        liveness: false,
        explanation: explanation.iter().map(|&sentence| sentence.to_owned()).collect(),
        operations: vec![OpIndex(912)],
        violations: u64::from(judgement == Judgement::Violated) * 3,
        evidence: evidence.iter().map(|&(name, count)| (name.to_owned(), count)).collect::<BTreeMap<_, _>>(),
        kinds: Vec::new(),
        assumptions: Vec::new(),
    }
}

fn example() -> RunReport {
    let second = 1_000_000_000;
    RunReport {
        outcome: Outcome::Violation,
        exit_code: 1,
        campaign: "quickstart".to_owned(),
        seed: 42,
        commit: "0123456789ab".to_owned(),
        planted: None,
        about: "5 nodes, 3 replicas".to_owned(),
        directory: "store/quickstart/20260102T030405-42".to_owned(),
        replay: "hearsay run --plan store/quickstart/20260102T030405-42/plan.yaml".to_owned(),
        interrupted: true,
        notes: Vec::new(),
        marks: Default::default(),
        simulation: None,
        phases: vec![Phase { name: "warmup".to_owned(), from: 0, to: 5 * second }],
        faults: vec![
            FaultReport {
                id: "f1".to_owned(),
                name: "partition halves".to_owned(),
                nodes: "n1 n2 | n3 n4 n5".to_owned(),
                from: Some(5 * second),
                to: Some(8 * second + 200_000_000),
                left_out: false,
                bit: true,
                bit_evidence: "1203 packets dropped".to_owned(),
                healed: true,
                heal_evidence: "all links up 1.2 s later".to_owned(),
            },
            FaultReport {
                id: "f2".to_owned(),
                name: "wipe".to_owned(),
                nodes: "n3".to_owned(),
                from: None,
                to: None,
                left_out: false,
                bit: false,
                bit_evidence: "n4 was still catching up".to_owned(),
                healed: false,
                heal_evidence: String::new(),
            },
        ],
        operations: vec![PhaseOperations {
            phase: "warmup".to_owned(),
            ok: 2500,
            fail: 0,
            info: 3,
            ok_per_s: 500.0,
            p50_ms: 0.9,
            p99_ms: 12.345,
        }],
        operations_skipped: 7,
        operations_remaining: 9,
        verdicts: vec![
            JudgedVerdict {
                expectation: Expectation::Holds,
                outcome: Outcome::AsExpected,
                verdict: verdict(
                    "convergence",
                    Judgement::Holds,
                    &["All equal."],
                    &[("keys", 30.0), ("after_s", 0.25)],
                ),
            },
            JudgedVerdict {
                expectation: Expectation::Holds,
                outcome: Outcome::Violation,
                verdict: verdict("monotonic-reads", Judgement::Violated, &["process 3 read 7", "then 5"], &[]),
            },
        ],
        pending: Vec::new(),
        problems: vec![Problem {
            kind: ProblemKind::NodeDied,
            message: "n3 ended by itself:\nline 1\nline 2\n".to_owned(),
        }],
    }
}

#[test]
fn the_whole_report() {
    let expected = "\
hearsay run quickstart, seed 42, commit 0123456789ab
5 nodes, 3 replicas

Faults
      fault             nodes             seconds  bit                                   healed
  f1  partition halves  n1 n2 | n3 n4 n5  5.0-8.2  1203 packets dropped                  all links up 1.2 s later
  f2  wipe              n3                never    NOT PROVEN: n4 was still catching up

Operations
  phase     ok  fail  info  ok/s     p50      p99
  warmup  2500     0     3   500  0.9 ms  12.3 ms
  7 planned operations were overdue and not started
  9 planned operations were not reached

Verdicts
  checker          expected  found                      evidence
  convergence      holds     holds     as expected      All equal.
  monotonic-reads  holds     violated  NOT AS EXPECTED  3 violations, see below

monotonic-reads: violated
  process 3 read 7
  then 5
  (3 in all, of which this is the clearest)

Problems
  n3 ended by itself:
    line 1
    line 2

interrupted: judged is what there was until then

verdict: VIOLATION (exit code 1); evidence: store/quickstart/20260102T030405-42; again: hearsay run --plan store/quickstart/20260102T030405-42/plan.yaml
";
    assert_eq!(render(&example()), expected);
}

#[test]
fn the_data_survives_json() {
    let report = example();
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<RunReport>(&text).unwrap(), report);
}
