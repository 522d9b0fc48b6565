//! Trying plans on real processes: each try is a run by the program itself, in a sandbox of its own.
//!
//! Real runs differ from each other, so a plan is run several times and counts when enough of them show the anomaly. A run that
//! could not be carried out shows nothing; why is kept for whoever finds that no run shows anything.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::plan::Plan;
use crate::report::{Problem, ProblemKind, RunReport};
use crate::store::{RunDirectory, load_case, load_json};

use super::witness::witness_of;
use super::{Anomaly, Trial, Witness};

/// Between two looks whether a run has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Tries on real processes.
#[derive(Debug)]
pub struct RealProcesses {
    /// The program that is `hearsay`.
    pub program: PathBuf,
    /// Runs of each plan, at most.
    pub repeats: u32,
    /// So many of them have to show the anomaly.
    pub needed: u32,
    /// A run that goes on then is ended, and shows nothing.
    pub until: Option<Instant>,
    /// Where its runs are while they are looked at.
    pub folder: PathBuf,
    /// Why a run could not be carried out, the last time that one could not.
    broken: Mutex<Option<String>>,
}

impl RealProcesses {
    /// Tries with `program` in `folder`, which has to exist; of `repeats` runs of a plan `needed` have to show the anomaly.
    pub fn new(program: PathBuf, (repeats, needed): (u32, u32), until: Option<Instant>, folder: PathBuf) -> Self {
        assert!((1..=repeats).contains(&needed), "no more runs can show it than there are");
        RealProcesses { program, repeats, needed, until, folder, broken: Mutex::new(None) }
    }

    /// Why a run could not be carried out, the last time that one could not.
    pub fn broken(&self) -> Option<String> {
        self.broken.lock().expect("nobody panics while holding it").clone()
    }

    /// Runs a plan once; everything of the run is below `store`. `None`: it was not carried out, or ended at the deadline.
    pub fn run(&self, plan: &Path, store: &Path) -> Option<(RunDirectory, RunReport)> {
        let said = store.with_extension("stderr");
        let ended = self.start(plan, store, &said).and_then(|mut child| self.wait(&mut child));
        let directory = fs::canonicalize(store.join("latest")).ok();
        let report = directory.as_ref().and_then(|path| {
            let directory = RunDirectory::open(path);
            let report: Option<RunReport> = load_json(&directory.verdict()).ok()?;
            Some((directory, report?))
        });
        let failed = |report: &RunReport| report.problems.iter().any(|problem| problem.kind == ProblemKind::Harness);
        let reason = match (&ended, &report) {
            (Err(error), _) => Some(format!("{} can't be run: {error}", self.program.display())),
            (Ok(Some(_)), None) => Some(fs::read_to_string(&said).unwrap_or_default().trim().to_owned()),
            (Ok(_), Some((_, report))) if failed(report) => {
                report.problems.iter().find(|problem| problem.kind == ProblemKind::Harness).map(told)
            }
            _ => None,
        };
        let _ = fs::remove_file(&said);
        if reason.is_some() {
            *self.broken.lock().expect("nobody panics while holding it") = reason;
        }
        report
    }

    fn start(&self, plan: &Path, store: &Path, said: &Path) -> std::io::Result<Child> {
        let said = fs::File::create(said)?;
        let mut command = Command::new(&self.program);
        command.args(["run", "--json", "--end-with", &std::process::id().to_string(), "--plan"]);
        command.arg(plan).arg("--store").arg(store);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said).spawn()
    }

    /// `None`: the time was over before the run was.
    fn wait(&self, child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(Some(status));
            }
            if self.until.is_some_and(|until| Instant::now() >= until) {
                // Its sandbox ends with it.
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Whether one run of the plan shows the anomaly, and where.
    fn once(&self, plan: &Plan, anomaly: &Anomaly) -> Option<Witness> {
        let place = tempfile::Builder::new().prefix("try-").tempdir_in(&self.folder).ok()?;
        let file = place.path().join("plan.yaml");
        plan.save(&file).ok()?;
        let (directory, report) = self.run(&file, &place.path().join("store"))?;
        let case = load_case(directory.path()).ok();
        let ended = report.phases.last().map_or(0, |phase| phase.to);
        witness_of(plan, case.as_ref(), ended, &report.problems, anomaly)
    }
}

fn told(problem: &Problem) -> String {
    problem.message.clone()
}

impl Trial for RealProcesses {
    fn shows(&self, plan: &Plan, anomaly: &Anomaly) -> Option<Witness> {
        let (mut shown, mut last) = (0, None);
        for left in (0..self.repeats).rev() {
            if self.until.is_some_and(|until| Instant::now() >= until) {
                return None;
            }
            if let Some(witness) = self.once(plan, anomaly) {
                shown += 1;
                last = Some(witness);
            }
            if shown >= self.needed {
                return last;
            }
            if shown + left < self.needed {
                return None;
            }
        }
        None
    }

    fn variations_max(&self) -> u64 {
        1
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::plan::make_plan;
    use crate::sim::{Settings, simulate};

    /// A program that stands in for runs on real processes: it copies what a simulated run left, in as many of its runs as
    /// `shows` says, and counts them.
    fn stand_in(here: &Path, plan: &Plan, script: &str) -> PathBuf {
        let directory = RunDirectory::create(&here.join("made"), &plan.campaign, "run", 1).unwrap();
        let simulated = simulate(plan, Settings::default());
        simulated.write(&directory).unwrap();
        let report = simulated.report(plan, String::new(), String::new());
        crate::store::write_json(&directory.verdict(), &report).unwrap();
        let program = here.join("program");
        let head = "#!/bin/sh\ncd \"$(dirname \"$0\")\"\nfor last; do :; done\necho >> runs\nruns=$(wc -l < runs)\n";
        fs::write(&program, format!("{head}{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        program
    }

    fn stale_read() -> Anomaly {
        Anomaly::Violation { checker: "monotonic-reads".to_owned(), kind: "stale-read".to_owned() }
    }

    fn runs(here: &Path) -> usize {
        fs::read_to_string(here.join("runs")).unwrap().lines().count()
    }

    #[test]
    fn enough_of_the_runs_have_to_show_it() {
        let plan = make_plan(&crate::campaign::load("stale-reads").unwrap(), 4);
        // Every second run leaves something.
        let script = "mkdir -p \"$last\"; [ $((runs % 2)) = 1 ] || cp -r made/. \"$last\"";
        for (repeats, needed, shown, made) in [(3, 1, true, 2), (3, 2, false, 3), (4, 2, true, 4), (5, 3, false, 5)] {
            let here = tempfile::tempdir().unwrap();
            let program = stand_in(here.path(), &plan, script);
            let real = RealProcesses::new(program, (repeats, needed), None, here.path().to_owned());
            assert_eq!(real.shows(&plan, &stale_read()).is_some(), shown, "{needed} of {repeats}");
            assert_eq!(runs(here.path()), made, "{needed} of {repeats}");
        }
    }

    #[test]
    fn what_keeps_runs_from_being_made_is_told() {
        let plan = make_plan(&crate::campaign::load("stale-reads").unwrap(), 4);
        let here = tempfile::tempdir().unwrap();
        let program = stand_in(here.path(), &plan, "echo no sandbox here >&2; exit 70");
        let real = RealProcesses::new(program, (1, 1), None, here.path().to_owned());
        assert!(real.shows(&plan, &stale_read()).is_none());
        assert_eq!(real.broken().as_deref(), Some("no sandbox here"));
        let real = RealProcesses::new(here.path().join("nothing"), (1, 1), None, here.path().to_owned());
        assert!(real.shows(&plan, &stale_read()).is_none());
        assert!(real.broken().unwrap().contains("nothing can't be run"));
    }

    #[test]
    fn a_run_ends_with_the_budget() {
        let plan = make_plan(&crate::campaign::load("stale-reads").unwrap(), 4);
        let here = tempfile::tempdir().unwrap();
        let program = stand_in(here.path(), &plan, "exec tail -f /dev/null");
        let until = Instant::now().checked_add(Duration::from_millis(200));
        let real = RealProcesses::new(program, (3, 1), until, here.path().to_owned());
        assert!(real.shows(&plan, &stale_read()).is_none());
        assert_eq!(runs(here.path()), 1);
        assert_eq!(real.broken(), None);
    }
}
