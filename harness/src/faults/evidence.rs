//! Evidence of a fault: what was measured when it was made and when it was healed, for `faults.jsonl` and the verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Which end of a fault a piece of evidence is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// It was made.
    Inject,
    /// It was taken back.
    Heal,
}

/// What was measured. One line of `faults.jsonl` holds one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The fault's id in the plan.
    pub fault: String,
    /// Which end of it.
    pub step: Step,
    /// From the decision to the fault being in force, or gone, in microseconds.
    pub took_us: u64,
    /// Whether the fault bit. `None` while only the heal can tell, as with partitions; always known at the heal.
    pub bit: Option<bool>,
    /// Whether it is gone, as far as this machine's kernel is concerned. Only at the heal.
    pub healed: Option<bool>,
    /// What was measured; the unit is the name's last part.
    pub numbers: BTreeMap<String, u64>,
    /// The same for a person, with what the numbers can't say.
    pub sentences: Vec<String>,
    /// Why this machine can't make the fault at all, with the mend; the run goes on without it. Only at the inject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

impl Evidence {
    pub(crate) fn new(fault: &str, step: Step) -> Evidence {
        Evidence {
            fault: fault.to_string(),
            step,
            took_us: 0,
            bit: None,
            healed: None,
            numbers: BTreeMap::new(),
            sentences: Vec::new(),
            left_out: None,
        }
    }

    pub(crate) fn took(&mut self, time: Duration) {
        self.took_us = micros(time);
    }

    pub(crate) fn number(&mut self, name: impl Into<String>, value: u64) {
        self.numbers.insert(name.into(), value);
    }

    pub(crate) fn say(&mut self, sentence: impl Into<String>) {
        self.sentences.push(sentence.into());
    }
}

/// Whole microseconds.
pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
