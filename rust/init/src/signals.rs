//! Signals: blocked and read one by one, so that none of the program's code runs inside a handler.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::process::setsid;

use crate::sys;

/// What a keeper passes on to its command.
const FORWARDED: [c_int; 6] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

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
pub struct Signals {
    fd: OwnedFd,
}

impl Signals {
    /// Blocks what a keeper passes on, and everything concerning the terminal if there is one.
    ///
    /// A signal that was ignored when the program started stays ignored, as `nohup` and a shell's `&` want it.
    pub fn take(terminal: bool) -> Result<Self, Errno> {
        let mut set = Set::of(FORWARDED.into_iter().filter(|&signal| !is_ignored(signal)));
        if terminal {
            OF_THE_TERMINAL
                .into_iter()
                .for_each(|signal| set.add(signal));
        }
        set.block_exactly();
        // SAFETY: a valid set; -1 asks for a new descriptor.
        let fd =
            unsafe { libc::signalfd(-1, set.pointer(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(sys::last_error());
        }
        // SAFETY: it was just opened.
        Ok(Self {
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
        })
    }

    /// Readable while a signal waits.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The next signal that waits, if one does.
    pub fn next(&self) -> Option<c_int> {
        let mut buffer = [0; size_of::<libc::signalfd_siginfo>()];
        let read = rustix::io::read(&self.fd, &mut buffer).ok()?;
        // ssi_signo is the structure's first field.
        let number = buffer.first_chunk::<4>().filter(|_| read == buffer.len())?;
        c_int::try_from(u32::from_ne_bytes(*number)).ok()
    }
}

/// What a supervisor inside the sandbox waits for: every signal but its own faults.
pub struct Inbox {
    set: Set,
}

impl Inbox {
    /// Blocks everything, so that from here on signals wait for [`Inbox::next`], those that are ignored as well.
    pub fn open() -> Self {
        let set = Set::of((1..=HIGHEST).filter(|signal| !FAULTS.contains(signal)));
        set.block_exactly();
        set_disposition(libc::SIGCHLD, libc::SIG_DFL);
        Self { set }
    }

    /// Waits for the next signal.
    pub fn next(&self) -> c_int {
        loop {
            // SAFETY: a valid set; a null pointer asks for no details.
            let signal = unsafe { libc::sigwaitinfo(self.set.pointer(), ptr::null_mut()) };
            if signal > 0 {
                return signal;
            }
        }
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
    let forwarded = Set::of(FORWARDED);
    let at_once = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid set and time; a null pointer asks for no details. It ends when nothing waits any more.
    while unsafe { libc::sigtimedwait(forwarded.pointer(), ptr::null_mut(), &raw const at_once) }
        > 0
    {}
}

/// Gives every signal its default action and blocks none, as a new program expects it.
pub fn reset() {
    (1..=HIGHEST).for_each(set_default);
    Set::empty().block_exactly();
}

/// Asks the kernel itself: the C library refuses to touch the two signals that it keeps for threads (32 and 33), and its
/// own `posix_spawn`, which GNU make uses, leaves them ignored.
fn set_default(signal: c_int) {
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

/// Has the kernel reap children, whatever this process is doing.
pub fn let_children_be_reaped() {
    set_disposition(libc::SIGCHLD, libc::SIG_IGN);
}

/// Leaves children to be waited for, as a process does that was just started.
pub fn let_children_be_waited_for() {
    set_disposition(libc::SIGCHLD, libc::SIG_DFL);
}

fn set_disposition(signal: c_int, action: libc::sighandler_t) {
    // SAFETY: the action is SIG_DFL or SIG_IGN. It fails for those signals that have no choice, and then nothing is
    // to be done.
    unsafe { libc::signal(signal, action) };
}

fn is_ignored(signal: c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null pointer changes nothing; the present action is written to `action`, zeroed before.
    unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
        action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

struct Set(libc::sigset_t);

impl Set {
    fn empty() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the whole set.
        Self(unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            set.assume_init()
        })
    }

    fn of(signals: impl IntoIterator<Item = c_int>) -> Self {
        let mut set = Self::empty();
        signals.into_iter().for_each(|signal| set.add(signal));
        set
    }

    fn add(&mut self, signal: c_int) {
        // SAFETY: an initialised set and the number of a signal.
        unsafe { libc::sigaddset(&raw mut self.0, signal) };
    }

    fn pointer(&self) -> *const libc::sigset_t {
        &raw const self.0
    }

    fn block_exactly(&self) {
        // SAFETY: an initialised set; the old mask is not asked for.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, self.pointer(), ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests;
