//! Routes of the main table.

use std::net::IpAddr;

use netlink_packet_core::{DecodeError, ParseableParametrized};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteLwEnCapType, RouteMessage,
    RouteProtocol, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::error::RequestError;
use crate::link::{attributes, check_ifindex};

/// Bytes of a route header (`struct rtmsg`).
const HEADER_LENGTH: usize = 12;

/// An address family of the Internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl From<Family> for AddressFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => Self::Inet,
            Family::V6 => Self::Inet6,
        }
    }
}

/// One default route, or one next hop of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultRoute {
    /// Its family.
    pub family: Family,
    /// The link it leaves by.
    pub ifindex: Option<u32>,
    /// The gateway; of the other family where IPv4 goes by way of IPv6. None: the link itself.
    pub gateway: Option<IpAddr>,
    /// Whether a router advertised it (protocol ra): then it comes and goes with the advertisements.
    pub advertised: bool,
}

/// RTM_NEWROUTE of the default route, as `ip route add default` makes it (protocol boot).
pub(crate) fn add_default(
    ifindex: u32,
    family: Family,
    gateway: Option<IpAddr>,
) -> Result<RouteNetlinkMessage, RequestError> {
    let mut message = RouteMessage::default();
    message.header.address_family = family.into();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message
        .attributes
        .push(RouteAttribute::Oif(check_ifindex(ifindex)?));
    message.header.kind = RouteType::Unicast;
    // An IPv4 route to the link itself reaches what is on the link, no further.
    message.header.scope = if gateway.is_some() {
        RouteScope::Universe
    } else {
        RouteScope::Link
    };
    match (family, gateway) {
        (_, None) => {}
        (Family::V4, Some(IpAddr::V4(_))) | (Family::V6, Some(IpAddr::V6(_))) => {
            message
                .attributes
                .extend(gateway.map(|ip| RouteAttribute::Gateway(RouteAddress::from(ip))));
        }
        _ => return Err(RequestError::GatewayFamily),
    }
    Ok(RouteNetlinkMessage::NewRoute(message))
}

/// RTM_GETROUTE of one family's main table.
pub(crate) fn dump(family: Family) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family.into();
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    RouteNetlinkMessage::GetRoute(message)
}

/// Decode the payload of an RTM_NEWROUTE into the next hops of a default route; none where it is another route.
///
/// # Errors
/// The payload is shorter than a route header.
pub fn decode(payload: &[u8], family: Family) -> Result<Vec<DefaultRoute>, DecodeError> {
    let header = RouteHeader::parse(payload)?;
    let wanted = header.address_family == AddressFamily::from(family)
        && header.destination_prefix_length == 0
        && header.kind == RouteType::Unicast
        && !header.flags.contains(RouteFlags::Cloned);
    if !wanted {
        return Ok(Vec::new());
    }
    let mut table = u32::from(header.table);
    let mut found = Vec::new();
    for nla in attributes(payload.get(HEADER_LENGTH..).unwrap_or_default()) {
        let needed = matches!(
            nla.kind(),
            libc::RTA_OIF
                | libc::RTA_GATEWAY
                | libc::RTA_VIA
                | libc::RTA_TABLE
                | libc::RTA_MULTIPATH
        );
        if needed {
            let parameters = (header.address_family, header.kind, RouteLwEnCapType::None);
            found.extend(RouteAttribute::parse_with_param(&nla, parameters).ok());
        }
    }
    let mut hops = Vec::new();
    let advertised = header.protocol == RouteProtocol::Ra;
    let first = next_hop(family, None, &found);
    for attribute in &found {
        match attribute {
            RouteAttribute::Table(id) => table = *id,
            RouteAttribute::MultiPath(list) => {
                hops.extend(
                    list.iter()
                        .map(|hop| next_hop(family, Some(hop.interface_index), &hop.attributes)),
                );
            }
            _ => {}
        }
    }
    if table != u32::from(RouteHeader::RT_TABLE_MAIN) {
        return Ok(Vec::new());
    }
    if hops.is_empty() {
        hops.push(first);
    }
    for hop in &mut hops {
        hop.advertised = advertised;
    }
    Ok(hops)
}

/// Decode the payload of an RTM_NEWROUTE into the prefix that the route leads to, or keeps from anywhere; None where it is
/// the default route, or of another table.
///
/// # Errors
/// The payload is shorter than a route header.
pub fn decode_destination(
    payload: &[u8],
    family: Family,
) -> Result<Option<(IpAddr, u8)>, DecodeError> {
    let header = RouteHeader::parse(payload)?;
    let mut table = u32::from(header.table);
    let mut destination = None;
    for nla in attributes(payload.get(HEADER_LENGTH..).unwrap_or_default()) {
        if !matches!(nla.kind(), libc::RTA_DST | libc::RTA_TABLE) {
            continue;
        }
        let parameters = (header.address_family, header.kind, RouteLwEnCapType::None);
        match RouteAttribute::parse_with_param(&nla, parameters) {
            Ok(RouteAttribute::Destination(RouteAddress::Inet(ip))) => {
                destination = Some(IpAddr::V4(ip));
            }
            Ok(RouteAttribute::Destination(RouteAddress::Inet6(ip))) => {
                destination = Some(IpAddr::V6(ip));
            }
            Ok(RouteAttribute::Table(id)) => table = id,
            _ => {}
        }
    }
    let wanted = header.address_family == AddressFamily::from(family)
        && table == u32::from(RouteHeader::RT_TABLE_MAIN)
        && !header.flags.contains(RouteFlags::Cloned);
    let length = header.destination_prefix_length;
    Ok(destination
        .filter(|_| wanted && length > 0)
        .map(|ip| (ip, length)))
}

fn next_hop(family: Family, ifindex: Option<u32>, attributes: &[RouteAttribute]) -> DefaultRoute {
    let mut route = DefaultRoute {
        family,
        ifindex,
        gateway: None,
        advertised: false,
    };
    for attribute in attributes {
        match attribute {
            RouteAttribute::Oif(index) => route.ifindex = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(ip))
            | RouteAttribute::Via(RouteVia::Inet(ip)) => {
                route.gateway = Some(IpAddr::V4(*ip));
            }
            RouteAttribute::Gateway(RouteAddress::Inet6(ip))
            | RouteAttribute::Via(RouteVia::Inet6(ip)) => {
                route.gateway = Some(IpAddr::V6(*ip));
            }
            _ => {}
        }
    }
    route
}
