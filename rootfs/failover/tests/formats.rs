//! Records, heartbeats and the witness's words survive their own encoding, and nothing else passes
//! for them.

use failover::{
    Answer, Ask, Configuration, Epoch, Flags, Heartbeat, Lsn, Members, Recall, Record, Register,
    Side, State, Timeline, Trouble,
};
use proptest::prelude::*;

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::A), Just(Side::B)]
}

fn config() -> impl Strategy<Value = Configuration> {
    let made = (side(), any::<u32>(), any::<bool>()).prop_map(|(leader, base, both)| {
        let base = Epoch(u64::from(base));
        let members = if both { Members::Both } else { Members::Leader };
        Configuration { epoch: base.next_for(leader), base, leader, members }
    });
    prop_oneof![1 => Just(Configuration::NONE), 9 => made]
}

/// A claim of a side that follows a configuration, or none.
fn wish(from: Side, config: Configuration, wishes: bool) -> Option<Configuration> {
    let epoch = config.epoch.next_for(from);
    wishes.then_some(Configuration {
        epoch,
        base: config.epoch,
        leader: from,
        members: Members::Leader,
    })
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![Just(Trouble::None), Just(Trouble::Room), Just(Trouble::Slow)]
}

prop_compose! {
    fn record()(
        cluster in any::<u64>(),
        side in side(),
        config in config(),
        wishes in any::<bool>(),
        flags in any::<[bool; 6]>(),
        timeline in any::<u32>(),
        lsn in any::<u64>(),
    ) -> Record {
        let claim = wish(side, config, wishes);
        let [voter, rewind, half_rewound, fresh, revision_fence, maintenance] = flags;
        Record {
            cluster, side, config, claim,
            promised: claim.map_or(config.epoch, |claim| claim.epoch),
            voter, rewind, half_rewound, fresh, revision_fence, maintenance,
            timeline: Timeline(timeline),
            lsn: Lsn(lsn),
        }
    }
}

prop_compose! {
    fn heartbeat()(
        numbers in any::<[u64; 6]>(),
        from in side(),
        state in 0..State::ALL.len(),
        config in config(),
        wishes in any::<bool>(),
        hears in any::<u8>(),
        flags in any::<[bool; 5]>(),
        trouble in trouble(),
        timeline in any::<u32>(),
    ) -> Heartbeat {
        let claim = wish(from, config, wishes);
        let [cluster, nonce, seq, echo_nonce, echo_seq, lsn] = numbers;
        let [voter, fit, blank, offer, maintenance] = flags;
        Heartbeat {
            cluster, from, nonce, seq, echo_nonce, echo_seq, hears,
            state: State::ALL[state],
            config, claim,
            promised: claim.map_or(config.epoch, |claim| claim.epoch),
            flags: Flags { voter, fit, blank, offer, maintenance, trouble },
            timeline: Timeline(timeline),
            lsn: Lsn(lsn),
        }
    }
}

fn ask() -> impl Strategy<Value = Ask> {
    let config = || config().prop_filter("one that exists", |config| config.exists());
    let enroll = proptest::option::of((any::<u64>(), config()));
    (any::<[u64; 2]>(), side(), proptest::option::of(config()), enroll).prop_map(
        |([cluster, nonce], from, claim, enroll)| Ask { cluster, from, nonce, claim, enroll },
    )
}

proptest! {
    #[test]
    fn a_record_survives(record in record()) {
        prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
    }

    /// A write that was cut short leaves the new beginning and the old, or an empty, end.
    #[test]
    fn a_torn_record_is_noticed(
        old in proptest::option::of(record()),
        new in record(),
        cut in 0..failover::RECORD_BYTES,
    ) {
        let whole = new.encode();
        let old = old.map_or(vec![0; whole.len()], |old| old.encode());
        let torn = [&whole[..cut], &old[cut..]].concat();
        if torn != whole && torn != old {
            let recall = Record::recall(new.cluster, new.side, Some(&torn));
            prop_assert_eq!(recall, Recall::Damaged);
        }
    }

    #[test]
    fn a_flipped_bit_is_noticed(record in record(), bit in 0..failover::RECORD_BYTES * 8) {
        let mut bytes = record.encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Record::decode(&bytes).is_err());
    }

    #[test]
    fn a_foreign_record_is_damaged(record in record()) {
        let bytes = record.encode();
        let recall = Record::recall(record.cluster, record.side.peer(), Some(&bytes));
        prop_assert_eq!(recall, Recall::Damaged);
        let recall = Record::recall(record.cluster.wrapping_add(1), record.side, Some(&bytes));
        prop_assert_eq!(recall, Recall::Damaged);
        prop_assert_eq!(Record::recall(record.cluster, record.side, None), Recall::Missing);
    }

    #[test]
    fn a_heartbeat_survives(heartbeat in heartbeat()) {
        let bytes = heartbeat.encode();
        prop_assert_eq!(bytes.len(), failover::HEARTBEAT_BYTES);
        prop_assert_eq!(Heartbeat::decode(&bytes), Ok(heartbeat));
    }

    #[test]
    fn the_witness_is_understood(ask in ask(), config in config(), incarnation in any::<u64>()) {
        prop_assert_eq!(Ask::decode(&ask.encode()), Some(ask));
        let known = config.exists().then_some(config);
        let register = Register { cluster: ask.cluster, incarnation, config: known };
        prop_assert_eq!(Register::decode(&register.encode()), Some(register));
        let answer = Answer {
            cluster: ask.cluster, nonce: ask.nonce, incarnation, config: known,
        };
        prop_assert_eq!(Answer::decode(&answer.encode()), Some(answer));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..140)) {
        let _ = Record::decode(&bytes);
        let _ = Heartbeat::decode(&bytes);
        let _ = Ask::decode(&bytes);
        let _ = Answer::decode(&bytes);
        let _ = Register::decode(&bytes);
    }

    /// The same for bytes that are nearly right, which get past the first looks.
    #[test]
    fn no_nearly_right_bytes_panic(
        heartbeat in heartbeat(),
        ask in ask(),
        place in 0..failover::HEARTBEAT_BYTES,
        byte in any::<u8>(),
    ) {
        let mut bytes = heartbeat.encode();
        bytes[place] = byte;
        if let Ok(read) = Heartbeat::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes, "one heartbeat has one form");
        }
        let mut bytes = ask.encode();
        let place = place % bytes.len();
        bytes[place] = byte;
        if let Some(read) = Ask::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}
