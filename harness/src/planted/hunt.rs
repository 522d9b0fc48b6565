//! Hunting one bug.

use std::ops::RangeInclusive;

use hearsay_core::Bug;

use crate::campaign::{self, CampaignError};
use crate::exit::Outcome;
use crate::plan::{Plan, make_plan};
use crate::report::RunReport;
use crate::sim::{Settings, simulate};

use super::Case;

/// The seed that hunts begin with.
pub const FIRST_SEED: u64 = 1;

/// A bug that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The seed that found it.
    pub seed: u64,
    /// Every checker whose verdict was not as expected.
    pub checkers: Vec<String>,
    /// The last sentence of the checker that had to find it.
    pub said: String,
}

/// The seeds within which a bug has to be found.
pub fn seeds(case: &Case) -> RangeInclusive<u64> {
    FIRST_SEED..=FIRST_SEED + case.within - 1
}

/// Runs the bug's campaign with one seed after the other until the bug's checker finds it; `None`: it never does.
///
/// # Errors
/// There is no such campaign.
pub fn hunt(case: &Case) -> Result<Option<Found>, CampaignError> {
    for seed in seeds(case) {
        let report = run(case.campaign, Some(case.bug), seed)?;
        let broken = |outcome| matches!(outcome, Outcome::Violation | Outcome::NotConverged);
        let broken: Vec<_> = report.verdicts.iter().filter(|judged| broken(judged.outcome)).collect();
        if let Some(judged) = broken.iter().find(|judged| judged.verdict.checker == case.checker) {
            let said = judged.verdict.explanation.last().cloned().unwrap_or_default();
            let checkers = broken.iter().map(|judged| judged.verdict.checker.clone()).collect();
            return Ok(Some(Found { seed, checkers, said }));
        }
    }
    Ok(None)
}

/// Whether a run without any bug is as expected.
///
/// # Errors
/// There is no such campaign.
pub fn is_as_expected(campaign: &str, seed: u64) -> Result<bool, CampaignError> {
    Ok(run(campaign, None, seed)?.outcome == Outcome::AsExpected)
}

fn run(campaign: &str, bug: Option<Bug>, seed: u64) -> Result<RunReport, CampaignError> {
    let planted = bug.map(|bug| bug.name().to_owned());
    let plan = Plan { planted, ..make_plan(&campaign::load(campaign)?, seed) };
    Ok(simulate(&plan, Settings::default()).report(&plan, String::new(), String::new()))
}
