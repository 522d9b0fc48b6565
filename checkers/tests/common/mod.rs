//! What the tests on random histories share: clients that do one thing after the other, and a history that a person can read.

use hearsay_checkers::{Event, EventType, Function, History, Operation, ProcessId};

/// Added to the client of a step after which the client is another session.
pub(crate) const SINGLE: u64 = 8;

/// What a client does next.
pub(crate) struct Step<'k> {
    /// The client; above [`SINGLE`] its session ends with this.
    pub(crate) client: u64,
    /// How long it does nothing before.
    pub(crate) pause: u64,
    /// How long the operation takes.
    pub(crate) length: u64,
    /// The operation.
    pub(crate) f: Function,
    /// The key.
    pub(crate) key: &'k str,
    /// What is written, or read.
    pub(crate) value: Option<u64>,
    /// How it ends.
    pub(crate) kind: EventType,
}

/// Clients, each with a clock and a session, and the events of what they did.
pub(crate) struct Clients {
    clocks: Vec<u64>,
    processes: Vec<u64>,
    events: Vec<(u64, Event)>,
}

impl Clients {
    pub(crate) fn new(clients: usize) -> Clients {
        Clients { clocks: vec![0; clients], processes: (0..clients as u64).collect(), events: Vec::new() }
    }

    pub(crate) fn take(&mut self, step: &Step<'_>) {
        let client = (step.client % SINGLE) as usize;
        let begin = self.clocks[client] + step.pause;
        let end = begin + step.length;
        self.clocks[client] = end;
        let event = |kind, time, value| Event {
            index: 0,
            time,
            kind,
            process: ProcessId(self.processes[client]),
            f: step.f,
            key: step.key.to_owned(),
            value,
            items: None,
            node: None,
            error: None,
        };
        let begun = event(EventType::Invoke, begin, step.value.filter(|_| step.f == Function::Write));
        let ended = event(step.kind, end, step.value);
        self.events.extend([(begin, begun), (end, ended)]);
        if step.kind == EventType::Info || step.client >= SINGLE {
            self.processes[client] += self.clocks.len() as u64;
        }
    }

    /// All events in order of time; those of one time as the steps were taken.
    pub(crate) fn events(self) -> Vec<Event> {
        let mut events = self.events;
        events.sort_by_key(|(time, _)| *time);
        events.into_iter().zip(0..).map(|((_, event), index)| Event { index, ..event }).collect()
    }
}

/// The history in the format of `dsl`, times in nanoseconds.
pub(crate) fn text(history: &History) -> String {
    let line = |op: &Operation| {
        let f = match op.f {
            Function::Read => "r",
            Function::Write => "w",
            Function::Delete => "d",
            other => unreachable!("{other:?} is of no register"),
        };
        let value = op.value.map_or("null".to_owned(), |value| value.to_string());
        let end = op.completed.map_or(String::new(), |end| end.to_string());
        let (process, key, began) = (op.process.0, &op.key, op.invoked);
        format!("p{process} {f} {key}={value} [{began}..{end}] {:?} # {}\n", op.outcome, op.index)
    };
    history.operations.iter().map(line).collect()
}
