//! `hearsay node`: runs a node until SIGTERM or SIGINT.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{EXIT_USAGE, fail};
use crate::config::NodeConfig;
use crate::{logs, node};

/// Run a node until SIGTERM or SIGINT.
///
/// On a signal it answers the requests it has taken, takes no others, and tells peers and clients.
///
/// Exit codes: 0 stopped by a signal with all requests answered, 1 could not start or had to stop (the reason is the last line of the log), 64 bad
/// usage or configuration, 101 a panic.
#[derive(Clone, Debug, clap::Args)]
pub struct NodeArgs {
    /// The node's configuration file (YAML).
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// UDP address to listen on, instead of the file's.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
    /// Directory of the store, instead of the file's.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Plant this bug in the node.
    #[cfg(feature = "planted-bugs")]
    #[arg(long, value_name = "BUG", value_parser = bug_name)]
    pub plant: Option<String>,
}

/// The name, if there is a bug of that name.
///
/// # Errors
/// There is none, as a sentence with those that there are.
#[cfg(feature = "planted-bugs")]
pub fn bug_name(name: &str) -> Result<String, String> {
    let names = hearsay_core::Bug::ALL.map(hearsay_core::Bug::name);
    let there_is = names.contains(&name);
    there_is.then(|| name.to_owned()).ok_or_else(|| format!("there are {}", names.join(", ")))
}

impl NodeArgs {
    /// Runs the node; returns when it has stopped.
    pub fn run(self) -> ExitCode {
        let mut config = match NodeConfig::read(&self.config) {
            Ok(config) => config,
            Err(error) => return fail(EXIT_USAGE, &error),
        };
        config.listen = self.listen.or(config.listen);
        if let Some(data) = self.data {
            config.data = data;
        }
        if let Err(error) = logs::start(&config.log) {
            return fail(EXIT_USAGE, &error);
        }
        logs::panic_ends_the_process();
        #[cfg(feature = "planted-bugs")]
        let planted = self.plant.as_deref().and_then(hearsay_core::Planted::named).unwrap_or_default();
        #[cfg(not(feature = "planted-bugs"))]
        let planted = hearsay_core::Planted::NONE;
        if planted != hearsay_core::Planted::NONE {
            tracing::warn!("a bug is planted in this node: {planted:?}");
        }
        let name = config.node.0;
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(1, &error),
        };
        let ran = runtime.block_on(async {
            let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            Ok::<_, std::io::Error>(node::run_planted(planted, config, stopped_by(name, terminate, interrupt)).await)
        });
        match ran {
            Ok(Ok(())) => {
                tracing::info!("{name} has stopped");
                ExitCode::SUCCESS
            }
            Ok(Err(node::NodeError::Config(error))) => fail(EXIT_USAGE, &error),
            Ok(Err(error)) => {
                tracing::error!("{name} stops: {error}");
                ExitCode::FAILURE
            }
            Err(error) => fail(1, &error),
        }
    }
}

async fn stopped_by(name: hearsay_core::NodeId, mut terminate: Signal, mut interrupt: Signal) {
    let signal = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!("{name} stops: {signal}");
}
