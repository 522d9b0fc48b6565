//! Named streams of random numbers. One purpose and object, one stream: one more draw for one of them shifts no other, so
//! a plan with a fault taken out still finds the same latencies on links that the fault never touched.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The seed of the stream for `purpose`, of the object that the numbers name.
pub(super) fn sub_seed(seed: u64, purpose: &str, object: &[u64]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("hearsay 2026-11 simulator stream");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&[u8::try_from(purpose.len()).expect("purposes are short constants")]);
    hasher.update(purpose.as_bytes());
    for number in object {
        hasher.update(&number.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// The stream for `purpose`, of the object that the numbers name.
pub(super) fn stream(seed: u64, purpose: &str, object: &[u64]) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(sub_seed(seed, purpose, object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_name_counts() {
        let first = sub_seed(1, "link", &[2, 3]);
        assert_eq!(first, sub_seed(1, "link", &[2, 3]));
        for other in [sub_seed(2, "link", &[2, 3]), sub_seed(1, "disk", &[2, 3]), sub_seed(1, "link", &[3, 2])] {
            assert_ne!(first, other);
        }
    }
}
