//! What a client has seen of a key, as opaque bytes: it gets them with a read and sends them with the write that builds on it.
//!
//! | byte | |
//! |---|---|
//! | 0 | format, [`FORMAT`] |
//! | 1.. | the version vector, postcard |
//! | last 4 | of the blake3 hash of all before and of the key: a context of another key, or a damaged one, is refused |

use alloc::vec::Vec;

use super::VersionVector;
use crate::Key;

/// First byte of every context. Raised with every change of the layout.
const FORMAT: u8 = 1;
const SEAL: usize = 4;

/// A causal context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CausalContext {
    /// The dots that were seen.
    pub vector: VersionVector,
}

/// Why a context was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// Too long.
    #[error("the causal context has {0} bytes, the limit is {max}: use one that a read returned", max = CausalContext::LENGTH_MAX)]
    TooLong(usize),
    /// Another format.
    #[error("the causal context has format {0}, this node reads format {FORMAT}: read the key again for a new one")]
    Format(u8),
    /// Damaged, or of another key.
    #[error("the causal context is damaged or belongs to another key: read this key again for a new one")]
    Foreign,
}

impl CausalContext {
    /// Longest context, in bytes.
    pub const LENGTH_MAX: usize = 16 * 1024;

    /// The bytes for a client that read this key.
    pub fn encode(&self, key: &Key) -> Vec<u8> {
        let mut bytes = postcard::to_extend(&self.vector, alloc::vec![FORMAT]).expect("a vector always serializes");
        let seal = seal(&bytes, key);
        bytes.extend_from_slice(&seal);
        bytes
    }

    /// The context in a client's bytes; none at all is one that has seen nothing.
    ///
    /// # Errors
    /// Bytes that no read of this key returned.
    pub fn decode(bytes: &[u8], key: &Key) -> Result<CausalContext, ContextError> {
        if bytes.is_empty() {
            return Ok(CausalContext::default());
        }
        if bytes.len() > Self::LENGTH_MAX {
            return Err(ContextError::TooLong(bytes.len()));
        }
        if bytes[0] != FORMAT {
            return Err(ContextError::Format(bytes[0]));
        }
        let (body, sealed) = bytes.split_last_chunk::<SEAL>().ok_or(ContextError::Foreign)?;
        if body.is_empty() || *sealed != seal(body, key) {
            return Err(ContextError::Foreign);
        }
        match postcard::take_from_bytes(&body[1..]) {
            Ok((vector, [])) => Ok(CausalContext { vector }),
            _ => Err(ContextError::Foreign),
        }
    }
}

fn seal(body: &[u8], key: &Key) -> [u8; SEAL] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"hearsay context");
    hasher.update(&key.0);
    hasher.update(body);
    let mut seal = [0; SEAL];
    seal.copy_from_slice(&hasher.finalize().as_bytes()[..SEAL]);
    seal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::NodeId;
    use crate::causal::ActorId;

    fn key(name: &str) -> Key {
        Key(name.as_bytes().to_vec())
    }

    fn context() -> CausalContext {
        let actors = (1..4).map(|node| (ActorId { node: NodeId(node), life: 77 }, u64::from(node) * 1000));
        CausalContext { vector: actors.collect() }
    }

    #[test]
    fn a_context_comes_back_for_its_own_key_only() {
        let bytes = context().encode(&key("k"));
        assert_eq!(CausalContext::decode(&bytes, &key("k")), Ok(context()));
        assert_eq!(CausalContext::decode(&bytes, &key("l")), Err(ContextError::Foreign));
        assert_eq!(CausalContext::decode(&[], &key("k")), Ok(CausalContext::default()));
    }

    #[test]
    fn what_is_no_context_is_refused_with_the_reason() {
        let mut bytes = context().encode(&key("k"));
        bytes[0] = 2;
        assert_eq!(CausalContext::decode(&bytes, &key("k")), Err(ContextError::Format(2)));
        let long = alloc::vec![1; CausalContext::LENGTH_MAX + 1];
        assert_eq!(CausalContext::decode(&long, &key("k")), Err(ContextError::TooLong(long.len())));
        assert_eq!(CausalContext::decode(&[1], &key("k")), Err(ContextError::Foreign));
        // Sealed well, but the vector names an actor twice.
        let twice = (ActorId { node: NodeId(1), life: 1 }, 5_u64);
        let mut bytes = postcard::to_extend(&alloc::vec![twice, twice], alloc::vec![1]).unwrap();
        let seal = seal(&bytes, &key("k"));
        bytes.extend_from_slice(&seal);
        assert_eq!(CausalContext::decode(&bytes, &key("k")), Err(ContextError::Foreign));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_a_changed_bit_is_noticed(
            bytes in prop::collection::vec(any::<u8>(), 0..60), flip in any::<u16>(),
        ) {
            let _ = CausalContext::decode(&bytes, &key("k"));
            let mut damaged = context().encode(&key("k"));
            let bit = usize::from(flip) % (damaged.len() * 8);
            damaged[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(CausalContext::decode(&damaged, &key("k")).is_err());
        }
    }
}
