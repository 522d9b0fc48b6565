//! The first event in which two runs differ.
//!
//! Two simulations run side by side and hand over their events chunk by chunk; nothing is kept but the chunk in which they
//! differ, with its words, so what is shown is what these two runs did, also when neither could ever be repeated.

use std::collections::VecDeque;
use std::fmt::Write;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::thread;

use crate::plan::Plan;
use crate::sim::{Events, LoggedEvent, Settings, Simulated, Watch, simulate_with};

use super::event_file::{EventFile, EventsError, EventsHeader, write_events};
use super::words::seconds;

/// Lines of an event that are shown.
const LINES_MAX: usize = 12;
/// Letters of a line that are shown.
const LINE_MAX: usize = 240;

/// Where two runs part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Position of the event, from 0: so many are equal.
    pub position: u64,
    /// What the first run does there; `None`: it has ended.
    pub first: Option<LoggedEvent>,
    /// What the second does there.
    pub second: Option<LoggedEvent>,
    /// The last event that both share.
    pub before: Option<LoggedEvent>,
}

/// Carries out both plans side by side: both runs, and where they part; `None`: nowhere.
pub fn run_both(first: (&Plan, Settings), second: (&Plan, Settings)) -> ([Simulated; 2], Option<Difference>) {
    thread::scope(|scope| {
        let (events, receivers): (Vec<_>, Vec<_>) = (0..2).map(|_| Events::channel(0..u64::MAX)).unzip();
        let runs: Vec<_> = [first, second]
            .into_iter()
            .zip(events)
            .map(|((plan, settings), events)| {
                let watch = Watch { events: Some(events), ..Watch::default() };
                scope.spawn(move || simulate_with(plan, settings, watch))
            })
            .collect();
        let mut streams = receivers.into_iter().map(Stream::new);
        let (one, other) = (streams.next().expect("two streams"), streams.next().expect("two streams"));
        // Whoever still runs then goes on without being heard.
        let difference = first_difference(one, other);
        let mut simulated =
            runs.into_iter().map(|run| run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let both = [simulated.next().expect("two runs"), simulated.next().expect("two runs")];
        (both, difference)
    })
}

/// Carries out a plan and writes its events to a file.
///
/// # Errors
/// The file can't be written.
pub fn record_events(
    plan: &Plan,
    settings: Settings,
    path: &Path,
    header: &EventsHeader,
) -> Result<Simulated, EventsError> {
    thread::scope(|scope| {
        let (events, receiver) = Events::channel(0..0);
        let watch = Watch { events: Some(events), ..Watch::default() };
        let run = scope.spawn(move || simulate_with(plan, settings, watch));
        let written = write_events(path, header, Stream::new(receiver));
        let simulated = run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.map(|_| simulated)
    })
}

/// Events one by one.
pub(super) struct Stream {
    receiver: Receiver<Vec<LoggedEvent>>,
    chunk: VecDeque<LoggedEvent>,
}

impl Stream {
    pub(super) fn new(receiver: Receiver<Vec<LoggedEvent>>) -> Stream {
        Stream { receiver, chunk: VecDeque::new() }
    }
}

impl Iterator for Stream {
    type Item = LoggedEvent;

    fn next(&mut self) -> Option<LoggedEvent> {
        while self.chunk.is_empty() {
            self.chunk = self.receiver.recv().ok()?.into();
        }
        self.chunk.pop_front()
    }
}

/// Where two streams of events part. Words are not compared: only one may have them.
pub(super) fn first_difference(
    mut first: impl Iterator<Item = LoggedEvent>,
    mut second: impl Iterator<Item = LoggedEvent>,
) -> Option<Difference> {
    let mut before = None;
    for position in 0.. {
        let pair = (first.next(), second.next());
        match pair {
            (None, None) => return None,
            (Some(one), Some(other)) if is_same(&one, &other) => before = Some(one),
            (first, second) => return Some(Difference { position, first, second, before }),
        }
    }
    unreachable!("no run has that many events")
}

pub(super) fn is_same(one: &LoggedEvent, other: &LoggedEvent) -> bool {
    let parts = |event: &LoggedEvent| (event.time, event.sequence, event.node, event.digest);
    parts(one) == parts(other)
}

impl Difference {
    /// The difference for people. `names` of the two runs.
    pub fn render(&self, names: [&str; 2]) -> String {
        let mut out = String::new();
        let written = self.write(&mut out, names);
        written.expect("a String takes all that is written");
        out
    }

    /// Its first event alone.
    pub fn render_first(&self) -> String {
        let mut out = String::new();
        let written = self.first.iter().try_for_each(|event| write_event(&mut out, event));
        written.expect("a String takes all that is written");
        out
    }

    fn write(&self, out: &mut String, names: [&str; 2]) -> std::fmt::Result {
        writeln!(out, "{} events are equal", self.position)?;
        if let Some(before) = &self.before {
            writeln!(out, "\nthe last that both share")?;
            write_event(out, before)?;
        }
        for (name, event) in names.into_iter().zip([&self.first, &self.second]) {
            writeln!(out, "\nthe first that differs, {name}")?;
            match event {
                Some(event) => write_event(out, event)?,
                None => writeln!(out, "  none: it has ended")?,
            }
        }
        Ok(())
    }
}

/// An event with its words, indented.
pub(super) fn write_event(out: &mut String, event: &LoggedEvent) -> std::fmt::Result {
    let LoggedEvent { time, sequence, node, digest, words } = event;
    let place = node.map_or("clients and faults".to_owned(), |node| node.to_string());
    writeln!(
        out,
        "  {} s of virtual time, sequence {sequence}, {place}, digest {:08x}",
        seconds(*time),
        *digest as u32
    )?;
    for line in words.iter().take(LINES_MAX) {
        let shown: String = line.trim_end().chars().take(LINE_MAX).collect();
        let dots = if shown.len() < line.trim_end().len() { " ..." } else { "" };
        writeln!(out, "    {shown}{dots}")?;
    }
    match words.len().checked_sub(LINES_MAX) {
        Some(more) if more > 0 => writeln!(out, "    and {more} more lines"),
        _ => Ok(()),
    }
}

/// Where two files of events part.
///
/// # Errors
/// One of them can't be read to its end.
pub fn both_files(first: &mut EventFile, second: &mut EventFile) -> Result<Option<Difference>, EventsError> {
    let mut before = None;
    for position in 0.. {
        match (first.next_event()?, second.next_event()?) {
            (None, None) => return Ok(None),
            (Some(one), Some(other)) if is_same(&one, &other) => before = Some(one),
            (first, second) => return Ok(Some(Difference { position, first, second, before })),
        }
    }
    unreachable!("no file has that many events")
}

/// The event at a position of a run of this plan, in words; `None`: the run ends before.
pub fn words_at(plan: &Plan, settings: Settings, position: u64) -> Option<LoggedEvent> {
    thread::scope(|scope| {
        let (events, receiver) = Events::channel(position..position + 1);
        let watch = Watch { events: Some(events), ..Watch::default() };
        scope.spawn(move || simulate_with(plan, settings, watch));
        // The run goes on unheard.
        Stream::new(receiver).nth(usize::try_from(position).unwrap_or(usize::MAX))
    })
}
