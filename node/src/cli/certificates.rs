//! `hearsay certificates`: makes the certificates of a new cluster.

use std::path::PathBuf;
use std::process::ExitCode;

use hearsay_core::NodeId;

use super::{EXIT_USAGE, fail};
use crate::certificates::{Authority, CertificateError};

/// Make the certificates of a new cluster: an authority, one identity per node, one for a client.
///
/// Writes ca.pem, ca.key, n1.pem, n1.key, ..., client.pem, client.key; nothing is overwritten. Exit codes: 0 done, 1 could
/// not be written, 64 bad usage.
#[derive(Clone, Debug, clap::Args)]
pub struct CertificatesArgs {
    /// Name of the cluster: a-z, 0-9 and '-'.
    #[arg(long, value_name = "NAME")]
    pub cluster: String,
    /// How many nodes, numbered from 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub nodes: u16,
    /// Directory to write to; made when missing.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

impl CertificatesArgs {
    /// Makes and writes them.
    pub fn run(self) -> ExitCode {
        match self.make() {
            Ok(()) => {
                println!(
                    "certificates of {} nodes, one client and the authority are in {}",
                    self.nodes,
                    self.out.display()
                );
                ExitCode::SUCCESS
            }
            Err(error @ CertificateError::Name(_)) => fail(EXIT_USAGE, &error),
            Err(error) => fail(1, &error),
        }
    }

    fn make(&self) -> Result<(), CertificateError> {
        let authority = Authority::generate(&self.cluster)?;
        std::fs::create_dir_all(&self.out).map_err(|error| CertificateError::File(self.out.clone(), error))?;
        // The authority first: where its files exist, nothing is written at all.
        authority.write(&self.out)?;
        for id in 1..=self.nodes {
            authority.node(NodeId(id))?.write(&self.out, &NodeId(id).to_string())?;
        }
        authority.client("client")?.write(&self.out, "client")
    }
}
