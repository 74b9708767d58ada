//! Signals that this process passes on to the worker that does its command.

use std::ffi::c_int;
use std::os::fd::BorrowedFd;

use macvfast_signals::{ignore, is_ignored, Reader, Set, PASSED_ON};
use rustix::io::Errno;
use rustix::process::{getpid, kill_process, Signal};

/// What stops the command and lets it go on, and says that its window has changed.
const OF_THE_TERMINAL: [c_int; 3] = [libc::SIGTSTP, libc::SIGCONT, libc::SIGWINCH];

/// The signals, blocked for as long as this lives.
pub struct Signals {
    reader: Reader,
    blocked: Set,
    before: Set,
}

impl Signals {
    /// Blocks them. What was ignored when the program started stays ignored, as `nohup` and a shell's `&` want it, and
    /// what was blocked waits.
    pub fn take() -> Result<Self, Errno> {
        let before = Set::blocked();
        let blocked = Set::of(
            PASSED_ON
                .into_iter()
                .chain(OF_THE_TERMINAL)
                .filter(|&signal| !is_ignored(signal) && !before.has(signal)),
        );
        blocked.block();
        Ok(Self {
            reader: Reader::of(&blocked)?,
            blocked,
            before,
        })
    }

    /// Readable while a signal waits.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.reader.fd()
    }

    /// The next signal that waits, if one does.
    pub fn next(&self) -> Option<Signal> {
        Signal::from_named_raw(self.reader.next()?)
    }

    /// Has a signal do to this process what it does to any; returns where that does not end it.
    pub fn obey(&self, signal: Signal) {
        let one = Set::of([signal.as_raw()]);
        // It can be sent to ourselves.
        let _ = kill_process(getpid(), signal);
        one.unblock();
        one.block();
    }

    /// Leaves blocked what a keeper passes on, so that it waits for the program that this process becomes.
    /// So do those that were passed on in vain.
    pub fn leave_to_the_keeper(&self, in_vain: &[Signal]) {
        for signal in in_vain {
            // It can be sent to ourselves.
            let _ = kill_process(getpid(), *signal);
        }
        let others = OF_THE_TERMINAL.into_iter();
        Set::of(others.filter(|&signal| !self.before.has(signal))).unblock();
    }

    /// Blocks all of them again.
    pub fn block(&self) {
        self.blocked.block();
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.before.block_exactly();
    }
}

/// Whether a signal, unless it is caught, ends a process.
pub fn ends(signal: Signal) -> bool {
    PASSED_ON.contains(&signal.as_raw())
}

/// Blocks Ctrl-C, for the program that this process becomes; false: the caller had blocked it.
pub fn let_interrupts_wait() -> bool {
    let waits = !Set::blocked().has(libc::SIGINT);
    Set::of([libc::SIGINT]).block();
    waits
}

/// Ignores what Python ignores: a program that it starts has these signals so.
pub fn ignore_what_python_ignores() {
    [libc::SIGPIPE, libc::SIGXFSZ].into_iter().for_each(ignore);
}
