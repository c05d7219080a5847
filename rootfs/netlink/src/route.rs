//! Routes of the main table.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Netlink;
use crate::address::family;
use crate::error::NetlinkError;
use crate::number::{
    AF_INET, AF_INET6, NLM_F_CREATE, NLM_F_REPLACE, RT_SCOPE_LINK, RT_SCOPE_NOWHERE,
    RT_SCOPE_UNIVERSE, RT_TABLE_MAIN, RTA_DST, RTA_GATEWAY, RTA_OIF, RTA_PREFSRC, RTA_PRIORITY,
    RTA_TABLE, RTM_DELROUTE, RTM_F_CLONED, RTM_GETROUTE, RTM_NEWROUTE, RTN_UNICAST,
};
use crate::wire::{Attributes, Garbled, Message, Request, garbled, u8_at, u32_at};

/// `struct rtmsg`: family, lengths, table, owner, scope, kind, flags.
const FIXED_BYTES: usize = 12;

/// The owner of routes that the kernel made itself, for a link's networks (`RTPROT_KERNEL`).
pub const PROTOCOL_KERNEL: u8 = 2;
/// The owner of routes that an administrator wrote (`RTPROT_STATIC`).
pub const PROTOCOL_STATIC: u8 = 4;

/// A way to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// The network; with prefix 0 it is the default route of its family.
    pub to: IpAddr,
    pub prefix: u8,
    pub via: Option<IpAddr>,
    /// Index of the link; the kernel finds it from the gateway if absent.
    pub link: Option<u32>,
    /// Of two routes the lower one wins. The kernel makes 1024 of IPv6's 0.
    pub metric: u32,
    /// The address that connections through this route come from.
    pub source: Option<IpAddr>,
    /// Who made it: `PROTOCOL_*`, or a number of the owner's choice.
    pub protocol: u8,
}

impl Route {
    /// A route to a network, with everything else open.
    pub fn new(to: IpAddr, prefix: u8) -> Self {
        let protocol = PROTOCOL_STATIC;
        Self { to, prefix, via: None, link: None, metric: 0, source: None, protocol }
    }

    /// The way to everything that no other route names.
    pub fn default_via(via: IpAddr) -> Self {
        let to = unspecified(via.is_ipv4());
        Self { via: Some(via), ..Self::new(to, 0) }
    }

    /// Reads a message about a route; none if it isn't a plain one of the main table.
    pub(crate) fn read(message: Message<'_>) -> Result<Option<Self>, Garbled> {
        let body = message.body;
        let family = u8_at(body, 0)?;
        let kind = u8_at(body, 7)?;
        let copied = u32_at(body, 8)? & RTM_F_CLONED != 0;
        if (family != AF_INET && family != AF_INET6) || kind != RTN_UNICAST || copied {
            return Ok(None);
        }
        let mut table = u32::from(u8_at(body, 4)?);
        let mut route = Self::new(unspecified(family == AF_INET), u8_at(body, 1)?);
        route.protocol = u8_at(body, 5)?;
        for attribute in Attributes::after(body, FIXED_BYTES) {
            let attribute = attribute?;
            match attribute.kind {
                RTA_DST => route.to = attribute.ip()?,
                RTA_GATEWAY => route.via = Some(attribute.ip()?),
                RTA_OIF => route.link = Some(attribute.u32()?),
                RTA_PRIORITY => route.metric = attribute.u32()?,
                RTA_PREFSRC => route.source = Some(attribute.ip()?),
                RTA_TABLE => table = attribute.u32()?,
                _ => {}
            }
        }
        if route.to.is_ipv4() != (family == AF_INET) {
            return Err(garbled("a route of another family than its message"));
        }
        Ok((table == u32::from(RT_TABLE_MAIN)).then_some(route))
    }

    fn fixed(&self, scope: u8) -> [u8; FIXED_BYTES] {
        let family = family(self.to);
        let kind = RTN_UNICAST;
        [family, self.prefix, 0, 0, RT_TABLE_MAIN, self.protocol, scope, kind, 0, 0, 0, 0]
    }

    fn write(&self, request: &mut Request) {
        if self.prefix > 0 {
            request.ip(RTA_DST, self.to);
        }
        if let Some(via) = self.via {
            request.ip(RTA_GATEWAY, via);
        }
        if let Some(link) = self.link {
            request.u32(RTA_OIF, link);
        }
        if self.metric > 0 {
            request.u32(RTA_PRIORITY, self.metric);
        }
        if let Some(source) = self.source {
            request.ip(RTA_PREFSRC, source);
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix {
            0 if self.to.is_ipv4() => formatter.write_str("default")?,
            0 => formatter.write_str("default of IPv6")?,
            _ => write!(formatter, "{}/{}", self.to, self.prefix)?,
        }
        if let Some(via) = self.via {
            write!(formatter, " via {via}")?;
        }
        if self.metric > 0 {
            write!(formatter, " metric {}", self.metric)?;
        }
        Ok(())
    }
}

fn unspecified(four: bool) -> IpAddr {
    if four { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

impl Netlink {
    /// All plain routes of the main table. Of one with several gateways none is told.
    pub fn routes(&mut self) -> Result<Vec<Route>, NetlinkError> {
        let fixed = [0; FIXED_BYTES];
        self.socket.list("list the routes", RTM_GETROUTE, &fixed, |message| match message.kind {
            RTM_NEWROUTE => Route::read(message),
            _ => Ok(None),
        })
    }

    /// Makes a route, in the place of one to the same network with the same metric.
    pub fn replace_route(&mut self, route: &Route) -> Result<(), NetlinkError> {
        let tried = || format!("make the route {route}");
        let scope = if route.via.is_none() && route.to.is_ipv4() {
            RT_SCOPE_LINK
        } else {
            RT_SCOPE_UNIVERSE
        };
        let (flags, fixed) = (NLM_F_CREATE | NLM_F_REPLACE, route.fixed(scope));
        self.socket.change(tried, RTM_NEWROUTE, flags, &fixed, |request| route.write(request))
    }

    /// Removes a route.
    pub fn delete_route(&mut self, route: &Route) -> Result<(), NetlinkError> {
        let tried = || format!("remove the route {route}");
        // For IPv4 "nowhere" stands for any scope.
        let scope = if route.to.is_ipv4() { RT_SCOPE_NOWHERE } else { RT_SCOPE_UNIVERSE };
        let fixed = route.fixed(scope);
        self.socket.change(tried, RTM_DELROUTE, 0, &fixed, |request| route.write(request))
    }
}
