//! A small text format for transactions, a part of the format for cases ([`crate::dsl`]).
//!
//! ```text
//! # process, txn, operations, [begin..end] in milliseconds, outcome (ok unless said)
//! p0 txn append(x,1) r(y)=[2,3] [0..10]
//! p1 txn w(a,1) r(b)=null r(c)=5 [5..8]
//! p2 txn append(x,2) r(y)        [12..] info
//! untimed                                # times mean nothing between processes
//! ```

use super::history::{MicroOp, TransactionHistory, TransactionHistoryBuilder};
use crate::{OpIndex, Outcome, ProcessId};

const MILLISECOND: u64 = 1_000_000;

/// Whether a line of a case is about transactions.
pub(crate) fn is_ours(line: &str) -> bool {
    let code = line.split('#').next().unwrap_or_default();
    let mut words = code.split_ascii_whitespace();
    let (first, second) = (words.next(), words.next());
    second == Some("txn") || (first == Some("untimed") && second.is_none())
}

/// Reads a history of transactions.
///
/// # Errors
/// The first line that is not understood, with its number and what was expected.
pub fn transactions(text: &str) -> Result<TransactionHistory, String> {
    let mut builder = TransactionHistoryBuilder::default();
    let mut lines: Vec<(usize, u64, Option<u64>, &str)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let code = line.split('#').next().unwrap_or_default().trim();
        if code == "untimed" {
            builder.untimed();
        } else if !code.is_empty() {
            let (from, to) = times(code).map_err(|problem| format!("line {}: {problem}", at + 1))?;
            lines.push((at, from, to, code));
        }
    }
    // Every invocation and completion has its place in the recording.
    let mut events: Vec<(u64, usize)> = Vec::new();
    for (at, from, to, _) in &lines {
        events.push((*from, at * 2));
        events.extend(to.map(|to| (to, at * 2 + 1)));
    }
    events.sort_unstable();
    for (at, from, to, code) in lines {
        let index = events.binary_search(&(from, at * 2)).expect("it was put there") as u64;
        line(&mut builder, index, (from, to), code).map_err(|problem| format!("line {}: {problem}", at + 1))?;
    }
    builder.finish().map_err(|error| error.to_string())
}

fn is_times(word: &str) -> bool {
    word.starts_with('[') && word.contains("..")
}

fn times(code: &str) -> Result<(u64, Option<u64>), String> {
    let expected = "expected times such as [0..10] or [5..]";
    let word = code.split_ascii_whitespace().find(|word| is_times(word)).ok_or(expected)?;
    let inner = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).ok_or(expected)?;
    let (from, to) = inner.split_once("..").ok_or(expected)?;
    let number = |text: &str| text.parse::<u64>().map(|ms| ms * MILLISECOND).map_err(|_| expected.to_owned());
    Ok((number(from)?, if to.is_empty() { None } else { Some(number(to)?) }))
}

fn line(
    builder: &mut TransactionHistoryBuilder,
    index: u64,
    (from, to): (u64, Option<u64>),
    code: &str,
) -> Result<(), String> {
    let mut words = code.split_ascii_whitespace();
    let process = words.next().and_then(|word| word.strip_prefix('p')).and_then(|number| number.parse().ok());
    builder.begin(OpIndex(index), ProcessId(process.ok_or("expected a process such as p0 first")?), from);
    if words.next() != Some("txn") {
        return Err("expected `txn` after the process".to_owned());
    }
    let mut outcome = if to.is_some() { Outcome::Ok } else { Outcome::Info };
    for word in words.by_ref().take_while(|word| !is_times(word)) {
        operation(builder, word)?;
    }
    for word in words {
        outcome = match word {
            "ok" => Outcome::Ok,
            "fail" => Outcome::Fail,
            "info" => Outcome::Info,
            _ => return Err(format!("`{word}` is no outcome: expected ok, fail or info")),
        };
    }
    if to.is_none() && outcome != Outcome::Info {
        return Err("a transaction without an end is info".to_owned());
    }
    builder.end(outcome, to);
    Ok(())
}

fn operation(builder: &mut TransactionHistoryBuilder, word: &str) -> Result<(), String> {
    let not_understood =
        || format!("`{word}` is no operation: append(x,1), w(x,1), r(x)=[1,2], r(x)=1, r(x)=null or r(x)");
    let (name, rest) = word.split_once('(').ok_or_else(not_understood)?;
    let (arguments, result) = rest.split_once(')').ok_or_else(not_understood)?;
    match (name, arguments.split_once(','), result.strip_prefix('=')) {
        ("append", Some((key, value)), None) => {
            let (key, value) = (builder.key(key), builder.value(value));
            builder.push(MicroOp::Append(key, value));
        }
        ("w", Some((key, value)), None) => {
            let (key, value) = (builder.key(key), builder.value(value));
            builder.push(MicroOp::Write(key, value));
        }
        ("r", None, result) => {
            let key = builder.key(arguments);
            match result {
                None => builder.push(MicroOp::Unread(key)),
                Some("null") => builder.push(MicroOp::Read(key, None)),
                Some(list) if list.starts_with('[') => {
                    let inner = list[1..].strip_suffix(']').ok_or_else(not_understood)?;
                    let elements = inner.split(',').filter(|element| !element.is_empty());
                    let elements: Vec<_> = elements.map(|element| builder.value(element)).collect();
                    builder.read_list(key, elements);
                }
                Some(value) => {
                    let value = builder.value(value);
                    builder.push(MicroOp::Read(key, Some(value)));
                }
            }
        }
        _ => return Err(not_understood()),
    }
    Ok(())
}

/// A history in this format, times as they are in nanoseconds.
pub fn written(history: &TransactionHistory) -> String {
    let mut out = String::new();
    for (id, transaction) in history.iter() {
        out.push_str(&format!("p{} txn", transaction.process.0));
        for operation in history.operations(id) {
            out.push(' ');
            out.push_str(&operation_text(history, *operation).replace(", ", ","));
        }
        let (from, to) = (transaction.invoked, transaction.completed.map_or_else(String::new, |to| to.to_string()));
        let outcome = match transaction.outcome {
            Outcome::Ok => "",
            Outcome::Fail => " fail",
            Outcome::Info => " info",
        };
        out.push_str(&format!(" [{from}..{to}]{outcome}\n"));
    }
    if !history.is_timed() {
        out.push_str("untimed\n");
    }
    out
}

/// `append(x, 1)`, `r(x)=[1, 2]`.
pub(crate) fn operation_text(history: &TransactionHistory, operation: MicroOp) -> String {
    let key = history.key_name(operation.key());
    match operation {
        MicroOp::Append(_, value) => format!("append({key}, {})", history.value_text(value)),
        MicroOp::Write(_, value) => format!("w({key}, {})", history.value_text(value)),
        MicroOp::Unread(_) => format!("r({key})"),
        MicroOp::Read(_, None) => format!("r({key})=null"),
        MicroOp::Read(_, Some(value)) => format!("r({key})={}", history.value_text(value)),
        MicroOp::ReadList(_, list) => format!("r({key})={}", list_text(history, history.list(list))),
    }
}

/// Elements shown at each end of a long list.
const SHOWN: usize = 6;

/// `[1, 2]`, long lists in short.
pub(crate) fn list_text(history: &TransactionHistory, elements: &[super::Value]) -> String {
    let text = |elements: &[super::Value]| {
        let words: Vec<String> = elements.iter().map(|element| history.value_text(*element)).collect();
        words.join(", ")
    };
    if elements.len() <= 2 * SHOWN + 1 {
        return format!("[{}]", text(elements));
    }
    let (first, last) = (&elements[..SHOWN], &elements[elements.len() - SHOWN..]);
    format!("[{}, .. {} more .., {}]", text(first), elements.len() - 2 * SHOWN, text(last))
}
