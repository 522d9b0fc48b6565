//! From notes to rows: which of them belong to the operations in focus, and in what words.
//!
//! ```text
//! operation -> call -> request at its coordinator -> work (operation id of the coordinator) -> messages by number
//!   -> steps in which they are handled -> what is stored in these steps -> batches made durable or lost
//! ```
//!
//! What does not belong to an operation is shown when it explains one: repairs of the same key, starts and ends of the
//! nodes that take part, their links and opinions of each other, and faults.

use std::collections::{BTreeMap, BTreeSet};

use hearsay_checkers::{Event as HistoryEvent, EventType, Function, History, OpIndex};
use hearsay_core::message::OperationId;
use hearsay_core::{Key, Link, NodeId, Version};

use super::chart::{Chart, Life, Row, Shape, Tone};
use super::focus::Focus;
use super::words;
use crate::report::FaultReport;
use crate::sim::{Hindrance, Note, Parcel, Say, Tape, What};

/// An arrival later than this gets a row of its own, nanoseconds.
const SLOW_NS: u64 = 3_000_000;
/// A silence longer than this is said, nanoseconds.
const GAP_NS: u64 = 20_000_000;
/// Columns for clients of their own; more share one.
const CLIENT_COLUMNS_MAX: usize = 4;

/// Whose doing something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Operation(u64),
    /// Anti-entropy.
    Sync,
}

/// A message between nodes.
#[derive(Debug)]
struct Message {
    from: NodeId,
    to: NodeId,
    says: Vec<Say>,
    owner: Option<Owner>,
    made: u64,
    left: Option<u64>,
    arrived: Option<u64>,
    hindered: Option<Hindrance>,
}

/// What the notes say, by name.
#[derive(Debug, Default)]
struct Index {
    /// Operation, slot and coordinator of a call.
    calls: BTreeMap<u64, (u64, u32, NodeId)>,
    taken: BTreeMap<u64, u64>,
    answered: BTreeMap<u64, u64>,
    hindered: BTreeMap<Parcel, Hindrance>,
    messages: BTreeMap<u64, Message>,
    /// Whose doing a step is.
    steps: BTreeMap<u64, Owner>,
    /// By operation.
    completions: BTreeMap<u64, HistoryEvent>,
    invocations: BTreeMap<u64, HistoryEvent>,
    replies: BTreeMap<u64, String>,
}

impl Index {
    fn of(notes: &[Note]) -> Index {
        let mut index = Index::default();
        let mut open: BTreeMap<u64, u64> = BTreeMap::new();
        let mut requests: BTreeMap<(NodeId, u64), (u64, u64)> = BTreeMap::new();
        let mut work: BTreeMap<(NodeId, OperationId), u64> = BTreeMap::new();
        for Note { time, what } in notes {
            match what {
                What::History(event) if event.kind == EventType::Invoke => {
                    open.insert(event.process.0, event.index);
                    index.invocations.insert(event.index, event.clone());
                }
                What::History(event) => {
                    if let Some(operation) = open.remove(&event.process.0) {
                        index.completions.insert(operation, event.clone());
                    }
                }
                What::Call { operation, call, slot, node } => {
                    index.calls.insert(*call, (*operation, *slot, *node));
                }
                What::Taken { node, call, request } => {
                    index.taken.insert(*call, *time);
                    if let Some(&(operation, ..)) = index.calls.get(call) {
                        requests.insert((*node, request.0), (operation, *call));
                    }
                }
                What::Asked { step, node, request, .. } => {
                    if let Some(&(operation, _)) = requests.get(&(*node, request.0)) {
                        index.steps.insert(*step, Owner::Operation(operation));
                    }
                }
                What::Arrives { step, number, .. } => {
                    if let Some(message) = index.messages.get_mut(number) {
                        message.arrived = Some(*time);
                        if let Some(owner) = message.owner {
                            index.steps.insert(*step, owner);
                        }
                    }
                }
                What::Sends { step, from, to, number, says } => {
                    let cause = index.steps.get(step).copied();
                    let owner = says.iter().find_map(|say| match say {
                        Say::Write(id, ..) | Say::Read(id, ..) => {
                            let known = work.get(&(*from, *id)).copied();
                            let operation = known.or(match cause {
                                Some(Owner::Operation(operation)) => Some(operation),
                                Some(Owner::Sync) | None => None,
                            })?;
                            work.insert((*from, *id), operation);
                            Some(Owner::Operation(operation))
                        }
                        Say::Ack(id) | Say::Answer(id, _) => work.get(&(*to, *id)).copied().map(Owner::Operation),
                        Say::Lists(_) | Say::Wants(_) | Say::Hands(..) => Some(Owner::Sync),
                    });
                    let (from, to, says, made) = (*from, *to, says.clone(), *time);
                    let message = Message { from, to, says, owner, made, left: None, arrived: None, hindered: None };
                    index.messages.insert(*number, message);
                }
                What::Leaves(Parcel::Message(number)) => {
                    if let Some(message) = index.messages.get_mut(number) {
                        message.left = Some(*time);
                    }
                }
                What::Hindered(parcel, hindrance) => {
                    index.hindered.insert(*parcel, *hindrance);
                    if let Parcel::Message(number) = parcel
                        && let Some(message) = index.messages.get_mut(number)
                    {
                        message.hindered = Some(*hindrance);
                    }
                }
                What::Replies { node, request, response, .. } => {
                    if let Some(&(operation, call)) = requests.get(&(*node, request.0)) {
                        let text = words::response(index.key(operation), response);
                        index.replies.insert(call, text);
                    }
                }
                _ => {}
            }
        }
        for (call, (operation, ..)) in &index.calls {
            // A client that gave up, or lost its connection, says so in words of its own; every other end is an answer.
            let answer = index.completions.get(operation).filter(|event| !gave_up(event));
            if let Some(event) = answer {
                index.answered.insert(*call, event.time);
            }
        }
        index
    }

    /// Whether this is a write that a read caused.
    fn is_repair(&self, owner: Option<Owner>) -> bool {
        let Some(Owner::Operation(operation)) = owner else { return false };
        self.invocations.get(&operation).is_some_and(|event| event.f == Function::Read)
    }

    fn key(&self, operation: u64) -> &str {
        self.invocations.get(&operation).map_or("", |event| &event.key)
    }
}

/// Whether the client stopped waiting, rather than heard an answer.
fn gave_up(completion: &HistoryEvent) -> bool {
    let error = completion.error.as_deref().unwrap_or_default();
    error.starts_with("not sent:") || error.starts_with("unknown:")
}

/// What a node stores of a key, in memory and on its disk.
#[derive(Debug, Default)]
struct Held {
    durable: Option<Version>,
    /// By batch.
    unsynced: Vec<(u64, Option<Version>)>,
}

impl Held {
    fn now(&self) -> Option<&Version> {
        self.unsynced.last().map_or(self.durable.as_ref(), |(_, version)| version.as_ref())
    }
}

/// The chart of what is in focus.
pub fn tell(tape: &Tape, focus: &Focus, history: &History, faults: &[FaultReport]) -> Chart {
    let index = Index::of(tape.notes());
    let mut teller = Teller::new(tape, focus, &index);
    for note in tape.notes() {
        teller.take(note);
    }
    let mut rows = teller.rows;
    add_faults(&mut rows, faults, focus, &teller.lives);
    // What happens at one moment stays in the order in which it happened.
    rows.sort_by_key(|row| row.time);
    settle_lives(&mut rows, teller.columns.len());
    add_gaps(&mut rows, focus, history);
    let mut title = focus.why.clone();
    let shown = history.operations.iter().filter(|operation| focus.operations.contains(&operation.index));
    title.extend(shown.take(24).map(words::operation));
    let begins = rows.first().map_or(focus.span.0, |row| row.time);
    for fault in faults.iter().filter(|fault| fault.from.is_some_and(|from| from < begins)) {
        if fault.to.is_none_or(|to| to > begins) {
            title.push(format!("in force at the start: {}", fault_name(fault)));
        }
    }
    let mut notes = Vec::new();
    if tape.left_out() > 0 {
        notes.push(format!("{} later notes found no room", tape.left_out()));
    }
    Chart { title, columns: teller.columns, rows, notes }
}

fn fault_name(fault: &FaultReport) -> String {
    format!("{} {} {}", fault.id, fault.name, fault.nodes)
}

/// Makes rows of notes.
struct Teller<'a> {
    index: &'a Index,
    focus: &'a Focus,
    start: u64,
    columns: Vec<String>,
    clients: BTreeMap<u32, usize>,
    nodes: BTreeMap<NodeId, usize>,
    held: BTreeMap<(NodeId, Key), Held>,
    rows: Vec<Row>,
    /// By column, at the time reached.
    lives: Vec<Life>,
}

impl<'a> Teller<'a> {
    fn new(tape: &Tape, focus: &'a Focus, index: &'a Index) -> Teller<'a> {
        let start = tape.start();
        let mut clients = BTreeSet::new();
        let mut nodes = BTreeSet::new();
        for (operation, slot, node) in index.calls.values() {
            if focus.operations.contains(&OpIndex(*operation)) {
                clients.insert(*slot);
                nodes.insert(*node);
            }
        }
        let span = (start + focus.span.0, start + focus.span.1);
        for message in index.messages.values() {
            if is_shown(message.owner, &message.says, message.made, focus, span) {
                nodes.extend([message.from, message.to]);
            }
        }
        let apart = clients.len() <= CLIENT_COLUMNS_MAX;
        let mut columns: Vec<String> = match apart {
            true => clients.iter().map(|slot| format!("c{slot}")).collect(),
            false => vec!["clients".to_owned()],
        };
        let clients = clients.iter().enumerate().map(|(place, slot)| (*slot, if apart { place } else { 0 })).collect();
        let first = columns.len();
        columns.extend(nodes.iter().map(NodeId::to_string));
        let nodes = nodes.into_iter().enumerate().map(|(place, node)| (node, first + place)).collect();
        let lives = vec![Life::Up; columns.len()];
        Teller { index, focus, start, columns, clients, nodes, held: BTreeMap::new(), rows: Vec::new(), lives }
    }

    fn row(&mut self, time: u64, shape: Shape, tone: Tone, text: impl Into<String>) {
        let (time, lives) = (time.saturating_sub(self.start), self.lives.clone());
        self.rows.push(Row { time, shape, text: text.into(), tone, lives });
    }

    fn point(&mut self, time: u64, node: NodeId, tone: Tone, text: &str) {
        if let Some(&column) = self.nodes.get(&node) {
            self.row(time, Shape::Point(column), tone, format!("{node} {text}"));
        }
    }

    /// World times of what is shown.
    fn span(&self) -> (u64, u64) {
        (self.start + self.focus.span.0, self.start + self.focus.span.1)
    }

    fn is_in_span(&self, time: u64) -> bool {
        let (from, to) = self.span();
        time >= from && time <= to
    }

    fn owns(&self, operation: u64) -> bool {
        self.focus.operations.contains(&OpIndex(operation))
    }

    /// Whether what this step does is shown.
    fn shows_step(&self, step: u64, time: u64) -> bool {
        match self.index.steps.get(&step) {
            Some(Owner::Operation(operation)) if self.owns(*operation) => true,
            // Other writes are only shown with everything; repairs by other reads and by anti-entropy explain.
            Some(owner @ Owner::Operation(_)) => {
                self.is_in_span(time) && (self.focus.everything || self.index.is_repair(Some(*owner)))
            }
            Some(Owner::Sync) | None => self.is_in_span(time),
        }
    }

    fn take(&mut self, note: &Note) {
        let time = note.time;
        match &note.what {
            What::History(event) if event.kind != EventType::Invoke => self.completion(time, event),
            What::Leaves(Parcel::Request(call)) => self.request_leaves(time, *call),
            What::Leaves(Parcel::Response(call)) => self.response_leaves(time, *call),
            What::Leaves(Parcel::Message(number)) => self.message_leaves(time, *number),
            What::Arrives { node, number, .. } => self.arrives(time, *node, *number),
            What::Stores { step, node, batch, key, version } => {
                let held = self.held.entry((*node, key.clone())).or_default();
                held.unsynced.push((*batch, version.clone()));
                if self.shows_step(*step, time) {
                    let text = match version {
                        Some(version) => format!("stores {} (not yet synced)", words::version(key, version)),
                        None => format!("removes what it had of {} (not yet synced)", words::key(key)),
                    };
                    self.point(time, *node, Tone::Disk, &text);
                }
            }
            What::Synced(node, batch) => self.synced(time, *node, *batch),
            What::Killed { node, kept } => self.killed(time, *node, *kept),
            What::Boots { node, empty } => {
                if *empty {
                    self.held.retain(|(of, _), _| of != node);
                }
                let text = if *empty { "starts with an empty disk" } else { "starts" };
                self.changes(time, *node, Life::Up, text);
            }
            What::Pauses(node) => self.changes(time, *node, Life::Paused, "is paused"),
            What::Proceeds(node) => self.changes(time, *node, Life::Up, "goes on"),
            What::Link(node, peer, state) if self.is_in_span(time) && self.nodes.contains_key(peer) => {
                let text = match state {
                    Link::Up => format!("has a link to {peer}"),
                    Link::Down => format!("has no link to {peer} any more"),
                };
                self.point(time, *node, Tone::Around, &text);
            }
            What::Says(node, event) if self.is_in_span(time) => {
                self.point(time, *node, Tone::Around, &words::event(event));
            }
            _ => {}
        }
    }

    fn completion(&mut self, time: u64, event: &HistoryEvent) {
        let known = self.index.completions.iter().find(|(_, known)| known.index == event.index);
        let Some((operation, _)) = known.filter(|(operation, _)| self.owns(**operation) && gave_up(event)) else {
            return;
        };
        let call = self.index.calls.values().find(|(of, ..)| of == operation);
        if let Some(column) = call.and_then(|(_, slot, _)| self.clients.get(slot)).copied() {
            let text = format!("the client gives up: {}", event.error.as_deref().unwrap_or_default());
            self.row(time, Shape::Point(column), Tone::Trouble, text);
        }
    }

    /// Call, its columns and those that are shown.
    fn columns_of(&self, call: u64) -> Option<(u64, usize, usize)> {
        let &(operation, slot, node) = self.index.calls.get(&call)?;
        if !self.owns(operation) {
            return None;
        }
        Some((operation, *self.clients.get(&slot)?, *self.nodes.get(&node)?))
    }

    fn request_leaves(&mut self, time: u64, call: u64) {
        let Some((operation, client, node)) = self.columns_of(call) else { return };
        let arrives = self.index.taken.get(&call).copied();
        let asked = self.index.invocations.get(&operation).map(words::invocation).unwrap_or_default();
        self.arrow(time, (client, node), arrives, (Parcel::Request(call), Tone::Client), &asked);
    }

    fn response_leaves(&mut self, time: u64, call: u64) {
        let Some((_, client, node)) = self.columns_of(call) else { return };
        let arrives = self.index.answered.get(&call).map(|time| time + self.start);
        let text = self.index.replies.get(&call).cloned().unwrap_or_default();
        self.arrow(time, (node, client), arrives, (Parcel::Response(call), Tone::Client), &text);
    }

    fn arrow(
        &mut self,
        time: u64,
        (from, to): (usize, usize),
        arrives: Option<u64>,
        (parcel, tone): (Parcel, Tone),
        text: &str,
    ) {
        let hindered = self.index.hindered.get(&parcel).copied();
        let (tone, text) = match arrives {
            None => (Tone::Trouble, format!("{text} ({})", words::lost(hindered))),
            Some(at) if at.saturating_sub(time) > SLOW_NS => {
                (tone, format!("{text} ({})", words::late(hindered, at - time)))
            }
            Some(_) => (tone, text.to_owned()),
        };
        let arrives = arrives.map(|time| time.saturating_sub(self.start));
        self.row(time, Shape::Arrow { from, to, arrives }, tone, text);
    }

    fn message_leaves(&mut self, time: u64, number: u64) {
        let Some(message) = self.index.messages.get(&number) else { return };
        if !is_shown(message.owner, &message.says, message.made, self.focus, self.span()) {
            return;
        }
        let (Some(&from), Some(&to)) = (self.nodes.get(&message.from), self.nodes.get(&message.to)) else { return };
        let text = self.text_of(message);
        let tone = self.tone_of(message);
        self.arrow(time, (from, to), message.arrived, (Parcel::Message(number), tone), &text);
    }

    fn text_of(&self, message: &Message) -> String {
        let repair = self.index.is_repair(message.owner);
        let key = match message.owner {
            Some(Owner::Operation(operation)) => self.index.key(operation),
            Some(Owner::Sync) | None => "",
        };
        let texts: Vec<String> = message.says.iter().map(|say| words::say(say, key, repair)).collect();
        texts.join(", ")
    }

    fn tone_of(&self, message: &Message) -> Tone {
        let writes = message.says.iter().any(|say| matches!(say, Say::Write(..) | Say::Ack(_)));
        match message.owner {
            Some(Owner::Sync) => Tone::Repair,
            owner if writes && self.index.is_repair(owner) => Tone::Repair,
            _ => Tone::Work,
        }
    }

    fn arrives(&mut self, time: u64, node: NodeId, number: u64) {
        let Some(message) = self.index.messages.get(&number) else { return };
        if !is_shown(message.owner, &message.says, message.made, self.focus, self.span()) {
            return;
        }
        let late = message.left.filter(|left| time - left > SLOW_NS);
        if let (Some(left), Some(&from), Some(&to)) = (late, self.nodes.get(&message.from), self.nodes.get(&message.to))
        {
            let text = format!("{} arrives, {} after it left", self.text_of(message), words::length(time - left));
            self.row(time, Shape::Arrival { from, to }, self.tone_of(message), text);
        }
        for say in &message.says {
            let (Say::Write(_, key, version) | Say::Hands(key, version)) = say else { continue };
            let held = self.held.get(&(node, key.clone())).and_then(Held::now);
            if let Some(held) = held.filter(|held| *held >= version) {
                let text = match held == version {
                    true => format!("has {} already", words::version(key, version)),
                    false => format!("keeps {}, which is newer", words::version(key, held)),
                };
                self.point(time, node, Tone::Disk, &text);
            }
        }
    }

    fn synced(&mut self, time: u64, node: NodeId, batch: u64) {
        let mut told = Vec::new();
        for ((of, key), held) in &mut self.held {
            if *of != node {
                continue;
            }
            let done = held.unsynced.iter().take_while(|(of, _)| *of <= batch).count();
            for (_, version) in held.unsynced.drain(..done) {
                told.push(match &version {
                    Some(version) => words::version(key, version),
                    None => format!("that nothing is left of {}", words::key(key)),
                });
                held.durable = version;
            }
        }
        // Shown when the storing was.
        let stored = |text: &String| {
            let column = self.nodes.get(&node);
            self.rows.iter().rev().any(|row| {
                column.is_some_and(|&column| row.shape == Shape::Point(column))
                    && row.text.contains(&format!("stores {text} "))
            })
        };
        let shown: Vec<String> = told.into_iter().filter(stored).collect();
        if !shown.is_empty() {
            self.point(time, node, Tone::Disk, &format!("has synced {}", shown.join(", ")));
        }
    }

    fn killed(&mut self, time: u64, node: NodeId, kept: u64) {
        let mut lost = Vec::new();
        for ((of, key), held) in &mut self.held {
            if *of == node {
                for (batch, version) in held.unsynced.drain(..) {
                    if batch <= kept {
                        held.durable = version;
                    } else if let Some(version) = version {
                        lost.push(words::version(key, &version));
                    }
                }
            }
        }
        let text = match lost.is_empty() {
            true => "is killed".to_owned(),
            false => format!("is killed and loses {}, not synced yet", lost.join(", ")),
        };
        self.changes(time, node, Life::Down, &text);
    }

    /// A process begins, ends, stands still or goes on.
    fn changes(&mut self, time: u64, node: NodeId, life: Life, text: &str) {
        let Some(&column) = self.nodes.get(&node) else { return };
        self.lives[column] = life;
        let tone = if life == Life::Up { Tone::Around } else { Tone::Trouble };
        let from = self.rows.len();
        self.point(time, node, tone, text);
        if !self.is_in_span(time) {
            // Not shown, but the columns must know.
            self.rows[from].text.clear();
        }
    }
}

/// Whether a message is shown.
fn is_shown(owner: Option<Owner>, says: &[Say], made: u64, focus: &Focus, (from, to): (u64, u64)) -> bool {
    let in_span = made >= from && made <= to;
    match owner {
        Some(Owner::Operation(operation)) if focus.operations.contains(&OpIndex(operation)) => true,
        Some(Owner::Operation(_)) => in_span && focus.everything,
        Some(Owner::Sync) => in_span && (focus.everything || says.iter().any(|say| matches!(say, Say::Hands(..)))),
        None => false,
    }
}

fn add_faults(rows: &mut Vec<Row>, faults: &[FaultReport], focus: &Focus, lives: &[Life]) {
    let (from, to) = rows
        .iter()
        .filter(|row| !row.text.is_empty())
        .fold(focus.span, |(from, to), row| (from.min(row.time), to.max(row.time)));
    for fault in faults {
        let ends = [(fault.from, "begins"), (fault.to, "is healed")];
        for (time, what) in ends {
            if let Some(time) = time.filter(|&time| time >= from && time <= to) {
                let text = format!("{} {what}", fault_name(fault));
                rows.push(Row { time, shape: Shape::Band, text, tone: Tone::Trouble, lives: lives.to_vec() });
            }
        }
    }
}

/// Rows without words only say how their column is from then on.
fn settle_lives(rows: &mut Vec<Row>, columns: usize) {
    let mut lives = vec![Life::Up; columns];
    for row in rows.iter_mut() {
        if let Shape::Point(column) = row.shape {
            lives[column] = row.lives[column];
        }
        row.lives.clone_from(&lives);
    }
    rows.retain(|row| !row.text.is_empty());
}

fn add_gaps(rows: &mut Vec<Row>, focus: &Focus, history: &History) {
    let others: Vec<u64> = history
        .operations
        .iter()
        .filter(|operation| focus.keys.contains(&operation.key) && !focus.operations.contains(&operation.index))
        .map(|operation| operation.invoked)
        .collect();
    let mut with_gaps: Vec<Row> = Vec::with_capacity(rows.len());
    for row in rows.drain(..) {
        if let Some(last) = with_gaps.last()
            && row.time - last.time > GAP_NS
        {
            let between = others.iter().filter(|&&time| time > last.time && time < row.time).count();
            let keys: Vec<&str> = focus.keys.iter().map(String::as_str).collect();
            let operations = if between == 1 { "operation" } else { "operations" };
            let others = match between {
                0 => String::new(),
                count => format!(", {count} other {operations} on {}", keys.join(", ")),
            };
            let text = format!("{} later{others}", words::length(row.time - last.time));
            let (time, lives) = (row.time, last.lives.clone());
            with_gaps.push(Row { time, shape: Shape::Gap, text, tone: Tone::Around, lives });
        }
        with_gaps.push(row);
    }
    *rows = with_gaps;
}
