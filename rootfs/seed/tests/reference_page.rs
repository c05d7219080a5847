//! `REFERENCE.md` says what the code does: it is generated from the code, and compared here.

use std::fs;
use std::path::Path;

#[test]
fn the_reference_page_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("REFERENCE.md");
    let page = seed::reference();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &page).expect("a writable folder");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "REFERENCE.md is stale: run UPDATE_EXPECT=1 cargo test -p seed");
}

#[test]
fn every_default_on_the_page_can_be_read() {
    // A seed that says nothing but what it must gets every default of its sections.
    let text = "format = 1\n[node]\nname = \"n\"\nroles = [\"server\", \"balancer\", \"registry\"]\n\
        [[links]]\nname = \"lan\"\nmatch = { name = \"*\" }\naddresses = [\"10.0.0.1/24\"]\n\
        [cluster]\nname = \"c\"\n\
        nodes = [{ name = \"n\", roles = [\"server\", \"balancer\", \"registry\"], \
        addresses = [\"10.0.0.1\"] }]\n\
        [[vips]]\nname = \"v\"\naddresses = [\"10.0.0.9/24\"]\nvrid = 1\nlink = \"lan\"\n\
        checks = [{ name = \"c\", kind = \"tcp\", port = 1 }]\n\
        [k3s]\ndatastore = \"external\"\nexternal = { host = \"h\" }\n\
        mirrors = [{ registry = \"r\", endpoints = [] }]\n\
        [balancer]\n[[balancer.frontends]]\nname = \"f\"\nport = 7443\n\
        servers = [{ name = \"s\", address = \"10.0.0.2\" }]\n\
        [registry]\n[operators]\nfingerprints = [\"\
        0000000000000000000000000000000000000000000000000000000000000000\"]\n";
    let seed = seed::parse("defaults.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(seed.vips[0].interval.milliseconds(), 1000);
    assert_eq!(seed.balancer.expect("a balancer").idle_timeout.milliseconds(), 3_600_000);
}

#[test]
fn keys_are_known_by_their_dotted_path() {
    for known in ["node.name", "k3s.external.host", "database.settings.work_mem", "vips", "secrets"]
    {
        assert!(seed::knows_key(known), "{known}");
    }
    for unknown in ["nodes", "node.nmae", "node.name.x", "vips.name", "", "."] {
        assert!(!seed::knows_key(unknown), "{unknown}");
    }
}
