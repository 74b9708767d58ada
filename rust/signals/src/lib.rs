//! Signals that a program blocks and reads one by one, so that none of its code runs inside a handler.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;

/// What ends a command, or is for it: a client passes it on to its worker, and a keeper to its command.
pub const PASSED_ON: [c_int; 6] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

/// A set of signals.
pub struct Set(libc::sigset_t);

impl Set {
    /// A set of these signals.
    pub fn of(signals: impl IntoIterator<Item = c_int>) -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset initialises the whole set, to which numbers are added; one that is none changes nothing.
        Self(unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            set.assume_init()
        })
    }

    /// Those that this thread has blocked.
    #[must_use]
    pub fn blocked() -> Self {
        let mut set = Self::of([]);
        // SAFETY: a null pointer changes nothing; the present mask is written to an initialised set.
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), &raw mut set.0) };
        set
    }

    /// Those that have arrived and wait, as they are blocked.
    #[must_use]
    pub fn waiting() -> Self {
        let mut set = Self::of([]);
        // SAFETY: they are written to an initialised set.
        unsafe { libc::sigpending(&raw mut set.0) };
        set
    }

    /// Whether a signal is in it.
    #[must_use]
    pub fn has(&self, signal: c_int) -> bool {
        // SAFETY: an initialised set and a number.
        unsafe { libc::sigismember(&raw const self.0, signal) == 1 }
    }

    /// Blocks these signals, too.
    pub fn block(&self) {
        self.change(libc::SIG_BLOCK);
    }

    /// Blocks them no more.
    pub fn unblock(&self) {
        self.change(libc::SIG_UNBLOCK);
    }

    /// Blocks these signals, and no others.
    pub fn block_exactly(&self) {
        self.change(libc::SIG_SETMASK);
    }

    fn change(&self, how: c_int) {
        // SAFETY: an initialised set; the old mask is not asked for.
        unsafe { libc::sigprocmask(how, &raw const self.0, ptr::null_mut()) };
    }

    /// Waits until one of them arrives, and takes it. They are blocked.
    #[must_use]
    pub fn wait(&self) -> c_int {
        loop {
            // SAFETY: an initialised set; a null pointer asks for no details.
            let signal = unsafe { libc::sigwaitinfo(&raw const self.0, ptr::null_mut()) };
            if signal > 0 {
                return signal;
            }
        }
    }

    /// Drops those that wait. They are blocked.
    pub fn forget(&self) {
        let at_once = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: an initialised set and a valid time; a null pointer asks for no details. It ends when none waits.
        while unsafe { libc::sigtimedwait(&raw const self.0, ptr::null_mut(), &raw const at_once) }
            > 0
        {}
    }
}

/// Reads the signals of a set, which are blocked.
pub struct Reader(OwnedFd);

impl Reader {
    /// Opens it.
    ///
    /// # Errors
    ///
    /// There is no descriptor left.
    pub fn of(set: &Set) -> Result<Self, Errno> {
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: an initialised set; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &raw const set.0, flags) };
        if fd < 0 {
            return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
        }
        // SAFETY: it was just opened.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Readable while a signal waits.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The next signal that waits, if one does.
    #[must_use]
    pub fn next(&self) -> Option<c_int> {
        let mut buffer = [0; size_of::<libc::signalfd_siginfo>()];
        let read = rustix::io::read(&self.0, &mut buffer).ok()?;
        // ssi_signo is the structure's first field.
        let number = buffer.first_chunk::<4>().filter(|_| read == buffer.len())?;
        c_int::try_from(u32::from_ne_bytes(*number)).ok()
    }
}

/// Whether this process ignores a signal.
#[must_use]
pub fn is_ignored(signal: c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null pointer changes nothing; the present action is written to `action`, zeroed before.
    unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
        action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Ignores a signal; of SIGCHLD: the kernel reaps children, whatever this process is doing.
pub fn ignore(signal: c_int) {
    set_action(signal, libc::SIG_IGN);
}

/// Gives a signal its default action; of SIGCHLD: children can be waited for.
pub fn set_default(signal: c_int) {
    set_action(signal, libc::SIG_DFL);
}

fn set_action(signal: c_int, action: libc::sighandler_t) {
    // SAFETY: neither action has code to be wrong about. It fails for signals that have no choice.
    unsafe { libc::signal(signal, action) };
}

#[cfg(test)]
mod tests;
