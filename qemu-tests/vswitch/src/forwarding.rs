//! Which station is behind which port, learned from where frames come from.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::frame::Mac;
use crate::rule::Port;

/// Stations that are remembered. A drill has a dozen; more are an attack on the table, and then the
/// switch floods as real ones do.
pub const MOST_STATIONS: usize = 4096;
/// A station that was silent for so long is forgotten, as IEEE 802.1D recommends.
pub const FORGET_AFTER: Duration = Duration::from_mins(5);

/// The table of a learning bridge.
#[derive(Clone, Debug, Default)]
pub struct Forwarding {
    stations: BTreeMap<Mac, (Port, Duration)>,
}

impl Forwarding {
    /// Notes that a station was heard on a port; a group is no station.
    pub fn learn(&mut self, station: Mac, port: Port, now: Duration) {
        if station.is_group() {
            return;
        }
        if self.stations.len() >= MOST_STATIONS && !self.stations.contains_key(&station) {
            self.stations.retain(|_, (_, heard)| now.saturating_sub(*heard) < FORGET_AFTER);
            if self.stations.len() >= MOST_STATIONS {
                return;
            }
        }
        self.stations.insert(station, (port, now));
    }

    /// The port of a station that was heard lately.
    pub fn find(&self, station: Mac, now: Duration) -> Option<Port> {
        let (port, heard) = self.stations.get(&station)?;
        (now.saturating_sub(*heard) < FORGET_AFTER).then_some(*port)
    }

    /// Forgets the stations of a port whose cable was pulled.
    pub fn forget(&mut self, port: Port) {
        self.stations.retain(|_, (at, _)| *at != port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn mac(last: u8) -> Mac {
        Mac([2, 0, 0, 0, 0, last])
    }

    #[test]
    fn a_station_is_where_it_was_heard_last_until_it_is_silent_too_long() {
        let mut table = Forwarding::default();
        table.learn(mac(1), Port(0), Duration::ZERO);
        assert_eq!(table.find(mac(1), Duration::from_secs(1)), Some(Port(0)));
        table.learn(mac(1), Port(2), Duration::from_secs(2));
        assert_eq!(table.find(mac(1), Duration::from_secs(3)), Some(Port(2)));
        assert_eq!(table.find(mac(1), FORGET_AFTER + Duration::from_secs(2)), None);
        table.forget(Port(2));
        assert_eq!(table.find(mac(1), Duration::from_secs(3)), None);
    }

    #[test]
    fn groups_are_not_learned_and_a_full_table_takes_no_more() {
        let mut table = Forwarding::default();
        table.learn(Mac([1, 0, 0, 0, 0, 0]), Port(0), Duration::ZERO);
        assert_eq!(table.find(Mac([1, 0, 0, 0, 0, 0]), Duration::ZERO), None);
        for number in 0..=u16::try_from(MOST_STATIONS).expect("small") {
            let [high, low] = number.to_be_bytes();
            table.learn(Mac([2, 0, 0, 0, high, low]), Port(1), Duration::ZERO);
        }
        assert_eq!(table.stations.len(), MOST_STATIONS);
        table.learn(mac(9), Port(1), FORGET_AFTER);
        assert!(table.stations.len() <= MOST_STATIONS);
    }
}
