//! The answers of one read and what follows from them: a pure judge without effects. What is done about it is in `read`.
//!
//! The *merge listener* is [`difference`]: of any number of answers about one key it makes the newest version and says for each
//! replica how its answer differs. Reads of keys and scans share it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::message::ReadAnswer;
use crate::table::stored_digest;
use crate::{Key, NodeId, Planted, Version, planted};

/// What a contacted replica said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing yet; a digest was asked for.
    DigestAsked,
    /// Nothing yet; the version was asked for.
    FullAsked,
    Digest([u8; 16]),
    Full(Option<Version>),
    CatchingUp,
}

/// Writing the newest version to replicas that lack it.
#[derive(Debug)]
pub(super) struct Repair {
    pub(super) newest: Version,
    /// Hold it durably.
    pub(super) holders: BTreeSet<NodeId>,
    /// Were sent it.
    pub(super) sent: BTreeSet<NodeId>,
}

/// A read in work.
#[derive(Debug)]
pub(super) struct ReadWork {
    pub(super) needed: usize,
    /// Of these, replicas of the key itself.
    pub(super) primaries: usize,
    /// Stand-ins that may be or were contacted, with the replicas they stand in for.
    pub(super) stand_ins: BTreeMap<NodeId, NodeId>,
    /// A further replica was asked, or the silent again.
    pub(super) widened: bool,
    /// Replicas that may still be contacted, in this read's order.
    pub(super) uncontacted: Vec<NodeId>,
    pub(super) answers: BTreeMap<NodeId, Answer>,
    /// The first answers did not agree: only full answers help.
    pub(super) merging: bool,
    pub(super) repair: Option<Repair>,
    pub(super) planted: Planted,
}

/// What to do with the answers so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Wait,
    /// Ask these for the version itself.
    AskFull(Vec<NodeId>),
    /// The answers agree.
    Agreed(Option<Version>),
    /// The newest version, and the difference of each replica to it.
    Merged(Difference),
}

/// What the merge of R full answers found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) newest: Option<Version>,
    /// Answered the newest.
    pub(super) holders: BTreeSet<NodeId>,
    /// Answered something older.
    pub(super) older: Vec<NodeId>,
    /// Answered that they store nothing, where others store something.
    pub(super) absent: Vec<NodeId>,
}

/// The merge listener: what each replica answered about one key (`None`: nothing stored) against the newest of the answers.
pub(super) fn difference<'a>(
    answered: impl Iterator<Item = (NodeId, Option<&'a Version>)> + Clone,
    planted: Planted,
) -> Difference {
    let newest = answered.clone().map(|(_, version)| version);
    let newest = if planted!(planted, OldestWins) { newest.min() } else { newest.max() };
    let newest = newest.flatten();
    let mut difference = Difference { newest: newest.cloned(), ..Difference::default() };
    for (node, version) in answered {
        if version == newest {
            difference.holders.insert(node);
        } else if version.is_some() {
            difference.older.push(node);
        } else {
            difference.absent.push(node);
        }
    }
    difference
}

impl Difference {
    /// Who lacks the newest version and is to be sent it, each exactly that. Of an expired tombstone, storing nothing is as
    /// good, and it must not spread: those that store nothing hold it as well as they ever will.
    pub(super) fn lacking(&mut self, is_expired: impl Fn(&Version) -> bool) -> Vec<NodeId> {
        let mut lacking = core::mem::take(&mut self.older);
        let absent = core::mem::take(&mut self.absent);
        match &self.newest {
            Some(newest) if !is_expired(newest) => lacking.extend(absent),
            _ => self.holders.extend(absent),
        }
        lacking
    }
}

impl ReadWork {
    pub(super) fn new(needed: usize, uncontacted: Vec<NodeId>) -> ReadWork {
        let planted = Planted::NONE;
        ReadWork {
            needed,
            primaries: 0,
            stand_ins: BTreeMap::new(),
            widened: false,
            uncontacted,
            answers: BTreeMap::new(),
            merging: false,
            repair: None,
            planted,
        }
    }

    /// Notes an answer; false when this replica was not asked, or has answered before.
    pub(super) fn note(&mut self, from: NodeId, answer: ReadAnswer) -> bool {
        let Some(state) = self.answers.get_mut(&from) else { return false };
        let waiting = matches!(state, Answer::DigestAsked | Answer::FullAsked);
        match answer {
            // A digest that was asked for before the version was: the version is still to come.
            ReadAnswer::Digest(_) if *state == Answer::FullAsked => {}
            ReadAnswer::Digest(digest) if waiting => *state = Answer::Digest(digest),
            ReadAnswer::Full(version) if waiting => *state = Answer::Full(version),
            ReadAnswer::CatchingUp if waiting => *state = Answer::CatchingUp,
            _ => return false,
        }
        true
    }

    /// Judges the answers so far.
    pub(super) fn step(&mut self, key: &Key) -> Step {
        let full = |answer: &Answer| matches!(answer, Answer::Full(_));
        let fulls = self.answers.values().filter(|answer| full(answer)).count();
        let digests: Vec<NodeId> =
            self.answers.iter().filter(|(_, a)| matches!(a, Answer::Digest(_))).map(|(node, _)| *node).collect();
        let twice = usize::from(planted!(self.planted, SpeculativeCountsTwice) && self.widened && fulls > 0);
        if !self.merging {
            let told = |answer: &Answer| matches!(answer, Answer::Full(_) | Answer::Digest(_));
            if fulls + digests.len() + twice < self.needed || self.primaries_that(told) < self.primaries {
                return Step::Wait;
            }
            if fulls == 0 {
                // The replica asked for the version is silent or has not caught up.
                let asked = self.answers.values().any(|answer| *answer == Answer::FullAsked);
                return if asked { Step::Wait } else { self.ask_full(digests.into_iter().take(1).collect()) };
            }
            if let Some(version) = self.agreed(key) {
                return Step::Agreed(version);
            }
            if planted!(self.planted, DigestMismatchIgnored)
                && let Some(version) = self.first_full()
            {
                return Step::Agreed(version.clone());
            }
            self.merging = true;
        }
        if fulls + twice < self.needed || self.primaries_that(full) < self.primaries {
            return if digests.is_empty() { Step::Wait } else { self.ask_full(digests) };
        }
        let answered = self.answers.iter().filter_map(|(node, answer)| match answer {
            Answer::Full(version) => Some((*node, version.as_ref())),
            _ => None,
        });
        Step::Merged(difference(answered, self.planted))
    }

    /// Replicas of the key itself whose answer is such.
    fn primaries_that(&self, is: impl Fn(&Answer) -> bool) -> usize {
        self.answers.iter().filter(|(node, answer)| !self.stand_ins.contains_key(node) && is(answer)).count()
    }

    /// The replica that a contacted node answers for: itself, or the one it stands in for.
    pub(super) fn owner(&self, node: NodeId) -> NodeId {
        self.stand_ins.get(&node).copied().unwrap_or(node)
    }

    /// The version all answers stand for, if they do.
    fn agreed(&self, key: &Key) -> Option<Option<Version>> {
        let version = self.first_full()?;
        let digest = stored_digest(self.planted, key, version.as_ref());
        let agrees = self.answers.values().all(|answer| match answer {
            Answer::Full(other) => other == version,
            Answer::Digest(other) => *other == digest,
            Answer::DigestAsked | Answer::FullAsked | Answer::CatchingUp => true,
        });
        agrees.then(|| version.clone())
    }

    /// The first full answer, in the order of the replicas.
    pub(super) fn first_full(&self) -> Option<&Option<Version>> {
        self.answers.values().find_map(|answer| match answer {
            Answer::Full(version) => Some(version),
            _ => None,
        })
    }

    fn ask_full(&mut self, nodes: Vec<NodeId>) -> Step {
        for node in &nodes {
            self.answers.insert(*node, Answer::FullAsked);
        }
        Step::AskFull(nodes)
    }

    /// Answers that count or may still come.
    pub(super) fn hopeful(&self) -> usize {
        self.answers.values().filter(|answer| **answer != Answer::CatchingUp).count()
    }

    /// Contacted replicas that have said nothing yet.
    pub(super) fn silent(&self) -> Vec<NodeId> {
        self.answers
            .iter()
            .filter(|(_, answer)| matches!(answer, Answer::DigestAsked | Answer::FullAsked))
            .map(|(node, _)| *node)
            .collect()
    }

    pub(super) fn timeout_message(&self) -> String {
        match &self.repair {
            Some(repair) => format!(
                "the replicas disagreed and {} of {} came to hold the newest version",
                repair.holders.len(),
                self.needed
            ),
            None => {
                let answered =
                    self.answers.values().filter(|a| matches!(a, Answer::Digest(_) | Answer::Full(_))).count();
                format!("{answered} of {} replicas answered the read", self.needed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::table::version_digest;
    use crate::{Value, WallTime};

    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const C: NodeId = NodeId(3);

    fn key() -> Key {
        Key(b"k".to_vec())
    }
    fn version(stamp: u64) -> Version {
        Version { stamp: WallTime(stamp), value: Some(Value(vec![7])) }
    }
    fn full(stamp: u64) -> ReadAnswer {
        ReadAnswer::Full(Some(version(stamp)))
    }
    fn digest(stamp: u64) -> ReadAnswer {
        ReadAnswer::Digest(version_digest(&key(), Some(&version(stamp))))
    }
    /// R = 2: the version asked of A, the digest of B.
    fn work() -> ReadWork {
        let mut work = ReadWork::new(2, vec![C]);
        work.answers.insert(A, Answer::FullAsked);
        work.answers.insert(B, Answer::DigestAsked);
        work
    }

    /// Feeds (from, answer) rows; each must be taken, and the step after it is compared.
    fn check(work: &mut ReadWork, rows: Vec<(NodeId, ReadAnswer, Step)>) {
        for (line, (from, answer, expected)) in rows.into_iter().enumerate() {
            assert!(work.note(from, answer), "row {line}");
            assert_eq!(work.step(&key()), expected, "row {line}");
        }
    }

    #[test]
    fn equal_answers_agree_in_any_order() {
        check(&mut work(), vec![(A, full(5), Step::Wait), (B, digest(5), Step::Agreed(Some(version(5))))]);
        check(&mut work(), vec![(B, digest(5), Step::Wait), (A, full(5), Step::Agreed(Some(version(5))))]);
        let nothing = ReadAnswer::Digest(version_digest(&key(), None));
        check(&mut work(), vec![(B, nothing, Step::Wait), (A, ReadAnswer::Full(None), Step::Agreed(None))]);
    }

    #[test]
    fn a_mismatch_asks_for_versions_and_names_the_stale() {
        let merged = Step::Merged(Difference {
            newest: Some(version(6)),
            holders: BTreeSet::from([B]),
            older: vec![A],
            absent: vec![],
        });
        check(
            &mut work(),
            vec![(A, full(5), Step::Wait), (B, digest(6), Step::AskFull(vec![B])), (B, full(6), merged)],
        );
    }

    #[test]
    fn a_mismatch_that_is_gone_when_the_version_comes_names_nobody() {
        let merged = Step::Merged(Difference {
            newest: Some(version(5)),
            holders: BTreeSet::from([A, B]),
            ..Difference::default()
        });
        check(
            &mut work(),
            vec![(A, full(5), Step::Wait), (B, digest(4), Step::AskFull(vec![B])), (B, full(5), merged)],
        );
    }

    #[test]
    fn the_version_is_asked_elsewhere_when_its_replica_has_not_caught_up() {
        let mut work = work();
        work.answers.insert(C, Answer::DigestAsked);
        check(
            &mut work,
            vec![
                (A, ReadAnswer::CatchingUp, Step::Wait),
                (B, digest(5), Step::Wait),
                (C, digest(5), Step::AskFull(vec![B])),
                (B, full(5), Step::Agreed(Some(version(5)))),
            ],
        );
    }

    #[test]
    fn who_was_not_asked_or_answered_before_does_not_count() {
        let mut work = work();
        assert!(!work.note(C, full(9)));
        assert!(work.note(A, full(5)));
        assert!(!work.note(A, full(6)), "a second answer");
        assert_eq!(work.step(&key()), Step::Wait);
    }

    #[test]
    fn a_late_digest_does_not_replace_the_version_that_was_asked_for() {
        let mut work = work();
        work.answers.insert(B, Answer::FullAsked);
        assert!(work.note(B, digest(5)));
        assert!(work.note(A, full(5)));
        assert_eq!(work.step(&key()), Step::Wait);
        assert!(work.note(B, full(5)));
        assert_eq!(work.step(&key()), Step::Agreed(Some(version(5))));
    }
}
