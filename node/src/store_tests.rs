//! Tests of the store: what is on the disk after crashes, torn writes, damage and full disks.

use hearsay_core::WriteBatch;
use proptest::prelude::*;

use super::*;
use crate::journal::LOG_AT;

fn put(key: &str, value: &str) -> WriteBatch {
    WriteBatch { puts: vec![(key.into(), value.into())], deletes: vec![] }
}

fn group(batches: &[WriteBatch]) -> Group {
    let mut group = Group::default();
    batches.iter().for_each(|batch| group.push(batch));
    group
}

/// The files of a store: the table's and the journal's.
#[derive(Clone)]
struct Files([Vec<u8>; 2]);

impl Files {
    const NAMES: [&str; 2] = ["store.redb", "store.journal"];

    /// As a kill would leave them, while the store is open.
    fn of(directory: &Path) -> Files {
        Files(Files::NAMES.map(|name| std::fs::read(directory.join(name)).unwrap()))
    }

    fn lay_into(&self, directory: &Path) {
        for (name, bytes) in Files::NAMES.iter().zip(&self.0) {
            std::fs::write(directory.join(name), bytes).unwrap();
        }
    }

    /// Opens a store of these files and closes it again.
    fn open(&self) -> Result<RecoveredState, StoreError> {
        let directory = tempfile::tempdir().unwrap();
        self.lay_into(directory.path());
        Store::open(directory.path()).map(|(_, recovered)| recovered)
    }

    fn refused(&self) -> String {
        let error = self.open().unwrap_err();
        assert!(matches!(error, StoreError::Damaged(..)), "{error}");
        assert!(error.to_string().contains("store.redb is damaged"), "{error}");
        assert!(error.to_string().contains("move the data directory away"), "{error}");
        error.to_string()
    }
}

#[test]
fn what_was_applied_is_read_back_in_the_order_of_the_batches() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("new").join("deep");
    let (mut store, recovered) = Store::open(&data).unwrap();
    assert!(recovered.entries.is_empty());
    let deletion = WriteBatch { puts: vec![("c".into(), "3".into())], deletes: vec!["b".into(), "absent".into()] };
    let batches = [put("a", "old"), put("b", "2"), put("a", "new"), deletion];
    let expected = [("a".into(), "new".into()), ("c".into(), "3".into())];
    // The first group makes the table, the second goes into the journal.
    for _ in 0..2 {
        store.apply(&group(&batches)).unwrap();
        assert_eq!(Files::of(&data).open().unwrap().entries, expected);
    }
    assert!(!store.journal.is_empty());
    drop(store);
    let (store, recovered) = Store::open(&data).unwrap();
    assert_eq!(recovered.entries, expected);
    assert!(store.journal.is_empty(), "a store that was closed has all in its table");
}

fn batch() -> impl Strategy<Value = WriteBatch> {
    let key = || proptest::collection::vec(0_u8..4, 1..3);
    let puts = proptest::collection::vec((key(), proptest::collection::vec(any::<u8>(), 0..30)), 0..4);
    (puts, proptest::collection::vec(key(), 0..2)).prop_map(|(puts, deletes)| WriteBatch { puts, deletes })
}

proptest! {
    // Each case syncs a file some dozens of times.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Journals that fold with every group, now and then, and never; a boot after every few groups, of a store that was
    /// closed or killed.
    #[test]
    fn what_is_read_back_is_what_a_map_would_hold(
        boots in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(proptest::collection::vec(batch(), 1..4), 0..6)), 1..4),
        journal_bytes_max in prop_oneof![Just(0_usize), 1_usize..200, Just(JOURNAL_BYTES_MAX)],
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut model = BTreeMap::new();
        for (is_killed, groups) in boots {
            let (mut store, recovered) = Store::open_with(directory.path(), journal_bytes_max).unwrap();
            prop_assert_eq!(recovered.entries, model.clone().into_iter().collect::<Vec<_>>());
            for batches in groups {
                store.apply(&group(&batches)).unwrap();
                for batch in batches {
                    model.extend(batch.puts);
                    batch.deletes.iter().for_each(|key| drop(model.remove(key)));
                }
                prop_assert!(store.journal.is_empty() || store.journal.bytes() <= journal_bytes_max);
            }
            let files = Files::of(directory.path());
            drop(store);
            if is_killed {
                files.lay_into(directory.path());
            }
        }
        let (_, recovered) = Store::open_with(directory.path(), journal_bytes_max).unwrap();
        prop_assert_eq!(recovered.entries, model.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn a_store_in_use_is_refused_with_the_mend() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(directory.path()).unwrap();
    for number in 0..3 {
        store.apply(&group(&[put("key", &number.to_string())])).unwrap();
    }
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    assert!(error.to_string().contains("another process"), "{error}");
    assert!(!store.journal.is_empty());
    let recovered = Files::of(directory.path()).open().unwrap();
    assert_eq!(recovered.entries, [("key".into(), "2".into())], "the journal of the one that has it is not touched");
}

/// A store of 50 keys, of which the table and the journal hold some each: closed, and as a kill leaves it.
struct Specimen {
    closed: Files,
    killed: Files,
    whole: RecoveredState,
    /// The killed one without its last group, its journal then, and where in the file that group begins and ends.
    but_last: RecoveredState,
    before: Vec<u8>,
    last: std::ops::Range<usize>,
}

/// Where the next group goes in the journal's file.
fn end_of(store: &Store) -> usize {
    LOG_AT + store.journal.bytes()
}

fn specimen() -> Specimen {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open_with(directory.path(), 4_000).unwrap();
    let (mut before, mut last) = (Files::of(directory.path()), 0..0);
    for number in 0..60_u32 {
        (before, last.start) = (Files::of(directory.path()), end_of(&store));
        let value = "v".repeat(200 + number as usize);
        store.apply(&group(&[put(&format!("key-{:03}", number * 7 % 50), &value)])).unwrap();
        last.end = end_of(&store);
    }
    let killed = Files::of(directory.path());
    drop(store);
    let closed = Files::of(directory.path());
    let whole = killed.open().unwrap();
    assert_eq!(whole.entries.len(), 50);
    assert_eq!(closed.open().unwrap().entries, whole.entries);
    let but_last = before.open().unwrap();
    assert_ne!(but_last.entries, whole.entries);
    assert!(1_000 < last.start && last.start < last.end, "it is not the one that folds");
    assert!(last.end + 500 < killed.0[1].len(), "there is something of the lap before behind it");
    let [_, before] = before.0;
    Specimen { closed, killed, whole, but_last, before, last }
}

/// Opens what a flipped byte leaves. redb itself panics over some damage, which ends the node as loudly.
fn flipped(files: &Files, file: usize, at: usize) -> Option<Result<RecoveredState, StoreError>> {
    let mut files = files.clone();
    files.0[file][at] ^= 0x55;
    std::panic::catch_unwind(move || files.open()).ok()
}

#[test]
fn a_flipped_byte_is_never_served() {
    let specimen = specimen();
    for files in [&specimen.closed, &specimen.killed] {
        let mut refused = 0;
        for at in (0..files.0[0].len()).step_by(997) {
            match flipped(files, 0, at) {
                Some(Ok(recovered)) => assert_eq!(recovered.entries, specimen.whole.entries, "byte {at}"),
                Some(Err(error)) => refused += usize::from(matches!(error, StoreError::Damaged(..))),
                None => {}
            }
        }
        assert!(refused > 10, "only {refused}");
    }
}

#[test]
fn a_flipped_byte_of_the_journal_is_refused_but_for_the_last_group() {
    let specimen = specimen();
    let closed = (0..specimen.closed.0[1].len()).step_by(31).map(|at| (&specimen.closed, at));
    let killed = (0..specimen.killed.0[1].len()).step_by(61).map(|at| (&specimen.killed, at));
    for (files, at) in closed.chain(killed) {
        let is_title = at < LOG_AT;
        match flipped(files, 1, at).expect("only redb panics") {
            Err(error) => {
                let is_needed = std::ptr::eq(files, &specimen.killed) && at < specimen.last.start;
                assert!(is_title || is_needed, "byte {at}: {error}");
                assert!(matches!(error, StoreError::Damaged(..)), "byte {at}: {error}");
            }
            // It can't be told from one that a power cut has met.
            Ok(recovered) if std::ptr::eq(files, &specimen.killed) && at < specimen.last.end => {
                assert!(specimen.last.contains(&at), "byte {at}");
                assert_eq!(recovered.entries, specimen.but_last.entries, "byte {at}");
            }
            // Nothing is left there but what the laps before have written.
            Ok(recovered) => {
                assert!(!is_title);
                assert_eq!(recovered.entries, specimen.whole.entries, "byte {at}");
            }
        }
    }
}

#[test]
fn a_damaged_store_is_refused_with_the_mend() {
    let Specimen { closed, killed, .. } = specimen();
    for whole in [closed, killed] {
        let table = &whole.0[0];
        let value = table.windows(100).position(|window| window == [b'v'; 100]).unwrap();
        let mut flipped = table.clone();
        // Every copy of the pages, so that it does not matter which of them are in use.
        flipped[value..].iter_mut().filter(|byte| **byte == b'v').for_each(|byte| *byte = b'w');
        for damaged in [&flipped[..], &table[..table.len() / 2], b"another file"] {
            Files([damaged.to_vec(), whole.0[1].clone()]).refused();
        }
        for damaged in ["", "another file"] {
            let reason = Files([table.clone(), damaged.into()]).refused();
            assert!(reason.contains("the journal is gone"), "{reason}");
        }
    }
}

#[test]
fn a_group_that_is_half_on_the_disk_is_cut_off_and_the_store_goes_on() {
    let Specimen { killed, but_last, before, last, .. } = specimen();
    let directory = tempfile::tempdir().unwrap();
    for length in last.step_by(23) {
        for filler in [0, 0xa5] {
            let mut torn = killed.clone();
            torn.0[1][length..].fill(filler);
            let cut = Files([killed.0[0].clone(), killed.0[1][..length].to_vec()]);
            let over_the_lap_before =
                Files([killed.0[0].clone(), [&killed.0[1][..length], &before[length..]].concat()]);
            for files in [torn, cut, over_the_lap_before] {
                files.lay_into(directory.path());
                let (mut store, recovered) = Store::open(directory.path()).unwrap();
                assert_eq!(recovered.entries, but_last.entries, "after {length} bytes");
                store.apply(&group(&[put("zz", "later")])).unwrap();
                let entries = Files::of(directory.path()).open().unwrap().entries;
                assert_eq!(entries.last(), Some(&("zz".into(), "later".into())), "after {length} bytes");
                assert_eq!(entries.len(), but_last.entries.len() + 1);
            }
        }
    }
}

/// The power may go right after the table has the groups, with the journal as it was.
#[test]
fn groups_of_a_lap_that_the_table_has_are_noise_to_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open_with(directory.path(), 1_000).unwrap();
    store.apply(&group(&[put("made", "first")])).unwrap();
    store.apply(&group(&[put("a", "old"), put("gone", "1")])).unwrap();
    store.apply(&group(&[put("b", "old")])).unwrap();
    let journal = Files::of(directory.path()).0[1].clone();
    let deletes = WriteBatch { puts: vec![("a".into(), vec![b'n'; 1_000])], deletes: vec!["gone".into()] };
    store.apply(&group(&[deletes])).unwrap();
    assert!(store.journal.is_empty(), "it was folded");
    let files = Files::of(directory.path());
    assert_eq!(files.0[1], journal, "nothing is erased");
    let expected = [("a".into(), vec![b'n'; 1_000]), ("b".into(), "old".into()), ("made".into(), "first".into())];
    assert_eq!(files.open().unwrap().entries, expected);

    // As long as the first group of the lap before: the second one of it stands right behind.
    store.apply(&group(&[put("c", "new"), put("gone", "2")])).unwrap();
    let after = Files::of(directory.path());
    assert!(after.0[1].len() == journal.len() && after.0[1][end_of(&store)..] == journal[end_of(&store)..]);
    assert_eq!(after.open().unwrap().entries.len(), 5);
    store.apply(&group(&[put("b", "new")])).unwrap();
    assert_eq!(Files::of(directory.path()).open().unwrap().entries[1], ("b".into(), "new".into()));
}

#[test]
fn a_journal_with_a_group_missing_or_without_its_table_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(directory.path()).unwrap();
    let mut ends = Vec::new();
    for number in 0..4 {
        // Records of 64 bytes, as long as the mask: what is behind a missing one is not noise.
        store.apply(&group(&[put("key", &format!("{number:037}"))])).unwrap();
        ends.push(end_of(&store));
    }
    assert_eq!(ends, [0, 1, 2, 3].map(|records| LOG_AT + 64 * records), "the first makes the table");
    let files = Files::of(directory.path());
    let journal = &files.0[1];
    let without = |from: usize, to: usize| [&journal[..from], &journal[to..]].concat();
    for (from, to) in [(ends[0], ends[1]), (ends[1], ends[2])] {
        let reason = Files([files.0[0].clone(), without(from, to)]).refused();
        assert!(reason.contains("is not the one that belongs there"), "{reason}");
    }
    let new = tempfile::tempdir().unwrap();
    drop(Store::open(new.path()).unwrap());
    let empty = Files::of(new.path());
    // Only its title, or less, was written when the power went.
    for bytes in [0, LOG_AT / 2, LOG_AT] {
        let begun = Files([empty.0[0].clone(), journal[..bytes].to_vec()]);
        assert!(begun.open().unwrap().entries.is_empty());
    }
}

#[test]
fn another_log_and_a_number_that_was_not_written_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(directory.path()).unwrap();
    store.apply(&group(&[put("key", "value")])).unwrap();
    drop(store);
    let files = Files::of(directory.path());
    let path = directory.path().join("another");
    let another = wal_db::Wal::open(&path).unwrap();
    let _at = another.append_and_sync(b"another's log").unwrap();
    let reason = Files([files.0[0].clone(), std::fs::read(&path).unwrap()]).refused();
    assert!(reason.contains("does not begin as one"), "{reason}");
    // A group that has no table: of a lap that nobody has begun.
    let mut journal = Journal::open(&path, 0, 1_000).unwrap();
    journal.begin().unwrap();
    journal.append(0, b"").unwrap();
    let new = tempfile::tempdir().unwrap();
    drop(Store::open(new.path()).unwrap());
    let reason = Files([Files::of(new.path()).0[0].clone(), std::fs::read(&path).unwrap()]).refused();
    assert!(reason.contains("has no table"), "{reason}");

    let database = Database::create(directory.path().join("store.redb")).unwrap();
    let writing = database.begin_write().unwrap();
    writing.open_table(META).unwrap().insert(NEXT, (checksum(b"of something else"), 7)).unwrap();
    writing.commit().unwrap();
    drop(database);
    let reason = Files::of(directory.path()).refused();
    assert!(reason.contains("the checksum of its next group does not fit"), "{reason}");
}

#[test]
fn a_store_that_failed_is_not_tidied_up() {
    let directory = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(directory.path()).unwrap();
    for number in 0..3 {
        store.apply(&group(&[put("key", &number.to_string())])).unwrap();
    }
    let before = Files::of(directory.path());
    store.is_well = false;
    drop(store);
    assert_eq!(Files::of(directory.path()).0[1], before.0[1]);
}
