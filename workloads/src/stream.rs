//! Named streams of random numbers.
//!
//! Whoever draws for a purpose of its own takes a stream of its own: one more draw for one purpose shifts no other, so a
//! plan with a fault taken out still has the same operations, and the other faults keep their times and targets.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

/// Longest name of a purpose, in bytes.
const PURPOSE_LENGTH_MAX: usize = 16;

/// The stream for the `index`-th thing drawn for `purpose`. Distinct (seed, purpose, index) give independent streams: the
/// three fill the key of the cipher side by side, without a hash in between.
///
/// # Panics
///
/// When `purpose` is empty, longer than 16 bytes or not ASCII: purposes are constants of the program.
pub fn stream(seed: u64, purpose: &str, index: u64) -> ChaCha12Rng {
    assert!(
        !purpose.is_empty() && purpose.len() <= PURPOSE_LENGTH_MAX && purpose.is_ascii(),
        "the purpose `{purpose}` of a random stream has to be 1 to {PURPOSE_LENGTH_MAX} ASCII characters"
    );
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&index.to_le_bytes());
    key[16..16 + purpose.len()].copy_from_slice(purpose.as_bytes());
    ChaCha12Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn every_part_of_the_name_counts() {
        let first = |seed, purpose, index| stream(seed, purpose, index).next_u64();
        assert_eq!(first(1, "gap", 2), first(1, "gap", 2));
        let others =
            [first(2, "gap", 2), first(1, "gaq", 2), first(1, "gap", 3), first(1, "ga", 2), first(1, "gapp", 2)];
        for other in others {
            assert_ne!(other, first(1, "gap", 2));
        }
    }

    #[test]
    #[should_panic(expected = "1 to 16 ASCII characters")]
    fn a_long_purpose_is_a_mistake_of_the_program() {
        stream(1, "seventeen letters", 0);
    }
}
