//! One sequential client as a state machine: planned operations in, events and requests out.
//!
//! ```text
//! idle --next--> Wait | Done | Start(call): busy
//! busy --complete(result)--> idle, with the completion to record
//! ```
//!
//! Invariants:
//! - One operation at a time; an operation that ended `info` retires the process number, the client goes on under the
//!   next one (its number plus the count of client slots), as in Jepsen.
//! - `fail` only for what certainly never takes effect: the request never left, or the node says so. Everything else
//!   that is no answer is `info`.
//! - What is overdue by more than the workload allows is skipped and counted, never squeezed in.

use std::collections::{BTreeMap, VecDeque};

use hearsay_checkers::{Event, EventType, Function, Items, ProcessId};
use hearsay_core::{
    ClientRequest, ClientResponse, Key, KeyRange, Level, NodeId, ReadOptions, Row, Value, WriteOptions,
};
use hearsay_workloads::{Action, DataKind};

use crate::plan::PlannedOperation;

use super::collections::{Collections, Content};
use super::values::{FOREIGN_VALUE, decode_value, encode_value_of};

/// What all clients of a run have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientSettings {
    /// What is kept under the keys.
    pub kind: DataKind,
    /// Whether concurrent writes stay as siblings.
    pub causal: bool,
    /// Least bytes of a register's value.
    pub value_bytes: usize,
    /// Level of reads.
    pub read_level: Level,
    /// Level of writes and deletes.
    pub write_level: Level,
    /// So many of a read's replicas are the key's own.
    pub read_primaries: Option<Level>,
    /// So many of a write's.
    pub write_primaries: Option<Level>,
    /// An operation that is overdue by more is skipped, milliseconds.
    pub overdue_skip_ms: u64,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The request certainly never reached the node.
    NotSent(String),
    /// It may have, and may still take effect.
    Unknown(String),
}

/// What a client does next.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "made and taken at once, never kept")]
pub enum Next {
    /// Nothing before this time, nanoseconds since the start of the run.
    Wait {
        /// When to ask again.
        until: u64,
    },
    /// Record the invocation, then send the request.
    Start(Call),
    /// Nothing any more.
    Done,
}

/// An operation to carry out.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// To record before anything is sent. Index and time are the recorder's.
    pub invocation: Event,
    /// Whom to ask.
    pub node: NodeId,
    /// What to ask.
    pub request: ClientRequest,
}

/// A sequential client.
#[derive(Debug)]
pub struct ClientProcess {
    slot: u64,
    slots: u64,
    retired: u64,
    settings: ClientSettings,
    operations: VecDeque<PlannedOperation>,
    open: Option<Event>,
    skipped: u64,
    /// What this client has last seen of each key, where the cluster gives contexts: its next write replaces that.
    contexts: BTreeMap<String, Vec<u8>>,
    /// The same of sets and counters.
    collections: Collections,
}

impl ClientProcess {
    /// The client of `slot` (of `slots` in the run) with its operations by time.
    pub fn new(
        slot: u64,
        slots: u64,
        settings: ClientSettings,
        operations: VecDeque<PlannedOperation>,
    ) -> ClientProcess {
        assert!(slot < slots, "client slot {slot} of {slots}");
        assert!(operations.iter().is_sorted_by_key(|operation| operation.at_ms), "operations are by time");
        ClientProcess {
            slot,
            slots,
            retired: 0,
            settings,
            operations,
            open: None,
            skipped: 0,
            contexts: BTreeMap::new(),
            collections: Collections::default(),
        }
    }

    /// What to do at `now`, nanoseconds since the start of the run.
    pub fn next(&mut self, now: u64) -> Next {
        assert!(self.open.is_none(), "a client starts no second operation while one is open");
        loop {
            let Some(first) = self.operations.front() else { return Next::Done };
            let due = first.at_ms.saturating_mul(1_000_000);
            if due > now {
                return Next::Wait { until: due };
            }
            let operation = self.operations.pop_front().expect("just seen");
            if (now - due) / 1_000_000 > self.settings.overdue_skip_ms {
                self.skipped += 1;
                continue;
            }
            return Next::Start(self.start(operation));
        }
    }

    fn start(&mut self, operation: PlannedOperation) -> Call {
        let ClientSettings { read_level, write_level, kind, causal, value_bytes, .. } = self.settings;
        let ClientSettings { read_primaries, write_primaries, .. } = self.settings;
        let options = WriteOptions { level: write_level, primaries: write_primaries, durable: None };
        let bytes = |key: &str| Key(key.as_bytes().to_vec());
        let get = |key: &str| match read_primaries {
            None => ClientRequest::Get { key: bytes(key), level: read_level },
            primaries => {
                let options = ReadOptions { level: read_level, primaries };
                ClientRequest::GetWith { key: bytes(key), options }
            }
        };
        let is_update = matches!(operation.action, Action::Update { .. });
        let mut items = None;
        let (f, key, value, request) = match operation.action {
            Action::Read { key } => {
                let request = get(&key);
                (Function::Read, key, None, request)
            }
            Action::Write { key, value } => {
                let (of, written, level) = (bytes(&key), encode_value_of(value, value_bytes), write_level);
                let request = match self.contexts.remove(&key) {
                    None if write_primaries.is_some() => {
                        ClientRequest::PutWith { key: of, value: Some(written), options }
                    }
                    None => ClientRequest::Put { key: of, value: written, level },
                    Some(context) => ClientRequest::Write { key: of, value: Some(written), level, context },
                };
                (Function::Write, key, Some(value), request)
            }
            Action::Delete { key } => {
                let (of, level) = (bytes(&key), write_level);
                let request = match self.contexts.remove(&key) {
                    None if write_primaries.is_some() => ClientRequest::PutWith { key: of, value: None, options },
                    None => ClientRequest::Delete { key: of, level },
                    Some(context) => ClientRequest::Write { key: of, value: None, level, context },
                };
                (Function::Delete, key, None, request)
            }
            Action::Add { key, value } | Action::Update { key, value } => {
                let what = (key.as_str(), value, is_update);
                let request = self.collections.add((kind, causal), what, self.slot, write_level);
                (Function::Add, key, Some(value), request)
            }
            Action::Remove { key } => match self.collections.remove(&key, write_level) {
                Some((request, elements)) => {
                    items = Some(Items::Numbers(elements));
                    (Function::Remove, key, None, request)
                }
                None => {
                    let request = get(&key);
                    (Function::Read, key, None, request)
                }
            },
            Action::Scan { key, limit } => {
                let rows = u32::try_from(limit).unwrap_or(u32::MAX);
                let range = KeyRange::prefix(key.as_bytes());
                (Function::Scan, key, Some(limit), ClientRequest::Scan { range, limit: rows, level: read_level })
            }
        };
        let invocation = Event {
            index: 0,
            time: 0,
            kind: EventType::Invoke,
            process: ProcessId(self.slot + self.slots * self.retired),
            f,
            key,
            value,
            items,
            node: Some(operation.node.to_string()),
            error: None,
        };
        self.open = Some(invocation.clone());
        Call { invocation, node: operation.node, request }
    }

    /// Ends the open operation; the event is to be recorded.
    pub fn complete(&mut self, result: Result<ClientResponse, CallError>) -> Event {
        let mut event = self.open.take().expect("only an open operation completes");
        let is_register = self.settings.kind == DataKind::Register;
        let (kind, value, error) = match (event.f, result) {
            (Function::Read, Ok(ClientResponse::Siblings { values, context })) if is_register => {
                self.contexts.insert(event.key.clone(), context);
                self.register(&values)
            }
            (Function::Read, Ok(ClientResponse::Read { value, .. })) if is_register => self.register(value.as_slice()),
            (Function::Read, Ok(ClientResponse::Siblings { values, context })) => {
                self.collection(&mut event, &values, Some(context))
            }
            (Function::Read, Ok(ClientResponse::Read { value, .. })) => {
                self.collection(&mut event, value.as_slice(), None)
            }
            (Function::Scan, Ok(ClientResponse::Rows { rows, next })) => {
                // Fewer rows than the limit say that there are no more; a page that was cut for another reason says nothing.
                if next.is_some() && event.value.is_some_and(|limit| (rows.len() as u64) < limit) {
                    let cut = format!("the page was cut after {} rows", rows.len());
                    (EventType::Fail, event.value, Some(cut))
                } else {
                    let (rows, error) = self.rows(rows);
                    event.items = Some(Items::Rows(rows));
                    (EventType::Ok, None, error)
                }
            }
            (f, Ok(ClientResponse::Written { .. })) if !f.is_read() => (EventType::Ok, event.value, None),
            (_, Ok(ClientResponse::Failed(error))) => {
                let kind = if error.kind.is_definite() { EventType::Fail } else { EventType::Info };
                (kind, event.value, Some(error.message))
            }
            (_, Ok(_)) => (EventType::Info, event.value, Some("the node gave another request's answer".to_owned())),
            (_, Err(CallError::NotSent(reason))) => (EventType::Fail, event.value, Some(reason)),
            (_, Err(CallError::Unknown(reason))) => (EventType::Info, event.value, Some(reason)),
        };
        if kind == EventType::Info {
            self.retired += 1;
        }
        if let (EventType::Fail, Function::Add, Some(amount)) = (kind, event.f, event.value) {
            self.collections.failed(&event.key, amount);
        }
        event.kind = kind;
        event.value = value;
        event.error = error;
        event
    }

    /// What a read of a register returned: of siblings the one that was drawn last stands for all, and the event says so.
    fn register(&self, values: &[Value]) -> (EventType, Option<u64>, Option<String>) {
        match values.iter().map(|value| self.number(value)).collect::<Result<Vec<u64>, String>>() {
            Ok(numbers) if numbers.len() > 1 => {
                let note = Some(format!("{} siblings: {numbers:?}", numbers.len()));
                (EventType::Ok, numbers.into_iter().max(), note)
            }
            Ok(numbers) => (EventType::Ok, numbers.first().copied(), None),
            Err(corrupt) => (EventType::Ok, Some(FOREIGN_VALUE), Some(corrupt)),
        }
    }

    /// The number in a register's value.
    fn number(&self, value: &Value) -> Result<u64, String> {
        let (bytes, least) = (value.0.len(), self.settings.value_bytes);
        if bytes < least {
            return Err(format!("the node answered with {bytes} bytes, and no client wrote less than {least}"));
        }
        decode_value(value)
    }

    /// What a read of a set or counter returned.
    fn collection(
        &mut self,
        event: &mut Event,
        values: &[Value],
        context: Option<Vec<u8>>,
    ) -> (EventType, Option<u64>, Option<String>) {
        let (content, error) = Content::decode(self.settings.kind, self.settings.causal, values);
        let value = match self.settings.kind {
            DataKind::Counter => Some(content.sum()),
            DataKind::Set | DataKind::Register => {
                event.items = Some(Items::Numbers(content.elements()));
                None
            }
        };
        if error.is_none() {
            self.collections.saw(&event.key, content, context);
        }
        (EventType::Ok, value, error)
    }

    /// The rows of a scan.
    fn rows(&self, rows: Vec<Row>) -> (Vec<(String, u64)>, Option<String>) {
        let mut error = None;
        let row = |row: Row| {
            let number = self.number(&row.value).unwrap_or_else(|corrupt| {
                error = Some(corrupt);
                FOREIGN_VALUE
            });
            (String::from_utf8_lossy(&row.key.0).into_owned(), number)
        };
        let rows = rows.into_iter().map(row).collect();
        (rows, error)
    }

    /// Takes the open operation back. Only before anything of it was recorded or sent.
    pub fn withdraw(&mut self) {
        assert!(self.open.take().is_some(), "only an open operation can be withdrawn");
    }

    /// Operations that were not started because they were overdue.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Operations that are still to come.
    pub fn remaining(&self) -> usize {
        self.operations.len()
    }
}

#[cfg(test)]
mod tests {
    use hearsay_core::{ClientError, ClientErrorKind, WallTime};

    use super::super::values::encode_value;
    use super::*;

    const SETTINGS: ClientSettings = ClientSettings {
        kind: DataKind::Register,
        causal: false,
        value_bytes: 0,
        read_level: Level::Quorum,
        write_level: Level::All,
        read_primaries: None,
        write_primaries: None,
        overdue_skip_ms: 100,
    };

    #[test]
    fn who_asks_for_the_keys_own_replicas_says_so() {
        let settings =
            ClientSettings { read_primaries: Some(Level::Two), write_primaries: Some(Level::One), ..SETTINGS };
        let key = || "k7".to_owned();
        let actions =
            [Action::Read { key: key() }, Action::Write { key: key(), value: 3 }, Action::Delete { key: key() }];
        let operations = actions.into_iter().map(|action| operation(0, action)).collect();
        let mut client = ClientProcess::new(2, 5, settings, operations);
        let mut asked = Vec::new();
        while let Next::Start(call) = client.next(0) {
            asked.push(match call.request {
                ClientRequest::GetWith { options, .. } => (options.level, options.primaries, false),
                ClientRequest::PutWith { options, value, .. } => (options.level, options.primaries, value.is_some()),
                other => panic!("{other:?}"),
            });
            client.complete(Err(CallError::NotSent("it is only asked".to_owned())));
        }
        let (read, write) = ((Level::Quorum, Some(Level::Two)), (Level::All, Some(Level::One)));
        assert_eq!(asked, [(read.0, read.1, false), (write.0, write.1, true), (write.0, write.1, false)]);
    }

    #[test]
    fn a_write_carries_the_context_of_the_clients_last_read_of_the_key() {
        let (read, write) = (
            operation(0, Action::Read { key: "k7".to_owned() }),
            operation(1, Action::Write { key: "k7".to_owned(), value: 3 }),
        );
        let again = PlannedOperation { at_ms: 2, ..write.clone() };
        let mut client = ClientProcess::new(2, 5, SETTINGS, VecDeque::from([read, write, again]));
        let started = |next| match next {
            Next::Start(call) => call.request,
            other => panic!("{other:?}"),
        };
        started(client.next(0));
        let values = vec![encode_value(8), encode_value(9)];
        let event = client.complete(Ok(ClientResponse::Siblings { values, context: vec![5] }));
        assert_eq!((event.value, event.error.as_deref()), (Some(9), Some("2 siblings: [8, 9]")));
        let request = started(client.next(1_000_000));
        assert!(matches!(&request, ClientRequest::Write { context, .. } if *context == [5]), "{request:?}");
        client.complete(Ok(ClientResponse::Written { stamp: WallTime(0) }));
        let request = started(client.next(2_000_000));
        assert!(matches!(request, ClientRequest::Put { .. }), "a context is used once: {request:?}");
    }

    #[test]
    fn a_set_is_read_added_to_and_removed_from_with_its_elements_recorded() {
        let settings = ClientSettings { kind: DataKind::Set, causal: true, ..SETTINGS };
        let key = || "k7".to_owned();
        let actions = [
            Action::Remove { key: key() },
            Action::Update { key: key(), value: 9 },
            Action::Read { key: key() },
            Action::Remove { key: key() },
        ];
        let operations = actions.into_iter().map(|action| operation(0, action)).collect();
        let mut client = ClientProcess::new(2, 5, settings, operations);
        let siblings = |texts: &[&str]| {
            let values = texts.iter().map(|text| Value(text.as_bytes().to_vec())).collect();
            Ok(ClientResponse::Siblings { values, context: vec![5] })
        };
        let first = start(&mut client, 0);
        assert_eq!(first.invocation.f, Function::Read, "nothing was seen that could be removed");
        assert_eq!(client.complete(siblings(&["3,5", "4"])).items, Some(Items::Numbers(vec![3, 4, 5])));
        let add = start(&mut client, 0);
        assert_eq!((add.invocation.f, add.invocation.value), (Function::Add, Some(9)));
        assert!(matches!(&add.request, ClientRequest::Write { value: Some(value), .. } if value.0 == b"3,4,5,9"));
        let added = client.complete(Ok(ClientResponse::Written { stamp: WallTime(0) }));
        assert_eq!((added.kind, added.value, added.items), (EventType::Ok, Some(9), None));
        start(&mut client, 0);
        client.complete(siblings(&["9"]));
        let remove = start(&mut client, 0);
        assert_eq!(
            (remove.invocation.f, remove.invocation.items.clone()),
            (Function::Remove, Some(Items::Numbers(vec![9])))
        );
        assert!(matches!(&remove.request, ClientRequest::Write { value: None, context, .. } if *context == [5]));
        let removed = client.complete(Ok(ClientResponse::Written { stamp: WallTime(0) }));
        assert_eq!((removed.kind, removed.items), (EventType::Ok, Some(Items::Numbers(vec![9]))));
    }

    #[test]
    fn a_scan_is_recorded_with_its_rows_and_a_page_that_was_cut_fails() {
        let scan = Action::Scan { key: "g1/".to_owned(), limit: 3 };
        let mut client = client([operation(0, scan.clone()), operation(0, scan)]);
        let row = |key: &str, value: &str| Row {
            key: Key(key.as_bytes().to_vec()),
            value: Value(value.as_bytes().to_vec()),
            stamp: WallTime(1),
        };
        let call = start(&mut client, 0);
        assert_eq!((call.invocation.value, call.invocation.key.as_str()), (Some(3), "g1/"));
        let rows = vec![row("g1/k1", "7"), row("g1/k2", "x")];
        let event = client.complete(Ok(ClientResponse::Rows { rows: rows.clone(), next: None }));
        let expected = vec![("g1/k1".to_owned(), 7), ("g1/k2".to_owned(), FOREIGN_VALUE)];
        assert_eq!((event.kind, event.items), (EventType::Ok, Some(Items::Rows(expected))));
        assert!(event.error.is_some_and(|error| error.contains("no client wrote")));
        start(&mut client, 0);
        let next = Some(hearsay_core::KeyBound(b"g1/k3".to_vec()));
        let event = client.complete(Ok(ClientResponse::Rows { rows, next }));
        assert_eq!((event.kind, event.items), (EventType::Fail, None));
    }

    #[test]
    fn a_value_that_is_too_short_is_foreign() {
        let settings = ClientSettings { value_bytes: 10, ..SETTINGS };
        let mut client = ClientProcess::new(2, 5, settings, VecDeque::from([write(0, 311), read(0), read(0)]));
        let call = start(&mut client, 0);
        assert!(matches!(call.request, ClientRequest::Put { value, .. } if value.0 == b"311|311|31"));
        client.complete(Ok(ClientResponse::Written { stamp: WallTime(0) }));
        for (stored, expected) in [("311|311|31", 311), ("311|311|3", FOREIGN_VALUE)] {
            start(&mut client, 0);
            let value = Some(Value(stored.as_bytes().to_vec()));
            assert_eq!(client.complete(Ok(ClientResponse::Read { value, stamp: None })).value, Some(expected));
        }
    }

    fn operation(at_ms: u64, action: Action) -> PlannedOperation {
        PlannedOperation { at_ms, client: 2, node: NodeId(3), action }
    }
    fn write(at_ms: u64, value: u64) -> PlannedOperation {
        operation(at_ms, Action::Write { key: "k7".to_owned(), value })
    }
    fn read(at_ms: u64) -> PlannedOperation {
        operation(at_ms, Action::Read { key: "k7".to_owned() })
    }
    fn client(operations: impl IntoIterator<Item = PlannedOperation>) -> ClientProcess {
        ClientProcess::new(2, 10, SETTINGS, operations.into_iter().collect())
    }
    fn start(client: &mut ClientProcess, now: u64) -> Call {
        match client.next(now) {
            Next::Start(call) => call,
            other => panic!("expected a start, got {other:?}"),
        }
    }
    fn failed(kind: ClientErrorKind) -> Result<ClientResponse, CallError> {
        Ok(ClientResponse::Failed(ClientError { kind, message: "why".to_owned() }))
    }

    #[test]
    fn waits_until_due_then_invokes_with_the_level_of_its_kind() {
        let mut client = client([write(5, 311), read(6), operation(7, Action::Delete { key: "k7".to_owned() })]);
        assert_eq!(client.next(4_999_999), Next::Wait { until: 5_000_000 });
        let call = start(&mut client, 5_000_000);
        assert_eq!(call.node, NodeId(3));
        let key = || Key(b"k7".to_vec());
        assert_eq!(call.request, ClientRequest::Put { key: key(), value: value_311(), level: Level::All });
        assert_eq!((call.invocation.kind, call.invocation.f), (EventType::Invoke, Function::Write));
        assert_eq!((call.invocation.value, call.invocation.process), (Some(311), ProcessId(2)));
        assert_eq!(call.invocation.node.as_deref(), Some("n3"));
        let event = client.complete(Ok(ClientResponse::Written { stamp: WallTime(1) }));
        assert_eq!((event.kind, event.value), (EventType::Ok, Some(311)));

        let call = start(&mut client, 6_000_000);
        assert_eq!(call.request, ClientRequest::Get { key: key(), level: Level::Quorum });
        let event = client.complete(Ok(ClientResponse::Read { value: Some(value_311()), stamp: None }));
        assert_eq!((event.kind, event.value, event.process), (EventType::Ok, Some(311), ProcessId(2)));

        let call = start(&mut client, 7_000_000);
        assert_eq!(call.request, ClientRequest::Delete { key: key(), level: Level::All });
        client.complete(Ok(ClientResponse::Written { stamp: WallTime(2) }));
        assert_eq!(client.next(8_000_000), Next::Done);
    }

    fn value_311() -> hearsay_core::Value {
        hearsay_core::Value(b"311".to_vec())
    }

    #[test]
    fn each_way_to_end_is_recorded_as_what_is_known() {
        use EventType::{Fail, Info};
        let cases = [
            (failed(ClientErrorKind::Refused), Fail),
            (failed(ClientErrorKind::Unavailable), Fail),
            (failed(ClientErrorKind::Overloaded), Fail),
            (failed(ClientErrorKind::Timeout), Info),
            (Err(CallError::NotSent("why".to_owned())), Fail),
            (Err(CallError::Unknown("why".to_owned())), Info),
            (Ok(ClientResponse::Read { value: None, stamp: None }), Info),
        ];
        for (result, kind) in cases {
            let mut client = client([write(0, 1), write(0, 2)]);
            start(&mut client, 0);
            let event = client.complete(result.clone());
            assert_eq!(event.kind, kind, "{result:?}");
            assert_eq!(event.value, Some(1), "a write keeps its value");
            assert!(event.error.is_some(), "{result:?} has no reason");
            assert_eq!(event.process, ProcessId(2), "the completion belongs to the process that invoked");
            let next = start(&mut client, 0).invocation.process;
            assert_eq!(next, ProcessId(if kind == Info { 12 } else { 2 }), "{result:?}");
        }
    }

    #[test]
    fn corrupt_bytes_are_a_value_that_nobody_wrote() {
        let mut client = client([read(0)]);
        start(&mut client, 0);
        let value = Some(hearsay_core::Value(b"garbage".to_vec()));
        let event = client.complete(Ok(ClientResponse::Read { value, stamp: None }));
        assert_eq!((event.kind, event.value), (EventType::Ok, Some(FOREIGN_VALUE)));
        assert!(event.error.unwrap().contains("garbage"));
    }

    #[test]
    fn the_overdue_is_skipped_and_counted() {
        let mut client = client([write(0, 1), write(10, 2), write(100, 3), write(900, 4)]);
        // 110 ms and 101 ms overdue are too much, 11 ms is not.
        let call = start(&mut client, 111_000_000);
        assert_eq!(call.invocation.value, Some(3));
        assert_eq!((client.skipped(), client.remaining()), (2, 1));
    }

    #[test]
    #[should_panic(expected = "while one is open")]
    fn a_client_is_sequential() {
        let mut client = client([write(0, 1), write(0, 2)]);
        start(&mut client, 0);
        client.next(0);
    }
}
