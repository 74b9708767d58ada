//! One rtnetlink socket: batches sent, outcomes and dumps read.
//!
//! The kernel does all requests of a send before `send` returns, and has queued all replies by then. So replies are
//! read without waiting: what is not there then will never come.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{self, sockopt, RecvFlags, SendFlags};

use crate::batch::{append, Batch};
use crate::error::{Error, Operation};
use crate::link::{Link, LinkKey};
use crate::reply::{Answers, Progress, Refusal, Refusals, Replies};
use crate::route::Route;
use crate::{addr, link, nsid, route};

/// Asked of SO_SNDBUFFORCE. A send of 256 requests is some 40 KiB.
const SEND_BUFFER: usize = 1 << 20;
/// Asked of SO_RCVBUFFORCE. 256 refusals, charged at about 1 KiB each; dumps come 32 KiB at a time.
const RECEIVE_BUFFER: usize = 4 << 20;
/// What the kernel takes off a send buffer for itself.
const SEND_OVERHEAD: usize = 32;
/// A reply to one request of a batch: header, code, the request's header, and the kernel's words (at most 80 bytes).
const REPLY_LENGTH: usize = 4 << 10;
/// The kernel makes the parts of a dump no longer than 32 KiB, unless a single entry is.
const DUMP_LENGTH: usize = 64 << 10;
/// How often an interrupted dump is begun again. Each attempt takes as long as the last one, so this is a bound in time.
const DUMP_ATTEMPTS: u32 = 64;

/// What came out of one non-blocking receive.
enum Received {
    /// A whole datagram, now in the buffer.
    Datagram,
    /// A datagram of that many bytes, of which the buffer holds only the first.
    Truncated(usize),
    /// The kernel dropped replies.
    Overrun,
    /// There is nothing (more).
    Empty,
}

/// What one dump gave.
struct Dump<T> {
    items: Vec<T>,
    /// Datagrams it came in: between them, the list may have changed.
    parts: usize,
}

/// What was found; nothing where an error number says that there is none.
fn or_none<T>(found: Result<Dump<T>, Error>, errnos: &[i32]) -> Result<Dump<T>, Error> {
    match found {
        Err(Error::System { errno, .. }) if errnos.contains(&errno) => Ok(Dump {
            items: Vec::new(),
            parts: 0,
        }),
        other => other,
    }
}

fn decode_link(payload: &[u8]) -> Result<Option<Link>, DecodeError> {
    Link::decode(payload).map(Some)
}

/// An rtnetlink socket, in the network namespace it was opened in as long as it is open.
#[derive(Debug)]
pub struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
    send_limit: usize,
    cookie: u64,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl Socket {
    /// Open a socket in the calling thread's network namespace. About 5 µs.
    ///
    /// # Errors
    /// A system call failed; ENOPROTOOPT of reading the cookie before Linux 5.14.
    pub fn open() -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::io(Operation::OpenSocket, &error);
        let inner = netlink_sys::Socket::new(NETLINK_ROUTE).map_err(failed)?;
        // A connected socket takes messages from the kernel alone.
        inner
            .connect(&netlink_sys::SocketAddr::new(0, 0))
            .map_err(failed)?;
        inner.set_ext_ack(true).map_err(failed)?;
        inner.set_cap_ack(true).map_err(failed)?;
        inner.set_netlink_get_strict_chk(true).map_err(failed)?;
        let fd = inner.as_fd();
        // Without CAP_NET_ADMIN the plain options give what the host's limits allow, and that serves too.
        if sockopt::set_socket_send_buffer_size_force(fd, SEND_BUFFER).is_err() {
            let _ = sockopt::set_socket_send_buffer_size(fd, SEND_BUFFER);
        }
        if sockopt::set_socket_recv_buffer_size_force(fd, RECEIVE_BUFFER).is_err() {
            let _ = sockopt::set_socket_recv_buffer_size(fd, RECEIVE_BUFFER);
        }
        let room = sockopt::socket_send_buffer_size(fd)
            .map_err(|errno| Error::system(Operation::OpenSocket, errno))?;
        let cookie = read_cookie(fd)?;
        Ok(Self {
            inner,
            sequence: 1,
            send_limit: room.saturating_sub(SEND_OVERHEAD),
            cookie,
        })
    }

    /// SO_NETNS_COOKIE of its namespace: unique for the life of the boot.
    #[must_use]
    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    /// Send all requests of a batch; what was not done, by position.
    ///
    /// # Errors
    /// The first send failed, or a namespace that is named was closed: nothing was done. A later one that fails refuses its requests and those after it.
    pub fn send(&mut self, batch: &Batch) -> Result<Refusals, Error> {
        let _held = batch.hold()?;
        let mut refusals = Refusals::new();
        let mut buffer = Vec::new();
        let mut datagram = Vec::with_capacity(REPLY_LENGTH);
        for positions in batch.sends(self.send_limit) {
            let sequence = self.take_sequences(positions.len());
            batch.copy(positions.clone(), sequence, &mut buffer);
            match net::send(&self.inner, &buffer, SendFlags::empty()) {
                Ok(_) => {}
                Err(errno) if positions.start == 0 => {
                    return Err(Error::system(Operation::SendBatch, errno))
                }
                Err(errno) => {
                    let refusal = Refusal::Refused {
                        errno: errno.raw_os_error(),
                        text: None,
                    };
                    refusals.extend(
                        (positions.start..batch.len()).map(|position| (position, refusal.clone())),
                    );
                    break;
                }
            }
            let mut replies = Replies::new(sequence, positions.len());
            while !replies.finished() {
                match self.receive(&mut datagram) {
                    // The kernel's words come last, so a reply that is cut short has lost nothing but those.
                    Ok(Received::Datagram | Received::Truncated(_)) => replies.read(&datagram),
                    Ok(Received::Overrun) => replies.lose(),
                    Ok(Received::Empty) => break,
                    Err(_) => {
                        replies.lose();
                        break;
                    }
                }
            }
            refusals.append(&mut replies.into_refusals(positions.start));
        }
        Ok(refusals)
    }
}

/// What is asked of the namespace.
///
/// # Errors
/// The look-up failed, or its list was interrupted by changes too often.
impl Socket {
    /// Look up one link; None if there is none.
    pub fn link(&mut self, key: LinkKey<'_>) -> Result<Option<Link>, Error> {
        let Some(request) = link::get(key) else {
            return Ok(None);
        };
        let found = self.ask(Operation::ReadLink, &request, NLM_F_ACK, decode_link);
        Ok(or_none(found, &[libc::ENODEV])?.items.pop())
    }

    /// All links of the namespace, by index; or of the one that it knows by an id, none where nothing holds that any
    /// more.
    pub fn links(&mut self, nsid: Option<i32>) -> Result<Vec<Link>, Error> {
        let Ok(request) = link::dump(nsid) else {
            return Ok(Vec::new());
        };
        let found = self.ask(Operation::ReadLinks, &request, NLM_F_DUMP, decode_link);
        let found = match nsid {
            Some(_) => or_none(found, &[libc::EINVAL, libc::ENOENT]),
            None => found,
        };
        let mut links = found?.items;
        links.sort_unstable_by_key(|link| link.ifindex);
        Ok(links)
    }

    /// The ids by which the namespace knows others.
    pub fn nsids(&mut self) -> Result<Vec<i32>, Error> {
        Ok(self
            .ask(Operation::ReadIds, &nsid::dump(), NLM_F_DUMP, nsid::decode)?
            .items)
    }

    /// The id by which the namespace knows another; None where it has none. Linear in the ids that it has given.
    pub fn nsid_of(&mut self, netns: &OwnedFd) -> Result<Option<i32>, Error> {
        let request = nsid::of(netns);
        let mut found = self.ask(Operation::ReadIds, &request, NLM_F_ACK, nsid::decode)?;
        Ok(found.items.pop())
    }

    /// A link's addresses and prefix lengths, in the kernel's order; none where there is no such link.
    pub fn addresses(&mut self, ifindex: u32) -> Result<Vec<(IpAddr, u8)>, Error> {
        if link::check_ifindex(ifindex).is_err() {
            return Ok(Vec::new());
        }
        let request = addr::dump(ifindex);
        let found = self.ask(Operation::ReadAddresses, &request, NLM_F_DUMP, addr::decode);
        let all = or_none(found, &[libc::ENODEV])?.items.into_iter();
        // Some kernels show those of other links, too.
        Ok(all
            .filter(|one| one.ifindex == ifindex)
            .map(|one| (one.address, one.prefix_length))
            .collect())
    }

    /// Whether duplicates are being looked for of an address that a link has.
    pub fn is_tentative(&mut self, ifindex: u32, address: IpAddr) -> Result<bool, Error> {
        let request = addr::dump(ifindex);
        let found = self.ask(Operation::ReadAddresses, &request, NLM_F_DUMP, addr::decode);
        let all = or_none(found, &[libc::ENODEV])?.items;
        Ok(all
            .iter()
            .any(|one| one.ifindex == ifindex && one.address == address && one.tentative))
    }

    /// The addresses of all links of the namespace, each with the index of its link, in the kernel's order.
    pub fn all_addresses(&mut self) -> Result<Vec<(u32, IpAddr)>, Error> {
        let request = addr::dump(0);
        let found = self.ask(Operation::ReadAddresses, &request, NLM_F_DUMP, addr::decode)?;
        Ok(found
            .items
            .into_iter()
            .map(|one| (one.ifindex, one.address))
            .collect())
    }

    /// The routes of the main table, IPv4 first, in the kernel's order; each next hop of a route with several.
    pub fn routes(&mut self, default_only: bool) -> Result<Vec<Route>, Error> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let request = route::dump(family);
            let found = self.ask(Operation::ReadRoutes, &request, NLM_F_DUMP, |payload| {
                route::decode(payload, family, default_only).map(Some)
            });
            // A table comes into being with its first route; a kernel without IPv6 has none of it.
            let none = [libc::ENOENT, libc::EAFNOSUPPORT, libc::EOPNOTSUPP];
            routes.extend(or_none(found, &none)?.items.into_iter().flatten());
        }
        Ok(routes)
    }

    /// The unicast MACs in a link's own filter list: those of all macvlans that are up on it, in any namespace, dying
    /// ones included.
    ///
    /// The kernel makes the list in parts and finds its place again by counting, so that removals in between make it
    /// skip what comes after. Hence a list of several parts is read until two readings agree; failing that, what any
    /// of them showed is given: a MAC that is left out is gone.
    pub fn filter_macs(&mut self, ifindex: u32) -> Result<BTreeSet<[u8; 6]>, Error> {
        const READINGS: usize = 8;
        if link::check_ifindex(ifindex).is_err() {
            return Ok(BTreeSet::new());
        }
        let request = addr::dump_filter(ifindex);
        let mut before = None;
        let mut seen = BTreeSet::new();
        for _ in 0..READINGS {
            let found = self.ask(Operation::ReadFilter, &request, NLM_F_DUMP, |payload| {
                addr::decode_filter(payload, ifindex)
            });
            let found = or_none(found, &[libc::ENODEV])?;
            let macs: BTreeSet<[u8; 6]> = found.items.into_iter().collect();
            if found.parts <= 1 || before.as_ref() == Some(&macs) {
                return Ok(macs);
            }
            seen.extend(macs.iter().copied());
            before = Some(macs);
        }
        Ok(seen)
    }

    /// Ask for something, again where the answer was interrupted by a change or longer than the buffer.
    fn ask<T>(
        &mut self,
        operation: Operation,
        request: &RouteNetlinkMessage,
        flags: u16,
        decode: impl Fn(&[u8]) -> Result<Option<T>, DecodeError>,
    ) -> Result<Dump<T>, Error> {
        let mut buffer = Vec::new();
        let mut datagram = Vec::with_capacity(DUMP_LENGTH);
        for _ in 0..DUMP_ATTEMPTS {
            let sequence = self.take_sequences(1);
            buffer.clear();
            append(&mut buffer, request, NLM_F_REQUEST | flags, sequence);
            if let Err(errno) = net::send(&self.inner, &buffer, SendFlags::empty()) {
                return Err(Error::system(operation, errno));
            }
            let mut answers = Answers::new(sequence);
            let mut items = Vec::new();
            let mut malformed = false;
            let mut longest = 0;
            // To its end in any case: a socket with a dump under way refuses the next one.
            let progress = loop {
                match self.receive(&mut datagram) {
                    Ok(Received::Datagram) => {}
                    Ok(Received::Truncated(length)) => longest = longest.max(length),
                    Ok(Received::Overrun) => malformed = true,
                    Ok(Received::Empty) => break Progress::More,
                    Err(errno) => return Err(Error::system(operation, errno)),
                }
                let progress = answers.read(&datagram, |payload| match decode(payload) {
                    Ok(item) => items.extend(item),
                    Err(_) => malformed = true,
                });
                if progress != Progress::More {
                    break progress;
                }
            };
            match progress {
                Progress::Failed { errno, text } => {
                    return Err(Error::refused(operation, errno, text))
                }
                _ if longest > datagram.capacity() => datagram.reserve(longest),
                Progress::Done if answers.interrupted && !malformed => {}
                Progress::Done if !malformed => {
                    return Ok(Dump {
                        items,
                        parts: answers.parts,
                    })
                }
                _ => {
                    let text = "the reply is incomplete".to_owned();
                    return Err(Error::refused(operation, libc::EPROTO, Some(text)));
                }
            }
        }
        let text = format!("interrupted {DUMP_ATTEMPTS} times by changes");
        Err(Error::refused(operation, libc::EINTR, Some(text)))
    }

    /// Receive one datagram into `buffer`, without waiting.
    fn receive(&self, buffer: &mut Vec<u8>) -> Result<Received, Errno> {
        loop {
            buffer.clear();
            match net::recv(
                &self.inner,
                spare_capacity(buffer),
                RecvFlags::DONTWAIT | RecvFlags::TRUNC,
            ) {
                Ok((_, length)) if length > buffer.len() => return Ok(Received::Truncated(length)),
                Ok(_) => return Ok(Received::Datagram),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => return Ok(Received::Overrun),
                Err(Errno::AGAIN) => return Ok(Received::Empty),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Numbers for `count` requests, the first of them returned.
    fn take_sequences(&mut self, count: usize) -> u32 {
        let first = self.sequence;
        self.sequence = first.wrapping_add(u32::try_from(count).unwrap_or(u32::MAX));
        first
    }
}

/// SO_NETNS_COOKIE of the namespace of a socket.
#[allow(unsafe_code)]
fn read_cookie(socket: BorrowedFd<'_>) -> Result<u64, Error> {
    let mut cookie = 0_u64;
    let mut length: libc::socklen_t = 8;
    // SAFETY: the option writes at most `length` bytes, and `cookie` has that many; rustix does not offer it.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            std::ptr::from_mut(&mut cookie).cast(),
            &mut length,
        )
    };
    if status == 0 {
        Ok(cookie)
    } else {
        Err(Error::io(
            Operation::ReadCookie,
            &std::io::Error::last_os_error(),
        ))
    }
}
