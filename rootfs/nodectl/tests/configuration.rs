//! What the node renders from a seed is what `nodectl serve` reads.

mod support;

use std::fs;
use std::path::Path;

use nodectl::serve::{Config, Patience, Server};
use seed::Secrets;
use seed::scalar::Secret;
use support::Site;

const SEED: &str = include_str!("../../seed/testdata/good/000-pair-node1.toml");

/// The base overlay's template with the inputs that its entry declares.
fn rendered(seed: &seed::Seed) -> String {
    let overlay = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../overlays/base");
    let manifest = fs::read_to_string(overlay.join("overlay.toml")).expect("readable");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let templates = manifest["templates"].as_array().expect("templates");
    let entry = templates.iter().find(|entry| entry["source"].as_str() == Some("nodeapi.toml.hbs"));
    let inputs = entry.and_then(|entry| entry["inputs"].as_array()).expect("inputs");
    let inputs: Vec<String> =
        inputs.iter().map(|input| input.as_str().expect("text").to_owned()).collect();
    let source = fs::read_to_string(overlay.join("templates/nodeapi.toml.hbs")).expect("readable");
    let context = seed::render::context(seed);
    seed::render::render("nodeapi.toml.hbs", &source, &inputs, &context).expect("rendered")
}

#[test]
fn a_rendered_configuration_starts_the_api() {
    let site = Site::new("shop-17 site CA");
    let own = site.node();
    let mut seed = seed::parse("node1.toml", SEED).expect("a good seed");
    seed.secrets = Some(Secrets {
        ca_certificate: Some(Secret::new(&site.ca_pem)),
        node_certificate: Some(Secret::new(own.certificate)),
        node_key: Some(Secret::new(own.key)),
        ..Secrets::default()
    });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("nodeapi.toml");
    fs::write(&path, rendered(&seed)).expect("written");
    let config = Config::load(&path).expect("a configuration");
    assert_eq!(config.port, 7432);
    assert_eq!(config.fingerprints.len(), 1);
    let config = Config { port: 0, ..config };
    let server = Server::bind(&config, &path, Patience::default(), Box::new(|_| {}));
    server.expect("certificates, key and fingerprints are good").address().expect("it listens");
}
