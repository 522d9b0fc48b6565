//! Shrinking what a hunt found: how little of its campaign shows a bug.

use hearsay_core::Bug;
use thiserror::Error;

use crate::campaign::{self, CampaignError};
use crate::plan::{Plan, make_plan};
use crate::shrink::{
    Anomaly, Budget, Choice, Ended, NothingToShrink, PlanSize, Search, Simulator, Trial, Witness, choose,
};
use crate::sim::simulate;

use super::Case;

/// A bug's failing plan, shrunk.
#[derive(Clone, Debug, PartialEq)]
pub struct ShrunkBug {
    /// What every step showed.
    pub anomaly: Anomaly,
    /// The campaign's plan.
    pub before: PlanSize,
    /// What is left of it.
    pub after: PlanSize,
    /// Why the search ended.
    pub ended: Ended,
    /// Plans that were tried.
    pub tried: u64,
    /// The smaller plan.
    pub plan: Plan,
    /// Saved, read again and run twice it showed the same, with equal hashes.
    pub replays: bool,
    /// The same plan without the bug does not show it.
    pub needs_bug: bool,
}

/// Why there is nothing to shrink.
#[derive(Debug, Error)]
pub enum ShrinkBugError {
    /// There is no such campaign.
    #[error(transparent)]
    Campaign(#[from] CampaignError),
    /// The checker does not find the bug with that seed.
    #[error(transparent)]
    Nothing(#[from] NothingToShrink),
    /// The plan shows the same without the bug.
    #[error("{0} shows the same without the bug: mend that, or choose another campaign")]
    AlsoWithout(String),
}

/// The plan that a hunt with this seed carries out.
///
/// # Errors
/// There is no such campaign.
pub fn planted_plan(case: &Case, seed: u64) -> Result<Plan, CampaignError> {
    let planted = Some(case.bug.name().to_owned());
    Ok(Plan { planted, ..make_plan(&campaign::load(case.campaign)?, seed) })
}

/// Tries in the simulator, with the bug and without: what fails either way says nothing of the bug, and a search that is led
/// by it ends at another mistake, most often one of the smaller plan itself (a rare value that nobody can read any more).
#[derive(Debug, Default)]
struct OnlyWithBug(Simulator);

impl Trial for OnlyWithBug {
    fn shows(&self, plan: &Plan, anomaly: &Anomaly) -> Option<Witness> {
        let witness = self.0.shows(plan, anomaly)?;
        let without = Plan { planted: None, ..plan.clone() };
        self.0.shows(&without, anomaly).is_none().then_some(witness)
    }
}

/// Shrinks the plan with which the bug's checker found it, `jobs` plans at a time.
///
/// # Errors
/// The checker does not find the bug with that seed.
pub fn shrink_planted(case: &Case, seed: u64, jobs: usize, budget: Budget) -> Result<ShrunkBug, ShrinkBugError> {
    let plan = planted_plan(case, seed)?;
    let trial = OnlyWithBug::default();
    let report = simulate(&plan, trial.0.settings).report(&plan, String::new(), String::new());
    let choice = Choice { checker: Some(case.checker.to_owned()), kind: None };
    let name = format!("{} with seed {seed}", case.campaign);
    let anomaly = choose(&name, &report, &choice)?;
    let mut search = Search::begin(&trial, &anomaly, &plan, (jobs, 1), budget, &|_, _| {})
        .ok_or(ShrinkBugError::AlsoWithout(name))?;
    search.run();
    let tried = search.tried();
    let (small, ended) = search.into_plan(&anomaly);
    Ok(ShrunkBug {
        before: PlanSize::of(&plan),
        after: PlanSize::of(&small),
        ended,
        tried,
        replays: replays(&small, case.bug, &anomaly),
        needs_bug: trial.shows(&small, &anomaly).is_some(),
        anomaly,
        plan: small,
    })
}

fn replays(plan: &Plan, bug: Bug, anomaly: &Anomaly) -> bool {
    let simulator = Simulator::default();
    let Ok(read) = Plan::from_yaml("plan.yaml".as_ref(), &plan.to_yaml()) else { return false };
    let [first, second] = [0, 1].map(|_| simulate(&read, simulator.settings).run_hash().to_owned());
    read == *plan
        && read.planted.as_deref() == Some(bug.name())
        && first == second
        && simulator.shows(&read, anomaly).is_some()
}
