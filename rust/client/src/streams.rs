//! The descriptors that the caller gave: standard streams, and one command's lock.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{open, Mode, OFlags};
use rustix::io::fcntl_getfd;
use rustix::stdio::{stderr, stdin, stdout};

/// The descriptor of the lock (`HANDED_ON` in `rust/init/src/sys.rs`), and the command that is given one.
const LOCK: RawFd = 3;
const LOCKED: &str = "__remove-ended";

/// Which of them are open.
pub struct Streams {
    open: Vec<(char, BorrowedFd<'static>)>,
    lock: Option<OwnedFd>,
    /// What is in the place of the others until this process becomes another.
    _held: Vec<OwnedFd>,
}

/// Finds them, and holds the places of streams that are closed: nothing else is to get their numbers.
pub fn given(words: &[OsString]) -> Streams {
    let lock = words
        .first()
        .filter(|word| *word == LOCKED)
        .and_then(|_| inherited(LOCK));
    let all = [('0', stdin()), ('1', stdout()), ('2', stderr())];
    let open: Vec<_> = all
        .into_iter()
        .filter(|(_, fd)| fcntl_getfd(fd).is_ok())
        .collect();
    let held = (open.len()..all.len()).map_while(|_| null()).collect();
    Streams {
        open,
        lock,
        _held: held,
    }
}

/// A descriptor that this process was started with, if it was.
fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: nothing was opened yet, and nothing else here has that number for its own. It is looked at for an
    // instant, and owned only where it is open.
    unsafe {
        fcntl_getfd(BorrowedFd::borrow_raw(number))
            .is_ok()
            .then(|| OwnedFd::from_raw_fd(number))
    }
}

fn null() -> Option<OwnedFd> {
    open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok()
}

impl Streams {
    /// The digits of the open ones; `L` stands for the lock.
    pub fn digits(&self) -> String {
        let lock = self.lock.iter().map(|_| 'L');
        self.open
            .iter()
            .map(|(digit, _)| *digit)
            .chain(lock)
            .collect()
    }

    /// The open ones, in order; the lock is the last.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let lock = self.lock.iter().map(AsFd::as_fd);
        self.open.iter().map(|(_, fd)| fd.as_fd()).chain(lock)
    }

    /// Leaves the lock to the worker that has got it.
    pub fn let_go_of_lock(&mut self) {
        self.lock = None;
    }
}
