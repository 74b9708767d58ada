//! Addresses of links, and the hardware addresses in a link's filter.

use std::net::IpAddr;

use netlink_packet_core::{DecodeError, Parseable, ParseableParametrized};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeader, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::neighbour::{
    NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::RequestError;
use crate::link::{attributes, check_ifindex};

/// Bytes of an address header (`struct ifaddrmsg`).
const ADDRESS_HEADER_LENGTH: usize = 8;
/// Bytes of a neighbour header (`struct ndmsg`).
const NEIGHBOUR_HEADER_LENGTH: usize = 12;

/// Give the length of an address's prefix back if it is no longer than the address.
pub(crate) fn check_prefix_length(address: &IpAddr, length: u8) -> Result<u8, RequestError> {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    if length > bits {
        return Err(RequestError::PrefixLength {
            length: i64::from(length),
            bits,
        });
    }
    Ok(length)
}

/// The family of an address.
pub(crate) fn family_of(address: &IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// RTM_NEWADDR of scope global: without a broadcast address, and in IPv6 without detection of duplicates; `usual`: with
/// both, as other programs do it.
pub(crate) fn add(
    ifindex: u32,
    address: IpAddr,
    prefix_length: u8,
    usual: bool,
) -> Result<RouteNetlinkMessage, RequestError> {
    let prefix_length = check_prefix_length(&address, prefix_length)?;
    let mut message = AddressMessage::default();
    message.header = AddressHeader {
        family: family_of(&address),
        prefix_len: prefix_length,
        flags: AddressHeaderFlags::empty(),
        scope: AddressScope::Universe,
        index: check_ifindex(ifindex)?,
    };
    // The address itself is IFA_LOCAL; IFA_ADDRESS would be another only on a point-to-point link.
    message.attributes = vec![
        AddressAttribute::Local(address),
        AddressAttribute::Address(address),
    ];
    match address {
        // A subnet of two addresses, or of one, has none (RFC 3021).
        IpAddr::V4(address) if usual && prefix_length < 31 => {
            let last = u32::from(address) | (u32::MAX >> prefix_length);
            message
                .attributes
                .push(AddressAttribute::Broadcast(last.into()));
        }
        IpAddr::V6(_) if !usual => message
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Nodad)),
        _ => {}
    }
    Ok(RouteNetlinkMessage::NewAddress(message))
}

/// RTM_GETADDR of one link's addresses, or of all links' (0), of both families.
pub(crate) fn dump(ifindex: u32) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.index = ifindex;
    RouteNetlinkMessage::GetAddress(message)
}

/// An address that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The link that has it.
    pub ifindex: u32,
    pub address: IpAddr,
    pub prefix_length: u8,
    /// Whether duplicates of it are being looked for: no packet leaves from it yet.
    pub tentative: bool,
}

/// Decode the payload of an RTM_NEWADDR.
pub(crate) fn decode(payload: &[u8]) -> Result<Option<Shown>, DecodeError> {
    let header = AddressHeader::parse(payload)?;
    let (mut local, mut address) = (None, None);
    for nla in attributes(payload.get(ADDRESS_HEADER_LENGTH..).unwrap_or_default()) {
        if !matches!(nla.kind(), libc::IFA_LOCAL | libc::IFA_ADDRESS) {
            continue;
        }
        match AddressAttribute::parse(&nla) {
            Ok(AddressAttribute::Local(ip)) => local = Some(ip),
            Ok(AddressAttribute::Address(ip)) => address = Some(ip),
            _ => {}
        }
    }
    let flags = header.flags;
    Ok(local.or(address).map(|address| Shown {
        ifindex: header.index,
        address,
        prefix_length: header.prefix_len,
        tentative: flags.contains(AddressHeaderFlags::Tentative)
            && !flags.contains(AddressHeaderFlags::Dadfailed),
    }))
}

/// RTM_GETNEIGH of a link's own filter list, as `bridge fdb show dev LINK` asks for it.
pub(crate) fn dump_filter(ifindex: u32) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = ifindex;
    RouteNetlinkMessage::GetNeighbour(message)
}

/// Decode the payload of an RTM_NEWNEIGH: the MAC, where it is a unicast one of the link's own list. A bridge shows
/// what it has learned from its ports in the same dump.
pub(crate) fn decode_filter(payload: &[u8], ifindex: u32) -> Result<Option<[u8; 6]>, DecodeError> {
    let header = NeighbourHeader::parse(payload)?;
    if header.ifindex != ifindex || !header.flags.contains(NeighbourFlags::Own) {
        return Ok(None);
    }
    for nla in attributes(payload.get(NEIGHBOUR_HEADER_LENGTH..).unwrap_or_default()) {
        if nla.kind() != libc::NDA_LLADDR {
            continue;
        }
        if let Ok(NeighbourAttribute::LinkLayerAddress(mac)) =
            NeighbourAttribute::parse_with_param(&nla, header.family)
        {
            return Ok(<[u8; 6]>::try_from(mac).ok().filter(|mac| mac[0] & 1 == 0));
        }
    }
    Ok(None)
}
