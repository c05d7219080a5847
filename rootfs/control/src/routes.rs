//! The kernel's tables of routes as people write them.
//!
//! `/proc/net/route` has addresses as native numbers in hexadecimal, `/proc/net/ipv6_route` as 32
//! digits. A line that isn't as expected is shown as it is: better odd than hidden.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The kernel's mark of a route that leads nowhere.
const REJECT: u32 = 0x0200;

/// `/proc/net/route` without its heading.
pub(crate) fn of_ipv4(table: &str) -> String {
    let shown = |line: &str| ipv4(line).unwrap_or_else(|| line.to_owned());
    table.lines().skip(1).map(|line| shown(line) + "\n").collect()
}

/// `/proc/net/ipv6_route`.
pub(crate) fn of_ipv6(table: &str) -> String {
    let shown = |line: &str| ipv6(line).unwrap_or_else(|| line.to_owned());
    table.lines().map(|line| shown(line) + "\n").collect()
}

fn ipv4(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [link, to, via, flags, _, _, metric, mask, ..] = words.as_slice() else { return None };
    let address = |text: &str| {
        let number = u32::from_str_radix(text, 16).ok()?;
        Some(Ipv4Addr::from(number.to_ne_bytes()))
    };
    let prefix = u32::from(address(mask)?).count_ones();
    let via = address(via).filter(|via| !via.is_unspecified()).map(|via| via.to_string());
    let to = if prefix == 0 { "default".to_owned() } else { format!("{}/{prefix}", address(to)?) };
    let flags = u32::from_str_radix(flags, 16).ok()?;
    Some(words_of(&to, via.as_deref(), link, metric.parse().ok()?, flags))
}

fn ipv6(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [to, prefix, _, _, via, metric, _, _, flags, link] = words.as_slice() else { return None };
    let address = |text: &str| {
        let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32)?;
        Some(Ipv6Addr::from(number))
    };
    let number = |text| u32::from_str_radix(text, 16).ok();
    let prefix = number(prefix)?;
    let via = address(via).filter(|via| !via.is_unspecified()).map(|via| via.to_string());
    let to = if prefix == 0 { "default".to_owned() } else { format!("{}/{prefix}", address(to)?) };
    Some(words_of(&to, via.as_deref(), link, number(metric)?, number(flags)?))
}

fn words_of(to: &str, via: Option<&str>, link: &str, metric: u32, flags: u32) -> String {
    let reject = if flags & REJECT == 0 { "" } else { "unreachable " };
    let via = via.map(|via| format!(" via {via}")).unwrap_or_default();
    format!("{reject}{to}{via} dev {link} metric {metric}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn routes_of_ipv4_are_readable() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n\
                     lan\t00000000\t010A000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
                     lan\t000A000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
                     what is this\n";
        assert_eq!(
            of_ipv4(table),
            "default via 10.0.10.1 dev lan metric 100\n\
             10.0.10.0/24 dev lan metric 0\n\
             what is this\n"
        );
    }

    #[test]
    fn routes_of_ipv6_are_readable() {
        let zero = "0".repeat(32);
        let table = format!(
            "fd770000000000000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 \
             00000001      lan\n\
             {zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 \
             00000003      lan\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
        );
        assert_eq!(
            of_ipv6(&table),
            "fd77::/64 dev lan metric 256\n\
             default via fe80::1 dev lan metric 1024\n\
             unreachable default dev lo metric 4294967295\n"
        );
    }

    proptest! {
        #[test]
        fn no_table_panics(table in "([0-9a-f]{0,33}|[ \t\n]|\\PC){0,40}") {
            let _ = (of_ipv4(&table), of_ipv6(&table));
        }
    }
}
