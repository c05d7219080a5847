//! TLS 1.3 with certificates of one CA on both sides; nothing older, nothing resumed.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use thiserror::Error;

/// Certificates or a key are wrong.
#[derive(Debug, Error)]
#[error("{what}: {why}; let `builder cluster new` make the secrets, and write the seed anew")]
pub struct CertificateError {
    /// Which.
    pub what: &'static str,
    /// What is wrong.
    pub why: String,
}

/// The texts (PEM) that make a side of a connection.
#[derive(Clone)]
pub struct Identity {
    /// The CA that the other side's certificate must chain to.
    pub ca_certificate: String,
    /// Our own certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl std::fmt::Debug for Identity {
    /// Without the key.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Identity").finish_non_exhaustive()
    }
}

type Chain = (RootCertStore, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Identity {
    /// How to serve others, who may name one of these protocols.
    pub(crate) fn server(
        &self,
        protocols: &[&[u8]],
    ) -> Result<Arc<ServerConfig>, CertificateError> {
        let (roots, own, key) = self.read()?;
        let provider = Arc::new(default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .map_err(|error| wrong("the CA's certificate", &error))?;
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                builder.with_client_cert_verifier(verifier).with_single_cert(own, key)
            })
            .map_err(|error| wrong("the node's certificate", &error))?;
        // A resumed session would skip the verifier.
        tls.session_storage = Arc::new(NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(tls))
    }

    /// How to call others.
    pub(crate) fn client(&self, protocol: &[u8]) -> Result<Arc<ClientConfig>, CertificateError> {
        let (roots, own, key) = self.read()?;
        let mut tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .and_then(|builder| {
                builder.with_root_certificates(roots).with_client_auth_cert(own, key)
            })
            .map_err(|error| wrong("the node's certificate", &error))?;
        tls.resumption = Resumption::disabled();
        tls.alpn_protocols = vec![protocol.to_vec()];
        Ok(Arc::new(tls))
    }

    fn read(&self) -> Result<Chain, CertificateError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates("the CA's certificate", &self.ca_certificate)? {
            roots.add(authority).map_err(|error| wrong("the CA's certificate", &error))?;
        }
        let own = certificates("the node's certificate", &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .map_err(|error| wrong("the node's key", &error))?;
        Ok((roots, own, key))
    }
}

fn wrong(what: &'static str, why: &dyn std::fmt::Display) -> CertificateError {
    CertificateError { what, why: why.to_string() }
}

fn certificates(
    what: &'static str,
    pem: &str,
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match all {
        Ok(all) if all.is_empty() => Err(wrong(what, &"it holds no certificate")),
        Ok(all) => Ok(all),
        Err(error) => Err(wrong(what, &error)),
    }
}
