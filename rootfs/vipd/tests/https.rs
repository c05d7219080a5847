//! HTTPS checks against a real TLS server, whose certificate an authority of the test has issued.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};
use vipd::probe::{ProbeError, probe};

/// A server's certificate and key, and the authority that they come from, as PEM.
struct Issued {
    certificate: String,
    key: String,
    authority: String,
}

fn issue() -> Issued {
    let authority_key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).expect("an authority");
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    Issued { certificate: certificate.pem(), key: key.serialize_pem(), authority: authority.pem() }
}

/// Serves one connection with this status; the URL to ask.
fn serve(issued: &Issued, status: &'static str) -> String {
    let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a certificate that fits its key");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("accepted");
        let mut connection = ServerConnection::new(Arc::new(config)).expect("a connection");
        let mut stream = Stream::new(&mut connection, &mut socket);
        // A client that does not believe the certificate ends the connection here.
        if stream.read(&mut [0; 512]).is_ok() {
            let _ = stream.write_all(format!("HTTP/1.0 {status}\r\n\r\n").as_bytes());
        }
    });
    format!("https://127.0.0.1:{port}/")
}

fn ask(issued: &Issued, status: &'static str, insecure: bool, ca: Option<&Path>) -> bool {
    match probe(&serve(issued, status), insecure, ca) {
        Ok(()) => true,
        Err(ProbeError::Bad | ProbeError::Io(_) | ProbeError::Tls(_)) => false,
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn an_answer_counts_if_its_server_is_the_right_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (issued, stranger) = (issue(), issue());
    let (ours, theirs) = (folder.path().join("ours.pem"), folder.path().join("theirs.pem"));
    fs::write(&ours, &issued.authority).expect("written");
    fs::write(&theirs, &stranger.authority).expect("written");
    assert!(ask(&issued, "200 OK", false, Some(&ours)));
    assert!(ask(&issued, "401 Unauthorized", false, Some(&ours)), "an answer is an answer");
    assert!(!ask(&issued, "503 Service Unavailable", false, Some(&ours)));
    assert!(!ask(&issued, "200 OK", false, Some(&theirs)), "another authority");
    assert!(ask(&issued, "200 OK", true, None), "whoever it is");
    assert!(!ask(&issued, "500 Internal Server Error", true, None));
}

#[test]
fn missing_authorities_are_said() {
    let missing = Path::new("/nonexistent/ca.pem");
    let error = probe("https://127.0.0.1:1/", false, Some(missing)).expect_err("no such file");
    assert!(error.to_string().starts_with("/nonexistent/ca.pem can't be read"), "{error}");
}
