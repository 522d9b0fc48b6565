//! How far the nodes' wall clocks are off, by the nodes' own words against the harness's clock, and what that proves of a
//! fault `clock`. Pure, for both worlds: who asks gives what was said and how long the asking took.

use std::collections::BTreeMap;
use std::time::Duration;

use hearsay_core::NodeId;

use crate::faults::Evidence;
use crate::plan::{CLOCK_SKEW_MIN_NS, ClockSkew};

/// A clock is as it should be when it is proven to be off by less, nanoseconds; one that a fault has put off shows what was
/// planned as well as that.
const TOLERANCE_NS: u64 = CLOCK_SKEW_MIN_NS.unsigned_abs();
/// How long a node may take to follow a correction of its clock.
pub const FOLLOWED_WITHIN: Duration = Duration::from_secs(3);

/// A look at a wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Ahead of the harness's clock by so much (behind when negative), nanoseconds.
    pub ahead_ns: i64,
    /// Give or take so much: half of the time that asking took, nanoseconds.
    pub uncertainty_ns: u64,
}

/// What each node's clock showed, or why that is not known.
pub type Readings = BTreeMap<NodeId, Result<Reading, String>>;

impl Reading {
    /// From a clock that showed `wall_ns` at some time between `asked_ns` and `answered_ns` of the harness's.
    pub fn between(asked_ns: u64, wall_ns: u64, answered_ns: u64) -> Reading {
        let uncertainty_ns = answered_ns.saturating_sub(asked_ns) / 2;
        let ahead = i128::from(wall_ns) - i128::from(asked_ns) - i128::from(uncertainty_ns);
        let ahead_ns = i64::try_from(ahead).unwrap_or(if ahead < 0 { i64::MIN } else { i64::MAX });
        Reading { ahead_ns, uncertainty_ns }
    }

    /// How much this clock has moved against the harness's since `former`: (nanoseconds, give or take).
    fn since(self, former: Reading) -> (i64, u64) {
        (self.ahead_ns.saturating_sub(former.ahead_ns), self.uncertainty_ns.saturating_add(former.uncertainty_ns))
    }
}

/// Whether the clocks show what was planned, `elapsed_ns` after the start of the fault, against what they showed `before`.
pub fn show_the_skew(clocks: &[ClockSkew], elapsed_ns: u64, before: &Readings, now: &Readings) -> bool {
    clocks.iter().all(|clock| {
        let (Some(Ok(before)), Some(Ok(now))) = (before.get(&clock.node), now.get(&clock.node)) else { return false };
        let (moved_ns, uncertainty_ns) = now.since(*before);
        moved_ns.abs_diff(clock.off_ns(elapsed_ns)) <= TOLERANCE_NS.saturating_add(uncertainty_ns)
    })
}

/// Whether every clock is off by more than could be a slow answer.
fn all_are_off(clocks: &[ClockSkew], before: &Readings, now: &Readings) -> bool {
    clocks.iter().all(|clock| {
        let (Some(Ok(before)), Some(Ok(now))) = (before.get(&clock.node), now.get(&clock.node)) else { return false };
        let (moved_ns, uncertainty_ns) = now.since(*before);
        moved_ns.unsigned_abs() > uncertainty_ns
    })
}

/// Notes what the clocks showed once the fault was made.
pub fn note_made(evidence: &mut Evidence, clocks: &[ClockSkew], elapsed_ns: u64, before: &Readings, now: &Readings) {
    let shown = show_the_skew(clocks, elapsed_ns, before, now);
    note(evidence, clocks, elapsed_ns, before, now);
    if !shown {
        evidence.bit = Some(false);
    }
}

/// Notes what the clocks showed right before the fault was healed: that decides whether it bit.
pub fn note_end(evidence: &mut Evidence, clocks: &[ClockSkew], elapsed_ns: u64, before: &Readings, end: &Readings) {
    note(evidence, clocks, elapsed_ns, before, end);
    evidence.bit = Some(show_the_skew(clocks, elapsed_ns, before, end) && all_are_off(clocks, before, end));
}

fn note(evidence: &mut Evidence, clocks: &[ClockSkew], elapsed_ns: u64, before: &Readings, now: &Readings) {
    for clock in clocks {
        let node = clock.node;
        match (before.get(&node), now.get(&node)) {
            (Some(Ok(before)), Some(Ok(now))) => {
                let (moved_ns, uncertainty_ns) = now.since(*before);
                evidence.number(format!("{node}_off_us"), moved_ns.unsigned_abs() / 1_000);
                evidence.number(format!("{node}_off_known_to_us"), uncertainty_ns / 1_000);
                evidence.say(format!(
                    "The clock of {node} showed {} before, and now {}; {} of difference were planned; known to {}.",
                    milliseconds(before.ahead_ns),
                    milliseconds(now.ahead_ns),
                    milliseconds(clock.off_ns(elapsed_ns)),
                    milliseconds(i64::try_from(uncertainty_ns).unwrap_or(i64::MAX)),
                ));
            }
            (Some(Err(reason)), _) | (_, Some(Err(reason))) => {
                evidence.say(format!("{node} did not say what its clock shows: {reason}."));
            }
            _ => evidence.say(format!("{node} was not asked what its clock shows.")),
        }
    }
}

/// Clocks that are not proven to be right, as sentences.
pub fn still_off(readings: &Readings) -> Vec<String> {
    let sentence = |(node, reading): (&NodeId, &Result<Reading, String>)| match reading {
        Ok(reading) if reading.ahead_ns.unsigned_abs().saturating_add(reading.uncertainty_ns) < TOLERANCE_NS => None,
        Ok(reading) => Some(format!(
            "the clock of {node} is off by {}, known to {}",
            milliseconds(reading.ahead_ns),
            milliseconds(i64::try_from(reading.uncertainty_ns).unwrap_or(i64::MAX)),
        )),
        Err(reason) => Some(format!("{node} does not say what its clock shows ({reason})")),
    };
    readings.iter().filter_map(sentence).collect()
}

fn milliseconds(nanoseconds: i64) -> String {
    format!("{:.1} ms", nanoseconds as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Step;

    const MS: i64 = 1_000_000;

    fn readings(ahead_ms: i64, uncertainty_ms: u64) -> Readings {
        [(NodeId(1), Ok(Reading { ahead_ns: ahead_ms * MS, uncertainty_ns: uncertainty_ms * 1_000_000 }))].into()
    }

    fn skew(offset_ms: i64, drift_ppb: i64) -> [ClockSkew; 1] {
        [ClockSkew { node: NodeId(1), offset_ns: offset_ms * MS, drift_ppb }]
    }

    #[test]
    fn a_reading_lies_in_the_middle_of_the_asking() {
        assert_eq!(Reading::between(100, 160, 120), Reading { ahead_ns: 50, uncertainty_ns: 10 });
        assert_eq!(Reading::between(100, 60, 120), Reading { ahead_ns: -50, uncertainty_ns: 10 });
    }

    #[test]
    fn the_skew_is_what_was_planned_give_or_take_the_asking() {
        let bit = |clocks: &[ClockSkew], elapsed_s: u64, before: Readings, end: Readings| {
            let mut evidence = Evidence::new("f1", Step::Heal);
            note_end(&mut evidence, clocks, elapsed_s * 1_000_000_000, &before, &end);
            evidence.bit
        };
        assert_eq!(bit(&skew(-500, 0), 3, readings(0, 1), readings(-495, 1)), Some(true));
        assert_eq!(bit(&skew(-500, 0), 3, readings(0, 1), readings(0, 1)), Some(false), "nothing has happened");
        assert_eq!(bit(&skew(-500, 0), 3, readings(0, 1), readings(500, 1)), Some(false), "the wrong way");
        assert_eq!(
            bit(&skew(-500, 0), 3, readings(0, 1), readings(0, 900)),
            Some(false),
            "a slow answer proves nothing"
        );
        // 10 % gain in 3 s.
        assert_eq!(bit(&skew(100, 100_000_000), 3, readings(0, 1), readings(400, 1)), Some(true));
        assert_eq!(bit(&skew(100, 100_000_000), 3, readings(0, 1), readings(100, 1)), Some(false), "it does not drift");
        let silent: Readings = [(NodeId(1), Err("timed out".to_owned()))].into();
        assert_eq!(bit(&skew(-500, 0), 3, readings(0, 1), silent), Some(false));
        assert_eq!(bit(&skew(-500, 0), 3, readings(0, 1), Readings::new()), Some(false));
    }

    #[test]
    fn a_clock_is_right_when_that_is_proven() {
        assert!(still_off(&readings(2, 3)).is_empty());
        for (ahead_ms, uncertainty_ms) in [(50, 1), (-50, 1), (0, 50)] {
            assert_eq!(still_off(&readings(ahead_ms, uncertainty_ms)).len(), 1, "{ahead_ms} {uncertainty_ms}");
        }
        let silent: Readings = [(NodeId(1), Err("timed out".to_owned()))].into();
        assert_eq!(still_off(&silent), ["n1 does not say what its clock shows (timed out)"]);
    }
}
