//! Random histories: whatever happens, and in whatever order, the rules of the first page hold. The
//! judge in [`World`] looks at every action; here are the histories, and where they must end.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use seed::manifest::Service;
use serde_json::Value;
use supervise::{Action, Event, Exit, Report, Run, ServiceId, State, Supervisor, Wish};

use crate::world::{GOOD, Life, World, ms, service};

/// Longer than everything that ten services can take one after another: a ready timeout of two
/// seconds, a stop of one, a kill, and a pause of three.
const CALM_MS: u64 = 120_000;

/// A service that may wait for any of those before it, given as bits.
fn one_service(i: usize) -> impl Strategy<Value = Service> {
    let kind = prop_oneof!["notify", "running", "done"];
    let policy = prop_oneof!["always", "on-failure", "never"];
    let edges = (any::<u8>(), any::<u8>(), any::<u8>());
    (edges, kind, policy, 0..1000u64).prop_map(
        move |((needs, sparse, after), kind, policy, stop)| {
            let names = |bits: u8| {
                let set: Vec<String> =
                    (0..i).filter(|j| bits >> j & 1 == 1).map(|j| format!("s{j}")).collect();
                format!("{set:?}")
            };
            service(&format!(
                "name = \"s{i}\"\nneeds = {}\nafter = {}\nready = {{ kind = \"{kind}\" }}\n\
             ready_timeout = \"2s\"\nstop = {{ timeout = \"{stop}ms\" }}\n\
             restart = {{ policy = \"{policy}\", first_delay = \"{}ms\", longest_delay = \"3s\" }}",
                names(needs & sparse),
                names(after & !needs),
                stop / 4,
            ))
        },
    )
}

fn services() -> impl Strategy<Value = Vec<Service>> {
    (1..=7usize).prop_flat_map(|count| {
        // Listed backwards, so that the order of the manifest is no help.
        (0..count).rev().map(one_service).collect::<Vec<_>>()
    })
}

fn life() -> impl Strategy<Value = Life> {
    let exit = prop_oneof![Just(Exit::Code(0)), Just(Exit::Code(1)), Just(Exit::Signal(11))];
    let ends = prop::option::of((0..3000u64, exit));
    let ready = prop::option::weighted(0.8, 0..2500u64);
    let stop = prop::option::weighted(0.7, 0..2000u64);
    (prop::bool::weighted(0.9), ready, ends, stop).prop_map(
        |(spawns, ready_after, ends_after, stop_takes)| Life {
            spawns,
            ready_after,
            ends_after,
            stop_takes,
        },
    )
}

#[derive(Clone, Debug)]
enum Happening {
    Wish(usize, Wish),
    Kill(usize),
    /// News of a run that never was, or was long ago; and of services that don't exist.
    Ghost(usize, Report),
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![Just(Wish::Start), Just(Wish::Stop), Just(Wish::Restart)]
}

fn report() -> impl Strategy<Value = Report> {
    prop_oneof![
        Just(Report::Spawned),
        Just(Report::SpawnFailed),
        Just(Report::Ready),
        Just(Report::Alive),
        Just(Report::Exited(Exit::Code(0))),
        Just(Report::Exited(Exit::Signal(9))),
    ]
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0..9usize, wish()).prop_map(|(i, wish)| Happening::Wish(i, wish)),
        (0..7usize).prop_map(Happening::Kill),
        (0..9usize, report()).prop_map(|(i, report)| Happening::Ghost(i, report)),
    ]
}

fn history() -> impl Strategy<Value = Vec<(u64, Happening)>> {
    vec((0..1500u64, happening()), 0..40)
}

/// Whether something that a service needs is neither ready nor done.
fn lacks_a_need(world: &World, name: &str) -> bool {
    let service = world.services.iter().find(|service| service.name.as_str() == name);
    let stands = |need: &str| matches!(world.state(need), State::Ready | State::Finished);
    service.expect("known").needs.iter().any(|need| !stands(need.as_str()))
}

fn play(world: &mut World, history: &[(u64, Happening)]) {
    world.event(Event::Tick);
    for (pause, happening) in history {
        world.run_for(ms(*pause));
        match happening {
            Happening::Wish(i, wish) => world.wish(ServiceId(*i), *wish),
            Happening::Kill(i) => world.kill(*i),
            Happening::Ghost(i, report) => {
                world.event(Event::Process(ServiceId(*i), Run(u64::MAX), *report));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn calm_settles_everything(
        services in services(),
        lives in vec(life(), 1..12),
        history in history(),
    ) {
        let mut world = World::new(&services, lives);
        play(&mut world, &history);
        world.lives = vec![GOOD];
        world.run_for(ms(CALM_MS));
        prop_assert_eq!(world.supervisor.next_deadline(), None);
        for status in world.supervisor.status() {
            let settled = match status.state {
                State::Down => !status.desired,
                State::Ready | State::Finished | State::Ended | State::Failed => status.desired,
                State::Waiting => lacks_a_need(&world, &status.name),
                _ => false,
            };
            prop_assert!(settled, "{:?}", status);
        }
    }

    #[test]
    fn a_shutdown_ends_in_time_whatever_happens_before_and_meanwhile(
        services in services(),
        lives in vec(life(), 1..12),
        before in history(),
        within in 0..20_000u64,
        meanwhile in history(),
    ) {
        let mut world = World::new(&services, lives);
        play(&mut world, &before);
        world.shutdown(ms(within));
        let begun = world.now;
        play(&mut world, &meanwhile);
        world.run_for(ms(within) + supervise::KILL_GRACE);
        let over: Vec<_> = world
            .log
            .iter()
            .filter(|(_, action)| matches!(action, Action::AllDown { .. }))
            .collect();
        prop_assert_eq!(over.len(), 1);
        prop_assert!(over[0].0 <= begun + ms(within) + supervise::KILL_GRACE);
        prop_assert_eq!(world.supervisor.next_deadline(), None);
        prop_assert!(world.supervisor.step(world.now, Event::Tick).is_empty());
    }

    /// A pause doubles up to three seconds: five short ones and twenty long ones fit into a minute.
    /// Each start of a need may cost one more of those that need it, so at worst the bound doubles
    /// with each place.
    #[test]
    fn no_crash_is_a_storm(services in services(), lives in vec(life(), 1..12)) {
        let mut world = World::new(&services, lives);
        world.event(Event::Tick);
        world.run_for(ms(60_000));
        for (place, service) in world.services.iter().enumerate() {
            let most = if service.needs.is_empty() { 26 } else { 26 << place };
            let spawns = |action: &Action| matches!(action, Action::Spawn(id, _) if id.0 == place);
            let starts = world.log.iter().filter(|(_, action)| spawns(action)).count();
            prop_assert!(starts <= most, "{}: {starts} starts", service.name);
        }
    }

    /// Not even a PID 1 that breaks its promises brings the supervisor out of its rules.
    #[test]
    fn no_sequence_of_events_is_too_absurd(
        services in services(),
        events in vec((any::<u64>(), 0..9usize, 0..4u64, report(), wish(), 0..20u8), 0..120),
    ) {
        let mut supervisor = Supervisor::new(&services, &Value::Null).expect("a graph");
        let mut latest = ms(0);
        for (time, i, run, report, wish, which) in events {
            // Mostly small steps; now and then a jump to anywhere, also backwards.
            let now = match which {
                0 if time % 2 == 0 => Duration::MAX,
                0 => ms(time),
                _ => latest + ms(time % 3000),
            };
            let event = match which {
                1 => Event::Shutdown { within: ms(time) },
                2..6 => Event::Operator(ServiceId(i), wish),
                _ => Event::Process(ServiceId(i), Run(run), report),
            };
            let before = supervisor.clone();
            let actions = supervisor.step(now, event);
            latest = latest.max(now).min(supervise::LATEST_TIME);
            prop_assert!(supervisor.next_deadline().is_none_or(|next| next > latest));
            if i >= services.len() && which >= 2 {
                let mut other = before;
                prop_assert_eq!(actions, other.step(now, Event::Tick));
            }
        }
    }
}
