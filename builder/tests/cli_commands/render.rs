//! `render`: what a node would have, with and without its secrets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::shared::command::{Ran, root};
use crate::shared::definition::definition_text;
use crate::shared::flashable::SEED;
use crate::support::{builder, text};

/// A project with one overlay, whose templates use a secret and a condition.
fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let put = |inside: &str, content: &str| {
        let path = folder.path().join(inside);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, content).expect("written");
    };
    put("images/tiny.toml", &definition_text(&["one"], [1, 1, 1]));
    put(
        "overlays/one/overlay.toml",
        "summary = \"t\"\n[[templates]]\nsource = \"token.hbs\"\npath = \"/etc/token\"\n\
         mode = \"0600\"\ninputs = [\"secrets.k3s_token\", \"node.name\"]\n\
         [[templates]]\nsource = \"token.hbs\"\npath = \"/etc/balancer\"\n\
         when = \"roles.balancer\"\ninputs = [\"secrets.k3s_token\", \"node.name\"]\n",
    );
    put("overlays/one/templates/token.hbs", "{{node.name}}: {{secrets.k3s_token}}\n");
    put("node1.toml", SEED);
    folder
}

fn render(project: &Path, arguments: &[&str]) -> Ran {
    let seed = project.join("node1.toml");
    let common = ["render", "--image", "tiny", "--project", text(project), "--seed", text(&seed)];
    builder(common.iter().chain(arguments))
}

#[test]
fn secrets_are_masked_by_their_names_and_none_are_made() {
    let project = project();
    let ran = render(project.path(), &["--path", "/etc/token"]).ended(0);
    assert_eq!(ran.out, "node1: <secret k3s_token>\n");
    assert!(!project.path().join("secrets").exists());
}

#[test]
fn with_secrets_the_file_is_what_the_node_has() {
    let project = project();
    let ran = render(project.path(), &["--path", "/etc/token", "--with-secrets", "-q"]).ended(0);
    let tokens = project.path().join("secrets/tiny/tokens.toml");
    let tokens = fs::read_to_string(tokens).expect("made");
    let token = ran.out.trim().strip_prefix("node1: ").expect("a token");
    assert!(token.len() > 16 && tokens.contains(token), "{token}");
    let again = render(project.path(), &["--path", "/etc/token", "--with-secrets"]).ended(0);
    assert_eq!(again.out, ran.out);
}

#[test]
fn all_files_are_listed_with_what_is_absent() {
    let project = project();
    let ran = render(project.path(), &[]).ended(0);
    assert!(ran.out.starts_with("==> /etc/token (0600 root) <==\nnode1: <secret"), "{}", ran.out);
    assert!(ran.out.contains("not on this node: /etc/balancer (for nodes with roles.balancer)"));
    let report = render(project.path(), &["--json"]).ended(0).json();
    assert_eq!(report["node"], "node1");
    assert_eq!(report["files"][0]["path"], "/etc/token");
    assert_eq!(report["files"][0]["mode"], "0600");
    assert_eq!(report["absent"]["/etc/balancer"], "roles.balancer");
}

#[test]
fn other_paths_are_refused_with_a_reason() {
    let project = project();
    let absent = render(project.path(), &["--path", "/etc/balancer"]).ended(1);
    assert!(absent.err.contains("it is for nodes with roles.balancer"), "{}", absent.err);
    let unknown = render(project.path(), &["--path", "/etc/tokn"]).ended(1);
    assert!(unknown.err.contains("there are /etc/token"), "{}", unknown.err);
}

#[test]
fn files_are_written_below_a_folder_with_their_modes() {
    let project = project();
    let out = project.path().join("rendered");
    render(project.path(), &["--out", text(&out)]).ended(0);
    let file = out.join("etc/token");
    assert_eq!(fs::read_to_string(&file).expect("read"), "node1: <secret k3s_token>\n");
    assert_eq!(file.metadata().expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_lab_seeds_render_with_the_lab_overlays() {
    for name in ["node1", "node2"] {
        let seed = root().join(format!("images/lab/{name}.toml"));
        let arguments = ["render", "--seed", text(&seed), "--path", "/etc/hostname"];
        assert_eq!(builder(arguments).ended(0).out, format!("{name}\n"));
    }
}
