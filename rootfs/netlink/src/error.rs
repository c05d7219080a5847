//! What can go wrong between this crate and the kernel.

use rustix::io::Errno;
use thiserror::Error;

use crate::wire::Garbled;

/// Why something wasn't done. `tried` names the link, address or route, as in `give lan 10.0.0.1/24`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetlinkError {
    /// There is no way to talk to the kernel at all.
    #[error("no netlink socket: {0}")]
    Socket(Errno),
    /// The kernel said no.
    #[error("{tried}: {} ({errno})", meaning(*errno))]
    Refused { tried: String, errno: Errno },
    /// The kernel kept silent for [`crate::ANSWER_LIMIT`].
    #[error("{tried}: the kernel doesn't answer; try again")]
    NoAnswer { tried: String },
    /// The list changed while it was read, again and again.
    #[error("{tried}: what is there changes faster than it can be read; try again")]
    Unsteady { tried: String },
    #[error("{tried}: {source}")]
    Garbled { tried: String, source: Garbled },
    /// There is no such link.
    #[error("there is no link {name:?}")]
    NoSuchLink { name: String },
    /// The kernel was built without what cuts sockets.
    #[error(
        "{tried}: the kernel can't cut sockets; it needs CONFIG_INET_DIAG_DESTROY and the modules inet_diag and tcp_diag"
    )]
    CannotDestroy { tried: String },
}

impl NetlinkError {
    /// The kernel's answer, if it was one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } | Self::Socket(errno) => Some(*errno),
            _ => None,
        }
    }

    /// Whether what should be made was there already.
    pub fn is_there_already(&self) -> bool {
        self.errno() == Some(Errno::EXIST)
    }

    /// Whether what should be changed or removed isn't there any more: a link was unplugged, an
    /// address or route was removed by someone else.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::NoSuchLink { .. })
            || matches!(
                self.errno(),
                Some(Errno::NODEV | Errno::NXIO | Errno::ADDRNOTAVAIL | Errno::SRCH | Errno::NOENT)
            )
    }
}

/// What an errno means when netlink gives it, and what helps.
fn meaning(errno: Errno) -> &'static str {
    match errno {
        Errno::PERM | Errno::ACCESS => "needs CAP_NET_ADMIN in this network namespace",
        Errno::NODEV | Errno::NXIO => "the link is gone",
        Errno::EXIST => "is there already",
        Errno::BUSY => "the link is up or in use; set it down or free it first",
        Errno::OPNOTSUPP => "the kernel or the driver can't; is its module loaded?",
        Errno::NETUNREACH => "the gateway is in the network of no link that is up",
        Errno::HOSTUNREACH => "the gateway can't be reached through this link",
        Errno::NETDOWN => "the link is down; set it up first",
        Errno::ADDRNOTAVAIL => "the address isn't there",
        Errno::SRCH => "the route isn't there",
        Errno::INVAL => "the kernel takes no such value, or not in the link's present state",
        Errno::RANGE => "a value is out of range; a link's name has at most 15 bytes",
        Errno::NOBUFS | Errno::NOMEM => "the kernel is short of memory",
        Errno::AFNOSUPPORT => "the kernel has this address family switched off",
        _ => "the kernel refuses",
    }
}
