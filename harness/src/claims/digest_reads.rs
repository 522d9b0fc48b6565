//! Claim 8: the same reads with digests and without: bytes of answers between replicas while they are in sync, and after one of
//! them missed writes, when full reads have to follow.

use hearsay_core::{ClusterConfig, Key, Level, NodeId, ReadRepair};

use super::stage::{Counted, Stage, cluster_of, keys, value};
use super::{Claim, Figure, Measured, Options, Section};

pub(super) const CLAIM: Claim = Claim {
    number: 8,
    sentence: "Digest reads return a hash in place of the data; equal digests mean in sync, on a mismatch full reads follow.",
    run,
};

const CAMPAIGN: &str = "claims/08-digest-reads";
const KEYS: usize = 200;
/// Bytes of a value.
const SIZE: usize = 4_096;
const N1: NodeId = NodeId(1);
const N3: NodeId = NodeId(3);

/// What is sent between nodes for reads.
const READS: [&str; 4] =
    ["sent_read_bytes", "sent_digest_read_bytes", "sent_read_reply_bytes", "sent_digest_reply_bytes"];

fn run(options: &Options) -> Result<Vec<Section>, String> {
    section(options, [true, false]).map(|section| vec![section])
}

/// Counters of the reads in sync, and of those with a stale replica.
struct Reads {
    equal: Counted,
    stale: Counted,
}

fn section(options: &Options, digests: [bool; 2]) -> Result<Section, String> {
    let [with, without] = [reads(options, digests[0])?, reads(options, digests[1])?];
    let per_read = |counted: &Counted| counted.sum(&READS) / KEYS as u64;
    let mut rows = Vec::new();
    for (name, reads) in [("with digests", &with), ("without", &without)] {
        for (state, counted) in [("in sync", &reads.equal), ("n3 is stale", &reads.stale)] {
            let numbers = [
                per_read(counted),
                counted.of("sent_digest_reply_messages"),
                counted.of("sent_read_reply_messages"),
                counted.of("digest_mismatches"),
            ];
            rows.push([name, state].map(str::to_owned).into_iter().chain(numbers.map(|n| n.to_string())).collect());
        }
    }
    let (equal, stale) = (per_read(&with.equal), per_read(&with.stale));
    let count = KEYS as u64;
    let replies = |counted: &Counted| {
        (
            counted.of("sent_digest_reply_messages"),
            counted.of("sent_read_reply_messages"),
            counted.of("digest_mismatches"),
        )
    };
    let figures = vec![
        Figure::new(
            8,
            "bytes between replicas a read in sync, with digests",
            format!(
                "{equal}, {:.1} % of {}",
                equal as f64 * 100.0 / per_read(&without.equal).max(1) as f64,
                per_read(&without.equal)
            ),
            "less than without",
            Some(equal < per_read(&without.equal)),
        ),
        Figure::new(
            8,
            "in sync: digests, full answers, mismatches",
            format!("{:?}", replies(&with.equal)),
            &format!("{:?}: two digests a read, nothing else", (2 * count, 0, 0)),
            Some(replies(&with.equal) == (2 * count, 0, 0)),
        ),
        Figure::new(
            8,
            "stale: digests, full answers, mismatches",
            format!("{:?}", replies(&with.stale)),
            &format!("{:?}: after each mismatch both are read in full", (2 * count, 2 * count, count)),
            Some(replies(&with.stale) == (2 * count, 2 * count, count)),
        ),
        Figure::new(
            8,
            "bytes a read of what is stale, with digests",
            format!("{stale}, {} more than without", stale.saturating_sub(per_read(&without.stale))),
            "more than without: the digests were in vain",
            Some(stale > per_read(&without.stale)),
        ),
    ];
    let title = format!(
        "Claim 8, {CAMPAIGN}, {}: {KEYS} values of {SIZE} bytes read at level all through n1, which has a copy",
        options.world_words()
    );
    let columns = ["variant", "replicas", "bytes a read", "digest answers", "full answers", "mismatches"];
    Ok(Section { title, measured: Measured { columns: columns.map(str::to_owned).into(), rows }, figures })
}

fn reads(options: &Options, digest_reads: bool) -> Result<Reads, String> {
    // Without repair the reads are all that is sent.
    let config = ClusterConfig { digest_reads, read_repair: ReadRepair::None, ..cluster_of(CAMPAIGN)? };
    let mut stage = Stage::start(&config, options)?;
    let keys = keys("key", KEYS);
    stage.put(&[N1], &keys, &value(SIZE, 1), Level::All)?;
    let equal = counted_reads(&mut stage, &keys)?;
    stage.kill(N3)?;
    stage.put(&[N1], &keys, &value(SIZE, 2), Level::Quorum)?;
    stage.start_again(N3)?;
    let stale = counted_reads(&mut stage, &keys)?;
    Ok(Reads { equal, stale })
}

fn counted_reads(stage: &mut Stage, keys: &[Key]) -> Result<Counted, String> {
    let before = stage.counted()?;
    stage.read(N1, keys, Level::All)?;
    Ok(stage.counted()?.since(&before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_and_differs_without_digests() {
        let options = Options::of_tests(1);
        let section = section(&options, [true, false]).expect("it runs");
        assert!(section.agrees(), "{section}");
        let section = super::section(&options, [false, false]).expect("it runs");
        assert!(!section.agrees(), "{section}");
    }
}
