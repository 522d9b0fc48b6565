//! The certificates of a cluster: one authority, one identity per node, identities for clients.
//!
//! Who somebody is stands in the one DNS name of the certificate: `n<ID>.<cluster>.node.hearsay` or
//! `<name>.<cluster>.client.hearsay`. Keys are ECDSA P-256. Certificates hardly expire: a node under test may live with a
//! skewed wall clock, and revoking is done by making a new authority.
//!
//! Left out: revocation lists, intermediate authorities, encrypted keys.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use hearsay_core::NodeId;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::names::{self, NameError};

/// Why certificates could not be made, written or read.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A cluster or client name that does not fit into a DNS name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The cryptography refused.
    #[error("the certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    /// A file that exists already; keys are never overwritten.
    #[error("{0} exists already: give another directory, or remove the old certificates first")]
    Exists(PathBuf),
    /// A file could not be written or read.
    #[error("{0}: {1}")]
    File(PathBuf, std::io::Error),
}

/// A certificate and its private key, both as PEM text.
#[derive(Clone)]
pub struct Identity {
    /// The certificate chain.
    pub certificate_pem: String,
    /// The private key.
    pub key_pem: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity { certificate and key not shown }")
    }
}

impl Identity {
    /// Writes `<name>.pem` and `<name>.key` (readable by the owner alone) into `directory`.
    ///
    /// # Errors
    /// A file that exists, or can't be written.
    pub fn write(&self, directory: &Path, name: &str) -> Result<(), CertificateError> {
        write_new(&directory.join(format!("{name}.pem")), &self.certificate_pem, 0o644)?;
        write_new(&directory.join(format!("{name}.key")), &self.key_pem, 0o600)
    }

    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// A file that can't be read; what is in it is checked when it is used.
    pub fn read(certificate: &Path, key: &Path) -> Result<Identity, CertificateError> {
        Ok(Identity { certificate_pem: read(certificate)?, key_pem: read(key)? })
    }
}

/// The authority of one cluster: whoever holds its key decides who is a member.
pub struct Authority {
    cluster: String,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority {{ cluster: {:?}, key not shown }}", self.cluster)
    }
}

impl Authority {
    /// A new authority with a fresh key.
    ///
    /// # Errors
    /// A cluster name that is not a DNS label.
    pub fn generate(cluster: &str) -> Result<Authority, CertificateError> {
        names::check_label("cluster", cluster)?;
        let key = KeyPair::generate()?;
        let params = authority_params();
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Authority { cluster: cluster.to_owned(), certificate_pem, issuer: Issuer::new(params, key) })
    }

    /// The authority that [`Authority::write`] left in `directory`, to add members later.
    ///
    /// # Errors
    /// Files that can't be read, or a key that is none.
    pub fn read(directory: &Path, cluster: &str) -> Result<Authority, CertificateError> {
        names::check_label("cluster", cluster)?;
        let certificate_pem = read(&directory.join("ca.pem"))?;
        let key = KeyPair::from_pem(&read(&directory.join("ca.key"))?)?;
        let issuer = Issuer::new(authority_params(), key);
        Ok(Authority { cluster: cluster.to_owned(), certificate_pem, issuer })
    }

    /// The certificate that all members trust, as PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The cluster it was made for.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// A fresh identity for a node.
    ///
    /// # Errors
    /// The cryptography refuses.
    pub fn node(&self, node: NodeId) -> Result<Identity, CertificateError> {
        // A node dials and is dialled.
        let usages = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(names::node_name(&self.cluster, node), &usages)
    }

    /// A fresh identity for a client.
    ///
    /// # Errors
    /// A name that is not a DNS label.
    pub fn client(&self, name: &str) -> Result<Identity, CertificateError> {
        names::check_label("client", name)?;
        self.sign(names::client_name(&self.cluster, name), &[ExtendedKeyUsagePurpose::ClientAuth])
    }

    fn sign(&self, name: String, usages: &[ExtendedKeyUsagePurpose]) -> Result<Identity, CertificateError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.clone()])?;
        params.distinguished_name = common_name(&name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { certificate_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }

    /// Writes `ca.pem` and `ca.key` (readable by the owner alone) into `directory`.
    ///
    /// # Errors
    /// A file that exists, or can't be written.
    pub fn write(&self, directory: &Path) -> Result<(), CertificateError> {
        write_new(&directory.join("ca.pem"), &self.certificate_pem, 0o644)?;
        write_new(&directory.join("ca.key"), &self.issuer.key().serialize_pem(), 0o600)
    }
}

/// Equal for all authorities: which one it is, its key says; for which cluster a certificate is, its own name.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name("hearsay authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), CertificateError> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(|error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            CertificateError::Exists(path.to_owned())
        } else {
            CertificateError::File(path.to_owned(), error)
        }
    })?;
    file.write_all(text.as_bytes()).map_err(|error| CertificateError::File(path.to_owned(), error))
}

fn read(path: &Path) -> Result<String, CertificateError> {
    std::fs::read_to_string(path).map_err(|error| CertificateError::File(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_private_and_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::generate("demo").unwrap();
        authority.write(directory.path()).unwrap();
        authority.node(NodeId(1)).unwrap().write(directory.path(), "n1").unwrap();
        for key in ["ca.key", "n1.key"] {
            let mode = std::fs::metadata(directory.path().join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
        let before = std::fs::read_to_string(directory.path().join("ca.key")).unwrap();
        let error = Authority::generate("demo").unwrap().write(directory.path()).unwrap_err();
        assert!(matches!(error, CertificateError::Exists(_)), "{error}");
        assert_eq!(std::fs::read_to_string(directory.path().join("ca.key")).unwrap(), before);
    }

    #[test]
    fn names_that_are_no_dns_labels_are_refused() {
        for name in ["", "a.b", "Demo", "-x", "x-", "a b", &"x".repeat(64)] {
            assert!(matches!(Authority::generate(name), Err(CertificateError::Name(_))), "{name:?}");
        }
    }
}
