//! A small text format for histories and final states, for tests and for trying out a model by hand.
//!
//! ```text
//! # process, function (w, r, d), key = value, [begin..end] in milliseconds, outcome (ok unless said), coordinator
//! p0 w x=1    [0..10]
//! p1 r x=null [5..8]  ok @n2
//! p2 w x=2    [12..]  info
//! p3 r x      [12..20] fail
//! p1 d x      [20..22]
//! ```
//!
//! The lines of one process stand in the order of its operations; lines of different processes may stand in any.

use crate::{Event, EventType, Function, History, ProcessId};

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
    const MILLISECOND: u64 = 1_000_000;
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
    let times = next("times such as [0..10]")?;
    let inner = times.strip_prefix('[').and_then(|times| times.strip_suffix(']'));
    let (begin, end) =
        inner.and_then(|inner| inner.split_once("..")).ok_or("expected times such as [0..10] or [5..]")?;
    let time = |text: &str| text.parse::<u64>().map_err(|_| format!("`{text}` is no number of milliseconds"));
    let begin = time(begin)?;
    let end = if end.is_empty() { None } else { Some(time(end)?) };
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
        time: time * MILLISECOND,
        kind,
        process,
        f,
        key: key.to_owned(),
        value,
        node: node.clone(),
        error: None,
    };
    let invocation = event(EventType::Invoke, begin, value.filter(|_| f == Function::Write));
    Ok((invocation, end.map(|end| event(kind, end, value))))
}
