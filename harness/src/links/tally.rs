//! What bad links did to packets, counted, as evidence: the same numbers and words in both worlds.
//!
//! Invariant: the delays are those that packets really got, not those that were drawn.

use hdrhistogram::Histogram;

use crate::faults::Evidence;
use crate::plan::LinkConditions;

/// Longest delay that is told apart from longer ones, microseconds.
const DELAY_MAX_US: u64 = 60_000_000;

/// Counts of one fault, over all its pairs.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Packets that came to a bad link.
    pub packets: u64,
    /// Of those, held.
    pub held: u64,
    /// Of those, lost by chance.
    pub lost: u64,
    /// Of those, lost because the queue was full.
    pub overflowed: u64,
    /// Of those, delivered twice.
    pub duplicated: u64,
    /// Of those, delivered before one that came earlier on the same directed pair.
    pub reordered: u64,
    delays_us: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Tally {
        let delays_us = Histogram::new_with_max(DELAY_MAX_US, 3).expect("the limits are right");
        Tally { packets: 0, held: 0, lost: 0, overflowed: 0, duplicated: 0, reordered: 0, delays_us }
    }
}

impl Tally {
    /// A packet was held so long.
    pub fn delayed(&mut self, nanoseconds: u64) {
        self.held += 1;
        self.delays_us.saturating_record(nanoseconds / 1_000);
    }

    /// The delay that so many percent of the held packets did not exceed, microseconds.
    pub fn delay_us(&self, percent: f64) -> u64 {
        self.delays_us.value_at_percentile(percent)
    }

    /// Whether it shows that the links were as bad as that. What one packet in ten thousand would show need not be seen.
    pub fn shows(&self, conditions: &LinkConditions) -> bool {
        let held = !conditions.delays() || self.held > 0 && self.delay_us(50.0) >= conditions.latency_ms * 1_000;
        let seen = |count: u64, per_million: u32| {
            let expected = self.packets * u64::from(per_million) / 1_000_000;
            count > 0 || expected < 10
        };
        let lost = seen(self.lost, conditions.loss_per_million);
        let duplicated = seen(self.duplicated, conditions.duplicate_per_million);
        let anything = self.held + self.lost + self.duplicated > 0;
        anything && held && lost && duplicated
    }

    /// Adds what was counted to the evidence.
    pub fn tell(&self, evidence: &mut Evidence) {
        for (name, count) in [
            ("packets", self.packets),
            ("packets_held", self.held),
            ("packets_lost", self.lost),
            ("packets_overflowed", self.overflowed),
            ("packets_duplicated", self.duplicated),
            ("packets_reordered", self.reordered),
            ("delay_p50_us", self.delay_us(50.0)),
            ("delay_p99_us", self.delay_us(99.0)),
            ("delay_max_us", self.delay_us(100.0)),
        ] {
            evidence.number(name, count);
        }
        evidence.say(format!(
            "{} packets came to the bad links: {} held (half of them for {}, 99 % for {}, at most {}), {} lost, {} lost in a \
             full queue, {} delivered twice, {} overtook others.",
            self.packets,
            self.held,
            milliseconds(self.delay_us(50.0)),
            milliseconds(self.delay_us(99.0)),
            milliseconds(self.delay_us(100.0)),
            self.lost,
            self.overflowed,
            self.duplicated,
            self.reordered
        ));
    }
}

/// The evidence that the links were bad, for the report's line: `heal` when they are good again, `inject` before.
pub fn text(evidence: &Evidence, pairs: usize) -> String {
    let number = |name: &str| evidence.numbers.get(name).copied().unwrap_or(0);
    let mut parts = Vec::new();
    if number("packets_held") > 0 {
        let (p50, p99) = (milliseconds(number("delay_p50_us")), milliseconds(number("delay_p99_us")));
        parts.push(format!("{} packets held, p50 {p50}, p99 {p99}", number("packets_held")));
    }
    for (name, what) in [("packets_lost", "lost"), ("packets_duplicated", "doubled"), ("packets_reordered", "overtook")]
    {
        if number(name) > 0 {
            parts.push(format!("{} {what}", number(name)));
        }
    }
    if parts.is_empty() { format!("{pairs} directed pairs") } else { parts.join(", ") }
}

/// The evidence that they are good again, for the report's line.
pub fn healed_text(heal: &Evidence) -> String {
    match heal.numbers.get("probe_after_us") {
        Some(&after_us) => format!("links good, {} per way", milliseconds(after_us)),
        None => "links good".to_owned(),
    }
}

fn milliseconds(microseconds: u64) -> String {
    let digits = if microseconds < 1_000 { 2 } else { 1 };
    format!("{:.digits$} ms", microseconds as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Step;

    fn tally(held_ms: &[u64], lost: u64) -> Tally {
        let mut tally = Tally { lost, packets: held_ms.len() as u64 + lost, ..Tally::default() };
        held_ms.iter().for_each(|delay_ms| tally.delayed(delay_ms * 1_000_000));
        tally
    }

    #[test]
    fn a_delay_that_was_not_given_is_not_shown() {
        let slow = LinkConditions { latency_ms: 20, jitter_ms: 10, ..Default::default() };
        assert!(tally(&[21, 25, 30], 0).shows(&slow));
        assert!(!tally(&[1, 2, 30], 0).shows(&slow), "half of the packets were faster than the shortest delay");
        assert!(!tally(&[], 0).shows(&slow));
        let lossy = LinkConditions { loss_per_million: 10_000, ..Default::default() };
        assert!(!tally(&[], 0).shows(&lossy));
        assert!(tally(&[], 3).shows(&lossy));
        let both = LinkConditions { loss_per_million: 10_000, ..slow };
        assert!(tally(&[25; 900], 0).shows(&both), "nine expected losses may well be none");
        assert!(!tally(&[25; 1_000], 0).shows(&both));
    }

    #[test]
    fn words_for_the_report() {
        let mut evidence = Evidence::new("f1", Step::Heal);
        let mut counted = tally(&[20, 21, 22], 2);
        counted.reordered = 1;
        counted.tell(&mut evidence);
        assert_eq!(text(&evidence, 4), "3 packets held, p50 21.0 ms, p99 22.0 ms, 2 lost, 1 overtook");
        assert_eq!(text(&Evidence::new("f1", Step::Inject), 4), "4 directed pairs");
        assert_eq!(healed_text(&evidence), "links good");
        evidence.number("probe_after_us", 120);
        assert_eq!(healed_text(&evidence), "links good, 0.12 ms per way");
    }
}
