//! A sandbox's directory: the lock that says that a keeper is there, and the status that outlives it.
//!
//! ```text
//! boot 4be5d7bc-…              the boot, the keeper and pid 1, each process with its start time
//! keeper 4711 98765
//! init 4712 98766
//! state running                or `exited` or `restarting` with a line `exit 3`, or `lost`
//! restarts 2                   of a command with a restart policy: how often it was run again
//! before                       of a guest, which runs where no command of the sandbox's own does: what was
//! boot …                       recorded before and counts again when it has ended, however it ends
//! ```

use std::ffi::CStr;
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{
    flock, fstat, fsync, ftruncate, openat, renameat, stat, statat, unlinkat, AtFlags,
    FlockOperation, Mode, OFlags, CWD,
};
use rustix::io::{read, write, Errno};
use rustix::process::{pidfd_open, Pid, PidfdFlags};

use crate::failure::KILLED;
use crate::log::Log;

/// The file that says that somebody has asked that the command ends; `macvfast stop` writes it.
const STOPPED: &CStr = c"stopped";

/// A process, named so that its pid cannot mean another after it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: i32,
    /// In clock ticks since boot: field 22 of /proc/PID/stat.
    start_time: u64,
}

impl Process {
    /// This process.
    pub fn own() -> Result<Self, Errno> {
        Self::read(rustix::process::getpid().as_raw_nonzero().get(), "self")
    }

    /// A child that was not yet waited for.
    pub fn child(pid: i32) -> Result<Self, Errno> {
        Self::read(pid, &pid.to_string())
    }

    fn read(pid: i32, name: &str) -> Result<Self, Errno> {
        let text = read_small(CWD, &format!("/proc/{name}/stat"))?;
        let start_time = start_time(&text).ok_or(Errno::INVAL)?;
        Ok(Self { pid, start_time })
    }

    /// A descriptor of it; None where it is gone.
    fn open(self) -> Result<Option<OwnedFd>, Errno> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(None);
        };
        // It is compared after the descriptor is open: if it is still this process, so is the descriptor's.
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) if Self::child(self.pid) == Ok(self) => Ok(Some(pidfd)),
            Ok(_) | Err(Errno::SRCH | Errno::INVAL) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

/// The fields of a line of /proc/PID/stat from the third on, the state: the second, the name, may hold spaces and
/// parentheses.
pub fn fields_of_stat(stat: &[u8]) -> impl Iterator<Item = &str> {
    let end_of_name = stat.iter().rposition(|&byte| byte == b')');
    let rest = end_of_name.and_then(|end| stat.get(end + 1..));
    let rest = std::str::from_utf8(rest.unwrap_or_default()).unwrap_or_default();
    rest.split_ascii_whitespace()
}

fn start_time(stat: &[u8]) -> Option<u64> {
    fields_of_stat(stat).nth(22 - 3)?.parse().ok()
}

/// What is recorded of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was started.
    Running,
    /// It ended with this exit status, or could not be started (126, 127).
    Exited(u8),
    /// It ended with this exit status, and is about to be run again.
    Restarting(u8),
    /// pid 1 was killed before it could say how the command ended.
    Lost,
}

impl State {
    /// The exit status of a command that has ended.
    pub fn status(self) -> u8 {
        match self {
            Self::Exited(status) | Self::Restarting(status) => status,
            Self::Running | Self::Lost => KILLED,
        }
    }
}

/// The directory of one sandbox, locked for as long as this lives.
pub struct Record {
    directory: OwnedFd,
    boot_id: String,
    keeper: Process,
    /// How often a command with a restart policy was run again.
    pub restarts: Option<u32>,
    /// Of a guest: the status that counts again after it.
    before: Option<Vec<u8>>,
    lock: OwnedFd,
}

impl Record {
    /// Opens and locks the directory, which makes this process its keeper; None where there is another keeper. NOENT:
    /// the sandbox is gone, or about to be.
    ///
    /// The command of a `guest` counts only while it runs. A `lock` that is given is taken over. Without one, a guest
    /// takes that of a keeper that has ended, and makes none: whoever removes the sandbox deletes it first.
    pub fn open(
        directory: &CStr,
        guest: bool,
        lock: Option<OwnedFd>,
    ) -> Result<Option<Self>, Errno> {
        let directory = open_directory(directory)?;
        let mut flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        if !guest {
            flags |= OFlags::CREATE;
        }
        let lock = match lock {
            Some(lock) => lock,
            None => openat(&directory, c"lock", flags, Mode::RUSR | Mode::WUSR)?,
        };
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            outcome => outcome?,
        }
        if guest && is_deleted(&lock) {
            return Err(Errno::NOENT);
        }
        let before = if guest {
            let recorded = read_status(&directory)?;
            let (head, before) = split(&recorded);
            Some(before.unwrap_or(head).to_owned())
        } else {
            None
        };
        Ok(Some(Self {
            directory,
            boot_id: boot_id()?,
            keeper: Process::own()?,
            restarts: None,
            before,
            lock,
        }))
    }

    /// The descriptors of the lock and of the directory.
    pub fn descriptors(&self) -> [RawFd; 2] {
        [self.lock.as_raw_fd(), self.directory.as_raw_fd()]
    }

    /// The directory; of a guest's, for its pid 1.
    pub fn guest_directory(&self) -> Option<BorrowedFd<'_>> {
        self.before.as_ref().map(|_| self.directory.as_fd())
    }

    /// Whether somebody has asked that the command ends and is not run again, or the sandbox is gone.
    pub fn is_stopped(&self) -> bool {
        // The lock is deleted with the sandbox; the name of the directory may be another's by then.
        is_deleted(&self.lock)
            || statat(&self.directory, STOPPED, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Forgets that, for a command that is about to start.
    pub fn forget_stop(&self) {
        let _ = unlinkat(&self.directory, STOPPED, AtFlags::empty());
    }

    /// Opens the command's log to add to it.
    pub fn open_log(&self, limit: Option<u64>) -> Result<Log, Errno> {
        Log::open(self.directory.as_fd(), limit)
    }

    /// Records `state`. The end of a command is durable: after a crash there is the old status or the new one, never a
    /// part. That a command runs is not synced, unless an older status is kept with it, or it has a restart policy:
    /// then another boot learns of the first start from it, and that no stop is noted any more.
    pub fn write(&self, init: Process, state: State) -> Result<(), Errno> {
        let mut text = status_text(&self.boot_id, self.keeper, init, state).into_bytes();
        if let Some(count) = self.restarts {
            text.extend(format!("restarts {count}\n").bytes());
        }
        match &self.before {
            None => {}
            Some(before) if state == State::Running => {
                text.extend(BEFORE);
                text.extend(before);
            }
            Some(before) if before.is_empty() => {
                return match unlinkat(&self.directory, c"status", AtFlags::empty()) {
                    Err(Errno::NOENT) => Ok(()),
                    outcome => outcome,
                };
            }
            Some(before) => text.clone_from(before),
        }
        let durable = !matches!(state, State::Running | State::Restarting(_))
            || (state == State::Running && self.restarts == Some(0))
            || self.before.as_ref().is_some_and(|it| !it.is_empty());
        let file = self.write_new(&text)?;
        if durable {
            fsync(&file)?;
        }
        renameat(&self.directory, c"status.new", &self.directory, c"status")?;
        if matches!(state, State::Running | State::Restarting(_)) {
            // Reserve room for the status at its end, in case the disk is full by then.
            text.extend([b' '; ROOM]);
            let _ = self.write_new(&text);
        }
        if durable {
            fsync(&self.directory)?;
        }
        Ok(())
    }

    /// Overwrites `status.new` in place: also a full disk takes what is no longer than its content.
    fn write_new(&self, text: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = openat(&self.directory, c"status.new", flags, mode)?;
        let mut left = text;
        while !left.is_empty() {
            left = left.get(write(&file, left)?..).unwrap_or_default();
        }
        ftruncate(&file, text.len() as u64)?;
        Ok(file)
    }
}

fn is_deleted(file: &OwnedFd) -> bool {
    fstat(file).is_ok_and(|found| found.st_nlink == 0)
}

/// More than the difference in length between `running` and `exited` with its status.
const ROOM: usize = 32;

/// What stands between a guest's status and the one before it.
const BEFORE: &[u8] = b"before\n";

/// A status, and the one before it where it is a guest's.
fn split(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let at = text
        .windows(BEFORE.len())
        .enumerate()
        .find(|(at, window)| *window == BEFORE && (*at == 0 || text[at - 1] == b'\n'));
    at.map_or((text, None), |(at, _)| {
        (&text[..at], text.get(at + BEFORE.len()..))
    })
}

/// Locks a sandbox's directory so that a guest's pid 1 does not end; None where that is about to end.
pub fn join(directory: &CStr) -> Result<Option<OwnedFd>, Errno> {
    let directory = open_directory(directory)?;
    match flock(&directory, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        outcome => outcome.map(|()| Some(directory)),
    }
}

/// What is recorded of the command in a sandbox, for one that is to join it.
pub enum Found {
    /// It runs: a descriptor of its pid 1.
    Running(OwnedFd),
    /// It has ended and is about to be run again: a descriptor of the keeper that does this.
    Restarting(OwnedFd),
    /// None of both, or not yet; or the recorded process is not in the sandbox's network namespace.
    Nothing,
}

/// What the command in a sandbox does.
pub fn found(directory: &CStr, netns: BorrowedFd<'_>) -> Result<Found, Errno> {
    let recorded = read_status(&open_directory(directory)?)?;
    let (status, boot_id) = (split(&recorded).0, boot_id()?);
    if let Some(init) = recorded_process(status, &boot_id, "running", "init") {
        if let Some(pidfd) = init.open()? {
            if is_in(init.pid, netns)? {
                return Ok(Found::Running(pidfd));
            }
        }
    }
    if let Some(keeper) = recorded_process(status, &boot_id, "restarting", "keeper") {
        if let Some(pidfd) = keeper.open()? {
            return Ok(Found::Restarting(pidfd));
        }
    }
    Ok(Found::Nothing)
}

/// Whether a process is in that network namespace; one that is ending is in none.
fn is_in(pid: i32, netns: BorrowedFd<'_>) -> Result<bool, Errno> {
    let wanted = fstat(netns)?;
    match stat(format!("/proc/{pid}/ns/net")) {
        Ok(found) => Ok((found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino)),
        Err(Errno::NOENT | Errno::SRCH) => Ok(false),
        // The kernel says ACCESS of a process that went between the look-up of its directory and that of the namespace
        // (proc_ns_get_link, fs/proc/namespaces.c), too.
        Err(Errno::ACCESS) if matches!(stat(format!("/proc/{pid}")), Err(Errno::NOENT)) => {
            Ok(false)
        }
        Err(errno) => Err(errno),
    }
}

/// The process on that line of a status, if it is of this boot and says that state.
fn recorded_process(status: &[u8], boot_id: &str, state: &str, process: &str) -> Option<Process> {
    let text = std::str::from_utf8(status).ok()?;
    let line = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
    };
    if line("boot")? != boot_id || line("state")? != state {
        return None;
    }
    let (pid, start_time) = line(process)?.split_once(' ')?;
    Some(Process {
        pid: pid.parse().ok()?,
        start_time: start_time.parse().ok()?,
    })
}

fn boot_id() -> Result<String, Errno> {
    let text = read_small(CWD, "/proc/sys/kernel/random/boot_id")?;
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

fn open_directory(path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    openat(CWD, path, flags, Mode::empty())
}

/// The status as it is; empty where there is none.
fn read_status(directory: &OwnedFd) -> Result<Vec<u8>, Errno> {
    match read_small(directory.as_fd(), "status") {
        Err(Errno::NOENT) => Ok(Vec::new()),
        outcome => outcome,
    }
}

fn status_text(boot_id: &str, keeper: Process, init: Process, state: State) -> String {
    let mut text = format!(
        "boot {boot_id}\nkeeper {} {}\ninit {} {}\n",
        keeper.pid, keeper.start_time, init.pid, init.start_time
    );
    // Writing to a String cannot fail.
    let _ = match state {
        State::Running => writeln!(text, "state running"),
        State::Exited(status) => writeln!(text, "state exited\nexit {status}"),
        State::Restarting(status) => writeln!(text, "state restarting\nexit {status}"),
        State::Lost => writeln!(text, "state lost"),
    };
    text
}

fn read_small(directory: BorrowedFd<'_>, path: &str) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = openat(directory, path, flags, Mode::empty())?;
    let mut buffer = vec![0; 1024];
    let length = read(&file, &mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

#[cfg(test)]
mod tests;
