//! Roles that a seed gives its node, or a shell, and that nothing in the image plays.
//!
//! A node boots without such a role, and is ready without it, as it knows only what is in its
//! image; so whoever builds the image is told. A role is played if a service of an overlay is there
//! when the role is.

use std::collections::BTreeMap;

use super::seeds::SealedSeed;
use crate::root::overlay::Overlay;

/// A warning for each role or shell of these nodes that no overlay of the image serves.
pub fn warnings(image: &str, overlays: &[Overlay], seeds: &[SealedSeed]) -> Vec<String> {
    let services = || overlays.iter().flat_map(|overlay| &overlay.manifest.services);
    let is_served = |when: &str| services().any(|service| service.when.as_deref() == Some(when));
    let mut idle: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for SealedSeed { node, text, .. } in seeds {
        // It was good when it was sealed.
        let Ok(seed) = seed::parse(node, text) else { continue };
        let roles = seed.node.roles.iter().map(|role| role.word());
        let roles = roles.map(|role| (format!("roles.{role}"), format!("the role {role:?}")));
        let shell = ("debug.shell".to_owned(), "the shell that `debug.shell` asks for".to_owned());
        let wanted = roles.chain(seed.debug.shell.then_some(shell));
        for (_, what) in wanted.filter(|(when, _)| !is_served(when)) {
            idle.entry(what).or_default().push(node);
        }
    }
    let warning = |(what, nodes): (String, Vec<&str>)| {
        let nodes = nodes.join(" and ");
        format!(
            "warning: nothing in the image {image:?} runs {what}, so {nodes} will be without it: \
             choose another --image, or add an overlay for it"
        )
    };
    idle.into_iter().map(warning).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::root::overlay;

    const SEED: &str = include_str!("../../../images/lab/node1.toml");

    #[test]
    fn a_role_without_a_service_is_named_with_its_nodes_and_one_with_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let service =
            "[[services]]\nname = \"db\"\ncommand = [\"/db\"]\nwhen = \"roles.database\"\n";
        for (name, text) in [("base", ""), ("db", service)] {
            let folder = folder.path().join(name);
            fs::create_dir(&folder).expect("made");
            let text = format!("summary = \"{name}\"\n{text}");
            fs::write(folder.join("overlay.toml"), text).expect("written");
        }
        let overlays = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            overlay::load_all(&[folder.path().to_owned()], &names).expect("loaded")
        };
        let sealed = |node: &str| SealedSeed {
            path: format!("{node}.toml").into(),
            node: node.to_owned(),
            text: SEED.to_owned(),
        };
        let seeds = ["node1", "node2"].map(sealed);
        let found = warnings("edge", &overlays(&["base", "db"]), &seeds);
        let [server] = &found[..] else { panic!("{found:?}") };
        let begin = "warning: nothing in the image \"edge\" runs the role \"server\", so node1 and \
                     node2 will be without it";
        assert!(server.starts_with(begin), "{server}");
        let both = warnings("edge", &overlays(&["base"]), &seeds[..1]);
        assert_eq!(both.len(), 2, "{both:?}");
        let asks =
            SealedSeed { text: format!("{SEED}\n[debug]\nshell = true\n"), ..sealed("node1") };
        let found = warnings("edge", &overlays(&["base", "db"]), &[asks]);
        assert!(found.iter().any(|warning| warning.contains("`debug.shell`")), "{found:?}");
    }
}
