//! What `/proc` says about a process: the state of its threads and the CPU time they used. Evidence for pauses.

use std::fs;
use std::io;

/// A look at all threads of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threads {
    /// How many there are.
    pub(crate) count: u64,
    /// How many of them are stopped (state T).
    pub(crate) stopped: u64,
    /// CPU time that they used, in nanoseconds where the kernel keeps it so finely, else in its ticks.
    pub(crate) cpu_ns: u64,
}

/// Looks at a process. Fails when it is gone.
pub(crate) fn threads(pid: u32) -> io::Result<Threads> {
    let mut seen = Threads { count: 0, stopped: 0, cpu_ns: 0 };
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let directory = entry?.path();
        // A thread that ends while we look is not counted.
        let Ok(stat) = fs::read_to_string(directory.join("stat")) else { continue };
        let Some((state, ticks)) = parse_stat(&stat) else {
            return Err(io::Error::other(format!("{}/stat has an unknown form", directory.display())));
        };
        let fine = fs::read_to_string(directory.join("schedstat")).ok();
        let fine = fine.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        seen.count += 1;
        seen.stopped += u64::from(state == 'T');
        seen.cpu_ns += fine.unwrap_or(ticks * 10_000_000);
    }
    match seen.count {
        0 => Err(io::Error::new(io::ErrorKind::NotFound, format!("process {pid} has no threads left"))),
        _ => Ok(seen),
    }
}

/// State letter and CPU ticks of a `stat` line. The name in parentheses may hold anything, parentheses included.
fn parse_stat(line: &str) -> Option<(char, u64)> {
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let state = fields.first()?.chars().next()?;
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some((state, user + system))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_mislead() {
        let line = "7 (a) R (b) T 1 7 7 0 -1 4 0 0 0 0 5 6 0 0 20 0 1 0 1 1 1";
        assert_eq!(parse_stat(line), Some(('T', 11)));
        assert_eq!(parse_stat("7 (a"), None);
        assert_eq!(parse_stat("7 (a) T 1"), None);
    }

    #[test]
    fn this_process_runs() {
        let own = threads(std::process::id()).expect("own threads");
        assert!(own.count >= 1 && own.stopped == 0, "{own:?}");
    }
}
