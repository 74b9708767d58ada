//! Links as a dump shows them.

use netlink_packet_core::{DecodeError, NlaBuffer, NlasIterator, Parseable, ParseableParametrized};
use netlink_packet_route::link::{
    InfoIpVlan, InfoMacVlan, InfoVlan, LinkAttribute, LinkFlags, LinkHeader, Prop,
};

/// Bytes of a link header (`struct ifinfomsg`).
const HEADER_LENGTH: usize = 16;

/// One link, as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Index in its namespace.
    pub ifindex: u32,
    /// Name; bytes that are no UTF-8 are replaced.
    pub ifname: String,
    /// Alternative names.
    pub altnames: Vec<String>,
    /// IFLA_INFO_KIND: "macvlan", "vlan", …; None for a physical link.
    pub kind: Option<String>,
    /// IFLA_INFO_SLAVE_KIND: what the link is a port of.
    pub port_kind: Option<String>,
    /// Index of the bridge or bond it is a port of.
    pub controller: Option<u32>,
    /// Hardware address; empty where it has none.
    pub mac: Vec<u8>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Whether it is `lo`.
    pub loopback: bool,
    /// Link group.
    pub group: u32,
    /// IFLA_LINK: the link it stands on (of a veth: the other end), in `parent_netnsid`'s namespace.
    pub parent: Option<u32>,
    /// IFLA_LINK_NETNSID: set where the parent lives in another namespace.
    pub parent_netnsid: Option<i32>,
    /// Mode of a macvlan or ipvlan, in the words of `ip`.
    pub mode: Option<String>,
    /// VLAN id.
    pub vid: Option<u16>,
    /// Numbers of 32 bits among the attributes of a macvlan (`IFLA_MACVLAN_…`), each with its value; without the mode.
    pub attributes: Vec<(u16, u32)>,
}

impl Link {
    /// Decode the payload of an RTM_NEWLINK. An attribute that does not parse is left out: a dump does not fail
    /// because of one that this code does not need.
    ///
    /// # Errors
    /// The payload is shorter than a link header.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let header = LinkHeader::parse(payload)?;
        let mut link = Self {
            ifindex: header.index,
            up: header.flags.contains(LinkFlags::Up),
            loopback: header.flags.contains(LinkFlags::Loopback),
            ..Self::default()
        };
        for nla in attributes(payload.get(HEADER_LENGTH..).unwrap_or_default()) {
            match nla.kind() {
                libc::IFLA_IFNAME => link.ifname = text(nla.value()),
                libc::IFLA_LINKINFO => link.read_info(nla.value()),
                libc::IFLA_PROP_LIST => link.read_names(nla.value()),
                libc::IFLA_ADDRESS
                | libc::IFLA_MTU
                | libc::IFLA_LINK
                | libc::IFLA_MASTER
                | libc::IFLA_GROUP
                | libc::IFLA_LINK_NETNSID => {
                    if let Ok(attribute) =
                        LinkAttribute::parse_with_param(&nla, header.interface_family)
                    {
                        link.read(attribute);
                    }
                }
                _ => {}
            }
        }
        Ok(link)
    }

    fn read(&mut self, attribute: LinkAttribute) {
        match attribute {
            LinkAttribute::Address(mac) => self.mac = mac,
            LinkAttribute::Mtu(mtu) => self.mtu = mtu,
            // Tunnels on no link in particular say 0.
            LinkAttribute::Link(parent) => self.parent = (parent != 0).then_some(parent),
            LinkAttribute::Controller(controller) => self.controller = Some(controller),
            LinkAttribute::Group(group) => self.group = group,
            LinkAttribute::LinkNetNsId(nsid) => self.parent_netnsid = Some(nsid),
            _ => {}
        }
    }

    fn read_names(&mut self, list: &[u8]) {
        self.altnames
            .extend(attributes(list).filter_map(|nla| match Prop::parse(&nla) {
                Ok(Prop::AltIfName(name)) => Some(name),
                _ => None,
            }));
    }

    fn read_info(&mut self, info: &[u8]) {
        for nla in attributes(info) {
            match nla.kind() {
                libc::IFLA_INFO_KIND => self.kind = Some(text(nla.value())),
                libc::IFLA_INFO_SLAVE_KIND => self.port_kind = Some(text(nla.value())),
                libc::IFLA_INFO_DATA => self.read_data(nla.value()),
                _ => {}
            }
        }
    }

    /// The kind comes before its data in every message of the kernel.
    fn read_data(&mut self, data: &[u8]) {
        for nla in attributes(data) {
            match self.kind.as_deref() {
                Some("macvlan" | "macvtap") => {
                    if let Ok(InfoMacVlan::Mode(mode)) = InfoMacVlan::parse(&nla) {
                        self.mode = Some(mode.to_string());
                    } else if let Ok(value) = nla.value().try_into() {
                        self.attributes
                            .push((nla.kind(), u32::from_ne_bytes(value)));
                    }
                }
                Some("ipvlan" | "ipvtap") => {
                    if let Ok(InfoIpVlan::Mode(mode)) = InfoIpVlan::parse(&nla) {
                        self.mode = Some(mode.to_string());
                    }
                }
                Some("vlan") => {
                    if let Ok(InfoVlan::Id(vid)) = InfoVlan::parse(&nla) {
                        self.vid = Some(vid);
                    }
                }
                _ => return,
            }
        }
    }
}

/// The attributes of a buffer, up to the first that is cut short.
pub(crate) fn attributes(buffer: &[u8]) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(buffer).map_while(Result::ok)
}

/// A text attribute, without its NUL.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(value.len());
    String::from_utf8_lossy(value.get(..end).unwrap_or_default()).into_owned()
}
