//! Randomness: one seed per node, a named ChaCha stream per protocol, so that one more draw in one protocol changes no
//! other.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The stream of `name` under `seed`.
pub(crate) fn sub_stream(seed: &[u8; 32], name: &str) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new();
    hasher.update(seed);
    hasher.update(name.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn streams_differ_by_name_and_by_seed_and_repeat() {
        let draw = |seed: u8, name: &str| sub_stream(&[seed; 32], name).next_u64();
        assert_eq!(draw(1, "reads"), draw(1, "reads"));
        assert_ne!(draw(1, "reads"), draw(1, "sync"));
        assert_ne!(draw(1, "reads"), draw(2, "reads"));
    }
}
