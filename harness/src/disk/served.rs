//! Answers the kernel: a [`Volume`] as a FUSE file system.
//!
//! Nothing is cached by the kernel but file content while a file is open, so that a disk that lost power is seen as it is then.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::handle::Shared;
use super::pages::PAGE;
use super::tree::{Ino, Kind, Tree};
use super::volume::{New, Volume};

/// How long the kernel may remember names and attributes: never, as a power cut changes them behind its back.
const REMEMBERED: Duration = Duration::ZERO;
/// Bytes of one write request.
const WRITE_MAX: u32 = 1 << 20;
/// Kinds of an inode, as in `st_mode`.
const KIND_MASK: u32 = 0o170_000;
const KIND_FILE: u32 = 0o100_000;
/// `fallocate` modes.
const KEEP_SIZE: i32 = 1;
const PUNCH_HOLE: i32 = 2;
const ZERO_RANGE: i32 = 16;

/// A directory as it was when it was opened: (inode, kind, name).
pub(super) type Listing = Vec<(Ino, FileType, std::ffi::OsString)>;

/// Directories that are open.
#[derive(Debug, Default)]
pub(super) struct Listings {
    open: BTreeMap<u64, Listing>,
    next: u64,
}

/// The file system that a [`super::Disk`] mounts.
pub(super) struct Served {
    pub(super) shared: Arc<Shared>,
}

type Result<T> = std::result::Result<T, nix::errno::Errno>;

fn told(errno: nix::errno::Errno) -> Errno {
    Errno::from_i32(errno as i32)
}

fn file_type(kind: &Kind) -> FileType {
    match kind {
        Kind::Directory { .. } => FileType::Directory,
        Kind::File(_) => FileType::RegularFile,
        Kind::Link(_) => FileType::Symlink,
    }
}

fn attributes(tree: &Tree, ino: Ino) -> Result<FileAttr> {
    let inode = tree.get(ino).ok_or(nix::errno::Errno::ENOENT)?;
    let (size, blocks, names) = match &inode.kind {
        Kind::Directory { entries, .. } => {
            let directories = entries.values().filter(|&&entry| tree.directory(entry).is_some()).count();
            (entries.len() as u64, 0, if inode.names == 0 { 0 } else { 2 + directories as u32 })
        }
        Kind::File(pages) => (pages.length(), (pages.count() * PAGE / 512) as u64, inode.names),
        Kind::Link(target) => (target.as_os_str().len() as u64, 0, inode.names),
    };
    let (uid, gid) = inode.owner;
    Ok(FileAttr {
        ino: INodeNo(ino),
        size,
        blocks,
        atime: inode.modified,
        mtime: inode.modified,
        ctime: inode.modified,
        crtime: UNIX_EPOCH,
        kind: file_type(&inode.kind),
        perm: inode.permissions,
        nlink: names,
        uid,
        gid,
        rdev: 0,
        blksize: PAGE as u32,
        flags: 0,
    })
}

impl Served {
    /// Does something with the content, unless the power is off.
    fn with<T>(&self, act: impl FnOnce(&mut Volume) -> Result<T>) -> std::result::Result<T, Errno> {
        let mut state = self.shared.lock();
        if state.is_off() {
            return Err(Errno::EIO);
        }
        act(&mut state.volume).map_err(told)
    }

    fn enter(&self, make: impl FnOnce(&mut Volume) -> Result<Ino>) -> std::result::Result<FileAttr, Errno> {
        self.with(|volume| {
            let ino = make(volume)?;
            let attributes = attributes(volume.tree(), ino)?;
            volume.looked_up(ino);
            Ok(attributes)
        })
    }

    fn make(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, kind: New, reply: ReplyEntry) {
        let owner = (request.uid(), request.gid());
        match self.enter(|volume| volume.create(parent.0, name, permissions(mode), owner, kind)) {
            Ok(attributes) => reply.entry(&REMEMBERED, &attributes, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }
}

fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

fn answer(reply: ReplyEmpty, result: std::result::Result<(), Errno>) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for Served {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // A kernel that takes less says so, and that is fine.
        let _ = config.set_max_write(WRITE_MAX);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.enter(|volume| volume.known_name(parent.0, name)) {
            Ok(attributes) => reply.entry(&REMEMBERED, &attributes, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn forget(&self, _: &Request, ino: INodeNo, times: u64) {
        self.shared.lock().volume.forgotten(ino.0, times);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.with(|volume| attributes(volume.tree(), ino.0)) {
            Ok(attributes) => reply.attr(&REMEMBERED, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let modified = mtime.map(|time| match time {
            TimeOrNow::SpecificTime(time) => time,
            TimeOrNow::Now => SystemTime::now(),
        });
        let changed = self.with(|volume| {
            if let Some(length) = size {
                volume.set_length(ino.0, length)?;
            }
            if mode.is_some() || uid.is_some() || gid.is_some() || modified.is_some() {
                volume.set_attributes(ino.0, mode.map(permissions), (uid, gid), modified)?;
            }
            attributes(volume.tree(), ino.0)
        });
        match changed {
            Ok(attributes) => reply.attr(&REMEMBERED, &attributes),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        let target = self.with(|volume| match volume.tree().get(ino.0).map(|inode| &inode.kind) {
            Some(Kind::Link(target)) => Ok(target.clone().into_os_string().into_encoded_bytes()),
            Some(Kind::Directory { .. } | Kind::File(_)) => Err(nix::errno::Errno::EINVAL),
            None => Err(nix::errno::Errno::ENOENT),
        });
        match target {
            Ok(target) => reply.data(&target),
            Err(errno) => reply.error(errno),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        if mode & KIND_MASK != KIND_FILE {
            return reply.error(Errno::EPERM);
        }
        self.make(request, parent, name, mode & !umask, New::File, reply);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        self.make(request, parent, name, mode & !umask, New::Directory, reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        self.make(request, parent, name, 0o777, New::Link(target.to_owned()), reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.with(|volume| volume.remove_file(parent.0, name)));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        answer(reply, self.with(|volume| volume.remove_directory(parent.0, name)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            return reply.error(Errno::EINVAL);
        }
        let replace = flags.is_empty();
        answer(reply, self.with(|volume| volume.rename((parent.0, name), (new_parent.0, new_name), replace)));
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let named = self.enter(|volume| {
            volume.name(ino.0, parent.0, name)?;
            Ok(ino.0)
        });
        match named {
            Ok(attributes) => reply.entry(&REMEMBERED, &attributes, Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_NOFLUSH);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let owner = (request.uid(), request.gid());
        let made = self.enter(|volume| volume.create(parent.0, name, permissions(mode & !umask), owner, New::File));
        match made {
            Ok(attributes) => {
                reply.created(&REMEMBERED, &attributes, Generation(0), FileHandle(0), FopenFlags::FOPEN_NOFLUSH)
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.with(|volume| volume.read(ino.0, offset, size as usize)) {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.with(|volume| volume.write(ino.0, offset, data)) {
            Ok(()) => reply.written(data.len() as u32),
            Err(errno) => reply.error(errno),
        }
    }

    /// Closing a file does nothing; the kernel need not ask again.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.shared.sync(ino.0, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.shared.sync(ino.0, reply);
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let mut state = self.shared.lock();
        let tree = state.volume.tree();
        let Some(directory) = tree.get(ino.0) else { return reply.error(Errno::ENOENT) };
        let Kind::Directory { parent, entries } = &directory.kind else { return reply.error(Errno::ENOTDIR) };
        let mut listing: Listing =
            vec![(ino.0, FileType::Directory, ".".into()), (*parent, FileType::Directory, "..".into())];
        listing.extend(
            entries.iter().filter_map(|(name, &entry)| Some((entry, file_type(&tree.get(entry)?.kind), name.clone()))),
        );
        let handle = state.listings.next;
        state.listings.next += 1;
        state.listings.open.insert(handle, listing);
        reply.opened(FileHandle(handle), FopenFlags::empty());
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let state = self.shared.lock();
        let Some(listing) = state.listings.open.get(&handle.0) else { return reply.error(Errno::EBADF) };
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        for (position, (ino, kind, name)) in listing.iter().enumerate().skip(from) {
            if reply.add(INodeNo(*ino), position as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.shared.lock().listings.open.remove(&handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let (all, free) = self.shared.lock().volume.room();
        let (all, free) = (all as u64, free as u64);
        reply.statfs(all, free, free, 65_536, 65_536, PAGE as u32, 255, PAGE as u32);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let end = offset.saturating_add(length);
        let done = self.with(|volume| {
            let now = volume.tree().file(ino.0).ok_or(nix::errno::Errno::ENOENT)?.length();
            match mode & !KEEP_SIZE {
                0 => {}
                PUNCH_HOLE | ZERO_RANGE => volume.zero(ino.0, offset, length)?,
                _ => return Err(nix::errno::Errno::EOPNOTSUPP),
            }
            if mode & KEEP_SIZE == 0 && end > now { volume.set_length(ino.0, end) } else { Ok(()) }
        });
        answer(reply, done);
    }
}
