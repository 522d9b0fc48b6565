//! Evidence in a few words, for the report's line per fault. Where something is not proven, all that is known is said.

use hearsay_core::NodeId;

use crate::faults::Evidence;
use crate::links::{healed_text as links_healed_text, text as links_text};
use crate::plan::Fault;

/// How it is known that the fault bit; `heal` when it was healed by now.
pub fn bit_text(fault: &Fault, inject: &Evidence, heal: Option<&Evidence>) -> String {
    let bit = heal.map_or(inject.bit, |heal| heal.bit);
    if bit != Some(true) {
        let all = inject.sentences.iter().chain(heal.into_iter().flat_map(|heal| &heal.sentences));
        return all.cloned().collect::<Vec<_>>().join(" ");
    }
    let number = |evidence: Option<&Evidence>, name: &str| {
        evidence.and_then(|evidence| evidence.numbers.get(name)).copied().unwrap_or(0)
    };
    match fault {
        Fault::Partition { .. } => {
            let dropped = number(heal, "packets_dropped");
            let (silent, pairs) = (number(heal, "pairs_without_drops"), number(Some(inject), "blocked_pairs"));
            match silent {
                0 => format!("{dropped} packets dropped on {pairs} pairs"),
                _ => format!("{dropped} packets dropped on {} of {pairs} pairs", pairs.saturating_sub(silent)),
            }
        }
        Fault::Crash { .. } => format!("killed in {}", milliseconds(inject.took_us)),
        Fault::Pause { nodes } => {
            let used: u64 =
                nodes.iter().map(|node: &NodeId| number(heal, &format!("{node}_cpu_while_paused_ns"))).sum();
            format!("stopped in {}, {} us of CPU used", milliseconds(inject.took_us), used / 1000)
        }
        Fault::Links { impaired, .. } => links_text(heal.unwrap_or(inject), impaired.len()),
        Fault::Wipe { .. } => format!("killed, {} bytes removed", number(Some(inject), "bytes_removed")),
        Fault::PowerCut { .. } if inject.numbers.contains_key("plain_disks") => {
            "killed; weaker: plain disks, nothing unsynced was lost".to_owned()
        }
        Fault::PowerCut { torn, .. } => {
            let lost = number(Some(inject), "bytes_lost");
            let torn = if *torn { format!(" and {} kept", number(Some(inject), "bytes_kept")) } else { String::new() };
            let (held, held_ms) = (number(Some(inject), "syncs_held"), number(Some(inject), "held_us") / 1000);
            format!("{held} syncs held for {held_ms} ms, killed, {lost} unsynced bytes lost{torn}")
        }
        Fault::SlowDisk { .. } => match heal {
            None => "syncs are slow".to_owned(),
            Some(_) => {
                let (syncs, mean_us) = (number(heal, "syncs"), number(heal, "sync_mean_us"));
                let before_us = number(Some(inject), "sync_mean_us");
                format!("{syncs} syncs took {}, {} before", milliseconds(mean_us), milliseconds(before_us))
            }
        },
        Fault::FailingDisk { .. } => {
            let (refused, ended_us) = (number(Some(inject), "syncs_refused"), number(Some(inject), "ended_us"));
            format!("{refused} syncs refused, ended by itself within {}", milliseconds(ended_us))
        }
    }
}

/// How it is known that this machine undid it.
pub fn heal_text(fault: &Fault, heal: &Evidence) -> String {
    if heal.healed != Some(true) {
        return heal.sentences.join(" ");
    }
    let words = match fault {
        Fault::Partition { .. } => "unblocked",
        Fault::Crash { .. } => "started again",
        Fault::Pause { .. } => "going on",
        Fault::Wipe { .. } => "started again, empty",
        Fault::PowerCut { .. } | Fault::FailingDisk { .. } => "started again",
        Fault::SlowDisk { .. } => "as quick as before",
        Fault::Links { .. } => return links_healed_text(heal),
    };
    words.to_owned()
}

fn milliseconds(microseconds: u64) -> String {
    format!("{:.1} ms", microseconds as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::faults::Step;

    fn evidence(step: Step, bit: Option<bool>, healed: Option<bool>, numbers: &[(&str, u64)]) -> Evidence {
        Evidence {
            fault: "f1".to_owned(),
            step,
            took_us: 2_400,
            bit,
            healed,
            numbers: numbers.iter().map(|&(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>(),
            sentences: vec![format!("All of {step:?}.")],
            left_out: None,
        }
    }

    #[test]
    fn few_words_when_proven_and_all_when_not() {
        let crash = Fault::Crash { nodes: vec![NodeId(1)] };
        let inject = evidence(Step::Inject, Some(true), None, &[]);
        let heal = evidence(Step::Heal, Some(true), Some(true), &[]);
        assert_eq!(bit_text(&crash, &inject, Some(&heal)), "killed in 2.4 ms");
        assert_eq!(heal_text(&crash, &heal), "started again");
        let not = evidence(Step::Heal, Some(false), Some(false), &[]);
        assert_eq!(bit_text(&crash, &inject, Some(&not)), "All of Inject. All of Heal.");
        assert_eq!(heal_text(&crash, &not), "All of Heal.");
    }

    #[test]
    fn a_partition_says_what_it_dropped() {
        let partition = Fault::Partition { shape: crate::plan::PartitionShape::Halves, blocked: Vec::new() };
        let inject = evidence(Step::Inject, None, None, &[("blocked_pairs", 4)]);
        let numbers = [("packets_dropped", 271), ("pairs_without_drops", 1)];
        let heal = evidence(Step::Heal, Some(true), Some(true), &numbers);
        assert_eq!(bit_text(&partition, &inject, Some(&heal)), "271 packets dropped on 3 of 4 pairs");
    }
}
