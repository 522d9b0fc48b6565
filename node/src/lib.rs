//! The real node.
