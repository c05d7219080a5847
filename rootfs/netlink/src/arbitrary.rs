//! Whatever bytes arrive, reading them ends in a value or in [`Garbled`](crate::Garbled).

use proptest::prelude::*;

use crate::address::Address;
use crate::link::Link;
use crate::monitor::Event;
use crate::number::{
    RTM_DELADDR, RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE, SOCK_DIAG_BY_FAMILY,
};
use crate::route::Route;
use crate::wire::{Message, Messages, Request};
use crate::{LinkId, destroy, link};

/// A message with a sound frame around random attributes, so that reading gets far.
fn framed() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(vec![
        RTM_NEWLINK,
        RTM_DELLINK,
        RTM_NEWADDR,
        RTM_DELADDR,
        RTM_NEWROUTE,
        SOCK_DIAG_BY_FAMILY,
    ]);
    let family = prop::sample::select(vec![0_u8, 2, 7, 10]);
    let fixed = prop::collection::vec(any::<u8>(), 0..24);
    // Lengths of numbers and addresses are frequent, so that some values make sense.
    let value = prop::sample::select(vec![0_usize, 1, 2, 4, 6, 8, 16, 20])
        .prop_flat_map(|length| prop::collection::vec(any::<u8>(), length));
    let attributes = prop::collection::vec((0_u16..60, value), 0..10);
    (kinds, family, fixed, attributes).prop_map(|(kind, family, mut fixed, attributes)| {
        if let Some(first) = fixed.first_mut() {
            *first = family;
        }
        let mut request = Request::new(kind, 0, &fixed);
        for (kind, value) in attributes {
            request.bytes(kind, &value);
        }
        request.finish(1)
    })
}

fn read_as_everything(message: Message<'_>) {
    let _link = Link::read(message);
    let _address = Address::read(message);
    let _route = Route::read(message);
    let _event = Event::read(message);
    let _connection = destroy::read_any(message);
}

proptest! {
    #[test]
    fn no_datagram_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        Messages::of(&bytes).flatten().for_each(read_as_everything);
    }

    #[test]
    fn no_attributes_panic(bytes in framed()) {
        Messages::of(&bytes).flatten().for_each(read_as_everything);
    }

    #[test]
    fn a_cut_message_is_never_misread(bytes in framed(), cut in 0_usize..100) {
        let kept = bytes.len().saturating_sub(cut);
        Messages::of(bytes.get(..kept).unwrap_or_default()).flatten().for_each(read_as_everything);
    }
}

#[test]
fn a_port_seen_by_its_bridge_is_no_link() {
    let mut fixed = link::fixed(7, 0, 0);
    fixed[0] = 7;
    let bytes = Request::new(RTM_DELLINK, 0, &fixed).finish(1);
    let message = Messages::of(&bytes).next().expect("one").expect("sound");
    assert_eq!(Event::read(message), Ok(None));
    fixed[0] = 0;
    let bytes = Request::new(RTM_DELLINK, 0, &fixed).finish(1);
    let message = Messages::of(&bytes).next().expect("one").expect("sound");
    let id = LinkId { index: 7, name: String::new() };
    assert_eq!(Event::read(message), Ok(Some(Event::LinkGone(id))));
}
