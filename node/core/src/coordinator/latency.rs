//! How long this node's recent reads took: a percentile of it says when to ask a further replica.
//!
//! Bounded: the last [`SAMPLES`] reads. The percentile is made anew after every [`RENEW_AFTER`] of them.
//!
//! Source: Cassandra's "speculative retry".

use alloc::vec::Vec;

use crate::Time;

const SAMPLES: usize = 128;
const RENEW_AFTER: usize = 16;

/// Times of recent reads.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    /// Nanoseconds; a ring once it is full.
    recent: Vec<u64>,
    next: usize,
    /// The same in ascending order, as of the last renewal.
    sorted: Vec<u64>,
}

impl Latencies {
    pub(super) fn note(&mut self, begun: Time, now: Time) {
        let took = now.0.saturating_sub(begun.0);
        if self.recent.len() < SAMPLES {
            self.recent.push(took);
        } else {
            self.recent[self.next] = took;
        }
        self.next = (self.next + 1) % SAMPLES;
        if self.next.is_multiple_of(RENEW_AFTER) {
            self.sorted.clone_from(&self.recent);
            self.sorted.sort_unstable();
        }
    }

    /// The time within which `percentile` of a hundred reads were done, in milliseconds, rounded up. `None`: too few reads.
    pub(super) fn percentile_ms(&self, percentile: u8) -> Option<u64> {
        let rank = (self.sorted.len() * usize::from(percentile)).div_ceil(100);
        self.sorted.get(rank.checked_sub(1)?).map(|ns| ns.div_ceil(1_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_of_the_last_reads_alone() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile_ms(99), None);
        let mut note = |ms: u64| latencies.note(Time(0), Time(ms * 1_000_000));
        for _ in 0..8 * SAMPLES {
            note(500);
        }
        for ms in 0..SAMPLES as u64 {
            note(ms % 100);
        }
        assert_eq!(latencies.percentile_ms(99), Some(98));
        assert_eq!(latencies.percentile_ms(50), Some(35));
        assert_eq!(latencies.recent.len(), SAMPLES);
    }
}
