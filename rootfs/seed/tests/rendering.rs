//! Templates see what they declared, conditions hold, and errors name template, line and mend.

use std::io;

use seed::manifest::{FileMode, Manifest, PortSource, Ready, Restart, Service, Template};
use seed::render::{
    RenderError, context, display_context, is_met, knows_input, render, render_all,
};
use seed::scalar::{REDACTED, Secret};
use seed::{Secrets, Seed};
use serde_json::{Value, json};

const PAIR: &str = include_str!("../../../images/lab/node1.toml");
const STACKED: &str = include_str!("../testdata/good/004-stacked-node1.toml");

fn read(text: &str) -> Seed {
    seed::parse("test.toml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn rendered(text: &str, source: &str, inputs: &[&str]) -> Result<String, RenderError> {
    let inputs: Vec<String> = inputs.iter().map(|input| (*input).to_owned()).collect();
    render("test.hbs", source, &inputs, &context(&read(text)))
}

#[test]
fn an_haproxy_configuration_comes_out() {
    let source = "\
{{#each balancer.frontends}}
frontend {{name}}
    bind :::{{port}} v4v6
backend {{name}}
    balance {{@root.balancer.algorithm}}
{{#each servers}}
    server {{name}} {{bracket address}}:{{port}} check inter {{milliseconds @root.balancer.check.interval}}
{{/each}}
{{/each}}
";
    let text = rendered(STACKED, source, &["balancer"]).expect("a sound template");
    insta::assert_snapshot!(text, @r"
    frontend api
        bind :::7443 v4v6
    backend api
        balance roundrobin
        server node1 172.16.217.171:6443 check inter 2000
        server node2 172.16.217.172:6443 check inter 2000
        server node3 172.16.217.173:6443 check inter 2000
    ");
}

#[test]
fn helpers_do_what_their_table_says() {
    let source = "\
{{join self.addresses \",\"}}
{{#each links}}{{#each addresses}}{{address this}} {{prefix this}} {{/each}}{{/each}}
{{bracket self.ipv4}} {{bracket self.ipv6}}
{{seconds vip.api.announce}} {{milliseconds vip.api.interval}}
{{bytes database.shared_buffers}} {{mebibytes database.shared_buffers}}
{{quote cluster.name}} {{sqlquote \"it's\"}}
{{#if (eq k3s.datastore \"database\")}}same{{else}}other{{/if}}
{{#if (contains node.roles \"server\")}}yes{{/if}}{{#unless roles.etcd}} no etcd{{/unless}}
{{#if k3s.external}}external{{else if k3s.start}}started{{/if}}
{{self.database_peer.name}} {{database_vip.ipv4}} {{nodes.server.[1].ipv6}} {{self.first_server}}
";
    let inputs = [
        "self",
        "links",
        "vip.api",
        "database.shared_buffers",
        "cluster.name",
        "k3s",
        "node.roles",
        "roles.etcd",
        "database_vip.ipv4",
        "nodes.server",
    ];
    insta::assert_snapshot!(rendered(PAIR, source, &inputs).expect("a sound template"), @r#"
    192.168.77.11,fd77::11
    192.168.77.11 24 fd77::11 64 
    192.168.77.11 [fd77::11]
    30 100
    33554432 32
    "lab" 'it''s'
    same
    yes no etcd
    started
    node2 192.168.77.10 fd77::12 true
    "#);
}

#[test]
fn lines_are_indented_below_the_first() {
    let context = json!({ "pem": "BEGIN\nEND\n" });
    let inputs = ["pem".to_owned()];
    let text = render("test.hbs", "key: |\n    {{indent pem 4}}\n", &inputs, &context);
    assert_eq!(text.expect("a sound template"), "key: |\n    BEGIN\n    END\n");
}

#[test]
fn what_is_not_declared_does_not_exist() {
    let undeclared = [
        ("ok\n{{node.name}}", &["cluster.name"][..]),
        ("ok\n{{node.name}}", &["node.roles"]),
        ("ok\n{{#if node.name}}x{{/if}}", &["node.roles"]),
        ("ok\n{{#each links}}{{nmae}}{{/each}}", &["links"]),
        ("ok\n{{quote node.name}}", &["node.roles"]),
        ("ok\n{{seconds node.name}}", &["node.roles"]),
        ("ok\n{{join node.names \",\"}}", &["node.roles"]),
        ("ok\n{{bracket node.name}}", &["node.roles"]),
        ("ok\n{{#if (eq node.name \"x\")}}x{{/if}}", &["node.roles"]),
    ];
    for (source, inputs) in undeclared {
        match rendered(PAIR, source, inputs) {
            Err(error @ RenderError::Undeclared { .. }) => {
                let shown = error.to_string();
                assert!(shown.starts_with("test.hbs:2: "), "{source}: {shown}");
                assert!(shown.contains("add it to `inputs`"), "{shown}");
            }
            other => panic!("{source}: {other:?}"),
        }
    }
}

#[test]
fn inputs_must_exist_but_their_section_may_be_absent() {
    let absent = rendered(PAIR, "[{{etcd.token}}]", &["etcd.token"]).expect("null is no mistake");
    assert_eq!(absent, "[]");
    let error = rendered(PAIR, "", &["node.nmae"]).expect_err("no such key");
    assert_eq!(
        error.to_string(),
        "test.hbs: there is no input `node.nmae`; correct `inputs` in its overlay.toml"
    );
    for known in
        ["etcd.token", "self.ipv4", "vip.api.ipv4", "secrets.k3s_token", "k3s.external.host"]
    {
        assert!(knows_input(known), "{known}");
    }
    for unknown in ["nodee.name", "k3s.externl.host", "secrets.k3s_tokn", ""] {
        assert!(!knows_input(unknown), "{unknown}");
    }
}

#[test]
fn a_wider_and_a_narrower_input_go_together() {
    for inputs in [["node", "node.name"], ["node.name", "node"]] {
        let text = rendered(PAIR, "{{node.name}} {{node.roles.[0]}}", &inputs);
        assert_eq!(text.expect("declared twice"), "node1 database");
    }
}

#[test]
fn mistakes_of_syntax_name_their_line() {
    let error =
        rendered(PAIR, "fine\n{{#if node.name}}\n", &["node.name"]).expect_err("not closed");
    let shown = error.to_string();
    assert!(shown.starts_with("test.hbs:"), "{shown}");
    let error =
        rendered(PAIR, "fine\n{{seconds node.name}}\n", &["node.name"]).expect_err("no time");
    assert_eq!(
        error.to_string(),
        "test.hbs:2: `seconds` can't read \"node1\"; correct the template"
    );
    let error = rendered(PAIR, "{{frobnicate node.name}}", &["node.name"]).expect_err("no helper");
    assert!(error.to_string().contains("frobnicate"), "{error}");
}

#[test]
fn values_are_not_escaped() {
    let text = rendered(PAIR, "{{sqlquote \"<a> & 'b'\"}}", &[]).expect("a sound template");
    assert_eq!(text, "'<a> & ''b'''");
    let context = json!({ "path": r"C:\it's" });
    let inputs = ["path".to_owned()];
    let text = render("test.hbs", "{{confquote path}}", &inputs, &context);
    assert_eq!(text.expect("a sound template"), r"'C:\\it''s'");
    // TOML takes no DEL as it is, in which it differs from JSON.
    let context = json!({ "path": "\"é\\\u{7f}\u{1}" });
    let text = render("test.hbs", "{{quote path}}", &inputs, &context);
    assert_eq!(text.expect("a sound template"), r#""\"é\\\u007f\u0001""#);
}

#[test]
fn the_context_has_the_secrets_and_only_the_context() {
    let mut seed = read(PAIR);
    let secret = Secrets { k3s_token: Some(Secret::new("open sesame")), ..Secrets::default() };
    seed.secrets = Some(secret);
    let open = context(&seed);
    assert_eq!(open["secrets"]["k3s_token"], "open sesame");
    assert_eq!(open["secrets"]["k3s_agent_token"], Value::Null);
    assert_eq!(context(&seed.redacted())["secrets"], Value::Null);
    let shown = display_context(&seed);
    assert!(!shown.to_string().contains("open sesame"));
    assert_eq!(shown["secrets"]["k3s_token"], REDACTED);
    assert_eq!(shown["secrets"]["vrrp_passwords"]["api"], REDACTED);
    let keys = |value: &Value| {
        value["secrets"].as_object().expect("a table").keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys(&shown), keys(&open), "what is shown has the same shape");
}

#[test]
fn conditions_are_about_presence() {
    let context = context(&read(PAIR));
    for met in ["roles.database", "k3s", "vip.api", "k3s.tls_san", "vip.api.vrid"] {
        assert!(is_met(Some(met), &context), "{met}");
    }
    for unmet in ["roles.etcd", "etcd", "etcd.token", "vip.web", "k3s.disable", "nonsense", ""] {
        assert!(!is_met(Some(unmet), &context), "{unmet}");
    }
    assert!(is_met(None, &context));
}

fn manifest(templates: &Value, services: &Value) -> String {
    json!({
        "name": "lab", "version": "1", "seed_format": 1, "source_date": 1_767_225_600,
        "architecture": "amd64", "stand_in": false, "debug": true,
        "overlays": [{ "name": "base" }],
        "packages": [
            { "name": "libc6", "version": "2.41-1", "architecture": "amd64", "sha256": "00" }
        ],
        "users": [{ "name": "haproxy", "id": 900 }],
        "modules": ["softdog"], "sysctls": { "kernel.panic": "10" },
        "templates": templates, "services": services,
    })
    .to_string()
}

#[test]
fn files_are_rendered_where_their_condition_holds() {
    let templates = json!([
        { "path": "/etc/hostname", "source": "base/hostname.hbs", "inputs": ["node.name"] },
        { "path": "/etc/etcd.yaml", "source": "etcd/etcd.hbs", "inputs": ["etcd"], "when": "etcd" },
        {
            "path": "/etc/haproxy.cfg", "source": "lb/h.hbs", "mode": "0640", "user": "haproxy",
            "when": "roles.server",
        },
    ]);
    let manifest =
        Manifest::from_json(&manifest(&templates, &json!([]))).expect("a sound manifest");
    let source = |path: &str| match path {
        "base/hostname.hbs" => Ok("{{node.name}}\n".to_owned()),
        "lb/h.hbs" => Ok("# empty\n".to_owned()),
        other => Err(io::Error::new(io::ErrorKind::NotFound, other.to_owned())),
    };
    let context = context(&read(PAIR));
    let files = render_all(&manifest, &context, &source).expect("sound templates");
    let seen: Vec<_> = files.iter().map(|f| (f.path.as_str(), f.text.as_str())).collect();
    assert_eq!(seen, [("/etc/hostname", "node1\n"), ("/etc/haproxy.cfg", "# empty\n")]);
    assert_eq!(files[0].mode, FileMode::from_bits(0o644));
    assert_eq!((files[1].mode.bits(), files[1].user.as_str()), (0o640, "haproxy"));

    let gone = |_: &str| Err(io::Error::from(io::ErrorKind::NotFound));
    let error = render_all(&manifest, &context, &gone).expect_err("no source");
    assert!(error.to_string().contains("base/hostname.hbs"), "{error}");
}

#[test]
fn a_manifest_survives_its_way_through_json() {
    let services = json!([
        { "name": "network", "command": ["/usr/bin/true"], "ready": { "kind": "done" } },
        {
            "name": "haproxy", "command": ["/usr/sbin/haproxy"], "user": "haproxy",
            "needs": ["network"], "when": "roles.balancer",
            "ready": { "kind": "tcp", "port": "k3s.port" }, "ready_timeout": "5s",
            "restart": { "policy": "on-failure" }, "stop": { "signal": "USR1" },
            "limits": { "memory": "128MiB" }, "capabilities": ["CAP_NET_BIND_SERVICE"],
            "realtime_priority": 10, "watchdog": "2s",
            "directories": [{ "path": "/run/haproxy" }],
        },
    ]);
    let first = Manifest::from_json(&manifest(&json!([]), &services)).expect("a sound manifest");
    let text = first.to_json().expect("plain data");
    let again = Manifest::from_json(&text).expect("what was written is read");
    assert_eq!(first, again);
    assert_eq!(text, again.to_json().expect("plain data"));
    let haproxy = &first.services[1];
    assert_eq!(haproxy.ready_timeout.milliseconds(), 5000);
    assert_eq!(haproxy.limits.memory.expect("a limit").get(), 128 << 20);
    assert_eq!(haproxy.stop.timeout.milliseconds(), 10_000);
    let Ready::Tcp { port, .. } = &haproxy.ready else { panic!("tcp") };
    assert_eq!(port.resolve(&context(&read(PAIR))), Some(6443));
}

/// What the author of an overlay writes, as the documentation of `Service` shows it.
#[test]
fn services_and_templates_are_written_in_toml() {
    #[derive(serde::Deserialize)]
    struct Overlay {
        services: Vec<Service>,
        templates: Vec<Template>,
    }
    let text = r#"
        [[services]]
        name = "haproxy"
        command = ["/usr/sbin/haproxy", "-W", "-f", "/etc/haproxy/haproxy.cfg"]
        user = "haproxy"
        when = "roles.balancer"
        needs = ["network"]
        ready = { kind = "tcp", port = 8404 }
        limits = { memory = "128MiB" }

        [[templates]]
        path = "/etc/haproxy/haproxy.cfg"
        source = "haproxy.cfg.hbs"
        inputs = ["balancer", "self.addresses"]
        when = "roles.balancer"
    "#;
    let overlay: Overlay = toml::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    let Ready::Tcp { address, port } = &overlay.services[0].ready else { panic!("tcp") };
    assert_eq!((address.as_str(), port), ("127.0.0.1", &PortSource::Number(8404)));
    assert_eq!(overlay.services[0].restart, Restart::default());
    assert_eq!(overlay.templates[0].mode.to_string(), "0644");
}

#[test]
fn a_bad_manifest_is_refused_with_a_reason() {
    let service = |name: &str, extra: Value| {
        let mut service = json!({ "name": name, "command": ["/x"] });
        if let (Value::Object(service), Value::Object(extra)) = (&mut service, extra) {
            service.extend(extra);
        }
        service
    };
    let cases = [
        (json!([service("a", json!({})), service("a", json!({}))]), "two services are called `a`"),
        (json!([service("a", json!({ "needs": ["b"] }))]), "needs `b`, which is not in the image"),
        (
            json!([
                service("a", json!({ "needs": ["b"] })),
                service("b", json!({ "after": ["c"] })),
                service("c", json!({ "after": ["a"] })),
                service("d", json!({ "after": ["a"] })),
            ]),
            "waits for itself through",
        ),
        (json!([service("a", json!({ "after": ["a"] }))]), "waits for itself"),
        (json!([service("a", json!({ "user": "nobody" }))]), "user `nobody`, who is not"),
        (json!([service("a", json!({ "restarts": 1 }))]), "unknown field `restarts`"),
        (json!([service("a", json!({ "ready": { "kind": "tcp" } }))]), "missing field `port`"),
        (
            json!([service("a", json!({ "ready": { "kind": "file", "path": "/x", "y": 1 } }))]),
            "`y`",
        ),
        (json!([service("a", json!({ "limits": { "memory": "5MB" } }))]), "\"MB\" is no unit"),
        (json!([service("a", json!({ "watchdog": "5" }))]), "has no unit"),
        (json!([service("A b", json!({}))]), "small letters"),
    ];
    for (services, reason) in cases {
        let error = Manifest::from_json(&manifest(&json!([]), &services)).expect_err(reason);
        assert!(error.to_string().contains(reason), "{reason}: {error}");
    }
    let template = json!([{ "path": "/x", "source": "x.hbs", "mode": "rw" }]);
    let error = Manifest::from_json(&manifest(&template, &json!([]))).expect_err("a bad mode");
    assert!(error.to_string().contains("octal"), "{error}");
}
