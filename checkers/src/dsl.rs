//! A small text format for cases: histories, phases, faults and final states. For tests and for trying out a model by hand.
//!
//! ```text
//! # process, function (w, r, d), key = value, [begin..end] in milliseconds, outcome (ok unless said), coordinator
//! p0 w x=1    [0..10]
//! p1 r x=null [5..8]  ok @n2
//! p2 w x=2    [12..]  info
//! p3 r x      [12..20] fail
//! p1 d x      [20..22]
//!
//! phase warmup [0..15]
//! fault f1 [10..12]
//! final replication=2 converged=40 deadline=1000    # milliseconds; converged=never
//! final n1 x=2
//! final n2 x=null
//! unreachable n3
//! ```
//!
//! A recording for models of other data types is written as EDN maps or log lines, in the order of the recording:
//!
//! ```text
//! {:process 0, :time 5, :type :invoke, :f :add, :value 1}
//! 0 :ok :add 1
//! ```
//!
//! Transactions have lines of their own ([`crate::transactions::notation`]).
//!
//! The lines of one process stand in the order of its operations; lines of different processes may stand in any.

use crate::import::{Format, ImportOptions, read_recording};
use crate::transactions::notation;
use crate::{
    Case, Event, EventType, FaultWindow, FinalEntry, FinalNode, FinalState, Function, History, Phase, ProcessId,
};

const MILLISECOND: u64 = 1_000_000;

/// Reads a case.
///
/// # Errors
/// The first line that is not understood, with its number and what was expected, or what is wrong with the history.
pub fn case(text: &str) -> Result<Case, String> {
    let mut case = Case::default();
    let mut operations = String::new();
    let (mut recorded, mut format) = (String::new(), None);
    let mut transactions = String::new();
    for (at, line) in text.lines().enumerate() {
        // Every line keeps its number.
        recorded.push('\n');
        if let Some(of_line) = recorded_as(line) {
            if *format.get_or_insert(of_line) != of_line {
                return Err(format!("line {}: a recording is either EDN or log lines", at + 1));
            }
            recorded.push_str(line);
            operations.push('\n');
            transactions.push('\n');
            continue;
        }
        let code = line.split('#').next().unwrap_or_default().trim();
        let words: Vec<&str> = code.split_ascii_whitespace().collect();
        let surroundings = match words.as_slice() {
            ["phase", name, times] => between(times).map(|(from, to)| {
                case.phases.push(Phase { name: (*name).to_owned(), from, to: to.unwrap_or(u64::MAX) });
            }),
            ["fault", id, times] => between(times).map(|(from, to)| {
                let to = to.unwrap_or(u64::MAX);
                case.faults.push(FaultWindow { id: (*id).to_owned(), name: (*id).to_owned(), from, to });
            }),
            ["final", words @ ..] => final_line(case.final_state.get_or_insert_default(), words),
            ["ended", ..] => serde_json::from_str::<FinalNode>(line.trim_start_matches("ended"))
                .map(|node| case.final_state.get_or_insert_default().nodes.push(node))
                .map_err(|error| error.to_string()),
            ["unreachable", node] => {
                case.final_state.get_or_insert_default().unreachable.push((*node).to_owned());
                Ok(())
            }
            _ if notation::is_ours(line) => {
                transactions.push_str(line);
                Ok(())
            }
            _ => {
                operations.push_str(line);
                Ok(())
            }
        };
        surroundings.map_err(|problem| format!("line {}: {problem}", at + 1))?;
        // Every line keeps its number.
        operations.push('\n');
        transactions.push('\n');
    }
    case.history = history(&operations)?;
    if format.is_some() {
        // Without the newline before the first line, and with one after the last.
        let recorded = format!("{}\n", recorded.get(1..).unwrap_or_default());
        let options = ImportOptions { format, keyed: None };
        case.recording = Some(read_recording(recorded.as_bytes(), &options).map_err(|error| error.to_string())?);
    }
    if !transactions.trim().is_empty() {
        case.transactions = Some(notation::transactions(&transactions)?);
    }
    Ok(case)
}

/// The format of a line that belongs to a recording.
fn recorded_as(line: &str) -> Option<Format> {
    let mut words = line.split_ascii_whitespace();
    let first = words.next()?;
    if first.starts_with('{') {
        return Some(Format::Edn);
    }
    let process = first.starts_with(':') || first.bytes().all(|byte| byte.is_ascii_digit());
    (process && words.next().is_some_and(|word| word.starts_with(':'))).then_some(Format::Log)
}

fn final_line(state: &mut FinalState, words: &[&str]) -> Result<(), String> {
    if let [node, entry] = words
        && !node.contains('=')
    {
        let (key, value) = entry.split_once('=').ok_or("expected key=value, such as x=7 or x=null")?;
        let value = if value == "null" { None } else { Some(number(value)?) };
        state.entries.push(FinalEntry {
            node: (*node).to_owned(),
            key: key.to_owned(),
            value,
            stamp: 0,
            content: None,
        });
        return Ok(());
    }
    for word in words {
        match word.split_once('=') {
            Some(("replication", count)) => state.replication = number(count)?,
            Some(("converged", "never")) => state.converged_after = None,
            Some(("converged", after)) => state.converged_after = Some(number(after)? * MILLISECOND),
            Some(("deadline", deadline)) => state.deadline = number(deadline)? * MILLISECOND,
            _ => return Err(format!("`{word}` is not replication=, converged= or deadline=")),
        }
    }
    Ok(())
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

/// `[0..10]` or `[5..]`, milliseconds; as nanoseconds.
fn between(text: &str) -> Result<(u64, Option<u64>), String> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let (from, to) = inner.and_then(|inner| inner.split_once("..")).ok_or("expected times such as [0..10] or [5..]")?;
    let to = if to.is_empty() { None } else { Some(number(to)? * MILLISECOND) };
    Ok((number(from)? * MILLISECOND, to))
}

/// Reads a history.
///
/// # Errors
/// The first line that is not understood, with its number and what was expected, or what is wrong with the history.
pub fn history(text: &str) -> Result<History, String> {
    let mut events: Vec<((u64, usize), Event)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (invocation, completion) = operation(line).map_err(|problem| format!("line {}: {problem}", at + 1))?;
        events.push(((invocation.time, at * 2), invocation));
        events.extend(completion.map(|completion| ((completion.time, at * 2 + 1), completion)));
    }
    events.sort_by_key(|(order, _)| *order);
    let numbered = events.into_iter().enumerate();
    let events = numbered.map(|(index, (_, event))| Event { index: index as u64, ..event }).collect();
    History::from_events(events).map_err(|error| error.to_string())
}

fn operation(line: &str) -> Result<(Event, Option<Event>), String> {
    let mut words = line.split_ascii_whitespace();
    let mut next = |what: &str| words.next().ok_or_else(|| format!("expected {what} at the end"));
    let process = next("a process such as p0")?;
    let process = process.strip_prefix('p').and_then(|number| number.parse().ok());
    let process = ProcessId(process.ok_or("expected a process such as p0 first")?);
    let f = match next("a function")? {
        "r" => Function::Read,
        "w" => Function::Write,
        "d" => Function::Delete,
        other => return Err(format!("`{other}` is no function: expected r, w or d")),
    };
    let register = next("a key")?;
    let (key, value) = register.split_once('=').map_or((register, None), |(key, value)| (key, Some(value)));
    let value = match value {
        None | Some("null") => None,
        Some(number) => Some(number.parse::<u64>().map_err(|_| format!("`{number}` is no value: a number or null"))?),
    };
    let (begin, end) = between(next("times such as [0..10]")?)?;
    let (mut kind, mut node) = (EventType::Ok, None);
    for word in words {
        match (word, word.strip_prefix('@')) {
            (_, Some(name)) => node = Some(name.to_owned()),
            ("ok", _) => kind = EventType::Ok,
            ("fail", _) => kind = EventType::Fail,
            ("info", _) => kind = EventType::Info,
            _ => return Err(format!("`{word}` is no outcome: expected ok, fail, info or a node such as @n1")),
        }
    }
    if end.is_none() && kind != EventType::Info {
        return Err("an operation without an end is info".to_owned());
    }
    let event = |kind, time: u64, value| Event {
        index: 0,
        time,
        kind,
        process,
        f,
        key: key.to_owned(),
        value,
        items: None,
        node: node.clone(),
        error: None,
    };
    let invocation = event(EventType::Invoke, begin, value.filter(|_| f == Function::Write));
    Ok((invocation, end.map(|end| event(kind, end, value))))
}
