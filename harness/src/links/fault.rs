//! The fault of bad links on real processes: made and healed by the emulator, with its evidence.
//!
//! Bit: packets were held, lost or doubled as planned, with the delays that they really got. Healed: the kernel has none of
//! the fault's rules any more, nothing is held, and probes take about as long as before the fault.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::faults::{Evidence, Pair};
use crate::plan::{Endpoint, LinkConditions};
use crate::sandbox::{Network, addresses};

use super::{Emulator, LinkError, Probes};

/// Longest wait for held packets to leave after the healing.
const DRAINED_WITHIN: Duration = Duration::from_secs(1);
/// A probe over a good link takes so much longer than before at most: machines are busy.
const PROBE_SLACK: Duration = Duration::from_millis(20);

/// Makes and heals bad links.
pub struct BadLinks {
    emulator: Emulator,
    probes: Probes,
    seed: u64,
    in_force: BTreeMap<String, InForce>,
}

struct InForce {
    pairs: Vec<(Endpoint, Endpoint)>,
    conditions: LinkConditions,
    before: Option<Duration>,
}

impl BadLinks {
    /// For the network of a sandbox, in the router's namespace. Draws come from the plan's seed.
    ///
    /// # Errors
    /// Why this machine can't, with the mend.
    pub fn open(network: Arc<Network>, seed: u64) -> Result<BadLinks, String> {
        let emulator = Emulator::open()?;
        Ok(BadLinks { emulator, probes: Probes::new(network), seed, in_force: BTreeMap::new() })
    }

    /// Makes links bad. `blocked`: what partitions in force block, and probes can't pass.
    ///
    /// # Errors
    /// The harness could not do it.
    pub fn inject(
        &mut self,
        evidence: &mut Evidence,
        pairs: &[(Endpoint, Endpoint)],
        conditions: LinkConditions,
        blocked: &BTreeSet<Pair>,
    ) -> Result<(), LinkError> {
        let before = self.probe(pairs, blocked)?;
        let began = Instant::now();
        self.emulator.impair(self.seed, &evidence.fault, pairs, conditions)?;
        evidence.took(began.elapsed());
        let as_wanted = self.emulator.is_as_wanted()?;
        evidence.number("impaired_pairs", pairs.len() as u64);
        evidence.number("impaired_pairs_all", self.emulator.pairs() as u64);
        evidence.say(format!(
            "{} of {} bad directed pairs lead through the emulator; read back from the kernel: {}.",
            pairs.len(),
            self.emulator.pairs(),
            if as_wanted { "the same" } else { "NOT the same" },
        ));
        tell_probe(evidence, "before", before);
        if !as_wanted {
            evidence.bit = Some(false);
        }
        self.in_force.insert(evidence.fault.clone(), InForce { pairs: pairs.to_vec(), conditions, before });
        Ok(())
    }

    /// Makes them good again.
    ///
    /// # Errors
    /// The harness could not do it, or the links became good by themselves before.
    pub fn heal(&mut self, evidence: &mut Evidence, blocked: &BTreeSet<Pair>) -> Result<(), LinkError> {
        let InForce { pairs, conditions, before } =
            self.in_force.remove(&evidence.fault).expect("only faults in force are healed");
        let began = Instant::now();
        let tally = self.emulator.restore(&evidence.fault)?;
        evidence.took(began.elapsed());
        let drained = self.emulator.drained_within(DRAINED_WITHIN);
        let as_wanted = self.emulator.is_as_wanted()?;
        tally.tell(evidence);
        evidence.say(match (as_wanted, self.emulator.pairs()) {
            (true, 0) => "Read back from the kernel: nothing leads through the emulator any more.".to_owned(),
            (true, left) => format!("Read back from the kernel: only the {left} pairs of other faults do."),
            (false, _) => "Read back from the kernel: something else than it should still does.".to_owned(),
        });
        if !drained {
            evidence.say(format!("After {} s packets are still held.", DRAINED_WITHIN.as_secs()));
        }
        let after = self.probe(&pairs, blocked)?;
        tell_probe(evidence, "after", after);
        // Where partitions leave no way to probe, the kernel's word has to do.
        let quick = match (before, after) {
            (_, None) => !pairs.iter().any(|pair| open(pair, blocked)),
            (before, Some(after)) => after <= before.unwrap_or_default() + PROBE_SLACK,
        };
        if !quick {
            evidence.say("The links are still slower than before the fault.");
        }
        evidence.bit = Some(tally.shows(&conditions));
        evidence.healed = Some(drained && as_wanted && quick);
        Ok(())
    }

    fn probe(
        &mut self,
        pairs: &[(Endpoint, Endpoint)],
        blocked: &BTreeSet<Pair>,
    ) -> Result<Option<Duration>, LinkError> {
        let open: Vec<_> = pairs.iter().copied().filter(|pair| open(pair, blocked)).collect();
        self.probes.one_way(&open).map_err(|error| LinkError::Probe(error.to_string()))
    }
}

fn open(&(from, to): &(Endpoint, Endpoint), blocked: &BTreeSet<Pair>) -> bool {
    !blocked.contains(&(addresses::endpoint(from), addresses::endpoint(to)))
}

fn tell_probe(evidence: &mut Evidence, when: &str, took: Option<Duration>) {
    match took {
        Some(took) => {
            evidence.number(format!("probe_{when}_us"), u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
            evidence.say(format!("A probe {when} the fault took {} us one way.", took.as_micros()));
        }
        None => evidence.say(format!("No probe {when} the fault got through.")),
    }
}
