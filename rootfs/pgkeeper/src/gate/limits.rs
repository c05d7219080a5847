//! How much those cost who haven't shown a certificate yet. Pure: time comes in as a value.
//!
//! A connection that greets holds a place until it is let in or refused, and a token of its peer's
//! bucket and of the common one. Who shows a certificate of the cluster gets the tokens back and is
//! a friend for a while: friends have places that strangers don't get, pass the common bucket by,
//! and may come a hundred at once, as K3s does after a failover. Sessions have a limit of their
//! own, so they don't count here.
//!
//! Strangers count by IPv4 address or IPv6 /64, within which anyone can have as many addresses as he
//! likes. A friend is one address: its neighbours in the same network have shown nothing. The nodes
//! of the cluster are friends from the beginning: after a failover they come to a gate that has met
//! nobody yet, and no flood of strangers may keep them out.

use std::collections::{BTreeMap, BTreeSet};
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

/// Who was admitted, and as what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guest {
    /// One address.
    Friend(IpAddr),
    /// All who may be the same.
    Stranger(IpAddr),
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
    /// Friends for ever.
    known: BTreeSet<IpAddr>,
    peers: BTreeMap<Guest, Peer>,
    strangers: Bucket,
    greeting: usize,
    turned: u64,
    reported: Option<Duration>,
}

/// Those strangers who count as one.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from(u128::from(six) & !u128::from(u64::MAX))),
        four @ IpAddr::V4(_) => four,
    }
}

impl Limits {
    /// A door at which these are friends.
    pub fn new(known: impl IntoIterator<Item = IpAddr>) -> Self {
        let known = known.into_iter().map(|address| address.to_canonical()).collect();
        Self { known, ..Self::default() }
    }

    /// Takes a place, or says why there is none. Who gets one gives it back by [`Limits::greeted`].
    pub fn admit(&mut self, address: IpAddr, now: Duration) -> Result<Guest, Turned> {
        let address = address.to_canonical();
        let decided = if self.is_friend(address, now) {
            self.admit_friend(address, now)
        } else {
            self.admit_stranger(network_of(address), now)
        };
        match decided {
            Ok(_) => self.greeting += 1,
            Err(_) => self.turned += 1,
        }
        decided
    }

    /// The same; some refusals come with a line about all since the last one. A flood writes a line now
    /// and then, however many connections it makes.
    pub fn admit_or_tell(
        &mut self,
        address: IpAddr,
        now: Duration,
    ) -> Result<Guest, Option<String>> {
        self.admit(address, now).map_err(|turned| {
            let count = self.report(now)?;
            let last = format!("the last of {address}, since {turned}");
            Some(format!("{count} connections were turned away, {last}"))
        })
    }

    fn is_friend(&self, address: IpAddr, now: Duration) -> bool {
        let met = self.peers.get(&Guest::Friend(address));
        self.known.contains(&address) || met.is_some_and(|peer| peer.friend_until > now)
    }

    fn admit_friend(&mut self, address: IpAddr, now: Duration) -> Result<Guest, Turned> {
        let (guest, full) = (Guest::Friend(address), self.greeting >= PLACES);
        let peer = self.peer(guest, now);
        if full {
            return Err(Turned::Full);
        }
        if !peer.bucket.take(FRIEND_RATE, now) {
            return Err(Turned::PeerTooOften);
        }
        peer.greeting += 1;
        Ok(guest)
    }

    fn admit_stranger(&mut self, network: IpAddr, now: Duration) -> Result<Guest, Turned> {
        let (guest, full) = (Guest::Stranger(network), self.greeting >= PLACES - FRIENDS_PLACES);
        let peer = self.peer(guest, now);
        if peer.greeting >= STRANGER_PLACES {
            return Err(Turned::PeerTooMany);
        }
        // Also for knocking at a full house, or whoever knocks most gets each place that comes free.
        if !peer.bucket.take(PEER_RATE, now) {
            return Err(Turned::PeerTooOften);
        }
        if full {
            return Err(Turned::Full);
        }
        if !self.strangers.take(COMMON_RATE, now) {
            self.peer(guest, now).bucket.give_back(PEER_RATE);
            return Err(Turned::StrangersTooOften);
        }
        self.peer(guest, now).greeting += 1;
        Ok(guest)
    }

    fn peer(&mut self, guest: Guest, now: Duration) -> &mut Peer {
        if !self.peers.contains_key(&guest) {
            self.make_room();
        }
        let peer = self.peers.entry(guest).or_default();
        peer.seen = now;
        peer
    }

    /// Forgets a peer if there are too many: strangers first, those that greet never.
    fn make_room(&mut self) {
        while self.peers.len() >= PEERS {
            let idle = self.peers.iter().filter(|(_, peer)| peer.greeting == 0);
            let oldest = idle.min_by_key(|(_, peer)| (peer.friend_until, peer.seen));
            let Some(guest) = oldest.map(|(guest, _)| *guest) else { return };
            self.peers.remove(&guest);
        }
    }

    /// This guest, from this address, has shown a certificate of the cluster.
    pub fn authenticated(&mut self, address: IpAddr, guest: Guest, now: Duration) {
        let rate = match guest {
            Guest::Friend(_) => FRIEND_RATE,
            Guest::Stranger(_) => {
                self.strangers.give_back(COMMON_RATE);
                PEER_RATE
            }
        };
        self.peer(guest, now).bucket.give_back(rate);
        let friend = self.peer(Guest::Friend(address.to_canonical()), now);
        friend.friend_until = now.saturating_add(FRIENDSHIP);
    }

    /// A connection greets no more: it is a session, or over.
    pub fn greeted(&mut self, guest: Guest) {
        self.greeting = self.greeting.saturating_sub(1);
        if let Some(peer) = self.peers.get_mut(&guest) {
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
        let guest = limits.admit(address(1), now).unwrap();
        limits.authenticated(address(1), guest, now);
        limits.greeted(guest);
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
        let guest = Guest::Stranger(address(1));
        for _ in 0..STRANGER_PLACES {
            assert_eq!(limits.admit(address(1), now), Ok(guest));
        }
        assert_eq!(limits.admit(address(1), now), Err(Turned::PeerTooMany));
        let mut tries = STRANGER_PLACES;
        loop {
            limits.greeted(guest);
            match limits.admit(address(1), now) {
                Ok(_) => tries += 1,
                Err(turned) => break assert_eq!(turned, Turned::PeerTooOften),
            }
        }
        assert_eq!(tries, 40);
        assert_eq!(limits.admit(address(2), now), Ok(Guest::Stranger(address(2))));
        assert_eq!(limits.admit(address(1), now + Duration::from_secs(1)), Ok(guest));
    }

    #[test]
    fn all_strangers_together_try_seldom_and_the_table_is_bounded() {
        let (mut limits, now) = (Limits::default(), Duration::from_secs(1));
        let mut admitted = 0;
        for number in 0..10_000_u32 {
            let six = Ipv6Addr::from(u128::from(number) << 64);
            if let Ok(guest) = limits.admit(IpAddr::V6(six), now) {
                limits.greeted(guest);
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
            let guest = limits.admit(address(1), now).unwrap();
            limits.authenticated(address(1), guest, now);
            limits.greeted(guest);
        }
    }

    #[test]
    fn nodes_of_the_cluster_are_friends_of_a_gate_that_has_met_nobody() {
        let mut limits = Limits::new([address(1)]);
        let now = Duration::from_secs(1);
        for last in 2..=200 {
            while limits.admit(address(last), now).is_ok() {}
        }
        for _ in 0..FRIENDS_PLACES {
            assert_eq!(limits.admit(address(1), now), Ok(Guest::Friend(address(1))));
        }
    }

    #[test]
    fn neighbours_of_a_friend_take_nothing_from_it() {
        let (mut limits, now) = (Limits::default(), Duration::from_secs(1));
        let six = |last: u16| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last));
        let guest = limits.admit(six(1), now).unwrap();
        limits.authenticated(six(1), guest, now);
        limits.greeted(guest);
        let mut held = 0;
        for last in 2..1000 {
            held += usize::from(limits.admit(six(last), now).is_ok());
        }
        assert_eq!(held, STRANGER_PLACES, "they are one stranger together");
        for _ in 0..FRIENDS_PLACES {
            assert_eq!(limits.admit(six(1), now), Ok(Guest::Friend(six(1))));
        }
    }

    #[test]
    fn whoever_knocks_at_a_full_house_pays_for_it() {
        let (mut limits, now) = (Limits::default(), Duration::from_secs(1));
        for last in 2..=200 {
            while limits.admit(address(last), now).is_ok() {}
        }
        let knocks = (0..1000).map(|_| limits.admit(address(1), now));
        let last = knocks.last().unwrap();
        assert_eq!(last, Err(Turned::PeerTooOften));
    }

    #[test]
    fn what_greeted_as_a_stranger_leaves_as_a_stranger() {
        let (mut limits, now) = (Limits::default(), Duration::from_secs(1));
        let guests = [0; STRANGER_PLACES].map(|_| limits.admit(address(1), now).unwrap());
        for guest in guests {
            limits.authenticated(address(1), guest, now);
            limits.greeted(guest);
        }
        assert_eq!(limits.greeting, 0);
        assert!(limits.peers.values().all(|peer| peer.greeting == 0));
    }
}
