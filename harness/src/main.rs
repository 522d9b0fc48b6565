//! The `hearsay` program.

fn main() {}
