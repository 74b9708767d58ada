//! Removes a sandbox when its command has ended.

use std::ffi::{CStr, CString};
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{open, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::chdir;
use rustix::stdio::{stderr, stdin, stdout};

use crate::announce::say;
use crate::arguments::{shown_name, Request};
use crate::command;
use crate::failure::{block, Failure};
use crate::log::open_to_append;
use crate::queue::Waiting;
use crate::running::wait_for;
use crate::signals;
use crate::streams::open_null;
use crate::sys::{self, set_standard_streams, Child, Spawned};

/// Has the sandbox removed, and shows what prevents that, on standard error or in the log of a detached command: by one
/// program for all sandboxes whose commands have ended or, where this one cannot enter the queue, by a program for it
/// alone.
pub fn clean_up(request: &Request) {
    if request.after.is_empty() {
        return;
    }
    if request.detach {
        // Nobody reads the standard error of a detached keeper.
        let _ = show_in_log(&request.directory);
    }
    if let Some(answer) = clean_up_with_others(request) {
        let _ = std::io::stderr().write_all(&answer);
        return;
    }
    match start(&request.after, Some(stderr()), None) {
        Ok(child) => {
            if let Some(signal) = wait_for(&child) {
                say(&left_by(signal, &request.name));
            }
        }
        Err(errno) => say(&Failure::at("start the program that cleans up")(errno).text()),
    }
}

/// Has this process's standard error added to the log in a sandbox's directory, which is there for as long as the
/// sandbox is.
fn show_in_log(directory: &CStr) -> Result<(), Errno> {
    let directory = open(directory, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let log = open_to_append(directory)?;
    set_standard_streams([stdin(), stdout(), log.as_fd()]);
    Ok(())
}

/// What is said where the program that cleans up was ended by a signal, and could not say anything.
fn left_by(signal: i32, name: &str) -> String {
    block(
        &format!("sandbox `{name}` may be left"),
        &format!("what was to remove it was ended by signal {signal}"),
        &format!("`macvfast rm -f {name}` removes it"),
    )
}

/// What the program for all answers of this sandbox; None where it did not answer.
fn clean_up_with_others(request: &Request) -> Option<Vec<u8>> {
    let waiting = Waiting::enter(request.queue.as_deref()?, &request.directory).ok()?;
    waiting.wait(|lock| {
        // It may outlive this process, and must not keep open what the caller reads.
        start(&request.after_all, None, Some(lock)).ok()
    })
}

/// Starts a program that cleans up, with that standard error and a lock to hold. It is out of the terminal's reach: a
/// second Ctrl-C is no reason to leave it half done.
fn start(
    program: &[CString],
    errors: Option<BorrowedFd<'_>>,
    lock: Option<&OwnedFd>,
) -> Result<Child, Errno> {
    match sys::spawn(0)? {
        Spawned::Parent(child) => Ok(child),
        Spawned::Child => {
            signals::leave_session();
            if let Ok(null) = open_null() {
                let null = null.as_fd();
                set_standard_streams([null, null, errors.unwrap_or(null)]);
            }
            if lock.is_some() {
                let _ = chdir(c"/");
            }
            signals::reset();
            // SAFETY: this process executes a program, or ends, and drops no owner of a descriptor before.
            unsafe { sys::close_on_exec_above_standard_streams(lock.map(AsFd::as_fd)) };
            let errno = command::execute(program);
            let name = program.first().map(shown_name).unwrap_or_default();
            let failure = Failure::of_command(name, errno);
            say(&failure.text());
            sys::leave(failure.status())
        }
    }
}
