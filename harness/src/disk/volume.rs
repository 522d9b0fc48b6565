//! What is on a disk: as processes see it, and as a power cut would leave it.
//!
//! ```text
//! write ----------------> volatile + dirty pages --- fsync of that file ---> durable
//! create, rename, ... --> volatile + journal ------- any fsync -----------> durable
//! ```
//!
//! The rules, as ext4 and XFS have them:
//! - *Data* (bytes written, and a file growing by that) is durable after fsync or fdatasync of that file.
//! - *Metadata* (create, mkdir, link, symlink, unlink, rmdir, rename, truncate, set_len, mode, owner, times) is a journal:
//!   ordered, and written as a whole by any fsync, of a file or a directory. A new file's own fsync therefore makes its
//!   name durable; a rename without an fsync behind it may be undone; renaming what was not synced may leave an empty file.
//! - SIGKILL loses nothing: what was written is in the page cache, which is the volatile half.
//! - A power cut leaves the durable half. A *torn* one has also carried out a drawn beginning of the journal, and has
//!   written a drawn part of the dirty sectors or pages of each file whose length the journal's rest does not set.
//!
//! Pure but for times of modification; every limit is an error that a process sees as a full disk.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::time::SystemTime;

use nix::errno::Errno;

use super::pages::{LENGTH_MAX, PAGE, Pages};
use super::tree::{Change, Ino, Inode, Kind, ROOT, Tree};

/// Bytes that a disk writes as a whole, whatever happens.
pub(super) const SECTOR: usize = 512;
/// Changes that may wait; then they are written without being asked, as a full journal is.
const JOURNAL_MAX: usize = 65_536;
/// Files, directories and links of a disk.
const INODES_MAX: usize = 65_536;
const NAME_BYTES_MAX: usize = 255;
const NAMES_MAX: u32 = 32_000;

/// What a power cut left of what was not synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Files with bytes that are gone or kept.
    pub files: u64,
    /// Bytes that are gone.
    pub bytes_lost: u64,
    /// Bytes that are there although nobody had synced them.
    pub bytes_kept: u64,
    /// Changes of names and attributes that are undone.
    pub changes_lost: u64,
    /// Changes that were made although nobody had synced them.
    pub changes_kept: u64,
}

impl Loss {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Loss) -> Loss {
        Loss {
            files: self.files + other.files,
            bytes_lost: self.bytes_lost + other.bytes_lost,
            bytes_kept: self.bytes_kept + other.bytes_kept,
            changes_lost: self.changes_lost + other.changes_lost,
            changes_kept: self.changes_kept + other.changes_kept,
        }
    }

    /// Whether anything was unsynced.
    pub fn is_anything(&self) -> bool {
        *self != Loss::default()
    }
}

/// A disk's content.
#[derive(Debug)]
pub(super) struct Volume {
    volatile: Tree,
    durable: Tree,
    journal: Vec<Change>,
    /// Pages written since the last sync of their file.
    dirty: BTreeMap<Ino, BTreeSet<u64>>,
    /// How often the kernel was told of an inode, and not yet that it may forget it.
    lookups: BTreeMap<Ino, u64>,
    next: Ino,
    pages_max: usize,
    pages_volatile: usize,
    pages_durable: usize,
    /// Whether a process was ever told that the disk is full.
    was_full: bool,
}

type Result<T> = std::result::Result<T, Errno>;

impl Volume {
    /// An empty one with room for so many bytes.
    pub(super) fn new(bytes_max: u64) -> Volume {
        Volume {
            volatile: Tree::new(),
            durable: Tree::new(),
            journal: Vec::new(),
            dirty: BTreeMap::new(),
            lookups: BTreeMap::new(),
            next: ROOT + 1,
            pages_max: usize::try_from(bytes_max / PAGE as u64).unwrap_or(usize::MAX / 4),
            pages_volatile: 0,
            pages_durable: 0,
            was_full: false,
        }
    }

    /// As processes see it.
    pub(super) fn tree(&self) -> &Tree {
        &self.volatile
    }

    #[cfg(test)]
    pub(super) fn durable(&self) -> &Tree {
        &self.durable
    }

    pub(super) fn was_full(&self) -> bool {
        self.was_full
    }

    /// Room for all, and what is left of it, in pages.
    pub(super) fn room(&self) -> (usize, usize) {
        (self.pages_max, self.pages_max.saturating_sub(self.pages_volatile))
    }

    /// Whether a power cut would lose anything.
    pub(super) fn has_unsynced(&self) -> bool {
        !self.journal.is_empty() || !self.dirty.is_empty()
    }

    // What the kernel knows.

    pub(super) fn looked_up(&mut self, ino: Ino) {
        *self.lookups.entry(ino).or_default() += 1;
    }

    pub(super) fn forgotten(&mut self, ino: Ino, times: u64) {
        let Some(known) = self.lookups.get_mut(&ino) else { return };
        *known = known.saturating_sub(times);
        if *known == 0 {
            self.lookups.remove(&ino);
            self.drop_unnamed(ino);
        }
    }

    fn drop_unnamed(&mut self, ino: Ino) {
        if self.lookups.contains_key(&ino) {
            return;
        }
        if let Some(inode) = self.volatile.forget(ino) {
            self.dirty.remove(&ino);
            if let Kind::File(pages) = inode.kind {
                self.pages_volatile -= pages.count();
            }
        }
    }

    // Names.

    /// Makes an inode; its number.
    pub(super) fn create(
        &mut self,
        parent: Ino,
        name: &OsStr,
        permissions: u16,
        owner: (u32, u32),
        kind: New,
    ) -> Result<Ino> {
        self.free_name(parent, name)?;
        if self.volatile.len() >= INODES_MAX {
            return Err(self.full());
        }
        let ino = self.next;
        self.next += 1;
        let kind = match kind {
            New::Directory => Kind::Directory { parent, entries: BTreeMap::new() },
            New::File => Kind::File(Pages::default()),
            New::Link(target) => Kind::Link(target),
        };
        let inode = Inode { permissions, owner, modified: SystemTime::now(), names: 1, kind };
        self.change(Change::Create { parent, name: name.to_owned(), ino, inode });
        Ok(ino)
    }

    /// Gives a file a further name.
    pub(super) fn name(&mut self, ino: Ino, parent: Ino, name: &OsStr) -> Result<()> {
        let inode = self.volatile.get(ino).ok_or(Errno::ENOENT)?;
        match inode.kind {
            Kind::Directory { .. } => return Err(Errno::EPERM),
            Kind::File(_) | Kind::Link(_) if inode.names == 0 => return Err(Errno::ENOENT),
            Kind::File(_) | Kind::Link(_) if inode.names >= NAMES_MAX => return Err(Errno::EMLINK),
            Kind::File(_) | Kind::Link(_) => {}
        }
        self.free_name(parent, name)?;
        self.change(Change::Name { ino, parent, name: name.to_owned() });
        Ok(())
    }

    /// Removes the name of a file or link.
    pub(super) fn remove_file(&mut self, parent: Ino, name: &OsStr) -> Result<()> {
        let ino = self.known_name(parent, name)?;
        if self.volatile.directory(ino).is_some() {
            return Err(Errno::EISDIR);
        }
        self.change(Change::Remove { parent, name: name.to_owned() });
        Ok(())
    }

    /// Removes an empty directory.
    pub(super) fn remove_directory(&mut self, parent: Ino, name: &OsStr) -> Result<()> {
        let ino = self.known_name(parent, name)?;
        let entries = self.volatile.directory(ino).ok_or(Errno::ENOTDIR)?;
        if !entries.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.change(Change::Remove { parent, name: name.to_owned() });
        Ok(())
    }

    /// Gives something another name; what has it already goes, unless it may not be `replace`d.
    pub(super) fn rename(
        &mut self,
        (parent, name): (Ino, &OsStr),
        (new_parent, new_name): (Ino, &OsStr),
        replace: bool,
    ) -> Result<()> {
        let ino = self.known_name(parent, name)?;
        let is_directory = self.volatile.directory(ino).is_some();
        match self.known_name(new_parent, new_name) {
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
            Ok(_) if !replace => return Err(Errno::EEXIST),
            Ok(other) if other == ino => return Ok(()),
            Ok(other) => match (is_directory, self.volatile.directory(other)) {
                (true, None) => return Err(Errno::ENOTDIR),
                (false, Some(_)) => return Err(Errno::EISDIR),
                (true, Some(entries)) if !entries.is_empty() => return Err(Errno::ENOTEMPTY),
                (true, Some(_)) | (false, None) => {}
            },
        }
        // The kernel keeps a directory out of itself; a tree that lost its top would never be found again.
        let mut above = new_parent;
        while is_directory && above != ROOT {
            if above == ino {
                return Err(Errno::EINVAL);
            }
            above = match self.volatile.get(above).map(|inode| &inode.kind) {
                Some(Kind::Directory { parent, .. }) => *parent,
                Some(Kind::File(_) | Kind::Link(_)) | None => return Err(Errno::ENOENT),
            };
        }
        let (name, new_name) = (name.to_owned(), new_name.to_owned());
        self.change(Change::Rename { parent, name, new_parent, new_name });
        Ok(())
    }

    pub(super) fn known_name(&self, parent: Ino, name: &OsStr) -> Result<Ino> {
        check_name(name)?;
        let entries = self.volatile.directory(parent).ok_or_else(|| self.no_directory(parent))?;
        entries.get(name).copied().ok_or(Errno::ENOENT)
    }

    fn free_name(&self, parent: Ino, name: &OsStr) -> Result<()> {
        match self.known_name(parent, name) {
            Ok(_) => Err(Errno::EEXIST),
            // A directory that was removed while somebody stood in it.
            Err(Errno::ENOENT) if self.volatile.get(parent).is_none_or(|inode| inode.names == 0) => Err(Errno::ENOENT),
            Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn no_directory(&self, ino: Ino) -> Errno {
        if self.volatile.get(ino).is_some() { Errno::ENOTDIR } else { Errno::ENOENT }
    }

    // Attributes and content.

    pub(super) fn set_attributes(
        &mut self,
        ino: Ino,
        permissions: Option<u16>,
        owner: (Option<u32>, Option<u32>),
        modified: Option<SystemTime>,
    ) -> Result<()> {
        let inode = self.volatile.get(ino).ok_or(Errno::ENOENT)?;
        let change = Change::Attributes {
            ino,
            permissions: permissions.unwrap_or(inode.permissions),
            owner: (owner.0.unwrap_or(inode.owner.0), owner.1.unwrap_or(inode.owner.1)),
            modified: modified.unwrap_or(inode.modified),
        };
        self.change(change);
        Ok(())
    }

    pub(super) fn set_length(&mut self, ino: Ino, length: u64) -> Result<()> {
        let before = self.file(ino)?.count();
        if length > LENGTH_MAX {
            return Err(Errno::EFBIG);
        }
        self.change(Change::SetLength { ino, length, modified: SystemTime::now() });
        self.pages_volatile -= before - self.file(ino)?.count();
        let ends = length.div_ceil(PAGE as u64);
        let dirty = self.dirty.get_mut(&ino);
        // Bytes that nobody will ever read again need not be written. The page that was cut stays: its beginning does.
        if dirty.is_some_and(|pages| {
            pages.split_off(&ends);
            pages.is_empty()
        }) {
            self.dirty.remove(&ino);
        }
        Ok(())
    }

    pub(super) fn read(&self, ino: Ino, offset: u64, length: usize) -> Result<Vec<u8>> {
        Ok(self.file(ino)?.read(offset, length))
    }

    pub(super) fn write(&mut self, ino: Ino, offset: u64, bytes: &[u8]) -> Result<()> {
        let added = self.file(ino)?.added_by(offset, bytes.len());
        if offset.saturating_add(bytes.len() as u64) > LENGTH_MAX {
            return Err(Errno::EFBIG);
        }
        let volatile = self.pages_volatile + added;
        if volatile > self.pages_max || volatile + self.pages_durable > 2 * self.pages_max {
            return Err(self.full());
        }
        self.pages_volatile = volatile;
        let dirty = self.dirty.entry(ino).or_default();
        let inode = self.volatile.get_mut(ino).ok_or(Errno::ENOENT)?;
        inode.modified = SystemTime::now();
        if let Kind::File(pages) = &mut inode.kind {
            pages.write(offset, bytes, |page| dirty.extend([page]));
        }
        Ok(())
    }

    /// Makes a range zeros: a hole, as far as whole pages go.
    pub(super) fn zero(&mut self, ino: Ino, offset: u64, length: u64) -> Result<()> {
        let before = self.file(ino)?.count();
        let dirty = self.dirty.entry(ino).or_default();
        let pages = self.volatile.file_mut(ino).ok_or(Errno::ENOENT)?;
        pages.zero(offset, length, |page| dirty.extend([page]));
        if dirty.is_empty() {
            self.dirty.remove(&ino);
        }
        self.pages_volatile -= before - self.file(ino)?.count();
        Ok(())
    }

    fn file(&self, ino: Ino) -> Result<&Pages> {
        self.volatile.file(ino).ok_or_else(|| match self.volatile.directory(ino) {
            Some(_) => Errno::EISDIR,
            None => Errno::ENOENT,
        })
    }

    fn full(&mut self) -> Errno {
        self.was_full = true;
        Errno::ENOSPC
    }

    /// Carries a change out as processes see it; the journal has it for later.
    fn change(&mut self, change: Change) {
        let unnamed = match &change {
            Change::Attributes { ino, .. } | Change::SetLength { ino, .. } => {
                self.volatile.get(*ino).is_some_and(|inode| inode.names == 0)
            }
            Change::Create { .. } | Change::Name { .. } | Change::Remove { .. } | Change::Rename { .. } => false,
        };
        if let Some(ino) = self.volatile.apply(&change) {
            self.drop_unnamed(ino);
        }
        // What has no name is gone after a power cut anyway.
        if !unnamed {
            self.journal.push(change);
            if self.journal.len() >= JOURNAL_MAX {
                self.commit(self.journal.len());
            }
        }
    }

    // Durability.

    /// What fsync does for a file or directory.
    pub(super) fn sync(&mut self, ino: Ino) {
        self.commit(self.journal.len());
        let Some(dirty) = self.dirty.remove(&ino) else { return };
        let (Some(inode), Some(durable)) = (self.volatile.get(ino), self.durable.get_mut(ino)) else { return };
        durable.modified = inode.modified;
        let (Kind::File(volatile), Kind::File(durable)) = (&inode.kind, &mut durable.kind) else { return };
        let before = durable.count();
        dirty.iter().for_each(|&page| durable.take_page(page, volatile));
        durable.extend_to(volatile.length());
        assert!(durable.length() == volatile.length(), "files only differ by what was written since");
        self.pages_durable = self.pages_durable + durable.count() - before;
    }

    /// Makes everything durable.
    #[cfg(test)]
    pub(super) fn sync_all(&mut self) {
        self.commit(self.journal.len());
        while let Some((&ino, _)) = self.dirty.first_key_value() {
            self.sync(ino);
        }
    }

    /// Writes the first changes of the journal.
    fn commit(&mut self, count: usize) {
        for change in self.journal.drain(..count) {
            let sized = match &change {
                Change::SetLength { ino, .. } => self.durable.file(*ino).map(|pages| (*ino, pages.count())),
                _ => None,
            };
            if let Some(inode) = self.durable.apply(&change).and_then(|ino| self.durable.forget(ino))
                && let Kind::File(pages) = inode.kind
            {
                self.pages_durable -= pages.count();
            }
            if let Some((ino, before)) = sized {
                self.pages_durable -= before - self.durable.file(ino).map_or(0, Pages::count);
            }
        }
    }

    /// The power is cut: what was not synced is gone, or torn by what `draw` gives below its argument. No process may be using
    /// it any more.
    pub(super) fn cut(&mut self, torn: Option<&mut dyn FnMut(u64) -> u64>) -> Loss {
        let mut loss = Loss { changes_lost: self.journal.len() as u64, ..Loss::default() };
        // What is dirty of a file that has no name is not missed by anybody.
        self.dirty.retain(|ino, _| self.volatile.get(*ino).is_some_and(|inode| inode.names > 0));
        let dirty = std::mem::take(&mut self.dirty);
        for (&ino, pages) in &dirty {
            let volatile = self.volatile.file(ino).expect("only files have dirty pages");
            loss.files += 1;
            loss.bytes_lost += pages.iter().map(|&page| volatile.bytes_of(page) as u64).sum::<u64>();
        }
        if let Some(draw) = torn {
            let kept = draw(self.journal.len() as u64 + 1);
            self.commit(usize::try_from(kept).expect("drawn below a length"));
            loss.changes_kept = kept;
            loss.changes_lost -= kept;
            let unset: BTreeSet<Ino> = self.journal.iter().filter_map(sets_length).collect();
            for (&ino, pages) in dirty.iter().filter(|(ino, _)| !unset.contains(ino)) {
                let volatile = self.volatile.file(ino).expect("only files have dirty pages");
                // Its creation may be among what is lost.
                let Some(durable) = self.durable.file_mut(ino) else { continue };
                let kept = tear(durable, volatile, pages, draw);
                loss.bytes_kept += kept;
                loss.bytes_lost -= kept;
            }
        }
        self.journal.clear();
        self.volatile = self.durable.clone();
        self.pages_durable = self.durable.pages();
        self.pages_volatile = self.pages_durable;
        loss
    }

    /// Removes everything, durably; how many files and bytes there were.
    pub(super) fn wipe(&mut self) -> (u64, u64) {
        let contents = self.contents();
        let lookups = std::mem::take(&mut self.lookups);
        let next = self.next;
        *self = Volume { lookups, next, ..Volume::new((self.pages_max * PAGE) as u64) };
        contents
    }

    /// Files, and their bytes.
    pub(super) fn contents(&self) -> (u64, u64) {
        let files = self.volatile.iter().filter(|(_, inode)| inode.names > 0);
        files.fold((0, 0), |(files, bytes), (_, inode)| match &inode.kind {
            Kind::File(pages) => (files + 1, bytes + pages.length()),
            Kind::Link(_) => (files + 1, bytes),
            Kind::Directory { .. } => (files, bytes),
        })
    }
}

/// What is made under a name.
#[derive(Clone, Debug)]
pub(super) enum New {
    Directory,
    File,
    Link(std::path::PathBuf),
}

fn sets_length(change: &Change) -> Option<Ino> {
    match change {
        Change::SetLength { ino, .. } => Some(*ino),
        _ => None,
    }
}

/// Writes a drawn part of the dirty pages, by sectors or whole; the bytes that made it.
fn tear(durable: &mut Pages, volatile: &Pages, dirty: &BTreeSet<u64>, draw: &mut dyn FnMut(u64) -> u64) -> u64 {
    let unit = if draw(2) == 0 { SECTOR } else { PAGE };
    let mut kept = 0;
    for &page in dirty {
        let there = volatile.bytes_of(page);
        for from in (0..there).step_by(unit) {
            if draw(2) == 0 {
                continue;
            }
            durable.take_part(page, from..(from + unit).min(PAGE), volatile);
            let to = there.min(from + unit);
            durable.extend_to(page * PAGE as u64 + to as u64);
            kept += (to - from) as u64;
        }
    }
    kept
}

fn check_name(name: &OsStr) -> Result<()> {
    match name.len() {
        0 => Err(Errno::ENOENT),
        1..=NAME_BYTES_MAX => Ok(()),
        _ => Err(Errno::ENAMETOOLONG),
    }
}
