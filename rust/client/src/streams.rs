//! The standard streams that the caller gave.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{open, Mode, OFlags};
use rustix::io::fcntl_getfd;
use rustix::stdio::{stderr, stdin, stdout};

/// Which of them are open.
pub struct Streams {
    open: Vec<(char, BorrowedFd<'static>)>,
    /// What is in the place of the others until this process becomes another.
    _held: Vec<OwnedFd>,
}

/// Finds them, and holds the places of those that are closed: nothing else is to get their numbers.
pub fn given() -> Streams {
    let all = [('0', stdin()), ('1', stdout()), ('2', stderr())];
    let open: Vec<_> = all
        .into_iter()
        .filter(|(_, fd)| fcntl_getfd(fd).is_ok())
        .collect();
    let held = (open.len()..all.len()).map_while(|_| null()).collect();
    Streams { open, _held: held }
}

fn null() -> Option<OwnedFd> {
    open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok()
}

impl Streams {
    /// The digits of the open ones.
    pub fn digits(&self) -> String {
        self.open.iter().map(|(digit, _)| *digit).collect()
    }

    /// The open ones, in order.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.open.iter().map(|(_, fd)| fd.as_fd())
    }
}
