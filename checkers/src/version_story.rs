//! Contradictions between versions, told in sentences: which operations say what.

use crate::explain::{at, sentence, value};
use crate::order::Edge;
use crate::version_graph::{Finding, Knowledge, Version, VersionGraph};
use crate::{Function, OpIndex, Operation, Outcome};

/// A contradiction in words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    pub(crate) sentences: Vec<String>,
    pub(crate) operations: Vec<OpIndex>,
}

impl Story {
    fn mention(&mut self, operation: &Operation) -> OpIndex {
        self.operations.push(operation.index);
        operation.index
    }
}

/// Tells why a read is wrong by itself.
pub(crate) fn tell_finding(graph: &VersionGraph<'_>, finding: Finding) -> Story {
    let mut story = Story::default();
    let key = graph.history.key;
    let (Finding::ThinAir { read }
    | Finding::FailedWrite { read, .. }
    | Finding::LaterWrite { read, .. }
    | Finding::Vanished { read, .. }) = finding;
    let read = graph.history.operation(read);
    if let Finding::Vanished { seen, .. } = finding {
        let seen = graph.history.operation(seen);
        let before = past(&mut story, seen, key);
        let (seen_by, read_by) = (seen.process, read.process);
        let again = if seen_by == read_by { "later".to_owned() } else { format!("{read_by} later") };
        let (first, second) = (at(seen.completed.unwrap_or(seen.invoked)), at(read.completed.unwrap_or_default()));
        let index = story.mention(read);
        story
            .sentences
            .push(format!("Key {key}: {seen_by} {before} at {first}, {again} read null at {second} ({index})."));
        let gone = value(seen.value);
        story.sentences.push(format!(
            "No delete of {key} explains that: each one had been acknowledged before {gone} began to be written, or began \
             only after that read was over."
        ));
        return story;
    }
    let (what, when) = (value(read.value), at(read.completed.unwrap_or(read.invoked)));
    let index = story.mention(read);
    story.sentences.push(format!("Key {key}: {} read {what} at {when} ({index}).", read.process));
    let reason = match finding {
        Finding::FailedWrite { write, .. } => {
            let write = graph.history.operation(write);
            let index = story.mention(write);
            format!("The only write of {what}, by {} ({index}), had certainly failed.", write.process)
        }
        Finding::LaterWrite { write, .. } => {
            let write = graph.history.operation(write);
            let index = story.mention(write);
            let begun = at(write.invoked);
            format!("The only write of {what}, by {} ({index}), began after that, at {begun}.", write.process)
        }
        _ => format!("Nobody wrote {what} to {key}."),
    };
    story.sentences.push(reason);
    story
}

/// Tells a cycle: each edge with the operations that it comes from, the contradiction last.
pub(crate) fn tell_cycle(graph: &VersionGraph<'_>, cycle: &[Edge]) -> Story {
    let saw = |edge: &Edge| {
        let knowledge = graph.knowledge[edge.family as usize];
        matches!(knowledge, Knowledge::Session { .. } | Knowledge::RealTimeVisits)
    };
    let mut told: Vec<(Edge, Story)> = cycle.iter().map(|edge| (*edge, tell_edge(graph, edge))).collect();
    // Begin with what a reader saw, and end with what stands against it; where readers saw it all, with the first.
    let turns = (0..told.len()).filter(|at| saw(&told[*at].0) && !saw(&told[(at + told.len() - 1) % told.len()].0));
    let begin = turns.min().or_else(|| (0..told.len()).min_by_key(|at| told[*at].1.operations.first().copied()));
    told.rotate_left(begin.unwrap_or_default());
    let pairs: Vec<String> = told
        .iter()
        .map(|(edge, _)| format!("{} comes before {}", version_name(graph, edge.from), version_name(graph, edge.to)))
        .collect();
    let mut story = Story::default();
    for (_, part) in told {
        let text = part.sentences.concat();
        let first = story.sentences.is_empty();
        let text = if first { format!("Key {}: {text}", graph.history.key) } else { sentence(&text) };
        story.sentences.push(format!("{text}."));
        story.operations.extend(part.operations);
    }
    tell_inferred(graph, &mut story);
    story.sentences.push(format!("So {}: no order of the versions allows that.", crate::explain::listed(&pairs)));
    story
}

/// Tells one edge, as a sentence without its capital and its end.
fn tell_edge(graph: &VersionGraph<'_>, edge: &Edge) -> Story {
    let mut story = Story::default();
    let text = match graph.knowledge[edge.family as usize] {
        Knowledge::Initial => {
            let (key, newer) = (graph.history.key, version_name(graph, edge.to));
            format!("that null is from before {newer}: no delete of {key} had begun when it was read")
        }
        Knowledge::Session { from, to } => tell_session(graph, &mut story, edge, from, to),
        Knowledge::RealTimeVisits => tell_real_time_visits(graph, &mut story, edge),
        Knowledge::RealTimeWrites => tell_real_time_writes(graph, &mut story, edge),
    };
    story.sentences.push(text);
    story
}

/// Tells how the version of a `null` is known, for each one mentioned.
fn tell_inferred(graph: &VersionGraph<'_>, story: &mut Story) {
    let history = graph.history;
    let mut next = 0;
    // What is told here may mention more of them.
    while let Some(mentioned) = story.operations.get(next).copied() {
        next += 1;
        if story.operations[..next - 1].contains(&mentioned) {
            continue;
        }
        let inferred = graph.inferred.iter().find(|(read, ..)| history.operation(*read).index == mentioned);
        let Some((_, node, seen)) = inferred else { continue };
        let seen = history.operation(*seen);
        let did = past(story, seen, history.key);
        let comes_from = match graph.nodes[*node as usize].version {
            Version::Deleted(delete) => {
                let delete = history.operation(delete);
                let index = story.mention(delete);
                format!("the delete by {} ({index})", delete.process)
            }
            _ => "a delete that is not older than that".to_owned(),
        };
        let process = seen.process;
        story.sentences.push(format!(
            "{} {did} before the null of {mentioned} was read, so that null can only come from {comes_from}.",
            sentence(&process.to_string())
        ));
    }
}

fn version_name(graph: &VersionGraph<'_>, node: u32) -> String {
    match graph.nodes[node as usize].version {
        Version::Written(write) => value(graph.history.operation(write).value),
        Version::Initial | Version::SomeDelete(_) => "null".to_owned(),
        Version::Deleted(delete) => format!("the delete ({})", graph.history.operation(delete).index),
    }
}

/// `read 5 (op 880)`, `wrote 5 (op 870)`, `deleted k1 (op 871)`.
fn past(story: &mut Story, operation: &Operation, key: &str) -> String {
    let index = story.mention(operation);
    let what = value(operation.value);
    match operation.f {
        Function::Read => format!("read {what} ({index})"),
        Function::Write => format!("wrote {what} ({index})"),
        Function::Delete => format!("deleted {key} ({index})"),
        other => unreachable!("{} is of no register", other.as_str()),
    }
}

fn tell_session(graph: &VersionGraph<'_>, story: &mut Story, edge: &Edge, from: usize, to: usize) -> String {
    let mut before = None;
    for visit in &graph.visits[from..to] {
        let operation = graph.history.operation(visit.operation);
        if visit.node == edge.from {
            before = Some(operation);
        } else if let (true, true, Some(first)) =
            (visit.node == edge.to, graph.promise.is_bound(operation.f == Function::Read), before)
        {
            let (began, done) =
                (at(first.completed.unwrap_or(first.invoked)), at(operation.completed.unwrap_or_default()));
            let (first_index, index) = (story.mention(first), story.mention(operation));
            let (first_did, did) = (did(graph, first), did(graph, operation));
            let process = first.process;
            return format!("{process} {first_did} at {began} ({first_index}), later {did} at {done} ({index})");
        }
    }
    panic!("a session edge has two visits");
}

/// An order in time between two operations: by the latest one on the older version and the next one on the newer.
fn tell_real_time_visits(graph: &VersionGraph<'_>, story: &mut Story, edge: &Edge) -> String {
    let operations = |node: u32| {
        let visits = graph.visits.iter().filter(move |visit| visit.node == node);
        visits.map(|visit| graph.history.operation(visit.operation))
    };
    let first_end = operations(edge.from).filter_map(|operation| operation.completed).min();
    let first_end = first_end.expect("an operation was on the version");
    let after = operations(edge.to).filter(|operation| operation.invoked > first_end);
    let after = after.min_by_key(|operation| operation.invoked).expect("a real-time edge has a later operation");
    let over = operations(edge.from).filter(|operation| operation.completed < Some(after.invoked));
    let over = over.max_by_key(|operation| operation.completed).expect("a real-time edge has an earlier operation");
    let (end, begin) = (at(over.completed.unwrap_or(over.invoked)), at(after.invoked));
    let (over_index, after_index) = (story.mention(over), story.mention(after));
    let who = if over.process == after.process { "it".to_owned() } else { after.process.to_string() };
    let over_did = match over.f {
        Function::Read => format!("had read {} by {end}", value(over.value)),
        Function::Write => format!("wrote {}, acknowledged at {end}", value(over.value)),
        Function::Delete => format!("deleted {}, acknowledged at {end}", graph.history.key),
        other => unreachable!("{} is of no register", other.as_str()),
    };
    let did = did(graph, after);
    format!("{} {over_did} ({over_index}), then {who}, from {begin} on, {did} ({after_index})", over.process)
}

/// `read 5`, `wrote 5`, `deleted k1`.
fn did(graph: &VersionGraph<'_>, operation: &Operation) -> String {
    match operation.f {
        Function::Read => format!("read {}", value(operation.value)),
        Function::Write => format!("wrote {}", value(operation.value)),
        Function::Delete => format!("deleted {}", graph.history.key),
        other => unreachable!("{} is of no register", other.as_str()),
    }
}

fn tell_real_time_writes(graph: &VersionGraph<'_>, story: &mut Story, edge: &Edge) -> String {
    let history = graph.history;
    let (older, newer) = (graph.nodes[edge.from as usize], graph.nodes[edge.to as usize]);
    let claim =
        format!("{} was overwritten by {} before", version_name(graph, edge.from), version_name(graph, edge.to));
    let (Version::Written(change) | Version::Deleted(change)) = newer.version else {
        let cause = history.operation(older.settled_by);
        let over = at(older.settled);
        let did = past(story, cause, history.key);
        let begun = at(newer.begun);
        return format!(
            "{claim}: every delete that this null can come from began at {begun} or later, when {} {did}, over at {over}",
            cause.process
        );
    };
    let change = history.operation(change);
    // The clearest witness is the writer itself.
    let saw_older = |operation: &&Operation| {
        let (Version::Written(write) | Version::Deleted(write)) = older.version else { return false };
        let write = history.operation(write);
        let same = operation.index == write.index
            || (operation.f == Function::Read && operation.value == write.value && write.value.is_some());
        same && operation.outcome == Outcome::Ok && operation.completed < Some(change.invoked)
    };
    let of_writer = history.reads.iter().chain(&history.writes).chain(&history.deletes);
    let of_writer = of_writer.map(|position| history.operation(*position));
    let of_writer = of_writer.filter(|operation| operation.process == change.process);
    let witness = of_writer.filter(saw_older).max_by_key(|operation| operation.index);
    let witness = witness.unwrap_or_else(|| history.operation(older.settled_by));
    let (witness_did, change_did) = (past(story, witness, history.key), past(story, change, history.key));
    if witness.process == change.process {
        format!("{claim}: {} {witness_did} and then {change_did}", change.process)
    } else {
        let (over, begun) = (at(witness.completed.unwrap_or(witness.invoked)), at(change.invoked));
        format!(
            "{claim}: {} {witness_did}, which was over at {over}; {} {change_did}, from {begun} on",
            witness.process, change.process
        )
    }
}
