//! The gate against PostgreSQL's own TLS: the same server, the same client, the same certificates,
//! in turns. `PGBIN` names the folder of PostgreSQL's programs; else `pg_config` does.
//!
//! ```text
//!   pgbench --TLS--> PostgreSQL
//!   pgbench --TLS--> gate --unix socket--> PostgreSQL
//! ```

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use pgkeeper::Epoch;
use support::postgres::{Postgres, give_away, give_file};
use support::{CLIENT, DATABASE, Files, ROLE, Site};

/// Seconds of one run, and runs of each kind; their middle counts.
const SECONDS: &str = "4";
const ROUNDS: usize = 3;

fn bin() -> PathBuf {
    if let Some(bin) = std::env::var_os("PGBIN") {
        return bin.into();
    }
    let output = Command::new("pg_config").arg("--bindir").output();
    let output = output.expect("set PGBIN to the folder of postgres, initdb, psql and pgbench");
    String::from_utf8_lossy(&output.stdout).trim().into()
}

/// Transactions per second.
fn pgbench(postgres: &Postgres, conninfo: &str, arguments: &[&str]) -> f64 {
    let mut command = postgres.program("pgbench");
    let output = command.args(arguments).arg(conninfo).output().expect("pgbench starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = "));
    let rate = rate.and_then(|rest| rest.split(' ').next()).and_then(|text| text.parse().ok());
    rate.unwrap_or(0.0)
}

fn middle(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn main() {
    let folder = tempfile::Builder::new().prefix("gate-bench-").tempdir().expect("a folder");
    give_away(folder.path());
    let site = Site::new("bench CA");
    let home = folder.path().join("home");
    fs::create_dir(&home).expect("a folder");
    let server = Files::write(folder.path(), "server", &site.identity("node1"));
    for file in [&server.ca, &server.certificate, &server.key] {
        give_file(file);
    }
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    let own = free.expect("a free port");
    let conf = format!(
        "listen_addresses = '127.0.0.1'\nssl = on\nssl_ca_file = '{}'\nssl_cert_file = '{}'\n\
         ssl_key_file = '{}'\nssl_min_protocol_version = 'TLSv1.3'",
        server.ca.display(),
        server.certificate.display(),
        server.key.display()
    );
    let hba = "hostssl all all all trust clientcert=verify-ca\n";
    let postgres = Postgres::start(&bin(), &home, own.port(), &conf, hba);
    let gate = support::gate(support::settings(&site, &postgres.socket(), 200));
    gate.open(Epoch(1)).expect("open");
    let client = Files::write(folder.path(), CLIENT, &site.identity(CLIENT));
    let to = |address: SocketAddr| client.conninfo(address, ROLE, DATABASE);
    let (own, ours) = (to(own), to(gate.address().expect("an address")));
    pgbench(&postgres, &own, &["-i", "-q", "-s", "5"]);
    println!("transactions per second, the middle of {ROUNDS} runs of {SECONDS} s each");
    for (what, kind) in [("write (TPC-B)", None), ("read (select)", Some("-S"))] {
        for clients in ["1", "8"] {
            let mut arguments = vec!["-n", "-T", SECONDS, "-c", clients, "-j", "2"];
            arguments.extend(kind);
            let (mut theirs, mut through) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                theirs.push(pgbench(&postgres, &own, &arguments));
                through.push(pgbench(&postgres, &ours, &arguments));
            }
            let (theirs, through) = (middle(theirs), middle(through));
            let ratio = 100.0 * through / theirs;
            println!(
                "{what:14} {clients} clients: own TLS {theirs:7.0}, gate {through:7.0}, {ratio:.0} %"
            );
        }
    }
}
