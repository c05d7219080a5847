//! The messages of the permit: what is written is read, and nothing else is.

use std::time::Duration;

use proptest::prelude::*;
use vrrp::permit::{MESSAGE_BYTES, Message, MessageError};

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (any::<u64>(), any::<u64>()).prop_map(|(epoch, millis)| {
            Message::Grant { epoch, until: Duration::from_millis(millis) }
        }),
        any::<u64>().prop_map(|epoch| Message::Withdraw { epoch }),
        (any::<u64>(), any::<u8>()).prop_map(|(epoch, held)| Message::Report { epoch, held }),
        any::<u64>().prop_map(|epoch| Message::Claimed { epoch }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(message in message()) {
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..2 * MESSAGE_BYTES)) {
        let _ = Message::decode(&bytes);
    }
}

#[test]
fn each_damage_has_its_name() {
    let good = Message::Withdraw { epoch: 7 }.encode();
    let with = |at: usize, value: u8| {
        let mut bytes = good;
        bytes[at] = value;
        Message::decode(&bytes)
    };
    assert_eq!(Message::decode(&good[1..]), Err(MessageError::Length { length: 23 }));
    assert_eq!(with(0, b'X'), Err(MessageError::Magic));
    assert_eq!(with(4, 2), Err(MessageError::Version { found: 2 }));
    assert_eq!(with(5, 9), Err(MessageError::Kind { found: 9 }));
}

#[test]
fn a_grant_ends_early_and_never_late() {
    let grant = Message::Grant { epoch: 1, until: Duration::from_micros(1_999) };
    let read = Message::decode(&grant.encode());
    assert_eq!(read, Ok(Message::Grant { epoch: 1, until: Duration::from_millis(1) }));
}
