//! What the end-to-end tests share: the program, folders of their own, campaigns, and waiting for states.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for anything in a test.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A folder of a test's own, to work in.
pub struct Workplace {
    folder: tempfile::TempDir,
}

impl Workplace {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "making a folder is no default")]
    pub fn new() -> Workplace {
        Workplace { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file in it.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("a file can be written in the test's folder");
        path
    }

    /// The program under test with these arguments, in this folder, with nothing to read.
    pub fn hearsay(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.hearsay(arguments).output().expect("the program starts");
        Ended::from(output)
    }

    /// The stored run that was made last.
    pub fn latest(&self) -> PathBuf {
        let latest = self.path().join("store/latest");
        latest.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", latest.display()))
    }
}

/// The program, built together with the tests. It stands beside the folder that the tests stand in.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().expect("a test knows where it is");
    let folder = own.parent().and_then(Path::parent).expect("tests stand in a folder of the build's");
    let program = folder.join("hearsay-under-test");
    assert!(program.exists(), "{} is missing: run the tests by `cargo test`", program.display());
    program
}

/// A program that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its results.
    pub stdout: String,
    /// Its progress and complaints.
    pub stderr: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ended {
    /// Fails the test unless the program ended with `code`, showing all it said.
    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Ended {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless stdout or stderr contain `words`.
    #[track_caller]
    pub fn expect_words(&self, words: &str) -> &Ended {
        let said = self.stdout.contains(words) || self.stderr.contains(words);
        assert!(said, "`{words}` was not said. stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// Waits until `state` gives something, and fails the test with what was `missing` when it takes too long.
#[track_caller]
pub fn wait_for<T>(missing: &str, mut state: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = state() {
            return found;
        }
        assert!(Instant::now() < deadline, "still missing after {PATIENCE:?}: {missing}");
        std::thread::sleep(Duration::from_millis(20)); // poll
    }
}

/// Processes of this machine whose command line or environment names `needle`, as (pid, command line).
pub fn processes_naming(needle: &Path) -> Vec<(i32, String)> {
    let needle = needle.display().to_string();
    let own = std::process::id() as i32;
    let entries = std::fs::read_dir("/proc").expect("/proc is there").flatten();
    entries
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok())
        .filter(|&pid| pid != own)
        .filter_map(|pid| {
            let read = |what: &str| std::fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
            let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let working = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            (line.contains(&needle) || working.starts_with(&needle)).then_some((pid, line))
        })
        .collect()
}

/// A small campaign: three nodes, load, and the given faults (YAML below `faults:`; empty for none).
pub fn small_campaign(faults: &str, phases: &str) -> String {
    let faults = if faults.is_empty() { String::new() } else { format!("faults:\n{faults}\n") };
    format!(
        "campaign: small\n\
         about: a short run for tests\n\
         cluster: {{nodes: 3, replication: 3, read_repair: blocking, merkle_interval: 500ms}}\n\
         workload:\n  register: {{keys: 8, clients: 4, rate: 200, mix: {{read: 50, write: 45, delete: 5}}, \
         read_level: quorum, write_level: quorum, client_timeout: 1500ms}}\n\
         phases: {phases}\n\
         {faults}\
         expect:\n  monotonic-reads: holds\n  monotonic-quorum-reads: holds\n  convergence: holds\n  \
         acknowledged-writes: holds\n  availability: any\n"
    )
}
