//! Names in certificates: who is a node, who a client, of which cluster.

use hearsay_core::NodeId;
use rustls_pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;

/// A name that can't be part of a certificate's DNS name.
#[derive(Debug, thiserror::Error)]
#[error(
    "{what} name {name:?} can't be used: take 1 to 40 characters of a-z, 0-9 and '-', not beginning or ending with '-'"
)]
pub struct NameError {
    what: &'static str,
    name: String,
}

/// Whose certificate it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A node of the cluster asked about.
    Node(NodeId),
    /// A client of that cluster, by name.
    Client(String),
}

/// Checks that `name` is one DNS label.
///
/// # Errors
/// It is not; `what` is named in the sentence.
pub fn check_label(what: &'static str, name: &str) -> Result<(), NameError> {
    let fits = (1..=40).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fits { Ok(()) } else { Err(NameError { what, name: name.to_owned() }) }
}

/// The DNS name of a node.
pub fn node_name(cluster: &str, node: NodeId) -> String {
    format!("{node}.{cluster}.node.hearsay")
}

/// The DNS name of a client.
pub fn client_name(cluster: &str, client: &str) -> String {
    format!("{client}.{cluster}.client.hearsay")
}

/// Whose certificate this is, for `cluster`. The chain must have been verified before.
///
/// # Errors
/// A sentence: no member of this cluster, or a certificate with no or several names.
pub fn subject(certificate: &CertificateDer<'_>, cluster: &str) -> Result<Subject, String> {
    let parsed = EndEntityCert::try_from(certificate).map_err(|error| format!("unreadable certificate: {error}"))?;
    let names: Vec<&str> = parsed.valid_dns_names().collect();
    let [name] = names[..] else {
        return Err(format!("the certificate has {} DNS names, expected exactly one", names.len()));
    };
    let subject =
        parse(name, cluster).ok_or_else(|| format!("{name:?} is no node or client of cluster {cluster:?}"))?;
    // The name was taken from the certificate by its text; the library that verifies chains must agree with the reading.
    let expected = match &subject {
        Subject::Node(node) => node_name(cluster, *node),
        Subject::Client(client) => client_name(cluster, client),
    };
    let server_name = ServerName::try_from(expected).map_err(|error| error.to_string())?;
    parsed.verify_is_valid_for_subject_name(&server_name).map_err(|error| error.to_string())?;
    Ok(subject)
}

fn parse(name: &str, cluster: &str) -> Option<Subject> {
    let labels: Vec<&str> = name.split('.').collect();
    let [first, of, kind, "hearsay"] = labels[..] else { return None };
    if of != cluster {
        return None;
    }
    match kind {
        "node" => {
            let id = first.strip_prefix('n')?.parse::<u16>().ok()?;
            // "n01" and "n+1" parse as numbers too, and are other names.
            (NodeId(id).to_string() == first).then_some(Subject::Node(NodeId(id)))
        }
        "client" => check_label("client", first).ok().map(|()| Subject::Client(first.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_of_the_cluster_are_members() {
        let node = Some(Subject::Node(NodeId(7)));
        let client = Some(Subject::Client("kv".into()));
        for (name, expected) in [
            ("n7.demo.node.hearsay", node),
            ("kv.demo.client.hearsay", client),
            ("n07.demo.node.hearsay", None),
            ("n+7.demo.node.hearsay", None),
            ("n70000.demo.node.hearsay", None),
            ("*.demo.node.hearsay", None),
            ("*.demo.client.hearsay", None),
            ("n7.other.node.hearsay", None),
            ("n7.demo.node.hearsay.example", None),
            ("n7.node.hearsay", None),
            ("n7.demo.client.node.hearsay", None),
        ] {
            assert_eq!(parse(name, "demo"), expected, "{name}");
        }
    }
}
