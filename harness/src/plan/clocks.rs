//! Wall clocks that are off: whose, by how much, and how fast they drift away.

use hearsay_core::NodeId;
use serde::{Deserialize, Serialize};

/// Largest offset of a wall clock either way: an hour, in nanoseconds.
pub const CLOCK_OFFSET_MAX_NS: i64 = 3_600_000_000_000;
/// Largest drift of a wall clock either way, in parts per thousand million: a tenth.
pub const CLOCK_DRIFT_MAX_PPB: i64 = 100_000_000;
/// What a clock has to be off at the end of a fault at least, in nanoseconds: less is not told from the time that asking
/// takes.
pub const CLOCK_SKEW_MIN_NS: i64 = 10_000_000;

/// A node whose wall clock is off. The offset is that at the start of the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockSkew {
    /// Whose.
    #[serde(with = "super::types::node_name")]
    pub node: NodeId,
    /// Ahead by so much (behind when negative), nanoseconds.
    pub offset_ns: i64,
    /// Gains so many nanoseconds per second (loses when negative): parts per thousand million.
    pub drift_ppb: i64,
}

impl ClockSkew {
    /// How far it is off so long after the start of the fault, nanoseconds.
    pub fn off_ns(&self, elapsed_ns: u64) -> i64 {
        let drifted = i128::from(self.drift_ppb) * i128::from(elapsed_ns) / 1_000_000_000;
        let off = i128::from(self.offset_ns) + drifted;
        i64::try_from(off).unwrap_or(if off < 0 { i64::MIN } else { i64::MAX })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_by_its_offset_and_what_it_drifted_since() {
        let clock = ClockSkew { node: NodeId(1), offset_ns: -7_000, drift_ppb: 500_000 };
        assert_eq!(clock.off_ns(0), -7_000);
        assert_eq!(clock.off_ns(2_000_000_000), 993_000);
        let far = ClockSkew { node: NodeId(1), offset_ns: i64::MIN, drift_ppb: -1 };
        assert_eq!(far.off_ns(u64::MAX), i64::MIN);
    }
}
