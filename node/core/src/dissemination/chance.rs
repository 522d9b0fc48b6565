//! Random choices among peers.

use alloc::vec::Vec;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// One of `items`; `None` of none.
pub(super) fn pick<T: Copy>(rng: &mut ChaCha8Rng, items: &[T]) -> Option<T> {
    if items.is_empty() { None } else { Some(items[rng.random_range(0..items.len())]) }
}

/// Up to `count` different ones of `items`, in random order.
pub(super) fn sample<T: Copy>(rng: &mut ChaCha8Rng, items: &[T], count: usize) -> Vec<T> {
    let mut rest = items.to_vec();
    let count = count.min(rest.len());
    for place in 0..count {
        let other = rng.random_range(place..rest.len());
        rest.swap(place, other);
    }
    rest.truncate(count);
    rest
}
