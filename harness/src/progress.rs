//! What a person sees while a run goes on, on stderr: a live line on a terminal, a line per phase elsewhere.

use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::recorder::{Counts, Recorder};

/// Between two refreshes of the live line.
const REFRESH_INTERVAL: Duration = Duration::from_millis(200);

/// The display. Clones show on the same line.
#[derive(Clone, Debug)]
pub struct Progress {
    shared: Arc<Mutex<State>>,
    /// `None` when stderr is not a terminal.
    bar: Option<ProgressBar>,
}

#[derive(Debug, Default)]
struct State {
    phase: String,
    ends: Option<Instant>,
    faults: Vec<(String, String)>,
    last: Option<(Instant, Counts)>,
    rate: f64,
}

impl Progress {
    /// A display on stderr.
    pub fn new() -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::with_template("{spinner} {wide_msg}").expect("a constant template"));
            bar
        });
        Progress { shared: Arc::default(), bar }
    }

    /// Another phase has begun; `lasts` when its length is known.
    pub fn phase(&self, name: &str, lasts: Option<Duration>) {
        let mut state = self.lock();
        state.phase = name.to_owned();
        state.ends = lasts.map(|lasts| Instant::now() + lasts);
        drop(state);
        match (&self.bar, lasts) {
            (Some(_), _) => self.draw(None),
            (None, Some(lasts)) => eprintln!("{name} ({:.0} s)", lasts.as_secs_f64()),
            (None, None) => eprintln!("{name}"),
        }
    }

    /// A fault is in force.
    pub fn fault_begins(&self, id: &str, name: &str) {
        self.lock().faults.push((id.to_owned(), name.to_owned()));
    }

    /// A fault was healed.
    pub fn fault_ends(&self, id: &str) {
        self.lock().faults.retain(|(known, _)| known != id);
    }

    /// Keeps the live line fresh; never ends. Nothing to do when there is none.
    pub async fn refresh(&self, recorder: &Recorder) -> std::convert::Infallible {
        if self.bar.is_none() {
            return std::future::pending().await;
        }
        let mut ticks = tokio::time::interval(REFRESH_INTERVAL);
        loop {
            ticks.tick().await;
            self.draw(Some(recorder.counts()));
        }
    }

    /// Removes the live line.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn draw(&self, counts: Option<Counts>) {
        let Some(bar) = &self.bar else { return };
        let line = self.lock().line(Instant::now(), counts);
        bar.set_message(line);
        bar.tick();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().expect("nobody panics while holding the display")
    }
}

impl Default for Progress {
    fn default() -> Progress {
        Progress::new()
    }
}

impl State {
    fn line(&mut self, now: Instant, counts: Option<Counts>) -> String {
        let mut parts = vec![self.phase.clone()];
        if let Some(ends) = self.ends {
            parts[0].push_str(&format!(", {:.0} s left", ends.saturating_duration_since(now).as_secs_f64()));
        }
        if !self.faults.is_empty() {
            let faults = self.faults.iter().map(|(id, name)| format!("{id} {name}")).collect::<Vec<_>>();
            parts.push(faults.join(", "));
        }
        if let Some(counts) = counts {
            if let Some((since, before)) = self.last {
                let passed = now.saturating_duration_since(since).as_secs_f64();
                let current = (counts.ok - before.ok) as f64 / passed.max(1e-3);
                // Smoothed over about a second.
                self.rate += (current - self.rate) * (passed.min(1.0));
            }
            self.last = Some((now, counts));
            parts.push(format!("{:.0} ok/s, {} fail, {} info", self.rate, counts.fail, counts.info));
        }
        parts.join(" | ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_phase_time_faults_and_rates() {
        let now = Instant::now();
        let mut state = State {
            phase: "faults".to_owned(),
            ends: Some(now + Duration::from_secs(30)),
            faults: vec![("f3".to_owned(), "partition halves".to_owned()), ("f4".to_owned(), "pause n2".to_owned())],
            ..State::default()
        };
        assert_eq!(state.line(now, None), "faults, 30 s left | f3 partition halves, f4 pause n2");
        let counts = Counts { invoked: 110, ok: 100, fail: 3, info: 7 };
        state.line(now, Some(counts));
        let later = Counts { invoked: 620, ok: 600, fail: 3, info: 12 };
        state.faults.clear();
        let line = state.line(now + Duration::from_secs(1), Some(later));
        assert_eq!(line, "faults, 29 s left | 500 ok/s, 3 fail, 12 info");
    }
}
