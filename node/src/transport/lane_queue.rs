//! The queue of one lane of one link: bounded in frames and bytes, filled by the driver without waiting, emptied by the
//! lane's writer in batches.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hearsay_core::Lane;
use tokio::sync::Notify;

use super::frames;

/// The lanes, in the order of their priority.
pub(crate) const LANES: [Lane; 3] = [Lane::Control, Lane::Data, Lane::Bulk];

/// A lane's place in tables, and the byte its stream begins with.
pub(crate) fn lane_index(lane: Lane) -> usize {
    match lane {
        Lane::Control => 0,
        Lane::Data => 1,
        Lane::Bulk => 2,
    }
}

/// The queue is full; the frame was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug, Default)]
struct Queued {
    /// Frames with their lengths, one behind the other.
    bytes: Vec<u8>,
    frames: usize,
}

#[derive(Debug)]
pub(crate) struct LaneQueue {
    frames_max: usize,
    bytes_max: usize,
    queued: Mutex<Queued>,
    filled: Notify,
}

impl LaneQueue {
    pub(crate) fn new(lane: Lane) -> LaneQueue {
        let (frames_max, bytes_max) = match lane {
            Lane::Control => (1_024, 1 << 20),
            Lane::Data => (8_192, 8 << 20),
            Lane::Bulk => (1_024, 4 << 20),
        };
        LaneQueue { frames_max, bytes_max, queued: Mutex::default(), filled: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a frame; an empty one is a probe.
    pub(crate) fn push(&self, frame: &[u8]) -> Result<(), Full> {
        let mut queued = self.lock();
        if queued.frames >= self.frames_max || queued.bytes.len() + frame.len() > self.bytes_max {
            return Err(Full);
        }
        frames::append(frame, &mut queued.bytes);
        queued.frames += 1;
        drop(queued);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits for frames and takes all of them, ready to be written. One taker at a time.
    pub(crate) async fn take(&self) -> Vec<u8> {
        loop {
            {
                let mut queued = self.lock();
                if queued.frames > 0 {
                    queued.frames = 0;
                    return std::mem::take(&mut queued.bytes);
                }
            }
            self.filled.notified().await;
        }
    }

    /// Throws away what is queued; how many frames it was.
    pub(crate) fn clear(&self) -> usize {
        let mut queued = self.lock();
        queued.bytes = Vec::new();
        std::mem::take(&mut queued.frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_bounded_in_frames_and_in_bytes() {
        for lane in LANES {
            let queue = LaneQueue::new(lane);
            let mut taken = 0;
            while queue.push(&[0]).is_ok() {
                taken += 1;
            }
            assert_eq!(taken, queue.frames_max);
            assert_eq!(queue.clear(), taken);
            let mut bytes = 0;
            while queue.push(&[0; 100_000]).is_ok() {
                bytes += 100_000;
            }
            assert!(bytes <= queue.bytes_max && bytes + 200_000 > queue.bytes_max, "{lane:?}: {bytes}");
        }
    }
}
