//! Signals: which of them a keeper passes on, what a supervisor waits for, and how a new program finds them.

use std::ffi::c_int;
use std::os::fd::BorrowedFd;
use std::ptr;

use macvfast_signals::{is_ignored, set_default, Reader, Set, PASSED_ON};
use rustix::io::Errno;
use rustix::process::setsid;

/// What concerns a keeper that holds a terminal: its window's size, and being continued after a stop.
const OF_THE_TERMINAL: [c_int; 2] = [libc::SIGWINCH, libc::SIGCONT];

/// Faults of the process's own, which are not to be passed on.
const FAULTS: [c_int; 7] = [
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
];

const HIGHEST: c_int = 64;
/// What the kernel takes a set of `HIGHEST` signals to be.
const KERNEL_SIGSET_BYTES: usize = 8;

/// The signals that a keeper reads, and that do nothing else to it.
pub struct Signals(Reader);

impl Signals {
    /// Blocks what a keeper passes on, and everything concerning the terminal if there is one.
    ///
    /// A signal that was ignored when the program started stays ignored, as `nohup` and a shell's `&` want it.
    pub fn take(terminal: bool) -> Result<Self, Errno> {
        let passed_on = PASSED_ON.into_iter().filter(|&signal| !is_ignored(signal));
        let of_the_terminal = OF_THE_TERMINAL.into_iter().filter(|_| terminal);
        let set = Set::of(passed_on.chain(of_the_terminal));
        set.block_exactly();
        Reader::of(&set).map(Self)
    }

    /// Readable while a signal waits.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }

    /// The next signal that waits, if one does.
    pub fn next(&self) -> Option<c_int> {
        self.0.next()
    }
}

/// What a supervisor inside the sandbox waits for: every signal but its own faults.
pub struct Inbox(Set);

impl Inbox {
    /// Blocks everything, so that from here on signals wait for [`Inbox::next`], those that are ignored as well.
    pub fn open() -> Self {
        let set = Set::of((1..=HIGHEST).filter(|signal| !FAULTS.contains(signal)));
        set.block_exactly();
        set_default(libc::SIGCHLD);
        Self(set)
    }

    /// Waits for the next signal.
    pub fn next(&self) -> c_int {
        self.0.wait()
    }
}

/// Gives this process, which was just forked, a session of its own: what is sent to the process group of the one that
/// forked it, or to its terminal's, reaches that one alone.
///
/// Signals that came from there in between are dropped: the other process has them too, and nobody else knew of this
/// one yet.
pub fn leave_session() {
    // It fails for the leader of a group only, which a process just forked is not.
    let _ = setsid();
    Set::of(PASSED_ON).forget();
}

/// Gives every signal its default action and blocks none, as a new program expects it.
pub fn reset() {
    (1..=HIGHEST).for_each(set_any_default);
    Set::of([]).block_exactly();
}

/// Asks the kernel itself: the C library refuses to touch the two signals that it keeps for threads (32 and 33), and its
/// own `posix_spawn`, which GNU make uses, leaves them ignored.
fn set_any_default(signal: c_int) {
    // Room for the kernel's `struct sigaction` of every architecture; all zero is SIG_DFL, no flags, an empty mask.
    let action = [0_u64; 4];
    // SAFETY: the action is valid and outlives the call; a null pointer asks for no old one. It fails for SIGKILL and
    // SIGSTOP, which have no choice.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            action.as_ptr(),
            ptr::null::<u64>(),
            KERNEL_SIGSET_BYTES,
        )
    };
}

#[cfg(test)]
mod tests;
