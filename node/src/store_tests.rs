//! Tests of the store: what is on the disk after crashes, torn writes, damage and full disks.

use hearsay_core::WriteBatch;
use proptest::prelude::*;

use super::*;
use crate::journal::LOG_AT;
use crate::table::Table;

fn put(key: &str, value: &str) -> WriteBatch {
    WriteBatch { puts: vec![(key.into(), value.into())], deletes: vec![] }
}

fn group(batches: &[WriteBatch]) -> Group {
    let mut group = Group::default();
    batches.iter().for_each(|batch| group.push(batch));
    group
}

/// Writes a group, and no other at the time; without `settles`, nobody hears that it is durable.
fn apply_with(store: &Store, group: &Group, settles: bool) -> Result<(), StoreError> {
    let number = store.next();
    let place = store.place(number, group, &Counters::default())?;
    store.write(number, number, place, group)?;
    if settles {
        store.settled(number + 1);
    }
    Ok(())
}

fn apply(store: &Store, batches: &[WriteBatch]) {
    apply_with(store, &group(batches), true).unwrap();
}

impl Store {
    /// Whether all is in the table.
    fn is_folded(&self) -> bool {
        let laps = lock(&self.laps);
        laps.folding.is_none() && laps.sealed.is_none() && laps.used == [0; LANES]
    }

    /// Returns when no lap is on its way into the table.
    fn rest(&self) {
        let mut laps = lock(&self.laps);
        let sealed = laps.sealed.take();
        self.wait_for_fold(&mut laps).unwrap();
        laps.sealed = sealed;
    }

    /// Where the next group goes in each journal's file.
    fn ends(&self) -> [usize; JOURNALS] {
        std::array::from_fn(|index| LOG_AT + lock(&self.files.journals[index]).bytes())
    }
}

/// The files of a store.
#[derive(Clone)]
struct Stored {
    table: Vec<u8>,
    journals: [Vec<u8>; JOURNALS],
}

fn journal_name(index: usize) -> String {
    format!("store.journal-{index}")
}

impl Stored {
    /// As a kill would leave them, while the store is open and at rest.
    fn of(directory: &Path) -> Stored {
        let read = |name: &str| std::fs::read(directory.join(name)).unwrap();
        let journals = std::array::from_fn(|index| read(&journal_name(index)));
        Stored { table: read("store.redb"), journals }
    }

    fn lay_into(&self, directory: &Path) {
        std::fs::write(directory.join("store.redb"), &self.table).unwrap();
        for (index, journal) in self.journals.iter().enumerate() {
            std::fs::write(directory.join(journal_name(index)), journal).unwrap();
        }
    }

    fn with_journal(&self, index: usize, bytes: impl Into<Vec<u8>>) -> Stored {
        let mut changed = self.clone();
        changed.journals[index] = bytes.into();
        changed
    }

    fn with_table(&self, bytes: &[u8]) -> Stored {
        Stored { table: bytes.to_vec(), ..self.clone() }
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
    let (store, recovered) = Store::open(&data).unwrap();
    assert!(recovered.entries.is_empty());
    let deletion = WriteBatch { puts: vec![("c".into(), "3".into())], deletes: vec!["b".into(), "absent".into()] };
    let batches = [put("a", "old"), put("b", "2"), put("a", "new"), deletion];
    let expected = [("a".into(), "new".into()), ("c".into(), "3".into())];
    // The first group makes the table, the others go into two journals.
    for _ in 0..3 {
        apply(&store, &batches);
        assert_eq!(Stored::of(&data).open().unwrap().entries, expected);
    }
    apply(&store, &[put("d", "last")]);
    assert!(!store.is_folded());
    drop(store);
    let closed = Stored::of(&data);
    let expected = [&expected[..], &[("d".into(), "last".into())]].concat();
    let (store, recovered) = Store::open(&data).unwrap();
    assert_eq!(recovered.entries, expected);
    drop(store);
    let without_journals = closed.journals.clone().map(|journal| journal[..LOG_AT].to_vec());
    let table_alone = Stored { journals: without_journals, ..closed };
    assert_eq!(table_alone.open().unwrap().entries, expected, "a store that was closed has all in its table");
}

fn batch() -> impl Strategy<Value = WriteBatch> {
    let key = || proptest::collection::vec(0_u8..4, 1..3);
    let puts = proptest::collection::vec((key(), proptest::collection::vec(any::<u8>(), 0..30)), 0..4);
    (puts, proptest::collection::vec(key(), 0..2)).prop_map(|(puts, deletes)| WriteBatch { puts, deletes })
}

proptest! {
    // Each case syncs a file some dozens of times.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Groups that go alone, laps that end with every few groups, and laps that never end; a boot after every few groups, of
    /// a store that was closed or killed, with the lap before in the table or not.
    #[test]
    fn what_is_read_back_is_what_a_map_would_hold(
        boots in proptest::collection::vec(
            (any::<bool>(), proptest::collection::vec(proptest::collection::vec(batch(), 1..4), 0..12)), 1..4),
        journal_bytes_max in prop_oneof![Just(0_usize), 1_usize..400, Just(JOURNAL_BYTES_MAX)],
    ) {
        let directory = tempfile::tempdir().unwrap();
        let mut model = BTreeMap::new();
        for (is_killed, groups) in boots {
            let (store, recovered) = Store::open_with(directory.path(), journal_bytes_max).unwrap();
            prop_assert_eq!(recovered.entries, model.clone().into_iter().collect::<Vec<_>>());
            for batches in groups {
                apply(&store, &batches);
                for batch in batches {
                    model.extend(batch.puts);
                    batch.deletes.iter().for_each(|key| drop(model.remove(key)));
                }
                prop_assert!(store.ends().iter().all(|end| *end <= LOG_AT + journal_bytes_max));
            }
            store.rest();
            let files = Stored::of(directory.path());
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
    let (store, _) = Store::open(directory.path()).unwrap();
    for number in 0..3 {
        apply(&store, &[put("key", &number.to_string())]);
    }
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    assert!(error.to_string().contains("another process"), "{error}");
    assert!(!store.is_folded());
    let recovered = Stored::of(directory.path()).open().unwrap();
    assert_eq!(recovered.entries, [("key".into(), "2".into())], "the journals of the one that has it are not touched");
}

/// A store of 50 keys, of which the table and two laps of the journals hold some each: closed, and as a kill leaves it.
struct Specimen {
    closed: Stored,
    killed: Stored,
    whole: RecoveredState,
    /// The killed one without its last group, which is in journal 3, and that journal then.
    but_last: RecoveredState,
    before: Vec<u8>,
    /// Where the last group is in the file.
    last: std::ops::Range<usize>,
    /// Where each journal's last group ends.
    ends: [usize; JOURNALS],
}

fn specimen() -> Specimen {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open_with(directory.path(), 4_000).unwrap();
    let mut killed: Option<(Stored, usize)> = None;
    let mut before = None;
    for number in 0..72_u32 {
        let value = "v".repeat(200 + number as usize % 40);
        // The last lap but one stays where it is.
        apply_with(&store, &group(&[put(&format!("key-{:03}", number * 7 % 50), &value)]), number < 50).unwrap();
        store.rest();
        before = killed.replace((Stored::of(directory.path()), store.ends()[3]));
    }
    let ((killed, end), (before, begin), ends) = (killed.unwrap(), before.unwrap(), store.ends());
    assert!(lock(&store.laps).sealed.is_some(), "two laps are in the journals");
    drop(store);
    let closed = Stored::of(directory.path());
    let whole = killed.open().unwrap();
    assert_eq!(whole.entries.len(), 50);
    assert_eq!(closed.open().unwrap().entries, whole.entries);
    let but_last = before.open().unwrap();
    assert_ne!(but_last.entries, whole.entries);
    assert!(ends.iter().all(|end| 1_000 < *end) && begin < end);
    assert!(end + 500 < killed.journals[3].len(), "there is something of an earlier lap behind it");
    let [.., before] = before.journals;
    Specimen { closed, killed, whole, but_last, before, last: begin..end, ends }
}

/// Opens what a flipped byte leaves. redb itself panics over some damage, which ends the node as loudly.
fn flipped(files: &Stored, journal: Option<usize>, at: usize) -> Option<Result<RecoveredState, StoreError>> {
    let mut files = files.clone();
    journal.map_or(&mut files.table, |index| &mut files.journals[index])[at] ^= 0x55;
    std::panic::catch_unwind(move || files.open()).ok()
}

#[test]
fn a_flipped_byte_is_never_served() {
    let specimen = specimen();
    for files in [&specimen.closed, &specimen.killed] {
        let mut refused = 0;
        for at in (0..files.table.len()).step_by(997) {
            match flipped(files, None, at) {
                Some(Ok(recovered)) => assert_eq!(recovered.entries, specimen.whole.entries, "byte {at}"),
                Some(Err(error)) => refused += usize::from(matches!(error, StoreError::Damaged(..))),
                None => {}
            }
        }
        assert!(refused > 10, "only {refused}");
    }
}

#[test]
fn a_flipped_byte_of_a_journal_is_refused_but_for_the_last_group() {
    let specimen = specimen();
    for (is_killed, files) in [(false, &specimen.closed), (true, &specimen.killed)] {
        for (index, journal) in files.journals.iter().enumerate() {
            for at in (0..journal.len()).step_by(31) {
                let case = format!("byte {at} of journal {index}, killed: {is_killed}");
                let opened = flipped(files, Some(index), at).expect("only redb panics");
                // What is behind, the laps before have written. A store that was closed has all in its table.
                let end = if is_killed { specimen.ends[index] } else { LOG_AT };
                match opened {
                    Err(error) => {
                        assert!(at < end, "{case}: {error}");
                        assert!(matches!(error, StoreError::Damaged(..)), "{case}: {error}");
                    }
                    // It can't be told from one that a power cut has met.
                    Ok(recovered) if at < end => {
                        assert!(index == 3 && specimen.last.contains(&at), "{case}");
                        assert_eq!(recovered.entries, specimen.but_last.entries, "{case}");
                    }
                    Ok(recovered) => assert_eq!(recovered.entries, specimen.whole.entries, "{case}"),
                }
            }
        }
    }
}

#[test]
fn a_damaged_store_is_refused_with_the_mend() {
    let Specimen { closed, killed, .. } = specimen();
    for whole in [closed, killed] {
        let table = &whole.table;
        let value = table.windows(100).position(|window| window == [b'v'; 100]).unwrap();
        let mut flipped = table.clone();
        // Every copy of the pages, so that it does not matter which of them are in use.
        flipped[value..].iter_mut().filter(|byte| **byte == b'v').for_each(|byte| *byte = b'w');
        for damaged in [&flipped[..], &table[..table.len() / 2], b"another file"] {
            whole.with_table(damaged).refused();
        }
        for index in 0..JOURNALS {
            for damaged in ["", "another file", "another file that is longer than a title"] {
                let reason = whole.with_journal(index, damaged).refused();
                assert!(reason.contains(&format!("the journal {index} is gone, or does not begin as one")), "{reason}");
            }
        }
    }
}

#[test]
fn a_group_that_is_half_on_the_disk_is_cut_off_and_the_store_goes_on() {
    let Specimen { killed, but_last, before, last, .. } = specimen();
    let directory = tempfile::tempdir().unwrap();
    for length in last.step_by(23) {
        let half = &killed.journals[3][..length];
        let rest = killed.journals[3].len() - length;
        for behind in [vec![0; rest], vec![0xa5; rest], vec![], before[length..].to_vec()] {
            killed.with_journal(3, [half, &behind].concat()).lay_into(directory.path());
            let (store, recovered) = Store::open(directory.path()).unwrap();
            assert_eq!(recovered.entries, but_last.entries, "after {length} bytes");
            apply(&store, &[put("zz", "later")]);
            let entries = Stored::of(directory.path()).open().unwrap().entries;
            assert_eq!(entries.last(), Some(&("zz".into(), "later".into())), "after {length} bytes");
            assert_eq!(entries.len(), but_last.entries.len() + 1);
        }
    }
}

/// Writes the last of so many groups that are placed, as if the others were still under way.
fn under_way(store: &Store, written: &[(u64, u64)], groups: u64) {
    let first = store.next();
    let of = |number: u64| group(&[put("key", &format!("group {number}")), put(&format!("key {number}"), "")]);
    let places: Vec<_> =
        (0..groups).map(|index| store.place(first + index, &of(index), &Counters::default())).collect();
    for (index, settled) in written {
        let place = *places[*index as usize].as_ref().unwrap();
        store.write(first + index, first + settled, place, &of(*index)).unwrap();
    }
}

/// A store with two groups, one in the table and one in a journal.
fn begun() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    apply(&store, &[put("key", "made")]);
    apply(&store, &[put("key", "before")]);
    (directory, store)
}

#[test]
fn of_two_groups_under_way_the_second_alone_is_cut_off_and_never_read_again() {
    let (directory, store) = begun();
    under_way(&store, &[(1, 0)], 2);
    let files = Stored::of(directory.path());
    let again = tempfile::tempdir().unwrap();
    files.lay_into(again.path());
    let (store, recovered) = Store::open(again.path()).unwrap();
    assert_eq!(recovered.entries, [("key".into(), "before".into())]);
    // Its number, and that of the one that was missing, are given again.
    apply(&store, &[put("other", "1")]);
    let recovered = Stored::of(again.path()).open().unwrap();
    assert_eq!(recovered.entries, [("key".into(), "before".into()), ("other".into(), "1".into())]);
    apply(&store, &[put("other", "2")]);
    assert_eq!(Stored::of(again.path()).open().unwrap().entries[1], ("other".into(), "2".into()));
}

#[test]
fn two_groups_under_way_count_in_their_order_whichever_was_written_first() {
    let (directory, store) = begun();
    under_way(&store, &[(1, 0), (0, 0)], 2);
    let entries = Stored::of(directory.path()).open().unwrap().entries;
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[0], ("key".into(), "group 1".into()));
}

#[test]
fn a_hole_that_no_power_cut_leaves_is_refused() {
    // The one behind knew the missing one durable; there are two behind.
    for written in [&[(1, 1)][..], &[(1, 0), (2, 0)], &[(1, 0), (3, 2)], &[(2, 2)], &[(0, 0), (3, 2)]] {
        let (directory, store) = begun();
        under_way(&store, written, 4);
        let reason = Stored::of(directory.path()).refused();
        assert!(reason.contains("is not the one that belongs there"), "{written:?}: {reason}");
    }
}

/// The power may go right after the table has the groups, with the journals as they were.
#[test]
fn groups_of_a_lap_that_the_table_has_are_noise_to_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open_with(directory.path(), 1_000).unwrap();
    apply(&store, &[put("made", "first")]);
    for (key, value) in [("a", "old"), ("b", "old"), ("c", "old"), ("d", "old")] {
        apply(&store, &[put(key, value)]);
    }
    let journals = Stored::of(directory.path()).journals;
    // Two groups that are too long for a journal end a lap each.
    for key in ["a", "b"] {
        apply(&store, &[put(key, &"n".repeat(1_000))]);
    }
    assert!(store.is_folded());
    let files = Stored::of(directory.path());
    assert!(files.journals == journals, "nothing is erased");
    let expected = files.open().unwrap().entries;
    assert_eq!(expected.len(), 5);
    assert_eq!(expected[0], ("a".into(), vec![b'n'; 1_000]));

    // As long as the first groups of that lap: the second ones of it stand right behind.
    for key in ["x", "y"] {
        apply(&store, &[put(key, "new")]);
        let after = Stored::of(directory.path());
        for (index, end) in store.ends().into_iter().enumerate() {
            assert_eq!(after.journals[index].len(), journals[index].len());
            assert_eq!(after.journals[index][end..], journals[index][end..]);
        }
        let entries = after.open().unwrap().entries;
        assert_eq!(entries.last(), Some(&(key.into(), "new".into())));
        assert_eq!(entries[..expected.len()], expected);
    }
    let [.., second, third] = Stored::of(directory.path()).journals;
    assert!(second != journals[2] && third != journals[3], "it is the same pair");
}

/// A lap is not overwritten before the table has it, durably.
#[test]
fn writers_wait_for_the_lap_before_to_be_in_the_table() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open_with(directory.path(), 300).unwrap();
    let value = |number: u64| format!("{number:0100}");
    let counters = Counters::default();
    let mut written = 1;
    apply(&store, &[put("key 0", &value(0))]);
    let files = Arc::clone(&store.files);
    // The fold of the first lap can't begin.
    let held = files.table.hold();
    while lock(&store.laps).lap < 2 || lock(&store.laps).used.iter().any(|used| used + 150 <= 300) {
        apply(&store, &[put(&format!("key {written}"), &value(written))]);
        written += 1;
    }
    assert!(lock(&store.laps).folding.is_some());
    std::thread::scope(|scope| {
        let (placed, is_placed) = std::sync::mpsc::channel();
        let (store, counters) = (&store, &counters);
        scope.spawn(move || {
            let next = group(&[put(&format!("key {written}"), &value(written))]);
            let place = store.place(written, &next, counters).unwrap();
            let _ = placed.send(());
            store.write(written, written, place, &next).unwrap();
        });
        let begun = std::time::Instant::now();
        while counters.store_fold_waits.count() == 0 {
            assert!(begun.elapsed().as_secs() < 60, "it does not wait");
            std::thread::yield_now();
        }
        let waits = is_placed.recv_timeout(std::time::Duration::from_millis(100)).is_err();
        let entries = Stored::of(directory.path()).open().unwrap().entries;
        drop(held);
        assert!(waits, "it was placed over groups that the table does not have");
        assert_eq!(entries.len() as u64, written, "all are in the journals");
    });
    store.settled(written + 1);
    store.rest();
    assert_eq!(Stored::of(directory.path()).open().unwrap().entries.len() as u64, written + 1);
}

#[test]
fn a_journal_with_a_group_missing_or_without_its_table_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    for number in 0..7 {
        // Records of 64 bytes, as long as the mask: what is behind a missing one is not noise.
        apply(&store, &[put("key", &format!("{number:029}"))]);
    }
    assert_eq!(store.ends(), [0, 0, 3, 3].map(|records| LOG_AT + 64 * records), "the first makes the table");
    let files = Stored::of(directory.path());
    for index in [2, 3] {
        let journal = &files.journals[index];
        for record in [0, 1] {
            let (begin, end) = (LOG_AT + 64 * record, LOG_AT + 64 * (record + 1));
            let reason = files.with_journal(index, [&journal[..begin], &journal[end..]].concat()).refused();
            assert!(reason.contains("is not the one that belongs there"), "{reason}");
        }
    }
    let [a, b, c, d] = files.journals.clone();
    let swapped = Stored { journals: [a, b, d, c], ..files.clone() }.refused();
    assert!(swapped.contains("is not the one that belongs there"), "{swapped}");
    let new = tempfile::tempdir().unwrap();
    drop(Store::open(new.path()).unwrap());
    let empty = Stored::of(new.path());
    // Only its title, or less, was written when the power went.
    for bytes in [0, LOG_AT / 2, LOG_AT] {
        let begun = empty.with_journal(2, &files.journals[2][..bytes]);
        assert!(begun.open().unwrap().entries.is_empty());
    }
    let path = new.path().join("a group alone");
    let mut journal = Journal::open(&path, 1, 1_000).unwrap();
    journal.begin().unwrap();
    journal.append(0, 0, b"").unwrap();
    let reason = empty.with_journal(2, std::fs::read(&path).unwrap()).refused();
    assert!(reason.contains("has no table"), "{reason}");
}

#[test]
fn another_log_and_a_number_that_was_not_written_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    apply(&store, &[put("key", "value")]);
    drop(store);
    let path = directory.path().join("another");
    let another = wal_db::Wal::open(&path).unwrap();
    let _at = another.append_and_sync(b"another's log, and longer than a title").unwrap();
    let reason = Stored::of(directory.path()).with_journal(1, std::fs::read(&path).unwrap()).refused();
    assert!(reason.contains("does not begin as one"), "{reason}");

    Table::open(&directory.path().join("store.redb")).unwrap().forge_next();
    let reason = Stored::of(directory.path()).refused();
    assert!(reason.contains("the checksum of its next group does not fit"), "{reason}");
}

#[test]
fn a_store_that_failed_is_not_tidied_up() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(directory.path()).unwrap();
    for number in 0..3 {
        apply(&store, &[put("key", &number.to_string())]);
    }
    let before = Stored::of(directory.path());
    let failed = store.written(Err(redb::Error::Io(std::io::ErrorKind::StorageFull.into())));
    assert!(failed.is_err());
    drop(store);
    assert!(Stored::of(directory.path()).journals == before.journals);
    assert_eq!(Stored::of(directory.path()).open().unwrap().entries, [("key".into(), "2".into())]);
}
