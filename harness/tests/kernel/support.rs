//! A very small test runner, and waiting with a deadline.

use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hearsay::sandbox::{Network, Sandbox};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const NOBODY: u32 = 65_534;

pub(crate) struct Context<'a> {
    pub(crate) network: Option<Arc<Network>>,
    pub(crate) sandbox: Option<&'a Sandbox>,
}

impl Context<'_> {
    pub(crate) fn network(&self) -> &Network {
        self.network.as_ref().expect("this case runs inside of a sandbox")
    }

    pub(crate) fn shared_network(&self) -> Arc<Network> {
        Arc::clone(self.network.as_ref().expect("this case runs inside of a sandbox"))
    }
}

pub(crate) enum Outcome {
    Passed,
    Skipped(&'static str),
}

pub(crate) type Case = (&'static str, fn(&Context<'_>) -> Outcome);

/// Runs the cases whose name holds one of the words; true when none failed.
pub(crate) fn run_cases(cases: &[Case], words: &[String], context: &Context<'_>) -> bool {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, case) in cases {
        if !words.is_empty() && !words.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| case(context)));
        let took = began.elapsed().as_millis();
        match outcome {
            Ok(Outcome::Passed) => {
                passed += 1;
                println!("test {name} ... ok ({took} ms)");
            }
            Ok(Outcome::Skipped(why)) => {
                skipped += 1;
                println!("test {name} ... SKIPPED: {why}");
            }
            Err(_) => {
                failed += 1;
                println!("test {name} ... FAILED");
            }
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; {skipped} skipped");
    failed == 0
}

pub(crate) fn run_self(mode: &str, words: &[String]) -> bool {
    Command::new("/proc/self/exe").arg(mode).args(words).status().is_ok_and(|status| status.success())
}

/// All of it again as nobody. The program is copied where nobody may read it.
pub(crate) fn run_as_ordinary_user(words: &[String]) -> bool {
    let directory = scratch_directory("kernel-test");
    let program = directory.join("kernel");
    std::fs::copy("/proc/self/exe", &program).expect("copying the test program");
    for path in [&directory, &program] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).expect("letting everybody read the test program");
    }
    let mut command = Command::new(&program);
    let status = command.args(words).uid(NOBODY).gid(NOBODY).current_dir("/").status();
    std::fs::remove_dir_all(&directory).expect("removing the copy");
    status.expect("starting the test program as an ordinary user").success()
}

pub(crate) fn scratch_directory(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("hearsay-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory for temporary files");
    directory
}

/// Asks again and again until the answer is `Ok`; panics with the last `Err` when it takes too long.
pub(crate) fn until<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(missing) if began.elapsed() > PATIENCE => {
                panic!("{what}: not within {} s: {missing}", PATIENCE.as_secs())
            }
            Err(_) => std::thread::sleep(Duration::from_millis(2)), // poll
        }
    }
}
