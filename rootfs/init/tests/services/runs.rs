//! Lives of processes: crashes, orphans, ends.

use std::fs;

use supervise::{Exit, SHORTEST_DELAY, State, Wish};

use crate::site::{Site, children, in_own_process, runs_in};

/// A service that runs a shell script.
fn shell(name: &str, script: &str, more: &str) -> String {
    format!(
        "[[services]]\nname = \"{name}\"\ncommand = [\"/bin/sh\", \"-c\", '''{script}''']\n{more}\n"
    )
}

fn wish(site: &mut Site, name: &str, wish: Wish) {
    let now = init::clock::now();
    assert!(site.services().wish(name, wish, now), "{name} is a service");
}

#[test]
fn a_crash_loop_pauses_longer_each_time_and_leaves_nothing() {
    in_own_process("runs::a_crash_loop_pauses_longer_each_time_and_leaves_nothing", |mut site| {
        let restart = "restart = { first_delay = \"100ms\", longest_delay = \"400ms\" }";
        site.begin(&shell("crash", "echo here I am; exit 3", restart));
        let begun = init::clock::now();
        site.until("four lives", |site| site.status("crash").restarts >= 3);
        // 100 + 200 + 400 milliseconds of pauses, whatever the machine does beside.
        assert!(init::clock::now().saturating_sub(begun) >= SHORTEST_DELAY * 7);
        site.until_state("crash", State::BackOff);
        assert_eq!(site.status("crash").last_exit, Some(Exit::Code(3)));
        let said = site.said();
        assert!(said.matches("here I am").count() >= 4, "{said}");
        assert!(said.contains("crash -- ended with exit code 3; starts again in"), "{said}");
        let left = runs_in(&site.tree().join("crash"));
        assert!(left.len() <= 1, "groups of old runs are removed: {left:?}");
        site.end();
    });
}

#[test]
fn a_thousand_orphans_that_end_are_all_reaped() {
    in_own_process("runs::a_thousand_orphans_that_end_are_all_reaped", |mut site| {
        let script = "i=0; while [ $i -lt 1000 ]; do (sleep 0.3 &); i=$((i+1)); done; \
                      echo all made; exec sleep 1000";
        site.begin(&shell("orphans", script, ""));
        site.until_said("all made");
        site.until("only the service is left", |_| children() == 1);
        assert_eq!(site.state("orphans"), State::Ready, "it isn't mistaken for one of them");
        site.end();
    });
}

#[test]
fn orphans_in_sessions_of_their_own_die_with_their_service() {
    in_own_process("runs::orphans_in_sessions_of_their_own_die_with_their_service", |mut site| {
        let script = "i=0; while [ $i -lt 200 ]; do (trap '' TERM; setsid sleep 1000 &); \
                      i=$((i+1)); done; echo all made; exec sleep 1000";
        site.begin(&shell("family", script, "restart = { policy = \"never\" }"));
        site.until_said("all made");
        let run = runs_in(&site.tree().join("family")).pop().expect("a run");
        let pids = fs::read_to_string(run.join("cgroup.procs")).expect("its processes");
        assert!(pids.lines().count() > 200, "{pids}");
        // The main process alone ends; the others are to follow.
        let main = site.pid("family").expect("it runs");
        let main = rustix::process::Pid::from_raw(main).expect("a process");
        rustix::process::kill_process(main, rustix::process::Signal::TERM).expect("sent");
        site.until_state("family", State::Failed);
        // The end is reported only when they are gone.
        let alive: Vec<&str> =
            pids.lines().filter(|pid| fs::exists(format!("/proc/{pid}/exe")).unwrap()).collect();
        assert!(alive.iter().all(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_err()));
        site.until("all are reaped", |_| children() == 0);
        assert!(runs_in(&site.tree().join("family")).is_empty());
        site.end();
    });
}

#[test]
fn a_service_that_ignores_the_signal_is_killed_when_its_time_is_over() {
    let name = "runs::a_service_that_ignores_the_signal_is_killed_when_its_time_is_over";
    in_own_process(name, |mut site| {
        let script = "trap '' TERM; echo armed; while :; do sleep 1000; done";
        site.begin(&shell("stubborn", script, "stop = { timeout = \"200ms\" }"));
        site.until_said("armed");
        wish(&mut site, "stubborn", Wish::Stop);
        assert_eq!(site.state("stubborn"), State::Stopping);
        site.until_state("stubborn", State::Down);
        assert_eq!(site.status("stubborn").last_exit, Some(Exit::Signal(9)));
        assert!(site.said().contains("does not stop when asked"), "{}", site.said());
        site.end();
    });
}

#[test]
fn who_asks_twice_for_the_end_waits_no_longer_than_must_be() {
    in_own_process("runs::who_asks_twice_for_the_end_waits_no_longer_than_must_be", |mut site| {
        let script = "trap '' TERM; echo armed; while :; do sleep 1000; done";
        site.begin(&shell("stubborn", script, "stop = { timeout = \"10m\" }"));
        site.until_said("armed");
        site.node.ask(init::Ending::PowerOff, init::clock::now());
        assert_eq!(site.state("stubborn"), State::Stopping);
        // It asks a second time, and looks that the end comes.
        site.end();
    });
}

#[test]
fn services_stop_in_the_reverse_order_with_their_own_signals() {
    in_own_process(
        "runs::services_stop_in_the_reverse_order_with_their_own_signals",
        |mut site| {
            let script =
                |signal| format!("trap 'echo stops; exit 0' {signal}; echo up; sleep 1000 & wait");
            let below = shell("below", &script("INT"), "stop = { signal = \"INT\" }");
            let above = shell("above", &script("TERM"), "needs = [\"below\"]");
            site.begin(&format!("{below}{above}"));
            site.until("both are up", |site| site.said().matches(": up").count() == 2);
            wish(&mut site, "below", Wish::Restart);
            site.until("both are up again", |site| site.said().matches(": up").count() == 4);
            let said = site.said();
            let place = |text| said.find(text).unwrap_or_else(|| panic!("{text}: {said}"));
            assert!(place("above: stops") < place("below: stops"), "{said}");
            site.end();
        },
    );
}

#[test]
fn a_chatty_service_starves_nobody() {
    in_own_process("runs::a_chatty_service_starves_nobody", |mut site| {
        let chatty = shell("chatty", "exec yes all work and no play", "");
        let quiet = shell("quiet", "sleep 0.2; echo heard", "restart = { policy = \"never\" }");
        site.begin(&format!("{chatty}{quiet}"));
        site.until_state("quiet", State::Ended);
        assert!(site.said().contains("quiet: heard"));
        site.until("the rest is dropped", |site| site.services().journal().dropped(0).lines > 0);
        wish(&mut site, "chatty", Wish::Stop);
        site.until_state("chatty", State::Down);
        site.end();
    });
}
