//! The database pair and its backups on one screen.

use control::{Backup, BackupStatus, DatabaseStatus, PeerStatus, WitnessStatus};

use super::table::{Cell, table};
use super::time::{span, utc};
use super::{Mood, Style, bytes, plain};

/// How a role is to be taken.
pub(super) fn mood(role: &str) -> Mood {
    match role {
        "primary" | "standby" => Mood::Good,
        "blocked" | "fenced" | "stale" => Mood::Bad,
        _ => Mood::Uneasy,
    }
}

/// In a few words, for the node's own screen.
pub(super) fn witness_words(witness: Option<&WitnessStatus>) -> String {
    match witness {
        None => "-".to_owned(),
        Some(WitnessStatus { answered_ms: Some(ago), .. }) => format!("{} ago", span(*ago)),
        Some(_) => "silent".to_owned(),
    }
}

/// Everything about the pair.
pub fn database_screen(status: &DatabaseStatus, style: Style) -> String {
    let role = style.paint(mood(&status.role), &plain(&status.role));
    let node = if status.node.is_empty() { "this node" } else { &status.node };
    let mut rows = vec![("node", format!("{} is {role} for {}", plain(node), span(status.for_ms)))];
    let primary = status.primary.as_deref().map_or("nobody leads".to_owned(), |name| {
        format!("{} leads in epoch {}", plain(name), status.epoch)
    });
    rows.push(("primary", primary));
    rows.push(("in sync", in_sync(status, style)));
    rows.push(("clients", clients(status, style)));
    if !status.lsn.is_empty() {
        rows.push(("wal", plain(&status.lsn)));
    }
    rows.extend(status.peer.as_ref().map(|it| ("peer", peer(it, style))));
    let decides = match (&status.witness, status.arbiter.as_str()) {
        (Some(witness), "witness") => witness_line(witness, style),
        (_, "fence") => "a fence command decides".to_owned(),
        (_, policy) => format!("policy \"{}\"", plain(policy)),
    };
    rows.push(("arbiter", decides));
    if status.maintenance {
        rows.push(("failover", style.paint(Mood::Uneasy, "switched off for maintenance")));
    }
    let notes = status.notes.iter().map(|note| ("", plain(note)));
    lines(rows.into_iter().chain(notes))
}

fn lines(rows: impl Iterator<Item = (&'static str, String)>) -> String {
    rows.map(|(key, value)| format!("{key:<9} {value}").trim_end().to_owned() + "\n").collect()
}

fn in_sync(status: &DatabaseStatus, style: Style) -> String {
    let sync = match status.in_sync {
        Some(true) => style.paint(Mood::Good, "yes"),
        Some(false) => style.paint(Mood::Bad, "no"),
        None => "unknown".to_owned(),
    };
    let lag = status.lag_bytes.map(|lag| format!(", the standby is {} behind", bytes(lag)));
    sync + &lag.unwrap_or_default()
}

fn clients(status: &DatabaseStatus, style: Style) -> String {
    let sessions = status.sessions.map(|count| format!(", {count} sessions")).unwrap_or_default();
    if status.gate_open {
        style.paint(Mood::Good, "let in") + &sessions
    } else {
        "not let in here".to_owned() + &sessions
    }
}

fn peer(peer: &PeerStatus, style: Style) -> String {
    let role = peer.role.as_deref().unwrap_or("never heard");
    let seen = match peer.contact_ms {
        Some(ago) => format!(", seen {} ago", span(ago)),
        None => style.paint(Mood::Bad, ", not seen since pgkeeper started"),
    };
    let ways: Vec<String> = peer
        .channels
        .iter()
        .map(|channel| {
            let name = plain(&channel.name);
            if channel.heard {
                format!("heard on {name}")
            } else {
                style.paint(Mood::Bad, &format!("silent on {name}"))
            }
        })
        .collect();
    let ways = if ways.is_empty() { String::new() } else { format!("; {}", ways.join(", ")) };
    format!("{}: {}{seen}{ways}", plain(&peer.node), plain(role))
}

fn witness_line(witness: &WitnessStatus, style: Style) -> String {
    let answered = match witness.answered_ms {
        Some(ago) => format!("answered {} ago", span(ago)),
        None => style.paint(Mood::Bad, "has not answered"),
    };
    let because = witness.because.as_ref().map(|why| format!(": {}", plain(why)));
    format!("witness {}, {answered}{}", plain(&witness.address), because.unwrap_or_default())
}

/// Base backups, and how far the archive reaches.
pub fn backups_screen(status: &BackupStatus, style: Style) -> String {
    let mut rows = vec![("target", plain(&status.target)), ("now", plain(&status.state))];
    rows.extend(status.next_unix_ms.map(|next| ("next", utc(next))));
    let archive = match &status.archive {
        Some([oldest, newest]) => format!("from {} to {}", plain(oldest), plain(newest)),
        None => style.paint(Mood::Bad, "nothing is archived"),
    };
    rows.push(("archive", archive));
    let failure = status.failure.as_ref();
    rows.extend(failure.map(|why| ("trouble", style.paint(Mood::Bad, &plain(why)))));
    let row = |backup: &Backup| {
        vec![
            Cell::text(&backup.label),
            Cell::text(utc(backup.from_unix.saturating_mul(1000))),
            Cell::text(utc(backup.until_unix.saturating_mul(1000))),
            Cell::number(bytes(backup.database_bytes)),
            Cell::number(bytes(backup.stored_bytes)),
            Cell::text(if backup.damaged { "damaged" } else { "" }).mood(Mood::Bad),
        ]
    };
    let listed: Vec<_> = status.backups.iter().map(row).collect();
    let headings = ["BACKUP", "BEGAN", "ENDED", "DATABASE", "STORED", ""];
    let headings: Vec<Cell> = headings.iter().map(Cell::text).collect();
    let mut text = lines(rows.into_iter());
    if listed.is_empty() {
        text.push_str("\nthere is no base backup yet\n");
    } else {
        text.push('\n');
        text.push_str(&table(style, &headings, &listed));
    }
    text
}
