//! QEMU's events as moments on a machine's lane: what the hardware did, whoever wanted it.

use report::run::{Mark, MarkKind};
use serde_json::Value;

use crate::qmp::Event;

/// What the rig brings about by its own sockets, which says nothing of the machine.
const OF_THE_RIG: [&str; 5] = [
    "MIGRATION",
    "NETDEV_STREAM_CONNECTED",
    "NETDEV_STREAM_DISCONNECTED",
    "NIC_RX_FILTER_CHANGED",
    "VSERPORT_CHANGE",
];

/// The moment of an event; none for one that tells only of the rig.
pub fn mark(event: &Event) -> Option<Mark> {
    if OF_THE_RIG.contains(&event.name.as_str()) {
        return None;
    }
    let (text, kind) = meaning(event);
    Some(Mark { at: event.at.into(), text, kind })
}

fn meaning(event: &Event) -> (String, MarkKind) {
    let of = |key: &str| event.data.get(key).and_then(Value::as_str).unwrap_or("?");
    let by_guest = event.data.get("guest") == Some(&Value::Bool(true));
    let (text, kind) = match event.name.as_str() {
        "STOP" => ("its processors stand still".to_owned(), MarkKind::Note),
        "RESUME" => ("its processors run".to_owned(), MarkKind::Note),
        "POWERDOWN" => ("its power button was pressed".to_owned(), MarkKind::Note),
        "RESET" if by_guest => ("it restarts itself".to_owned(), MarkKind::Note),
        "RESET" => (format!("it was reset ({})", of("reason")), MarkKind::Note),
        "SHUTDOWN" if by_guest => ("it turned itself off".to_owned(), MarkKind::Note),
        "SHUTDOWN" => (format!("it was turned off ({})", of("reason")), MarkKind::Note),
        "RTC_CHANGE" => ("its hardware clock was set".to_owned(), MarkKind::Note),
        "WATCHDOG" => (format!("its watchdog ran out: {}", of("action")), MarkKind::Bad),
        "GUEST_PANICKED" => ("its kernel panicked".to_owned(), MarkKind::Bad),
        "BLOCK_IO_ERROR" => {
            (format!("its disk failed a {}: {}", of("operation"), of("reason")), MarkKind::Bad)
        }
        // Better told without a meaning than not at all.
        other => (format!("{other} {}", event.data), MarkKind::Note),
    };
    (format!("QEMU: {text}"), kind)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ledger::Micros;
    use serde_json::json;

    use super::*;

    fn told(name: &str, data: Value) -> Option<(String, MarkKind)> {
        let event = Event { at: Duration::from_millis(1500), name: name.to_owned(), data };
        let mark = mark(&event)?;
        assert_eq!(mark.at, Micros(1_500_000));
        Some((mark.text, mark.kind))
    }

    #[test]
    fn events_say_who_did_it_and_whether_that_is_trouble() {
        let own = json!({ "guest": true, "reason": "guest-reset" });
        let rigs = json!({ "guest": false, "reason": "host-qmp-system-reset" });
        let cases = [
            ("RESET", own, "QEMU: it restarts itself", MarkKind::Note),
            ("RESET", rigs, "QEMU: it was reset (host-qmp-system-reset)", MarkKind::Note),
            ("STOP", Value::Null, "QEMU: its processors stand still", MarkKind::Note),
            (
                "WATCHDOG",
                json!({ "action": "reset" }),
                "QEMU: its watchdog ran out: reset",
                MarkKind::Bad,
            ),
            (
                "BLOCK_IO_ERROR",
                json!({ "operation": "write", "reason": "Input/output error" }),
                "QEMU: its disk failed a write: Input/output error",
                MarkKind::Bad,
            ),
            ("NEWS", json!({ "a": 1 }), "QEMU: NEWS {\"a\":1}", MarkKind::Note),
        ];
        for (name, data, text, kind) in cases {
            assert_eq!(told(name, data), Some((text.to_owned(), kind)));
        }
    }

    #[test]
    fn what_the_rig_does_to_its_own_sockets_is_no_moment_of_a_machine() {
        for name in OF_THE_RIG {
            assert_eq!(told(name, Value::Null), None);
        }
    }
}
