//! `hearsay certificates`: makes the certificates of a new cluster.

use std::path::PathBuf;
use std::process::ExitCode;

use hearsay_core::NodeId;

use super::{EXIT_USAGE, fail};
use crate::certificates::{Authority, CertificateError};
use crate::config::Member;

/// Make the certificates of a new cluster: an authority, one identity per node, one for a client; or, with --add, those of nodes that
/// join it.
///
/// Writes ca.pem, ca.key, n1.pem, n1.key, ..., client.pem, client.key; nothing is overwritten. Exit codes: 0 done, 1 could
/// not be written, 64 bad usage.
#[derive(Clone, Debug, clap::Args)]
pub struct CertificatesArgs {
    /// Name of the cluster: a-z, 0-9 and '-'.
    #[arg(long, value_name = "NAME")]
    pub cluster: String,
    /// How many nodes, numbered from 1.
    #[arg(long, value_name = "N", required_unless_present = "add", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub nodes: Option<u16>,
    /// Make certificates of these nodes alone, by the authority that is in the directory already: n4, or several by commas.
    #[arg(long, value_name = "NODES", value_delimiter = ',', conflicts_with = "nodes")]
    pub add: Vec<Member>,
    /// Directory to write to; made when missing.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

impl CertificatesArgs {
    /// Makes and writes them.
    pub fn run(self) -> ExitCode {
        match self.make() {
            Ok(()) if !self.add.is_empty() => {
                let nodes: Vec<String> = self.add.iter().map(|node| node.0.to_string()).collect();
                println!("certificates of {} are in {}", nodes.join(", "), self.out.display());
                ExitCode::SUCCESS
            }
            Ok(()) => {
                println!(
                    "certificates of {} nodes, one client and the authority are in {}",
                    self.nodes.unwrap_or_default(),
                    self.out.display()
                );
                ExitCode::SUCCESS
            }
            Err(error @ CertificateError::Name(_)) => fail(EXIT_USAGE, &error),
            Err(error) => fail(1, &error),
        }
    }

    fn make(&self) -> Result<(), CertificateError> {
        if !self.add.is_empty() {
            let authority = Authority::read(&self.out, &self.cluster)?;
            for Member(node) in &self.add {
                authority.node(*node)?.write(&self.out, &node.to_string())?;
            }
            return Ok(());
        }
        let authority = Authority::generate(&self.cluster)?;
        std::fs::create_dir_all(&self.out).map_err(|error| CertificateError::File(self.out.clone(), error))?;
        // The authority first: where its files exist, nothing is written at all.
        authority.write(&self.out)?;
        for id in 1..=self.nodes.unwrap_or_default() {
            authority.node(NodeId(id))?.write(&self.out, &NodeId(id).to_string())?;
        }
        authority.client("client")?.write(&self.out, "client")
    }
}
