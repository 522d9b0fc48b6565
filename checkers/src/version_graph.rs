//! What a history says about the order of the versions of one key.
//!
//! Nodes are versions: the initial one (absent), one per write and delete that may have happened, and one per read of
//! `null` that several deletes could explain. Edges come in threshold families ([`crate::order`]):
//!
//! - *initial*: nothing comes before the initial version. Sure for every system;
//! - *session*: a process read one version and later another (or, for read-your-writes, wrote one and later read another).
//!   That is what the model promises;
//! - *real-time visits*: an operation was over before another began, in any process. Promised for reads by monotonic
//!   quorum reads, and for reads, writes and deletes by linearizability;
//! - *real-time writes*: a version was acknowledged or read before another one was begun to be written. An assumption
//!   about the system, which a caller can switch off.
//!
//! The model holds if and only if the versions have an order that fits all of them, when nothing is deleted. Deletes
//! write no value of their own, so a read of `null` does not say which one it saw. Such a read is *the initial version*
//! while no delete had begun before it ended; *one delete* when only that one is possible; else *some delete*, a version
//! of its own, which takes part in the order but is not identified with any delete. That keeps every violation certain,
//! and may miss violations that follow only from several such reads together: whether there is an order of the versions in
//! which each of them saw a delete is looked for apart ([`crate::null_reads`]).
//!
//! A delete is possible for a read of `null` when it began before the read ended and is not certainly older than what the
//! session had seen (in real time, what any operation over before had seen).
//!
//! *Some delete* may be the same version as a delete or the initial one. So an order in time between the operations that
//! saw the two says no more than "not after", and must not become part of a cycle: where deletes are visits themselves
//! (linearizability), families keep *some delete* apart from deletes and the initial version. Nothing is lost by that: a
//! node with one operation adds no path between others that their own times do not give.

use crate::key_history::{KeyHistory, Origin};
use crate::order::{Member, NEVER_ENTERS, NEVER_EXITS};
use crate::{Function, ProcessId};

/// Deletes that are looked at one by one to find out whether only one is possible.
const CANDIDATES_MAX: usize = 16;

/// The node of the initial version.
const INITIAL: u32 = 0;

/// What a model promises about the versions that reads return.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    /// Within a session.
    pub(crate) session: SessionPromise,
    /// The same for what sessions did that was over before: operations that do not overlap, in any session.
    pub(crate) real_time: bool,
}

/// What a session must not fall behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionPromise {
    /// What it read before.
    Reads,
    /// What it wrote and deleted before.
    OwnWrites,
    /// All that it did before; and what it writes and deletes must not fall behind that either.
    Everything,
}

impl SessionPromise {
    /// Whether a read (or else an acknowledged write or delete) binds what comes after it.
    pub(crate) fn binds(self, is_read: bool) -> bool {
        match self {
            SessionPromise::Reads => is_read,
            SessionPromise::OwnWrites => !is_read,
            SessionPromise::Everything => true,
        }
    }

    /// Whether a read (or else an acknowledged write or delete) is bound by what came before it.
    pub(crate) fn is_bound(self, is_read: bool) -> bool {
        is_read || self == SessionPromise::Everything
    }
}

/// A version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// Absent, before everything.
    Initial,
    /// Of this write.
    Written(u32),
    /// Of this delete.
    Deleted(u32),
    /// Of one of several deletes (or the initial one), as seen by this read.
    SomeDelete(u32),
}

/// A version, and when it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) version: Version,
    /// It did not exist before, nanoseconds.
    pub(crate) begun: u64,
    /// It had taken effect by then, nanoseconds; `u64::MAX`: not known.
    pub(crate) settled: u64,
    /// The operation that shows it.
    pub(crate) settled_by: u32,
}

/// An operation of a session on a version: a read, or, unless only reads count, an acknowledged write or delete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit {
    pub(crate) process: ProcessId,
    pub(crate) operation: u32,
    pub(crate) node: u32,
}

/// Where a family comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knowledge {
    Initial,
    RealTimeWrites,
    RealTimeVisits,
    /// The visits of a process: a range of [`VersionGraph::visits`].
    Session {
        from: usize,
        to: usize,
    },
}

/// A read that is wrong by itself. Operations are positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nobody wrote the value.
    ThinAir { read: u32 },
    /// The write of the value certainly did not happen.
    FailedWrite { read: u32, write: u32 },
    /// The write of the value began after the read was over.
    LaterWrite { read: u32, write: u32 },
    /// Absent, after `seen` of a value that no delete can have removed.
    Vanished { read: u32, seen: u32 },
}

impl Finding {
    /// The kind of violation that it is.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Finding::ThinAir { .. } => "thin-air",
            Finding::FailedWrite { .. } => "failed-write-read",
            Finding::LaterWrite { .. } => "read-before-write",
            Finding::Vanished { .. } => "vanished",
        }
    }
}

/// What is known about the versions of a key.
#[derive(Debug)]
pub(crate) struct VersionGraph<'k> {
    pub(crate) history: &'k KeyHistory<'k>,
    /// What sessions are promised.
    pub(crate) promise: SessionPromise,
    pub(crate) nodes: Vec<Node>,
    /// By process, then in the order of the session.
    pub(crate) visits: Vec<Visit>,
    pub(crate) families: Vec<Vec<Member>>,
    /// Of each family.
    pub(crate) knowledge: Vec<Knowledge>,
    pub(crate) findings: Vec<Finding>,
    /// Reads of `null` about which more is known from what had been seen before: the read, its node, the operation that
    /// saw it. In the order of `visits`.
    pub(crate) inferred: Vec<(u32, u32, u32)>,
    /// Reads that contradict the session or the operations over before them directly, and the version they saw.
    pub(crate) stale: Vec<(u32, u32)>,
    /// Reads before which the session (in real time, anyone) had seen or made a version that another acknowledged one was
    /// older than: the older one could have been returned.
    pub(crate) possibly_stale: Vec<u32>,
}

/// The newest version that a reader must not fall behind: when it was begun, and the operation that saw or made it.
type Floor = Option<(u64, u32)>;

impl<'k> VersionGraph<'k> {
    /// Builds the graph of a key.
    pub(crate) fn new(history: &'k KeyHistory<'k>, promise: Promise, real_time_writes: bool) -> VersionGraph<'k> {
        let mut graph = VersionGraph {
            history,
            promise: promise.session,
            nodes: first_nodes(history),
            visits: Vec::new(),
            families: Vec::new(),
            knowledge: Vec::new(),
            findings: Vec::new(),
            inferred: Vec::new(),
            stale: Vec::new(),
            possibly_stale: Vec::new(),
        };
        let finished = if promise.real_time { Finished::new(history, promise.session) } else { Finished::default() };
        graph.add_visits(promise, real_time_writes, &finished);
        graph.add_initial_family();
        // What the first family says is told. Where writes are visits, visits repeat what is known of writes, in words
        // that are less clear.
        let writes_first = promise.session == SessionPromise::Everything;
        if real_time_writes && writes_first {
            graph.add_real_time_writes();
        }
        graph.add_session_families(promise.session);
        if promise.real_time {
            graph.add_real_time_visits(promise.session);
        }
        if real_time_writes && !writes_first {
            graph.add_real_time_writes();
        }
        graph.find_stale(promise.session, real_time_writes, &finished);
        graph
    }

    fn add_visits(&mut self, promise: Promise, real_time_writes: bool, finished: &Finished) {
        let history = self.history;
        let mut operations = history.reads.clone();
        // An indeterminate one is still the last of its session, also where it began the moment the one before it ended.
        let all_changes = promise.session == SessionPromise::Everything;
        let promise = promise.session;
        if promise != SessionPromise::Reads {
            let changes = history.writes.iter().chain(&history.deletes);
            let counts = |change: &&u32| all_changes || history.operation(**change).acknowledged().is_some();
            operations.extend(changes.filter(counts));
        }
        operations.sort_by_key(|position| (history.operation(*position).process, *position));
        let mut node_of_delete: Vec<(u32, u32)> = Vec::with_capacity(history.deletes.len());
        node_of_delete
            .extend(history.deletes.iter().zip(self.first_delete_node()..).map(|(delete, node)| (*delete, node)));
        node_of_delete.sort_unstable();
        let deletes = Deletes::new(history);
        let mut process = None;
        let mut session_floor: Floor = None;
        for position in operations {
            let operation = history.operation(position);
            if process.replace(operation.process) != Some(operation.process) {
                session_floor = None;
            }
            let is_read = operation.f == Function::Read;
            let node = match (operation.f, operation.value) {
                (Function::Delete, _) => {
                    let at = node_of_delete.binary_search_by_key(&position, |(delete, _)| *delete);
                    Some(node_of_delete[at.expect("every delete has a node")].1)
                }
                (Function::Write, Some(value)) if operation.completed.is_none() => {
                    match history.origin(value, u64::MAX) {
                        Origin::Written(at) => Some(1 + at),
                        _ => None,
                    }
                }
                (_, Some(value)) => match history.origin_for(operation, value) {
                    Origin::Written(at) => Some(1 + at),
                    Origin::LaterWrite(write) => self.wrong(Finding::LaterWrite { read: position, write }),
                    Origin::FailedWrite(write) => self.wrong(Finding::FailedWrite { read: position, write }),
                    Origin::Nobody => self.wrong(Finding::ThinAir { read: position }),
                },
                (_, None) => {
                    let floor = session_floor.max(finished.floor(operation.invoked));
                    self.absent_node(position, floor, real_time_writes, &deletes)
                }
            };
            let Some(node) = node else { continue };
            self.visits.push(Visit { process: operation.process, operation: position, node });
            if promise.binds(is_read) && (operation.value.is_some() || !is_read) {
                session_floor = session_floor.max(Some((self.nodes[node as usize].begun, position)));
            }
        }
    }

    fn wrong(&mut self, finding: Finding) -> Option<u32> {
        self.findings.push(finding);
        None
    }

    fn first_delete_node(&self) -> u32 {
        1 + self.history.writes.len() as u32
    }

    /// The node that a read of `null` saw.
    fn absent_node(&mut self, read: u32, floor: Floor, real_time_writes: bool, deletes: &Deletes) -> Option<u32> {
        let done = self.history.operation(read).completed.expect("reads that are ok are complete");
        if deletes.first_begun > done {
            return Some(INITIAL);
        }
        let some_delete = |begun| Node { version: Version::SomeDelete(read), begun, settled: done, settled_by: read };
        let node = match floor {
            None => some_delete(0),
            Some((newest, seen)) => {
                // Deletes that ended before the newest version seen was begun are older than it.
                let oldest_end = if real_time_writes { newest } else { 0 };
                let from = deletes.by_end.partition_point(|delete| delete.settled < oldest_end);
                let possible = &deletes.by_end[from..];
                if possible.is_empty() || deletes.begun_min_from[from] > done {
                    return self.wrong(Finding::Vanished { read, seen });
                }
                // A session can't have read what it deleted later, which times that touch do not show.
                let reader = self.history.operation(read);
                let is_own_later = |delete: &Delete| {
                    let delete = self.history.operation(self.history.deletes[delete.number as usize]);
                    delete.process == reader.process && delete.index > reader.index
                };
                let may_be = |delete: &&Delete| delete.begun <= done && !is_own_later(delete);
                let mut begun = possible.iter().take(CANDIDATES_MAX + 1).filter(may_be);
                let (first, second, are_all) = (begun.next(), begun.next(), possible.len() <= CANDIDATES_MAX);
                if first.is_none() && are_all {
                    return self.wrong(Finding::Vanished { read, seen });
                }
                if let (Some(only), None, true) = (first, second, are_all) {
                    let node = self.first_delete_node() + only.number;
                    let known = &mut self.nodes[node as usize];
                    if done < known.settled {
                        (known.settled, known.settled_by) = (done, read);
                    }
                    self.inferred.push((read, node, seen));
                    return Some(node);
                }
                self.inferred.push((read, self.nodes.len() as u32, seen));
                some_delete(deletes.begun_min_from[from])
            }
        };
        self.nodes.push(node);
        Some(self.nodes.len() as u32 - 1)
    }

    fn add_family(&mut self, knowledge: Knowledge, members: Vec<Member>) {
        if members.len() > 1 {
            self.families.push(members);
            self.knowledge.push(knowledge);
        }
    }

    fn add_initial_family(&mut self) {
        let members = self.nodes.iter().zip(0..).filter_map(|(node, number)| match node.version {
            Version::Initial => Some(Member { node: number, enter: 0, exit: NEVER_EXITS }),
            Version::Written(_) | Version::Deleted(_) => Some(Member { node: number, enter: NEVER_ENTERS, exit: 1 }),
            // It may be the initial version.
            Version::SomeDelete(_) => None,
        });
        let members = members.collect();
        self.add_family(Knowledge::Initial, members);
    }

    fn add_session_families(&mut self, promise: SessionPromise) {
        let mut from = 0;
        while from < self.visits.len() {
            let process = self.visits[from].process;
            let to = from + self.visits[from..].partition_point(|visit| visit.process == process);
            let visits = self.visits[from..to].iter().zip(1..);
            let members = visits.map(|(visit, position)| {
                let is_read = self.history.operation(visit.operation).f == Function::Read;
                Member {
                    node: visit.node,
                    enter: if promise.binds(is_read) { position } else { NEVER_ENTERS },
                    exit: if promise.is_bound(is_read) { position } else { NEVER_EXITS },
                }
            });
            let members = merged(members.collect());
            self.add_visited(Knowledge::Session { from, to }, members, promise);
            from = to;
        }
    }

    fn add_real_time_visits(&mut self, promise: SessionPromise) {
        let members = self.visits.iter().map(|visit| {
            let operation = self.history.operation(visit.operation);
            let is_read = operation.f == Function::Read;
            let end = operation.completed.filter(|_| promise.binds(is_read));
            let exit = if promise.is_bound(is_read) { operation.invoked } else { NEVER_EXITS };
            Member { node: visit.node, enter: end.unwrap_or(NEVER_ENTERS), exit }
        });
        let members = merged(members.collect());
        self.add_visited(Knowledge::RealTimeVisits, members, promise);
    }

    /// Adds what visits say; where deletes are visits too, *some delete* apart from what it may be the same as.
    fn add_visited(&mut self, knowledge: Knowledge, members: Vec<Member>, promise: SessionPromise) {
        let version = |member: &Member| self.nodes[member.node as usize].version;
        let is_some_delete = |member: &&Member| matches!(version(member), Version::SomeDelete(_));
        if promise != SessionPromise::Everything || !members.iter().any(|member| is_some_delete(&member)) {
            self.add_family(knowledge, members);
            return;
        }
        let known = members.iter().filter(|member| !is_some_delete(member)).copied().collect();
        let is_null_that_is_known =
            |member: &&Member| matches!(version(member), Version::Initial | Version::Deleted(_));
        let unlike = members.iter().filter(|member| !is_null_that_is_known(member)).copied().collect();
        self.add_family(knowledge, known);
        self.add_family(knowledge, unlike);
    }

    fn add_real_time_writes(&mut self) {
        let nodes = self.nodes.iter().zip(0..).filter(|(node, _)| node.version != Version::Initial);
        let members = nodes.map(|(node, number)| Member { node: number, enter: node.settled, exit: node.begun });
        let members = members.collect();
        self.add_family(Knowledge::RealTimeWrites, members);
    }

    fn find_stale(&mut self, promise: SessionPromise, real_time_writes: bool, finished: &Finished) {
        let history = self.history;
        let changes = history.writes.iter().chain(&history.deletes);
        let first_acknowledged = changes.filter_map(|change| history.operation(*change).acknowledged()).min();
        // Of the session: the first visit of each node, where the current run of equal nodes began, the newest begun.
        let mut first_visit: Vec<(ProcessId, usize)> = vec![(ProcessId(0), usize::MAX); self.nodes.len()];
        let mut run_start = 0;
        let mut session_newest = 0;
        let mut session_seen = false;
        for at in 0..self.visits.len() {
            let visit = self.visits[at];
            let before = at.checked_sub(1).map(|before| self.visits[before]);
            let same_session = before.is_some_and(|before| before.process == visit.process);
            if !same_session {
                (session_newest, session_seen) = (0, false);
            }
            if !same_session || before.is_some_and(|before| before.node != visit.node) {
                run_start = at;
            }
            let node = self.nodes[visit.node as usize];
            let operation = history.operation(visit.operation);
            let is_read = operation.f == Function::Read;
            let first = &mut first_visit[visit.node as usize];
            let may_return = match promise {
                SessionPromise::Reads => false,
                SessionPromise::OwnWrites => true,
                // What was between may be *some delete*, which is certainly another version only than a written one.
                SessionPromise::Everything => !matches!(node.version, Version::Written(_)),
            };
            let returned = !may_return && first.1 != usize::MAX && first.0 == visit.process && first.1 < run_start;
            if first.1 == usize::MAX || first.0 != visit.process {
                *first = (visit.process, at);
            }
            if is_read {
                let finished = finished.floor(operation.invoked);
                let newest = session_newest.max(finished.map_or(0, |(begun, _)| begun));
                let seen = session_seen || finished.is_some();
                let behind_initial = seen && node.version == Version::Initial;
                if returned || behind_initial || (real_time_writes && node.settled < newest) {
                    self.stale.push((visit.operation, visit.node));
                }
                if seen && first_acknowledged.is_some_and(|acknowledged| acknowledged < newest) {
                    self.possibly_stale.push(visit.operation);
                }
            }
            if promise.binds(is_read) && (operation.value.is_some() || !is_read) {
                session_newest = session_newest.max(node.begun);
                session_seen = true;
            }
        }
    }
}

/// Initial, then writes, then deletes.
fn first_nodes(history: &KeyHistory<'_>) -> Vec<Node> {
    let mut nodes = vec![Node { version: Version::Initial, begun: 0, settled: 0, settled_by: u32::MAX }];
    let writes = history.writes.iter().zip(history.settled_writes());
    nodes.extend(writes.map(|(write, (settled, settled_by))| Node {
        version: Version::Written(*write),
        begun: history.operation(*write).invoked,
        settled,
        settled_by,
    }));
    nodes.extend(history.deletes.iter().map(|delete| Node {
        version: Version::Deleted(*delete),
        begun: history.operation(*delete).invoked,
        settled: history.operation(*delete).acknowledged().unwrap_or(u64::MAX),
        settled_by: *delete,
    }));
    nodes
}

/// One member per node: the lowest enter, the highest exit.
fn merged(mut members: Vec<Member>) -> Vec<Member> {
    members.sort_by_key(|member| member.node);
    members.dedup_by(|later, kept| {
        let same = later.node == kept.node;
        if same {
            kept.enter = kept.enter.min(later.enter);
            kept.exit = kept.exit.max(later.exit);
        }
        same
    });
    members
}

#[derive(Clone, Copy, Debug)]
struct Delete {
    /// Position in [`KeyHistory::deletes`].
    number: u32,
    begun: u64,
    settled: u64,
}

/// The deletes of a key, ready to be asked which of them a read of `null` could have seen.
#[derive(Debug)]
struct Deletes {
    by_end: Vec<Delete>,
    /// The earliest beginning of that delete in `by_end` and all behind it.
    begun_min_from: Vec<u64>,
    first_begun: u64,
}

impl Deletes {
    fn new(history: &KeyHistory<'_>) -> Deletes {
        let deletes = history.deletes.iter().zip(0..).map(|(delete, number)| {
            let delete = history.operation(*delete);
            Delete { number, begun: delete.invoked, settled: delete.acknowledged().unwrap_or(u64::MAX) }
        });
        let mut by_end: Vec<Delete> = deletes.collect();
        by_end.sort_by_key(|delete| (delete.settled, delete.number));
        let mut begun_min_from: Vec<u64> = by_end.iter().map(|delete| delete.begun).collect();
        for at in (1..begun_min_from.len()).rev() {
            begun_min_from[at - 1] = begun_min_from[at - 1].min(begun_min_from[at]);
        }
        let first_begun = begun_min_from.first().copied().unwrap_or(u64::MAX);
        Deletes { by_end, begun_min_from, first_begun }
    }
}

/// Operations on versions by their end, with the newest version seen or made up to each: reads of values, and, if they
/// bind what comes after them, acknowledged writes and deletes.
#[derive(Debug, Default)]
struct Finished {
    ends: Vec<u64>,
    newest: Vec<(u64, u32)>,
}

impl Finished {
    fn new(history: &KeyHistory<'_>, promise: SessionPromise) -> Finished {
        let mut finished: Vec<(u64, u64, u32)> = Vec::with_capacity(history.reads.len());
        if promise.binds(true) {
            for read in &history.reads {
                let operation = history.operation(*read);
                let end = operation.completed.expect("reads that are ok are complete");
                if let Some(value) = operation.value
                    && let Origin::Written(at) = history.origin_for(operation, value)
                {
                    finished.push((end, history.operation(history.writes[at as usize]).invoked, *read));
                }
            }
        }
        if promise.binds(false) {
            finished.extend(history.writes.iter().chain(&history.deletes).filter_map(|change| {
                let operation = history.operation(*change);
                operation.acknowledged().map(|end| (end, operation.invoked, *change))
            }));
        }
        finished.sort_unstable();
        let mut newest = (0, 0);
        let newest = finished.iter().map(|(_, begun, operation)| {
            newest = newest.max((*begun, *operation));
            newest
        });
        Finished { newest: newest.collect(), ends: finished.iter().map(|operation| operation.0).collect() }
    }

    /// The newest version that an operation saw or made which was over before `begin`.
    fn floor(&self, begin: u64) -> Floor {
        let over = self.ends.partition_point(|end| *end < begin);
        over.checked_sub(1).map(|last| self.newest[last])
    }
}
