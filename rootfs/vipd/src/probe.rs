//! `vipd probe URL`: one HTTPS request, and whether its answer says that all is well.
//!
//! It runs as a child of the daemon, without its rights and outside of its loop, so it may simply
//! block: the daemon ends it when its time is up. A status below 500 is good; an API server answers
//! strangers with 401, and that is an answer.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme, Stream,
};
use thiserror::Error;

use crate::config::Url;
use crate::http;

/// Where Debian and most others keep the authorities that they trust.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Why a probe failed.
#[derive(Debug, Error)]
pub enum ProbeError {
    #[error("{0} is no https URL")]
    Url(String),
    #[error("{} can't be read: {source}", path.display())]
    Authorities { path: PathBuf, source: pem::Error },
    #[error("the name of the server can't be verified: {0}")]
    Name(#[from] InvalidDnsNameError),
    #[error("no secure connection: {0}")]
    Tls(#[from] rustls::Error),
    #[error("the server can't be reached: {0}")]
    Io(#[from] io::Error),
    #[error("the answer is no success")]
    Bad,
}

/// Asks once.
pub fn probe(url: &str, insecure: bool, authorities: Option<&Path>) -> Result<(), ProbeError> {
    let parsed = Url::parse(url).filter(|parsed| parsed.tls);
    let parsed = parsed.ok_or_else(|| ProbeError::Url(url.to_owned()))?;
    let config = Arc::new(client(insecure, authorities)?);
    let name = ServerName::try_from(parsed.host.clone())?;
    let mut connection = ClientConnection::new(config, name)?;
    let mut socket = TcpStream::connect((parsed.host.as_str(), parsed.port))?;
    let mut stream = Stream::new(&mut connection, &mut socket);
    stream.write_all(&http::request(&parsed))?;
    let mut answer = Vec::new();
    let mut part = [0; http::STATUS_BYTES_MAX];
    while answer.len() < http::STATUS_BYTES_MAX {
        let count = stream.read(&mut part)?;
        answer.extend(part.iter().take(count));
        match http::judge(&answer) {
            Some(true) => return Ok(()),
            None if count > 0 => {}
            _ => return Err(ProbeError::Bad),
        }
    }
    Err(ProbeError::Bad)
}

fn client(insecure: bool, authorities: Option<&Path>) -> Result<ClientConfig, ProbeError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    if insecure {
        let anyone = Arc::new(Anyone(provider));
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(anyone)
            .with_no_client_auth());
    }
    let path = authorities.unwrap_or_else(|| Path::new(SYSTEM_AUTHORITIES));
    let fail = |source| ProbeError::Authorities { path: path.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(fail)? {
        // A bundle may have certificates of a kind that is not understood; the others still count.
        let _ = roots.add(certificate.map_err(fail)?);
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Takes any certificate, where the check was told to: the question is whether a server answers.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
