//! The last phase: the services of this node begin. From here on the loop has the word, and the
//! watchdog watches over it.

use std::fs;

use ::seed::manifest::Service;
use ::seed::render;
use ::seed::scalar::Word;
use ::seed::section::ConsoleLevel;

use crate::clock;
use crate::node::Node;
use crate::say;
use crate::services::{Places, Services, Setup};

/// Never, whatever memory lacks; what PID 1 starts gets a score of its own.
const OOM_SCORE: &str = "-1000";
const OOM_SCORE_PATH: &str = "/proc/self/oom_score_adj";

/// The service that copies the journal to the disk.
const LOGD: &str = "logd";

/// Begins the services. A node whose services contradict each other runs none of them, says why,
/// and stays up: a restart would change nothing, and someone may want to look.
pub(super) fn begin(node: &mut Node) {
    if let Err(error) = fs::write(OOM_SCORE_PATH, OOM_SCORE) {
        say!("{OOM_SCORE_PATH}: {error}");
    }
    if let Err(error) = Services::raise_limits() {
        say!("the limit of open files stays as it is: {error}");
    }
    let context = node.seed.as_ref().map(render::context).unwrap_or_default();
    let level = node.seed.as_ref().map(|seed| seed.debug.console_level);
    let all = after_logd(&node.manifest.services);
    let setup = Setup {
        services: &all,
        users: &node.manifest.users,
        context,
        places: Places::of_node(),
        console_level: level.unwrap_or(ConsoleLevel::Info),
        gives_rights: true,
    };
    match Services::new(setup) {
        Ok(services) => node.begin_services(services, clock::now()),
        Err(error) => say!("degraded: no service can run: {error}"),
    }
}

/// The services, each of which comes after `logd`, if there is one.
///
/// What comes last stops first: so `logd` is there until everyone else has said its last word, and
/// takes that to the disk before it ends. It delays no boot, since it is ready as soon as it
/// runs, and who only comes after it starts without it if it fails. An overlay can't say this, for
/// it knows nothing of the services of others. Whom `logd` itself should wait for is left out.
fn after_logd(services: &[Service]) -> Vec<Service> {
    let mut all = services.to_vec();
    let Some(logd) = services.iter().find(|service| service.name.as_str() == LOGD) else {
        return all;
    };
    let before = all_before(logd, services);
    for service in &mut all {
        let waits = service.waits_for().any(|name| *name == logd.name);
        if service.name != logd.name && !waits && !before.contains(&service.name) {
            service.after.push(logd.name.clone());
        }
    }
    all
}

/// Whom a service waits for, and whom those wait for.
fn all_before(service: &Service, services: &[Service]) -> Vec<Word> {
    let mut before: Vec<Word> = service.waits_for().cloned().collect();
    let mut seen = 0;
    while let Some(name) = before.get(seen) {
        let found = services.iter().find(|service| service.name == *name);
        let further = found.into_iter().flat_map(Service::waits_for);
        let new: Vec<Word> = further.filter(|name| !before.contains(name)).cloned().collect();
        before.extend(new);
        seen = seen.saturating_add(1);
    }
    before
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use supervise::Supervisor;

    use super::*;
    use crate::services::tests::service;

    /// Who comes after whom, once every service comes after `logd`.
    fn order(services: &[&str]) -> Vec<(String, Vec<String>)> {
        let services: Vec<Service> = services.iter().map(|text| service(text)).collect();
        let all = after_logd(&services);
        // Whatever was added, the supervisor takes it.
        assert!(Supervisor::new(&all, &Value::Null).is_ok());
        let names = |words: &[Word]| words.iter().map(ToString::to_string).collect();
        all.iter().map(|one| (one.name.to_string(), names(&one.after))).collect()
    }

    #[test]
    fn every_other_service_comes_after_logd_once() {
        let order = order(&["name = 'a'", "name = 'logd'", "name = 'b'\nafter = ['a', 'logd']"]);
        let of = |name: &str, after: &[&str]| {
            (name.to_owned(), after.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(order, [of("a", &["logd"]), of("logd", &[]), of("b", &["a", "logd"])]);
    }

    #[test]
    fn without_logd_nothing_changes_and_no_circle_comes_of_it() {
        assert_eq!(order(&["name = 'a'"])[0].1, [""; 0]);
        let order = order(&[
            "name = 'disk'",
            "name = 'crypt'\nneeds = ['disk']",
            "name = 'logd'\nafter = ['crypt']",
        ]);
        assert!(order[0].1.is_empty() && order[1].1.is_empty(), "{order:?}");
    }
}
