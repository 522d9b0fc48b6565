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

/// What a minute of a cluster under faults looks like: of a hundred operations five never answer, each of which ends its
/// session, and a twentieth of the changes are deletes. `stale`: that read returns the version before.
fn under_faults(operations: u64, stale: Option<u64>) -> Case {
    let mut spread = Spread(5);
    let (keys, clients) = (420, 40);
    let mut versions: Vec<Vec<Option<u64>>> = vec![Vec::new(); keys];
    let mut processes: Vec<u64> = (0..clients).collect();
    let mut open: Vec<Option<(Function, usize, Option<u64>)>> = vec![None; clients as usize];
    let mut events: Vec<Event> = Vec::new();
    let (mut begun, mut reads) = (0, 0);
    while begun < operations || open.iter().any(Option::is_some) {
        let client = spread.below(clients) as usize;
        let (kind, (f, key, value)) = match open[client].take() {
            None if begun == operations => continue,
            None => {
                begun += 1;
                let f = match spread.below(40) {
                    0 => Function::Delete,
                    1..18 => Function::Write,
                    _ => Function::Read,
                };
                let key = spread.below(keys as u64) as usize;
                open[client] = Some((f, key, (f == Function::Write).then_some(begun)));
                (EventType::Invoke, open[client].unwrap())
            }
            Some((f, key, value)) if spread.below(100) < 5 => {
                if f != Function::Read && spread.below(2) == 0 {
                    versions[key].push(value);
                }
                (EventType::Info, (f, key, value))
            }
            Some((Function::Read, key, _)) => {
                let mut newest = versions[key].iter().rev().filter(|version| version.is_some());
                let older = newest.nth(1).copied().flatten().filter(|_| versions[key].last() != Some(&None));
                reads += u64::from(older.is_some());
                let is_stale = older.is_some() && stale == Some(reads);
                let read = if is_stale { older } else { versions[key].last().copied().flatten() };
                (EventType::Ok, (Function::Read, key, read))
            }
            Some((f, key, value)) => {
                versions[key].push(value);
                (EventType::Ok, (f, key, value))
            }
        };
        let (index, time) = (events.len() as u64, 1_000 * events.len() as u64);
        let (process, key) = (ProcessId(processes[client]), format!("k{key}"));
        events.push(Event { index, time, kind, process, f, key, value, items: None, node: None, error: None });
        if kind == EventType::Info {
            processes[client] += clients;
        }
    }
    Case { history: History::from_events(events).unwrap(), ..Case::default() }
}

#[test]
fn a_run_under_faults_with_a_thousand_sessions_is_judged_by_all_models_of_sessions() {
    let case = under_faults(28_000, None);
    let sessions: std::collections::BTreeSet<u64> = case.history.operations.iter().map(|op| op.process.0).collect();
    assert!(sessions.len() > 1_000, "{} sessions", sessions.len());
    for model in ["pram", "causal", "causal-convergence", "causal-memory", "monotonic-writes", "writes-follow-reads"] {
        let verdict = (hearsay_checkers::find(model).unwrap().check)(&case, &CheckOptions::default());
        assert_eq!(verdict.judgement, Judgement::Holds, "{model}: {:?}", verdict.explanation);
    }
    let stale = under_faults(28_000, Some(5_000));
    for model in ["linearizable", "monotonic-quorum-reads"] {
        let verdict = (hearsay_checkers::find(model).unwrap().check)(&stale, &CheckOptions::default());
        assert_eq!(verdict.judgement, Judgement::Violated, "{model}: {:?}", verdict.explanation);
    }
}

#[test]
fn verdicts_are_the_same_with_one_thread_and_with_many() {
    for stale in [None, Some(2_000)] {
        let case = under_faults(10_000, stale);
        let mut equal = case.clone();
        // Values of some keys are not unique, so that operations are searched, too.
        for operation in equal.history.operations.iter_mut().filter(|operation| operation.key.ends_with('7')) {
            operation.value = operation.value.map(|value| value % 7);
        }
        for (case, model) in
            [(&case, "linearizable"), (&equal, "linearizable"), (&case, "monotonic-reads"), (&case, "sequential")]
        {
            let of = |threads| {
                let options = CheckOptions { threads, ..CheckOptions::default() };
                (hearsay_checkers::find(model).unwrap().check)(case, &options)
            };
            let one = of(1);
            for threads in [2, 5, 64] {
                assert_eq!(format!("{one:?}"), format!("{:?}", of(threads)), "{model} with {threads} threads");
            }
        }
    }
}
