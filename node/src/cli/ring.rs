//! `hearsay ring`: the members of the ring and how far its changes are; `leave` and `remove`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use hearsay_core::RingReport;

use super::{KvArgs, KvCommand};
use crate::config::Member;

/// Show the ring as a node sees it, or change it.
///
/// Exit codes: 0 done, 2 the request failed or nobody knows what became of it, 64 bad usage.
#[derive(Clone, Debug, clap::Args)]
pub struct RingArgs {
    /// A node's configuration file: asks that node, with client.pem and client.key from the directory of the authority.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["node", "cluster"])]
    pub config: Option<PathBuf>,
    /// Address of the node to ask.
    #[arg(long, value_name = "ADDR", required_unless_present = "config", requires = "certificates")]
    pub node: Option<SocketAddr>,
    /// Directory with ca.pem, client.pem and client.key.
    #[arg(long, value_name = "DIR")]
    pub certificates: Option<PathBuf>,
    /// Name of the cluster.
    #[arg(long, value_name = "NAME", required_unless_present = "config")]
    pub cluster: Option<String>,
    /// How long to wait, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    pub timeout_ms: u64,
    /// What to change. Default: nothing.
    #[command(subcommand)]
    pub command: Option<RingCommand>,
}

/// What to change.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum RingCommand {
    /// The node asked hands its ranges over and leaves for good; its process ends by itself.
    Leave,
    /// A dead node is out for good, and others take its ranges.
    Remove {
        /// Which one.
        id: Member,
    },
}

impl RingArgs {
    /// Asks and prints.
    pub fn run(self) -> ExitCode {
        let command = match self.command {
            None => KvCommand::Ring,
            Some(RingCommand::Leave) => KvCommand::Leave,
            Some(RingCommand::Remove { id }) => KvCommand::Remove { node: id },
        };
        let RingArgs { config, node, certificates, cluster, timeout_ms, .. } = self;
        KvArgs { config, node, certificates, cluster, timeout_ms, command }.run()
    }
}

/// A report for people: a line for each member, and one for what is under way.
pub(super) fn text(report: &RingReport) -> String {
    let mut text = String::from("member    phase     ranges  share    address\n");
    for member in &report.members {
        let replaces = member.replaces.map_or(String::new(), |node| format!(", in place of {node}"));
        let address = match member.address.as_slice() {
            [] => "as configured".into(),
            address => String::from_utf8_lossy(address),
        };
        text += &format!(
            "{:<9} {:<9} {:>6}  {:>3}.{:02} %  {address}{replaces}\n",
            member.node.to_string(),
            member.phase.name(),
            member.ranges,
            member.share / 100,
            member.share % 100
        );
    }
    text += &format!(
        "view {:016x} as {} sees it; {} ranges get other owners\n",
        report.view, report.node, report.ranges_pending
    );
    let (done, all) = report.compared;
    if !report.comparing_with.is_empty() {
        let peers: Vec<String> = report.comparing_with.iter().map(ToString::to_string).collect();
        text += &format!(
            "{} compares itself with {}: {} % done, {} ranges not served yet\n",
            report.node,
            peers.join(" "),
            percent(done, all),
            report.ranges_unsure
        );
    }
    let (done, all) = report.taken_over;
    if all > 0 {
        text += &format!(
            "{} hands over: {} % done, {done} of {all} nodes have all of theirs\n",
            report.node,
            percent(done, all)
        );
    }
    text
}

fn percent(done: u64, all: u64) -> u64 {
    (done * 100).checked_div(all).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use hearsay_core::ring::topology::Phase;
    use hearsay_core::{MemberReport, NodeId};

    use super::*;

    #[test]
    fn a_report_has_a_line_for_each_member_and_says_how_far_a_change_is() {
        let member = |node, phase, replaces: Option<u16>, address: &[u8]| MemberReport {
            node: NodeId(node),
            phase,
            replaces: replaces.map(NodeId),
            address: address.to_vec(),
            ranges: 12,
            share: 7_503,
        };
        let report = RingReport {
            node: NodeId(4),
            view: 7,
            members: vec![member(1, Phase::Normal, None, b""), member(4, Phase::Entering, Some(2), b"127.0.0.1:7104")],
            ranges_pending: 3,
            ranges_unsure: 5,
            comparing_with: vec![NodeId(1)],
            compared: (3, 4),
            taken_over: (0, 0),
        };
        let lines: Vec<String> = text(&report).lines().map(str::to_owned).collect();
        assert_eq!(lines[1], "n1        normal        12   75.03 %  as configured");
        assert_eq!(lines[2], "n4        entering      12   75.03 %  127.0.0.1:7104, in place of n2");
        assert_eq!(lines[3], "view 0000000000000007 as n4 sees it; 3 ranges get other owners");
        assert_eq!(lines[4], "n4 compares itself with n1: 75 % done, 5 ranges not served yet");
        assert_eq!(lines.len(), 5);
    }
}
