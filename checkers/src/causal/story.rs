//! Ways and cycles in sentences.

use super::cycle::{Because, Overwrite, Step, Ways};
use super::graph::{Graph, Impossible};
use crate::registers::RegisterOp;
use crate::{Function, OpIndex};

/// A contradiction in words, with its operations.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) sentences: Vec<String>,
    pub(crate) operations: Vec<OpIndex>,
}

/// The ways that an overwriting was concluded from (all ways, for none).
pub(crate) type WaysBefore<'w> = dyn Fn(Option<&Overwrite>) -> Ways<'w> + 'w;

pub(crate) struct Teller<'g, 'h> {
    pub(crate) graph: &'g Graph<'h>,
    pub(crate) story: Story,
}

impl Teller<'_, '_> {
    pub(crate) fn new<'g, 'h>(graph: &'g Graph<'h>) -> Teller<'g, 'h> {
        Teller { graph, story: Story::default() }
    }

    fn did(&mut self, op: &RegisterOp) -> String {
        let registers = self.graph.registers;
        self.story.operations.push(op.index);
        let (key, value, index) = (registers.key_of(op), registers.text_of(op.value()), op.index);
        match op.f {
            Function::Read => format!("read {value} from {key} ({index})"),
            Function::Write => format!("wrote {value} to {key} ({index})"),
            Function::Delete => format!("deleted {key} ({index})"),
            other => unreachable!("{} is of no register", other.as_str()),
        }
    }

    fn version(&self, node: u32) -> String {
        let op = self.graph.op(node);
        match op.f {
            Function::Delete => format!("the deletion of {} ({})", self.graph.registers.key_of(op), op.index),
            _ => self.graph.registers.text_of(op.value()),
        }
    }

    /// `process 1 wrote 5 to x (op 0), then wrote 7 to y (op 2); process 3 read 7 from y (op 4)`, one sentence per
    /// overwriting.
    fn way(&mut self, from: u32, way: &[Step]) -> String {
        let first = self.graph.op(from);
        let mut text = format!("{} {}", first.process, self.did(first));
        for (at, step) in way.iter().enumerate() {
            // Of a run through one session only the ends matter.
            let goes_on = step.because == Because::Session
                && way.get(at + 1).is_some_and(|next| next.because == Because::Session);
            if goes_on {
                continue;
            }
            let op = self.graph.op(step.to);
            text += &match step.because {
                Because::Session => format!(", then {}", self.did(op)),
                Because::ReadFrom => format!("; {} {}", op.process, self.did(op)),
                Because::Overwrite(_) => format!("; that is older than what {} did: it {}", op.process, self.did(op)),
            };
        }
        crate::explain::sentence(&text) + "."
    }

    pub(crate) fn impossible(mut self, wrong: Impossible) -> Story {
        let registers = self.graph.registers;
        let (Impossible::ThinAir { read } | Impossible::FailedWrite { read, .. } | Impossible::LaterWrite { read, .. }) =
            wrong;
        let read = registers.ops[read as usize];
        let (did, value) = (self.did(&read), registers.text_of(read.value()));
        self.story.sentences.push(format!("Key {}: {} {did}.", registers.key_of(&read), read.process));
        let reason = match wrong {
            Impossible::ThinAir { .. } => format!("Nobody wrote {value}."),
            Impossible::FailedWrite { write, .. } => {
                let write = registers.ops[write as usize];
                self.story.operations.push(write.index);
                format!("The only write of {value}, by {} ({}), had certainly failed.", write.process, write.index)
            }
            Impossible::LaterWrite { write, .. } => {
                let write = registers.ops[write as usize];
                self.story.operations.push(write.index);
                format!("{value} was written only later, by {} ({}).", write.process, write.index)
            }
        };
        self.story.sentences.push(crate::explain::sentence(&reason));
        self.story
    }

    /// A cycle without any overwriting: operations that must have known what came after them.
    pub(crate) fn knot(mut self, from: u32, way: &[Step]) -> Story {
        let text = self.way(from, way);
        self.story.sentences.push(text);
        self.story
            .sentences
            .push("So each of them comes before itself: no order of the operations allows that.".to_owned());
        self.story
    }

    /// The initial version was returned although `change` was visible to the read.
    pub(crate) fn initial_read(mut self, ways: &WaysBefore<'_>, change: u32, read: u32) -> Story {
        let op = self.graph.op(read);
        let key = self.graph.registers.key_of(op);
        if let Some(way) = ways(None).shortest(change, read) {
            self.reasons(ways, &way, &mut Vec::new());
            let text = self.way(change, &way);
            self.story.sentences.push(format!("Key {key}: {text}"));
        }
        let version = self.version(change);
        self.story.sentences.push(format!(
            "So {version} was visible to that last read, but it returned null, the version from before all writes of {key}."
        ));
        self.story
    }

    /// Tells why the overwritings on a way are known, each once, what they rest on first.
    fn reasons(&mut self, ways: &WaysBefore<'_>, way: &[Step], told: &mut Vec<Overwrite>) {
        for step in way {
            let Because::Overwrite(edge) = step.because else { continue };
            if told.contains(&edge) {
                continue;
            }
            told.push(edge);
            let Some(way) = ways(Some(&edge)).shortest(edge.older, edge.read) else { continue };
            self.reasons(ways, &way, told);
            let text = self.way(edge.older, &way);
            let read = self.graph.op(edge.read);
            self.story.operations.push(read.index);
            self.story.operations.push(self.graph.op(edge.newer).index);
            let (older, newer) = (self.version(edge.older), self.version(edge.newer));
            let key = self.graph.registers.key_of(read);
            self.story.sentences.push(format!(
                "{text} That read knew of {older} and returned {newer}: {older} comes before {newer} in {key}."
            ));
        }
    }

    /// A cycle of ways and overwritings, from `older` of the first one on.
    pub(crate) fn contradiction(mut self, ways: &WaysBefore<'_>, start: u32, cycle: &[Step]) -> Story {
        let key = self.graph.registers.key_of(self.graph.op(start)).to_owned();
        let overwrites: Vec<Overwrite> = cycle
            .iter()
            .filter_map(|step| match step.because {
                Because::Overwrite(edge) => Some(edge),
                _ => None,
            })
            .collect();
        self.reasons(ways, cycle, &mut Vec::new());
        // What is not an overwriting leads from one to the next.
        let mut at = 0;
        while at < cycle.len() {
            let from = if at == 0 { start } else { cycle[at - 1].to };
            let run = cycle[at..].iter().take_while(|step| !matches!(step.because, Because::Overwrite(_))).count();
            if run > 0 {
                let text = self.way(from, &cycle[at..at + run]);
                self.story.sentences.push(text);
            }
            at += run.max(1);
        }
        let (last, first) = (overwrites.last(), overwrites.first());
        if let (Some(last), Some(first)) = (last, first) {
            let sentence = if overwrites.len() == 1 {
                let (older, newer) = (self.version(first.older), self.version(first.newer));
                format!("But {newer} comes before {older} by that: no order of the versions of {key} allows both.")
            } else {
                format!(
                    "So {} comes before itself: no order of the versions allows that.",
                    self.version(if last.newer == first.older { first.older } else { start })
                )
            };
            self.story.sentences.push(sentence);
        }
        self.story
    }
}
