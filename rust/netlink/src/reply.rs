//! Replies: one outcome per request of a send, and the messages of a dump. No socket here: bytes in, values out.

use std::collections::BTreeMap;

use netlink_packet_core::{
    ErrorBuffer, NetlinkBuffer, NLMSG_DONE, NLMSG_ERROR, NLM_F_ACK_TLVS, NLM_F_CAPPED,
    NLM_F_DUMP_INTR,
};

use crate::batch::HEADER_LENGTH;
use crate::link::{attributes, text};

/// Attribute of an error that holds the kernel's own words (NLMSGERR_ATTR_MSG of `linux/netlink.h`).
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Bytes of the error code before what follows it.
const CODE_LENGTH: usize = 4;

/// Why one request has not succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The kernel refused it.
    Refused {
        /// The error number, positive.
        errno: i32,
        /// The kernel's own words, where it gave any.
        text: Option<String>,
    },
    /// No outcome was seen: the reply was lost (ENOBUFS), or there was none (EINTR, which the kernel does not report).
    Unknown,
}

/// What was not done, by position in the batch.
pub type Refusals = BTreeMap<usize, Refusal>;

/// One message of a datagram.
struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl Message<'_> {
    /// The code of an NLMSG_ERROR or NLMSG_DONE (0: success) and the kernel's words.
    fn verdict(&self) -> (i32, Option<String>) {
        let Ok(error) = ErrorBuffer::new_checked(self.payload) else {
            return (0, None);
        };
        let errno = error.code().map_or(0, |code| code.get().saturating_neg());
        (errno, self.words())
    }

    fn words(&self) -> Option<String> {
        if self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        // An error repeats the header of the request, and all of it where NETLINK_CAP_ACK is not in force. The end of
        // a dump repeats nothing.
        let repeated = match self.kind {
            NLMSG_ERROR if self.flags & NLM_F_CAPPED != 0 => HEADER_LENGTH,
            NLMSG_ERROR => {
                let request = NetlinkBuffer::new_checked(self.payload.get(CODE_LENGTH..)?).ok()?;
                usize::try_from(request.length())
                    .ok()?
                    .checked_next_multiple_of(4)?
            }
            _ => 0,
        };
        let list = self.payload.get(CODE_LENGTH.checked_add(repeated)?..)?;
        attributes(list)
            .find(|nla| nla.kind() == NLMSGERR_ATTR_MSG)
            .map(|nla| text(nla.value()))
    }
}

/// The messages of a datagram, up to the first that is cut short.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let buffer = NetlinkBuffer::new_checked(datagram).ok()?;
        let message = Message {
            kind: buffer.message_type(),
            flags: buffer.flags(),
            sequence: buffer.sequence_number(),
            payload: buffer.payload(),
        };
        let length = usize::try_from(buffer.length())
            .ok()?
            .checked_next_multiple_of(4)?;
        datagram = datagram.get(length..).unwrap_or_default();
        Some(message)
    })
}

/// Collects the replies to one send of `count` requests, numbered from `first`.
#[derive(Debug)]
pub struct Replies {
    first: u32,
    count: usize,
    refused: Refusals,
    finished: bool,
    lost: bool,
}

impl Replies {
    /// Nothing received yet.
    #[must_use]
    pub fn new(first: u32, count: usize) -> Self {
        Self {
            first,
            count,
            refused: Refusals::new(),
            finished: count == 0,
            lost: false,
        }
    }

    /// Take in one datagram. Replies to other sends are ignored.
    pub fn read(&mut self, datagram: &[u8]) {
        for message in messages(datagram) {
            let position =
                usize::try_from(message.sequence.wrapping_sub(self.first)).unwrap_or(usize::MAX);
            if message.kind != NLMSG_ERROR
                || position >= self.count
                || message.payload.len() < CODE_LENGTH
            {
                continue;
            }
            let (errno, text) = message.verdict();
            if errno != 0 {
                self.refused
                    .insert(position, Refusal::Refused { errno, text });
            }
            // Only the last is acknowledged in any case.
            self.finished |= position + 1 == self.count;
        }
    }

    /// The kernel said (ENOBUFS) that it dropped replies.
    pub fn lose(&mut self) {
        self.lost = true;
    }

    /// Whether the reply to the last request is there, and so all of them are.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// What was not done, by position in the batch where the first request of the send is at `offset`.
    ///
    /// A request without a reply has succeeded, since only failures have one; unless replies were lost. The last one
    /// has a reply in any case, or else the kernel was interrupted in it. (Of an earlier one it would say nothing;
    /// but what rtnetlink waits for can be interrupted only by a signal that ends the process.)
    #[must_use]
    pub fn into_refusals(self, offset: usize) -> Refusals {
        let mut refused = self.refused;
        if self.lost {
            for position in 0..self.count {
                refused.entry(position).or_insert(Refusal::Unknown);
            }
        } else if !self.finished {
            refused
                .entry(self.count.saturating_sub(1))
                .or_insert(Refusal::Unknown);
        }
        refused
            .into_iter()
            .map(|(position, refusal)| (position + offset, refusal))
            .collect()
    }
}

/// How a dump, or the look-up of one thing, stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// There is more to come.
    More,
    /// That was all of it.
    Done,
    /// The kernel refused it.
    Failed {
        /// The error number, positive.
        errno: i32,
        /// The kernel's own words, where it gave any.
        text: Option<String>,
    },
}

/// Collects the replies to the one request with number `sequence` that asks for something.
#[derive(Debug)]
pub struct Answers {
    sequence: u32,
    /// Whether something changed during the dump (NLM_F_DUMP_INTR).
    pub interrupted: bool,
    /// Datagrams that held something: each was made at another time.
    pub parts: usize,
}

impl Answers {
    /// Nothing received yet.
    #[must_use]
    pub fn new(sequence: u32) -> Self {
        Self {
            sequence,
            interrupted: false,
            parts: 0,
        }
    }

    /// Take in one datagram and hand each payload to `take`. Replies to other requests are ignored.
    pub fn read(&mut self, datagram: &[u8], mut take: impl FnMut(&[u8])) -> Progress {
        let mut useful = 0;
        let mut progress = Progress::More;
        for message in messages(datagram).filter(|message| message.sequence == self.sequence) {
            self.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
            match message.kind {
                NLMSG_DONE | NLMSG_ERROR => {
                    progress = match message.verdict() {
                        (0, _) => Progress::Done,
                        (errno, text) => Progress::Failed { errno, text },
                    };
                    break;
                }
                _ => {
                    useful = 1;
                    take(message.payload);
                }
            }
        }
        self.parts += useful;
        progress
    }
}

#[cfg(test)]
mod tests;
