//! Addresses of links.

use std::fmt;
use std::net::IpAddr;

use crate::Netlink;
use crate::error::NetlinkError;
use crate::link::LinkId;
use crate::number::{
    AF_INET, AF_INET6, AF_UNSPEC, IFA_ADDRESS, IFA_CACHEINFO, IFA_F_DADFAILED, IFA_F_NODAD,
    IFA_F_NOPREFIXROUTE, IFA_F_PERMANENT, IFA_F_TENTATIVE, IFA_FLAGS, IFA_LOCAL, IFA_PROTO,
    INFINITY_LIFE_TIME, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, RTM_DELADDR, RTM_GETADDR,
    RTM_NEWADDR,
};
use crate::wire::{Attributes, Garbled, Message, Request, garbled, u8_at, u32_at};

/// `struct ifaddrmsg`: family, prefix length, the first eight flags, scope, index of the link.
const FIXED_BYTES: usize = 8;

/// How long an address stays, in seconds; none is for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lifetime {
    pub valid: Option<u32>,
    /// For how long new connections may be made from it. `Some(0)` keeps an IPv6 address from ever
    /// being chosen as a source, which suits a VIP.
    pub preferred: Option<u32>,
}

/// How far duplicate address detection is with an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Check {
    /// It can be used.
    #[default]
    Passed,
    /// It is being asked whether another machine has it; it can't be used yet.
    Running,
    /// Another machine has it, so it isn't used.
    Duplicate,
}

/// An address on a link, as it is or as it shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub ip: IpAddr,
    pub prefix: u8,
    /// 0: valid anywhere; 253: on this link only; 254: on this machine only. The kernel sets it for
    /// IPv6; for IPv4 it takes what it is given.
    pub scope: u8,
    /// Who put it there: one of `IFAPROT_*`, or a number of the owner's choice above 3. Kernels before
    /// 5.18 forget it.
    pub protocol: u8,
    pub lifetime: Lifetime,
    /// IPv6: used at once, without asking whether another has it.
    pub no_dad: bool,
    /// Makes no route to the address's network.
    pub no_prefix_route: bool,
    /// Told by the kernel, never asked for.
    pub check: Check,
}

impl Address {
    /// A plain address: for good, with its network's route, after the usual checks.
    pub fn new(ip: IpAddr, prefix: u8) -> Self {
        Self {
            ip,
            prefix,
            scope: 0,
            protocol: 0,
            lifetime: Lifetime::default(),
            no_dad: false,
            no_prefix_route: false,
            check: Check::Passed,
        }
    }

    /// Reads a message about an address, with the index of its link.
    pub(crate) fn read(message: Message<'_>) -> Result<Option<(u32, Self)>, Garbled> {
        let body = message.body;
        let family = u8_at(body, 0)?;
        if family != AF_INET && family != AF_INET6 {
            return Ok(None);
        }
        let mut flags = u32::from(u8_at(body, 2)?);
        let index = u32_at(body, 4)?;
        let (mut local, mut far, mut lifetime, mut protocol) = (None, None, None, 0);
        for attribute in Attributes::after(body, FIXED_BYTES) {
            let attribute = attribute?;
            match attribute.kind {
                IFA_LOCAL => local = Some(attribute.ip()?),
                IFA_ADDRESS => far = Some(attribute.ip()?),
                IFA_FLAGS => flags = attribute.u32()?,
                IFA_PROTO => protocol = attribute.u8()?,
                IFA_CACHEINFO => {
                    let preferred = finite(u32_at(attribute.value, 0)?);
                    lifetime =
                        Some(Lifetime { valid: finite(u32_at(attribute.value, 4)?), preferred });
                }
                _ => {}
            }
        }
        // On a point-to-point link the other end's address is the one called "address".
        let ip = local.or(far).ok_or(garbled("an address message without an address"))?;
        if ip.is_ipv4() != (family == AF_INET) {
            return Err(garbled("an address of another family than its message"));
        }
        let permanent = flags & IFA_F_PERMANENT != 0;
        let lifetime = lifetime.filter(|_| !permanent).unwrap_or_default();
        let check = match (flags & IFA_F_DADFAILED != 0, flags & IFA_F_TENTATIVE != 0) {
            (true, _) => Check::Duplicate,
            (false, true) => Check::Running,
            (false, false) => Check::Passed,
        };
        let address = Self {
            ip,
            prefix: u8_at(body, 1)?,
            scope: u8_at(body, 3)?,
            protocol,
            lifetime,
            no_dad: flags & IFA_F_NODAD != 0,
            no_prefix_route: flags & IFA_F_NOPREFIXROUTE != 0,
            check,
        };
        Ok(Some((index, address)))
    }

    fn fixed(&self, link: u32) -> [u8; FIXED_BYTES] {
        let [a, b, c, d] = link.to_ne_bytes();
        [family(self.ip), self.prefix, 0, self.scope, a, b, c, d]
    }

    fn write(&self, request: &mut Request) {
        request.ip(IFA_LOCAL, self.ip);
        request.ip(IFA_ADDRESS, self.ip);
        let mut flags = 0;
        for (wanted, flag) in
            [(self.no_dad, IFA_F_NODAD), (self.no_prefix_route, IFA_F_NOPREFIXROUTE)]
        {
            flags |= if wanted { flag } else { 0 };
        }
        if flags != 0 {
            request.u32(IFA_FLAGS, flags);
        }
        if self.protocol != 0 {
            request.u8(IFA_PROTO, self.protocol);
        }
        if self.lifetime != Lifetime::default() {
            let mut value = [0; 16];
            let preferred = self.lifetime.preferred.unwrap_or(INFINITY_LIFE_TIME).to_ne_bytes();
            let valid = self.lifetime.valid.unwrap_or(INFINITY_LIFE_TIME).to_ne_bytes();
            for (to, from) in value.iter_mut().zip(preferred.into_iter().chain(valid)) {
                *to = from;
            }
            request.bytes(IFA_CACHEINFO, &value);
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.ip, self.prefix)
    }
}

fn finite(seconds: u32) -> Option<u32> {
    (seconds != INFINITY_LIFE_TIME).then_some(seconds)
}

pub(crate) fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { AF_INET } else { AF_INET6 }
}

impl Netlink {
    /// All addresses, each with the index of its link.
    pub fn addresses(&mut self) -> Result<Vec<(u32, Address)>, NetlinkError> {
        let mut fixed = [0; FIXED_BYTES];
        if let Some(family) = fixed.first_mut() {
            *family = AF_UNSPEC;
        }
        self.socket.list("list the addresses", RTM_GETADDR, &fixed, |message| match message.kind {
            RTM_NEWADDR => Address::read(message),
            _ => Ok(None),
        })
    }

    /// Gives a link an address; it is refused if it has it.
    pub fn add_address(&mut self, link: &LinkId, address: &Address) -> Result<(), NetlinkError> {
        self.put_address(link, address, NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Gives a link an address, or sets the lifetime of the one it has.
    pub fn replace_address(
        &mut self,
        link: &LinkId,
        address: &Address,
    ) -> Result<(), NetlinkError> {
        self.put_address(link, address, NLM_F_CREATE | NLM_F_REPLACE)
    }

    fn put_address(
        &mut self,
        link: &LinkId,
        address: &Address,
        flags: u16,
    ) -> Result<(), NetlinkError> {
        let tried = || format!("give {link} {address}");
        let fixed = address.fixed(link.index);
        self.socket.change(tried, RTM_NEWADDR, flags, &fixed, |request| address.write(request))
    }

    /// Takes an address from a link.
    pub fn delete_address(&mut self, link: &LinkId, address: &Address) -> Result<(), NetlinkError> {
        let tried = || format!("take {address} from {link}");
        let fixed = address.fixed(link.index);
        self.socket.change(tried, RTM_DELADDR, 0, &fixed, |request| {
            request.ip(IFA_LOCAL, address.ip);
            request.ip(IFA_ADDRESS, address.ip);
        })
    }
}
