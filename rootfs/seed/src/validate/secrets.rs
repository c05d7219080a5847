//! A sealed seed has all secrets that its roles need, and none for VIPs that don't exist.

use super::{Findings, Rule, rule};
use crate::section::{Secrets, Seed};

pub(super) const RULES: &[Rule] = &[
    rule(&["secrets", "node", "vips", "k3s", "database"], all_are_there),
    rule(&["secrets", "vips"], none_is_stray),
];

fn all_are_there(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(secrets) = &seed.secrets else { return };
    for needed in Secrets::needed_by(seed) {
        if !secrets.has(&needed.key) {
            findings.at(
                "secrets",
                format!("the secret `{}` is missing: {}", needed.key, needed.why),
                format!("needs `{}`", needed.key),
                "let `builder cluster new` make the secrets, or add the key",
            );
        }
    }
}

fn none_is_stray(seed: &Seed, findings: &mut Findings<'_, '_>) {
    let Some(secrets) = &seed.secrets else { return };
    let maps = [("vrrp_passwords", &secrets.vrrp_passwords), ("vrrp_keys", &secrets.vrrp_keys)];
    for (map, entries) in maps {
        for name in entries.keys() {
            if !seed.vips.iter().any(|vip| vip.name.as_str() == name) {
                findings.at(
                    &format!("secrets.{map}.{name}"),
                    "a secret of a VIP is named like the VIP",
                    "no VIP has this name",
                    "correct the name, or remove the secret",
                );
            }
        }
    }
}
