//! Names, directories and attributes: a tree of inodes, and the changes that lead from one tree to the next.
//!
//! A change that was possible in one tree is applied in the same order to the other one that follows it, so applying
//! never fails: [`Tree::apply`] asserts what [`super::volume`] has checked.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::SystemTime;

use super::pages::Pages;

/// Number of an inode. Never used again.
pub(super) type Ino = u64;

/// The directory at the top.
pub(super) const ROOT: Ino = 1;

/// An inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) permissions: u16,
    pub(super) owner: (u32, u32),
    pub(super) modified: SystemTime,
    /// Names of a file or link; a directory has one.
    pub(super) names: u32,
    pub(super) kind: Kind,
}

/// What an inode is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory { parent: Ino, entries: BTreeMap<OsString, Ino> },
    File(Pages),
    Link(PathBuf),
}

/// A change of names or attributes: what a journal holds.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A new inode with its first name.
    Create { parent: Ino, name: OsString, ino: Ino, inode: Inode },
    /// A further name.
    Name { ino: Ino, parent: Ino, name: OsString },
    /// A name less; with its last name an inode goes.
    Remove { parent: Ino, name: OsString },
    /// Another name; what has that name already goes.
    Rename { parent: Ino, name: OsString, new_parent: Ino, new_name: OsString },
    /// Other attributes.
    Attributes { ino: Ino, permissions: u16, owner: (u32, u32), modified: SystemTime },
    /// Cut, or made longer by a hole.
    SetLength { ino: Ino, length: u64, modified: SystemTime },
}

/// A tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    inodes: BTreeMap<Ino, Inode>,
}

impl Tree {
    /// One with an empty directory at the top.
    pub(super) fn new() -> Tree {
        let kind = Kind::Directory { parent: ROOT, entries: BTreeMap::new() };
        let top = Inode { permissions: 0o755, owner: (0, 0), modified: SystemTime::UNIX_EPOCH, names: 1, kind };
        Tree { inodes: [(ROOT, top)].into() }
    }

    pub(super) fn get(&self, ino: Ino) -> Option<&Inode> {
        self.inodes.get(&ino)
    }

    pub(super) fn get_mut(&mut self, ino: Ino) -> Option<&mut Inode> {
        self.inodes.get_mut(&ino)
    }

    /// A file's content; `None` when there is no such file.
    pub(super) fn file(&self, ino: Ino) -> Option<&Pages> {
        match &self.inodes.get(&ino)?.kind {
            Kind::File(pages) => Some(pages),
            Kind::Directory { .. } | Kind::Link(_) => None,
        }
    }

    pub(super) fn file_mut(&mut self, ino: Ino) -> Option<&mut Pages> {
        match &mut self.inodes.get_mut(&ino)?.kind {
            Kind::File(pages) => Some(pages),
            Kind::Directory { .. } | Kind::Link(_) => None,
        }
    }

    /// A directory's entries; `None` when there is no such directory.
    pub(super) fn directory(&self, ino: Ino) -> Option<&BTreeMap<OsString, Ino>> {
        match &self.inodes.get(&ino)?.kind {
            Kind::Directory { entries, .. } => Some(entries),
            Kind::File(_) | Kind::Link(_) => None,
        }
    }

    /// Inodes, those without a name that are still in use included.
    pub(super) fn len(&self) -> usize {
        self.inodes.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Ino, &Inode)> {
        self.inodes.iter().map(|(&ino, inode)| (ino, inode))
    }

    /// Pages of all files.
    pub(super) fn pages(&self) -> usize {
        let files = self.inodes.values().filter_map(|inode| match &inode.kind {
            Kind::File(pages) => Some(pages.count()),
            Kind::Directory { .. } | Kind::Link(_) => None,
        });
        files.sum()
    }

    /// Takes an inode out that has no name any more.
    pub(super) fn forget(&mut self, ino: Ino) -> Option<Inode> {
        self.inodes.get(&ino).is_some_and(|inode| inode.names == 0).then(|| self.inodes.remove(&ino)).flatten()
    }

    /// Carries a change out; the inode that lost its last name by it, which stays until it is [forgotten](Tree::forget).
    pub(super) fn apply(&mut self, change: &Change) -> Option<Ino> {
        match change {
            Change::Create { parent, name, ino, inode } => {
                let former = self.inodes.insert(*ino, inode.clone());
                assert!(former.is_none(), "inode {ino} exists");
                self.enter(*parent, name, *ino);
                None
            }
            Change::Name { ino, parent, name } => {
                self.known(*ino).names += 1;
                self.enter(*parent, name, *ino);
                None
            }
            Change::Remove { parent, name } => {
                let ino = self.entries(*parent).remove(name).expect("a name that is removed is there");
                self.lose_name(ino)
            }
            Change::Rename { parent, name, new_parent, new_name } => {
                let ino = self.entries(*parent).remove(name).expect("a name that is changed is there");
                let replaced = self.entries(*new_parent).insert(new_name.clone(), ino);
                if let Kind::Directory { parent, .. } = &mut self.known(ino).kind {
                    *parent = *new_parent;
                }
                replaced.and_then(|replaced| self.lose_name(replaced))
            }
            Change::Attributes { ino, permissions, owner, modified } => {
                let inode = self.known(*ino);
                (inode.permissions, inode.owner, inode.modified) = (*permissions, *owner, *modified);
                None
            }
            Change::SetLength { ino, length, modified } => {
                self.known(*ino).modified = *modified;
                self.file_mut(*ino).expect("a file whose length is set is there").set_length(*length);
                None
            }
        }
    }

    fn enter(&mut self, parent: Ino, name: &OsStr, ino: Ino) {
        let former = self.entries(parent).insert(name.to_owned(), ino);
        assert!(former.is_none(), "{name:?} exists in {parent}");
    }

    fn lose_name(&mut self, ino: Ino) -> Option<Ino> {
        let inode = self.known(ino);
        inode.names -= 1;
        (inode.names == 0).then_some(ino)
    }

    fn known(&mut self, ino: Ino) -> &mut Inode {
        self.inodes.get_mut(&ino).expect("a change is about an inode that exists")
    }

    fn entries(&mut self, ino: Ino) -> &mut BTreeMap<OsString, Ino> {
        match &mut self.known(ino).kind {
            Kind::Directory { entries, .. } => entries,
            Kind::File(_) | Kind::Link(_) => panic!("inode {ino} is no directory"),
        }
    }
}
