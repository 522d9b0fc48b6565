//! Large histories: all checkers must stay near-linear. A quadratic step would need minutes here; how long they take is for
//! the benchmarks to say.

use hearsay_checkers::{
    Case, CheckOptions, Event, EventType, FinalEntry, FinalState, Function, History, Judgement, Operation, ProcessId,
    checkers, read_jsonl,
};

/// A small generator of its own: the tests need no more than a fair spread.
struct Spread(u64);

impl Spread {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Events of atomic registers: `clients` in turn, operations overlapping, a tenth of the changes deletes when asked for.
fn events(operations: u64, keys: u64, clients: u64, deletes: bool) -> (Vec<Event>, Vec<Option<u64>>) {
    let mut spread = Spread(7);
    let mut registers = vec![None; keys as usize];
    let mut open: Vec<Option<(u64, Function, Option<u64>)>> = vec![None; clients as usize];
    let mut events: Vec<Event> = Vec::new();
    let (mut begun, mut time) = (0, 0);
    while begun < operations || open.iter().any(Option::is_some) {
        time += 1 + spread.below(20_000);
        let client = spread.below(clients);
        let event = |kind, f, key: u64, value| Event {
            index: events.len() as u64,
            time,
            kind,
            process: ProcessId(client),
            f,
            key: format!("k{key}"),
            value,
            items: None,
            node: Some(format!("n{}", client % 5 + 1)),
            error: None,
        };
        let next = match open[client as usize].take() {
            None if begun == operations => continue,
            None => {
                begun += 1;
                let key = spread.below(keys);
                let f = match spread.below(20) {
                    0 if deletes => Function::Delete,
                    0..10 => Function::Write,
                    _ => Function::Read,
                };
                let value = (f == Function::Write).then_some(begun);
                open[client as usize] = Some((key, f, value));
                event(EventType::Invoke, f, key, value)
            }
            // Everything takes effect at its end.
            Some((key, Function::Read, _)) => event(EventType::Ok, Function::Read, key, registers[key as usize]),
            Some((key, f, value)) => {
                registers[key as usize] = value;
                event(EventType::Ok, f, key, value)
            }
        };
        events.push(next);
    }
    (events, registers)
}

fn stays_near_linear(operations: u64, keys: u64, clients: u64, deletes: bool) {
    let (events, registers) = events(operations, keys, clients, deletes);
    let mut text = Vec::new();
    events.iter().for_each(|event| event.write_json_line(&mut text));
    let history = read_jsonl(text.as_slice()).unwrap();
    assert_eq!(history, History::from_events(events).unwrap());
    let entries = registers.iter().zip(0..).flat_map(|(value, key)| {
        let entry = move |node: &str| FinalEntry {
            node: node.into(),
            key: format!("k{key}"),
            value: *value,
            stamp: 0,
            content: None,
        };
        ["n1", "n2", "n3"].map(entry)
    });
    let final_state = FinalState {
        replication: 3,
        converged_after: Some(1),
        deadline: 1,
        entries: entries.collect(),
        unreachable: Vec::new(),
        nodes: Vec::new(),
    };
    let mut case = Case { history, final_state: Some(final_state), ..Case::default() };
    for checker in checkers() {
        let verdict = (checker.check)(&case, &CheckOptions::default());
        // Models of other data types, and of what this history does not show, do not know.
        let known: &[Judgement] =
            if HOLD.contains(&checker.name) { &[Judgement::Holds] } else { &[Judgement::Holds, Judgement::Unknown] };
        assert!(known.contains(&verdict.judgement), "{verdict:#?}");
    }
    // Every hundredth read goes back far: all of them are found, and the explanation is still short.
    let mut older: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    let mut reads = 0;
    for operation in &mut case.history.operations {
        let first = |operation: &Operation| operation.value.filter(|_| operation.f == Function::Write);
        if let Some(value) = first(operation) {
            older.entry(operation.key.clone()).or_insert(value);
        } else if operation.f == Function::Read {
            reads += 1;
            if let (0, Some(value)) = (reads % 100, older.get(&operation.key)) {
                operation.value = Some(*value);
            }
        }
    }
    for name in ["monotonic-reads", "monotonic-quorum-reads", "linearizable"] {
        let verdict = (hearsay_checkers::find(name).unwrap().check)(&case, &CheckOptions::default());
        assert_eq!(verdict.judgement, Judgement::Violated);
        assert!(verdict.violations > reads / 200 && verdict.operations.len() <= 4, "{verdict:#?}");
    }
    // Without real time between writes only the reads of each session are left, and cycles are longer.
    let options = CheckOptions { real_time_writes: false, ..CheckOptions::default() };
    let verdict = (hearsay_checkers::find("monotonic-reads").unwrap().check)(&case, &options);
    assert_eq!(verdict.judgement, Judgement::Violated);
}

/// Models that a history of registers with one final state has the evidence for.
const HOLD: &[&str] = &[
    "monotonic-reads",
    "monotonic-quorum-reads",
    "read-your-writes",
    "monotonic-writes",
    "writes-follow-reads",
    "pram",
    "causal-convergence",
    "sequential",
    "regular",
    "safe",
    "linearizable",
    "convergence",
    "acknowledged-writes",
];

#[test]
fn one_key() {
    stays_near_linear(100_000, 1, 5, false);
}

#[test]
fn one_key_with_deletes() {
    stays_near_linear(100_000, 1, 5, true);
}

#[test]
fn a_hundred_keys() {
    stays_near_linear(200_000, 100, 20, false);
}
