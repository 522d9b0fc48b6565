//! Operations as nodes: what each read returned, and what is impossible by itself.

use crate::registers::{Clock, OPEN, RegisterOp, Registers};
use crate::table::{Table, hash_pair};
use crate::{Function, Outcome};

/// No node.
pub(crate) const NONE: u32 = u32::MAX;
/// What a read returned: the initial version.
pub(crate) const INITIAL: u32 = u32::MAX - 1;
/// What a read returned: absent, from a delete or from the beginning.
pub(crate) const UNKNOWN: u32 = u32::MAX - 2;

/// An operation that counts: a read that is ok, a write or delete that may have happened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    /// Position in [`Registers::ops`].
    pub(crate) op: u32,
    pub(crate) key: u32,
    /// Number of the session.
    pub(crate) session: u32,
    /// The node whose version it returned or made (itself for a change), [`INITIAL`] or [`UNKNOWN`].
    pub(crate) version: u32,
    pub(crate) is_read: bool,
}

/// A read that is wrong by itself. Positions in [`Registers::ops`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Impossible {
    ThinAir { read: u32 },
    FailedWrite { read: u32, write: u32 },
    LaterWrite { read: u32, write: u32 },
}

impl Impossible {
    /// Position of the read.
    pub(crate) fn read(self) -> u32 {
        let (Impossible::ThinAir { read } | Impossible::FailedWrite { read, .. } | Impossible::LaterWrite { read, .. }) =
            self;
        read
    }
}

/// The nodes of a history, in the order of its operations.
#[derive(Debug)]
pub(crate) struct Graph<'h> {
    pub(crate) registers: &'h Registers,
    pub(crate) nodes: Vec<Node>,
    pub(crate) impossible: Vec<Impossible>,
    /// Two writes of one value to one key, as positions: reads-from is not known.
    pub(crate) doubled: Option<(u32, u32)>,
    /// Reads of `null` that are not judged.
    pub(crate) unknown_reads: u64,
    pub(crate) reads: u64,
}

impl<'h> Graph<'h> {
    pub(crate) fn new(registers: &'h Registers) -> Graph<'h> {
        let ops = &registers.ops;
        let mut graph =
            Graph { registers, nodes: Vec::new(), impossible: Vec::new(), doubled: None, unknown_reads: 0, reads: 0 };
        let writes = Writes::new(registers, &mut graph.doubled);
        let mut deleted = vec![false; registers.keys.len()];
        for op in ops.iter().filter(|op| op.f == Function::Delete && op.is_change()) {
            deleted[op.key as usize] = true;
        }
        let mut node_of_write = vec![NONE; ops.len()];
        graph.nodes.reserve(ops.len());
        for (position, op) in ops.iter().enumerate() {
            if op.is_change() {
                node_of_write[position] = graph.nodes.len() as u32;
            }
            if op.is_change() || op.is_read() {
                let version = graph.nodes.len() as u32;
                let (op_position, is_read) = (position as u32, op.is_read());
                let node = Node { op: op_position, key: op.key, session: op.session, version, is_read };
                graph.nodes.push(node);
            }
        }
        for at in 0..graph.nodes.len() {
            let node = graph.nodes[at];
            if !node.is_read {
                continue;
            }
            graph.reads += 1;
            let read = &ops[node.op as usize];
            let version = if read.absent {
                graph.unknown_reads += u64::from(deleted[node.key as usize]);
                if deleted[node.key as usize] { UNKNOWN } else { INITIAL }
            } else {
                match writes.of(read) {
                    Some(write) if ops[write as usize].outcome == Outcome::Fail => {
                        graph.impossible.push(Impossible::FailedWrite { read: node.op, write });
                        UNKNOWN
                    }
                    Some(write) if begun_later(registers, &ops[write as usize], read) => {
                        graph.impossible.push(Impossible::LaterWrite { read: node.op, write });
                        UNKNOWN
                    }
                    Some(write) => node_of_write[write as usize],
                    None => {
                        graph.impossible.push(Impossible::ThinAir { read: node.op });
                        UNKNOWN
                    }
                }
            };
            graph.nodes[at].version = version;
        }
        graph
    }

    pub(crate) fn op(&self, node: u32) -> &'h RegisterOp {
        &self.registers.ops[self.nodes[node as usize].op as usize]
    }
}

/// Whether the write began only after the read was over, so the read can't have returned it.
fn begun_later(registers: &Registers, write: &RegisterOp, read: &RegisterOp) -> bool {
    let in_time = registers.clock != Clock::Nothing && read.completed != OPEN && write.invoked > read.completed;
    in_time || (write.session == read.session && write.index > read.index)
}

/// Writes by key and value.
pub(crate) struct Writes<'h> {
    registers: &'h Registers,
    table: Table,
}

impl<'h> Writes<'h> {
    /// Indexes the writes; one that may have happened goes before one that failed.
    pub(crate) fn new(registers: &'h Registers, doubled: &mut Option<(u32, u32)>) -> Writes<'h> {
        let ops = &registers.ops;
        let is_write = |op: &&RegisterOp| op.f == Function::Write;
        let mut table = Table::with_capacity(ops.iter().filter(is_write).count());
        for failed in [false, true] {
            for (position, op) in ops.iter().enumerate() {
                if op.f != Function::Write || (op.outcome == Outcome::Fail) != failed {
                    continue;
                }
                let is_it = |other: u32| (ops[other as usize].key, ops[other as usize].value) == (op.key, op.value);
                let hash_of = |other: u32| hash(&ops[other as usize]);
                let known = table.find_or_insert(hash(op), position as u32, is_it, hash_of);
                if known != position as u32 && !failed && doubled.is_none() {
                    *doubled = Some((known, position as u32));
                }
            }
        }
        Writes { registers, table }
    }

    /// Position of the write of what this operation read or wrote.
    pub(crate) fn of(&self, op: &RegisterOp) -> Option<u32> {
        let ops = &self.registers.ops;
        self.table.find(hash(op), |other| (ops[other as usize].key, ops[other as usize].value) == (op.key, op.value))
    }
}

fn hash(op: &RegisterOp) -> u64 {
    hash_pair(u64::from(op.key), op.value)
}
