//! Chance that hangs on the moment: what a link or a disk does at a time depends on the seed, its name and that time alone, not
//! on how often it was used before. So a plan with an operation taken out meets the same delays wherever its times are the
//! same, and the runs come together again after a while instead of parting for good.
//!
//! Two draws of one object in one moment are two; their order is that of the events, which the world makes certain.
//! The numbers are SplitMix64's (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014), begun anew at each
//! moment: good enough for delays, and cheaper than a keyed stream.

use std::convert::Infallible;

use rand::rand_core::TryRng;

use super::streams::sub_seed;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The chance of one object, for one purpose.
#[derive(Debug)]
pub(super) struct Noise {
    key: u64,
    moment: u64,
    /// Draws were begun so often in this moment before.
    before: u64,
    state: u64,
}

/// Spreads every bit over all of them.
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl Noise {
    /// The chance for `purpose`, of the object that the numbers name.
    pub(super) fn new(seed: u64, purpose: &str, object: &[u64]) -> Noise {
        let sub_seed = sub_seed(seed, purpose, object);
        let key = u64::from_le_bytes(*sub_seed.first_chunk().expect("32 bytes"));
        Noise { key, moment: u64::MAX, before: 0, state: key }
    }

    /// Begins anew, with the numbers of this moment.
    pub(super) fn at(&mut self, moment: u64) -> &mut Noise {
        self.before = if self.moment == moment { self.before + 1 } else { 0 };
        self.moment = moment;
        self.state = mix(self.key ^ mix(moment.wrapping_add(GOLDEN))) ^ mix(self.before);
        self
    }
}

impl TryRng for Noise {
    type Error = Infallible;

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.state = self.state.wrapping_add(GOLDEN);
        Ok(mix(self.state))
    }

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.try_next_u64()? >> 32) as u32)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.try_next_u64()?.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    fn noise(link: u64) -> Noise {
        Noise::new(1, "test", &[link])
    }

    #[test]
    fn a_moment_has_its_numbers_whatever_was_drawn_before() {
        let (mut idle, mut busy) = (noise(7), noise(7));
        for moment in 0..100 {
            busy.at(moment).next_u64();
            busy.at(moment).next_u64();
        }
        assert_eq!(idle.at(1_000).next_u64(), busy.at(1_000).next_u64());
        assert_ne!(noise(8).at(1_000).next_u64(), noise(7).at(1_000).next_u64());
        let mut twice = noise(7);
        assert_ne!(twice.at(5).next_u64(), twice.at(5).next_u64());
    }

    /// Every bit is set about half of the time, at moments that follow one another closely and at the same one.
    #[test]
    fn the_numbers_are_even() {
        let mut noise = noise(7);
        let mut ones = [0_u32; 64];
        for draw in 0..20_000_u64 {
            let bits = noise.at(draw / 4 * 1_000).next_u64();
            ones.iter_mut().enumerate().for_each(|(bit, count)| *count += (bits >> bit & 1) as u32);
        }
        assert!(ones.iter().all(|count| (9_600..10_400).contains(count)), "{ones:?}");
    }
}
