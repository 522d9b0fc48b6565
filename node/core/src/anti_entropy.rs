//! Merkle anti-entropy between replicas.
