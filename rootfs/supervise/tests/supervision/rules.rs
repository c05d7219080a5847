//! One test per rule, each a short story.

use serde_json::{Value, json};
use supervise::{
    Action, Event, Exit, GraphError, KILL_AGAIN, KILL_GRACE, MAX_SERVICES, Report, Run, ServiceId,
    State, Supervisor, Wish,
};

use State::{BackOff, Ended, Failed, Finished};

use crate::world::{GOOD, Life, World, ms, service};

/// A database, a gate that needs it, a cluster that needs the gate, and metrics after the database.
fn stack() -> Vec<seed::manifest::Service> {
    vec![
        service("name = \"k3s\"\nneeds = [\"gate\"]\nready = { kind = \"notify\" }"),
        service("name = \"gate\"\nneeds = [\"db\"]\nready = { kind = \"notify\" }"),
        service("name = \"db\"\nready = { kind = \"notify\" }"),
        service("name = \"metrics\"\nafter = [\"db\"]"),
    ]
}

/// The names of those for which an action was given, in order.
fn who(world: &World, pick: impl Fn(&Action) -> Option<usize>) -> Vec<&str> {
    let picked = world.log.iter().filter_map(|(_, action)| pick(action));
    picked.map(|i| world.services[i].name.as_str()).collect()
}

fn spawned(action: &Action) -> Option<usize> {
    if let Action::Spawn(id, _) = action { Some(id.0) } else { None }
}

fn signalled(action: &Action) -> Option<usize> {
    if let Action::Signal(id, _) = action { Some(id.0) } else { None }
}

fn world(lives: Vec<Life>) -> World {
    let mut world = World::new(&stack(), lives);
    world.event(Event::Tick);
    world
}

#[test]
fn services_start_when_what_they_wait_for_is_ready() {
    let mut world = world(vec![]);
    assert_eq!(who(&world, spawned), ["db"]);
    assert_eq!(world.supervisor.status()[1].waits_for, ["db"]);
    world.run_for(ms(1000));
    assert_eq!(who(&world, spawned), ["db", "gate", "metrics", "k3s"]);
    assert_eq!(world.state("k3s"), State::Ready);
}

#[test]
fn a_shutdown_stops_in_the_reverse_order() {
    let mut world = world(vec![]);
    world.run_for(ms(1000));
    world.shutdown(ms(60_000));
    world.run_for(ms(1000));
    let order = who(&world, signalled);
    assert_eq!(
        order.iter().filter(|name| **name != "metrics").collect::<Vec<_>>(),
        [&"k3s", &"gate", &"db"]
    );
    let place = |name| order.iter().position(|other| *other == name);
    assert!(place("metrics") < place("db"));
    assert_eq!(world.log.last().map(|(_, action)| action), Some(&Action::AllDown { left: vec![] }));
}

#[test]
fn a_lost_need_takes_along_who_needs_it_and_brings_it_back() {
    let mut world = world(vec![]);
    world.run_for(ms(1000));
    world.log.clear();
    world.kill(world.id("db").0);
    world.run_for(ms(2000));
    assert_eq!(who(&world, signalled), ["k3s", "gate"]);
    assert_eq!(who(&world, spawned), ["db", "gate", "k3s"]);
    assert_eq!(world.state("k3s"), State::Ready);
}

#[test]
fn a_failed_predecessor_only_delays() {
    let never_ready = Life { ready_after: None, ..GOOD };
    let mut world = world(vec![never_ready]);
    world.run_for(ms(59_000));
    assert_eq!(world.state("metrics"), State::Waiting);
    world.run_for(ms(2000));
    assert_eq!(world.state("metrics"), State::Ready);
    assert_eq!(world.state("gate"), State::Waiting);
}

#[test]
fn an_operator_stops_and_starts() {
    let mut world = world(vec![]);
    world.run_for(ms(1000));
    world.wish(world.id("gate"), Wish::Stop);
    world.run_for(ms(1000));
    let states = ["db", "gate", "k3s", "metrics"].map(|name| world.state(name));
    assert_eq!(states, [State::Ready, State::Down, State::Waiting, State::Ready]);
    world.wish(world.id("gate"), Wish::Start);
    world.run_for(ms(1000));
    assert_eq!(world.state("k3s"), State::Ready);
}

#[test]
fn an_operators_restart_is_a_stop_and_a_start_in_order() {
    let mut world = world(vec![]);
    world.run_for(ms(1000));
    world.log.clear();
    world.wish(world.id("gate"), Wish::Restart);
    world.run_for(ms(1000));
    assert_eq!(who(&world, signalled), ["k3s", "gate"]);
    assert_eq!(who(&world, spawned), ["gate", "k3s"]);
}

#[test]
fn what_ignores_the_signal_is_killed_at_the_timeout() {
    let mut world = world(vec![Life { stop_takes: None, ..GOOD }]);
    world.run_for(ms(1000));
    world.wish(world.id("metrics"), Wish::Stop);
    world.run_for(ms(9_999));
    assert_eq!(world.state("metrics"), State::Stopping);
    world.run_for(ms(10));
    assert_eq!(world.state("metrics"), State::Down);
}

/// Eight starts in the first 30 seconds, then two in a minute.
#[test]
fn a_crash_loop_is_no_storm() {
    let crash = Life { ends_after: Some((0, Exit::Code(1))), ..GOOD };
    let mut world = World::new(&[service("name = \"looping\"")], vec![crash]);
    world.event(Event::Tick);
    world.run_for(ms(30_000));
    assert_eq!(who(&world, spawned).len(), 8);
    world.run_for(ms(600_000));
    assert_eq!(who(&world, spawned).len(), 8 + 20);
    assert_eq!(world.supervisor.status()[0].restarts, 27);
}

#[test]
fn a_wish_ends_the_pause() {
    let crash = Life { ends_after: Some((0, Exit::Code(1))), ..GOOD };
    let mut world = World::new(&[service("name = \"looping\"")], vec![crash]);
    world.event(Event::Tick);
    world.run_for(ms(30_000));
    assert_eq!(world.state("looping"), BackOff);
    world.lives.clear();
    world.wish(world.id("looping"), Wish::Start);
    world.run_for(ms(1));
    assert_eq!(world.state("looping"), State::Ready);
    // And the next pause is as short as the first.
    world.kill(0);
    world.run_for(ms(199));
    assert_eq!(world.state("looping"), BackOff);
    world.run_for(ms(1));
    assert_eq!(world.state("looping"), State::Ready);
}

#[test]
fn policies_decide_about_ends() {
    let ends = [Exit::Code(0), Exit::Code(1), Exit::Signal(11), Exit::NotStarted];
    let after = |policy: &str, ready: &str| {
        ends.map(|exit| {
            let toml = format!(
                "name = \"one\"\nready = {{ kind = \"{ready}\" }}\nrestart = {{ policy = \"{policy}\" }}"
            );
            let mut supervisor =
                Supervisor::new(&[service(&toml)], &Value::Null).expect("a graph");
            let one = supervisor.find("one").expect("known");
            supervisor.step(ms(0), Event::Tick);
            let report = match exit {
                Exit::NotStarted => Report::SpawnFailed,
                exit => {
                    supervisor.step(ms(1), Event::Process(one, Run(1), Report::Spawned));
                    Report::Exited(exit)
                }
            };
            supervisor.step(ms(2), Event::Process(one, Run(1), report));
            assert_eq!(supervisor.status()[0].last_exit, Some(exit));
            supervisor.state(one).expect("known")
        })
    };
    assert_eq!(after("always", "running"), [BackOff; 4]);
    assert_eq!(after("on-failure", "running"), [Ended, BackOff, BackOff, BackOff]);
    assert_eq!(after("never", "running"), [Ended, Failed, Failed, Failed]);
    assert_eq!(after("always", "done"), [Finished, BackOff, BackOff, BackOff]);
    assert_eq!(after("never", "done"), [Finished, Failed, Failed, Failed]);
}

#[test]
fn a_shutdown_is_bounded_even_if_nothing_dies() {
    let mut supervisor = Supervisor::new(&[service("name = \"stuck\"")], &Value::Null).unwrap();
    let stuck = supervisor.find("stuck").expect("known");
    supervisor.step(ms(0), Event::Tick);
    supervisor.step(ms(1), Event::Process(stuck, Run(1), Report::Spawned));
    supervisor.step(ms(2), Event::Shutdown { within: ms(3000) });
    let killed = supervisor.step(ms(3002), Event::Tick);
    assert!(killed.contains(&Action::KillGroup(stuck, Run(1))));
    assert_eq!(supervisor.next_deadline(), Some(ms(3002) + KILL_GRACE));
    // A second shutdown changes nothing any more.
    assert!(supervisor.step(ms(4000), Event::Shutdown { within: ms(60_000) }).is_empty());
    let over = supervisor.step(ms(3002) + KILL_GRACE, Event::Tick);
    assert_eq!(over, [Action::AllDown { left: vec![stuck] }]);
}

#[test]
fn news_of_an_earlier_run_is_no_news() {
    let mut supervisor = Supervisor::new(&stack(), &Value::Null).expect("a graph");
    let db = supervisor.find("db").expect("known");
    supervisor.step(ms(0), Event::Tick);
    supervisor.step(ms(1), Event::Process(db, Run(1), Report::Spawned));
    supervisor.step(ms(2), Event::Process(db, Run(1), Report::Exited(Exit::Code(1))));
    supervisor.step(ms(500), Event::Tick);
    supervisor.step(ms(501), Event::Process(db, Run(2), Report::Spawned));
    assert!(supervisor.step(ms(502), Event::Process(db, Run(1), Report::Ready)).is_empty());
    assert_eq!(supervisor.state(db), Some(State::Running));
}

#[test]
fn an_end_is_heard_once() {
    let (mut supervisor, one) = one("");
    supervisor.step(ms(1), Event::Process(one, Run(1), Report::Spawned));
    supervisor.step(ms(2), Event::Process(one, Run(1), Report::Exited(Exit::Signal(11))));
    supervisor.step(ms(3), Event::Process(one, Run(1), Report::Exited(Exit::Code(0))));
    assert_eq!(supervisor.status()[0].last_exit, Some(Exit::Signal(11)));
}

/// A supervisor that was told to start its only service at 0.
fn one(toml: &str) -> (Supervisor, ServiceId) {
    let service = service(&format!("name = \"one\"\n{toml}"));
    let mut supervisor = Supervisor::new(&[service], &Value::Null).expect("a graph");
    let id = supervisor.find("one").expect("known");
    supervisor.step(ms(0), Event::Tick);
    (supervisor, id)
}

#[test]
fn what_is_late_pauses_like_what_crashed() {
    let (mut supervisor, one) = one("ready = { kind = \"notify\" }\nready_timeout = \"5s\"");
    supervisor.step(ms(1), Event::Process(one, Run(1), Report::Spawned));
    supervisor.step(ms(5000), Event::Tick);
    assert_eq!(supervisor.state(one), Some(State::Stopping));
    supervisor.step(ms(5001), Event::Process(one, Run(1), Report::Exited(Exit::Code(0))));
    assert_eq!(supervisor.state(one), Some(BackOff));
    assert_eq!(supervisor.next_deadline(), Some(ms(5201)));
}

#[test]
fn what_survives_a_kill_is_killed_again() {
    let (mut supervisor, one) = one("stop = { timeout = \"0ms\" }");
    supervisor.step(ms(1), Event::Process(one, Run(1), Report::Spawned));
    let kill = Action::KillGroup(one, Run(1));
    assert!(supervisor.step(ms(2), Event::Operator(one, Wish::Stop)).contains(&kill));
    let again = supervisor.next_deadline().expect("another attempt");
    assert_eq!(again, ms(2) + KILL_AGAIN);
    assert!(supervisor.step(again, Event::Tick).contains(&kill));
}

#[test]
fn time_never_runs_backwards() {
    let (mut supervisor, one) = one("");
    supervisor.step(ms(8000), Event::Process(one, Run(1), Report::Spawned));
    supervisor.step(ms(10), Event::Operator(one, Wish::Stop));
    assert_eq!(supervisor.next_deadline(), Some(ms(18_000)));
}

#[test]
fn a_job_is_ready_by_ending_and_runs_once() {
    let (mut supervisor, job) = one("ready = { kind = \"done\" }");
    supervisor.step(ms(1), Event::Process(job, Run(1), Report::Spawned));
    assert!(supervisor.step(ms(2), Event::Process(job, Run(1), Report::Ready)).is_empty());
    supervisor.step(ms(3), Event::Process(job, Run(1), Report::Exited(Exit::Code(0))));
    assert_eq!(supervisor.state(job), Some(Finished));
    assert!(supervisor.step(ms(4), Event::Operator(job, Wish::Start)).is_empty());
    let again = supervisor.step(ms(5), Event::Operator(job, Wish::Restart));
    assert!(again.contains(&Action::Spawn(job, Run(2))));
}

#[test]
fn a_second_shutdown_can_only_hurry() {
    let (mut supervisor, one) = one("");
    supervisor.step(ms(1), Event::Process(one, Run(1), Report::Spawned));
    let until = |supervisor: &mut Supervisor, within| {
        supervisor.step(ms(10), Event::Shutdown { within: ms(within) });
        supervisor.next_deadline()
    };
    assert_eq!(until(&mut supervisor, 3000), Some(ms(3010)));
    assert_eq!(until(&mut supervisor, 9000), Some(ms(3010)));
    assert_eq!(until(&mut supervisor, 1000), Some(ms(1010)));
}

/// `last` only comes after `middle`, which can't start because its need crashes in a loop.
#[test]
fn a_predecessor_without_a_chance_delays_nobody() {
    let crash = Life { ends_after: Some((0, Exit::Code(1))), ready_after: None, ..GOOD };
    let services = [
        service("name = \"root\"\nready = { kind = \"notify\" }"),
        service("name = \"middle\"\nneeds = [\"root\"]"),
        service("name = \"last\"\nafter = [\"middle\"]"),
    ];
    let mut world = World::new(&services, vec![crash]);
    world.event(Event::Tick);
    assert_eq!(world.state("last"), State::Waiting);
    world.run_for(ms(10));
    assert_eq!(who(&world, spawned), ["root", "last"]);
}

/// The operator changes their mind while `k3s` takes its time: nothing below has stopped, so
/// nothing below is disturbed.
#[test]
fn a_start_takes_back_a_stop_that_was_not_carried_out() {
    let mut world = world(vec![Life { stop_takes: Some(5000), ..GOOD }]);
    world.run_for(ms(1000));
    world.log.clear();
    world.wish(world.id("db"), Wish::Stop);
    world.run_for(ms(1000));
    world.wish(world.id("db"), Wish::Start);
    world.run_for(ms(10_000));
    assert_eq!(who(&world, signalled), ["k3s"]);
    assert_eq!(who(&world, spawned), ["k3s"]);
    assert_eq!(world.state("k3s"), State::Ready);
}

#[test]
fn a_status_is_readable_by_others() {
    let world = world(vec![]);
    let status = serde_json::to_value(world.supervisor.status()).expect("plain data");
    let gate = json!({
        "name": "gate", "state": "waiting", "desired": true, "since_ms": 0, "until_ms": null,
        "restarts": 0, "last_exit": null, "waits_for": ["db"],
    });
    assert_eq!(status[1], gate);
}

#[test]
fn bad_graphs_are_refused() {
    let refuse = |services: &[_]| {
        Supervisor::new(services, &json!({})).map(|_| ()).expect_err("a bad graph").to_string()
    };
    let a = |rest: &str| service(&format!("name = \"a\"\n{rest}"));
    let b = |rest: &str| service(&format!("name = \"b\"\n{rest}"));
    assert_eq!(
        refuse(&[a("needs = [\"b\"]")]),
        "service `a` needs `b`, which is not in the image: add its overlay"
    );
    assert_eq!(
        refuse(&[a("needs = [\"b\"]"), b("when = \"roles.b\"")]),
        "service `a` needs `b`, which runs only if the seed sets `roles.b`: set it, or give both \
         services the same `when`"
    );
    assert_eq!(
        refuse(&[a("after = [\"b\"]"), b("needs = [\"a\"]")]),
        "services wait for each other in a circle: a, b; break the circle"
    );
    assert_eq!(
        refuse(&[a(""), a("")]),
        "two services are called `a`: rename one of them in its overlay"
    );
    let many = vec![a(""); MAX_SERVICES + 1];
    assert_eq!(
        Supervisor::new(&many, &Value::Null).map(|_| ()),
        Err(GraphError::TooMany(MAX_SERVICES + 1))
    );
}

#[test]
fn what_the_seed_does_not_ask_for_is_not_there() {
    let services =
        [service("name = \"a\"\nafter = [\"b\"]"), service("name = \"b\"\nwhen = \"roles.b\"")];
    let without = Supervisor::new(&services, &json!({})).expect("a graph");
    assert_eq!(without.find("b"), None);
    let with = Supervisor::new(&services, &json!({ "roles": { "b": true } })).expect("a graph");
    let order: Vec<String> = with.status().into_iter().map(|status| status.name).collect();
    assert_eq!(order, ["b", "a"]);
}
