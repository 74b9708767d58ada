//! What client and worker say to each other: a kind, a length, and fields that end with a zero byte.
//!
//! `python/macvfast/serve/messages.py` has the same.

use std::ffi::{CString, OsStr};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;
use rustix::net::{
    recvmsg, send, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// The protocol's number: client and worker have the same.
pub const PROTOCOL: &str = "1";

/// From the client: its command line; a plugin's call; go on; the program could not be started (errno); it has ended (wait
/// status).
pub const HELLO: u8 = b'H';
pub const CALL: u8 = b'C';
pub const GO: u8 = b'G';
pub const FAILED: u8 = b'F';
pub const ENDED: u8 = b'X';
/// From the worker: it listens; it waits for GO; the command has ended (exit status); become a program; start a program.
pub const LISTENS: u8 = b'L';
pub const READY: u8 = b'R';
pub const STATUS: u8 = b'E';
pub const BECOME: u8 = b'B';
pub const START: u8 = b'S';

/// The most descriptors with one message.
const MOST_FDS: usize = 8;

/// The longest message: the kernel takes no longer command line (execve(2), 6 MiB at the most).
const LONGEST: usize = 8 << 20;

const HEADER: usize = 5;

/// One message, as it was received.
pub struct Message {
    pub kind: u8,
    pub body: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

impl Message {
    /// The fields of the body, each as the kernel takes strings.
    pub fn fields(&self) -> Vec<CString> {
        self.body
            .split_inclusive(|&byte| byte == 0)
            .filter_map(|field| CString::from_vec_with_nul(field.to_vec()).ok())
            .collect()
    }
}

/// Puts fields together.
pub fn body<'a>(fields: impl IntoIterator<Item = &'a OsStr>) -> Vec<u8> {
    let mut body = Vec::new();
    for field in fields {
        body.extend_from_slice(field.as_bytes());
        body.push(0);
    }
    body
}

/// Sends a message with descriptors.
pub fn send_message(
    socket: BorrowedFd<'_>,
    kind: u8,
    body: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let length = u32::try_from(body.len()).map_err(|_| Errno::MSGSIZE)?;
    let mut whole = Vec::with_capacity(HEADER + body.len());
    whole.push(kind);
    whole.extend_from_slice(&length.to_le_bytes());
    whole.extend_from_slice(body);
    send_whole(socket, &whole, fds)
}

/// Sends bytes, the first of them with descriptors.
pub fn send_whole(
    socket: BorrowedFd<'_>,
    whole: &[u8],
    fds: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::MSGSIZE);
    }
    let mut sent = sendmsg(
        socket,
        &[IoSlice::new(whole)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    while let Some(rest) = whole.get(sent..).filter(|rest| !rest.is_empty()) {
        sent += send(socket, rest, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives the next message; None where the other side has gone.
pub fn receive(socket: impl AsFd) -> Result<Option<Message>, Errno> {
    let mut fds = Vec::new();
    let Some(header) = exactly(socket.as_fd(), HEADER, &mut fds)? else {
        return Ok(None);
    };
    let (kind, length) = match header.as_slice() {
        [kind, length @ ..] => (*kind, length.first_chunk().copied().map(u32::from_le_bytes)),
        [] => return Ok(None),
    };
    let length = length.map_or(0, |length| length as usize);
    if length > LONGEST {
        return Err(Errno::MSGSIZE);
    }
    let body = exactly(socket.as_fd(), length, &mut fds)?;
    Ok(body.map(|body| Message { kind, body, fds }))
}

/// Receives so many bytes, and the descriptors that come with them; None where the other side has gone.
pub fn exactly(
    socket: BorrowedFd<'_>,
    length: usize,
    fds: &mut Vec<OwnedFd>,
) -> Result<Option<Vec<u8>>, Errno> {
    let mut whole = vec![0; length];
    let mut have = 0;
    while let Some(rest) = whole.get_mut(have..).filter(|rest| !rest.is_empty()) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FDS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(
            socket,
            &mut [IoSliceMut::new(rest)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        );
        let received = match received {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                fds.extend(received);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        have += received.bytes;
    }
    Ok(Some(whole))
}
