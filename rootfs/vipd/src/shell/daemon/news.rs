//! What the kernel tells of links and addresses, and what follows for the routers.

use std::net::IpAddr;
use std::time::Duration;

use netlink::Event;

use super::{Daemon, DaemonError, Due, RETRY, Source, clock};
use crate::config::Subject;
use crate::shell::landscape::Landscape;
use crate::shell::wire::Wire;

/// News per turn. A node whose pods all start at once has some hundred; the rest waits its turn.
const NEWS_PER_TURN: usize = 256;
/// After a listing that failed: soon, since news were lost, but adverts have to go out in between.
const LIST_AGAIN: Duration = Duration::from_millis(250);

impl Daemon {
    pub(super) fn hear_news(&mut self) -> Result<(), DaemonError> {
        let mut touched = false;
        let mut all = false;
        for _ in 0..NEWS_PER_TURN {
            let Some(event) = self.monitor.event()? else {
                all = true;
                break;
            };
            touched = touched || self.concerns_us(&event);
            if !self.landscape.hear(event) {
                self.drop_news()?;
                touched = true;
                // An address that an old list lacks is no reason to ask a busy kernel once more.
                if !self.list() {
                    break;
                }
            }
        }
        if touched {
            self.follow_landscape(all);
        }
        Ok(())
    }

    /// After a listing that failed. Everything is looked at, as after a loss of news.
    pub(super) fn list_again(&mut self) -> Result<(), DaemonError> {
        self.drop_news()?;
        if self.list() {
            self.follow_landscape(true);
        }
        Ok(())
    }

    /// What still waits was said before the loss: it is older than a listing, and must not be heard
    /// after it.
    fn drop_news(&mut self) -> Result<(), DaemonError> {
        while self.monitor.event()?.is_some() {}
        Ok(())
    }

    /// Lists everything anew; false if the kernel couldn't. Then what was known before has to do, and
    /// it is asked again soon: one that is busy for a moment is no reason to give every address up.
    fn list(&mut self) -> bool {
        let listed = Landscape::list(self.netlink());
        // The answer may have taken its time.
        let now = clock::boot();
        match listed {
            Ok(landscape) => {
                self.landscape = landscape;
                true
            }
            Err(error) => {
                let text = format!("what is known of links and addresses may be old: {error}");
                self.log.complain(now, 0, "list", text);
                self.schedule.set(Due::Listing, now.saturating_add(LIST_AGAIN));
                false
            }
        }
    }

    /// Brings routers and checks in line with the landscape; `all` if there is nothing that it lacks.
    fn follow_landscape(&mut self, all: bool) {
        let now = clock::boot();
        for index in 0..self.units.len() {
            self.reconcile(now, index);
            if all {
                self.put_back(now, index);
            }
        }
        self.look_at_carriers(now);
    }

    /// A node has many interfaces that come and go with its pods; ours are few.
    fn concerns_us(&self, event: &Event) -> bool {
        let (index, name) = match event {
            Event::Link(link) => (link.id.index, Some(&link.id.name)),
            Event::LinkGone(id) => (id.index, Some(&id.name)),
            Event::Address(index, _) | Event::AddressGone(index, _) => (*index, None),
            Event::Lost => return true,
        };
        let known = self.landscape.name(index);
        let named = |interface: &String| Some(interface) == name || Some(interface) == known;
        let of_unit = self.units.iter().any(|unit| {
            let own = [unit.virtual_link.as_ref(), unit.wire.as_ref().map(|wire| &wire.link)];
            let same = own.into_iter().flatten().any(|link| link.index == index);
            same || named(&unit.router.settings().interface)
        });
        let of_check = self.checks.iter().any(|check| match &check.probe.config.subject {
            Subject::Carrier(interface) => named(interface),
            _ => false,
        });
        of_unit || of_check
    }

    /// Brings one router in line with its interface as it is now.
    pub(super) fn reconcile(&mut self, now: Duration, index: usize) {
        let Some(unit) = self.units.get_mut(index) else { return };
        let settings = unit.router.settings().clone();
        let link = self.landscape.link(&settings.interface).cloned();
        let same = match (&unit.wire, &link) {
            (Some(wire), Some(link)) => wire.link == link.id,
            (None, None) => true,
            _ => false,
        };
        if !same {
            // The old interface first: what is held there is let go as far as it still exists.
            let actions = unit.router.set_link(now, false);
            self.act(now, index, actions);
            self.open_wire(now, index);
        }
        let Some(unit) = self.units.get_mut(index) else { return };
        if let (Some(wire), Some(mac)) = (&mut unit.wire, link.and_then(|link| link.mac)) {
            wire.set_mac(mac.0);
        }
        let ready = unit.wire.is_some() && (!settings.virtual_mac || unit.virtual_link.is_some());
        let up = ready && self.landscape.is_up(&settings.interface);
        let primary = self.landscape.primary(&settings, unit.router.primary());
        let mut actions = Vec::new();
        // Down before the address goes, since nothing can be sent any more.
        if !up {
            actions.extend(unit.router.set_link(now, false));
        }
        actions.extend(unit.router.set_primary(now, primary));
        if up {
            actions.extend(unit.router.set_link(now, true));
        }
        self.act(now, index, actions);
    }

    /// Opens a router's sockets on its interface, or closes them with it.
    fn open_wire(&mut self, now: Duration, index: usize) {
        let Some(unit) = self.units.get_mut(index) else { return };
        unit.wire = None;
        unit.virtual_link = None;
        let settings = unit.router.settings();
        let Some(link) = self.landscape.link(&settings.interface) else { return };
        let opened = Wire::open(settings, link).and_then(|wire| {
            self.poller.add(wire.adverts(), Source::Adverts(index))?;
            self.poller.add(wire.claims(), Source::Claims(index))?;
            Ok(wire)
        });
        let made = if settings.virtual_mac {
            self.holder.make_virtual(settings, link).map(Some)
        } else {
            Ok(None)
        };
        let label = settings.label.clone();
        let mut failed = None;
        match opened {
            Ok(wire) => unit.wire = Some(wire),
            Err(error) => failed = Some(error.to_string()),
        }
        match made {
            Ok(link) => unit.virtual_link = link,
            Err(error) => failed = Some(error.to_string()),
        }
        if let Some(error) = failed {
            unit.wire = None;
            let text = format!("{label}: it can't be listened on its interface: {error}");
            self.log.complain(now, index, "open", text);
            self.schedule.set(Due::Retry(index), now.saturating_add(RETRY));
        }
    }

    /// Whoever flushes an interface takes our addresses along; an Active needs them back.
    fn put_back(&mut self, now: Duration, index: usize) {
        // The kernel tells of a new IPv6 address only a moment later, so missing it is no proof yet.
        if self.missing(index).is_none() || !self.list() {
            return;
        }
        let Some(missing) = self.missing(index) else { return };
        let Some(unit) = self.units.get(index) else { return };
        let text = format!("{}: {missing} was taken away; put back", unit.router.settings().label);
        self.log.complain(now, index, "taken", text);
        let actions = match self.add_addresses(index) {
            Ok(()) => self.units.get_mut(index).map(|unit| unit.router.foreign_claim(now)),
            Err(fault) => {
                self.schedule.set(Due::Retry(index), now.saturating_add(RETRY));
                self.units.get_mut(index).map(|unit| unit.router.set_fault(now, Some(fault)))
            }
        };
        self.act(now, index, actions.unwrap_or_default());
    }

    /// An address that an Active should have, and has not as far as we know.
    fn missing(&self, index: usize) -> Option<IpAddr> {
        let unit = self.units.get(index).filter(|unit| unit.router.is_active())?;
        let link = unit.virtual_link.as_ref().or(unit.wire.as_ref().map(|wire| &wire.link))?;
        let mut addresses = unit.router.settings().addresses.iter().map(|cidr| cidr.address);
        addresses.find(|address| !self.landscape.has(link.index, *address))
    }
}
