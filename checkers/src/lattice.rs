//! Which models of registers, or levels of isolation of transactions, a history satisfies, and which it breaks: the strongest
//! and the weakest of them.
//!
//! What isolation levels imply is [`Level::implies`]. Each model of registers is judged by its definition, without assumptions
//! about clocks ([`CheckOptions::real_time_writes`] is switched off, except for linearizability, which is about real time). What follows from what (Viotti and Vukolic 2016; Bouajjani
//! et al. 2017): a model that is weaker than one that holds holds too; one that is stronger than a broken one is broken.
//! Session guarantees here ask for one order of versions per key, as last-write-wins gives; PRAM, causal consistency and
//! causal memory do not, so these do not imply those.

use crate::explain::listed;
use crate::transactions::{Level, checker::has_transactions};
use crate::{Case, CheckOptions, Judgement, Verdict, find};

/// Models of registers by strength, and what each implies directly.
const MODELS: &[(&str, &[&str])] = &[
    (
        "linearizable",
        &["two-atomic", "regular", "monotonic-quorum-reads", "sequential", "causal-convergence", "causal-memory"],
    ),
    ("two-atomic", &[]),
    ("regular", &["safe"]),
    ("monotonic-quorum-reads", &["monotonic-reads"]),
    ("sequential", &["monotonic-reads", "read-your-writes"]),
    ("causal-convergence", &["causal", "monotonic-writes", "writes-follow-reads", "read-your-writes"]),
    ("causal-memory", &["causal", "pram"]),
    ("safe", &[]),
    ("causal", &[]),
    ("pram", &[]),
    ("monotonic-writes", &["monotonic-reads"]),
    ("writes-follow-reads", &["monotonic-reads"]),
    ("monotonic-reads", &[]),
    ("read-your-writes", &[]),
];

/// Where a history stands with a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Name of the model's checker.
    pub model: &'static str,
    /// Whether it holds.
    pub judgement: Judgement,
    /// The model that this follows from, if it was not found out by itself.
    pub follows_from: Option<&'static str>,
    /// What the checker said, if it was asked.
    pub verdict: Option<Verdict>,
}

/// Where a history stands with every model.
#[derive(Clone, Debug, PartialEq)]
pub struct Lattice {
    /// Stronger models before weaker ones.
    pub standings: Vec<Standing>,
    /// What each of them implies directly.
    implied: Vec<Vec<&'static str>>,
}

/// Every model of what a case is about, stronger ones first, and what each implies directly.
fn models_of(case: &Case) -> Vec<(&'static str, Vec<&'static str>)> {
    if !has_transactions(case) {
        return MODELS.iter().map(|(model, weaker)| (*model, weaker.to_vec())).collect();
    }
    let weaker = |level: Level| level.implies().iter().map(|weaker| weaker.name()).collect();
    Level::ALL.into_iter().rev().map(|level| (level.name(), weaker(level))).collect()
}

/// Judges a case by every model of registers, or by every isolation level if it is of transactions.
///
/// ```
/// use hearsay_checkers::{CheckOptions, dsl, strongest};
///
/// let history = "p1 w x=1 [0..10]\np1 w x=2 [20..30]\np2 r x=1 [40..50]\np2 r x=2 [60..70]";
/// let lattice = strongest(&dsl::case(history).unwrap(), &CheckOptions::default());
/// assert!(lattice.strongest().contains(&"causal-memory"));
/// assert!(lattice.weakest_broken().contains(&"safe"));
/// ```
pub fn strongest(case: &Case, options: &CheckOptions) -> Lattice {
    let ask = |model: &'static str| {
        // Isolation levels ask for no order of writes in time.
        let options = CheckOptions { real_time_writes: model == "linearizable", ..options.clone() };
        let verdict = (find(model).expect("every model has a checker").check)(case, &options);
        Standing { model, judgement: verdict.judgement, follows_from: None, verdict: Some(verdict) }
    };
    let (models, implied): (Vec<_>, Vec<_>) = models_of(case).into_iter().unzip();
    let top = ask(models[0]);
    let all_follow = top.judgement == Judgement::Holds;
    let mut standings = vec![top];
    for &model in &models[1..] {
        standings.push(if all_follow {
            Standing { model, judgement: Judgement::Holds, follows_from: Some(models[0]), verdict: None }
        } else {
            ask(model)
        });
    }
    let mut lattice = Lattice { standings, implied };
    lattice.follow();
    lattice
}

impl Lattice {
    /// Draws conclusions from what was found: broken upward first, which nothing outweighs, then what holds downward.
    fn follow(&mut self) {
        for at in (0..self.standings.len()).rev() {
            let broken = self.implied[at].iter().copied().find(|weaker| self.of(weaker) == Judgement::Violated);
            if let Some(weaker) = broken
                && self.standings[at].judgement != Judgement::Violated
            {
                self.conclude(at, Judgement::Violated, weaker);
            }
        }
        for stronger in 0..self.standings.len() {
            if self.standings[stronger].judgement != Judgement::Holds {
                continue;
            }
            for at in 0..self.standings.len() {
                let follows = self.implied[stronger].contains(&self.standings[at].model);
                if follows && self.standings[at].judgement == Judgement::Unknown {
                    self.conclude(at, Judgement::Holds, self.standings[stronger].model);
                }
            }
        }
    }

    fn conclude(&mut self, at: usize, judgement: Judgement, from: &'static str) {
        self.standings[at].judgement = judgement;
        self.standings[at].follows_from = Some(from);
    }

    fn of(&self, model: &str) -> Judgement {
        let standing = self.standings.iter().find(|standing| standing.model == model);
        standing.expect("every model is judged").judgement
    }

    /// Models that hold and that no stronger one that holds implies.
    pub fn strongest(&self) -> Vec<&'static str> {
        let implied = |model: &str| {
            self.implications().any(|(stronger, weaker)| weaker == model && self.of(stronger) == Judgement::Holds)
        };
        self.with(Judgement::Holds).filter(|model| !implied(model)).collect()
    }

    /// Models that are broken and that imply no weaker one that is broken.
    pub fn weakest_broken(&self) -> Vec<&'static str> {
        let follows = |model: &str| {
            self.implications().any(|(stronger, weaker)| stronger == model && self.of(weaker) == Judgement::Violated)
        };
        self.with(Judgement::Violated).filter(|model| !follows(model)).collect()
    }

    fn with(&self, judgement: Judgement) -> impl Iterator<Item = &'static str> + '_ {
        self.standings.iter().filter(move |standing| standing.judgement == judgement).map(|standing| standing.model)
    }

    /// Which models each implies directly, in the order of [`Lattice::standings`].
    pub(crate) fn implications(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let both = self.standings.iter().zip(&self.implied);
        both.flat_map(|(standing, weaker)| weaker.iter().map(|weaker| (standing.model, *weaker)))
    }

    /// A table, stronger models first, and two sentences.
    pub fn to_text(&self) -> String {
        let width = self.standings.iter().map(|standing| standing.model.len()).max().unwrap_or(0);
        let mut text = format!("  {:<width$}  found     because\n", "model");
        for standing in &self.standings {
            let reason = match (standing.follows_from, &standing.verdict) {
                (Some(from), _) if standing.judgement == Judgement::Holds => format!("{from} holds and implies it"),
                (Some(from), _) => format!("it implies {from}, which is violated"),
                (None, Some(verdict)) => verdict.explanation.first().cloned().unwrap_or_default(),
                (None, None) => String::new(),
            };
            let line = format!("  {:<width$}  {:<8}  {reason}", standing.model, standing.judgement);
            text += line.trim_end();
            text.push('\n');
        }
        let names = |models: Vec<&'static str>| if models.is_empty() { "none".to_owned() } else { listed(&models) };
        text += &format!("Strongest that hold: {}.\n", names(self.strongest()));
        text += &format!("Weakest that are broken: {}.\n", names(self.weakest_broken()));
        text
    }
}
