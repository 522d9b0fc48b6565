//! The configuration file of a node: YAML, with defaults for all that can have one.
//!
//! ```yaml
//! cluster: demo
//! node: n1
//! listen: 127.0.0.1:7101
//! data: n1-data
//! certificates: { authority: ca.pem, certificate: n1.pem, key: n1.key }
//! members:
//!   n1: 127.0.0.1:7101
//!   n2: 127.0.0.1:7102
//!   n3: 127.0.0.1:7103
//! settings: { replication: 3, read_repair: blocking }
//! log: info
//! ```
//!
//! A node that comes into a cluster that runs already names in `members` those that the cluster began with, as all others do, and has
//! itself beside them:
//!
//! ```yaml
//! node: n4
//! join: { address: 127.0.0.1:7104, replaces: n2 }   # replaces: only for a dead node whose place it takes
//! ```
//!
//! Relative paths are relative to the file. `settings` are those of [`ClusterConfig`] and equal on every node: nodes that
//! differ refuse each other.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hearsay_core::{ClusterConfig, Joining, NodeId};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names;

/// A configuration that can't be used: what, where, the mend.
#[derive(Debug, thiserror::Error)]
pub enum NodeConfigError {
    /// The file can't be read.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
    /// Not this YAML; the text has line and column.
    #[error("{0}: {1}")]
    Yaml(PathBuf, String),
    /// Values that do not fit together.
    #[error("{0}: {1}")]
    Unfit(PathBuf, String),
}

/// A node's name in a configuration file: `n1` or `1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member(pub NodeId);

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Member, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Member;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a node such as n1, numbered from 1 to 65535")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Member, E> {
                text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

impl std::str::FromStr for Member {
    type Err = String;
    fn from_str(text: &str) -> Result<Member, String> {
        match text.strip_prefix('n').unwrap_or(text).parse::<u16>() {
            Ok(id) if id > 0 => Ok(Member(NodeId(id))),
            _ => Err(format!("{text:?} is no node: give n1, n2, ... up to n65535")),
        }
    }
}

/// Where the certificates are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificatePaths {
    /// The authority's certificate.
    pub authority: PathBuf,
    /// This node's certificate.
    pub certificate: PathBuf,
    /// This node's private key.
    pub key: PathBuf,
}

/// How a node comes into a cluster that runs already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinConfig {
    /// Where others reach it.
    pub address: SocketAddr,
    /// The dead node whose place it takes. Default: a place of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Member>,
}

/// The configuration of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Name of the cluster: a DNS label.
    pub cluster: String,
    /// This node.
    pub node: Member,
    /// UDP address to listen on. Default: this node's address among the members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Directory of the store; made when missing.
    pub data: PathBuf,
    /// Certificates.
    pub certificates: CertificatePaths,
    /// Every member that the cluster began with, with the address others reach it at; this node is one of them unless it joins.
    pub members: BTreeMap<Member, SocketAddr>,
    /// For a node that the cluster did not begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<JoinConfig>,
    /// The protocols. `members` in it may stay empty.
    #[serde(default)]
    pub settings: ClusterConfig,
    /// A file with the operator's correction of this machine's wall clock, see [`crate::clock_correction`]. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_correction: Option<PathBuf>,
    /// Log filter: error, warn, info, debug, trace, or directives per module. `RUST_LOG` wins.
    #[serde(default = "default_log")]
    pub log: String,
}

fn default_log() -> String {
    "info".to_owned()
}

impl NodeConfig {
    /// Reads and checks a file; relative paths come out relative to the file's directory.
    ///
    /// # Errors
    /// See [`NodeConfigError`].
    pub fn read(path: &Path) -> Result<NodeConfig, NodeConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| NodeConfigError::File(path.to_owned(), error))?;
        NodeConfig::parse(&text, path)
    }

    /// As [`NodeConfig::read`], from text that came from `path`.
    ///
    /// # Errors
    /// See [`NodeConfigError`].
    pub fn parse(text: &str, path: &Path) -> Result<NodeConfig, NodeConfigError> {
        let mut config: NodeConfig =
            serde_yaml::from_str(text).map_err(|error| NodeConfigError::Yaml(path.to_owned(), error.to_string()))?;
        config.check().map_err(|reason| NodeConfigError::Unfit(path.to_owned(), reason))?;
        let base = path.parent().unwrap_or(Path::new(""));
        let paths = &mut config.certificates;
        for relative in [&mut config.data, &mut paths.authority, &mut paths.certificate, &mut paths.key] {
            *relative = base.join(&*relative);
        }
        config.clock_correction = config.clock_correction.map(|relative| base.join(relative));
        Ok(config)
    }

    /// The file's text.
    ///
    /// # Errors
    /// A path that is not text.
    pub fn to_yaml(&self) -> Result<String, String> {
        serde_yaml::to_string(self).map_err(|error| error.to_string())
    }

    fn check(&mut self) -> Result<(), String> {
        names::check_label("cluster", &self.cluster).map_err(|error| error.to_string())?;
        let own = match (self.members.get(&self.node), &self.join) {
            (Some(own), None) => *own,
            (None, Some(join)) => join.address,
            (None, None) => {
                return Err(format!(
                    "node: {} is not among the members: list it with its address, or give it join: {{address: ...}}",
                    self.node.0
                ));
            }
            (Some(_), Some(_)) => {
                return Err(format!(
                    "join: {} is among the members that the cluster began with: leave join out",
                    self.node.0
                ));
            }
        };
        if let Some(Member(replaced)) = self.join.as_ref().and_then(|join| join.replaces)
            && replaced == self.node.0
        {
            return Err(format!("join: {replaced} can't replace itself: give the new node an id of its own"));
        }
        if own.ip().is_unspecified() && (self.listen.is_none() || self.join.is_some()) {
            return Err(format!("members: {own} of {} is no address others can reach", self.node.0));
        }
        let members: Vec<NodeId> = self.members.keys().map(|member| member.0).collect();
        if !self.settings.members.is_empty() && self.settings.members != members {
            return Err("settings: members is taken from the list of members above: leave it out".into());
        }
        self.settings.members = members;
        self.settings.validate().map_err(|error| format!("settings: {error}"))
    }

    /// Where others reach this node.
    pub fn address(&self) -> SocketAddr {
        match &self.join {
            Some(join) => join.address,
            None => self.members[&self.node],
        }
    }

    /// How it comes in, for the replica.
    pub fn joining(&self) -> Option<Joining> {
        let join = self.join.as_ref()?;
        Some(Joining { replaces: join.replaces.map(|member| member.0), address: join.address.to_string().into_bytes() })
    }

    /// The address to listen on.
    pub fn listen_address(&self) -> SocketAddr {
        // `check` has seen to it that the node is a member.
        self.listen.unwrap_or_else(|| self.address())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
cluster: demo
node: n1
data: n1-data
certificates: { authority: ca.pem, certificate: n1.pem, key: /keys/n1.key }
members:
  n1: 127.0.0.1:7101
  2: 127.0.0.1:7102
settings: { replication: 2 }
";

    fn parse(text: &str) -> Result<NodeConfig, String> {
        NodeConfig::parse(text, Path::new("/etc/hearsay/n1.yaml")).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_fill_what_is_missing_and_paths_are_the_files() {
        let config = parse(GOOD).unwrap();
        assert_eq!(config.node, Member(NodeId(1)));
        assert_eq!(config.data, Path::new("/etc/hearsay/n1-data"));
        assert_eq!(config.certificates.key, Path::new("/keys/n1.key"));
        assert_eq!(config.listen_address(), "127.0.0.1:7101".parse().unwrap());
        assert_eq!(config.settings.members, [NodeId(1), NodeId(2)]);
        assert_eq!(config.settings.vnodes, ClusterConfig::default().vnodes);
        assert_eq!(config.log, "info");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut config = parse(GOOD).unwrap();
        config.settings.read_repair = hearsay_core::ReadRepair::None;
        config.clock_correction = Some("/etc/hearsay/n1.clock".into());
        let text = config.to_yaml().unwrap();
        assert_eq!(parse(&text).unwrap(), config, "{text}");
    }

    #[test]
    fn a_node_that_joins_stands_beside_the_members() {
        let text = GOOD.replace("node: n1", "node: n4\njoin: { address: \"127.0.0.1:7104\", replaces: n2 }");
        let config = parse(&text).unwrap();
        assert_eq!(config.listen_address(), "127.0.0.1:7104".parse().unwrap());
        let expected = Joining { replaces: Some(NodeId(2)), address: b"127.0.0.1:7104".to_vec() };
        assert_eq!(config.joining(), Some(expected));
        assert_eq!(config.settings.members, [NodeId(1), NodeId(2)]);
        assert_eq!(parse(&config.to_yaml().unwrap()).unwrap(), config);
        for (from, to, expected) in [
            ("node: n4", "node: n1", "leave join out"),
            ("replaces: n2", "replaces: n4", "can't replace itself"),
            ("\"127.0.0.1:7104\"", "\"0.0.0.0:7104\"", "no address others can reach"),
        ] {
            assert!(parse(&text.replace(from, to)).unwrap_err().contains(expected), "{expected}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (from, to, expected) in [
            ("data: n1-data", "dta: n1-data", "line 3 column 1"),
            ("cluster: demo", "cluster: Demo!", "a-z"),
            ("node: n1", "node: n9", "n9 is not among the members"),
            ("node: n1", "node: n0", "line 2 column 1"),
            ("127.0.0.1:7102", "somewhere", "line 7 column"),
            ("replication: 2", "replicatoin: 2", "replicatoin"),
            ("replication: 2", "replication: 3", "settings: "),
            ("replication: 2", "members: [7]", "leave it out"),
        ] {
            let error = parse(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.starts_with("/etc/hearsay/n1.yaml: "), "{error}");
            assert!(error.contains(expected), "{to}: {error}");
        }
    }
}
