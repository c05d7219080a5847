//! Faults: how each kind begins, and how it ends.

use failover::{Command, Data, Event, Members, Register, Side, Trouble};

use crate::event::Ev;
use crate::machine::{Disk, Strike};
use crate::pg::Pg;
use crate::plan::{CLUSTER, Fault, Kind, MS, Micros, SECOND};
use crate::world::World;

/// How long an operator keeps a machine off while the other one is made to lead.
const OPERATORS_PAUSE: Micros = 3 * SECOND;

impl World {
    pub(crate) fn fault_begins(&mut self, place: usize) {
        let Some(fault) = self.plan.faults.get(place).copied() else { return };
        if self.healed {
            return;
        }
        self.tell(|_| {
            format!("FAULT {:?} {:?} for {} ms", fault.kind, fault.side, fault.lasts / MS)
        });
        if self.begin(&fault) {
            self.after(fault.lasts, Ev::FaultEnds(place));
        }
    }

    /// Begins a fault; whether its end is to be told.
    fn begin(&mut self, fault: &Fault) -> bool {
        let side = fault.side;
        let (own, other) = (side.index(), side.peer().index());
        match fault.kind {
            Kind::Cut => {
                self.net.cut.iter_mut().for_each(|cut| *cut += 1);
                if cuts_adverts(fault) {
                    self.net.advert_cut.iter_mut().for_each(|cut| *cut += 1);
                }
            }
            Kind::OneWay => {
                self.net.cut[own] += 1;
                self.net.advert_cut[own] += u32::from(cuts_adverts(fault));
            }
            Kind::Isolate | Kind::Unplug => {
                let net = &mut self.net;
                for cuts in [&mut net.cut, &mut net.second_cut, &mut net.advert_cut] {
                    cuts[own] += 1;
                    cuts[other] += 1;
                }
                let direct = is_direct_cable(fault);
                self.net.witness_cut[own] += u32::from(!direct);
                self.net.gateway_cut[own] += u32::from(!direct);
                if fault.kind == Kind::Unplug {
                    self.tell_machine(side, &Event::Unplugged);
                    if direct {
                        self.tell_machine(side.peer(), &Event::Unplugged);
                    }
                }
            }
            Kind::CutWitness => self.net.witness_cut[own] += 1,
            Kind::GatewayLoss => self.net.gateway_cut[own] += 1,
            Kind::Loss => self.net.loss = 20 + fault.detail % 60,
            Kind::Delay => self.net.delay = (20 + fault.detail % 800) * MS,
            Kind::Duplicate => self.net.duplicates = 60,
            Kind::Freeze | Kind::Stall => return self.begin_pause(fault),
            Kind::Crash | Kind::PowerLoss | Kind::DiskLoss => return self.power(fault),
            Kind::CrashAtSync => {
                let strike = if fault.detail & 1 == 0 { Strike::Before } else { Strike::After };
                self.machine_mut(side).strike = Some(((fault.detail >> 1) % 6, strike));
            }
            Kind::Torn => {
                self.machine_mut(side).strike = Some(((fault.detail >> 1) % 4, Strike::Torn));
            }
            Kind::StorageFails => self.machine_mut(side).storage_fails = true,
            Kind::PgCrash => self.pg_crashes(side),
            Kind::Damage => {
                self.damage(side);
                return false;
            }
            Kind::PgFails => self.machine_mut(side).pg_failures = 1 + fault.detail % 25,
            Kind::Slow => self.machine_mut(side).slow = 2 + fault.detail % 20,
            Kind::LateNames => self.machine_mut(side).late_names = true,
            Kind::WitnessDown => self.witness_up = false,
            Kind::WitnessForgets => {
                let incarnation = self.witness.incarnation + 1;
                self.witness = Register::empty(CLUSTER, incarnation);
                return false;
            }
            Kind::Drift => {
                let ppm = i64::try_from(fault.detail % 20_000).unwrap_or_default() - 10_000;
                self.set_rate(side, ppm);
                return false;
            }
            Kind::FenceFails => self.fence_fails += 1,
            Kind::Cancel => {
                self.cancel(side);
                self.cancel(side.peer());
                return false;
            }
            Kind::DiskLow => {
                let slow = fault.detail.is_multiple_of(2);
                let trouble = if slow { Trouble::Slow } else { Trouble::Room };
                self.tell_machine(side, &Event::Trouble(trouble));
            }
            Kind::Switchover | Kind::Maintenance | Kind::Force | Kind::Reinit => {
                return self.operate(fault);
            }
        }
        true
    }

    fn begin_pause(&mut self, fault: &Fault) -> bool {
        let side = fault.side;
        if !self.machine(side).is_running() {
            return false;
        }
        self.pause(side, fault.kind == Kind::Freeze);
        let life = self.machine(side).life;
        self.after(fault.lasts, Ev::Resume(side, life));
        false
    }

    /// Power goes, and comes back after a while.
    fn power(&mut self, fault: &Fault) -> bool {
        let both = fault.kind == Kind::PowerLoss;
        let last_copy = self.machine(fault.side.peer()).pg.damaged;
        if fault.kind == Kind::DiskLoss && !last_copy {
            self.lose_disk(fault.side);
        }
        self.reboot(fault.side, fault.lasts);
        if both {
            let lasts = fault.detail % (6 * SECOND);
            self.reboot(fault.side.peer(), lasts);
        }
        false
    }

    pub(crate) fn switch_off(&mut self, side: Side) {
        self.reboot(side, OPERATORS_PAUSE);
    }

    fn reboot(&mut self, side: Side, delay: Micros) {
        self.crash(side);
        let life = self.machine(side).life;
        self.after(delay, Ev::Boot(side, life));
    }

    fn lose_disk(&mut self, side: Side) {
        self.crash(side);
        let other = std::mem::take(&mut self.machine_mut(side.peer()).pg.wal);
        self.judge.disk_lost(&other);
        self.machine_mut(side.peer()).pg.wal = other;
        self.judge.memory_lost = true;
        self.judge.written(side, None, self.now);
        let machine = self.machine_mut(side);
        machine.disk = Disk::Empty;
        machine.durable = None;
        machine.flight = None;
        machine.pg = Pg { life: machine.pg.life + 1, ..Pg::new(Data::Missing) };
        let remembers = |record: failover::Record| record.config.exists();
        if !Side::BOTH.iter().any(|side| self.machine(*side).durable.is_some_and(remembers)) {
            self.judge.forget();
        }
        let available = failover::Arbiter::Policy(failover::Policy::Availability);
        if self.plan.arbiter == available || self.judge.forced {
            let peer = self.machine(side.peer()).durable.map(|record| record.config.epoch);
            let witness = self.witness.config.map(|config| config.epoch);
            self.judge.forget_alone(side, peer.max(witness).unwrap_or_default());
        }
        self.tell(|_| format!("{side:?}: its disk is empty"));
    }

    /// Only where the other node has every acknowledged commit too, and keeps it: for all else there are
    /// backups.
    fn damage(&mut self, side: Side) {
        let [one, other] = Side::BOTH.map(|side| self.machine(side).durable);
        let in_sync = one.zip(other).is_some_and(|(one, other)| {
            let members = one.config.members == Members::Both && one.voter && other.voter;
            members && one.config == other.config
        });
        // A node that forgets what its data is good for winds it back, one whose copy was ordered isn't fit
        // until it has one, and whoever forces a damaged node to lead has nobody to lead.
        let spoilers = [Kind::Torn, Kind::Reinit, Kind::Force];
        let spoils = self.plan.faults.iter().any(|fault| spoilers.contains(&fault.kind));
        let stands_still = self.machine(side).paused.is_some();
        if in_sync && !spoils && !stands_still && !self.is_damaged() {
            self.machine_mut(side).pg.damaged = true;
            self.pg_crashes(side);
        }
    }

    /// A node's data is damaged for good.
    pub(crate) fn is_damaged(&self) -> bool {
        Side::BOTH.iter().any(|side| self.machine(*side).pg.damaged)
    }

    fn pg_crashes(&mut self, side: Side) {
        let machine = self.machine_mut(side);
        if machine.is_running() {
            machine.pg.kill();
            self.deliver(side, &Event::Postgres(failover::PgReport::Exited));
        }
    }

    fn operate(&mut self, fault: &Fault) -> bool {
        let (command, ends) = match fault.kind {
            Kind::Switchover => (Command::Switchover, false),
            Kind::Maintenance => (Command::Maintenance(true), true),
            Kind::Reinit => (Command::Reinit, false),
            _ => {
                (Command::ForcePrimary { accept_data_loss: !fault.detail.is_multiple_of(8) }, false)
            }
        };
        let sides = match fault.kind {
            Kind::Switchover | Kind::Maintenance => vec![fault.side, fault.side.peer()],
            _ => vec![fault.side],
        };
        for side in sides {
            self.tell_machine(side, &Event::Operator(command));
        }
        ends
    }

    pub(crate) fn tell_machine(&mut self, side: Side, event: &Event) {
        if self.machine(side).is_running() {
            self.deliver(side, event);
        }
    }

    pub(crate) fn fault_ends(&mut self, place: usize) {
        let Some(fault) = self.plan.faults.get(place).copied() else { return };
        if self.healed {
            return;
        }
        let side = fault.side;
        let (own, other) = (side.index(), side.peer().index());
        let less = |count: &mut u32| *count = count.saturating_sub(1);
        match fault.kind {
            Kind::Cut => {
                self.net.cut.iter_mut().for_each(less);
                if cuts_adverts(&fault) {
                    self.net.advert_cut.iter_mut().for_each(less);
                }
            }
            Kind::OneWay => {
                less(&mut self.net.cut[own]);
                if cuts_adverts(&fault) {
                    less(&mut self.net.advert_cut[own]);
                }
            }
            Kind::Isolate | Kind::Unplug => {
                let net = &mut self.net;
                for cuts in [&mut net.cut, &mut net.second_cut, &mut net.advert_cut] {
                    less(&mut cuts[own]);
                    less(&mut cuts[other]);
                }
                if !is_direct_cable(&fault) {
                    less(&mut self.net.witness_cut[own]);
                    less(&mut self.net.gateway_cut[own]);
                }
            }
            Kind::CutWitness => less(&mut self.net.witness_cut[own]),
            Kind::GatewayLoss => less(&mut self.net.gateway_cut[own]),
            Kind::Loss => self.net.loss = 0,
            Kind::Delay => self.net.delay = 0,
            Kind::Duplicate => self.net.duplicates = 0,
            Kind::StorageFails => self.storage_mended(side),
            Kind::PgFails => self.machine_mut(side).pg_failures = 0,
            Kind::Slow => self.machine_mut(side).slow = 1,
            Kind::LateNames => self.machine_mut(side).late_names = false,
            Kind::WitnessDown => self.witness_up = true,
            Kind::FenceFails => less(&mut self.fence_fails),
            Kind::DiskLow => self.tell_machine(side, &Event::Trouble(Trouble::None)),
            Kind::Maintenance => {
                for side in Side::BOTH {
                    self.tell_machine(side, &Event::Operator(Command::Maintenance(false)));
                }
            }
            _ => {}
        }
        self.tell(|_| format!("over: {:?} {:?}", fault.kind, side));
    }

    /// A node that couldn't write is out until its daemon is started again.
    fn storage_mended(&mut self, side: Side) {
        let machine = self.machine_mut(side);
        machine.storage_fails = false;
        if machine.up {
            self.reboot(side, 100 * MS);
        }
    }

    /// Everything is mended: the network is whole, clocks are right, machines are up.
    pub(crate) fn heal(&mut self) {
        self.tell(|_| "everything is mended".to_owned());
        self.healed = true;
        self.net = crate::machine::Network::default();
        self.witness_up = true;
        self.fence_fails = 0;
        for side in Side::BOTH {
            self.set_rate(side, 0);
            let machine = self.machine_mut(side);
            machine.pg_failures = 0;
            machine.slow = 1;
            machine.late_names = false;
            machine.strike = None;
            let storage = std::mem::take(&mut machine.storage_fails);
            self.resume(side);
            let life = self.machine(side).life;
            if !self.machine(side).up {
                self.after(100 * MS, Ev::Boot(side, life));
            } else if storage {
                self.reboot(side, 100 * MS);
            }
            self.tell_machine(side, &Event::Trouble(Trouble::None));
        }
        for side in Side::BOTH {
            self.after(0, Ev::Wake(side));
        }
    }
}

/// What is pulled is the cable between the two, which both notice; gateway and witness are elsewhere.
fn is_direct_cable(fault: &Fault) -> bool {
    fault.kind == Kind::Unplug && (fault.detail >> 1).is_multiple_of(4)
}

/// A cable that breaks takes adverts along; a filter or a wrong route between the peers doesn't.
fn cuts_adverts(fault: &Fault) -> bool {
    fault.detail & 1 == 0
}
