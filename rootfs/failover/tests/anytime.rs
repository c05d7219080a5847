//! Any events, in any order, at any times, leave the machine whole: it doesn't panic, answers in
//! bounded length, and never lets clients in without authority.

use std::time::Duration;

use failover::{
    Action, Answer, Arbiter, Command, Configuration, Data, Epoch, Event, Failover, Flags,
    Heartbeat, Lsn, Members, PgReport, Policy, Recall, Record, Rules, Settings, Side, State,
    Ticket, Timeline, Times, Trouble,
};
use proptest::prelude::*;

/// The longest useful list: moves, gate, permit, command, record, heartbeat, question.
const ACTIONS_MAX: usize = 24;
const NONCE: u64 = 77;

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::A), Just(Side::B)]
}

fn config() -> impl Strategy<Value = Configuration> {
    (side(), 0..6u64, any::<bool>()).prop_map(|(leader, base, both)| {
        let base = Epoch(base);
        let members = if both { Members::Both } else { Members::Leader };
        Configuration { epoch: base.next_for(leader), base, leader, members }
    })
}

fn claim(of: Side, config: Configuration) -> Configuration {
    Configuration {
        epoch: config.epoch.next_for(of),
        base: config.epoch,
        leader: of,
        members: Members::Leader,
    }
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![Just(Trouble::None), Just(Trouble::Room), Just(Trouble::Slow)]
}

prop_compose! {
    fn heartbeat()(
        seq in 0..40u64,
        echo in 0..40u64,
        heard in any::<bool>(),
        state in 0..State::ALL.len(),
        config in config(),
        claims in any::<bool>(),
        flags in any::<[bool; 5]>(),
        trouble in trouble(),
        lsn in 0..100u64,
    ) -> Heartbeat {
        let claim = claims.then(|| claim(Side::B, config));
        let [voter, fit, blank, offer, maintenance] = flags;
        Heartbeat {
            cluster: 1,
            from: Side::B,
            nonce: 5,
            seq,
            echo_nonce: if heard { NONCE } else { 0 },
            echo_seq: echo,
            hears: 1,
            state: State::ALL[state],
            config,
            claim,
            promised: claim.map_or(config.epoch, |claim| claim.epoch),
            flags: Flags { voter, fit, blank, offer, maintenance, trouble },
            timeline: Timeline(1),
            lsn: Lsn(lsn),
        }
    }
}

fn report() -> impl Strategy<Value = PgReport> {
    let ticket = || (0..30u64).prop_map(Ticket);
    prop_oneof![
        8 => (ticket(), 0..100u64)
            .prop_map(|(ticket, lsn)| PgReport::Done(ticket, Timeline(1), Lsn(lsn))),
        1 => ticket().prop_map(PgReport::Failed),
        1 => Just(PgReport::Exited),
        1 => Just(PgReport::CannotFollow),
        4 => (0..100u64, proptest::option::of(0..100u64)).prop_map(|(lsn, peer)| {
            PgReport::Status { timeline: Timeline(1), lsn: Lsn(lsn), peer: peer.map(Lsn) }
        }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let command = prop_oneof![
        Just(Command::Switchover),
        any::<bool>().prop_map(Command::Maintenance),
        any::<bool>().prop_map(|accept| Command::ForcePrimary { accept_data_loss: accept }),
        Just(Command::Reinit),
    ];
    prop_oneof![
        3 => Just(Event::Tick),
        8 => (0..30u64).prop_map(|ticket| Event::Persisted(Ticket(ticket))),
        8 => (any::<u8>(), heartbeat())
            .prop_map(|(channel, heartbeat)| Event::Heard(channel, heartbeat)),
        8 => report().prop_map(Event::Postgres),
        2 => (config(), any::<bool>()).prop_map(|(config, known)| Event::Witness(Answer {
            cluster: 1, nonce: NONCE, incarnation: 1, config: known.then_some(config),
        })),
        // Rarely: after it a node does little that could go wrong.
        1 => prop_oneof![9 => Just(Event::Tick), 1 => Just(Event::PersistFailed(Ticket(1)))],
        1 => Just(Event::Unplugged),
        1 => (0..9u64, any::<bool>()).prop_map(|(ticket, off)| Event::Fenced(Ticket(ticket), off)),
        1 => Just(Event::GatewayAnswered),
        1 => Just(Event::ForeignVip),
        1 => trouble().prop_map(Event::Trouble),
        1 => (0..5u64).prop_map(|ticket| Event::RevisionFenced(Ticket(ticket))),
        1 => command.prop_map(Event::Operator),
    ]
}

fn arbiter() -> impl Strategy<Value = Arbiter> {
    prop_oneof![
        Just(Arbiter::Witness),
        Just(Arbiter::Fence),
        Just(Arbiter::Policy(Policy::Consistency)),
        Just(Arbiter::Policy(Policy::PrimaryBiased)),
        Just(Arbiter::Policy(Policy::StandbyBiased)),
        Just(Arbiter::Policy(Policy::Availability)),
    ]
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![Just(Data::Missing), Just(Data::Standby), Just(Data::Primary)]
}

fn recall() -> impl Strategy<Value = Recall> {
    let found = (config(), any::<[bool; 2]>()).prop_map(|(config, [voter, claims])| {
        let claim = claims.then(|| claim(Side::A, config));
        Recall::Found(Record {
            config,
            claim,
            promised: claim.map_or(config.epoch, |claim| claim.epoch),
            voter,
            ..Record::blank(1, Side::A)
        })
    });
    prop_oneof![6 => found, 1 => Just(Recall::Missing), 1 => Just(Recall::Damaged)]
}

fn pause() -> impl Strategy<Value = Duration> {
    let ms = Duration::from_millis;
    prop_oneof![
        8 => (0..400u64).prop_map(ms),
        2 => (0..20_000u64).prop_map(ms),
        1 => Just(Duration::MAX / 4),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_events_at_any_times_leave_the_machine_whole(
        arbiter in arbiter(),
        recall in recall(),
        data in data(),
        events in proptest::collection::vec((pause(), event()), 1..80),
    ) {
        let settings = Settings {
            cluster: 1,
            side: Side::A,
            arbiter,
            times: Times::default(),
            rules: Rules::ALL,
        };
        let mut core = Failover::new(settings);
        let mut actions = Vec::new();
        let mut now = Duration::from_secs(1);
        let mut gate = false;
        let boot = Event::Boot { recall, data, nonce: NONCE };
        let events = std::iter::once((Duration::ZERO, boot)).chain(events);
        for (pause, event) in events {
            now = now.saturating_add(pause);
            actions.clear();
            core.step(now, &event, &mut actions);
            prop_assert!(actions.len() <= ACTIONS_MAX, "{actions:?}");
            for action in &actions {
                match action {
                    Action::OpenGate(_) => {
                        prop_assert!(!gate, "opened twice");
                        gate = true;
                    }
                    Action::CloseGate => {
                        prop_assert!(gate, "closed twice");
                        gate = false;
                    }
                    _ => {}
                }
            }
            let status = core.status();
            prop_assert_eq!(status.serving, gate);
            prop_assert!(!gate || (status.record.voter && status.record.config.led_by(Side::A)));
            // A shell that is woken at once, for ever, would spin at real-time priority.
            prop_assert!(core.wake_at() > now || now == Duration::MAX);
        }
    }

    /// Time that stands still or goes back changes nothing by itself.
    #[test]
    fn ticks_without_time_settle(recall in recall(), data in data(), arbiter in arbiter()) {
        let settings = Settings {
            cluster: 1, side: Side::A, arbiter, times: Times::default(), rules: Rules::ALL,
        };
        let mut core = Failover::new(settings);
        let mut actions = Vec::new();
        let now = Duration::from_secs(9);
        core.step(now, &Event::Boot { recall, data, nonce: NONCE }, &mut actions);
        for _ in 0..10 {
            core.step(now, &Event::Tick, &mut actions);
        }
        let settled = actions.len();
        core.step(now, &Event::Tick, &mut actions);
        core.step(Duration::ZERO, &Event::Tick, &mut actions);
        prop_assert_eq!(actions.len(), settled, "{:?}", actions);
    }
}
