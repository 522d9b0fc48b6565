//! Both clocks of the machine. The wall clock may be corrected by the operator ([`crate::clock_correction`]); the monotonic
//! clock never is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hearsay_core::{Now, Time, WallTime};

use crate::clock_correction::Correction;

/// The monotonic clock counts from the start of the process.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// Of a node whose configuration names a file for it.
    correction: Option<Arc<Mutex<Correction>>>,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        Clock { start: Instant::now(), correction: None }
    }

    /// The same clocks, with the wall clock corrected from now on.
    pub(crate) fn corrected_by(self, correction: Arc<Mutex<Correction>>) -> Clock {
        Clock { correction: Some(correction), ..self }
    }

    pub(crate) fn now(&self) -> Now {
        let time = Time(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        // A wall clock before 1970 or after 2554 is a fault of the machine; stamps must only be some number.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = WallTime(u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX));
        let correct =
            |shared: &Arc<Mutex<Correction>>| shared.lock().unwrap_or_else(PoisonError::into_inner).applied_to(wall);
        Now { time, wall: self.correction.as_ref().map_or(wall, correct) }
    }

    /// The instant at which the monotonic clock shows `time`; `None`: beyond what the machine can count.
    pub(crate) fn instant(&self, time: Time) -> Option<Instant> {
        self.start.checked_add(std::time::Duration::from_nanos(time.0))
    }
}
