//! Phi-accrual: how suspicious a silence is, given when heartbeats came before.
//!
//! Suspicion phi means: the chance that the peer lives, and its next heartbeat is still to come, is 10^-phi. With exponentially
//! distributed times between heartbeats that is `phi = silence / (mean * ln 10)`, so the silence that is borne is
//! `threshold * ln 10 * mean`, in whole numbers.
//!
//! - The mean is of a bounded window of times between heartbeats, each cut to a multiple of the configured interval, so that
//!   a gap (a cut, a pause) does not teach the detector to bear the next one for ever.
//! - Heartbeats alone teach; any message is life. So a busy link is not judged by the pace of its load.
//! - *Flapping is bounded*: each return of a peer that was held for dead raises what is borne for it by as much again, up to
//!   [`PATIENCE_MAX`] times; every [`CALM_MS`] without a return takes one of these back. A peer that comes and goes for ever
//!   is told of rarely.
//!
//! Source: Hayashibara and others, "The phi accrual failure detector" (2004); the exponential form is Cassandra's.

use alloc::vec::Vec;

use crate::Time;

/// Times between heartbeats that are remembered.
const WINDOW: usize = 64;
/// A longer time counts as so many intervals.
const INTERVALS_MAX: u64 = 4;
/// ln 10, times a thousand.
const LN_10_PER_MILLE: u64 = 2_303;
/// Most times that the patience with a peer is raised to.
const PATIENCE_MAX: u64 = 4;
/// Without a return for so long a peer is borne with a little less again.
const CALM_MS: u64 = 30_000;

/// What was heard of one peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    /// Milliseconds between heartbeats; a ring once it is full.
    recent: Vec<u64>,
    next: usize,
    sum_ms: u64,
    last: Option<Time>,
    /// Returns from the dead that count against it, and since when.
    returns: u64,
    calm_since: Time,
}

impl Arrivals {
    /// A heartbeat came.
    pub(super) fn on_heartbeat(&mut self, now: Time, interval_ms: u64) {
        if let Some(last) = self.last.replace(now) {
            let between_ms = now.since_ms(last).min(INTERVALS_MAX * interval_ms);
            self.sum_ms += between_ms;
            if self.recent.len() < WINDOW {
                self.recent.push(between_ms);
            } else {
                self.sum_ms -= core::mem::replace(&mut self.recent[self.next], between_ms);
                self.next = (self.next + 1) % WINDOW;
            }
        }
    }

    /// The link is new, or this node was itself stopped: the time until now says nothing.
    pub(super) fn begin_anew(&mut self, now: Time) {
        self.last = Some(now);
    }

    /// The peer was held for dead and has spoken.
    pub(super) fn on_return(&mut self, now: Time) {
        self.returns = (self.returns_at(now) + 1).min(PATIENCE_MAX - 1);
        self.calm_since = now;
    }

    fn returns_at(&self, now: Time) -> u64 {
        self.returns.saturating_sub(now.since_ms(self.calm_since) / CALM_MS)
    }

    /// The silence that is borne at this suspicion, in milliseconds. Never less than two intervals: heartbeats are only
    /// looked at so often.
    pub(super) fn borne_ms(&self, threshold: u8, interval_ms: u64, now: Time) -> u64 {
        // Few heartbeats say little: the window begins as if some had come at the configured interval.
        const ASSUMED: u64 = 4;
        let heard = self.recent.len() as u64;
        let mean_ms = (self.sum_ms + ASSUMED * interval_ms) / (heard + ASSUMED);
        let borne_ms = u64::from(threshold) * LN_10_PER_MILLE * mean_ms / 1_000;
        borne_ms.max(2 * interval_ms) * (1 + self.returns_at(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL_MS: u64 = 250;

    fn at(ms: u64) -> Time {
        Time::default().plus_ms(ms)
    }

    /// Heartbeats at these times between them.
    fn after(between: impl IntoIterator<Item = u64>) -> (Arrivals, Time) {
        let mut arrivals = Arrivals::default();
        let mut now = at(0);
        arrivals.begin_anew(now);
        for ms in between {
            now = now.plus_ms(ms);
            arrivals.on_heartbeat(now, INTERVAL_MS);
        }
        (arrivals, now)
    }

    #[test]
    fn what_is_borne_follows_the_pace_of_the_heartbeats_and_the_threshold() {
        let borne = |between: u64, threshold: u8| {
            let (arrivals, now) = after([between; 200]);
            arrivals.borne_ms(threshold, INTERVAL_MS, now)
        };
        // 8 * ln 10 * 250 ms.
        assert_eq!(borne(250, 8), 4_606);
        assert!((8_500..9_300).contains(&borne(500, 8)), "{}", borne(500, 8));
        assert!((2_200..2_400).contains(&borne(250, 4)), "{}", borne(250, 4));
        assert_eq!(borne(250, 1), 575);
        assert_eq!(borne(20, 1), 2 * INTERVAL_MS, "never less than two intervals");
        let (none, now) = after([]);
        assert_eq!(none.borne_ms(8, INTERVAL_MS, now), 4_606, "a new peer is borne like a regular one");
    }

    #[test]
    fn one_long_gap_teaches_little_and_the_window_is_bounded() {
        let (arrivals, now) = after([250; 100].into_iter().chain([60_000]));
        assert!(arrivals.borne_ms(8, INTERVAL_MS, now) < 5_000);
        assert_eq!(arrivals.recent.len(), WINDOW);
        assert_eq!(arrivals.sum_ms, arrivals.recent.iter().sum::<u64>());
        let (all_long, now) = after([60_000; 300]);
        let limit = 8 * LN_10_PER_MILLE * INTERVALS_MAX * INTERVAL_MS / 1_000;
        assert!(all_long.borne_ms(8, INTERVAL_MS, now) <= limit);
    }

    #[test]
    fn returns_raise_the_patience_up_to_a_limit_and_calm_takes_it_back() {
        let (mut arrivals, now) = after([250; 100]);
        let once = arrivals.borne_ms(8, INTERVAL_MS, now);
        for _ in 0..10 {
            arrivals.on_return(now);
        }
        assert_eq!(arrivals.borne_ms(8, INTERVAL_MS, now), PATIENCE_MAX * once);
        assert_eq!(arrivals.borne_ms(8, INTERVAL_MS, now.plus_ms(CALM_MS)), (PATIENCE_MAX - 1) * once);
        assert_eq!(arrivals.borne_ms(8, INTERVAL_MS, now.plus_ms(10 * CALM_MS)), once);
    }
}
