//! The descriptors that a worker is given: standard streams, and another one: one command's lock, or the namespace of a
//! plugin's call, whose standard output is a file of this process.

use std::ffi::OsString;
use std::fs::File;
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
    other: Option<OwnedFd>,
    /// Given in the place of standard output.
    output: Option<File>,
    /// What is in the place of the others until this process becomes another.
    _held: Vec<OwnedFd>,
}

/// Finds them, and holds the places of streams that are closed: nothing else is to get their numbers.
pub fn given(words: &[OsString]) -> Streams {
    let other = words
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
        other,
        output: None,
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
    /// The digits of the open ones; `L` stands for the other one.
    pub fn digits(&self) -> String {
        let other = self.other.iter().map(|_| 'L');
        self.open
            .iter()
            .map(|(digit, _)| *digit)
            .chain(other)
            .collect()
    }

    /// The open ones, in order; the other one is the last.
    pub fn fds<'a>(&'a self) -> impl Iterator<Item = BorrowedFd<'a>> {
        let other = self.other.iter().map(AsFd::as_fd);
        let stream = |(digit, fd): &'a (char, BorrowedFd<'static>)| match &self.output {
            Some(output) if *digit == '1' => output.as_fd(),
            _ => fd.as_fd(),
        };
        self.open.iter().map(stream).chain(other)
    }

    /// Leaves the other one to the worker that has got it.
    pub fn let_go_of_other(&mut self) {
        self.other = None;
    }

    /// The same with another one, and a file in the place of standard output; `has_input`: standard input is something
    /// that can be read.
    pub fn with(mut self, other: Option<OwnedFd>, output: File, has_input: bool) -> Self {
        self.open.retain(|(digit, _)| has_input || *digit != '0');
        self.other = other;
        self.output = Some(output);
        self
    }
}
