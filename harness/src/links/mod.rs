//! Bad links: what happens to the packets of one ([`Line`]), what was measured of it ([`Tally`]), both the same in both
//! worlds; and who makes links bad on real processes ([`Emulator`], [`BadLinks`]).

mod emulator;
mod fault;
mod line;
mod probe;
mod routes;
mod tally;
mod tun;

pub use emulator::{Emulator, LinkError};
pub use fault::BadLinks;
pub use line::{Line, Passage};
pub use probe::Probes;
pub use tally::{Tally, healed_text, text};
