//! Mistakes in cluster files: each is shown at its line of that file, with the mend.

use builder::cluster::plan;
use proptest::prelude::*;

const FINGERPRINT: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A sound cluster file, in which each test breaks one thing.
const SOUND: &str = r#"[cluster]
name = "pair"

[[links]]
name = "lan"
match = { name = "e*" }

[[vips]]
name = "api"
roles = ["database"]
addresses = ["192.168.77.10/24"]
vrid = 77
link = "lan"
unicast = true
permit = "database"

[database]

[[database.users]]
name = "k3s"
clients = ["k3s"]

[k3s]
datastore = "database"

[[nodes]]
name = "node1"
roles = ["database", "server"]
links.lan.addresses = ["192.168.77.11/24"]
vips.api.priority = 110

[[nodes]]
name = "node2"
roles = ["database", "server"]
links.lan.addresses = ["192.168.77.12/24"]
"#;

/// What is said about `SOUND` after `old` was replaced by `new`.
fn told(old: &str, new: &str) -> String {
    assert_eq!(SOUND.matches(old).count(), 1, "{old:?} stands once in the sound file");
    told_of(&SOUND.replace(old, new))
}

fn told_of(text: &str) -> String {
    match plan("pair.toml", text, FINGERPRINT) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn the_sound_file_is_accepted() {
    let plan = plan("pair.toml", SOUND, FINGERPRINT).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(plan.cluster, "pair");
    assert_eq!(plan.seeds.len(), 2);
}

#[test]
fn what_a_node_says_wins_over_what_the_site_says() {
    let own = "vips.api.priority = 110\nk3s.node_labels = [\"rack=b\"]\noperators.port = 7000\n\
               database = { shared_buffers = \"64MiB\", max_connections = 300 }";
    let shared = "[database]\nshared_buffers = \"256MiB\"\nport = 5440\n";
    let text = SOUND.replace("vips.api.priority = 110", own).replace("[database]\n", shared);
    let plan = plan("pair.toml", &text, FINGERPRINT).unwrap_or_else(|error| panic!("{error}"));
    let [first, second] = [&plan.seeds[0].seed, &plan.seeds[1].seed];
    let ports = |seed: &seed::Seed| seed.operators.as_ref().map(|it| it.port.get());
    assert_eq!((ports(first), ports(second)), (Some(7000), Some(7432)));
    let memory = |seed: &seed::Seed| {
        let database = seed.database.as_ref().expect("[database]");
        let buffers = database.shared_buffers.to_string();
        (database.port.get(), buffers, database.max_connections.get())
    };
    assert_eq!(memory(first), (5440, "64MiB".to_owned(), 300));
    assert_eq!(memory(second), (5440, "256MiB".to_owned(), 200));
    let labels = |seed: &seed::Seed| seed.k3s.as_ref().map(|k3s| k3s.node_labels.len());
    assert_eq!((labels(first), labels(second)), (Some(1), Some(0)));
}

#[test]
fn syntax() {
    insta::assert_snapshot!(told("vrid = 77", "vrid = "), @r#"
    error: this is not valid TOML
      --> pair.toml:12:8
       |
    12 | vrid =
       |        ^ string values must be quoted, expected literal string
       = mend: correct the marked place; text values need double quotes

    pair.toml: 1 problem
    "#);
}

#[test]
fn unknown_table() {
    insta::assert_snapshot!(told("[database]\n", "[databse]\n[database]\n"), @r#"
    error: a cluster file has no table `databse`
      --> pair.toml:17:2
       |
    17 | [databse]
       |  ^^^^^^^ unknown key
       = mend: did you mean `database`?

    pair.toml: 1 problem
    "#);
}

#[test]
fn unknown_key_of_a_node() {
    insta::assert_snapshot!(told("vips.api.priority = 110", "prioity = 110"), @r#"
    error: [[nodes]] has no key `prioity`
      --> pair.toml:30:1
       |
    30 | prioity = 110
       | ^^^^^^^ unknown key
       = mend: remove it; known are name, roles, addresses, links, routes, vips, failover, database, patroni, etcd, k3s, services, balancer, registry, witness, dns, time, operators, debug

    pair.toml: 1 problem
    "#);
}

#[test]
fn unknown_key_of_a_shared_table_is_told_once() {
    insta::assert_snapshot!(told("datastore =", "datastor ="), @r#"
    error: [k3s] has no key `datastor`
      --> pair.toml:24:1
       |
    24 | datastor = "database"
       | ^^^^^^^^ unknown key
       = mend: did you mean `datastore`?

    pair.toml: 1 problem
    "#);
}

#[test]
fn no_nodes() {
    insta::assert_snapshot!(told_of("[cluster]\nname = \"pair\"\n"), @r#"
    error: a site has nodes
     --> pair.toml:1:1
      |
    1 | [cluster]
      | ^ there is no [[nodes]]
      = mend: add [[nodes]] with name, roles and links for each machine

    pair.toml: 1 problem
    "#);
}

#[test]
fn nodes_inside_of_cluster() {
    let text = "[[nodes]]\nname = \"node1\"\n[[cluster.nodes]]\nname = \"node1\"\n";
    assert!(told_of(text).contains("error: in a cluster file the nodes are [[nodes]]"));
}

#[test]
fn bad_node_name() {
    insta::assert_snapshot!(told("\"node2\"", "\"Node 2\""), @r#"
    error: a node's name is one label of a host name (RFC 1123)
      --> pair.toml:33:8
       |
    33 | name = "Node 2"
       |        ^^^^^^^^ contains the capital 'N'
       = mend: use a-z, 0-9 and '-', at most 63 characters: "node-2"

    pair.toml: 1 problem
    "#);
}

#[test]
fn name_that_leaves_the_folder() {
    let told = told("\"node2\"", "\"../node2\"");
    assert!(told.contains("a node's name is one label of a host name"), "{told}");
}

#[test]
fn two_nodes_of_one_name() {
    insta::assert_snapshot!(told("\"node2\"", "\"node1\""), @r#"
    error: two nodes are called "node1"
      --> pair.toml:33:8
       |
    33 | name = "node1"
       |        ^^^^^^^ named before
       = mend: give each node its own name

    pair.toml: 1 problem
    "#);
}

#[test]
fn unknown_role() {
    let two = "name = \"node2\"\nroles = [\"database\", \"server\"]";
    insta::assert_snapshot!(told(two, "name = \"node2\"\nroles = [\"databse\", \"server\"]"), @r#"
    error: "databse" is no role
      --> pair.toml:34:10
       |
    34 | roles = ["databse", "server"]
       |          ^^^^^^^^^ unknown role
       = mend: did you mean "database"? (known: "database", "server", "agent", "balancer", "etcd", "witness", "registry", "patroni")

    pair.toml: 1 problem
    "#);
}

#[test]
fn address_without_prefix_length() {
    insta::assert_snapshot!(told("192.168.77.12/24", "192.168.77.12"), @r#"
    error: an address on a link needs its prefix length
      --> pair.toml:35:24
       |
    35 | links.lan.addresses = ["192.168.77.12"]
       |                        ^^^^^^^^^^^^^^^ has no prefix length
       = mend: write it as "192.168.77.12/24"

    pair.toml: 1 problem
    "#);
}

#[test]
fn override_with_a_bad_value_is_shown_at_the_node() {
    insta::assert_snapshot!(told("priority = 110", "priority = 300"), @r#"
    error: a priority lies between 1 and 255
      --> pair.toml:30:21
       |
    30 | vips.api.priority = 300
       |                     ^^^ is outside of that
       = mend: choose a number from 1 to 255

    pair.toml: 1 problem
    "#);
}

#[test]
fn vip_without_roles() {
    insta::assert_snapshot!(told("roles = [\"database\"]\n", ""), @r#"
    error: a VIP is held by the nodes of a role
     --> pair.toml:8:1
      |
    8 | [[vips]]
      | ^^^^^^^^ names no such role
      = mend: write `roles = ["server"]`, one or more of database, server, agent, balancer, etcd, witness, registry, patroni

    error: clients find the primary by a VIP that follows it
      --> pair.toml:16:2
       |
    16 | [database]
       |  ^^^^^^^^ no VIP has `permit = "database"`
       = mend: add [[vips]] with `permit = "database"`

    pair.toml: 2 problems
    "#);
}

#[test]
fn vip_of_a_role_that_nobody_has() {
    insta::assert_snapshot!(told("roles = [\"database\"]\n", "roles = [\"balancer\"]\n"), @r#"
    error: a VIP needs nodes that can hold it
      --> pair.toml:10:9
       |
    10 | roles = ["balancer"]
       |         ^^^^^^^^^^^^ no node has such a role
       = mend: give the role to the nodes, or correct it

    error: clients find the primary by a VIP that follows it
      --> pair.toml:17:2
       |
    17 | [database]
       |  ^^^^^^^^ no VIP has `permit = "database"`
       = mend: add [[vips]] with `permit = "database"`

    pair.toml: 2 problems
    "#);
}

#[test]
fn peers_are_not_written() {
    insta::assert_snapshot!(told("unicast = true", "peers = [\"192.168.77.12\"]"), @r#"
    error: the peers of a VIP follow from the nodes
      --> pair.toml:14:1
       |
    14 | peers = ["192.168.77.12"]
       | ^^^^^ is worked out for each node
       = mend: write `unicast = true` instead

    pair.toml: 1 problem
    "#);
}

#[test]
fn override_of_a_vip_that_is_not_there() {
    insta::assert_snapshot!(told("vips.api.priority", "vips.apy.priority"), @r#"
    error: this node holds no VIP called "apy"
      --> pair.toml:30:6
       |
    30 | vips.apy.priority = 110
       |      ^^^ no [[vips]] of that name for its roles
       = mend: correct the name, or add one of the node's roles to the VIP's `roles`

    pair.toml: 1 problem
    "#);
}

#[test]
fn table_that_no_node_needs() {
    insta::assert_snapshot!(told("[k3s]", "[etcd]\n\n[k3s]"), @r#"
    error: [etcd] is of no use at this site
      --> pair.toml:23:1
       |
    23 | [etcd]
       | ^^^^^^ no node has the role "etcd"
       = mend: give the role to a node, or remove [etcd]

    pair.toml: 1 problem
    "#);
}

#[test]
fn role_without_its_table() {
    insta::assert_snapshot!(told("[k3s]\ndatastore = \"database\"\n", ""), @r#"
    error: the role "server" needs a section [k3s]
      --> pair.toml:26:22
       |
    26 | roles = ["database", "server"]
       |                      ^^^^^^^^ there is no [k3s]
       = mend: add [k3s], or remove the role

    error: the role "server" needs a section [k3s]
      --> pair.toml:32:22
       |
    32 | roles = ["database", "server"]
       |                      ^^^^^^^^ there is no [k3s]
       = mend: add [k3s], or remove the role

    pair.toml: 2 problems
    "#);
}

#[test]
fn table_that_is_none() {
    insta::assert_snapshot!(told_of(&format!("k3s = 5\n{}", SOUND.replace("[k3s]\ndatastore = \"database\"\n", ""))), @r#"
    error: a table belongs here, not a number
     --> pair.toml:1:7
      |
    1 | k3s = 5
      |       ^ is a number
      = mend: write a table: a `[header]` with keys below, or `{ key = value }`

    pair.toml: 1 problem
    "#);
}

#[test]
fn three_nodes_in_a_pair() {
    let third = "\n[[nodes]]\nname = \"node3\"\nroles = [\"database\"]\n\
                 links.lan.addresses = [\"192.168.77.13/24\"]\n";
    insta::assert_snapshot!(told_of(&format!("{SOUND}{third}")), @r#"
    error: a database pair is exactly two nodes
     --> pair.toml:1:1
      |
    1 | [cluster]
      | ^^^^^^^^^ 3 nodes have the role "database"
      = mend: use the role "patroni", with etcd, for three members or more

    pair.toml: 1 problem
    "#);
}

#[test]
fn secret_of_no_vip_and_its_value_stays_hidden() {
    let secrets = "[secrets.vrrp_passwords]\napy = \"mysecret\"\n";
    insta::assert_snapshot!(told_of(&format!("{secrets}{SOUND}")), @r#"
    error: [secrets] holds values that must not be random
     --> pair.toml:2:1
      |
    2 | apy = (hidden)
      | ^ no VIP has this name
      = mend: leave it out, or give one of k3s_token, k3s_agent_token, datastore_password, backup_access_key, backup_secret_key, backup_passphrase, vrrp_passwords, vrrp_keys as text

    pair.toml: 1 problem
    "#);
}

#[test]
fn secret_that_cannot_be_given() {
    let told = told_of(&format!("[secrets]\nca_key = \"mysecret\"\n{SOUND}"));
    assert!(told.contains("can't be given in a cluster file"), "{told}");
    assert!(!told.contains("mysecret"), "{told}");
}

#[test]
fn all_mistakes_at_once_in_the_order_of_the_file() {
    let text = SOUND.replace("vrid = 77", "vrid = 0").replace("\"node2\"", "\"Node2\"");
    let told = told_of(&text);
    let (first, second) = (told.find("VRID lies between"), told.find("one label of a host"));
    assert!(first.is_some() && first < second, "{told}");
    assert!(told.ends_with("2 problems"), "{told}");
}

#[test]
fn a_file_that_is_too_large_is_not_parsed() {
    let told = told_of(&"#".repeat(2 * 1024 * 1024));
    assert!(told.contains("the cluster file is too large"), "{told}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(text in "\\PC{0,400}") {
        let _ = plan("any.toml", &text, FINGERPRINT);
    }

    /// Lines of a sound file in any order, some lost, some cut: nearly a cluster file.
    #[test]
    fn no_mixture_of_lines_makes_it_panic(
        lines in prop::collection::vec((0..SOUND.lines().count(), 0_usize..40), 0..40)
    ) {
        let all: Vec<&str> = SOUND.lines().collect();
        let cut = |(line, cut): &(usize, usize)| all[*line].get(..*cut).unwrap_or(all[*line]);
        let text = lines.iter().map(cut).collect::<Vec<_>>().join("\n");
        let _ = plan("any.toml", &text, FINGERPRINT);
    }
}
