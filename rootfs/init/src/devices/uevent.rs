//! The kernel's messages about devices, as `NETLINK_KOBJECT_UEVENT` carries them.
//!
//! ```text
//!  add@/devices/pci0000:00/… \0 ACTION=add \0 DEVPATH=/devices/… \0 SUBSYSTEM=block \0 …
//! ```
//! Only what the agent acts on is kept, borrowed from the message. What a driver puts into the rest
//! may be any bytes: a text that is no UTF-8 is passed over.

/// What happened to a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Uevent<'m> {
    pub(crate) action: &'m str,
    pub(crate) subsystem: &'m str,
    /// The node's name below `/dev`.
    pub(crate) device: Option<&'m str>,
    /// What the device says it is; drivers are found by it.
    pub(crate) modalias: Option<&'m str>,
    /// Which block of a verity device does not fit its hash: type and number.
    pub(crate) bad_block: Option<&'m str>,
}

/// Reads one message; none if it is not one of the kernel's.
pub(crate) fn parse(message: &[u8]) -> Option<Uevent<'_>> {
    let mut texts = message.split(|byte| *byte == 0).map(std::str::from_utf8);
    // Messages of a udev start with "libudev" instead.
    let header = texts.next()?.ok()?;
    header.split_once('@')?;
    let mut event = Uevent::default();
    for (key, value) in texts.flatten().filter_map(|text| text.split_once('=')) {
        match key {
            "ACTION" => event.action = value,
            "SUBSYSTEM" => event.subsystem = value,
            "DEVNAME" => event.device = Some(value),
            "MODALIAS" => event.modalias = Some(value),
            "DM_VERITY_ERR_BLOCK_NR" => event.bad_block = Some(value),
            _ => {}
        }
    }
    (!event.action.is_empty()).then_some(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_card_that_is_plugged_in() {
        let message = b"add@/devices/pci0000:00/0000:00:05.0\0ACTION=add\0\
            DEVPATH=/devices/pci0000:00/0000:00:05.0\0SUBSYSTEM=pci\0PCI_ID=1AF4:1041\0\
            MODALIAS=pci:v00001AF4d00001041sv00001AF4sd00001100bc02sc00i00\0SEQNUM=1234\0";
        let event = parse(message).unwrap();
        assert_eq!((event.action, event.subsystem), ("add", "pci"));
        assert!(event.modalias.unwrap().starts_with("pci:v00001AF4"));
        assert_eq!(event.device, None);
    }

    #[test]
    fn a_stick_and_a_bad_block() {
        let stick = b"add@/devices/x/sda1\0ACTION=add\0SUBSYSTEM=block\0DEVNAME=sda1\0";
        assert_eq!(parse(stick).unwrap().device, Some("sda1"));
        let bad = b"change@/devices/virtual/block/dm-0\0ACTION=change\0SUBSYSTEM=block\0\
            DM_VERITY_ERR_BLOCK_NR=0,4711\0";
        assert_eq!(parse(bad).unwrap().bad_block, Some("0,4711"));
    }

    #[test]
    fn what_is_no_message_of_the_kernel_is_nothing() {
        for other in [&b""[..], b"libudev\0\xfe\xed", b"add@/x\0SUBSYSTEM=block\0", b"\xff@\0"] {
            assert_eq!(parse(other), None);
        }
    }

    proptest! {
        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _either = parse(&bytes);
        }

        #[test]
        fn every_value_comes_back(modalias in "[!-~]{1,80}", name in "[a-z0-9/]{1,20}") {
            let message =
                format!("add@/d\0ACTION=add\0SUBSYSTEM=block\0DEVNAME={name}\0MODALIAS={modalias}\0");
            let event = parse(message.as_bytes()).unwrap();
            prop_assert_eq!(event.modalias, Some(modalias.as_str()));
            prop_assert_eq!(event.device, Some(name.as_str()));
        }
    }
}
