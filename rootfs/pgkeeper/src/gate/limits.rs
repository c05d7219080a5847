//! How much those cost who haven't shown a certificate yet. Pure: time comes in as a value.
//!
//! A connection that greets holds a place until it is let in or refused, and a token of its peer's
//! bucket and of the common one. Who shows a certificate of the cluster gets the tokens back and is
//! a friend for a while: friends have places that strangers don't get, pass the common bucket by,
//! and may come a hundred at once, as K3s does after a failover. Sessions have a limit of their
//! own, so they don't count here.
//!
//! A peer is an IPv4 address or an IPv6 /64, within which anyone can have as many addresses as he
//! likes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Connections that greet at a time.
pub const PLACES: usize = 128;
/// Places among them that strangers don't get.
const FRIENDS_PLACES: usize = 96;
/// Places of one stranger: slow ones hold that many at most.
const STRANGER_PLACES: usize = 16;
/// Attempts of one stranger.
const PEER_RATE: Rate = Rate { burst: 40, every: Duration::from_millis(500) };
/// Attempts of all strangers. A handshake costs about a millisecond of a small processor.
const COMMON_RATE: Rate = Rate { burst: 100, every: Duration::from_millis(20) };
/// Attempts of a friend that show no certificate: others may share its address.
const FRIEND_RATE: Rate = Rate { burst: 200, every: Duration::from_millis(100) };
/// How long a peer stays a friend.
const FRIENDSHIP: Duration = Duration::from_hours(1);
/// Peers that are remembered; the one not seen for longest is forgotten first.
const PEERS: usize = 256;
/// Turned-away connections are reported together, this often at most.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// So many at once, then one each time this much has passed.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    every: Duration,
}

/// A token bucket, kept as the time at which it will be full again.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: Duration,
}

impl Bucket {
    fn take(&mut self, rate: Rate, now: Duration) -> bool {
        let from = self.full_at.max(now);
        let room = rate.every.saturating_mul(rate.burst.saturating_sub(1));
        if from.saturating_sub(now) > room {
            return false;
        }
        self.full_at = from.saturating_add(rate.every);
        true
    }

    fn give_back(&mut self, rate: Rate) {
        self.full_at = self.full_at.saturating_sub(rate.every);
    }
}

/// Why a connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Turned {
    /// This peer tried too often.
    #[error("it tried too often")]
    PeerTooOften,
    /// This peer greets on too many connections.
    #[error("it holds too many connections without logging in")]
    PeerTooMany,
    /// Strangers tried too often.
    #[error("strangers tried too often")]
    StrangersTooOften,
    /// All places are taken.
    #[error("too many connections greet at once")]
    Full,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    bucket: Bucket,
    friend_until: Duration,
    seen: Duration,
    greeting: usize,
}

/// The state of the door.
#[derive(Debug, Default)]
pub struct Limits {
    peers: BTreeMap<IpAddr, Peer>,
    strangers: Bucket,
    greeting: usize,
    turned: u64,
    reported: Option<Duration>,
}

/// Those who count as one.
fn peer_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from(u128::from(six) & !u128::from(u64::MAX))),
        four @ IpAddr::V4(_) => four,
    }
}

impl Limits {
    /// Takes a place, or says why there is none. Who gets one gives it back by [`Limits::greeted`].
    pub fn admit(&mut self, address: IpAddr, now: Duration) -> Result<(), Turned> {
        let decided = self.decide(peer_of(address), now);
        match decided {
            Ok(()) => self.greeting += 1,
            Err(_) => self.turned += 1,
        }
        decided
    }

    fn decide(&mut self, key: IpAddr, now: Duration) -> Result<(), Turned> {
        if !self.peers.contains_key(&key) {
            self.make_room();
        }
        let greeting = self.greeting;
        let peer = self.peers.entry(key).or_default();
        peer.seen = now;
        let friend = peer.friend_until > now;
        if greeting >= if friend { PLACES } else { PLACES - FRIENDS_PLACES } {
            return Err(Turned::Full);
        }
        if !friend && peer.greeting >= STRANGER_PLACES {
            return Err(Turned::PeerTooMany);
        }
        let rate = if friend { FRIEND_RATE } else { PEER_RATE };
        if !peer.bucket.take(rate, now) {
            return Err(Turned::PeerTooOften);
        }
        if !friend && !self.strangers.take(COMMON_RATE, now) {
            peer.bucket.give_back(rate);
            return Err(Turned::StrangersTooOften);
        }
        peer.greeting += 1;
        Ok(())
    }

    /// Forgets a peer if there are too many: strangers first, those that greet never.
    fn make_room(&mut self) {
        while self.peers.len() >= PEERS {
            let idle = self.peers.iter().filter(|(_, peer)| peer.greeting == 0);
            let oldest = idle.min_by_key(|(_, peer)| (peer.friend_until, peer.seen));
            let Some(key) = oldest.map(|(key, _)| *key) else { return };
            self.peers.remove(&key);
        }
    }

    /// The peer has shown a certificate of the cluster.
    pub fn authenticated(&mut self, address: IpAddr, now: Duration) {
        if let Some(peer) = self.peers.get_mut(&peer_of(address)) {
            if peer.friend_until > now {
                peer.bucket.give_back(FRIEND_RATE);
            } else {
                // What it took as a stranger doesn't count for the friend.
                peer.bucket = Bucket::default();
                self.strangers.give_back(COMMON_RATE);
            }
            peer.friend_until = now.saturating_add(FRIENDSHIP);
        }
    }

    /// A connection greets no more: it is a session, or over.
    pub fn greeted(&mut self, address: IpAddr) {
        self.greeting = self.greeting.saturating_sub(1);
        if let Some(peer) = self.peers.get_mut(&peer_of(address)) {
            peer.greeting = peer.greeting.saturating_sub(1);
        }
    }

    /// How many were turned away since the last report, if it is time for one.
    pub fn report(&mut self, now: Duration) -> Option<u64> {
        let due = self.reported.is_none_or(|last| now >= last.saturating_add(REPORT_EVERY));
        if self.turned == 0 || !due {
            return None;
        }
        self.reported = Some(now);
        Some(std::mem::take(&mut self.turned))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
    }

    #[test]
    fn slow_strangers_keep_no_friend_out() {
        let (mut limits, now) = (Limits::default(), Duration::from_secs(1));
        limits.admit(address(1), now).unwrap();
        limits.authenticated(address(1), now);
        limits.greeted(address(1));
        let mut held = 0;
        for last in 2..=200 {
            while limits.admit(address(last), now).is_ok() {
                held += 1;
            }
        }
        assert_eq!(held, PLACES - FRIENDS_PLACES);
        for _ in 0..FRIENDS_PLACES {
            limits.admit(address(1), now).unwrap();
        }
        assert_eq!(limits.admit(address(1), now), Err(Turned::Full));
    }

    #[test]
    fn one_stranger_holds_few_places_and_tries_seldom() {
        let (mut limits, now) = (Limits::default(), Duration::from_secs(1));
        for _ in 0..STRANGER_PLACES {
            limits.admit(address(1), now).unwrap();
        }
        assert_eq!(limits.admit(address(1), now), Err(Turned::PeerTooMany));
        let mut tries = STRANGER_PLACES;
        loop {
            limits.greeted(address(1));
            match limits.admit(address(1), now) {
                Ok(()) => tries += 1,
                Err(turned) => break assert_eq!(turned, Turned::PeerTooOften),
            }
        }
        assert_eq!(tries, 40);
        assert_eq!(limits.admit(address(2), now), Ok(()));
        assert_eq!(limits.admit(address(1), now + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn all_strangers_together_try_seldom_and_the_table_is_bounded() {
        let (mut limits, now) = (Limits::default(), Duration::from_secs(1));
        let mut admitted = 0;
        for number in 0..10_000_u32 {
            let six = Ipv6Addr::from(u128::from(number) << 64);
            if limits.admit(IpAddr::V6(six), now).is_ok() {
                limits.greeted(IpAddr::V6(six));
                admitted += 1;
            }
        }
        assert_eq!(admitted, 100);
        assert!(limits.peers.len() <= PEERS);
        assert_eq!(limits.report(now), Some(9900));
        assert_eq!(limits.report(now), None);
    }

    #[test]
    fn a_friend_may_come_as_often_as_it_likes() {
        let (mut limits, now) = (Limits::default(), Duration::from_secs(1));
        for _ in 0..10_000 {
            limits.admit(address(1), now).unwrap();
            limits.authenticated(address(1), now);
            limits.greeted(address(1));
        }
    }
}
