//! Histories made by a small simulation of atomic registers with overlapping operations, so every model holds and all of
//! its work is done; and of registers that fit weaker models only, so that no shorter way decides.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::io::Write;

use hearsay_checkers::search::{Called, RegisterCall};
use hearsay_checkers::{Event, EventType, Function, ProcessId};

struct Spread(u64);

impl Spread {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// `history.jsonl` of atomic registers; `info` of a hundred operations never answer.
pub(crate) fn jsonl(operations: u64, keys: u64, clients: u64, info: u64) -> Vec<u8> {
    let mut text = Vec::with_capacity(operations as usize * 200);
    write_jsonl(operations, keys, clients, info, 0, &mut text);
    text
}

/// The same, written as it is made; `old` of a hundred reads return the version before the newest.
pub(crate) fn write_jsonl(operations: u64, keys: u64, clients: u64, info: u64, old: u64, out: &mut impl Write) {
    let mut spread = Spread(7);
    let mut registers = vec![None; keys as usize];
    let mut before = registers.clone();
    let mut processes: Vec<u64> = (0..clients).collect();
    let mut next_process = clients;
    let mut open: Vec<Option<(u64, Function, Option<u64>)>> = vec![None; clients as usize];
    let (mut begun, mut time, mut index) = (0, 0, 0);
    let mut line = Vec::with_capacity(200);
    while begun < operations || open.iter().any(Option::is_some) {
        time += 1 + spread.below(20_000);
        let client = spread.below(clients) as usize;
        let (kind, f, key, value) = match open[client].take() {
            None if begun == operations => continue,
            None => {
                begun += 1;
                let f = if spread.below(2) == 0 { Function::Write } else { Function::Read };
                let value = (f == Function::Write).then_some(begun);
                let key = spread.below(keys);
                open[client] = Some((key, f, value));
                (EventType::Invoke, f, key, value)
            }
            Some((key, f, value)) => {
                let lost = spread.below(100) < info;
                let result = match f {
                    Function::Read if old > 0 && spread.below(100) < old => before[key as usize],
                    Function::Read => registers[key as usize],
                    _ => {
                        before[key as usize] = registers[key as usize];
                        registers[key as usize] = value;
                        value
                    }
                };
                (if lost { EventType::Info } else { EventType::Ok }, f, key, result)
            }
        };
        let event = Event {
            index,
            time,
            kind,
            process: ProcessId(processes[client]),
            f,
            key: format!("k{key}"),
            value,
            items: None,
            node: Some(format!("n{}", client % 5 + 1)),
            error: None,
        };
        line.clear();
        event.write_json_line(&mut line);
        out.write_all(&line).expect("it is written");
        index += 1;
        if kind == EventType::Info {
            processes[client] = next_process;
            next_process += 1;
        }
    }
}

/// `history.jsonl` of registers that are not linearizable, one operation after the other. Each client has a copy: a log of all
/// writes comes to it in order, on average `late` writes after they were made, and its own writes are there at once. What
/// came last is what is read, so that causal memory holds.
pub(crate) fn write_late_copies_jsonl(operations: u64, keys: u64, clients: u64, late: u64, out: &mut impl Write) {
    let mut spread = Spread(13);
    // Key, value and writer of every write; what each client has of it, and its newest position by key.
    let mut log: Vec<(u64, u64, u64)> = Vec::new();
    let mut came = vec![0_usize; clients as usize];
    let mut newest = vec![vec![None::<usize>; keys as usize]; clients as usize];
    let mut line = Vec::with_capacity(200);
    for operation in 0..operations {
        let (client, key) = (spread.below(clients), spread.below(keys));
        let copy = &mut newest[client as usize];
        let upto = log.len().saturating_sub(spread.below(2 * late + 1) as usize);
        for at in came[client as usize]..upto {
            // Its own were there already.
            if log[at].2 == client {
                continue;
            }
            copy[log[at].0 as usize] = Some(at);
        }
        came[client as usize] = came[client as usize].max(upto);
        let is_write = spread.below(2) == 0;
        let value = if is_write {
            copy[key as usize] = Some(log.len());
            log.push((key, operation + 1, client));
            Some(operation + 1)
        } else {
            copy[key as usize].map(|at| log[at].1)
        };
        for (kind, value) in [(EventType::Invoke, value.filter(|_| is_write)), (EventType::Ok, value)] {
            let index = operation * 2 + u64::from(kind == EventType::Ok);
            let event = Event {
                index,
                time: index * 1_000,
                kind,
                process: ProcessId(client),
                f: if is_write { Function::Write } else { Function::Read },
                key: format!("k{key}"),
                value,
                items: None,
                node: None,
                error: None,
            };
            line.clear();
            event.write_json_line(&mut line);
            out.write_all(&line).expect("it is written");
        }
    }
}

/// Compare-and-set of the values 0 to 4: a register that works, `clients` at once.
pub(crate) fn compare_and_set(operations: u64, clients: u64) -> Vec<Called<RegisterCall>> {
    let mut spread = Spread(11);
    let mut state = 0;
    let mut open: Vec<Option<usize>> = vec![None; clients as usize];
    let mut calls: Vec<Called<RegisterCall>> = Vec::new();
    let mut time = 0;
    while (calls.len() as u64) < operations || open.iter().any(Option::is_some) {
        time += 1;
        let client = spread.below(clients) as usize;
        match open[client].take() {
            None if calls.len() as u64 == operations => {}
            None => {
                let (a, b) = (spread.below(5) as u32, spread.below(5) as u32);
                let call = match spread.below(3) {
                    0 => RegisterCall::Read(a),
                    1 => RegisterCall::Write(a),
                    _ => RegisterCall::CompareAndSet(a, b),
                };
                open[client] = Some(calls.len());
                calls.push(Called { call, began: time, ended: None, optional: false });
            }
            Some(at) => {
                // It takes effect at its end; a compare-and-set that finds something else is a read of that.
                match &mut calls[at].call {
                    RegisterCall::Read(value) => *value = state,
                    RegisterCall::Write(value) => state = *value,
                    RegisterCall::CompareAndSet(from, to) if *from == state => state = *to,
                    other => *other = RegisterCall::Read(state),
                }
                calls[at].ended = Some(time);
            }
        }
    }
    calls
}
