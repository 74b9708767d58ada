//! Requests, encoded one behind the other into one buffer, to be sent some hundred at a time.

use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use netlink_packet_core::{
    Emitable, NetlinkBuffer, NetlinkHeader, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST,
};
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

/// One thing to ask of the kernel.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// Make a link. EEXIST where its name or index is taken.
    AddLink(NewLink<'a>),
    /// Bring a link UP.
    SetUp {
        /// The link.
        ifindex: u32,
    },
    /// Give a link another MTU. EINVAL where that is more than the link, or the one below it, can have.
    SetMtu {
        /// The link.
        ifindex: u32,
        /// In bytes.
        mtu: u32,
    },
    /// Put a link into a link group.
    SetGroup {
        /// The link.
        ifindex: u32,
        /// The group; 0 is none in particular.
        group: u32,
    },
    /// Delete a link. Costs a wait for all processors (some 20 ms), whatever the number of links in the request.
    DeleteLink {
        /// The link.
        ifindex: u32,
        /// The id of its namespace; None: the socket's own. EINVAL where nothing holds that any more.
        nsid: Option<i32>,
    },
    /// Delete all links of a group, for the price of one.
    DeleteGroup {
        /// The group, not 0.
        group: u32,
        /// The id of its namespace; None: the socket's own. EINVAL where nothing holds that any more.
        nsid: Option<i32>,
    },
    /// Give a namespace an id. EEXIST where it has one, or another namespace has that.
    GiveId {
        /// The namespace. To be open when the batch is sent.
        netns: &'a Arc<OwnedFd>,
        /// The id.
        nsid: i32,
    },
    /// Look whether something holds the namespace with an id. ENOENT where nothing does.
    LookForId {
        /// The id.
        nsid: i32,
    },
    /// Give a link an address, with its connected route.
    AddAddress {
        /// The link.
        ifindex: u32,
        /// The address.
        address: IpAddr,
        /// Length of its subnet's prefix.
        prefix_length: u8,
    },
    /// Make a route. EEXIST where there is one with the same destination and metric.
    AddRoute(NewRoute),
}

impl<'a> Request<'a> {
    /// The descriptor that the message names.
    fn descriptor(&self) -> Option<&'a Arc<OwnedFd>> {
        match *self {
            Request::AddLink(ref new) => new.netns,
            Request::GiveId { netns, .. } => Some(netns),
            _ => None,
        }
    }

    /// The message, and its flags but for NLM_F_REQUEST and NLM_F_ACK.
    fn encode(&self) -> Result<(RouteNetlinkMessage, u16), RequestError> {
        const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;
        Ok(match *self {
            Request::AddLink(ref new) => (new.message()?, NEW),
            Request::SetUp { ifindex } => (link::set_up(ifindex)?, 0),
            Request::SetMtu { ifindex, mtu } => (link::set_mtu(ifindex, mtu)?, 0),
            Request::SetGroup { ifindex, group } => (link::set_group(ifindex, group)?, 0),
            Request::DeleteLink { ifindex, nsid } => (link::delete(ifindex, nsid)?, 0),
            Request::DeleteGroup { group, nsid } => (link::delete_group(group, nsid)?, 0),
            Request::GiveId { netns, nsid } => (nsid::give(netns, nsid)?, 0),
            Request::LookForId { nsid } => (nsid::look(nsid)?, 0),
            Request::AddAddress {
                ifindex,
                address,
                prefix_length,
            } => (addr::add(ifindex, address, prefix_length)?, NEW),
            Request::AddRoute(ref new) => {
                let flags = if new.exclusive() { NEW } else { NLM_F_CREATE };
                (new.message()?, flags)
            }
        })
    }
}

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

    /// Encode a request and return its position. Less than 1 µs.
    ///
    /// # Errors
    /// The request cannot be encoded; the batch is as it was.
    pub fn push(&mut self, request: &Request<'_>) -> Result<usize, RequestError> {
        let (message, flags) = request.encode()?;
        append(&mut self.buffer, &message, NLM_F_REQUEST | flags, 0);
        if let Some(one) = request.descriptor() {
            // Of many links in one namespace, once.
            if !matches!(self.descriptors.last(), Some(last) if std::ptr::eq(last.as_ptr(), Arc::as_ptr(one)))
            {
                self.descriptors.push(Arc::downgrade(one));
            }
        }
        self.ends.push(self.buffer.len());
        Ok(self.ends.len() - 1)
    }

    /// Keep open what the requests name by number, while they are sent.
    ///
    /// # Errors
    /// EBADF: one of them was closed, and its number may mean another by now.
    pub(crate) fn hold(&self) -> Result<Vec<Arc<OwnedFd>>, Error> {
        let held: Option<Vec<_>> = self.descriptors.iter().map(Weak::upgrade).collect();
        held.ok_or_else(|| Error::system(Operation::SendBatch, Errno::BADF))
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
        for (position, number) in positions.zip(Sequences(sequence)) {
            let mut message = NetlinkBuffer::new(&mut buffer[self.begin(position) - begin..]);
            message.set_sequence_number(number);
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

/// Sequence numbers from the given one upwards, beginning again at 0 after the last.
struct Sequences(u32);

impl Iterator for Sequences {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let number = self.0;
        self.0 = number.wrapping_add(1);
        Some(number)
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
