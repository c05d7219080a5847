//! The last phase: the services of this node begin. From here on the loop has the word, and the
//! watchdog watches over it.

use std::fs;

use ::seed::render;
use ::seed::section::ConsoleLevel;

use crate::clock;
use crate::node::Node;
use crate::say;
use crate::services::{Places, Services, Setup};

/// Never, whatever memory lacks; what PID 1 starts gets a score of its own.
const OOM_SCORE: &str = "-1000";
const OOM_SCORE_PATH: &str = "/proc/self/oom_score_adj";

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
    let setup = Setup {
        services: &node.manifest.services,
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
