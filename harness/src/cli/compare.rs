//! `hearsay trace --compare`: the first event in which two runs differ.
//!
//! Files of events tell where two runs of other processes, machines or commits part. What happened there is told by
//! carrying out their plans again, here and now.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::exit::Outcome;
use crate::plan::Plan;
use crate::sim::{LoggedEvent, Settings};
use crate::store::RunDirectory;
use crate::trace::{Difference, EventFile, both_files, run_both, words_at};

use super::{failed, misused, print};

/// One of the two.
struct Side {
    /// As it was given.
    name: String,
    plan: Plan,
    events: Option<EventFile>,
}

impl Side {
    fn load(path: &Path) -> Result<Side, String> {
        let name = path.display().to_string();
        let events = match path.is_dir() {
            true => None,
            false => EventFile::open(path).map_err(|error| error.to_string())?,
        };
        let file: PathBuf = match &events {
            Some(events) => events.header.plan.clone(),
            None if path.is_dir() => RunDirectory::open(path).plan(),
            None => path.to_owned(),
        };
        let plan = Plan::load(&file).map_err(|error| error.to_string())?;
        Ok(Side { name, plan, events })
    }
}

/// Exit codes: 0 they are equal, 1 they are not, 64 there is no such run, 70 the simulator does not repeat itself.
pub(super) fn run(first: &Path, second: &Path) -> ExitCode {
    let (mut first, mut second) = match (Side::load(first), Side::load(second)) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(error), _) | (_, Err(error)) => return misused(&error),
    };
    let names = [first.name.clone(), second.name.clone()];
    let names = [names[0].as_str(), names[1].as_str()];
    let recorded = match (&mut first.events, &mut second.events) {
        (Some(one), Some(other)) => match both_files(one, other) {
            Ok(recorded) => Some(recorded),
            Err(error) => return misused(&error),
        },
        _ => None,
    };
    match &recorded {
        Some(None) => {
            print("the two files hold the same events\n");
            return ExitCode::SUCCESS;
        }
        Some(Some(difference)) => {
            let commits = [&first, &second].map(|side| side.events.as_ref().map_or("", |events| &events.header.commit));
            let made = names.iter().zip(commits).map(|(name, commit)| format!("{name}: commit {commit}\n"));
            print(&format!("as recorded\n{}{}\n", made.collect::<String>(), difference.render(names)));
        }
        None => {}
    }
    // Plans that are equal must give equal runs; then nothing but the recordings is left to differ.
    let settings = Settings::default();
    let (_, now) = run_both((&first.plan, settings), (&second.plan, settings));
    match (recorded.flatten(), now) {
        (None, None) => {
            print(&format!("commit {} gives the same run of both plans, to the bit\n", crate::COMMIT));
            ExitCode::SUCCESS
        }
        (_, Some(now)) => {
            print(&format!("carried out again by commit {}\n{}", crate::COMMIT, now.render(names)));
            if first.plan == second.plan {
                return failed(&"the simulator does not repeat itself: two runs of one plan differ");
            }
            ExitCode::from(Outcome::Violation.exit_code())
        }
        (Some(recorded), None) => {
            print(&as_repeated(&first.plan, &recorded, names));
            ExitCode::from(Outcome::Violation.exit_code())
        }
    }
}

/// Both plans give one run here: whose event is it?
fn as_repeated(plan: &Plan, recorded: &Difference, names: [&str; 2]) -> String {
    let commit = crate::COMMIT;
    let Some(event) = words_at(plan, Settings::default(), recorded.position) else {
        return format!("commit {commit} gives one run of both plans, and it ends before that event\n");
    };
    // A file keeps half of a digest.
    let is_it = |kept: &Option<LoggedEvent>| {
        kept.as_ref().is_some_and(|kept| {
            let parts = |event: &LoggedEvent| (event.time, event.sequence, event.node, event.digest as u32);
            parts(kept) == parts(&event)
        })
    };
    let whose = match [&recorded.first, &recorded.second].map(is_it) {
        [true, _] => format!("that of {}; the other can't be repeated here", names[0]),
        [_, true] => format!("that of {}; the other can't be repeated here", names[1]),
        _ => "neither's: they were made by other programs".to_owned(),
    };
    let shown = Difference { position: recorded.position, first: Some(event), second: None, before: None };
    format!(
        "carried out again by commit {commit}, both plans give one run; its event there is {whose}\n{}",
        shown.render_first()
    )
}
