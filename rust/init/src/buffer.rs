//! Bytes that are copied from one descriptor to another without waiting for either.

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{fstat, open, FileType, Mode, OFlags};
use rustix::io::{read, write, Errno};
use rustix::termios::isatty;

use crate::sys;

/// All that a pipe holds, unless somebody has made it larger.
pub const PIPE_BYTES: usize = 64 << 10;
/// How often a pipe is read after the command has ended: more than the largest of pipes holds (pipe(7)).
pub const LAST_READS: u32 = 64;

/// Bytes on their way: filled when empty, then drained.
pub struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// One for so many bytes.
    pub fn new(size: usize) -> Self {
        Self {
            bytes: vec![0; size],
            start: 0,
            end: 0,
        }
    }

    /// Whether nothing is on its way.
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Drops what is on its way.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// What is on its way.
    pub fn content(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether the last byte ends a line.
    pub fn ends_line(&self) -> bool {
        matches!(self.content().last(), Some(b'\n' | b'\r'))
    }

    /// Replaces the content by a few bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
            (self.start, self.end) = (0, bytes.len());
        }
    }

    /// Reads into an empty buffer, and says how much.
    pub fn fill_from(&mut self, fd: BorrowedFd<'_>) -> Result<usize, Errno> {
        let count = read(fd, &mut self.bytes)?;
        (self.start, self.end) = (0, count);
        Ok(count)
    }

    /// Writes what there is, or as much as is taken; false where nobody will ever take it.
    pub fn drain_to(&mut self, fd: BorrowedFd<'_>) -> bool {
        match write(fd, self.content()) {
            Ok(count) => self.start += count,
            Err(errno) => return matches!(errno, Errno::AGAIN | Errno::INTR),
        }
        true
    }
}

/// Opens a standard stream once more for writing, where it is a pipe or a terminal: O_NONBLOCK is then not set for
/// everybody who shares the stream.
pub fn reopened_to_not_wait(number: RawFd) -> Option<OwnedFd> {
    let stream = sys::standard_stream(number);
    let kind = FileType::from_raw_mode(fstat(stream).ok()?.st_mode);
    if kind != FileType::Fifo && !isatty(stream) {
        return None;
    }
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    open(format!("/proc/self/fd/{number}"), flags, Mode::empty()).ok()
}

#[cfg(test)]
mod tests;
