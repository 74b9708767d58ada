//! Links: what to ask of them, and how a dump shows them.

mod shown;

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use netlink_packet_core::DefaultNla;
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoVlan, IpVlanFlags, IpVlanMode, LinkAttribute,
    LinkExtentMask, LinkFlags, LinkHeader, LinkInfo, LinkMessage, MacVlanMode,
};
use netlink_packet_route::RouteNetlinkMessage;

use crate::error::RequestError;
use crate::nsid;

pub use shown::Link;
pub(crate) use shown::{attributes, text};

/// Bytes of a link name without its NUL.
const IFNAME_MAX: usize = libc::IFNAMSIZ - 1;
/// Bytes of an alternative name without its NUL (ALTIFNAMSIZ).
const ALTNAME_MAX: usize = 127;

const MACVLAN_MODES: [(&str, MacVlanMode); 4] = [
    ("bridge", MacVlanMode::Bridge),
    ("private", MacVlanMode::Private),
    ("vepa", MacVlanMode::Vepa),
    ("passthru", MacVlanMode::Passthrough),
];
const IPVLAN_MODES: [(&str, IpVlanMode); 3] = [
    ("l2", IpVlanMode::L2),
    ("l3", IpVlanMode::L3),
    ("l3s", IpVlanMode::L3S),
];
const IPVLAN_FLAGS: [(&str, IpVlanFlags); 3] = [
    ("bridge", IpVlanFlags::empty()),
    ("private", IpVlanFlags::Private),
    ("vepa", IpVlanFlags::Vepa),
];

/// What a word of `ip link` means to the kernel.
fn meaning<T: Copy>(
    word: &str,
    what: &'static str,
    known: &[(&'static str, T)],
) -> Result<T, RequestError> {
    let found = known.iter().find(|(known, _)| *known == word);
    found.map(|&(_, value)| value).ok_or_else(|| {
        let known: Vec<_> = known.iter().map(|&(known, _)| known).collect();
        RequestError::Mode {
            what,
            value: word.to_owned(),
            known: known.join(", "),
        }
    })
}

/// What kind of link, with what belongs to the kind alone.
#[derive(Debug, Clone, Copy)]
pub enum LinkKind<'a> {
    /// A macvlan on link `parent` of the socket's namespace.
    Macvlan {
        /// Index of the parent.
        parent: u32,
        /// Its mode: bridge, private, vepa or passthru.
        mode: &'a str,
        /// Numbers of 32 bits among its attributes (`IFLA_MACVLAN_…`), each with its value.
        attributes: &'a [(u16, u32)],
    },
    /// An ipvlan on link `parent` of the socket's namespace. Mode and flag belong to the parent's port: a second link with
    /// others changes the first.
    Ipvlan {
        /// Index of the parent.
        parent: u32,
        /// Its mode: l2, l3 or l3s.
        mode: &'a str,
        /// Its flag: bridge, private or vepa.
        flag: &'a str,
    },
    /// An 802.1Q link.
    Vlan {
        /// Index of the link it is a part of.
        parent: u32,
        /// VLAN id, 1 to 4094.
        vid: u16,
    },
    /// A link that leads nowhere.
    Dummy,
}

/// A link that is born complete: nothing of it is changed afterwards.
#[derive(Debug, Clone, Copy)]
pub struct NewLink<'a> {
    /// Name in the namespace it is born in.
    pub ifname: &'a str,
    /// Index in the namespace it is born in. With one the kernel asks for no other name than this.
    pub ifindex: u32,
    /// None: the kernel's choice. passthru and ipvlan ignore it and have the parent's.
    pub mac: Option<[u8; 6]>,
    /// None: the parent's.
    pub mtu: Option<u32>,
    /// Link group; 0 is that of every link without one.
    pub group: u32,
    /// Descriptor of the namespace it is born in; None: the socket's own. To be open when the batch is sent.
    pub netns: Option<&'a Arc<OwnedFd>>,
    /// Whether it is born UP.
    pub up: bool,
    /// The rest.
    pub kind: LinkKind<'a>,
}

impl NewLink<'_> {
    /// The RTM_NEWLINK message.
    pub(crate) fn message(&self) -> Result<RouteNetlinkMessage, RequestError> {
        let mut message = LinkMessage::default();
        message.header = header(check_ifindex(self.ifindex)?, self.up);
        let attributes = &mut message.attributes;
        attributes.reserve_exact(8);
        attributes.push(LinkAttribute::IfName(check_ifname(self.ifname)?.to_owned()));
        if let Some(mac) = self.mac {
            attributes.push(LinkAttribute::Address(mac.to_vec()));
        }
        if let Some(mtu) = self.mtu {
            attributes.push(LinkAttribute::Mtu(mtu));
        }
        if self.group != 0 {
            attributes.push(LinkAttribute::Group(self.group));
        }
        if let Some(netns) = self.netns {
            attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
        }
        self.push_kind(attributes)?;
        Ok(RouteNetlinkMessage::NewLink(message))
    }

    fn push_kind(&self, attributes: &mut Vec<LinkAttribute>) -> Result<(), RequestError> {
        let (parent, kind, data) = match self.kind {
            LinkKind::Macvlan {
                parent,
                mode,
                attributes,
            } => {
                let mode = InfoMacVlan::Mode(meaning(mode, "a macvlan mode", &MACVLAN_MODES)?);
                let data = std::iter::once(mode).chain(numbers(attributes));
                (
                    Some(parent),
                    InfoKind::MacVlan,
                    Some(InfoData::MacVlan(data.collect())),
                )
            }
            LinkKind::Ipvlan { parent, mode, flag } => {
                let mode = InfoIpVlan::Mode(meaning(mode, "an ipvlan mode", &IPVLAN_MODES)?);
                let flags = InfoIpVlan::Flags(meaning(flag, "an ipvlan flag", &IPVLAN_FLAGS)?);
                let data = InfoData::IpVlan(vec![mode, flags]);
                (Some(parent), InfoKind::IpVlan, Some(data))
            }
            LinkKind::Vlan { parent, vid } => {
                if !(1..=4094).contains(&vid) {
                    return Err(RequestError::Vid(i64::from(vid)));
                }
                let data = InfoData::Vlan(vec![InfoVlan::Id(vid)]);
                (Some(parent), InfoKind::Vlan, Some(data))
            }
            LinkKind::Dummy => (None, InfoKind::Dummy, None),
        };
        if let Some(parent) = parent {
            attributes.push(LinkAttribute::Link(check_ifindex(parent)?));
        }
        let mut info = vec![LinkInfo::Kind(kind)];
        info.extend(data.map(LinkInfo::Data));
        attributes.push(LinkAttribute::LinkInfo(info));
        Ok(())
    }
}

/// Attributes of a macvlan that are numbers of 32 bits.
fn numbers(attributes: &[(u16, u32)]) -> impl Iterator<Item = InfoMacVlan> + '_ {
    let nla = |&(number, value): &(u16, u32)| DefaultNla::new(number, value.to_ne_bytes().to_vec());
    attributes.iter().map(nla).map(InfoMacVlan::Other)
}

/// RTM_NEWLINK that changes attributes of a macvlan that is there.
pub(crate) fn change_macvlan(
    ifindex: u32,
    attributes: &[(u16, u32)],
) -> Result<RouteNetlinkMessage, RequestError> {
    let mut message = LinkMessage::default();
    message.header = header(check_ifindex(ifindex)?, false);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::MacVlan),
        LinkInfo::Data(InfoData::MacVlan(numbers(attributes).collect())),
    ]));
    Ok(RouteNetlinkMessage::NewLink(message))
}

/// A link header for link `index` that brings the link UP, or says nothing of its state.
fn header(index: u32, up: bool) -> LinkHeader {
    let flags = if up {
        LinkFlags::Up
    } else {
        LinkFlags::empty()
    };
    LinkHeader {
        index,
        flags,
        change_mask: flags,
        ..LinkHeader::default()
    }
}

/// RTM_SETLINK that brings a link UP, or says nothing of its state, and changes what the attribute says.
pub(crate) fn change(
    ifindex: u32,
    up: bool,
    attribute: Option<LinkAttribute>,
) -> Result<RouteNetlinkMessage, RequestError> {
    let mut message = LinkMessage::default();
    message.header = header(check_ifindex(ifindex)?, up);
    message.attributes.extend(attribute);
    Ok(RouteNetlinkMessage::SetLink(message))
}

/// RTM_DELLINK of one link, by index: an address by name has meant other links on some kernels.
pub(crate) fn delete(ifindex: u32, nsid: Option<i32>) -> Result<RouteNetlinkMessage, RequestError> {
    let mut message = LinkMessage::default();
    message.header = header(check_ifindex(ifindex)?, false);
    message.attributes.extend(within(nsid)?);
    Ok(RouteNetlinkMessage::DelLink(message))
}

/// RTM_DELLINK of all links of a group.
pub(crate) fn delete_group(
    group: u32,
    nsid: Option<i32>,
) -> Result<RouteNetlinkMessage, RequestError> {
    if group == 0 {
        return Err(RequestError::GroupZero);
    }
    let mut message = LinkMessage::default();
    message.attributes.extend(within(nsid)?);
    message.attributes.push(LinkAttribute::Group(group));
    Ok(RouteNetlinkMessage::DelLink(message))
}

/// IFLA_TARGET_NETNSID: the namespace that is meant, by its id; nothing for the socket's own.
fn within(nsid: Option<i32>) -> Result<Option<LinkAttribute>, RequestError> {
    nsid.map(|nsid| nsid::check(nsid).map(LinkAttribute::IfNetnsId))
        .transpose()
}

pub(crate) fn check_ifindex(ifindex: u32) -> Result<u32, RequestError> {
    match i32::try_from(ifindex) {
        Ok(1..) => Ok(ifindex),
        _ => Err(RequestError::Ifindex(i64::from(ifindex))),
    }
}

/// Refuses what `dev_valid_name` refuses, and `%`, which makes the name a pattern.
fn check_ifname(ifname: &str) -> Result<&str, RequestError> {
    let forbidden = |byte: u8| {
        matches!(byte, 0 | b'/' | b':' | b'%') || byte.is_ascii_whitespace() || byte == 0x0b
    };
    if ifname.is_empty()
        || ifname.len() > IFNAME_MAX
        || matches!(ifname, "." | "..")
        || ifname.bytes().any(forbidden)
    {
        return Err(RequestError::Ifname(ifname.to_owned()));
    }
    Ok(ifname)
}

/// How to name the one link to be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKey<'a> {
    /// By index.
    Index(u32),
    /// By name, or else by alternative name.
    Name(&'a str),
}

/// RTM_GETLINK of one link; None where no link can have that key.
pub(crate) fn get(key: LinkKey<'_>) -> Option<RouteNetlinkMessage> {
    let mut message = LinkMessage::default();
    message.attributes.push(without_statistics());
    match key {
        LinkKey::Index(index) => message.header.index = check_ifindex(index).ok()?,
        LinkKey::Name(name)
            if name.is_empty() || name.len() > ALTNAME_MAX || name.contains('\0') =>
        {
            return None
        }
        // The kernel finds alternative names up to this length by IFLA_IFNAME, too.
        LinkKey::Name(name) if name.len() <= IFNAME_MAX => {
            message
                .attributes
                .push(LinkAttribute::IfName(name.to_owned()));
        }
        LinkKey::Name(name) => {
            let mut value = name.as_bytes().to_vec();
            value.push(0);
            message
                .attributes
                .push(LinkAttribute::Other(DefaultNla::new(
                    libc::IFLA_ALT_IFNAME,
                    value,
                )));
        }
    }
    Some(RouteNetlinkMessage::GetLink(message))
}

/// RTM_GETLINK of all links of the socket's namespace, or of that with an id.
pub(crate) fn dump(nsid: Option<i32>) -> Result<RouteNetlinkMessage, RequestError> {
    let mut message = LinkMessage::default();
    message.attributes.push(without_statistics());
    message.attributes.extend(within(nsid)?);
    Ok(RouteNetlinkMessage::GetLink(message))
}

/// IPv6's counters are a part of each link's message that nobody here reads.
fn without_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

#[cfg(test)]
mod tests;
