//! What the holder of the permit has allowed, and what not to believe it.

use std::time::Duration;

use vrrp::permit::Message;

/// What a message changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Active is allowed until then.
    Granted { epoch: u64, until: Duration },
    /// Active is not allowed any more; the text says why.
    Lost(String),
    /// Nothing; the text says what was wrong with the message.
    Refused(String),
}

/// The permit of this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permission {
    highest: u64,
    granted: Option<(u64, Duration)>,
}

impl Permission {
    /// The epoch of the permit, and its end, if there is one and it has not run out.
    pub fn current(&self, now: Duration) -> Option<(u64, Duration)> {
        self.granted.filter(|(_, until)| now < *until)
    }

    /// The highest epoch ever heard of.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    pub fn hear(&mut self, now: Duration, message: Message) -> Change {
        match message {
            Message::Grant { epoch, .. } if epoch < self.highest => Change::Refused(format!(
                "a permit of epoch {epoch} after one of epoch {}: the holder is stale",
                self.highest
            )),
            Message::Grant { epoch, until } => {
                self.highest = epoch;
                self.granted = Some((epoch, until));
                if until <= now {
                    return Change::Lost("the permit came too late".to_owned());
                }
                Change::Granted { epoch, until }
            }
            Message::Withdraw { epoch } => {
                self.highest = self.highest.max(epoch);
                self.granted = None;
                Change::Lost(format!("the permit was withdrawn in epoch {epoch}"))
            }
            Message::Report { .. } | Message::Claimed { .. } => {
                Change::Refused("a report, which only vipd sends".to_owned())
            }
        }
    }

    /// The holder's connection has ended.
    pub fn holder_is_gone(&mut self) -> Change {
        self.granted = None;
        Change::Lost("the holder of the permit is gone".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(10);
    const LATER: Duration = Duration::from_secs(11);

    #[test]
    fn a_permit_lasts_until_its_end() {
        let mut permission = Permission::default();
        let granted = permission.hear(NOW, Message::Grant { epoch: 3, until: LATER });
        assert_eq!(granted, Change::Granted { epoch: 3, until: LATER });
        assert_eq!(permission.current(NOW), Some((3, LATER)));
        assert_eq!(permission.current(LATER), None);
    }

    #[test]
    fn epochs_never_go_down() {
        let mut permission = Permission::default();
        permission.hear(NOW, Message::Grant { epoch: 3, until: LATER });
        let until = LATER + NOW;
        let stale = permission.hear(NOW, Message::Grant { epoch: 2, until });
        assert!(matches!(stale, Change::Refused(_)));
        assert_eq!(permission.current(NOW), Some((3, LATER)), "the newer one stands");
        permission.hear(NOW, Message::Withdraw { epoch: 5 });
        let stale = permission.hear(NOW, Message::Grant { epoch: 4, until });
        assert!(matches!(stale, Change::Refused(_)));
    }

    #[test]
    fn a_message_that_waited_too_long_takes_the_permit_away() {
        let mut permission = Permission::default();
        permission.hear(NOW, Message::Grant { epoch: 3, until: LATER });
        let late = permission.hear(LATER, Message::Grant { epoch: 3, until: NOW });
        assert!(matches!(late, Change::Lost(_)));
        assert_eq!(permission.current(LATER), None);
    }

    #[test]
    fn the_holder_takes_its_permit_along() {
        let mut permission = Permission::default();
        permission.hear(NOW, Message::Grant { epoch: 3, until: LATER });
        assert!(matches!(permission.holder_is_gone(), Change::Lost(_)));
        assert_eq!((permission.current(NOW), permission.highest()), (None, 3));
    }
}
