//! Campaigns: what a user writes. A file becomes a checked [`Campaign`], or a list of its mistakes with line and column,
//! what is allowed there, and the mend. Nothing is started before that.
//!
//! A campaign is not a plan: it says what *may* happen. [`crate::plan::make_plan`] draws from it what *will*.

mod keys;
mod load;
mod mistakes;
mod parse;
mod parse_clock;
mod parse_faults;
mod parse_leave;
mod parse_links;
mod parse_news;
mod parse_ring;
mod parse_swarm;
mod parse_workload;
mod reader;
mod tree;
mod types;

#[cfg(test)]
mod tests;

pub use keys::{FAULT_KINDS, SECTIONS};
pub use load::{CampaignError, load};
pub use mistakes::{Mistake, Mistakes, Place};
pub(crate) use parse::is_campaign_name;
pub use parse::parse;
pub use reader::KeyDoc;
pub(crate) use reader::parse_duration;
pub use types::{
    Campaign, FaultKind, FaultSchedule, LinkRanges, NODES_MAX, PROCESSES_MAX, SIZES_ALLOWED, Size, Span, Swarm, Variant,
};
