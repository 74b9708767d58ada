//! Signals that this process passes on to the worker that does its command: blocked, and read one by one.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::process::{getpid, kill_process, Signal};

/// What ends a command, or is for it.
const FORWARDED: [c_int; 6] = [
    libc::SIGTERM,
    libc::SIGINT,
    libc::SIGHUP,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
];

/// What stops it and lets it go on, and says that its window has changed.
const OF_THE_TERMINAL: [c_int; 3] = [libc::SIGTSTP, libc::SIGCONT, libc::SIGWINCH];

/// The signals, blocked for as long as this lives.
pub struct Signals {
    fd: OwnedFd,
    blocked: libc::sigset_t,
    before: libc::sigset_t,
}

impl Signals {
    /// Blocks them. What was ignored when the program started stays ignored, as `nohup` and a shell's `&` want it, and
    /// what was blocked waits.
    pub fn take() -> Result<Self, Errno> {
        let before = blocked_now();
        let blocked = set_of(
            FORWARDED
                .into_iter()
                .chain(OF_THE_TERMINAL)
                .filter(|&signal| !is_ignored(signal) && !is_in(&before, signal)),
        );
        // SAFETY: an initialised set, and the old mask is not asked for; then a valid set, where -1 asks for a new
        // descriptor.
        let fd = unsafe {
            libc::sigprocmask(libc::SIG_BLOCK, &raw const blocked, ptr::null_mut());
            libc::signalfd(
                -1,
                &raw const blocked,
                libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
            )
        };
        if fd < 0 {
            return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
        }
        // SAFETY: it was just opened.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            fd,
            blocked,
            before,
        })
    }

    /// Readable while a signal waits.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The next signal that waits, if one does.
    pub fn next(&self) -> Option<Signal> {
        let mut buffer = [0; size_of::<libc::signalfd_siginfo>()];
        let read = rustix::io::read(&self.fd, &mut buffer).ok()?;
        // ssi_signo is the structure's first field.
        let number = buffer.first_chunk::<4>().filter(|_| read == buffer.len())?;
        Signal::from_named_raw(c_int::try_from(u32::from_ne_bytes(*number)).ok()?)
    }

    /// Has a signal do to this process what it does to any; returns where that does not end it.
    pub fn obey(&self, signal: Signal) {
        let one = set_of([signal.as_raw()]);
        // It can be sent to ourselves.
        let _ = kill_process(getpid(), signal);
        // SAFETY: initialised sets; the old mask is not asked for.
        unsafe {
            libc::sigprocmask(libc::SIG_UNBLOCK, &raw const one, ptr::null_mut());
            libc::sigprocmask(libc::SIG_BLOCK, &raw const one, ptr::null_mut());
        }
    }

    /// Leaves blocked what a keeper passes on, so that it waits for the program that this process becomes.
    /// So do those that were passed on in vain.
    pub fn leave_to_the_keeper(&self, in_vain: &[Signal]) {
        for signal in in_vain {
            // It can be sent to ourselves.
            let _ = kill_process(getpid(), *signal);
        }
        let others = set_of(
            OF_THE_TERMINAL
                .into_iter()
                .filter(|&signal| !is_in(&self.before, signal)),
        );
        // SAFETY: an initialised set; the old mask is not asked for.
        unsafe { libc::sigprocmask(libc::SIG_UNBLOCK, &raw const others, ptr::null_mut()) };
    }

    /// Blocks all of them again.
    pub fn block(&self) {
        // SAFETY: an initialised set; the old mask is not asked for.
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const self.blocked, ptr::null_mut()) };
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // SAFETY: an initialised set; the old mask is not asked for.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut()) };
    }
}

/// Whether a signal, unless it is caught, ends a process.
pub fn ends(signal: Signal) -> bool {
    FORWARDED.contains(&signal.as_raw())
}

/// Blocks Ctrl-C, for the program that this process becomes; false: the caller had blocked it.
pub fn let_interrupts_wait() -> bool {
    if is_in(&blocked_now(), libc::SIGINT) {
        return false;
    }
    let one = set_of([libc::SIGINT]);
    // SAFETY: an initialised set; the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const one, ptr::null_mut()) };
    true
}

/// Ignores what Python ignores: a program that it starts has these signals so.
pub fn ignore_what_python_ignores() {
    for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
        // SAFETY: to ignore a signal has no code to be wrong about.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Lets children be waited for, where the caller had them reaped by the kernel.
pub fn let_children_be_waited_for() {
    // SAFETY: a default action has no code to be wrong about.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

fn is_ignored(signal: c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null pointer changes nothing; the present action is written to `action`, zeroed before.
    unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
        action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

fn blocked_now() -> libc::sigset_t {
    let mut set = set_of([]);
    // SAFETY: a null pointer changes nothing; the present mask is written to an initialised set.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), &raw mut set) };
    set
}

fn is_in(set: &libc::sigset_t, signal: c_int) -> bool {
    // SAFETY: an initialised set and the number of a signal.
    unsafe { libc::sigismember(set, signal) == 1 }
}

fn set_of(signals: impl IntoIterator<Item = c_int>) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset initialises the whole set, to which valid numbers are added.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}
