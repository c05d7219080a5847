//! What a running daemon shows: for people, for programs, and for Prometheus.

use std::fmt::Write;

use serde::Serialize;
use vrrp::{State, Version};

use crate::health::Verdict;
use crate::router::{Counters, Router};

/// The whole status.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    pub version: &'static str,
    pub uptime_seconds: f64,
    pub permit: Option<PermitStatus>,
    pub routers: Vec<RouterStatus>,
    pub checks: Vec<CheckStatus>,
}

/// The permit, where any router needs one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PermitStatus {
    pub holder_connected: bool,
    pub epoch: u64,
    /// None: there is none at the moment.
    pub remaining_seconds: Option<f64>,
}

/// One virtual router.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RouterStatus {
    pub name: String,
    pub interface: String,
    pub vrrp_version: u8,
    pub vrid: u8,
    pub state: &'static str,
    pub since_seconds: f64,
    pub priority: u8,
    pub interval_seconds: f64,
    pub addresses: Vec<String>,
    pub source: Option<String>,
    /// Whether it may be Active now, as far as checks, interface and permit go.
    pub permitted: bool,
    /// Why it takes no part.
    pub hindrance: Option<String>,
    /// Why it is in its state.
    pub reason: Option<String>,
    /// The router whose advert came last.
    pub other: Option<OtherStatus>,
    #[serde(skip)]
    pub counters: Counters,
}

/// Another router, as last heard.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OtherStatus {
    pub address: String,
    pub priority: u8,
    pub heard_seconds_ago: f64,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckStatus {
    pub instance: String,
    pub name: String,
    pub verdict: &'static str,
    pub weight: i16,
}

/// Takes one number out of many.
type Pick = fn(&Counters) -> u64;

/// The word for a state.
pub fn state(state: State) -> &'static str {
    match state {
        State::Initialize => "initialize",
        State::Backup => "backup",
        State::Active => "active",
    }
}

/// The word for a verdict.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unknown => "unknown",
        Verdict::Good => "good",
        Verdict::Failed => "failed",
    }
}

impl RouterStatus {
    pub fn of(router: &Router, now: std::time::Duration) -> Self {
        let settings = router.settings();
        Self {
            name: settings.label.clone(),
            interface: settings.interface.clone(),
            vrrp_version: if settings.version == Version::V2 { 2 } else { 3 },
            vrid: settings.vrid,
            state: state(router.state()),
            since_seconds: now.saturating_sub(router.since()).as_secs_f64(),
            priority: router.priority().get(),
            interval_seconds: settings.interval.duration().as_secs_f64(),
            addresses: settings
                .addresses
                .iter()
                .map(|cidr| format!("{}/{}", cidr.address, cidr.prefix))
                .collect(),
            source: router.primary().map(|address| address.to_string()),
            permitted: router.hindrance().is_none() && router.has_permit(now),
            hindrance: router.hindrance(),
            reason: router.last_transition().map(|last| last.reason.clone()),
            other: router.other().map(|other| OtherStatus {
                address: other.heard.source.to_string(),
                priority: other.heard.priority,
                heard_seconds_ago: now.saturating_sub(other.at).as_secs_f64(),
            }),
            counters: router.counters.clone(),
        }
    }
}

impl Status {
    /// A few lines for people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for router in &self.routers {
            let _ = writeln!(
                out,
                "{} {} for {:.1} s, priority {}, VRID {} on {}: {}",
                router.name,
                router.state,
                router.since_seconds,
                router.priority,
                router.vrid,
                router.interface,
                router.addresses.join(", ")
            );
            let why = router.hindrance.as_ref().or(router.reason.as_ref());
            if let Some(why) = why {
                let _ = writeln!(out, "  because: {why}");
            }
            if let Some(other) = &router.other {
                let _ = writeln!(
                    out,
                    "  last advert: {} of priority {}, {:.1} s ago",
                    other.address, other.priority, other.heard_seconds_ago
                );
            }
        }
        for check in &self.checks {
            let _ = writeln!(
                out,
                "check {}/{}: {}, weight {}",
                check.instance, check.name, check.verdict, check.weight
            );
        }
        if let Some(permit) = &self.permit {
            let holder = if permit.holder_connected { "connected" } else { "not connected" };
            let remaining = permit.remaining_seconds.map_or_else(
                || "none".to_owned(),
                |seconds| format!("epoch {} for {seconds:.3} s more", permit.epoch),
            );
            let _ = writeln!(out, "permit: {remaining}; its holder is {holder}");
        }
        out
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        // Only maps with keys that are no text can't be written, and there are none.
        serde_json::to_string(self).map_or_else(|_| String::new(), |json| json + "\n")
    }

    /// Prometheus' text form.
    pub fn metrics(&self) -> String {
        let mut out = String::new();
        let mut family = |name: &str, kind: &str, help: &str, values: Vec<(String, f64)>| {
            let _ = writeln!(out, "# HELP vipd_{name} {help}\n# TYPE vipd_{name} {kind}");
            for (labels, value) in values {
                let _ = writeln!(out, "vipd_{name}{{{labels}}} {value}");
            }
        };
        let of = |pick: &dyn Fn(&RouterStatus) -> f64| -> Vec<(String, f64)> {
            self.routers.iter().map(|router| (labels(router), pick(router))).collect()
        };
        let active = |router: &RouterStatus| f64::from(u8::from(router.state == "active"));
        let fit = |router: &RouterStatus| f64::from(u8::from(router.hindrance.is_none()));
        family("active", "gauge", "1 while the addresses are held.", of(&active));
        family("taking_part", "gauge", "1 unless something hinders it.", of(&fit));
        family("priority", "gauge", "Priority in force.", of(&|r| f64::from(r.priority)));
        let counters: [(&str, &str, Pick); 8] = [
            ("adverts_sent_total", "Adverts sent.", |c| c.adverts_sent),
            ("adverts_late_total", "Adverts late by an interval.", |c| c.adverts_late),
            ("adverts_received_total", "Adverts believed.", |c| c.adverts_received),
            ("send_errors_total", "Packets that the kernel refused.", |c| c.send_errors),
            ("announcements_total", "Announcements to neighbours.", |c| c.announcements),
            ("foreign_claims_total", "Claims of others on our addresses.", |c| c.foreign_claims),
            ("transitions_total", "Changes of state.", |c| c.transitions),
            ("became_active_total", "Takeovers.", |c| c.became_active),
        ];
        for (name, help, pick) in counters {
            #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 packets")]
            let values = of(&|router| pick(&router.counters) as f64);
            family(name, "counter", help, values);
        }
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 packets")]
        let dropped = self.routers.iter().flat_map(|router| {
            router.counters.dropped.iter().map(|(reason, count)| {
                (format!("{},reason=\"{reason}\"", labels(router)), *count as f64)
            })
        });
        family("dropped_total", "counter", "Packets not believed.", dropped.collect());
        let checks = self.checks.iter().map(|check| {
            let labels = format!("instance=\"{}\",check=\"{}\"", check.instance, check.name);
            (labels, f64::from(u8::from(check.verdict == "good")))
        });
        family("check_good", "gauge", "1 while the check is good.", checks.collect());
        if let Some(permit) = &self.permit {
            let remaining = permit.remaining_seconds.unwrap_or(0.0);
            let values = vec![(String::new(), remaining)];
            family("permit_remaining_seconds", "gauge", "Life of the permit.", values);
        }
        out
    }
}

/// Names have no characters that would need escaping.
fn labels(router: &RouterStatus) -> String {
    format!(
        "router=\"{}\",interface=\"{}\",vrid=\"{}\"",
        router.name, router.interface, router.vrid
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Config;
    use crate::router::{Router, Settings};

    fn status() -> Status {
        let text = "[[instances]]\nname = 'api'\ninterface = 'eth0'\nvrid = 51\n\
                    addresses = ['192.0.2.10/24']";
        let config = Config::parse(text).expect("good");
        let settings = Settings::of(&config.instances[0]).remove(0);
        let mut router = Router::new(settings, Duration::ZERO);
        router.set_link(Duration::ZERO, true);
        router.set_primary(Duration::ZERO, Some([192, 0, 2, 1].into()));
        router.tick(Duration::from_secs(4));
        router.counters.dropped.insert("checksum", 7);
        let routers = vec![RouterStatus::of(&router, Duration::from_secs(5))];
        let check = CheckStatus {
            instance: "api".to_owned(),
            name: "haproxy".to_owned(),
            verdict: "good",
            weight: -20,
        };
        let permit =
            PermitStatus { holder_connected: true, epoch: 3, remaining_seconds: Some(0.5) };
        Status {
            version: "0",
            uptime_seconds: 5.0,
            permit: Some(permit),
            routers,
            checks: vec![check],
        }
    }

    #[test]
    fn people_read_the_state_and_its_reason() {
        let text = status().text();
        let expected = "api/ipv4 active for 1.0 s, priority 100, VRID 51 on eth0: 192.0.2.10/24\n  \
                        because: nobody else is Active\ncheck api/haproxy: good, weight -20\n\
                        permit: epoch 3 for 0.500 s more; its holder is connected\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn programs_read_the_same_as_json() {
        let json: serde_json::Value = serde_json::from_str(&status().json()).expect("JSON");
        assert_eq!(json["routers"][0]["state"], "active");
        assert_eq!(json["routers"][0]["reason"], "nobody else is Active");
    }

    #[test]
    fn every_metric_has_its_help_and_type() {
        let metrics = status().metrics();
        let label = "router=\"api/ipv4\",interface=\"eth0\",vrid=\"51\"";
        assert!(metrics.contains(&format!("vipd_active{{{label}}} 1\n")));
        assert!(
            metrics.contains(&format!("vipd_dropped_total{{{label},reason=\"checksum\"}} 7\n"))
        );
        for line in metrics.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split('{').next().expect("a name");
            assert!(metrics.contains(&format!("# TYPE {name} ")), "{name}");
        }
    }
}
