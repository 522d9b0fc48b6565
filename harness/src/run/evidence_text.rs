//! Evidence in a few words, for the report's line per fault. Where something is not proven, all that is known is said.

use hearsay_core::NodeId;

use crate::faults::Evidence;
use crate::links::{healed_text as links_healed_text, text as links_text};
use crate::plan::{Disk, Fault};

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
        Fault::Leave { .. } => format!("ended with exit code 0 in {}", milliseconds(inject.took_us)),
        Fault::Clock { clocks } => {
            let off = clocks.iter().map(|clock| number(heal.or(Some(inject)), &format!("{}_off_us", clock.node)));
            format!("off by up to {} as they say", milliseconds(off.max().unwrap_or(0)))
        }
        Fault::Join { .. } | Fault::Retire { .. } | Fault::Replace { .. } => {
            heal.unwrap_or(inject).sentences.first().cloned().unwrap_or_default()
        }
        Fault::Wipe { .. } => format!("killed, {} bytes removed", number(Some(inject), "bytes_removed")),
        Fault::PowerCut { .. } if inject.numbers.contains_key("plain_disks") => {
            "killed; weaker: plain disks, nothing unsynced was lost".to_owned()
        }
        Fault::PowerCut { torn, .. } => {
            let lost = number(Some(inject), "bytes_lost");
            let torn = if *torn { format!(" and {} kept", number(Some(inject), "bytes_kept")) } else { String::new() };
            let held_ms = number(Some(inject), "held_us") / 1000;
            format!("syncs held for {held_ms} ms, killed, {lost} unsynced bytes lost{torn}")
        }
        Fault::SlowDisk { .. } => match heal {
            None => "syncs are slow".to_owned(),
            Some(_) => {
                let (syncs, mean_us) = (number(heal, "syncs"), number(heal, "sync_mean_us"));
                let before_us = number(Some(inject), "sync_mean_us");
                format!("{syncs} syncs took {} each, {} before", time(mean_us), time(before_us))
            }
        },
        Fault::FailingDisk { .. } => {
            let (refused, ended) = (number(heal, "syncs_refused"), number(heal, "ended_by_themselves"));
            format!("EIO on sync: {refused}, ended by themselves: {ended} of {}", fault.processes().len())
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
        Fault::Clock { .. } => "set right",
        Fault::Leave { join: Disk::Kept, .. } => "joined again",
        Fault::Leave { join: Disk::Empty, .. } => "joined again, empty",
        Fault::Join { .. } | Fault::Retire { .. } | Fault::Replace { .. } => "nothing to undo",
    };
    words.to_owned()
}

fn time(microseconds: u64) -> String {
    if microseconds < 1000 { format!("{microseconds} us") } else { milliseconds(microseconds) }
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
    fn faults_of_disks_say_what_was_lost_and_how_slow_they_were() {
        let nodes = vec![NodeId(1), NodeId(2)];
        let cut = |torn| Fault::PowerCut { nodes: nodes.clone(), hold_ms: 40, torn, seed: 1 };
        let numbers = [("held_us", 41_700), ("bytes_lost", 8192), ("bytes_kept", 512)];
        let inject = evidence(Step::Inject, Some(true), None, &numbers);
        assert_eq!(bit_text(&cut(false), &inject, None), "syncs held for 41 ms, killed, 8192 unsynced bytes lost");
        let torn = "syncs held for 41 ms, killed, 8192 unsynced bytes lost and 512 kept";
        assert_eq!(bit_text(&cut(true), &inject, None), torn);
        let plain = evidence(Step::Inject, Some(true), None, &[("plain_disks", 2)]);
        let weaker = "killed; weaker: plain disks, nothing unsynced was lost";
        assert_eq!(bit_text(&cut(true), &plain, None), weaker);

        let slow = Fault::SlowDisk { nodes: nodes.clone(), sync_ms: 20 };
        let inject = evidence(Step::Inject, None, None, &[("sync_mean_us", 4)]);
        let heal = evidence(Step::Heal, Some(true), Some(true), &[("syncs", 35), ("sync_mean_us", 20_400)]);
        assert_eq!(bit_text(&slow, &inject, Some(&heal)), "35 syncs took 20.4 ms each, 4 us before");
        assert_eq!(heal_text(&slow, &heal), "as quick as before");

        let failing = Fault::FailingDisk { nodes };
        let heal = evidence(Step::Heal, Some(true), Some(true), &[("syncs_refused", 3), ("ended_by_themselves", 2)]);
        assert_eq!(bit_text(&failing, &inject, Some(&heal)), "EIO on sync: 3, ended by themselves: 2 of 2");
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
