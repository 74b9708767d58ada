//! The log of a detached command: two files in turn, which only the keeper writes, and never more than the limit.
//!
//! ```text
//! log      what was shown last, up to half of the limit
//! log.1    what was shown before that
//! log.max  the limit, where one was given
//! ```
//!
//! What cannot be written is dropped and counted, and a line in its place says how much: the command neither waits for
//! a disk that is full nor ends because of it.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{fcntl_setfl, fstat, openat, renameat, Mode, OFlags};
use rustix::io::{fcntl_dupfd_cloexec, read, write, Errno};
use rustix::pipe::{pipe_with, PipeFlags};

use crate::buffer::{Buffer, LAST_READS, PIPE_BYTES};
use crate::sys;

/// The limit of a log, if none is given.
const DEFAULT_LIMIT: u64 = 16 << 20;

/// The least that a limit can be.
pub const LEAST_LIMIT: u64 = 8 << 10;

/// Where a directory keeps the limit of its log.
const LIMIT_FILE: &CStr = c"log.max";

/// A log that is written to.
pub struct Log {
    directory: OwnedFd,
    /// The file that is written to; None until the next write opens it.
    file: Option<OwnedFd>,
    size: u64,
    half: u64,
    lost: u64,
    /// Why the last of it was lost.
    reason: Errno,
    at_line_start: bool,
}

impl Log {
    /// Opens the log of a directory, to add to it. Without a limit it has the one of before.
    pub fn open(directory: BorrowedFd<'_>, limit: Option<u64>) -> Result<Self, Errno> {
        let directory = fcntl_dupfd_cloexec(directory, 0)?;
        let limit = match limit {
            Some(limit) => {
                // For the commands after this one; a full disk is no reason not to start it.
                let _ = keep_limit(&directory, limit);
                limit
            }
            None => kept_limit(&directory).unwrap_or(DEFAULT_LIMIT),
        };
        let file = open_to_append(&directory)?;
        let size = u64::try_from(fstat(&file)?.st_size).unwrap_or(0);
        Ok(Self {
            directory,
            file: Some(file),
            size,
            half: limit / 2,
            lost: 0,
            reason: Errno::NOSPC,
            at_line_start: true,
        })
    }

    /// Adds to the log, or counts as lost what cannot be added.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.lost > 0 && !self.note_loss() {
            self.lost += bytes.len() as u64;
            return;
        }
        self.add(bytes);
    }

    /// Writes how much was lost, where there is room for that by now.
    pub fn finish(&mut self) {
        if self.lost > 0 {
            self.note_loss();
        }
    }

    fn note_loss(&mut self) -> bool {
        let lost = std::mem::take(&mut self.lost);
        let start = if self.at_line_start { "" } else { "\n" };
        let line = format!(
            "{start}[macvfast: {lost} bytes are missing here: {}]\n",
            sys::text_of(self.reason)
        );
        self.add(line.as_bytes());
        let noted = self.lost == 0;
        if !noted {
            self.lost = lost;
        }
        noted
    }

    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = usize::try_from(self.half.saturating_sub(self.size)).unwrap_or(usize::MAX);
            let fits = fitting(bytes, room, self.size == 0);
            let (now, later) = bytes.split_at(fits);
            let outcome = if now.is_empty() {
                self.turn()
            } else {
                self.append(now)
            };
            if let Err((errno, written)) = outcome {
                self.reason = errno;
                self.lost += (bytes.len() - written) as u64;
                return;
            }
            bytes = later;
        }
    }

    /// Renames `log` to `log.1`, over the older part; the next write makes a new `log`.
    fn turn(&mut self) -> Result<(), (Errno, usize)> {
        match renameat(&self.directory, c"log", &self.directory, c"log.1") {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err((errno, 0)),
        }
        self.file = None;
        self.size = 0;
        Ok(())
    }

    /// Writes to the file; on failure, the errno, and how much was written before.
    fn append(&mut self, bytes: &[u8]) -> Result<(), (Errno, usize)> {
        let file = match self.file.take() {
            Some(file) => file,
            None => open_to_append(&self.directory).map_err(|errno| (errno, 0))?,
        };
        let mut written = 0;
        let mut failed = None;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match write(&file, rest) {
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    failed = Some(errno);
                    break;
                }
            }
        }
        self.file = Some(file);
        self.size += written as u64;
        if let Some(last) = bytes.get(..written).and_then(<[u8]>::last) {
            self.at_line_start = *last == b'\n';
        }
        failed.map_or(Ok(()), |errno| Err((errno, written)))
    }
}

/// How many of `bytes` go into `room`: all whole lines that fit. Where not one line fits, an empty file takes a part of
/// it.
fn fitting(bytes: &[u8], room: usize, empty: bool) -> usize {
    let Some(part) = bytes.get(..room) else {
        return bytes.len();
    };
    let lines = part.iter().rposition(|&byte| byte == b'\n');
    lines.map_or(if empty { room } else { 0 }, |end| end + 1)
}

fn keep_limit(directory: &OwnedFd, limit: u64) -> Result<(), Errno> {
    let flags =
        OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = openat(directory, LIMIT_FILE, flags, Mode::RUSR | Mode::WUSR)?;
    write(&file, limit.to_string().as_bytes())?;
    Ok(())
}

/// The limit that the directory keeps, where that can be one.
fn kept_limit(directory: &OwnedFd) -> Option<u64> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = openat(directory, LIMIT_FILE, flags, Mode::empty()).ok()?;
    let mut text = [0; 20];
    let count = read(&file, &mut text).ok()?;
    let number = std::str::from_utf8(text.get(..count)?).ok()?.parse().ok()?;
    Some(number).filter(|&number| number >= LEAST_LIMIT)
}

/// Opens the newer part of a directory's log, to add to it.
pub fn open_to_append(directory: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags =
        OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(directory, c"log", flags, Mode::RUSR | Mode::WUSR)
}

/// A log with the pipe through which a command writes to it.
pub struct Logged {
    log: Log,
    /// None once nobody writes to it any more.
    pipe: Option<OwnedFd>,
    buffer: Buffer,
}

impl Logged {
    /// Makes the pipe; gives the command's end of it.
    pub fn new(log: Log) -> Result<(Self, OwnedFd), Errno> {
        let (pipe, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
        let logged = Self {
            log,
            pipe: Some(pipe),
            buffer: Buffer::new(PIPE_BYTES),
        };
        Ok((logged, writer))
    }

    /// What to wait for.
    pub fn entry(&self) -> libc::pollfd {
        self.pipe.as_ref().map_or(sys::NOTHING, sys::readable)
    }

    /// The descriptors that it has open; -1 for none.
    pub fn descriptors(&self) -> [RawFd; 3] {
        let number = |one: &Option<OwnedFd>| one.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        let log = &self.log;
        [
            log.directory.as_raw_fd(),
            number(&log.file),
            number(&self.pipe),
        ]
    }

    /// Logs what the pipe holds; false where that is nothing.
    pub fn pump(&mut self) -> bool {
        let Some(pipe) = &self.pipe else { return false };
        match self.buffer.fill_from(pipe.as_fd()) {
            Ok(1..) => self.log.write(self.buffer.content()),
            Ok(0) => self.pipe = None,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
        true
    }

    /// Logs the last of it. A process outside of the sandbox that has the pipe and goes on writing is not waited for.
    pub fn finish(&mut self) {
        for _ in 0..LAST_READS {
            if !self.pump() {
                break;
            }
        }
        self.log.finish();
    }
}

#[cfg(test)]
mod tests;
