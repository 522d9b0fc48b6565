//! Partitions by the iptables programs, for kernels or people without nftables.
//!
//! ```text
//! FORWARD, OUTPUT -> hearsay -> from-10.66.0.1 -> drop if the destination is blocked
//!                            -> from-10.66.0.2 -> ...
//! ```
//!
//! A chain for each source keeps a packet's way short: a linear list of 20,000 rules costs 74 us a packet. `iptables-restore` replaces the whole
//! filter table in one transaction. That resets the counters, so they are read before every change and added up.
//!
//! Weaker than nftables: packets dropped between that reading and the change are not counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::firewall::{Firewall, FirewallError, Pair};

/// The programs, best first. The legacy ones are several times quicker, and those that translate to nftables can't change tens of
/// thousands of rules at once in a user namespace: their send buffer is limited there.
const PROGRAMS: [(&str, &str); 2] =
    [("iptables-legacy-restore", "iptables-legacy-save"), ("iptables-restore", "iptables-save")];
/// Ordinary users often lack these in PATH.
const MORE_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];
const CHAIN_PREFIX: &str = "from-";

/// The iptables firewall of one network namespace.
pub struct Iptables {
    restore: PathBuf,
    save: PathBuf,
    in_force: BTreeSet<Pair>,
    counted_before: BTreeMap<Pair, u64>,
    pairs_max: usize,
}

impl Iptables {
    /// Finds programs that work here and empties the filter table.
    pub fn open(pairs_max: usize) -> Result<Iptables, FirewallError> {
        let mut failure = FirewallError::Missing("iptables-restore");
        for (restore, save) in PROGRAMS {
            let (Some(restore), Some(save)) = (find(restore), find(save)) else { continue };
            let (in_force, counted_before) = (BTreeSet::new(), BTreeMap::new());
            let firewall = Iptables { restore, save, in_force, counted_before, pairs_max };
            match firewall.replace(&BTreeSet::new()).and_then(|()| firewall.read()) {
                Ok(_) => return Ok(firewall),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Whether there are programs, working or not.
    pub fn installed() -> bool {
        PROGRAMS.iter().any(|(restore, save)| find(restore).is_some() && find(save).is_some())
    }

    fn replace(&self, blocked: &BTreeSet<Pair>) -> Result<(), FirewallError> {
        let failed = |error: io::Error| FirewallError::Iptables {
            what: "can't run iptables-restore",
            reason: error.to_string(),
        };
        let mut child = Command::new(&self.restore)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut input = child.stdin.take().expect("standard input was asked for");
        let sent = input.write_all(table(blocked).as_bytes());
        drop(input);
        let output = child.wait_with_output().map_err(failed)?;
        check("iptables-restore refused the table", output)?;
        sent.map_err(failed)
    }

    fn read(&self) -> Result<BTreeMap<Pair, u64>, FirewallError> {
        let output = Command::new(&self.save)
            .args(["-c", "-t", "filter"])
            .output()
            .map_err(|error| FirewallError::Iptables { what: "can't run iptables-save", reason: error.to_string() })?;
        let output = check("iptables-save failed", output)?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(parse_rule).collect())
    }
}

impl Firewall for Iptables {
    fn name(&self) -> &'static str {
        "iptables"
    }

    fn apply(&mut self, blocked: &BTreeSet<Pair>) -> Result<(), FirewallError> {
        if blocked.len() > self.pairs_max {
            return Err(FirewallError::TooMany { wanted: blocked.len(), most: self.pairs_max });
        }
        if *blocked == self.in_force {
            return Ok(());
        }
        let counted = if self.in_force.is_empty() { self.counted_before.clone() } else { self.drops()? };
        self.replace(blocked)?;
        self.counted_before = counted;
        self.in_force.clone_from(blocked);
        Ok(())
    }

    fn blocked(&mut self) -> Result<BTreeSet<Pair>, FirewallError> {
        Ok(self.read()?.into_keys().collect())
    }

    fn drops(&mut self) -> Result<BTreeMap<Pair, u64>, FirewallError> {
        let mut drops = self.counted_before.clone();
        for (pair, count) in self.read()? {
            *drops.entry(pair).or_default() += count;
        }
        Ok(drops)
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(MORE_DIRECTORIES.map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

fn check(what: &'static str, output: Output) -> Result<Output, FirewallError> {
    match output.status.success() {
        true => Ok(output),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            let reason = format!("{} ({})", said.trim(), output.status);
            Err(FirewallError::Iptables { what, reason })
        }
    }
}

/// The whole filter table.
fn table(blocked: &BTreeSet<Pair>) -> String {
    let sources: BTreeSet<Ipv4Addr> = blocked.iter().map(|&(source, _)| source).collect();
    let mut text = "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n:hearsay -\n".to_string();
    let mut rules = "-A FORWARD -j hearsay\n-A OUTPUT -j hearsay\n".to_string();
    // Writing to a string does not fail.
    for source in &sources {
        let _ = writeln!(text, ":{CHAIN_PREFIX}{source} -");
        let _ = writeln!(rules, "-A hearsay -s {source} -j {CHAIN_PREFIX}{source}");
    }
    for (source, destination) in blocked {
        let _ = writeln!(rules, "-A {CHAIN_PREFIX}{source} -d {destination} -j DROP");
    }
    text + &rules + "COMMIT\n"
}

/// `[packets:bytes] -A from-SOURCE -d DESTINATION/32 -j DROP`
fn parse_rule(line: &str) -> Option<(Pair, u64)> {
    let (counters, rule) = line.strip_prefix('[')?.split_once("] -A ")?;
    let packets = counters.split_once(':')?.0.parse().ok()?;
    let (source, rest) = rule.strip_prefix(CHAIN_PREFIX)?.split_once(" -d ")?;
    let destination = rest.strip_suffix(" -j DROP")?;
    let destination = destination.strip_suffix("/32").unwrap_or(destination);
    Some(((source.parse().ok()?, destination.parse().ok()?), packets))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_a_saved_table_are_read() {
        let pair = (Ipv4Addr::new(10, 66, 0, 1), Ipv4Addr::new(10, 66, 0, 2));
        assert_eq!(parse_rule("[12:3456] -A from-10.66.0.1 -d 10.66.0.2/32 -j DROP"), Some((pair, 12)));
        assert_eq!(parse_rule("[12:3456] -A FORWARD -j hearsay"), None);
        assert_eq!(parse_rule(":FORWARD ACCEPT [0:0]"), None);
        assert_eq!(parse_rule("[12:3456] -A from-10.66.0.1 -d 10.66.0.2/24 -j DROP"), None);
    }

    #[test]
    fn a_table_has_one_chain_for_each_source() {
        let address = |last| Ipv4Addr::new(10, 66, 0, last);
        let table =
            table(&BTreeSet::from([(address(1), address(2)), (address(1), address(3)), (address(2), address(1))]));
        assert_eq!(table.matches("-A hearsay -s").count(), 2, "{table}");
        assert_eq!(table.matches("-j DROP").count(), 3, "{table}");
        assert!(table.starts_with("*filter\n") && table.ends_with("COMMIT\n"));
    }
}
