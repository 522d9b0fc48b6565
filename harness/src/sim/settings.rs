//! How the simulated world behaves: links, disks, clocks, and the transport's time-outs, which are those of the real one.

use hearsay_core::{Now, Time, WallTime};

/// One microsecond, in nanoseconds.
pub(super) const MICROSECOND: u64 = 1_000;
/// One millisecond, in nanoseconds.
pub(super) const MILLISECOND: u64 = 1_000_000;
/// One second, in nanoseconds.
pub(super) const SECOND: u64 = 1_000_000_000;

/// Silence after which a side takes its connection for dead, as in the node's transport.
pub(super) const IDLE_TIMEOUT: u64 = 3 * SECOND;
/// The dialling side breaks silence this often.
pub(super) const KEEP_ALIVE: u64 = SECOND;
/// How long a handshake between nodes may take.
pub(super) const HANDSHAKE_TIMEOUT: u64 = 2 * SECOND;
/// How long the other side's hello is awaited after the handshake.
pub(super) const HELLO_TIMEOUT: u64 = 5 * SECOND;
/// After the first failed dial; doubles up to [`BACK_OFF_MAX`].
pub(super) const BACK_OFF_MIN: u64 = 100 * MILLISECOND;
/// Longest back-off.
pub(super) const BACK_OFF_MAX: u64 = SECOND;
/// How long the other side's own connection is awaited after it refused ours as a duplicate.
pub(super) const EXPECTATION: u64 = 500 * MILLISECOND;
/// Dials of one node under way at once.
pub(super) const DIALS_MAX: usize = 64;
/// A first packet without an answer is sent again after this, and then after twice as long each time: three times the round
/// trip that QUIC is told to assume.
pub(super) const HANDSHAKE_RETRY: u64 = 60 * MILLISECOND;
/// The same on an established connection: the longest delay of an acknowledgement, and a little.
pub(super) const PROBE_TIMEOUT: u64 = 27 * MILLISECOND;
/// Doublings of the two at most.
pub(super) const RETRY_DOUBLINGS_MAX: u32 = 6;
/// Frames that wait per lane of a link at most: control, data, bulk.
pub(super) const LANE_FRAMES_MAX: [usize; 3] = [1_024, 8_192, 1_024];
/// Bytes that wait per lane of a link at most.
pub(super) const LANE_BYTES_MAX: [usize; 3] = [1 << 20, 8 << 20, 4 << 20];
/// Outputs of a node that may wait for its disk before it takes no further input.
pub(super) const UNRELEASED_MAX: usize = 8_192;

/// What a directed link does to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// Shortest way, nanoseconds.
    pub latency_ns: u64,
    /// Up to so much more, uniformly, nanoseconds.
    pub jitter_ns: u64,
    /// Packets lost per million. QUIC sends them again, so on a stream this is delay.
    pub loss_per_million: u32,
    /// Bytes per second of a directed pair.
    pub bandwidth: u64,
}

/// How long a sync takes: base plus up to `jitter_ns`, and now and then a hiccup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSettings {
    /// Shortest sync, nanoseconds.
    pub sync_ns: u64,
    /// Up to so much more, uniformly, nanoseconds.
    pub jitter_ns: u64,
    /// Syncs per thousand that take up to `hiccup_ns` more.
    pub hiccups_per_thousand: u32,
    /// Longest hiccup, nanoseconds.
    pub hiccup_ns: u64,
}

/// A node's wall clock against true time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockSettings {
    /// Ahead by so much (behind when negative) at the start, nanoseconds.
    pub offset_ns: i64,
    /// Gains so many nanoseconds per second (loses when negative).
    pub drift_ns_per_s: i64,
    /// The drift counts from this virtual time on, nanoseconds.
    pub since_ns: u64,
}

impl ClockSettings {
    /// What the wall clock shows at the start of the world: 2026-01-01.
    const EPOCH_NS: u64 = 1_767_225_600 * SECOND;

    /// Both clocks of the node at a virtual time. Its monotonic clock is true.
    pub(super) fn now(&self, time: u64) -> Now {
        let since = i128::from(time) - i128::from(self.since_ns);
        let drifted = since * i128::from(self.drift_ns_per_s) / i128::from(SECOND);
        let wall = i128::from(ClockSettings::EPOCH_NS) + i128::from(time) + i128::from(self.offset_ns) + drifted;
        Now { time: Time(time), wall: WallTime(u64::try_from(wall.max(0)).unwrap_or(u64::MAX)) }
    }
}

/// The whole world's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Every link's.
    pub link: LinkSettings,
    /// Every disk's.
    pub disk: DiskSettings,
    /// Every clock's.
    pub clock: ClockSettings,
    /// From the order to start a process until it serves, nanoseconds; up to twice as long.
    pub start_ns: u64,
    /// Breaks *durable first* on purpose: a world that still passed its campaigns then would have no disk worth the name.
    #[cfg(test)]
    pub(crate) releases_early: bool,
    /// From this event on packets take a microsecond longer: two runs that differ there, for what must notice it.
    #[cfg(test)]
    pub(crate) altered_from: Option<u64>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            link: LinkSettings {
                latency_ns: 150 * MICROSECOND,
                jitter_ns: 250 * MICROSECOND,
                loss_per_million: 200,
                bandwidth: 125_000_000,
            },
            disk: DiskSettings {
                sync_ns: 400 * MICROSECOND,
                jitter_ns: 400 * MICROSECOND,
                hiccups_per_thousand: 2,
                hiccup_ns: 20 * MILLISECOND,
            },
            clock: ClockSettings::default(),
            start_ns: 30 * MILLISECOND,
            #[cfg(test)]
            releases_early: false,
            #[cfg(test)]
            altered_from: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_is_off_and_drifts() {
        let settings = |offset_ns, drift_ns_per_s| ClockSettings { offset_ns, drift_ns_per_s, since_ns: 0 };
        let now = |offset_ns, drift_ns_per_s| settings(offset_ns, drift_ns_per_s).now(10 * SECOND);
        let truth = now(0, 0);
        assert_eq!(truth.time, Time(10 * SECOND));
        assert_eq!(now(-5, 0).wall.0, truth.wall.0 - 5);
        assert_eq!(now(7, -2).wall.0, truth.wall.0 + 7 - 20);
        assert_eq!(now(7, -2).time, truth.time);
        let later = ClockSettings { since_ns: 9 * SECOND, ..settings(7, -2) };
        assert_eq!(later.now(10 * SECOND).wall.0, truth.wall.0 + 7 - 2);
    }
}
