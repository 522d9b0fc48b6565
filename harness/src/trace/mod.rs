//! `hearsay trace`: what happened around an operation, as a sequence chart.
//!
//! ```text
//! plan -> simulated once: history, verdicts -> focus (operations, keys, window)
//!      -> simulated again with a tape for these keys -> story: what belongs together -> chart -> text, SVG
//! ```
//!
//! Invariants: the second run is the first to the bit (their hashes are compared); a run on real processes is never said to
//! have been traced: its plan is.

mod chart;
mod compare;
mod event_file;
mod focus;
mod story;
mod svg;
#[cfg(test)]
mod tests;
mod text;
mod words;

pub use chart::{Chart, Life, Row, Shape, Tone};
pub use compare::{Difference, both_files, record_events, run_both, words_at};
pub use event_file::{EventFile, EventsError, EventsHeader, write_events};
pub use focus::{Around, Focus, FocusError, counterpart, find_focus};
pub use story::tell;
pub use svg::render_svg;
pub use text::render_text;
