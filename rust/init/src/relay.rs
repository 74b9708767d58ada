//! Copies between the caller's terminal and pipes that the command has in its place: a process that has a terminal open
//! can read what is typed there and, with the right to do so, type there itself.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::fs::{fcntl_setfl, fstat, OFlags};
use rustix::io::{fcntl_dupfd_cloexec, Errno};
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::termios::isatty;

use crate::buffer::{reopened_to_not_wait, Buffer, LAST_READS, PIPE_BYTES};
use crate::sys;

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// From the terminal to the command. No more is read than the command takes.
    In,
    /// From the command to the terminal. When the terminal is gone, the command neither blocks nor ends, as with a
    /// terminal of its own.
    Out,
}

/// Copies bytes one way.
pub struct Relay {
    way: Way,
    /// Where they come from; None at the end.
    source: Option<OwnedFd>,
    /// Where they go; None where nobody takes them any more.
    target: Option<OwnedFd>,
    buffer: Buffer,
    last_reads: u32,
}

/// Whether a standard stream of this process is a terminal.
pub fn is_terminal(number: RawFd) -> bool {
    isatty(sys::standard_stream(number))
}

/// Whether standard output and standard error are one and the same terminal.
pub fn is_one_terminal() -> bool {
    let [output, error] = [1, 2].map(|number| fstat(sys::standard_stream(number)));
    is_terminal(1)
        && is_terminal(2)
        && matches!((output, error), (Ok(one), Ok(other))
            if (one.st_dev, one.st_ino, one.st_rdev) == (other.st_dev, other.st_ino, other.st_rdev))
}

impl Relay {
    /// Copies what is typed at standard input; gives the command's end of it.
    pub fn input() -> Result<(Self, OwnedFd), Errno> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setfl(&writer, OFlags::NONBLOCK)?;
        let terminal = fcntl_dupfd_cloexec(sys::standard_stream(0), 3)?;
        Ok((Self::new(Way::In, terminal, writer), reader))
    }

    /// Copies what the command shows to standard output (1) or standard error (2); gives the command's end of it.
    pub fn output(number: RawFd) -> Result<(Self, OwnedFd), Errno> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setfl(&reader, OFlags::NONBLOCK)?;
        let terminal = match reopened_to_not_wait(number) {
            Some(terminal) => terminal,
            None => fcntl_dupfd_cloexec(sys::standard_stream(number), 3)?,
        };
        Ok((Self::new(Way::Out, reader, terminal), writer))
    }

    fn new(way: Way, source: OwnedFd, target: OwnedFd) -> Self {
        Self {
            way,
            source: Some(source),
            target: Some(target),
            buffer: Buffer::new(PIPE_BYTES),
            last_reads: LAST_READS,
        }
    }

    /// Whether a process in the sandbox may still write output.
    pub fn goes_on(&self) -> bool {
        self.way == Way::Out && self.source.is_some()
    }

    /// The descriptors that it has open.
    pub fn descriptors(&self) -> [RawFd; 2] {
        [&self.source, &self.target].map(|one| one.as_ref().map_or(-1, AsRawFd::as_raw_fd))
    }

    /// What to wait for.
    pub fn entries(&self) -> [libc::pollfd; 2] {
        let empty = self.buffer.is_empty();
        let source = self.source.as_ref().filter(|_| empty);
        let target = self.target.as_ref();
        let to = match self.way {
            _ if !empty => target.map(|target| sys::entry(target, libc::POLLOUT)),
            // Poll always reports a pipe that nobody reads any more.
            Way::In => target.map(|target| sys::entry(target, 0)),
            Way::Out => None,
        };
        let from = source.map(sys::readable);
        [from, to].map(|entry| entry.unwrap_or(sys::NOTHING))
    }

    /// The terminal's entry for poll, when [`Relay::drain`] has to wait for it.
    pub fn output_entry(&self) -> libc::pollfd {
        match self.way {
            Way::In => sys::NOTHING,
            Way::Out => self.entries()[1],
        }
    }

    /// Copies what can be copied without waiting, after poll has filled in `entries`.
    pub fn pump(&mut self, entries: &[libc::pollfd]) {
        let [from, to] = entries else { return };
        if to.revents != 0 {
            if self.buffer.is_empty() {
                self.lose_target();
            } else {
                self.give();
            }
        }
        if from.revents != 0 {
            self.take();
        }
    }

    fn take(&mut self) {
        let Some(source) = &self.source else { return };
        match self.buffer.fill_from(source.as_fd()) {
            Ok(1..) | Err(Errno::AGAIN | Errno::INTR) => {}
            _ => {
                self.source = None;
                if self.way == Way::In {
                    self.target = None;
                }
            }
        }
        if self.target.is_none() {
            self.buffer.clear();
        }
    }

    fn give(&mut self) {
        let Some(target) = &self.target else { return };
        if !self.buffer.drain_to(target.as_fd()) {
            self.lose_target();
        }
    }

    fn lose_target(&mut self) {
        self.target = None;
        self.buffer.clear();
        if self.way == Way::In {
            self.source = None;
        }
    }

    /// Copies the last output of the command, which has ended; false where the terminal does not take all of it at
    /// once. Processes that the command left behind may go on writing; they are not waited for.
    pub fn drain(&mut self) -> bool {
        if self.way == Way::In {
            return true;
        }
        loop {
            let mut entries = self.entries();
            sys::poll(&mut entries, 0);
            if entries.iter().all(|entry| entry.revents == 0) {
                return self.buffer.is_empty();
            }
            if self.buffer.is_empty() {
                if self.last_reads == 0 {
                    return true;
                }
                self.last_reads -= 1;
            }
            self.pump(&entries);
        }
    }
}
