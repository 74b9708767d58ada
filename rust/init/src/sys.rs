//! The system calls that rustix does not offer, each in the smallest possible `unsafe`; and what is done by the numbers
//! of descriptors, whoever owns them, which is for the caller to know.
//!
//! Everything here counts on the process having one thread, as this program always has.

use std::ffi::{c_char, c_int, c_long, c_short, c_uint, CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::io::{fcntl_setfd, Errno, FdFlags};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout};

/// `struct clone_args` of <linux/sched.h>, as far as Linux 5.3 knows it.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// Which of the two processes returned from [`spawn`].
pub enum Spawned {
    /// The new one.
    Child,
    /// The one that called.
    Parent(Child),
}

/// A child process, named so that its pid cannot mean another.
pub struct Child {
    /// Its pid in the pid namespace of the caller.
    pub pid: i32,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
}

/// Forks, into new namespaces where `namespaces` (CLONE_NEW…) says so.
///
/// The child has a copy of everything and must not return into the parent's code: it ends with [`leave`] or exec.
pub fn spawn(namespaces: c_int) -> Result<Spawned, Errno> {
    let mut pidfd: c_int = -1;
    let arguments = CloneArguments {
        flags: (namespaces | libc::CLONE_PIDFD) as u64,
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArguments::default()
    };
    // SAFETY: the structure and its size are as clone3(2) wants them; without CLONE_VM and with no stack given it is
    // a plain fork, and with one thread there is no lock that the child could find taken.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw const arguments,
            size_of::<CloneArguments>(),
        )
    };
    match pid {
        0 => Ok(Spawned::Child),
        1.. => {
            // SAFETY: the kernel has just opened it for us.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Spawned::Parent(Child {
                pid: pid as i32,
                pidfd,
            }))
        }
        _ => Err(last_error()),
    }
}

/// Ends this process at once: no destructors, no exit handlers.
pub fn leave(status: u8) -> ! {
    // SAFETY: it does not return.
    unsafe { libc::_exit(c_int::from(status)) }
}

/// Replaces this process by `program`; returns only with the reason why not.
///
/// `arguments` are those of the new program, its name first; the environment is this process's.
pub fn execute(program: &CStr, arguments: &[CString]) -> Errno {
    let mut pointers: Vec<_> = arguments.iter().map(|word| word.as_ptr()).collect();
    pointers.push(ptr::null());
    // SAFETY: a terminated string and a terminated array of such, alive until the call returns.
    unsafe { libc::execv(program.as_ptr(), pointers.as_ptr()) };
    last_error()
}

/// Takes over a descriptor that the caller named on the command line; None where it is not open, or a standard stream.
///
/// # Safety
/// Nothing else in this process owns the descriptor of that number.
pub unsafe fn inherited(fd: RawFd) -> Option<OwnedFd> {
    if fd < 3 {
        return None;
    }
    // SAFETY: what is not open is told by the next call, and not used then.
    fcntl_setfd(unsafe { BorrowedFd::borrow_raw(fd) }, FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is open, and by what the caller says nobody else's.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes the three descriptors standard input, output and error. Each is its own target or above 2.
pub fn set_standard_streams([input, output, error]: [BorrowedFd<'_>; 3]) {
    // It can only be interrupted, and leaves the target as it is then.
    let _ = dup2_stdin(input);
    let _ = dup2_stdout(output);
    let _ = dup2_stderr(error);
}

/// Standard input, output or error, by its number (0, 1 or 2), whatever it is at the moment.
pub fn standard_stream(number: RawFd) -> BorrowedFd<'static> {
    match number {
        0 => stdin(),
        1 => stdout(),
        _ => stderr(),
    }
}

/// Empties this process's environment.
pub fn clear_environment() {
    // SAFETY: there is no other thread that could be reading it.
    unsafe { libc::clearenv() };
}

/// Gives this process a new session keyring, without a name and empty, in place of the one that it was given.
pub fn join_new_session_keyring() -> Result<(), Errno> {
    // SAFETY: plain numbers; no name is a null pointer.
    let serial = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            c_long::from(libc::KEYCTL_JOIN_SESSION_KEYRING),
            ptr::null::<c_char>(),
        )
    };
    if serial < 0 {
        return Err(last_error());
    }
    Ok(())
}

/// Closes every descriptor but those of `kept`, which it sorts. Negative ones are passed over.
///
/// # Safety
/// From then on, no owner of another one is used or dropped; standard streams that are not kept are not asked for.
pub unsafe fn close_all_but(kept: &mut [RawFd]) {
    kept.sort_unstable();
    let mut first: c_uint = 0;
    for fd in kept.iter().filter_map(|&fd| c_uint::try_from(fd).ok()) {
        if fd > first {
            // SAFETY: the caller's.
            unsafe { close_range(first, fd - 1, 0) };
        }
        first = first.max(fd + 1);
    }
    // SAFETY: the caller's.
    unsafe { close_range(first, c_uint::MAX, 0) };
}

/// Lets exec close every descriptor above the standard streams, and hands on `kept` as [`HANDED_ON`].
///
/// # Safety
/// What has the number of [`HANDED_ON`] until then is not used any more, nor dropped, unless it is `kept` itself.
pub unsafe fn close_on_exec_above_standard_streams(kept: Option<BorrowedFd<'_>>) {
    // SAFETY: it closes none, but sets a flag of each.
    unsafe { close_range(3, c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if let Some(kept) = kept {
        if kept.as_raw_fd() == HANDED_ON {
            let _ = fcntl_setfd(kept, FdFlags::empty());
        } else {
            // SAFETY: the caller's: what it closes is used by nobody any more.
            unsafe { libc::dup2(kept.as_raw_fd(), HANDED_ON) };
        }
    }
}

/// The descriptor that a program gets besides the standard streams.
pub const HANDED_ON: RawFd = 3;

/// # Safety
/// Without CLOSE_RANGE_CLOEXEC, no owner of a descriptor of that range is used or dropped afterwards.
unsafe fn close_range(first: c_uint, last: c_uint, flags: c_uint) {
    // SAFETY: the caller's.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            c_long::from(first),
            c_long::from(last),
            c_long::from(flags),
        )
    };
}

/// Sends a signal to a child that was not yet waited for, so that its pid is still its own. Also one without a name
/// (SIGRTMIN + 1), of which rustix makes none.
pub fn kill(pid: i32, signal: c_int) {
    // SAFETY: plain numbers; it can only fail.
    unsafe { libc::kill(pid, signal) };
}

/// What [`poll`] passes over; rustix's poll has no such thing.
pub const NOTHING: libc::pollfd = libc::pollfd {
    fd: -1,
    events: 0,
    revents: 0,
};

/// What [`poll`] waits for: something to read, or the end of a process.
pub fn readable(fd: &impl AsFd) -> libc::pollfd {
    entry(fd, libc::POLLIN)
}

/// What [`poll`] waits for: those events; errors and hang-ups in any case.
pub fn entry(fd: &impl AsFd, events: c_short) -> libc::pollfd {
    libc::pollfd {
        fd: fd.as_fd().as_raw_fd(),
        events,
        revents: 0,
    }
}

/// Waits for whichever of the `entries` has something to say, or `timeout_ms` (-1: for ever); entries with a
/// negative descriptor are passed over. An interruption is told as nothing having happened.
pub fn poll(entries: &mut [libc::pollfd], timeout_ms: c_int) {
    for entry in entries.iter_mut() {
        entry.revents = 0;
    }
    // SAFETY: pointer and length of one slice, written to by the kernel.
    unsafe {
        libc::poll(
            entries.as_mut_ptr(),
            entries.len() as libc::nfds_t,
            timeout_ms,
        )
    };
}

/// An error's text as the C library says it: `Permission denied`.
pub fn text_of(errno: Errno) -> String {
    let text = std::io::Error::from(errno).to_string();
    let words = text.split_once(" (os error ").map(|(words, _)| words);
    words.unwrap_or(&text).to_owned()
}

/// The error of the C library's call that has just failed.
fn last_error() -> Errno {
    let error = std::io::Error::last_os_error();
    Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
}
