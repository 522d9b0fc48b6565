//! Logs: lines on stderr, and a brake for those that a stranger could cause without end.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

/// Sends logs to stderr. `RUST_LOG` wins over `filter`.
///
/// # Errors
/// A filter that can't be read, as a sentence.
pub fn start(filter: &str) -> Result<(), String> {
    let (source, text) = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => ("RUST_LOG", text),
        _ => ("log", filter.to_owned()),
    };
    let filter = EnvFilter::try_new(&text)
        .map_err(|error| format!("{source}: {text:?} is no log filter ({error}); take for example info or debug"))?;
    // A second start in one process keeps the first: tests and embedding programs set up their own.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init();
    Ok(())
}

/// A panic anywhere ends the process: a node without one of its tasks is neither alive nor dead.
pub(crate) fn panic_ends_the_process() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        default(info);
        std::process::exit(101);
    }));
}

/// Lets a few lines pass each second and counts the rest.
#[derive(Debug)]
pub(crate) struct Brake {
    per_second: u32,
    state: Mutex<BrakeState>,
}

#[derive(Debug)]
struct BrakeState {
    second_began: Option<Instant>,
    passed: u32,
    held_back: u64,
}

impl Brake {
    pub(crate) fn new(per_second: u32) -> Brake {
        Brake { per_second, state: Mutex::new(BrakeState { second_began: None, passed: 0, held_back: 0 }) }
    }

    /// Whether a line may be written now; if so, how many were held back since the last.
    pub(crate) fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fresh = state.second_began.is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1));
        if fresh {
            state.second_began = Some(now);
            state.passed = 0;
        }
        if state.passed >= self.per_second {
            state.held_back += 1;
            return None;
        }
        state.passed += 1;
        Some(std::mem::take(&mut state.held_back))
    }

    /// Logs a warning, or only counts it.
    pub(crate) fn warn(&self, line: std::fmt::Arguments<'_>) {
        match self.pass(Instant::now()) {
            Some(0) => tracing::warn!("{line}"),
            Some(more) => tracing::warn!("{line} ({more} such lines before were left out)"),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brake_passes_a_few_and_tells_of_the_rest() {
        let brake = Brake::new(2);
        let start = Instant::now();
        let passed: Vec<_> = (0..5).map(|_| brake.pass(start)).collect();
        assert_eq!(passed, [Some(0), Some(0), None, None, None]);
        assert_eq!(brake.pass(start + Duration::from_secs(1)), Some(3));
        assert_eq!(brake.pass(start + Duration::from_secs(1)), Some(0));
    }
}
