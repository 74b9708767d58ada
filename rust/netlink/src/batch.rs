//! Requests, encoded one behind the other into one buffer, to be sent some hundred at a time.

use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use netlink_packet_core::{
    Emitable, NetlinkBuffer, NetlinkHeader, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST,
};
use netlink_packet_route::link::LinkAttribute;
use netlink_packet_route::RouteNetlinkMessage;
use rustix::io::Errno;

use crate::error::{Error, Operation, RequestError};
use crate::link::NewLink;
use crate::route::NewRoute;
use crate::{addr, link, nsid};

/// Requests per send: enough to make the system call's own cost vanish, few enough that the kernel's lock is let go
/// of every 20 to 80 ms and that the replies to a send in which everything fails fit the receive buffer.
pub const REQUESTS_PER_SEND: usize = 256;

/// Netlink messages begin at multiples of this (NLMSG_ALIGNTO).
const ALIGNMENT: usize = 4;
/// Bytes of `struct nlmsghdr`.
pub(crate) const HEADER_LENGTH: usize = 16;
/// Flags of a message that makes something, and is refused where there is one already.
const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// The position of a request that was added.
type Added = Result<usize, RequestError>;

/// Encoded requests, known by their positions: 0 for the first.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    buffer: Vec<u8>,
    /// Where each request ends.
    ends: Vec<usize>,
    /// What the requests name by number. Not kept open by the batch: that would keep a namespace alive.
    descriptors: Vec<Weak<OwnedFd>>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requests in the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Keep open what the requests name by number, while they are sent.
    ///
    /// # Errors
    /// EBADF: one of them was closed, and its number may mean another by now.
    pub(crate) fn hold(&self) -> Result<Vec<Arc<OwnedFd>>, Error> {
        let held: Option<Vec<_>> = self.descriptors.iter().map(Weak::upgrade).collect();
        held.ok_or_else(|| Error::system(Operation::SendBatch, Errno::BADF))
    }

    /// What was encoded, with its flags but for NLM_F_REQUEST and NLM_F_ACK.
    fn push(&mut self, message: &RouteNetlinkMessage, flags: u16) -> usize {
        append(&mut self.buffer, message, NLM_F_REQUEST | flags, 0);
        self.ends.push(self.buffer.len());
        self.ends.len() - 1
    }

    fn name(&mut self, descriptor: &Arc<OwnedFd>) {
        // Of many links in one namespace, once.
        if !matches!(self.descriptors.last(), Some(last) if std::ptr::eq(last.as_ptr(), Arc::as_ptr(descriptor)))
        {
            self.descriptors.push(Arc::downgrade(descriptor));
        }
    }

    /// Positions of the requests that go into one send each: at most `REQUESTS_PER_SEND` and `limit` bytes, and one
    /// request at least.
    pub(crate) fn sends(&self, limit: usize) -> impl Iterator<Item = Range<usize>> + '_ {
        let mut first = 0;
        std::iter::from_fn(move || {
            if first == self.len() {
                return None;
            }
            let begin = self.begin(first);
            let most = self.len().min(first + REQUESTS_PER_SEND);
            let fitting = self.ends[first..most].partition_point(|&end| end - begin <= limit);
            let range = first..first + fitting.max(1);
            first = range.end;
            Some(range)
        })
    }

    /// Fill `buffer` with the requests at `positions`, numbered upwards from `sequence`, the last to be acknowledged.
    pub(crate) fn copy(&self, positions: Range<usize>, sequence: u32, buffer: &mut Vec<u8>) {
        let begin = self.begin(positions.start);
        let end = self.begin(positions.end);
        buffer.clear();
        buffer.extend_from_slice(&self.buffer[begin..end]);
        let last = positions.end.saturating_sub(1);
        for (position, number) in positions.zip(0..) {
            let mut message = NetlinkBuffer::new(&mut buffer[self.begin(position) - begin..]);
            message.set_sequence_number(sequence.wrapping_add(number));
            if position == last {
                message.set_flags(message.flags() | NLM_F_ACK);
            }
        }
    }

    fn begin(&self, position: usize) -> usize {
        position
            .checked_sub(1)
            .map_or(0, |before| self.ends[before])
    }
}

/// What is asked of the kernel. Each request is encoded at once, in less than 1 µs; its position is returned.
///
/// `nsid` is the id of the namespace that is meant; None: the socket's own. EINVAL where nothing holds that any more.
///
/// # Errors
/// The request cannot be encoded; the batch is as it was.
impl Batch {
    /// Change numbers of 32 bits among the attributes of a macvlan (`IFLA_MACVLAN_…`).
    pub fn change_macvlan(&mut self, ifindex: u32, attributes: &[(u16, u32)]) -> Added {
        let message = link::change_macvlan(ifindex, attributes)?;
        Ok(self.push(&message, 0))
    }

    /// Make a link. EEXIST where its name or index is taken.
    pub fn add_link(&mut self, new: &NewLink<'_>) -> Added {
        let message = new.message()?;
        if let Some(netns) = new.netns {
            self.name(netns);
        }
        Ok(self.push(&message, NEW))
    }

    /// Bring a link UP.
    pub fn set_up(&mut self, ifindex: u32) -> Added {
        Ok(self.push(&link::change(ifindex, true, None)?, 0))
    }

    /// Give a link another MTU. EINVAL where that is more than the link, or the one below it, can have.
    pub fn set_mtu(&mut self, ifindex: u32, mtu: u32) -> Added {
        let mtu = LinkAttribute::Mtu(mtu);
        Ok(self.push(&link::change(ifindex, false, Some(mtu))?, 0))
    }

    /// Put a link into a link group; 0 is none in particular.
    pub fn set_group(&mut self, ifindex: u32, group: u32) -> Added {
        let group = LinkAttribute::Group(group);
        Ok(self.push(&link::change(ifindex, false, Some(group))?, 0))
    }

    /// Delete a link. Costs a wait for all processors (some 20 ms), whatever the number of links in the request.
    pub fn delete_link(&mut self, ifindex: u32, nsid: Option<i32>) -> Added {
        Ok(self.push(&link::delete(ifindex, nsid)?, 0))
    }

    /// Delete all links of a group, which is not 0, for the price of one.
    pub fn delete_group(&mut self, group: u32, nsid: Option<i32>) -> Added {
        Ok(self.push(&link::delete_group(group, nsid)?, 0))
    }

    /// Give a namespace, open when the batch is sent, an id. EEXIST where it has one, or another namespace has that.
    pub fn give_id(&mut self, netns: &Arc<OwnedFd>, nsid: i32) -> Added {
        let message = nsid::give(netns, nsid)?;
        self.name(netns);
        Ok(self.push(&message, 0))
    }

    /// Look whether something holds the namespace with an id. ENOENT where nothing does.
    pub fn look_for_id(&mut self, nsid: i32) -> Added {
        Ok(self.push(&nsid::look(nsid)?, 0))
    }

    /// Give a link an address, with its connected route; `usual`: with a broadcast address in IPv4, and with detection
    /// of duplicates in IPv6.
    pub fn add_address(
        &mut self,
        ifindex: u32,
        address: IpAddr,
        prefix_length: u8,
        usual: bool,
    ) -> Added {
        Ok(self.push(&addr::add(ifindex, address, prefix_length, usual)?, NEW))
    }

    /// Make a route, or replace it. EEXIST where there is one with the same destination and metric.
    pub fn add_route(&mut self, new: &NewRoute) -> Added {
        Ok(self.push(&new.message()?, new.flags()))
    }

    /// Delete a route that `add_route` made. ESRCH where it is not there.
    pub fn delete_route(&mut self, made: &NewRoute) -> Added {
        Ok(self.push(&made.removal()?, 0))
    }
}

/// Append one message with its header, aligned.
pub(crate) fn append(
    buffer: &mut Vec<u8>,
    message: &RouteNetlinkMessage,
    flags: u16,
    sequence: u32,
) {
    let begin = buffer.len();
    let length = HEADER_LENGTH + message.buffer_len();
    buffer.resize(begin + length.next_multiple_of(ALIGNMENT), 0);
    let mut header = NetlinkHeader::default();
    // A message is some hundred bytes: names, addresses and numbers, none of unbounded length.
    header.length = u32::try_from(length).unwrap_or(u32::MAX);
    header.message_type = message.message_type();
    header.flags = flags;
    header.sequence_number = sequence;
    header.emit(&mut buffer[begin..]);
    message.emit(&mut buffer[begin + HEADER_LENGTH..begin + length]);
}

#[cfg(test)]
mod tests;
