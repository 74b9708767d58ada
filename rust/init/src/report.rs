//! What the supervisor inside a sandbox reports to its keeper, over a pipe.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::{read, write, Errno};

/// One message. A keeper reads the first as soon as the command runs or does not, and the last when it has ended;
/// the end of the pipe without that one means that the supervisor was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The command's program runs.
    Started,
    /// The command could not be executed.
    NotExecuted(Errno),
    /// The sandbox could not be set up: what was being done, and why it failed.
    NotSetUp(String, Errno),
    /// The command ended, with its exit status or 128 and the signal that ended it.
    Ended(u8),
    /// The same of a pid 1 that stays for those who have joined.
    EndedAlone(u8),
}

/// One byte for the kind and four for a number; after the kind `NOT_SET_UP` text follows up to the pipe's end.
const HEAD: usize = 5;
const STARTED: u8 = 0;
const NOT_EXECUTED: u8 = 1;
const NOT_SET_UP: u8 = 2;
const ENDED: u8 = 3;
const ENDED_ALONE: u8 = 4;

impl Report {
    /// Sends it to the keeper. If that is gone, this process is about to end too.
    pub fn send(&self, pipe: BorrowedFd<'_>) {
        let (kind, number, text) = match self {
            Self::Started => (STARTED, 0, ""),
            Self::NotExecuted(errno) => (NOT_EXECUTED, errno.raw_os_error(), ""),
            Self::NotSetUp(step, errno) => (NOT_SET_UP, errno.raw_os_error(), step.as_str()),
            Self::Ended(status) => (ENDED, i32::from(*status), ""),
            Self::EndedAlone(status) => (ENDED_ALONE, i32::from(*status), ""),
        };
        let mut message = vec![kind];
        message.extend(number.to_ne_bytes());
        message.extend(text.as_bytes());
        // Less than PIPE_BUF: written whole or not at all.
        let _ = write(pipe, &message);
    }

    /// Waits for the next message; None at the end of the pipe.
    pub fn receive(pipe: impl AsFd) -> Option<Self> {
        let pipe = pipe.as_fd();
        let head = read_up_to(pipe, HEAD);
        let (&kind, number) = head.split_first()?;
        let number = i32::from_ne_bytes(number.try_into().ok()?);
        match kind {
            STARTED => Some(Self::Started),
            NOT_EXECUTED => Some(Self::NotExecuted(Errno::from_raw_os_error(number))),
            NOT_SET_UP => {
                let step = read_up_to(pipe, 512);
                let step = String::from_utf8_lossy(&step).into_owned();
                Some(Self::NotSetUp(step, Errno::from_raw_os_error(number)))
            }
            ENDED => u8::try_from(number).ok().map(Self::Ended),
            ENDED_ALONE => u8::try_from(number).ok().map(Self::EndedAlone),
            _ => None,
        }
    }
}

/// Reads until `length` bytes are there, or the pipe's end.
pub fn read_up_to(pipe: BorrowedFd<'_>, length: usize) -> Vec<u8> {
    let mut buffer = vec![0; length];
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match read(pipe, rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    buffer.truncate(filled);
    buffer
}

#[cfg(test)]
mod tests;
