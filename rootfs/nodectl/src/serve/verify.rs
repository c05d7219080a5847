//! Who may come in: a certificate of the cluster's CA whose fingerprint the seed lists.
//!
//! Every node and database client has a certificate of the same CA, so the chain alone lets in
//! too many; and a fingerprint alone would let in a certificate that has expired.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore,
    ServerConfig, SignatureScheme,
};

use super::config::Config;
use super::error::ServeError;
use crate::fingerprint::Fingerprint;

/// How the API speaks TLS.
pub(super) fn server_config(config: &Config) -> Result<Arc<ServerConfig>, ServeError> {
    let wrong = |what| move |why: String| ServeError::Certificates { what, why };
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    for authority in
        certificates(&config.ca_certificate).map_err(wrong("secrets.ca_certificate"))?
    {
        roots.add(authority).map_err(|e| wrong("secrets.ca_certificate")(e.to_string()))?;
    }
    let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| wrong("secrets.ca_certificate")(error.to_string()))?;
    let mut operators = BTreeSet::new();
    for text in &config.fingerprints {
        let fingerprint = text.parse::<Fingerprint>();
        operators.insert(
            fingerprint.map_err(|e| wrong("operators.fingerprints")(format!("{text}: {e}")))?,
        );
    }
    let verifier = Arc::new(Operators { chain, operators });
    let own = certificates(&config.node_certificate).map_err(wrong("secrets.node_certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(config.node_key.as_bytes())
        .map_err(|error| wrong("secrets.node_key")(error.to_string()))?;
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(own, key))
        .map_err(|error| wrong("secrets.node_certificate")(error.to_string()))?;
    // A resumed session would skip the verifier.
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    Ok(Arc::new(tls))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match all {
        Ok(all) if all.is_empty() => Err("it holds no certificate".to_owned()),
        Ok(all) => Ok(all),
        Err(error) => Err(error.to_string()),
    }
}

/// The chain is good, the fingerprint isn't.
#[derive(Debug)]
struct NoOperator(Fingerprint);

impl fmt::Display for NoOperator {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} is not in operators.fingerprints of this node's seed", self.0)
    }
}

impl std::error::Error for NoOperator {}

/// Judges the certificates of those who come.
#[derive(Debug)]
struct Operators {
    chain: Arc<dyn ClientCertVerifier>,
    operators: BTreeSet<Fingerprint>,
}

impl ClientCertVerifier for Operators {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        let fingerprint = Fingerprint::of(end_entity);
        if self.operators.contains(&fingerprint) {
            return Ok(verified);
        }
        let reason = OtherError(Arc::new(NoOperator(fingerprint)));
        Err(CertificateError::Other(reason).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
