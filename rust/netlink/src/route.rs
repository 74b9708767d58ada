//! Routes: those of any table are made, those of the main table are read.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{
    DecodeError, ParseableParametrized, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteLwEnCapType, RouteMessage,
    RouteMetric, RouteProtocol, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::addr::{check_prefix_length, family_of};
use crate::error::RequestError;
use crate::link::{attributes, check_ifindex};

/// Bytes of a route header (`struct rtmsg`).
const HEADER_LENGTH: usize = 12;

/// What is asked for of a route.
#[derive(Debug, Clone, Copy)]
pub struct NewRoute {
    /// The link it leaves by.
    pub ifindex: u32,
    /// Where it leads.
    pub destination: IpAddr,
    /// Length of the destination's prefix; 0: the default route.
    pub prefix_length: u8,
    /// The gateway, of the destination's family. None: the link itself.
    pub gateway: Option<IpAddr>,
    /// None: the kernel's own, 0 in IPv4 and 1024 in IPv6.
    pub metric: Option<u32>,
    /// The path MTU in bytes; None: the link's.
    pub mtu: Option<u32>,
    /// The segment size that TCP offers, in bytes; None: what fits the MTU.
    pub advmss: Option<u32>,
    /// None: the main table.
    pub table: Option<u32>,
    /// None: in IPv4, what is on the link for a route to the link itself, else everything.
    pub scope: Option<u8>,
    /// Whether it takes the place of the one with the same destination and metric, which must be there.
    pub replaces: bool,
    /// Whether it goes before one with the same destination and metric (IPv4), or beside it (IPv6).
    pub beside: bool,
}

impl NewRoute {
    /// RTM_NEWROUTE, as `ip route add` makes it (protocol boot).
    pub(crate) fn message(&self) -> Result<RouteNetlinkMessage, RequestError> {
        Ok(RouteNetlinkMessage::NewRoute(self.described()?))
    }

    /// RTM_DELROUTE of the route that `message` made. Its protocol keeps those that a router advertised out of it.
    pub(crate) fn removal(&self) -> Result<RouteNetlinkMessage, RequestError> {
        Ok(RouteNetlinkMessage::DelRoute(self.described()?))
    }

    fn described(&self) -> Result<RouteMessage, RequestError> {
        let mut message = RouteMessage::default();
        message.header.address_family = family_of(&self.destination);
        message.header.destination_prefix_length = self.prefix_length;
        let table = self.table.unwrap_or(RouteHeader::RT_TABLE_MAIN.into());
        // What does not fit is in the attribute alone.
        message.header.table = u8::try_from(table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
        message.header.protocol = RouteProtocol::Boot;
        message.header.kind = RouteType::Unicast;
        // An IPv4 route to the link itself reaches what is on the link, no further.
        message.header.scope = match (self.scope, self.gateway) {
            (Some(scope), _) => scope.into(),
            (None, Some(_)) => RouteScope::Universe,
            (None, None) => RouteScope::Link,
        };
        let attributes = &mut message.attributes;
        attributes.push(RouteAttribute::Oif(check_ifindex(self.ifindex)?));
        if let Some(gateway) = self.gateway {
            if gateway.is_ipv4() != self.destination.is_ipv4() {
                return Err(RequestError::GatewayFamily);
            }
            attributes.push(RouteAttribute::Gateway(RouteAddress::from(gateway)));
        }
        if check_prefix_length(&self.destination, self.prefix_length)? > 0 {
            attributes.push(RouteAttribute::Destination(RouteAddress::from(
                self.destination,
            )));
        }
        attributes.extend(self.metric.map(RouteAttribute::Priority));
        attributes.extend(self.table.map(RouteAttribute::Table));
        let limits: Vec<RouteMetric> = [
            self.mtu.map(RouteMetric::Mtu),
            self.advmss.map(RouteMetric::Advmss),
        ]
        .into_iter()
        .flatten()
        .collect();
        if !limits.is_empty() {
            attributes.push(RouteAttribute::Metrics(limits));
        }
        Ok(message)
    }

    /// The flags of its message: unless it may stand beside others, it is refused where there is one with the same
    /// destination and metric. A router may have advertised an IPv6 default route meanwhile, with the same metric: that
    /// is no clash.
    pub(crate) fn flags(&self) -> u16 {
        let advertised = self.destination.is_ipv6() && self.prefix_length == 0;
        if self.replaces {
            NLM_F_REPLACE
        } else if self.beside || advertised {
            NLM_F_CREATE
        } else {
            NLM_F_CREATE | NLM_F_EXCL
        }
    }
}

/// One route of the main table that is there, or one next hop of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub destination: IpAddr,
    /// Length of the destination's prefix; 0: the default route.
    pub prefix_length: u8,
    /// Its metric.
    pub metric: u32,
    /// The link it leaves by.
    pub ifindex: Option<u32>,
    /// The gateway; of the other family where IPv4 goes by way of IPv6. None: the link itself.
    pub gateway: Option<IpAddr>,
    /// Whether a router advertised it (protocol ra): then it comes and goes with the advertisements.
    pub advertised: bool,
    /// The path MTU in bytes; None: the link's.
    pub mtu: Option<u32>,
    /// The segment size that TCP offers, in bytes; None: what fits the MTU.
    pub advmss: Option<u32>,
}

/// RTM_GETROUTE of one family's main table.
pub(crate) fn dump(family: AddressFamily) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    RouteNetlinkMessage::GetRoute(message)
}

/// Decode the payload of an RTM_NEWROUTE into the next hops of a route of the main table. None where it is of another
/// table or family, or for packets with one TOS only: it stands beside one for all packets. A default route that leads
/// nowhere (`blackhole` and the like) is left out; with `default_only`, all others are.
pub(crate) fn decode(
    payload: &[u8],
    family: AddressFamily,
    default_only: bool,
) -> Result<Vec<Route>, DecodeError> {
    let header = RouteHeader::parse(payload)?;
    let is_default = header.destination_prefix_length == 0;
    let wanted = header.address_family == family
        && header.tos == 0
        && (is_default && header.kind == RouteType::Unicast || !is_default && !default_only)
        && !header.flags.contains(RouteFlags::Cloned);
    if !wanted {
        return Ok(Vec::new());
    }
    let mut route = Route {
        destination: match family {
            AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        },
        prefix_length: header.destination_prefix_length,
        metric: 0,
        ifindex: None,
        gateway: None,
        advertised: header.protocol == RouteProtocol::Ra,
        mtu: None,
        advmss: None,
    };
    let mut table = u32::from(header.table);
    let mut hops = Vec::new();
    for nla in attributes(payload.get(HEADER_LENGTH..).unwrap_or_default()) {
        let needed = matches!(
            nla.kind(),
            libc::RTA_DST
                | libc::RTA_PRIORITY
                | libc::RTA_OIF
                | libc::RTA_GATEWAY
                | libc::RTA_VIA
                | libc::RTA_TABLE
                | libc::RTA_METRICS
                | libc::RTA_MULTIPATH
        );
        if !needed {
            continue;
        }
        let parameters = (header.address_family, header.kind, RouteLwEnCapType::None);
        match RouteAttribute::parse_with_param(&nla, parameters) {
            Ok(RouteAttribute::Table(id)) => table = id,
            Ok(RouteAttribute::Priority(metric)) => route.metric = metric,
            Ok(RouteAttribute::Destination(address)) => {
                route.destination = ip_of(&address).unwrap_or(route.destination);
            }
            Ok(RouteAttribute::MultiPath(list)) => hops.extend(list),
            Ok(RouteAttribute::Metrics(limits)) => limits.iter().for_each(|one| match one {
                RouteMetric::Mtu(mtu) => route.mtu = Some(*mtu),
                RouteMetric::Advmss(advmss) => route.advmss = Some(*advmss),
                _ => {}
            }),
            Ok(attribute) => route.leave_by(&attribute),
            Err(_) => {}
        }
    }
    if table != u32::from(RouteHeader::RT_TABLE_MAIN) {
        return Ok(Vec::new());
    }
    if hops.is_empty() {
        return Ok(vec![route]);
    }
    let each = hops.iter().map(|hop| {
        let mut one = route.clone();
        one.ifindex = Some(hop.interface_index);
        hop.attributes
            .iter()
            .for_each(|attribute| one.leave_by(attribute));
        one
    });
    Ok(each.collect())
}

impl Route {
    /// Note the link or gateway that an attribute says.
    fn leave_by(&mut self, attribute: &RouteAttribute) {
        match attribute {
            RouteAttribute::Oif(index) => self.ifindex = Some(*index),
            RouteAttribute::Gateway(address) => self.gateway = ip_of(address).or(self.gateway),
            RouteAttribute::Via(RouteVia::Inet(ip)) => self.gateway = Some((*ip).into()),
            RouteAttribute::Via(RouteVia::Inet6(ip)) => self.gateway = Some((*ip).into()),
            _ => {}
        }
    }
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}
