//! How much strangers may cost. Pure: time comes in as a value.
//!
//! A connection takes a token from its peer's bucket and one from the bucket of all strangers; who
//! then shows an operator's certificate gets both back and counts as a friend for a while. So an
//! operator's script may connect as often as it likes, a stranger gets a few attempts, and a flood
//! of strangers keeps no friend out: friends pass the common bucket by, and some places are kept
//! for them.
//!
//! A peer is an IPv4 address or an IPv6 /64, within which anyone can have as many addresses as he
//! likes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Connections at a time.
pub const SLOTS: usize = 16;
/// Places among them that strangers don't get.
const FRIENDS_SLOTS: usize = 4;
/// Connections of one stranger at a time: a slow peer holds that many places at most.
const STRANGER_SLOTS: usize = 3;
/// Attempts of one stranger: ten at once, then one every five seconds.
const PEER_RATE: Rate = Rate { burst: 10, every: Duration::from_secs(5) };
/// Attempts of all strangers. A handshake costs about a millisecond of a small processor, so this
/// is two percent of it.
const COMMON_RATE: Rate = Rate { burst: 60, every: Duration::from_millis(50) };
/// Attempts of one friend that don't show an operator's certificate: others may share its address
/// with an operator, and the client may be told to use the wrong folder in a loop.
const FRIEND_RATE: Rate = Rate { burst: 50, every: Duration::from_millis(500) };
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bucket {
    full_at: Duration,
}

impl Bucket {
    /// Takes a token, if there is one.
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
    /// This peer has too many open.
    #[error("it holds too many connections")]
    PeerTooMany,
    /// Strangers tried too often.
    #[error("strangers tried too often")]
    StrangersTooOften,
    /// All places are taken.
    #[error("all places are taken")]
    Full,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    bucket: Bucket,
    friends_bucket: Bucket,
    friend_until: Duration,
    seen: Duration,
    open: usize,
}

/// The state of the door.
#[derive(Debug, Default)]
pub struct Limits {
    peers: BTreeMap<IpAddr, Peer>,
    strangers: Bucket,
    open: usize,
    turned: u64,
    reported: Option<Duration>,
}

/// Those who count as one.
fn peer_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let network = u128::from(six) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        four @ IpAddr::V4(_) => four,
    }
}

impl Limits {
    /// Takes a place, or says why there is none. Who gets one gives it back by [`Limits::closed`].
    pub fn admit(&mut self, address: IpAddr, now: Duration) -> Result<(), Turned> {
        let decided = self.decide(peer_of(address), now);
        match decided {
            Ok(()) => self.open += 1,
            Err(_) => self.turned += 1,
        }
        decided
    }

    fn decide(&mut self, key: IpAddr, now: Duration) -> Result<(), Turned> {
        if !self.peers.contains_key(&key) {
            self.make_room();
        }
        let open = self.open;
        let peer = self.peers.entry(key).or_default();
        peer.seen = now;
        let friend = peer.friend_until > now;
        let places = if friend { SLOTS } else { SLOTS - FRIENDS_SLOTS };
        if open >= places {
            return Err(Turned::Full);
        }
        if friend {
            if !peer.friends_bucket.take(FRIEND_RATE, now) {
                return Err(Turned::PeerTooOften);
            }
        } else {
            if peer.open >= STRANGER_SLOTS {
                return Err(Turned::PeerTooMany);
            }
            if !peer.bucket.take(PEER_RATE, now) {
                return Err(Turned::PeerTooOften);
            }
            if !self.strangers.take(COMMON_RATE, now) {
                peer.bucket.give_back(PEER_RATE);
                return Err(Turned::StrangersTooOften);
            }
        }
        peer.open += 1;
        Ok(())
    }

    /// Forgets a peer if there are too many: strangers first, those with connections never.
    fn make_room(&mut self) {
        while self.peers.len() >= PEERS {
            let idle = self.peers.iter().filter(|(_, peer)| peer.open == 0);
            let oldest = idle.min_by_key(|(_, peer)| (peer.friend_until, peer.seen));
            let Some(key) = oldest.map(|(key, _)| *key) else { return };
            self.peers.remove(&key);
        }
    }

    /// The peer has shown an operator's certificate.
    pub fn authenticated(&mut self, address: IpAddr, now: Duration) {
        if let Some(peer) = self.peers.get_mut(&peer_of(address)) {
            if peer.friend_until > now {
                peer.friends_bucket.give_back(FRIEND_RATE);
            } else {
                peer.bucket.give_back(PEER_RATE);
                self.strangers.give_back(COMMON_RATE);
            }
            peer.friend_until = now.saturating_add(FRIENDSHIP);
        }
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open
    }

    /// A connection is over.
    pub fn closed(&mut self, address: IpAddr) {
        self.open = self.open.saturating_sub(1);
        if let Some(peer) = self.peers.get_mut(&peer_of(address)) {
            peer.open = peer.open.saturating_sub(1);
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
mod tests;
