//! How PostgreSQL is, several times a second.

use std::time::{Duration, Instant};

use failover::{Lsn, PgReport, Timeline};

use super::config::Part;
use super::controldata::lsn;
use super::error::DriverError;
use super::server::Server;
use super::session::{HUNG_AFTER, PATIENCE};
use super::worker::{Worker, literal};

/// Several times within the shortest bound of silence.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Every so many looks the peer's slot is looked after.
const SLOT_LOOKS: u32 = 10;
/// Every so many, a minute apart, roles are made that couldn't be made before.
const ROLE_LOOKS: u32 = 600;
/// SQLSTATE of a server that starts, or ends, or isn't consistent yet.
pub(super) const CANNOT_CONNECT_NOW: &str = "57P03";

/// What a look finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // What was seen, each for itself.
pub(super) struct Look {
    pub(super) in_recovery: bool,
    pub(super) timeline: Timeline,
    pub(super) lsn: Lsn,
    pub(super) peer: Option<Lsn>,
    /// On a standby: how far it has replayed.
    replayed: Option<Lsn>,
    /// On a standby: it replays nothing more.
    stands_still: bool,
    /// On a standby: a WAL receiver streams.
    streams: bool,
    /// The peer's slot is there and holds what the peer needs.
    slot: bool,
}

impl Look {
    /// A primary without a slot for its peer, or a standby that still has one.
    fn slot_is_wrong(&self) -> bool {
        self.in_recovery == self.slot
    }
}

/// A position that only a primary or only a standby has is asked for in a branch that the other
/// doesn't take: asking it would be an error.
fn question(peer: &str, slot: &str) -> String {
    let (peer, slot) = (literal(peer), literal(slot));
    format!(
        "select case when r then 't' else 'f' end, \
         case when r then greatest((select received_tli from pg_stat_wal_receiver), \
         (select timeline_id from pg_control_checkpoint()), \
         (select min_recovery_end_timeline from pg_control_recovery()))::text \
         else substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) end, \
         case when r then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) \
         else pg_current_wal_flush_lsn() end, \
         case when not r then (select max(flush_lsn) from pg_stat_replication where \
         application_name = {peer} and state in ('streaming', 'catchup')) end, \
         case when r then pg_last_wal_replay_lsn() end, \
         case when r then pg_is_wal_replay_paused()::text end, \
         case when r then (select status from pg_stat_wal_receiver) end, \
         (select wal_status from pg_replication_slots where slot_name = {slot}) \
         from pg_is_in_recovery() r"
    )
}

fn read(row: &[Option<String>]) -> Option<Look> {
    let [recovery, timeline, end, peer, replayed, paused, receiver, slot] = row else {
        return None;
    };
    let in_recovery = recovery.as_deref()? == "t";
    let timeline = timeline.as_deref()?;
    // One comes as a number, the other as the beginning of a file's name.
    let radix = if in_recovery { 10 } else { 16 };
    let timeline = u32::from_str_radix(timeline, radix).ok()?;
    let position = |text: &Option<String>| text.as_deref().and_then(lsn);
    Some(Look {
        in_recovery,
        timeline: Timeline(timeline),
        lsn: position(end).unwrap_or_default(),
        peer: position(peer),
        replayed: position(replayed),
        stands_still: paused.as_deref() == Some("true"),
        streams: receiver.as_deref() == Some("streaming"),
        slot: slot.as_deref().is_some_and(|status| status != "lost"),
    })
}

impl Worker {
    /// Looks on behalf of a command, and remembers what it found.
    pub(super) fn look(&mut self) -> Result<Look, DriverError> {
        self.look_within(HUNG_AFTER)
    }

    fn look_within(&mut self, limit: Duration) -> Result<Look, DriverError> {
        let query = question(&self.settings.peer_name, &self.slot_of_peer());
        let rows = self.ask_within(&query, limit)?;
        let look = rows.first().and_then(|row| read(row));
        let look = look.ok_or(DriverError::Strange { query })?;
        self.position = (look.timeline, look.lsn);
        self.show(look);
        Ok(look)
    }

    fn show(&self, look: Look) {
        let pid = self.server.as_ref().map(Server::pid);
        let behind = |from: Lsn| look.lsn.0.saturating_sub(from.0);
        self.shared.detail(|detail| {
            let role = if look.in_recovery { "standby" } else { "primary" };
            role.clone_into(&mut detail.role);
            detail.pid = pid;
            detail.timeline = look.timeline.0;
            detail.lsn = written(look.lsn);
            detail.peer_lsn = look.peer.map(written);
            detail.lag_bytes = look.peer.or(look.replayed).map(behind);
            detail.streams = look.streams;
        });
    }

    /// Looks and tells the core, if it is time.
    pub(super) fn look_if_due(&mut self) {
        if self.server.is_none() || Instant::now() < self.look_at {
            return;
        }
        self.look_at = Instant::now() + LOOK_EVERY;
        self.looks = self.looks.wrapping_add(1);
        match self.look_within(PATIENCE) {
            Ok(look) => {
                let Look { timeline, lsn, peer, in_recovery, .. } = look;
                self.tell(PgReport::Status { timeline, lsn, peer });
                if look.stands_still {
                    self.end_standing();
                } else if look.slot_is_wrong() && self.looks.is_multiple_of(SLOT_LOOKS) {
                    self.mend_slot(in_recovery);
                } else if self.lacks_roles && !in_recovery && self.looks.is_multiple_of(ROLE_LOOKS)
                {
                    self.mend_roles();
                }
            }
            // That is an answer too: it lives, and lets nobody in yet.
            Err(DriverError::Refused { code, .. }) if code == CANNOT_CONNECT_NOW => {}
            Err(error) => self.judge_silence(&error),
        }
        self.tell_if_parted();
    }

    /// A standby with fewer connections, workers or locks than its primary stands still, and can't
    /// be promoted. The core starts it again, with what its data needs.
    fn end_standing(&mut self) {
        self.end_certainly();
        self.tell(PgReport::Exited);
        (self.say)(
            "the standby stood still, as it does with fewer connections or workers than its primary; \
             it was ended",
        );
    }

    /// Passes on what PostgreSQL's log says about following the peer.
    pub(super) fn tell_if_parted(&mut self) {
        let receives = self.part == Some(Part::Standby { receive: true });
        let parted = self.server.as_ref().is_some_and(Server::says_parted);
        if receives && parted {
            self.parted = true;
            self.tell(PgReport::CannotFollow);
        }
    }

    fn judge_silence(&mut self, error: &DriverError) {
        let silent = self.answered.elapsed();
        if silent < HUNG_AFTER || matches!(error, DriverError::Overtaken) {
            return;
        }
        self.end_certainly();
        self.tell(PgReport::Exited);
        (self.say)(&format!("PostgreSQL has not answered for {silent:?} and was ended: {error}"));
    }

    fn mend_roles(&mut self) {
        if let Err(error) = self.make_roles() {
            (self.say)(&format!("roles of the seed can't be made: {error}"));
        }
    }

    fn mend_slot(&mut self, in_recovery: bool) {
        let mended = if in_recovery { self.drop_slots() } else { self.make_slot() };
        if let Err(error) = mended {
            let wrong = if in_recovery { "has a slot that nobody needs" } else { "has no slot" };
            (self.say)(&format!("the peer {wrong}, and that can't be mended: {error}"));
        }
    }
}

/// A position as PostgreSQL writes it.
pub(super) fn written(lsn: Lsn) -> String {
    format!("{:X}/{:X}", lsn.0 >> 32, lsn.0 & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: [Option<&str>; 8]) -> Vec<Option<String>> {
        values.into_iter().map(|value| value.map(str::to_owned)).collect()
    }

    #[test]
    fn a_primary_and_a_standby_are_read() {
        let primary =
            [Some("f"), Some("0000000A"), Some("0/3000060"), None, None, None, None, None];
        let look = read(&row(primary)).expect("a look");
        assert_eq!((look.timeline, look.lsn), (Timeline(10), Lsn(0x300_0060)));
        assert_eq!((look.in_recovery, look.peer, look.slot), (false, None, false));
        assert!(look.slot_is_wrong() && !Look { slot: true, ..look }.slot_is_wrong());
        let (paused, streams) = (Some("true"), Some("streaming"));
        let standby = [Some("t"), Some("10"), None, None, Some("0/1"), paused, streams, None];
        let look = read(&row(standby)).expect("a look");
        assert_eq!((look.timeline, look.lsn), (Timeline(10), Lsn(0)));
        assert!(look.in_recovery && look.streams);
        assert!(!look.slot_is_wrong() && Look { slot: true, ..look }.slot_is_wrong());
        let lost = [Some("f"), Some("1"), Some("0/3"), Some("0/2"), None, None, None, Some("lost")];
        let look = read(&row(lost)).expect("a look");
        assert_eq!((look.peer, look.slot), (Some(Lsn(2)), false));
        assert_eq!(read(&row([None; 8])), None);
    }
}
