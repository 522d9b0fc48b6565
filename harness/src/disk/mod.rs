//! Disks of nodes that can lose power: each a file system of its own (FUSE), served by the harness out of memory.
//!
//! ```text
//! node process -- system calls --> kernel -- /dev/fuse --> [served] --> [volume]: as processes see it | durable
//!                                                              ^
//!                                    [Disk]: hold syncs, cut the power, slow down, refuse, wipe, export
//! ```
//!
//! A page cache survives SIGKILL, so killing processes never shows whether they synced what they acknowledged. Here the
//! difference is kept: what an fsync was not asked for is gone after a power cut. The rules are in [`volume`].
//!
//! Invariants:
//! - **The harness never goes through a mount of its own**, not even to look: while it is being killed it would wait for itself
//!   for ever. Whoever wants to know something of a disk asks its [`Disk`].
//! - A mount lies in the sandbox's mount namespace and in its memory: it ends with the sandbox, whatever ended that.
//! - One mount and one thread for each disk: a slow one stalls no other.
//! - What a disk holds is bounded; a node that wants more sees a full disk.
//!
//! Left out: permission checks (one owner), device nodes, extended attributes, `syncfs` (the kernel does not pass it on, so it
//! makes nothing durable), O_DIRECT semantics. A shared writable mapping works, but only its msync makes it durable. The host's own
//! disk takes no part: a sync costs no hardware time.

mod handle;
mod pages;
mod served;
mod tree;
mod volume;

#[cfg(test)]
mod tests;

pub use handle::{Cut, Disk, DiskError, DiskKind, SyncTimes, unavailable};
pub use volume::Loss;
