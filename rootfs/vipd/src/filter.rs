//! Programs for the kernel: what is not for a router never wakes the daemon.
//!
//! A flood of garbage costs the kernel these few instructions for each packet and nothing else. They
//! look at what can be judged by position: TTL, version, VRID, length, and the sender where peers
//! are listed. Checksums, passwords and signatures are judged by `vrrp`.

use std::net::IpAddr;

use sys::socket_filter::Instruction;
use vrrp::Version;
use vrrp::packet::{PASSWORD_BYTES, TRAILER_BYTES};

use crate::claims::{ETHERTYPE_ARP, ETHERTYPE_IPV6};

/// Classic BPF, as `linux/bpf_common.h` numbers it.
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_BEHIND_X: u16 = 0x48;
const LOAD_BYTE_BEHIND_X: u16 = 0x50;
const LOAD_LENGTH: u16 = 0x80;
const LOAD_X_IP_HEADER: u16 = 0xb1;
const LOAD_X_MEMORY: u16 = 0x61;
const LOAD_X_NUMBER: u16 = 0x01;
const STORE: u16 = 0x02;
const ADD_NUMBER: u16 = 0x04;
const ADD_X: u16 = 0x0c;
const SUBTRACT_X: u16 = 0x1c;
const SHIFT_LEFT: u16 = 0x64;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Where the network header starts, whatever the socket starts at.
const NETWORK_HEADER: u32 = 0xfff0_0000;
const IPV4_TTL_AT: u32 = 8;
const IPV4_SOURCE_AT: u32 = 12;
const IPV6_HOP_LIMIT_AT: u32 = NETWORK_HEADER + 7;
/// The last word of the source: a jump compares one word, and the rest is compared later.
const IPV6_SOURCE_END_AT: u32 = NETWORK_HEADER + 20;
const VRRP_HEADER_BYTES: u32 = 8;
const WHOLE_PACKET: u32 = u32::MAX;
/// A jump reaches 255 instructions; lists beyond this are judged by the daemon alone.
const LISTED_MAX: usize = 200;

/// What a router's raw socket lets through.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub ipv6: bool,
    pub version: Version,
    pub vrid: u8,
    pub least_ttl: u8,
    /// The only senders; anyone if empty.
    pub peers: &'a [IpAddr],
}

/// Builds a program whose refusals all jump to its one last instruction.
#[derive(Debug, Default)]
struct Program {
    code: Vec<Instruction>,
    refusals: Vec<usize>,
}

impl Program {
    fn then(mut self, code: u16, operand: u32) -> Self {
        self.code.push(Instruction { code, jump_true: 0, jump_false: 0, operand });
        self
    }

    /// Goes on if the comparison holds.
    fn demand(mut self, code: u16, operand: u32) -> Self {
        self.refusals.push(self.code.len());
        self.then(code, operand)
    }

    /// Goes on if the value is one of the list, which may be empty for anything.
    fn demand_any(mut self, list: &[u32]) -> Self {
        if list.is_empty() || list.len() > LISTED_MAX {
            return self;
        }
        for (position, operand) in list.iter().enumerate() {
            let left = list.len() - position - 1;
            self = if left == 0 {
                self.demand(JUMP_EQUAL, *operand)
            } else {
                let jump_true = u8::try_from(left).unwrap_or(u8::MAX);
                self.code.push(Instruction {
                    code: JUMP_EQUAL,
                    jump_true,
                    jump_false: 0,
                    operand: *operand,
                });
                self
            };
        }
        self
    }

    fn finish(self) -> Vec<Instruction> {
        let Self { mut code, refusals } = self.then(RETURN, WHOLE_PACKET).then(RETURN, 0);
        let last = code.len() - 1;
        for at in refusals {
            if let Some(one) = code.get_mut(at) {
                one.jump_false = u8::try_from(last - at - 1).unwrap_or(u8::MAX);
            }
        }
        code
    }
}

/// The program of a raw socket of IP protocol 112.
pub fn adverts(wanted: &Wanted<'_>) -> Vec<Instruction> {
    let version = match wanted.version {
        Version::V2 => 2_u32,
        Version::V3 => 3,
    };
    let start = (version << 12) | (1 << 8) | u32::from(wanted.vrid);
    let (ttl_at, source_at) = if wanted.ipv6 {
        (IPV6_HOP_LIMIT_AT, IPV6_SOURCE_END_AT)
    } else {
        (IPV4_TTL_AT, IPV4_SOURCE_AT)
    };
    let last_words: Vec<u32> = wanted.peers.iter().map(last_word).collect();
    let mut program = Program::default()
        .then(LOAD_BYTE, ttl_at)
        .demand(JUMP_AT_LEAST, u32::from(wanted.least_ttl));
    if !last_words.is_empty() {
        program = program.then(LOAD_WORD, source_at).demand_any(&last_words);
    }
    // A raw IPv4 socket sees the IP header, a raw IPv6 socket does not.
    program = if wanted.ipv6 {
        program.then(LOAD_X_NUMBER, 0)
    } else {
        program.then(LOAD_X_IP_HEADER, 0)
    };
    let (shift, password) = match (wanted.ipv6, wanted.version) {
        (true, _) => (4, 0),
        (false, Version::V2) => (2, u32::try_from(PASSWORD_BYTES).unwrap_or(0)),
        (false, Version::V3) => (2, 0),
    };
    program = program
        .then(LOAD_HALF_BEHIND_X, 0)
        .demand(JUMP_EQUAL, start)
        .then(LOAD_BYTE_BEHIND_X, 3)
        .then(SHIFT_LEFT, shift)
        .then(ADD_NUMBER, VRRP_HEADER_BYTES + password)
        .then(ADD_X, 0)
        .then(STORE, 0)
        .then(LOAD_LENGTH, 0)
        .then(LOAD_X_MEMORY, 0)
        .then(SUBTRACT_X, 0);
    let trailer = u32::try_from(TRAILER_BYTES).unwrap_or(0);
    match wanted.version {
        Version::V2 => program.demand(JUMP_EQUAL, 0),
        Version::V3 => program.demand_any(&[0, trailer]),
    }
    .finish()
}

/// The program of a packet socket that watches for claims on IPv4 addresses.
pub fn arp_claims(addresses: &[IpAddr]) -> Vec<Instruction> {
    let list: Vec<u32> = addresses.iter().map(last_word).collect();
    Program::default()
        .then(LOAD_HALF, 12)
        .demand(JUMP_EQUAL, u32::from(ETHERTYPE_ARP))
        .then(LOAD_WORD, 28)
        .demand_any(&list)
        .finish()
}

/// The same for IPv6 addresses.
pub fn neighbour_claims(addresses: &[IpAddr]) -> Vec<Instruction> {
    let list: Vec<u32> = addresses.iter().map(last_word).collect();
    Program::default()
        .then(LOAD_HALF, 12)
        .demand(JUMP_EQUAL, u32::from(ETHERTYPE_IPV6))
        .then(LOAD_BYTE, 20)
        .demand(JUMP_EQUAL, 58)
        .then(LOAD_BYTE, 54)
        .demand(JUMP_EQUAL, 136)
        .then(LOAD_WORD, 74)
        .demand_any(&list)
        .finish()
}

fn last_word(address: &IpAddr) -> u32 {
    match address {
        IpAddr::V4(address) => u32::from(*address),
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            u32::from_be_bytes([a, b, c, d])
        }
    }
}

#[cfg(test)]
mod tests;
