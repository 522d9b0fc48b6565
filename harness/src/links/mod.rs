//! Bad links: what was measured of them, in both worlds, and (on real processes) who makes them.
//!
//! What a bad link does to a packet is drawn by the plan's own [`crate::plan::LinkConditions`]; the simulator does it on
//! its virtual wire.

mod tally;

pub use tally::{Tally, healed_text, text};
