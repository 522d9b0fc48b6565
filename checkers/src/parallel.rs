//! Keys judged side by side: the one place of this crate with threads.
//!
//! Checkers are pure functions, and stay so: the work on one item sees nothing of another, results come back in the order of
//! the items whatever thread was faster, and so the outcome is the same to the bit with one thread and with many (there is a
//! test). How many threads there are is the caller's choice ([`crate::CheckOptions::threads`]); the default is one, without
//! any thread being started.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Does the work on every item, `threads` at a time; the results are in the order of the items.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], threads: u64, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = usize::try_from(threads).unwrap_or(usize::MAX).min(items.len());
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let work_on = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return done };
            done.push((at, work(item)));
        }
    };
    let mut all: Vec<(usize, R)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work_on)).collect();
        let ended = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        ended.flatten().collect()
    });
    all.sort_unstable_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::map;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<u64> = (0..1_000).collect();
        // Early items take longest, so that they end last.
        let slow =
            |item: &u64| (0..(1_000 - item) * 20).fold(*item, |sum, step| sum.wrapping_mul(31).wrapping_add(step));
        let expected: Vec<u64> = items.iter().map(slow).collect();
        for threads in [0, 1, 2, 7, 5_000] {
            assert_eq!(map(&items, threads, slow), expected, "{threads} threads");
        }
        assert!(map(&[] as &[u64], 4, slow).is_empty());
    }

    #[test]
    fn whoever_is_faster_the_order_stays() {
        // One thread has the items 0 and 2, the other one 1: none of them goes on before the next one is begun.
        let (first, second) = (Barrier::new(2), Barrier::new(2));
        let work = |item: &u64| {
            if *item < 2 {
                first.wait();
            }
            if *item > 0 {
                second.wait();
            }
            *item
        };
        assert_eq!(map(&[0, 1, 2], 2, work), [0, 1, 2]);
    }

    #[test]
    #[should_panic(expected = "the work on 3")]
    fn a_panic_of_the_work_is_one_of_the_caller() {
        map(&[1, 2, 3], 2, |item| assert!(*item != 3, "the work on {item}"));
    }
}
