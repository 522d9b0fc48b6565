//! A volume against a model of whole files and lists, with kills and power cuts at any moment.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use proptest::prelude::*;

use super::tree::{Ino, Kind, ROOT, Tree};
use super::volume::{New, SECTOR, Volume};

/// What a process does to files in one directory. Files are called by small numbers.
#[derive(Clone, Debug)]
enum Act {
    Create(u8),
    Write(u8, u16, Vec<u8>),
    SetLength(u8, u16),
    Zero(u8, u16, u16),
    Remove(u8),
    Rename(u8, u8),
    Link(u8, u8),
    Sync(u8),
    SyncDirectory,
    Cut,
    TornCut(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let file = 0..4u8;
    let place = 0..12_000u16;
    let act = prop_oneof![
        2 => file.clone().prop_map(Act::Create),
        6 => (file.clone(), place.clone(), prop::collection::vec(1..=255u8, 1..6_000))
            .prop_map(|(file, at, bytes)| Act::Write(file, at, bytes)),
        2 => (file.clone(), place.clone()).prop_map(|(file, length)| Act::SetLength(file, length)),
        1 => (file.clone(), place.clone(), place).prop_map(|(file, at, length)| Act::Zero(file, at, length)),
        1 => file.clone().prop_map(Act::Remove),
        2 => (file.clone(), file.clone()).prop_map(|(from, to)| Act::Rename(from, to)),
        1 => (file.clone(), file.clone()).prop_map(|(from, to)| Act::Link(from, to)),
        3 => file.prop_map(Act::Sync),
        1 => Just(Act::SyncDirectory),
        1 => Just(Act::Cut),
        1 => any::<u64>().prop_map(Act::TornCut),
    ];
    prop::collection::vec(act, 1..60)
}

/// The same, thought of as simply as possible: contents by number, and names.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    names: BTreeMap<String, usize>,
    contents: BTreeMap<usize, Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Meta {
    Create(String, usize),
    Remove(String),
    Rename(String, String),
    Link(String, String),
    SetLength(usize, usize),
}

impl Model {
    fn meta(&mut self, meta: &Meta) {
        match meta {
            Meta::Create(name, number) => {
                self.names.insert(name.clone(), *number);
                self.contents.insert(*number, Vec::new());
            }
            Meta::Remove(name) => drop(self.names.remove(name)),
            Meta::Rename(from, to) => {
                let number = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), number);
            }
            Meta::Link(from, to) => {
                let number = self.names[from];
                self.names.insert(to.clone(), number);
            }
            Meta::SetLength(number, length) => self.contents.get_mut(number).unwrap().resize(*length, 0),
        }
        let named: Vec<usize> = self.names.values().copied().collect();
        self.contents.retain(|number, _| named.contains(number));
    }
}

fn seen(tree: &Tree) -> BTreeMap<String, Vec<u8>> {
    let entries = tree.directory(ROOT).expect("the top");
    let read = |ino: Ino| match &tree.get(ino).expect("an inode").kind {
        Kind::File(pages) => pages.read(0, usize::MAX >> 1),
        other => panic!("{other:?}"),
    };
    entries.iter().map(|(name, &ino)| (name.to_string_lossy().into_owned(), read(ino))).collect()
}

fn expected(model: &Model) -> BTreeMap<String, Vec<u8>> {
    model.names.iter().map(|(name, number)| (name.clone(), model.contents[number].clone())).collect()
}

struct Both {
    volume: Volume,
    volatile: Model,
    durable: Model,
    journal: Vec<Meta>,
    next: usize,
}

impl Both {
    fn new() -> Both {
        let (volume, model) = (Volume::new(1 << 20), Model::default());
        Both { volume, volatile: model.clone(), durable: model, journal: Vec::new(), next: 0 }
    }

    fn ino(&self, name: &str) -> Option<Ino> {
        self.volume.known_name(ROOT, OsStr::new(name)).ok()
    }

    fn meta(&mut self, meta: Meta) {
        self.volatile.meta(&meta);
        self.journal.push(meta);
    }

    fn act(&mut self, act: &Act) -> Result<(), TestCaseError> {
        let name = |file: &u8| format!("f{file}");
        match act {
            Act::Create(file) => {
                let made = self.volume.create(ROOT, OsStr::new(&name(file)), 0o644, (0, 0), New::File);
                prop_assert_eq!(made.is_ok(), !self.volatile.names.contains_key(&name(file)));
                if made.is_ok() {
                    self.next += 1;
                    self.meta(Meta::Create(name(file), self.next));
                }
            }
            Act::Write(file, at, bytes) => {
                let Some(ino) = self.ino(&name(file)) else { return Ok(()) };
                self.volume.write(ino, u64::from(*at), bytes).expect("there is room");
                let content = self.volatile.contents.get_mut(&self.volatile.names[&name(file)]).unwrap();
                let (at, end) = (usize::from(*at), usize::from(*at) + bytes.len());
                content.resize(content.len().max(end), 0);
                content[at..end].copy_from_slice(bytes);
            }
            Act::SetLength(file, length) => {
                let Some(ino) = self.ino(&name(file)) else { return Ok(()) };
                self.volume.set_length(ino, u64::from(*length)).expect("it is a file");
                let number = self.volatile.names[&name(file)];
                self.meta(Meta::SetLength(number, usize::from(*length)));
            }
            Act::Zero(file, at, length) => {
                let Some(ino) = self.ino(&name(file)) else { return Ok(()) };
                self.volume.zero(ino, u64::from(*at), u64::from(*length)).expect("it is a file");
                let content = self.volatile.contents.get_mut(&self.volatile.names[&name(file)]).unwrap();
                let end = (usize::from(*at) + usize::from(*length)).min(content.len());
                content[usize::from(*at).min(end)..end].fill(0);
            }
            Act::Remove(file) => {
                let removed = self.volume.remove_file(ROOT, OsStr::new(&name(file)));
                prop_assert_eq!(removed.is_ok(), self.volatile.names.contains_key(&name(file)));
                if removed.is_ok() {
                    self.meta(Meta::Remove(name(file)));
                }
            }
            Act::Rename(from, to) => {
                let (from, to) = (name(from), name(to));
                let renamed = self.volume.rename((ROOT, OsStr::new(&from)), (ROOT, OsStr::new(&to)), true);
                prop_assert_eq!(renamed.is_ok(), self.volatile.names.contains_key(&from));
                // Two names of one file: nothing happens, as POSIX has it.
                let same = self.volatile.names.get(&from) == self.volatile.names.get(&to);
                if renamed.is_ok() && !same {
                    self.meta(Meta::Rename(from, to));
                }
            }
            Act::Link(from, to) => {
                let (from, to) = (name(from), name(to));
                let Some(ino) = self.ino(&from) else { return Ok(()) };
                let linked = self.volume.name(ino, ROOT, OsStr::new(&to));
                prop_assert_eq!(linked.is_ok(), !self.volatile.names.contains_key(&to));
                if linked.is_ok() {
                    self.meta(Meta::Link(from, to));
                }
            }
            Act::Sync(file) => {
                let Some(ino) = self.ino(&name(file)) else { return Ok(()) };
                self.volume.sync(ino);
                self.commit(self.journal.len());
                let number = self.volatile.names[&name(file)];
                self.durable.contents.insert(number, self.volatile.contents[&number].clone());
            }
            Act::SyncDirectory => {
                self.volume.sync(ROOT);
                self.commit(self.journal.len());
            }
            Act::Cut => {
                let unsynced = self.volume.has_unsynced();
                let loss = self.volume.cut(None);
                prop_assert!(unsynced || !loss.is_anything(), "{loss:?}");
                prop_assert_eq!((loss.bytes_kept, loss.changes_kept), (0, 0));
                prop_assert_eq!(loss.changes_lost, self.journal.len() as u64);
                self.journal.clear();
                self.volatile = self.durable.clone();
            }
            Act::TornCut(seed) => self.torn_cut(*seed)?,
        }
        Ok(())
    }

    fn commit(&mut self, count: usize) {
        for meta in self.journal.drain(..count) {
            self.durable.meta(&meta);
        }
    }

    /// What is left is between what was durable and what processes saw, sector for sector, and the model goes on from there.
    fn torn_cut(&mut self, seed: u64) -> Result<(), TestCaseError> {
        let mut state = seed | 1;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let loss = self.volume.cut(Some(&mut draw));
        prop_assert_eq!(loss.changes_kept + loss.changes_lost, self.journal.len() as u64);
        self.commit(usize::try_from(loss.changes_kept).unwrap());
        let left = seen(self.volume.tree());
        prop_assert_eq!(left.keys().collect::<Vec<_>>(), self.durable.names.keys().collect::<Vec<_>>());
        for (name, content) in &left {
            let number = self.durable.names[name];
            let old = &self.durable.contents[&number];
            let new = self.volatile.contents.get(&number).unwrap_or(old);
            let resized = self.journal.iter().any(|meta| matches!(meta, Meta::SetLength(of, _) if *of == number));
            if resized {
                prop_assert!(content == old, "{} is half cut", name);
            }
            prop_assert!(content.len() >= old.len() && content.len() <= old.len().max(new.len()));
            for from in (0..content.len()).step_by(SECTOR) {
                let sector = |bytes: &[u8]| -> Vec<u8> {
                    let to = (from + SECTOR).min(content.len());
                    (from..to).map(|at| bytes.get(at).copied().unwrap_or(0)).collect()
                };
                let there = sector(content);
                prop_assert!(
                    there == sector(old) || there == sector(new),
                    "a sector of {} is neither old nor new",
                    name
                );
            }
        }
        for (name, content) in left {
            let number = self.durable.names[&name];
            self.durable.contents.insert(number, content);
        }
        self.journal.clear();
        self.volatile = self.durable.clone();
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_volume_is_what_the_model_says(acts in acts()) {
        let mut both = Both::new();
        for act in &acts {
            both.act(act)?;
            prop_assert!(seen(both.volume.tree()) == expected(&both.volatile), "seen after {:?}", act);
            prop_assert!(seen(both.volume.durable()) == expected(&both.durable), "durable after {:?}", act);
            let (all, left) = both.volume.room();
            prop_assert_eq!(all - left, both.volume.tree().pages(), "after {:?}", act);
        }
        both.volume.sync_all();
        prop_assert!(!both.volume.has_unsynced());
        prop_assert!(both.volume.durable() == both.volume.tree(), "what is synced is not what is seen");
        prop_assert!(!both.volume.cut(None).is_anything());
        prop_assert!(seen(both.volume.tree()) == expected(&both.volatile), "a cut changed what was synced");
    }
}

fn file(volume: &mut Volume, name: &str) -> Ino {
    volume.create(ROOT, OsStr::new(name), 0o644, (0, 0), New::File).expect("a new file")
}

#[test]
fn a_full_disk_says_so_and_has_room_again_after_a_removal() {
    use nix::errno::Errno;
    let mut volume = Volume::new(8 * 4096);
    let big = file(&mut volume, "big");
    volume.write(big, 0, &[1; 7 * 4096]).expect("it fits");
    let small = file(&mut volume, "small");
    assert_eq!(volume.write(small, 0, &[1; 4097]), Err(Errno::ENOSPC));
    assert!(volume.was_full());
    assert_eq!(volume.tree().file(small).unwrap().length(), 0, "nothing of it is written");
    volume.write(small, 0, &[1; 4096]).expect("it just fits");
    volume.write(big, 4096, &[2; 4096]).expect("what is there already takes no more room");
    volume.remove_file(ROOT, OsStr::new("big")).expect("it is there");
    volume.write(small, 4096, &[1; 4096]).expect("there is room again");
}

#[test]
fn an_open_file_outlives_its_name_until_the_kernel_forgets_it() {
    let mut volume = Volume::new(1 << 20);
    let ino = file(&mut volume, "f");
    volume.looked_up(ino);
    volume.write(ino, 0, b"content").unwrap();
    volume.remove_file(ROOT, OsStr::new("f")).unwrap();
    volume.set_length(ino, 4).unwrap();
    volume.write(ino, 4, b"!").unwrap();
    assert_eq!(volume.read(ino, 0, 100).unwrap(), b"cont!");
    volume.sync(ino);
    volume.write(ino, 5, b"?").unwrap();
    volume.forgotten(ino, 1);
    assert!(volume.read(ino, 0, 1).is_err());
    assert!(!volume.has_unsynced());
    assert_eq!(volume.room().0, volume.room().1);
}

#[test]
fn a_replaced_file_is_whole_only_if_the_new_one_was_synced_first() {
    for (synced, left) in [(true, &b"new"[..]), (false, b"")] {
        let mut volume = Volume::new(1 << 20);
        let old = file(&mut volume, "f");
        volume.write(old, 0, b"old").unwrap();
        volume.sync(old);
        let new = file(&mut volume, "f.new");
        volume.write(new, 0, b"new").unwrap();
        if synced {
            volume.sync(new);
        }
        volume.rename((ROOT, OsStr::new("f.new")), (ROOT, OsStr::new("f")), true).unwrap();
        // Before the directory is synced the rename may be undone; afterwards it may not.
        volume.sync(ROOT);
        volume.cut(None);
        let ino = volume.known_name(ROOT, OsStr::new("f")).unwrap();
        assert_eq!(volume.read(ino, 0, 10).unwrap(), left);
    }
}

#[test]
fn directories_are_moved_and_removed_as_posix_has_it() {
    use nix::errno::Errno;
    let mut volume = Volume::new(1 << 20);
    let mut directory = |parent, name: &str| volume.create(parent, OsStr::new(name), 0o755, (0, 0), New::Directory);
    let a = directory(ROOT, "a").unwrap();
    let b = directory(a, "b").unwrap();
    directory(ROOT, "empty").unwrap();
    let name = OsStr::new;
    assert_eq!(volume.rename((ROOT, name("a")), (b, name("a")), true), Err(Errno::EINVAL));
    assert_eq!(volume.remove_directory(ROOT, name("a")), Err(Errno::ENOTEMPTY));
    assert_eq!(volume.rename((ROOT, name("empty")), (ROOT, name("a")), true), Err(Errno::ENOTEMPTY));
    file(&mut volume, "f");
    assert_eq!(volume.rename((ROOT, name("f")), (ROOT, name("a")), true), Err(Errno::EISDIR));
    assert_eq!(volume.rename((ROOT, name("a")), (ROOT, name("f")), true), Err(Errno::ENOTDIR));
    assert_eq!(volume.rename((ROOT, name("a")), (ROOT, name("f")), false), Err(Errno::EEXIST));
    assert_eq!(volume.remove_file(ROOT, name("a")), Err(Errno::EISDIR));
    assert_eq!(volume.remove_directory(ROOT, name("f")), Err(Errno::ENOTDIR));
    volume.rename((ROOT, name("a")), (ROOT, name("empty")), true).expect("an empty directory may be replaced");
    volume.rename((a, name("b")), (ROOT, name("b")), true).unwrap();
    volume.remove_directory(ROOT, name("empty")).unwrap();
    let long = "x".repeat(256);
    assert_eq!(volume.known_name(ROOT, name(&long)), Err(Errno::ENAMETOOLONG));
    volume.sync_all();
    assert_eq!(volume.durable(), volume.tree());
}
