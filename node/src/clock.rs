//! Both clocks of the machine, read plainly.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hearsay_core::{Now, Time, WallTime};

/// The monotonic clock counts from the start of the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let time = Time(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        // A wall clock before 1970 or after 2554 is a fault of the machine; stamps must only be some number.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { time, wall: WallTime(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)) }
    }

    /// The instant at which the monotonic clock shows `time`; `None`: beyond what the machine can count.
    pub(crate) fn instant(&self, time: Time) -> Option<Instant> {
        self.start.checked_add(std::time::Duration::from_nanos(time.0))
    }
}
