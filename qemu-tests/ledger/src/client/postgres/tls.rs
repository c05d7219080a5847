//! TLS 1.3 with certificates on both sides, as the gate wants it; nothing older, nothing resumed.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

use super::Certificates;

/// A certificate or a key that can't be used.
#[derive(Debug, Error)]
#[error("{what}: {why}; take ca.pem and clients/NAME.pem, .key of the site's secrets")]
pub struct CertificateError {
    what: &'static str,
    why: String,
}

fn wrong(what: &'static str) -> impl Fn(&dyn std::fmt::Display) -> CertificateError {
    move |why| CertificateError { what, why: why.to_string() }
}

/// How to call the server.
pub(super) fn client(texts: &Certificates) -> Result<Arc<ClientConfig>, CertificateError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates("the CA's certificate", &texts.ca)? {
        roots.add(authority).map_err(|error| wrong("the CA's certificate")(&error))?;
    }
    let own = certificates("the client's certificate", &texts.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(texts.key.as_bytes())
        .map_err(|error| wrong("the client's key")(&error))?;
    let mut tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(own, key))
        .map_err(|error| wrong("the client's certificate")(&error))?;
    tls.resumption = Resumption::disabled();
    tls.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Arc::new(tls))
}

fn certificates(
    what: &'static str,
    pem: &str,
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match all {
        Ok(all) if all.is_empty() => Err(wrong(what)(&"it holds no certificate")),
        Ok(all) => Ok(all),
        Err(error) => Err(wrong(what)(&error)),
    }
}
