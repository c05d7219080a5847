//! The status on one screen: the verdict first, then what it rests on.

use control::{
    Clock, DatabaseStatus, Exit, K3sStatus, LinkStatus, MissingPart, ServiceState, ServiceStatus,
    Status, Storage, VipStatus, Watchdog,
};

use super::table::{Cell, table};
use super::time::{span, utc};
use super::{Mood, Style, bytes, plain};

/// The whole screen.
pub fn screen(status: &Status, style: Style) -> String {
    let mut text = header(status, style);
    let tables = [
        links(&status.links, style),
        vips(&status.vip, style),
        status.database.as_ref().map_or_else(String::new, |it| database(it, style)),
        status.k3s.as_ref().map_or_else(String::new, |it| k3s(it, style)),
        services(status, style),
    ];
    for table in tables.iter().filter(|table| !table.is_empty()) {
        text.push('\n');
        text.push_str(table);
    }
    text
}

fn header(status: &Status, style: Style) -> String {
    let image = &status.image;
    let name = match (&status.node, &status.cluster) {
        (Some(node), Some(cluster)) => format!("{node} of {cluster}"),
        (Some(node), None) => node.clone(),
        (None, _) => "a node without a seed".to_owned(),
    };
    let readiness = &status.readiness;
    let (verdict, mood) = match (readiness.ready, readiness.because.is_empty()) {
        (true, true) => ("ready".to_owned(), Mood::Good),
        (true, false) => ("ready, but".to_owned(), Mood::Uneasy),
        (false, _) if readiness.phase == "running" => ("not ready".to_owned(), Mood::Bad),
        (false, _) => (format!("not ready, {}", readiness.phase), Mood::Bad),
    };
    let mut rows = vec![("node", style.paint(Mood::Heading, &plain(&name)))];
    rows.push(("is", style.paint(mood, &plain(&verdict))));
    rows.extend(readiness.because.iter().map(|why| ("", plain(why))));
    rows.push(("up", format!("{}, boot {}", span(status.uptime_ms), plain(&status.boot_id))));
    let slot = status.slot.as_ref().map(|slot| format!("slot {slot}"));
    let slot = status.slots.clone().or(slot).map(|slot| format!(", {slot}")).unwrap_or_default();
    rows.push(("image", plain(&format!("{} {}{slot}", image.name, image.version))));
    if image.debug {
        rows.push(("", style.paint(Mood::Uneasy, "it has a shell: not for production")));
    }
    if image.stand_in {
        let text = "it runs a stand-in for K3s: for tests only";
        rows.push(("", style.paint(Mood::Bad, text)));
    }
    rows.extend(status.storage.as_ref().map(|it| ("state", storage(it, style))));
    rows.push(("clock", clock(&status.clock, style)));
    // Whether it is synchronised stands in the line before.
    let detail = status.clock.detail.as_deref();
    let detail = detail.map(|text| text.strip_prefix("synchronised: ").unwrap_or(text));
    rows.extend(detail.map(|detail| ("", plain(detail))));
    rows.push(("watchdog", watchdog(&status.watchdog, style)));
    rows.extend(status.missing.iter().map(|it| ("missing", missing(it, style))));
    rows.iter()
        .map(|(key, value)| format!("{key:<9} {value}").trim_end().to_owned() + "\n")
        .collect()
}

fn clock(clock: &Clock, style: Style) -> String {
    let sure = match (clock.synchronised, &clock.source) {
        (true, _) => style.paint(Mood::Good, "synchronised"),
        (false, source) => {
            let from = source.as_ref().map(|it| format!(", taken from {it}")).unwrap_or_default();
            style.paint(Mood::Uneasy, &plain(&format!("not confirmed by a time server{from}")))
        }
    };
    format!("{}, {sure}", utc(clock.unix_ms))
}

fn storage(storage: &Storage, style: Style) -> String {
    match (storage.usable, &storage.because) {
        (true, _) => style.paint(Mood::Good, "usable"),
        (false, Some(why)) => style.paint(Mood::Bad, &plain(&format!("unusable: {why}"))),
        (false, None) => style.paint(Mood::Bad, "unusable"),
    }
}

fn watchdog(watchdog: &Watchdog, style: Style) -> String {
    let because = watchdog.because.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    match &watchdog.device {
        None => style.paint(Mood::Uneasy, &plain(&format!("none{because}"))),
        Some(device) if watchdog.fed => {
            plain(device) + ", " + &style.paint(Mood::Good, &plain(&format!("fed{because}")))
        }
        Some(device) => {
            plain(device) + ", " + &style.paint(Mood::Bad, &plain(&format!("not fed{because}")))
        }
    }
}

fn missing(missing: &MissingPart, style: Style) -> String {
    style.paint(Mood::Bad, &plain(&format!("{} ({})", missing.part, missing.because)))
}

fn headings(words: &[&str]) -> Vec<Cell> {
    words.iter().map(Cell::text).collect()
}

fn links(links: &[LinkStatus], style: Style) -> String {
    let row = |link: &LinkStatus| {
        let mood = if link.state == "up" { Mood::Good } else { Mood::Bad };
        vec![
            Cell::text(&link.name),
            Cell::text(&link.state).mood(mood),
            Cell::text(link.mac.as_deref().unwrap_or("-")),
            Cell::text(link.addresses.join(" ")),
            Cell::text(link.notes.join("; ")),
        ]
    };
    let rows: Vec<_> = links.iter().map(row).collect();
    table(style, &headings(&["LINK", "STATE", "MAC", "ADDRESSES", ""]), &rows)
}

fn vips(vips: &[VipStatus], style: Style) -> String {
    let row = |vip: &VipStatus| {
        let mood = match (vip.state.as_str(), vip.permitted) {
            ("active", true) => Mood::Good,
            ("active", false) => Mood::Bad,
            _ => Mood::Neutral,
        };
        vec![
            Cell::text(&vip.name),
            Cell::text(&vip.state).mood(mood),
            Cell::number(vip.priority.to_string()),
            Cell::text(if vip.permitted { "yes" } else { "no" }),
            Cell::text(&vip.link),
            Cell::text(vip.addresses.join(" ")),
            Cell::text(vip.notes.join("; ")),
        ]
    };
    let rows: Vec<_> = vips.iter().map(row).collect();
    let headings = headings(&["VIP", "STATE", "PRIORITY", "PERMIT", "LINK", "ADDRESSES", ""]);
    table(style, &headings, &rows)
}

fn database(database: &DatabaseStatus, style: Style) -> String {
    let (sync, mood) = match database.in_sync {
        Some(true) => ("yes", Mood::Good),
        Some(false) => ("no", Mood::Bad),
        None => ("?", Mood::Neutral),
    };
    let row = vec![
        Cell::text(&database.role).mood(super::database::mood(&database.role)),
        Cell::text(database.primary.as_deref().unwrap_or("?")),
        Cell::number(database.epoch.to_string()),
        Cell::text(sync).mood(mood),
        Cell::number(database.lag_bytes.map_or_else(|| "-".to_owned(), bytes)),
        Cell::text(if database.gate_open { "open" } else { "shut" }),
        Cell::text(super::database::witness_words(database.witness.as_ref())),
        Cell::text(database.notes.join("; ")),
    ];
    let words = ["DATABASE", "PRIMARY", "EPOCH", "IN SYNC", "LAG", "GATE", "WITNESS", ""];
    let headings = headings(&words);
    table(style, &headings, &[row])
}

fn k3s(k3s: &K3sStatus, style: Style) -> String {
    let (ready, mood) = if k3s.ready { ("ready", Mood::Good) } else { ("not ready", Mood::Bad) };
    let row = vec![
        Cell::text(&k3s.role),
        Cell::text(ready).mood(mood),
        Cell::text(k3s.version.as_deref().unwrap_or("?")),
        Cell::text(k3s.notes.join("; ")),
    ];
    table(style, &headings(&["K3S", "STATE", "VERSION", ""]), &[row])
}

fn services(status: &Status, style: Style) -> String {
    let row = |service: &ServiceStatus| {
        let pid = service.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        vec![
            Cell::text(&service.name),
            Cell::text(service.state.word()).mood(mood(service)),
            Cell::number(span(status.uptime_ms.saturating_sub(service.since_ms))),
            Cell::number(pid),
            Cell::number(service.restarts.to_string()),
            Cell::text(note(service, status.uptime_ms)),
        ]
    };
    let rows: Vec<_> = status.services.iter().map(row).collect();
    let names = ["SERVICE", "STATE", "FOR", "PID", "RESTARTS", ""];
    let aligned = |(index, name): (usize, &&str)| match index {
        2..=4 => Cell::number(name),
        _ => Cell::text(name),
    };
    let headings: Vec<Cell> = names.iter().enumerate().map(aligned).collect();
    table(style, &headings, &rows)
}

fn mood(service: &ServiceStatus) -> Mood {
    match service.state {
        ServiceState::Ready | ServiceState::Finished => Mood::Good,
        ServiceState::BackOff | ServiceState::Failed | ServiceState::Killing => Mood::Bad,
        ServiceState::Down if !service.desired => Mood::Neutral,
        ServiceState::Ended => Mood::Neutral,
        _ => Mood::Uneasy,
    }
}

/// What a reader would ask next: why isn't it ready?
fn note(service: &ServiceStatus, now_ms: u64) -> String {
    let mut notes = Vec::new();
    if !service.desired {
        notes.push("stopped by the operator".to_owned());
    }
    if !service.waits_for.is_empty() {
        notes.push(format!("waits for {}", service.waits_for.join(", ")));
    }
    if service.state == ServiceState::BackOff
        && let Some(until) = service.until_ms
    {
        notes.push(format!("again in {}", span(until.saturating_sub(now_ms))));
    }
    match service.last_exit {
        Some(Exit::Code(code)) if code != 0 => notes.push(format!("ended with code {code}")),
        Some(Exit::Signal(signal)) => notes.push(format!("ended by signal {signal}")),
        Some(Exit::NotStarted) => notes.push("could not be started".to_owned()),
        _ => {}
    }
    notes.extend(service.says.clone());
    notes.join(", ")
}
