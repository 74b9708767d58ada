//! Ids of network namespaces: numbers by which one namespace knows others, as `ip netns set` gives them.
//!
//! An id keeps nothing alive. It is gone with the namespace it stands for, and cannot be taken back before that.
//! Source: `include/uapi/linux/net_namespace.h`, `rtnl_net_newid` and `rtnl_net_getid` of `net/core/net_namespace.c`.

use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_core::{DecodeError, Parseable};
use netlink_packet_route::nsid::{NsidAttribute, NsidHeader, NsidMessage};
use netlink_packet_route::RouteNetlinkMessage;

use crate::error::RequestError;
use crate::link::attributes;

/// Bytes of the header (`struct rtgenmsg`, aligned).
const HEADER_LENGTH: usize = 4;

/// RTM_NEWNSID: give the namespace of a descriptor an id. EEXIST where it has one, or another namespace has that.
pub(crate) fn give(netns: impl AsFd, nsid: i32) -> Result<RouteNetlinkMessage, RequestError> {
    let fd = descriptor(netns);
    let id = NsidAttribute::Id(check(nsid)?);
    Ok(RouteNetlinkMessage::NewNsId(message(vec![fd, id])))
}

/// RTM_GETNSID of an id. ENOENT where no namespace has it that something still holds: also before the id itself is
/// gone (`maybe_get_net`).
pub(crate) fn look(nsid: i32) -> Result<RouteNetlinkMessage, RequestError> {
    let id = NsidAttribute::Id(check(nsid)?);
    Ok(RouteNetlinkMessage::GetNsId(message(vec![id])))
}

/// RTM_GETNSID of the namespace of a descriptor.
pub(crate) fn of(netns: impl AsFd) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetNsId(message(vec![descriptor(netns)]))
}

/// RTM_GETNSID of all.
pub(crate) fn dump() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetNsId(message(Vec::new()))
}

/// Decode the payload of an RTM_NEWNSID; None where the namespace has no id (NETNSA_NSID_NOT_ASSIGNED, -1).
pub(crate) fn decode(payload: &[u8]) -> Result<Option<i32>, DecodeError> {
    NsidHeader::parse(payload)?;
    for nla in attributes(payload.get(HEADER_LENGTH..).unwrap_or_default()) {
        if let Ok(NsidAttribute::Id(nsid)) = NsidAttribute::parse(&nla) {
            return Ok((nsid >= 0).then_some(nsid));
        }
    }
    Ok(None)
}

pub(crate) fn check(nsid: i32) -> Result<i32, RequestError> {
    if nsid < 0 {
        return Err(RequestError::Nsid(i64::from(nsid)));
    }
    Ok(nsid)
}

fn message(attributes: Vec<NsidAttribute>) -> NsidMessage {
    let mut message = NsidMessage::default();
    message.attributes = attributes;
    message
}

/// The kernel takes the number as unsigned; that of an open file is never negative.
fn descriptor(netns: impl AsFd) -> NsidAttribute {
    NsidAttribute::Fd(netns.as_fd().as_raw_fd().unsigned_abs())
}

#[cfg(test)]
mod tests;
