//! Looking at what the kernel has: over netlink, and in `/sys` and `/proc` for the rest.

use std::fs;
use std::path::PathBuf;

use netlink::{Link, Netlink, NetlinkError};

use super::there::{ACCEPT_RA, INHERITED, Seen, Setting, Settings, There};
use super::wanted::Wanted;

/// Where things are. Tests have folders of their own.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// `/sys/class/net`: drivers and speeds.
    pub(crate) cards: PathBuf,
    /// `/proc/sys/net`: the settings of links.
    pub(crate) settings: PathBuf,
    /// A kind of made links that count as cards too. On a node none does: its pods' ends
    /// of cables are no cards. Tests have no other cards than such.
    pub(crate) kind_of_cards: Option<&'static str>,
}

impl Places {
    pub(crate) fn of_the_node() -> Self {
        Self {
            cards: "/sys/class/net".into(),
            settings: "/proc/sys/net".into(),
            kind_of_cards: None,
        }
    }

    /// The file of a link's setting; `default` and `all` are names of their own.
    pub(crate) fn setting(&self, link: &str, setting: Setting) -> PathBuf {
        self.settings.join(setting.family).join("conf").join(link).join(setting.key)
    }

    /// Everything that is there now.
    pub(crate) fn observe(
        &self,
        netlink: &mut Netlink,
        wanted: &Wanted,
    ) -> Result<There, NetlinkError> {
        let links = netlink.links()?.into_iter().map(|link| self.look_at(link, wanted)).collect();
        Ok(There {
            links,
            addresses: netlink.addresses()?,
            routes: netlink.routes()?,
            defaults: self.read_settings("default"),
        })
    }

    fn look_at(&self, link: Link, wanted: &Wanted) -> Seen {
        let card = link.mac.is_some()
            && !link.loopback
            && link.kind.as_deref().is_none_or(|kind| Some(kind) == self.kind_of_cards);
        let name = &link.id.name;
        let settings = match wanted.link(name) {
            Some(_) => self.read_settings(name),
            None => Settings::default(),
        };
        let folder = self.cards.join(name);
        let driver = fs::read_link(folder.join("device/driver")).ok().filter(|_| card);
        let driver = driver
            .and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
        // Drivers that don't know write -1, or refuse while there is no carrier.
        let speed = fs::read_to_string(folder.join("speed")).ok().filter(|_| link.carrier);
        let speed = speed.and_then(|text| text.trim().parse().ok()).filter(|speed| *speed > 0);
        Seen { link, card, driver, speed, settings }
    }

    fn read_settings(&self, link: &str) -> Settings {
        let read = |setting: &Setting| {
            let text = fs::read_to_string(self.setting(link, *setting)).ok()?;
            Some((*setting, text.trim().to_owned()))
        };
        INHERITED.iter().chain([&ACCEPT_RA]).filter_map(read).collect()
    }
}
