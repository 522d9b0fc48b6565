//! From recordings of other systems.
