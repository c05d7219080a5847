//! Doing what an election says: packets out, addresses on and off, times set.

use std::time::Duration;

use netlink::Mac;
use vrrp::{Action, State};

use super::{Daemon, Due, REMOVE_AGAIN, RETRY, clock};
use crate::report;
use crate::schedule::next_pause;
use crate::shell::holder::{Holder, named};

/// Claims looked at per turn; one is as good as many.
const CLAIMS_PER_TURN: usize = 16;

impl Daemon {
    /// Does one router's actions in their order, and says afterwards what changed.
    pub(super) fn act(&mut self, now: Duration, index: usize, actions: Vec<Action>) {
        let mut took_over = false;
        let mut fault = None;
        for action in actions {
            match action {
                Action::SendAdvert { priority } => self.send(now, index, priority.get()),
                Action::SendPriorityZero => self.send(now, index, 0),
                Action::AddAddresses => {
                    took_over = true;
                    fault = self.add_addresses(index).err();
                }
                Action::Release => {
                    took_over = false;
                    self.release(now, index);
                }
                // Whoever heard it would send to where nobody has the address.
                Action::Announce if fault.is_some() => {}
                Action::Announce => self.announce(now, index),
                Action::SetTimer { at } => self.schedule.set(Due::Router(index), at),
                Action::CancelTimer => self.schedule.cancel(Due::Router(index)),
            }
        }
        // Ending connections takes its time where there are many, so the neighbours come first.
        if took_over && fault.is_none() {
            self.end_connections(now, index);
        }
        self.say_news(index);
        if let Some(fault) = fault {
            // Active without its addresses would keep them from everyone.
            let unit = self.units.get_mut(index);
            let actions = unit.map(|unit| unit.router.set_fault(now, Some(fault)));
            self.schedule.set(Due::Retry(index), now.saturating_add(RETRY));
            self.act(now, index, actions.unwrap_or_default());
        }
        self.tell_holder(now);
    }

    /// Says it when this machine, and not the network, is about to make the others take over.
    pub(super) fn notice_lateness(&mut self, now: Duration, index: usize, due_at: Duration) {
        let Some(unit) = self.units.get_mut(index) else { return };
        let Some(late) = unit.router.count_lateness(now, due_at) else { return };
        let settings = unit.router.settings();
        let (label, interval) = (&settings.label, settings.interval.duration());
        let text = format!(
            "{label}: an advert is {late:.1?} late: the machine stood still, or is too busy for \
             an interval of {interval:?}"
        );
        self.log.complain(now, index, "late", text);
    }

    /// After a fault: tries again. It may be that a virtual interface was deleted by somebody; nothing is
    /// held there, so it is made anew.
    pub(super) fn retry(&mut self, now: Duration, index: usize) {
        if let Some(unit) = self.units.get_mut(index)
            && unit.router.settings().virtual_mac
            && !unit.router.is_active()
        {
            unit.wire = None;
        }
        self.reconcile(now, index);
        let actions = self.units.get_mut(index).map(|unit| unit.router.set_fault(now, None));
        self.act(now, index, actions.unwrap_or_default());
    }

    /// Reads adverts, at most so many, and lets them take effect.
    pub(super) fn hear_adverts(&mut self, now: Duration, index: usize, most: usize) {
        let mut packet = std::mem::take(&mut self.packet);
        let wall = clock::wall();
        for _ in 0..most {
            let Some(unit) = self.units.get_mut(index) else { break };
            let Some(wire) = &unit.wire else { break };
            let received = match wire.receive(&mut packet) {
                Ok(Some(received)) => received,
                Ok(None) => break,
                // A damaged header, or an interface that went down under us: the monitor tells.
                Err(error) => {
                    let label = &unit.router.settings().label;
                    let text = format!("{label}: a packet can't be read: {error}");
                    self.log.complain(now, index, "receive", text);
                    break;
                }
            };
            let metadata = vrrp::packet::Metadata {
                source: received.source,
                destination: received.destination,
                ttl: received.ttl,
            };
            let bytes = packet.get(received.start..received.end).unwrap_or_default();
            let heard = unit.router.hear(now, wall, &metadata, bytes);
            let label = unit.router.settings().label.clone();
            for difference in unit.router.take_differences() {
                let source = received.source;
                let text = format!("{label}: {source} and we don't agree about {difference}");
                self.log.complain(now, index, difference.kind(), text);
            }
            if heard.is_ok() && unit.router.is_claimed(now) {
                self.tell_claimed(now);
            }
            match heard {
                Ok(actions) => self.act(now, index, actions),
                Err(dropped) => {
                    let text = format!("{label}: dropped from {}: {dropped}", received.source);
                    self.log.complain(now, index, dropped.kind(), text);
                }
            }
        }
        self.packet = packet;
    }

    /// Reads who else claims our addresses.
    pub(super) fn hear_claims(&mut self, now: Duration, index: usize) {
        let mut claimed = None;
        for _ in 0..CLAIMS_PER_TURN {
            let Some(unit) = self.units.get(index) else { return };
            let Some(wire) = &unit.wire else { return };
            let mut frame = [0; crate::claims::CLAIM_BYTES];
            let Ok(Some(length)) = wire.receive_claim(&mut frame) else { break };
            let addresses: Vec<_> =
                unit.router.settings().addresses.iter().map(|cidr| cidr.address).collect();
            let frame = frame.get(..length).unwrap_or_default();
            claimed = claimed.or(crate::claims::claim(frame, &addresses, &wire.macs()));
        }
        let Some(claim) = claimed else { return };
        let Some(unit) = self.units.get_mut(index) else { return };
        if !unit.router.is_active() {
            return;
        }
        let actions = unit.router.foreign_claim(now);
        let (label, by) = (&unit.router.settings().label, Mac(claim.by));
        let text = format!("{label}: {by} claims {}; announcing it again", claim.address);
        self.log.complain(now, index, "claim", text);
        self.act(now, index, actions);
    }

    /// Says what changed, with its reason, in one line each, and tells the supervisor how it is now.
    fn say_news(&mut self, index: usize) {
        let Some(unit) = self.units.get_mut(index) else { return };
        let all_news = unit.router.take_news();
        if all_news.is_empty() {
            return;
        }
        for news in all_news {
            self.log.line(format_args!(
                "{}: {} -> {}: {}",
                unit.router.settings().label,
                report::state(news.from),
                report::state(news.to),
                news.reason
            ));
        }
        self.tell_supervisor();
    }

    /// One line for whoever asks the supervisor how its services are.
    fn tell_supervisor(&self) {
        let of = |unit: &super::Unit| {
            format!("{} {}", unit.router.settings().label, report::state(unit.router.state()))
        };
        let routers: Vec<String> = self.units.iter().map(of).collect();
        self.notify.say(&format!("STATUS={}", routers.join(", ")));
    }

    fn send(&mut self, now: Duration, index: usize, priority: u8) {
        let Some(unit) = self.units.get_mut(index) else { return };
        let (Some(wire), Some(source)) = (&unit.wire, unit.router.primary()) else { return };
        for destination in unit.router.destinations() {
            let written = unit.router.write(clock::wall(), priority, destination, &mut self.advert);
            let failed = match written {
                Ok(None) => None,
                Ok(Some(length)) => {
                    let advert = self.advert.get(..length).unwrap_or_default();
                    wire.send(source, destination, advert).err().map(|error| error.to_string())
                }
                Err(error) => Some(error.to_string()),
            };
            if let Some(error) = failed {
                unit.router.counters.send_errors += 1;
                let label = &unit.router.settings().label;
                let text = format!("{label}: no advert to {destination}: {error}");
                self.log.complain(now, index, "send", text);
            } else {
                unit.router.counters.adverts_sent += 1;
            }
        }
    }

    fn announce(&mut self, now: Duration, index: usize) {
        let Some(unit) = self.units.get_mut(index) else { return };
        let (Some(wire), Some(primary)) = (&unit.wire, unit.router.primary()) else { return };
        let addresses = unit.router.settings().addresses.clone();
        for cidr in addresses {
            match wire.announce(cidr.address, primary) {
                Ok(()) => unit.router.counters.announcements += 1,
                Err(error) => {
                    unit.router.counters.send_errors += 1;
                    let label = &unit.router.settings().label;
                    let text = format!("{label}: {} is not announced: {error}", cidr.address);
                    self.log.complain(now, index, "announce", text);
                }
            }
        }
    }

    pub(super) fn add_addresses(&mut self, index: usize) -> Result<(), String> {
        let Some(unit) = self.units.get(index) else { return Ok(()) };
        let settings = unit.router.settings();
        let link = unit.virtual_link.as_ref().or(unit.wire.as_ref().map(|wire| &wire.link));
        let link = link.ok_or_else(|| format!("{} is gone", settings.interface))?;
        self.holder.add(link, settings).map_err(|error| error.to_string())
    }

    fn release(&mut self, now: Duration, index: usize) {
        let Some(unit) = self.units.get_mut(index) else { return };
        // What was left over before has been ours again.
        unit.leftover = None;
        self.take_away(now, index);
        self.end_own_connections(index);
    }

    /// Ends the connections of a router's addresses, which are on this machine no more.
    fn end_own_connections(&mut self, index: usize) {
        let Some(unit) = self.units.get_mut(index) else { return };
        let link = unit.virtual_link.as_ref().or(unit.wire.as_ref().map(|wire| &wire.link));
        let going = Holder::going(link, unit.router.settings(), &self.landscape);
        let (ended, failed) = self.holder.end_connections(&going);
        unit.router.counters.connections_ended += u64::try_from(ended).unwrap_or(0);
        if let Some(error) = failed {
            self.log.line(error);
        }
    }

    pub(super) fn take_leftovers_away(&mut self, now: Duration, index: usize) {
        let left = |unit: &super::Unit| unit.leftover.is_some() && !unit.router.is_active();
        if self.units.get(index).is_some_and(left) {
            self.take_away(now, index);
            // Programs may have connected to it once more while it stayed.
            if self.units.get(index).is_some_and(|unit| unit.leftover.is_none()) {
                self.end_own_connections(index);
            }
            self.tell_holder(now);
        }
    }

    /// Takes the addresses off the link. What stays would be answered for by two machines, so it is
    /// tried until it is gone or ours again.
    fn take_away(&mut self, now: Duration, index: usize) {
        let Some(unit) = self.units.get_mut(index) else { return };
        let settings = unit.router.settings();
        let link = unit.virtual_link.as_ref().or(unit.wire.as_ref().map(|wire| &wire.link));
        let failed = link.map(|link| self.holder.remove(link, settings, &self.landscape));
        // Without sockets there is no link to take them from; one that is gone took them along.
        let stays = match &failed {
            Some(errors) => !errors.is_empty(),
            None => self.landscape.link(&settings.interface).is_some(),
        };
        for error in failed.into_iter().flatten() {
            let text = format!("{}: {error}; tried again", settings.label);
            self.log.complain(now, index, "remove", text);
        }
        unit.leftover = stays.then(|| next_pause(unit.leftover, REMOVE_AGAIN, RETRY));
        if let Some(pause) = unit.leftover {
            self.schedule.set(Due::Leftover(index), now.saturating_add(pause));
        }
    }

    /// Ends what this machine's own programs still have with the addresses' former holder.
    fn end_connections(&mut self, now: Duration, index: usize) {
        let Some(unit) = self.units.get_mut(index) else { return };
        if unit.router.state() != State::Active {
            return;
        }
        let addresses = unit.router.settings().addresses.clone();
        let (ended, failed) = self.holder.end_connections_to_former(&addresses);
        unit.router.counters.connections_ended += u64::try_from(ended).unwrap_or(0);
        if ended > 0 {
            let what = named(&addresses);
            self.log.line(format_args!("ended {ended} connections to the former holder of {what}"));
        }
        if let Some(error) = failed {
            self.log.complain(now, index, "destroy", error);
        }
    }
}
