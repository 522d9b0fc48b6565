//! `hearsay kv`: one request, by hand.

use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use hearsay_core::{
    ClientError, ClientRequest, ClientResponse, Key, KeyBound, KeyRange, KnownMember, Level, NodeId, NodeOption,
    ReadOptions, RepairReport, StatusReport, Value, WriteOptions,
};

use super::{EXIT_USAGE, fail};
use crate::certificates::Identity;
use crate::client::{ClientConnection, ClientEndpoint};
use crate::config::NodeConfig;

/// Ask a node: put, get, delete, status, scan.
///
/// Exit codes: 0 done, 1 get found nothing, 2 the request failed or nobody knows what became of it, 64 bad usage.
#[derive(Clone, Debug, clap::Args)]
pub struct KvArgs {
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
    /// What to ask.
    #[command(subcommand)]
    pub command: KvCommand,
}

/// What to ask.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum KvCommand {
    /// Write a value.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Replicas that must have it durably: any, one, two, three, quorum, all, or a number.
        #[arg(long, default_value = "quorum")]
        level: Level,
        /// So many of them replicas of the key itself, not stand-ins: one, two, three, quorum, all, or a number.
        #[arg(long)]
        primaries: Option<Level>,
        /// What the write has seen, as `get` printed it: it replaces that. For clusters with `conflict: dcc`.
        #[arg(long, value_name = "HEX")]
        context: Option<Context>,
    },
    /// Read a value and print it; exit code 1 when there is none. With `conflict: dcc` each sibling has a line, and the context for
    /// the next write goes to stderr.
    Get {
        /// The key.
        key: String,
        /// Replicas to ask: one, two, three, quorum, all, or a number.
        #[arg(long, default_value = "quorum")]
        level: Level,
        /// So many of them replicas of the key itself, not stand-ins: one, two, three, quorum, all, or a number.
        #[arg(long)]
        primaries: Option<Level>,
    },
    /// Delete a value.
    Delete {
        /// The key.
        key: String,
        /// Replicas that must have it durably: any, one, two, three, quorum, all, or a number.
        #[arg(long, default_value = "quorum")]
        level: Level,
        /// What the delete has seen, as `get` printed it: it removes that. For clusters with `conflict: dcc`.
        #[arg(long, value_name = "HEX")]
        context: Option<Context>,
    },
    /// Broadcast a text to all members, and print its name.
    Publish {
        /// What to broadcast.
        text: String,
    },
    /// Print what was broadcast and delivered at the node, one "number, origin, text" per line.
    Delivered {
        /// Only behind this number.
        #[arg(long, default_value_t = 0)]
        after: u64,
    },
    /// Print the members as the node knows them, one "node, state, incarnation, tokens, who holds it for dead" per line.
    Members,
    /// Change an option of the running cluster, or print one or all as "name, version, value".
    Option {
        /// Its name; without it all are printed.
        name: Option<String>,
        /// Its new value; without it the option is printed, exit code 1 when there is none.
        value: Option<String>,
    },
    /// Print links, digests and counters of the node.
    Status,
    /// Have the node compare everything with its neighbours now, repair both ways, and print what differed; exit code 1 when a
    /// neighbour was left out. Give --timeout-ms time enough.
    Repair,
    /// Print rows in key order, one "key, stamp, value" per line. Without --level what the node itself stores, tombstones
    /// without value included; with it what a read of each key at that level would give.
    Scan {
        /// Replicas of each key to ask: one, two, three, quorum, all, or a number.
        #[arg(long)]
        level: Option<Level>,
        /// Only keys that begin so.
        #[arg(long, requires = "level", conflicts_with_all = ["from", "to"])]
        prefix: Option<String>,
        /// Only from this key on.
        #[arg(long, requires = "level")]
        from: Option<String>,
        /// Only keys before this one.
        #[arg(long, requires = "level")]
        to: Option<String>,
        /// At most so many rows.
        #[arg(long, requires = "level")]
        limit: Option<u32>,
    },
}

/// Rows of a scan that are asked for at a time.
const PAGE_ROWS: u32 = 1_000;

/// Where the next page of a scan begins.
enum After {
    /// Behind this key of the node's own.
    Local(Key),
    /// Here.
    Rows(KeyBound),
    /// Behind this delivery.
    Delivery(u64),
    /// Behind this member.
    Member(NodeId),
    /// Behind this option.
    Option(String),
}

/// A causal context in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context(pub Vec<u8>);

impl std::str::FromStr for Context {
    type Err = String;
    fn from_str(text: &str) -> Result<Context, String> {
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> =
            text.as_bytes().chunks(2).map(|pair| byte(pair).filter(|_| pair.len() == 2)).collect();
        bytes
            .map(Context)
            .ok_or_else(|| "a context is an even number of hexadecimal digits, as `get` prints it".to_owned())
    }
}

/// A sentence and the exit code.
struct Failure(u8, String);

impl KvArgs {
    /// Asks and prints.
    pub fn run(self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(2, &error),
        };
        match runtime.block_on(self.ask()) {
            Ok(code) => code,
            Err(Failure(code, sentence)) => fail(code, &sentence),
        }
    }

    async fn ask(&self) -> Result<ExitCode, Failure> {
        let usage = |error: &dyn std::fmt::Display| Failure(EXIT_USAGE, error.to_string());
        let failed = |error: &dyn std::fmt::Display| Failure(2, error.to_string());
        let (directory, cluster, node, address) = match &self.config {
            Some(file) => {
                let config = NodeConfig::read(file).map_err(|error| usage(&error))?;
                let beside = config.certificates.authority.parent().map(PathBuf::from).unwrap_or_default();
                let address = config.members[&config.node];
                (self.certificates.clone().unwrap_or(beside), config.cluster, Some(config.node.0), address)
            }
            None => match (&self.certificates, &self.cluster, self.node) {
                (Some(directory), Some(cluster), Some(address)) => (directory.clone(), cluster.clone(), None, address),
                _ => return Err(usage(&"give --config, or --node, --certificates and --cluster")),
            },
        };
        let identity = Identity::read(&directory.join("client.pem"), &directory.join("client.key"))
            .map_err(|error| usage(&error))?;
        let authority = directory.join("ca.pem");
        let authority_pem = std::fs::read_to_string(&authority)
            .map_err(|error| usage(&format_args!("{}: {error}", authority.display())))?;
        let any: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).map_err(|error| failed(&error))?;
        let endpoint =
            ClientEndpoint::new(socket, &identity, &authority_pem, &cluster).map_err(|error| usage(&error))?;
        let timeout = Duration::from_millis(self.timeout_ms);
        let connection = match node {
            Some(node) => endpoint.connect(node, address, timeout).await,
            None => endpoint.connect_any(address, timeout).await,
        }
        .map_err(|error| failed(&error))?;
        let code = self.command.carry_out(&connection, timeout).await;
        endpoint.close().await;
        code
    }
}

impl KvCommand {
    async fn carry_out(&self, connection: &ClientConnection, timeout: Duration) -> Result<ExitCode, Failure> {
        let mut out = Vec::new();
        let mut after: Option<After> = None;
        let mut rows_left = self.limit();
        loop {
            let request = self.request(after.take(), rows_left);
            let response =
                connection.request(&request, timeout).await.map_err(|error| Failure(2, error.to_string()))?;
            let mut code = ExitCode::SUCCESS;
            match response {
                ClientResponse::Failed(error) => {
                    return Err(Failure(2, told(&request, &error)));
                }
                ClientResponse::Written { .. } => {}
                ClientResponse::Read { value: Some(Value(value)), .. } => {
                    out.extend_from_slice(&value);
                    out.push(b'\n');
                }
                ClientResponse::Read { value: None, .. } => code = ExitCode::from(1),
                ClientResponse::Siblings { values, context } => {
                    if values.is_empty() {
                        code = ExitCode::from(1);
                    }
                    for Value(value) in values {
                        out.extend_from_slice(&value);
                        out.push(b'\n');
                    }
                    eprintln!("context: {}", hexadecimal(&context));
                }
                ClientResponse::Status(report) => print_status(&report, &mut out),
                ClientResponse::Entries { entries, more } => {
                    for entry in &entries {
                        let key = String::from_utf8_lossy(&entry.key.0);
                        let value = entry.value.as_ref().map(|value| String::from_utf8_lossy(&value.0));
                        let line = format!("{key}\t{}\t{}\n", entry.stamp.0, value.unwrap_or_default());
                        out.extend_from_slice(line.as_bytes());
                    }
                    after = entries.into_iter().next_back().filter(|_| more).map(|entry| After::Local(entry.key));
                }
                ClientResponse::Rows { rows, next } => {
                    for row in &rows {
                        let (key, value) = (String::from_utf8_lossy(&row.key.0), String::from_utf8_lossy(&row.value.0));
                        out.extend_from_slice(format!("{key}\t{}\t{value}\n", row.stamp.0).as_bytes());
                    }
                    let printed = u32::try_from(rows.len()).unwrap_or(u32::MAX);
                    rows_left = rows_left.map(|left| left.saturating_sub(printed));
                    after = next.filter(|_| rows_left != Some(0)).map(After::Rows);
                }
                ClientResponse::Published { id } => {
                    let line = format!("{} {:016x} {}\n", id.origin, id.incarnation, id.sequence);
                    out.extend_from_slice(line.as_bytes());
                }
                ClientResponse::Deliveries { deliveries, next, .. } => {
                    for delivered in &deliveries {
                        let words = String::from_utf8_lossy(&delivered.payload.0);
                        let line = format!("{}\t{}\t{words}\n", delivered.number, delivered.id.origin);
                        out.extend_from_slice(line.as_bytes());
                    }
                    after = (!deliveries.is_empty()).then_some(After::Delivery(next));
                }
                ClientResponse::Members { members, more } => {
                    print_members(&members, &mut out);
                    after = members.last().filter(|_| more).map(|known| After::Member(known.member.node));
                }
                ClientResponse::Options { options, more } => {
                    let wanted = self.option_name();
                    print_options(options.iter().filter(|row| wanted.is_none_or(|name| *name == row.name)), &mut out);
                    let found = wanted.is_some() && !out.is_empty();
                    after =
                        options.into_iter().next_back().filter(|_| more && !found).map(|row| After::Option(row.name));
                    if wanted.is_some() && !found && after.is_none() {
                        code = ExitCode::from(1);
                    }
                }
                ClientResponse::OptionSet { .. } => {}
                ClientResponse::Repaired { done, left_out } => {
                    if !left_out.is_empty() {
                        code = ExitCode::from(1);
                    }
                    print_repaired(&done, &left_out, &mut out);
                }
                ClientResponse::Replicas(_) | ClientResponse::Overlay(_) => {
                    return Err(Failure(2, format!("{} gave the answer to another question", connection.node())));
                }
            }
            // A reader that stops early (a pipe into head) is content.
            if std::io::stdout().write_all(&out).is_err() || after.is_none() {
                return Ok(code);
            }
            out.clear();
        }
    }

    fn limit(&self) -> Option<u32> {
        match self {
            KvCommand::Scan { limit, .. } => *limit,
            _ => None,
        }
    }

    /// The option that is asked for.
    fn option_name(&self) -> Option<&String> {
        match self {
            KvCommand::Option { name, .. } => name.as_ref(),
            _ => None,
        }
    }

    fn request(&self, after: Option<After>, rows_left: Option<u32>) -> ClientRequest {
        let bytes = |text: &String| text.clone().into_bytes();
        match self {
            KvCommand::Put { key, value, level, context: Some(Context(context)), .. } => ClientRequest::Write {
                key: Key(bytes(key)),
                value: Some(Value(bytes(value))),
                level: *level,
                context: context.clone(),
            },
            KvCommand::Delete { key, level, context: Some(Context(context)) } => {
                ClientRequest::Write { key: Key(bytes(key)), value: None, level: *level, context: context.clone() }
            }
            KvCommand::Repair => ClientRequest::Repair,
            KvCommand::Put { key, value, level, primaries, context: None } => ClientRequest::PutWith {
                key: Key(bytes(key)),
                value: Some(Value(bytes(value))),
                options: WriteOptions { level: *level, primaries: *primaries, durable: None },
            },
            KvCommand::Get { key, level, primaries } => ClientRequest::GetWith {
                key: Key(bytes(key)),
                options: ReadOptions { level: *level, primaries: *primaries },
            },
            KvCommand::Delete { key, level, context: None } => {
                ClientRequest::Delete { key: Key(bytes(key)), level: *level }
            }
            KvCommand::Publish { text } => ClientRequest::Publish { payload: Value(bytes(text)) },
            KvCommand::Delivered { after: first } => {
                let after = match after {
                    Some(After::Delivery(number)) => number,
                    _ => *first,
                };
                ClientRequest::Deliveries { after, limit: PAGE_ROWS }
            }
            KvCommand::Members => {
                let after = match after {
                    Some(After::Member(node)) => Some(node),
                    _ => None,
                };
                ClientRequest::Members { after, limit: PAGE_ROWS }
            }
            KvCommand::Option { name: Some(name), value: Some(value) } => {
                ClientRequest::SetOption { name: name.clone(), value: value.clone() }
            }
            KvCommand::Option { .. } => {
                let after = match after {
                    Some(After::Option(name)) => Some(name),
                    _ => None,
                };
                ClientRequest::Options { after, limit: PAGE_ROWS }
            }
            KvCommand::Status => ClientRequest::Status,
            KvCommand::Scan { level: None, .. } => {
                let after = match after {
                    Some(After::Local(key)) => Some(key),
                    _ => None,
                };
                ClientRequest::LocalScan { after, limit: PAGE_ROWS }
            }
            KvCommand::Scan { level: Some(level), prefix, from, to, .. } => {
                let bound = |text: &String| KeyBound(bytes(text));
                let mut range = match prefix {
                    Some(prefix) => KeyRange::prefix(prefix.as_bytes()),
                    None => KeyRange { from: from.as_ref().map(bound).unwrap_or_default(), to: to.as_ref().map(bound) },
                };
                if let Some(After::Rows(next)) = after {
                    range.from = next;
                }
                ClientRequest::Scan {
                    range,
                    limit: rows_left.map_or(PAGE_ROWS, |left| left.min(PAGE_ROWS)),
                    level: *level,
                }
            }
        }
    }
}

/// A failure in words; of what changes something also whether it did.
fn told(request: &ClientRequest, error: &ClientError) -> String {
    match request {
        ClientRequest::Put { .. }
        | ClientRequest::PutWith { .. }
        | ClientRequest::Delete { .. }
        | ClientRequest::Write { .. }
        | ClientRequest::SetOption { .. }
            if error.kind.is_definite() =>
        {
            format!("{} (it did not happen)", error.message)
        }
        ClientRequest::Put { .. }
        | ClientRequest::PutWith { .. }
        | ClientRequest::Delete { .. }
        | ClientRequest::Write { .. }
        | ClientRequest::SetOption { .. } => {
            format!("{} (it may have happened)", error.message)
        }
        ClientRequest::Get { .. }
        | ClientRequest::GetWith { .. }
        | ClientRequest::Scan { .. }
        | ClientRequest::Publish { .. }
        | ClientRequest::Deliveries { .. }
        | ClientRequest::Members { .. }
        | ClientRequest::Options { .. }
        | ClientRequest::Overlay
        | ClientRequest::Status
        | ClientRequest::Repair
        | ClientRequest::LocalScan { .. }
        | ClientRequest::Locate { .. } => error.message.clone(),
    }
}

fn print_members(members: &[KnownMember], out: &mut Vec<u8>) {
    for KnownMember { member, down } in members {
        let down = down.map_or(String::new(), |by| format!("\tdown, says {by}"));
        let (node, state, incarnation) = (member.node, member.state.name(), member.incarnation);
        out.extend_from_slice(format!("{node}\t{state}\t{incarnation}\t{}{down}\n", member.vnodes).as_bytes());
    }
}

fn print_options<'a>(options: impl Iterator<Item = &'a NodeOption>, out: &mut Vec<u8>) {
    for NodeOption { name, option } in options {
        out.extend_from_slice(format!("{name}\t{}\t{}\n", option.version, option.value).as_bytes());
    }
}

fn print_repaired(done: &[RepairReport], left_out: &[NodeId], out: &mut Vec<u8>) {
    let mut text = String::new();
    for report in done {
        text += &format!(
            "{}: {} of {} ranges differed, {} keys sent, {} received, {} questions\n",
            report.peer,
            report.ranges_differing,
            report.ranges_compared,
            report.keys_sent,
            report.keys_received,
            report.rounds
        );
    }
    for node in left_out {
        text += &format!("{node}: left out, not alive or not done in time\n");
    }
    if text.is_empty() {
        text += "no other node holds what this one does\n";
    }
    out.extend_from_slice(text.as_bytes());
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn print_status(report: &StatusReport, out: &mut Vec<u8>) {
    let hex = |bytes: &[u8]| hexadecimal(bytes);
    let mut text = format!("node          {}\nincarnation   {:016x}\n", report.node, report.incarnation);
    let waiting: Vec<String> = report.catching_up_from.iter().map(ToString::to_string).collect();
    let ready = if report.ready { "yes".to_owned() } else { format!("no, catching up from {}", waiting.join(" ")) };
    text += &format!("ready         {ready}\nkeys          {}\n", report.keys);
    text += &format!("state digest  {}\n", hex(&report.state_digest));
    for peer in &report.peers {
        let linked = if peer.linked { "linked" } else { "not linked" };
        let alive = if peer.alive { "alive" } else { "held for dead" };
        text += &format!("peer {:<8} {linked}, {alive}\n", peer.peer.to_string());
    }
    for (token, root) in &report.merkle_roots {
        text += &format!("merkle root   {token:016x} {}\n", hex(root));
    }
    for (name, count) in &report.counters {
        text += &format!("{name} {count}\n");
    }
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use hearsay_core::ClientErrorKind;

    use super::*;

    #[test]
    fn a_context_is_read_as_it_was_printed() {
        let context = Context(vec![0, 17, 255]);
        assert_eq!(hexadecimal(&context.0).parse(), Ok(context));
        for wrong in ["1", "zz", "0\u{e9}"] {
            assert!(wrong.parse::<Context>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_what_changes_something_may_have_happened() {
        let error = |kind| ClientError { kind, message: "the time ran out".to_owned() };
        let (key, level) = (Key(b"k".to_vec()), Level::One);
        let delete = ClientRequest::Delete { key: key.clone(), level };
        assert_eq!(told(&delete, &error(ClientErrorKind::Timeout)), "the time ran out (it may have happened)");
        assert_eq!(told(&delete, &error(ClientErrorKind::Refused)), "the time ran out (it did not happen)");
        for kind in [ClientErrorKind::Timeout, ClientErrorKind::Refused] {
            assert_eq!(told(&ClientRequest::Get { key: key.clone(), level }, &error(kind)), "the time ran out");
        }
    }
}
