//! What the overlay renders from real seeds is a configuration that `vipd` takes.

use std::fs;
use std::path::{Path, PathBuf};

use seed::Seed;
use seed::render::{context, render};
use seed::scalar::Secret;
use vipd::Config;
use vipd::config::Permit;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rendered(name: &str) -> (Seed, String) {
    let path = root().join("rootfs/seed/testdata/good").join(name);
    let text = fs::read_to_string(&path).expect("a seed");
    let mut seed = seed::parse(name, &text).unwrap_or_else(|problems| panic!("{problems}"));
    let mut secrets = seed.secrets.take().unwrap_or_default();
    for vip in &seed.vips {
        let name = vip.name.to_string();
        secrets.vrrp_passwords.insert(name.clone(), Secret::new("secret".to_owned()));
        secrets.vrrp_keys.insert(name, Secret::new("ab".repeat(32)));
    }
    seed.secrets = Some(secrets);
    let template = root().join("overlays/vip/templates/vipd.toml.hbs");
    let source = fs::read_to_string(template).expect("the template");
    let inputs = ["vips", "secrets.vrrp_passwords", "secrets.vrrp_keys"].map(str::to_owned);
    let text = render("vipd.toml.hbs", &source, &inputs, &context(&seed));
    let text = text.unwrap_or_else(|error| panic!("{name}: {error}"));
    (seed, text)
}

fn config(name: &str) -> Config {
    let (_, text) = rendered(name);
    Config::parse(&text).unwrap_or_else(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{name}:\n{}\n{text}", lines.join("\n"))
    })
}

#[test]
fn every_example_seed_with_vips_gives_a_good_configuration() {
    let mut with_vips = 0;
    for entry in fs::read_dir(root().join("rootfs/seed/testdata/good")).expect("seeds").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let (seed, _) = rendered(&name);
        if !seed.vips.is_empty() {
            with_vips += 1;
            assert_eq!(config(&name).instances.len(), seed.vips.len(), "{name}");
        }
    }
    assert!(with_vips >= 5, "{with_vips} seeds with VIPs");
}

#[test]
fn the_values_of_the_seed_arrive() {
    let pair = config("000-pair-node1.toml");
    let api = &pair.instances[0];
    assert_eq!((api.vrid, api.priority.get(), api.interval.centiseconds()), (51, 110, 10));
    assert_eq!(api.permit, Permit::Holder);
    assert!(api.signing.as_ref().is_some_and(|signing| !signing.required));
    assert_eq!(api.peers, [std::net::IpAddr::from([10, 0, 10, 12])]);

    let stacked = config("004-stacked-node1.toml");
    let weights: Vec<i16> = stacked.instances.iter().map(|one| one.checks[0].weight).collect();
    assert_eq!(weights, [-100, -80]);

    let dual = config("001-balancer.toml");
    assert!(dual.instances[0].has_family(true) && dual.instances[0].has_family(false));
    assert!(dual.instances[0].virtual_mac);
}
