//! The models of data types against their definitions, written down naively, on random small recordings; and what breaks
//! when a recording that holds is changed.

use std::collections::{BTreeMap, BTreeSet};

use hearsay_checkers::record::{Datum, Process, Record, RecordedOperation, Recording};
use hearsay_checkers::{Case, CheckOptions, EventType, Judgement, Outcome, Verdict, judge};
use proptest::prelude::*;

/// One operation on its way: function, argument, result, outcome.
#[derive(Clone, Debug)]
struct Planned {
    f: &'static str,
    argument: Datum,
    result: Datum,
    kind: Option<EventType>,
}

/// A recording in which the operations of a few processes overlap as `schedule` says: each number picks a process, whose
/// open operation ends or whose next begins.
fn recording(plans: Vec<Vec<Planned>>, schedule: &[prop::sample::Index]) -> Recording {
    let mut records = Vec::new();
    let mut next = vec![(0_usize, false); plans.len()];
    for pick in schedule {
        let ready: Vec<usize> = (0..plans.len()).filter(|process| next[*process].0 < plans[*process].len()).collect();
        if ready.is_empty() {
            break;
        }
        let process = ready[pick.index(ready.len())];
        let (at, open) = &mut next[process];
        let plan = &plans[process][*at];
        let who = Process::Client(process as u64);
        let mut record = match (*open, plan.kind) {
            (false, _) => Record::new(EventType::Invoke, who, plan.f, plan.argument.clone()),
            (true, Some(EventType::Ok)) => Record::new(EventType::Ok, who, plan.f, plan.result.clone()),
            (true, kind) => Record::new(kind.unwrap_or(EventType::Info), who, plan.f, plan.argument.clone()),
        };
        *at += usize::from(*open);
        *open = !*open;
        record.index = records.len() as u64;
        record.time = Some(records.len() as u64 * 1_000_000);
        records.push(record);
    }
    Recording { records, ..Recording::default() }
}

fn kind() -> impl Strategy<Value = Option<EventType>> {
    prop_oneof![
        6 => Just(Some(EventType::Ok)),
        1 => Just(Some(EventType::Fail)),
        1 => Just(Some(EventType::Info)),
    ]
}

fn recordings(operation: impl Strategy<Value = Planned> + 'static) -> impl Strategy<Value = Recording> {
    let plans = proptest::collection::vec(proptest::collection::vec(operation, 0..6), 1..4);
    let schedule = proptest::collection::vec(any::<prop::sample::Index>(), 0..36);
    (plans, schedule).prop_map(|(plans, schedule)| recording(plans, &schedule))
}

fn planned(f: &'static str, argument: Datum, result: Datum, kind: Option<EventType>) -> Planned {
    Planned { f, argument, result, kind }
}

fn verdict(recording: &Recording, model: &str, options: &CheckOptions) -> Verdict {
    let case = Case { recording: Some(recording.clone()), ..Case::default() };
    let verdict = judge(&case, &[model], options).unwrap().remove(0);
    let of_kinds: u64 = verdict.kinds.iter().map(|kind| kind.count).sum();
    assert_eq!(of_kinds, verdict.violations, "{verdict:?}");
    assert_eq!(verdict.judgement == Judgement::Violated, verdict.violations > 0, "{verdict:?}");
    assert!(!verdict.explanation.is_empty(), "{verdict:?}");
    verdict
}

fn said(recording: &Recording, model: &str) -> Judgement {
    verdict(recording, model, &CheckOptions::default()).judgement
}

fn all(recording: &Recording) -> Vec<RecordedOperation<'_>> {
    recording.operations().unwrap().all
}

fn judgement(broken: bool, unknown: bool) -> Judgement {
    match (broken, unknown) {
        (true, _) => Judgement::Violated,
        (_, true) => Judgement::Unknown,
        _ => Judgement::Holds,
    }
}

fn of<'o, 'r>(
    operations: &'o [RecordedOperation<'r>],
    f: &'static str,
) -> impl Iterator<Item = &'o RecordedOperation<'r>> {
    operations.iter().filter(move |operation| operation.f() == f)
}

fn set_operation() -> impl Strategy<Value = Planned> {
    let elements = proptest::collection::vec(0_i64..5, 0..5);
    prop_oneof![
        (0_i64..4, kind()).prop_map(|(e, kind)| planned("add", Datum::Int(e), Datum::Int(e), kind)),
        (elements, kind()).prop_map(|(items, kind)| planned("read", Datum::Nil, Datum::numbers(items), kind)),
    ]
}

fn naive_set(recording: &Recording) -> Judgement {
    let operations = all(recording);
    let last = of(&operations, "read").filter(|read| read.is_ok()).max_by_key(|read| read.ended);
    let Some(last) = last else { return Judgement::Unknown };
    let found: BTreeSet<&Datum> = last.value().items().unwrap().iter().collect();
    let before = |add: &&RecordedOperation<'_>| add.is_ok() && add.ended.unwrap() < last.began;
    let lost = of(&operations, "add").filter(before).any(|add| !found.contains(add.argument()));
    let unexpected = found.iter().any(|element| of(&operations, "add").all(|add| add.argument() != *element));
    judgement(lost || unexpected, of(&operations, "add").filter(before).count() == 0)
}

/// By the definition of each element's life, over all pairs of reads and elements.
fn naive_set_full(recording: &Recording, linearizable: bool) -> Judgement {
    let operations = all(recording);
    let reads: Vec<_> = of(&operations, "read").filter(|read| read.is_ok()).collect();
    let holds = |read: &RecordedOperation<'_>, element: &Datum| read.value().items().unwrap().contains(element);
    let elements: BTreeSet<&Datum> = of(&operations, "add").map(|add| add.argument()).collect();
    let (mut broken, mut stable) = (false, 0);
    for element in &elements {
        let adds = of(&operations, "add").filter(|add| add.argument() == *element && add.is_ok());
        let seen = reads.iter().copied().filter(|read| holds(read, element));
        let known = adds.chain(seen).filter_map(|operation| operation.ended).min();
        let present = reads.iter().filter(|read| holds(read, element)).map(|read| read.began).max();
        let absent = reads.iter().filter(|read| !holds(read, element)).map(|read| read.began).max();
        let lacked_though_known = known.is_some() && absent > known;
        if present.is_some() && present > absent {
            stable += 1;
            broken |= linearizable && lacked_though_known;
        } else {
            broken |= lacked_though_known;
        }
    }
    for read in &reads {
        let items = read.value().items().unwrap();
        let added: Vec<&Datum> = items.iter().filter(|item| elements.contains(item)).collect();
        broken |= added.len() < items.len();
        broken |= added.iter().collect::<BTreeSet<_>>().len() < added.len();
    }
    judgement(broken, stable == 0)
}

fn counter_operation() -> impl Strategy<Value = Planned> {
    prop_oneof![
        (-2_i64..4, kind()).prop_map(|(n, kind)| planned("add", Datum::Int(n), Datum::Int(n), kind)),
        (-1_i64..6, kind()).prop_map(|(n, kind)| planned("read", Datum::Nil, Datum::Int(n), kind)),
    ]
}

/// Bounds of each read from scratch.
fn naive_counter(recording: &Recording) -> Judgement {
    let operations = all(recording);
    let mut broken = false;
    for read in of(&operations, "read").filter(|read| read.is_ok()) {
        let sum = |counts: &dyn Fn(&RecordedOperation<'_>, i64) -> bool| -> i64 {
            let adds = of(&operations, "add").filter(|add| add.outcome != Outcome::Fail);
            let amounts = adds.map(|add| (add, add.argument().as_int().unwrap()));
            amounts.filter(|(add, amount)| counts(add, *amount)).map(|(_, amount)| amount).sum()
        };
        let sure = |add: &RecordedOperation<'_>| add.is_ok() && add.ended < Some(read.began);
        let perhaps = |add: &RecordedOperation<'_>| Some(add.began) < read.ended;
        let lower = sum(&|add, amount| if amount > 0 { sure(add) } else { perhaps(add) });
        let upper = sum(&|add, amount| if amount > 0 { perhaps(add) } else { sure(add) });
        broken |= !(lower..=upper).contains(&read.value().as_int().unwrap());
    }
    judgement(broken, !operations.iter().any(RecordedOperation::is_ok))
}

fn queue_operation() -> impl Strategy<Value = Planned> {
    let elements = proptest::collection::vec(0_i64..4, 0..3);
    prop_oneof![
        3 => (0_i64..4, kind()).prop_map(|(e, kind)| planned("enqueue", Datum::Int(e), Datum::Int(e), kind)),
        3 => (0_i64..4, kind()).prop_map(|(e, kind)| planned("dequeue", Datum::Nil, Datum::Int(e), kind)),
        1 => (elements, kind()).prop_map(|(items, kind)| planned("drain", Datum::Nil, Datum::numbers(items), kind)),
    ]
}

/// Elements that an operation took, and the position at which it had.
fn taken(operations: &[RecordedOperation<'_>]) -> Vec<(u32, Datum)> {
    let mut taken = Vec::new();
    for operation in operations.iter().filter(|operation| operation.is_ok()) {
        match operation.f() {
            "dequeue" => taken.push((operation.ended.unwrap(), operation.value().clone())),
            "drain" => {
                let items = operation.value().items().unwrap();
                taken.extend(items.iter().map(|item| (operation.ended.unwrap(), item.clone())));
            }
            _ => {}
        }
    }
    taken
}

/// At no moment has more been taken than was begun to be put in.
fn naive_queue(recording: &Recording) -> Judgement {
    let operations = all(recording);
    let taken = taken(&operations);
    let broken = taken.iter().any(|(at, element)| {
        let out = taken.iter().filter(|(when, other)| when <= at && other == element).count();
        let enqueues = of(&operations, "enqueue").filter(|enqueue| enqueue.outcome != Outcome::Fail);
        out > enqueues.filter(|enqueue| enqueue.began < *at && enqueue.argument() == element).count()
    });
    judgement(broken, taken.is_empty())
}

fn naive_total_queue(recording: &Recording) -> Judgement {
    let operations = all(recording);
    let taken: Vec<Datum> = taken(&operations).into_iter().map(|(_, element)| element).collect();
    let mut left = taken.clone();
    let mut lost = 0;
    for enqueue in of(&operations, "enqueue").filter(|enqueue| enqueue.is_ok()) {
        match left.iter().position(|element| element == enqueue.argument()) {
            Some(at) => drop(left.swap_remove(at)),
            None => lost += 1,
        }
    }
    let unexpected = taken.iter().any(|element| of(&operations, "enqueue").all(|other| other.argument() != element));
    let open = |f| of(&operations, f).filter(|operation| operation.outcome == Outcome::Info).count();
    let surely_lost = lost > open("dequeue") && open("drain") == 0;
    let acknowledged = of(&operations, "enqueue").any(RecordedOperation::is_ok);
    judgement(surely_lost || unexpected, lost > 0 || !acknowledged || taken.is_empty())
}

fn id_operation() -> impl Strategy<Value = Planned> {
    (0_i64..12, kind()).prop_map(|(id, kind)| planned("generate", Datum::Nil, Datum::Int(id), kind))
}

fn naive_unique_ids(recording: &Recording) -> Judgement {
    let operations = all(recording);
    let ids: Vec<&Datum> = operations.iter().filter_map(RecordedOperation::result).collect();
    let twice = (1..ids.len()).any(|at| ids[..at].contains(&ids[at]));
    judgement(twice, ids.len() < 2)
}

fn fork_operation() -> impl Strategy<Value = Planned> {
    let read = |key: i64, value: Datum| Datum::List(vec![Datum::keyword("r"), Datum::Int(key), value]);
    let value = || prop_oneof![Just(Datum::Nil), Just(Datum::Int(1))];
    (0_i64..2, value(), value(), value(), kind()).prop_map(move |(group, a, b, c, kind)| {
        let keys = [group * 3, group * 3 + 1, group * 3 + 2];
        let asked = keys.map(|key| read(key, Datum::Nil));
        let saw = [read(keys[2], c), read(keys[0], a), read(keys[1], b)];
        planned("txn", Datum::List(asked.to_vec()), Datum::List(saw.to_vec()), kind)
    })
}

/// Every two reads of a group.
fn naive_long_fork(recording: &Recording) -> Judgement {
    let operations = all(recording);
    let mut reads: Vec<BTreeMap<i64, bool>> = Vec::new();
    for value in operations.iter().filter_map(RecordedOperation::result) {
        let saw = |micro: &Datum| {
            let [_, key, value] = micro.as_list().unwrap() else { panic!("{micro}") };
            (key.as_int().unwrap(), !value.is_nil())
        };
        reads.push(value.as_list().unwrap().iter().map(saw).collect());
    }
    let (mut broken, mut pairs) = (false, 0);
    for (at, a) in reads.iter().enumerate() {
        for b in reads[..at].iter().filter(|b| b.keys().eq(a.keys())) {
            pairs += 1;
            let more = |x: &BTreeMap<i64, bool>, y: &BTreeMap<i64, bool>| x.iter().any(|(key, saw)| *saw && !y[key]);
            broken |= more(a, b) && more(b, a);
        }
    }
    judgement(broken, pairs == 0)
}

fn bank_operation() -> impl Strategy<Value = Planned> {
    let balances = proptest::collection::btree_map(0_i64..3, prop_oneof![Just(None), (-1_i64..4).prop_map(Some)], 1..4);
    prop_oneof![
        3 => (balances, kind()).prop_map(|(balances, kind)| {
            let entry = |(account, balance): (i64, Option<i64>)| (Datum::Int(account), balance.map_or(Datum::Nil, Datum::Int));
            planned("read", Datum::Nil, Datum::Map(balances.into_iter().map(entry).collect()), kind)
        }),
        3 => (0_i64..4, kind()).prop_map(|(a, kind)| {
            let balances = [(Datum::Int(0), Datum::Int(a)), (Datum::Int(1), Datum::Int(3 - a))];
            planned("read", Datum::Nil, Datum::Map(balances.to_vec()), kind)
        }),
        1 => kind().prop_map(|kind| planned("transfer", Datum::Nil, Datum::Nil, kind)),
    ]
}

fn naive_bank(recording: &Recording) -> Judgement {
    let operations = all(recording);
    let reads: Vec<&[(Datum, Datum)]> = of(&operations, "read").filter_map(|read| read.result()?.entries()).collect();
    let Some(first) = reads.first() else { return Judgement::Unknown };
    let total = |read: &[(Datum, Datum)]| read.iter().filter_map(|(_, balance)| balance.as_int()).sum::<i64>();
    let broken = |read: &&[(Datum, Datum)]| {
        read.iter().any(|(account, balance)| {
            !first.iter().any(|(known, _)| known == account) || balance.as_int().is_none_or(|balance| balance < 0)
        }) || total(read) != total(first)
    };
    judgement(reads.iter().any(broken), reads.len() < 2)
}

/// Deliveries and publishes of three nodes, and perhaps a crash.
fn broadcasts() -> impl Strategy<Value = Recording> {
    let event = (0_usize..6, 0_i64..3, 1_u8..4).prop_map(|(what, message, node)| {
        let (f, kind) = match what {
            0 => ("publish", EventType::Invoke),
            1 => ("publish", EventType::Ok),
            _ => ("deliver", EventType::Ok),
        };
        let mut record = Record::new(kind, Process::Client(u64::from(node)), f, Datum::Int(message));
        record.node = Some(format!("n{node}").into());
        record
    });
    (proptest::collection::vec(event, 0..14), proptest::option::of(1_u8..4)).prop_map(|(mut records, crashed)| {
        records.extend(crashed.map(|node| {
            let node = Datum::keyword(&format!("n{node}"));
            Record::new(EventType::Info, Process::Named("nemesis".into()), "crash", node)
        }));
        for (at, record) in records.iter_mut().enumerate() {
            record.index = at as u64;
        }
        Recording { records, ..Recording::default() }
    })
}

/// The four properties, one after the other, over all messages and nodes.
fn naive_broadcast(recording: &Recording) -> Judgement {
    let records = &recording.records;
    let publishes = |record: &&Record| record.f.as_ref() == "publish" && record.kind == EventType::Invoke;
    let deliveries: Vec<&Record> = records.iter().filter(|record| record.f.as_ref() == "deliver").collect();
    let crashed: Vec<&str> = records
        .iter()
        .filter(|record| record.f.as_ref() == "crash")
        .filter_map(|record| record.value.as_name())
        .collect();
    let nodes: BTreeSet<&str> = records
        .iter()
        .filter(|record| publishes(record) || record.f.as_ref() == "deliver")
        .filter_map(|record| record.node.as_deref())
        .collect();
    let first = |message: &Datum| records.iter().find(|record| publishes(record) && record.value == *message);
    let delivered = |message: &Datum, node: &str| {
        deliveries.iter().filter(|record| record.value == *message && record.node.as_deref() == Some(node)).count()
    };
    let created =
        deliveries.iter().any(|record| first(&record.value).is_none_or(|publish| publish.index > record.index));
    let duplicated = deliveries.iter().any(|record| delivered(&record.value, record.node.as_deref().unwrap()) > 1);
    let mut missing = false;
    for publish in records.iter().filter(publishes) {
        let publish = first(&publish.value).unwrap();
        let acknowledged = records.iter().any(|record| {
            record.f.as_ref() == "publish"
                && record.kind == EventType::Ok
                && record.value == publish.value
                && record.index > publish.index
        });
        let anywhere = deliveries.iter().any(|record| record.value == publish.value);
        for node in nodes.iter().filter(|node| !crashed.contains(node)) {
            let own = acknowledged && publish.node.as_deref() == Some(node);
            missing |= delivered(&publish.value, node) == 0 && (own || anywhere);
        }
    }
    judgement(created || duplicated || missing, deliveries.is_empty() || nodes.len() < 2)
}

/// Samples of views of four nodes.
fn views() -> impl Strategy<Value = Recording> {
    let peers = |most| proptest::collection::vec(0_usize..4, 0..most);
    let lonely = (0_usize..4, peers(4), peers(3), Just(false));
    let honest = (0_usize..4, Just(vec![]), peers(2), Just(true));
    let sample = prop_oneof![1 => lonely, 6 => honest];
    proptest::collection::vec(sample, 0..7).prop_map(|samples| {
        let name = |node: usize| Datum::keyword(&format!("n{node}"));
        let mut records = Vec::new();
        for (at, (node, active, passive, ring)) in samples.into_iter().enumerate() {
            // Mostly a ring, so that some hold.
            let active = if ring { vec![(node + 1) % 4, (node + 3) % 4] } else { active };
            let passive = if ring { vec![(node + 2) % 4] } else { passive };
            let list = |peers: Vec<usize>| Datum::List(peers.into_iter().map(name).collect());
            let mut entries =
                vec![(Datum::keyword("active"), list(active)), (Datum::keyword("passive"), list(passive))];
            entries.sort();
            let mut record =
                Record::new(EventType::Ok, Process::Named(format!("n{node}").into()), "view", Datum::Map(entries));
            record.index = at as u64;
            records.push(record);
        }
        Recording { records, ..Recording::default() }
    })
}

/// Reachability by repeated squaring of nothing: every pair by trying all paths.
fn naive_views(recording: &Recording) -> Judgement {
    let peers = |record: &Record, part: &str| -> Vec<String> {
        record.value.get(part).unwrap().items().unwrap().iter().map(|peer| peer.as_name().unwrap().to_owned()).collect()
    };
    let node = |record: &Record| record.process.to_string();
    let mut broken = false;
    let mut last: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for record in &recording.records {
        let (active, passive) = (peers(record, "active"), peers(record, "passive"));
        for view in [&active, &passive] {
            broken |= view.contains(&node(record));
            broken |= view.iter().collect::<BTreeSet<_>>().len() < view.len();
        }
        broken |= active.iter().any(|peer| passive.contains(peer)) || active.len() > 5;
        last.insert(node(record), active);
    }
    let linked = |a: &str, b: &str| last[a].iter().any(|peer| peer == b);
    let nodes: Vec<&String> = last.keys().collect();
    broken |= nodes.iter().any(|a| nodes.iter().any(|b| a != b && linked(a, b) && !linked(b, a)));
    let mut reached: BTreeSet<&String> = nodes.first().copied().into_iter().collect();
    for _ in 0..nodes.len() {
        let more = nodes.iter().filter(|node| reached.iter().any(|from| linked(from, node) || linked(node, from)));
        let more: Vec<&String> = more.copied().collect();
        reached.extend(more);
    }
    broken |= reached.len() < nodes.len();
    judgement(broken, nodes.len() < 2)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn set_is_its_definition(recording in recordings(set_operation())) {
        prop_assert_eq!(said(&recording, "set"), naive_set(&recording));
    }

    #[test]
    fn set_full_is_its_definition(recording in recordings(set_operation()), linearizable: bool) {
        let mut options = CheckOptions::default();
        options.data.set_linearizable = linearizable;
        let said = verdict(&recording, "set-full", &options).judgement;
        prop_assert_eq!(said, naive_set_full(&recording, linearizable));
    }

    #[test]
    fn counter_is_its_definition(recording in recordings(counter_operation())) {
        prop_assert_eq!(said(&recording, "counter"), naive_counter(&recording));
    }

    #[test]
    fn queue_is_its_definition(recording in recordings(queue_operation())) {
        prop_assert_eq!(said(&recording, "queue"), naive_queue(&recording));
    }

    #[test]
    fn total_queue_is_its_definition(recording in recordings(queue_operation())) {
        prop_assert_eq!(said(&recording, "total-queue"), naive_total_queue(&recording));
    }

    #[test]
    fn unique_ids_is_its_definition(recording in recordings(id_operation())) {
        prop_assert_eq!(said(&recording, "unique-ids"), naive_unique_ids(&recording));
    }

    #[test]
    fn long_fork_is_its_definition(recording in recordings(fork_operation())) {
        prop_assert_eq!(said(&recording, "long-fork"), naive_long_fork(&recording));
    }

    #[test]
    fn bank_is_its_definition(recording in recordings(bank_operation())) {
        prop_assert_eq!(said(&recording, "bank"), naive_bank(&recording));
    }

    #[test]
    fn broadcast_is_its_definition(recording in broadcasts()) {
        prop_assert_eq!(said(&recording, "broadcast"), naive_broadcast(&recording));
    }

    #[test]
    fn views_is_its_definition(recording in views()) {
        prop_assert_eq!(said(&recording, "views"), naive_views(&recording));
    }
}
