//! The sandboxes of commands that end together are removed by one program, not by one each.
//!
//! ```text
//! STATE/ended/N/         sandboxes that keepers of mount namespace N want removed; locked while a remover is at work
//! STATE/ended/N/ID       a fifo: sandbox ID waits, and its keeper for the answer in it
//! ```
//!
//! Each keeper puts its sandbox into the queue and tries to take the lock. The keeper that gets it starts the remover,
//! which inherits the lock, removes all sandboxes that wait, and answers their keepers. (It is a `macvfast` command, and
//! where a server does that, its worker is the only holder of the lock.) The remover ends when it has
//! unlocked the queue and nothing waits any more. The other keepers wait for their answers and try the lock from time
//! to time: the remover may have been killed. Each mount namespace has its own queue, because others do not see its
//! pins.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    flock, mkdirat, mkfifoat, openat, renameat, stat, unlinkat, AtFlags, FlockOperation, Mode,
    OFlags, CWD,
};
use rustix::io::{read, Errno};

use crate::running::wait_for;
use crate::sys::{self, Child};

/// How often a waiting keeper tries the lock again.
const LOOK_AGAIN_MS: i32 = 200;
/// The most that a pipe takes at once, whole.
const ANSWER_MAX: usize = libc::PIPE_BUF;
/// The answer where there is nothing to print.
const DONE: &[u8] = b"\0";

/// A sandbox that waits to be removed.
pub struct Waiting {
    directory: OwnedFd,
    /// The same directory, opened again to be locked. The keeper that locks it hands it to the remover, which is then
    /// the only holder of the lock.
    lock: Option<OwnedFd>,
    name: CString,
    answer: OwnedFd,
}

impl Waiting {
    /// Puts a sandbox into the queue, by its directory, whose name is its id.
    ///
    /// # Errors
    ///
    /// The queue cannot be written to: its file system is full, say.
    pub fn enter(queues: &CStr, sandbox: &CStr) -> Result<Self, Errno> {
        let namespace = stat("/proc/self/ns/mnt")?.st_ino.to_string();
        let queues = directory_at(CWD, queues)?;
        let directory = directory_at(&queues, &CString::new(namespace).map_err(|_| Errno::INVAL)?)?;
        let id = Path::new(OsStr::from_bytes(sandbox.to_bytes())).file_name();
        let name = CString::new(id.ok_or(Errno::INVAL)?.as_bytes()).map_err(|_| Errno::INVAL)?;
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = Some(openat(&directory, c".", flags, Mode::empty())?);
        let answer = new_fifo(&directory, &name)?;
        Ok(Self {
            directory,
            lock,
            name,
            answer,
        })
    }

    /// Waits until the sandbox is removed, by a remover that `start` starts with the lock, or by another keeper's; the
    /// text to print. None: no remover came to it, and it has left the queue.
    pub fn wait(mut self, start: impl Fn(&OwnedFd) -> Option<Child>) -> Option<Vec<u8>> {
        while let Some(lock) = self.lock.take() {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {
                    let remover = start(&lock);
                    drop(lock);
                    return self.answer_of(remover);
                }
                Err(Errno::WOULDBLOCK) => self.lock = Some(lock),
                Err(_) => {}
            }
            if self.answered(LOOK_AGAIN_MS, None) {
                return self.read();
            }
        }
        self.answer_of(None)
    }

    /// The answer of the remover that this keeper started.
    fn answer_of(self, remover: Option<Child>) -> Option<Vec<u8>> {
        if let Some(remover) = remover {
            if self.answered(-1, Some(&remover)) {
                return self.read();
            }
            wait_for(&remover);
        }
        let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
        None
    }

    /// Waits for an answer, the end of the remover, or the timeout; whether there is an answer.
    fn answered(&self, timeout_ms: i32, remover: Option<&Child>) -> bool {
        let ended = remover.map_or(sys::NOTHING, |child| sys::readable(&child.pidfd));
        let mut entries = [sys::readable(&self.answer), ended];
        loop {
            sys::poll(&mut entries, timeout_ms);
            let [answer, ended] = entries;
            if answer.revents & libc::POLLIN != 0 {
                return true;
            }
            if ended.revents != 0 || timeout_ms >= 0 {
                // It may have answered just before it ended.
                let mut last = [sys::readable(&self.answer)];
                sys::poll(&mut last, 0);
                return last[0].revents & libc::POLLIN != 0;
            }
        }
    }

    fn read(&self) -> Option<Vec<u8>> {
        let mut text = vec![0; ANSWER_MAX];
        let length = read(&self.answer, &mut text).ok()?;
        text.truncate(length);
        Some(if text == DONE { Vec::new() } else { text })
    }
}

/// A directory, made where it is missing.
fn directory_at(above: impl AsFd, path: &CStr) -> Result<OwnedFd, Errno> {
    match mkdirat(&above, path, Mode::RWXU) {
        Err(Errno::EXIST) => {}
        outcome => outcome?,
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(above, path, flags, Mode::empty())
}

/// Makes a fifo that is open for reading before it has its name: a remover that finds no reader takes the keeper for
/// dead.
fn new_fifo(directory: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let fresh = CString::new([b".", name.to_bytes()].concat()).map_err(|_| Errno::INVAL)?;
    let _ = unlinkat(directory, &fresh, AtFlags::empty());
    mkfifoat(directory, &fresh, Mode::RUSR | Mode::WUSR)?;
    // Also for writing: a fifo whose last writer has closed it is always readable.
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = openat(directory, &fresh, flags, Mode::empty())
        .and_then(|fifo| renameat(directory, &fresh, directory, name).map(|()| fifo));
    if made.is_err() {
        let _ = unlinkat(directory, &fresh, AtFlags::empty());
    }
    made
}
