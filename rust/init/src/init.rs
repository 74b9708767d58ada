//! Inside the sandbox: the supervisor of the command, which is pid 1 or, beside a running command, one that joined.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{flock, FlockOperation};
use rustix::io::Errno;
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::process::{
    chdir, ioctl_tiocsctty, pidfd_open, set_parent_process_death_signal, setsid, wait, waitpid,
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus,
};
use rustix::system::sethostname;
use rustix::thread::{
    move_into_link_name_space, move_into_thread_name_spaces, LinkNameSpaceType, ThreadNameSpaceType,
};

use crate::arguments::Request;
use crate::command::execute;
use crate::failure::FAILED;
use crate::files::{self, Failed};
use crate::identity::{become_user, leave_keyring};
use crate::post::{Post, LOOK_AGAIN_MS};
use crate::report::{read_up_to, Report};
use crate::signals::{self, Inbox};
use crate::status::fields_of_stat;
use crate::streams::{open_null, Streams};
use crate::sys::{self, Spawned};

/// The step that fails where the working directory that was asked for is not there.
pub const ENTER_WORKDIR: &str = "enter the working directory";

/// What a supervisor needs to know.
pub struct Task<'a> {
    pub request: &'a Request,
    /// Where to run the command.
    pub post: &'a Post,
    /// The sandbox's terminals, of a command with a pid 1 of its own.
    pub terminals: Option<BorrowedFd<'a>>,
    /// The caller's working directory, taken if it exists there.
    pub directory: Option<&'a CStr>,
    pub streams: &'a Streams,
}

impl Task<'_> {
    /// The descriptors that are needed to enter the sandbox and to wait there; -1 for none.
    fn descriptors(&self) -> [RawFd; 3] {
        let number = |one: Option<BorrowedFd<'_>>| one.map_or(-1, |one| one.as_raw_fd());
        let directory = number(self.post.guest_directory());
        match self.post {
            Post::Own(_) => {
                let netns = self.request.netns.as_ref().map(AsFd::as_fd);
                [number(netns), directory, number(self.terminals)]
            }
            Post::Beside { pidfd, .. } => [pidfd.as_raw_fd(), directory, -1],
        }
    }
}

/// Runs the command from here to its end, as the process that `sys::spawn` has just made.
///
/// `report` is the pipe to the keeper, which must hold its only reading end once this process has closed its own copy.
pub fn supervise(task: &Task<'_>, report: BorrowedFd<'_>) -> ! {
    let mut kept = vec![report.as_raw_fd()];
    kept.extend(task.descriptors());
    kept.extend(task.streams.inside);
    // Whoever is root in the sandbox can open what this process has open.
    let null = give_up_standard_streams(task.streams.inside);
    kept.extend([0, 1, 2]);
    // SAFETY: it never returns to those who own the others.
    unsafe { sys::close_all_but(&mut kept) };
    signals::leave_session();
    let inbox = Inbox::open();
    let entered = null
        .map_err(Failed::at("open /dev/null"))
        .and_then(|()| leave_keyring().map_err(Failed::at("make a session keyring")))
        .and_then(|()| enter(task, report))
        .and_then(|()| start(task));
    match entered {
        Ok((command, executed)) => watch(task, report, &inbox, command, executed),
        Err(Failed { step, errno }) => {
            Report::NotSetUp(step.to_owned(), errno).send(report);
            sys::leave(FAILED)
        }
    }
}

/// Has /dev/null for each of this process's own standard streams that the command does not get.
fn give_up_standard_streams(given: [RawFd; 3]) -> Result<(), Errno> {
    if given == [0, 1, 2] {
        return Ok(());
    }
    let null = open_null()?;
    let kept = |number| {
        given
            .contains(&number)
            .then(|| sys::standard_stream(number))
    };
    sys::set_standard_streams([0, 1, 2].map(|number| kept(number).unwrap_or(null.as_fd())));
    Ok(())
}

fn enter(task: &Task<'_>, report: BorrowedFd<'_>) -> Result<(), Failed> {
    match task.post {
        Post::Own(_) => {
            die_with_keeper(report)?;
            let netns = task.request.netns.as_ref().ok_or(Errno::BADF);
            netns
                .and_then(|netns| {
                    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
                })
                .map_err(Failed::at("enter the network namespace"))?;
            if let Some(hostname) = &task.request.hostname {
                sethostname(hostname.to_bytes()).map_err(Failed::at("set the host name"))?;
            }
            files::make(task.request, task.terminals)
        }
        Post::Beside { pidfd, .. } => move_into_thread_name_spaces(
            pidfd.as_fd(),
            ThreadNameSpaceType::NETWORK
                | ThreadNameSpaceType::MOUNT
                | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME,
        )
        .map_err(Failed::at("enter the sandbox")),
    }
}

/// Makes this process die with the keeper, and with it everything that runs in the sandbox.
fn die_with_keeper(report: BorrowedFd<'_>) -> Result<(), Failed> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(Failed::at("depend on the keeper"))?;
    // The keeper may have died before that. Its pid says nothing in here (it is 0 before and after); the pipe does.
    let mut entry = [sys::entry(&report, 0)];
    sys::poll(&mut entry, 0);
    if entry[0].revents & libc::POLLERR != 0 {
        sys::leave(FAILED)
    }
    Ok(())
}

/// Reports whether the command was executed, and stays with it until it ends.
fn watch(
    task: &Task<'_>,
    report: BorrowedFd<'_>,
    inbox: &Inbox,
    command: i32,
    executed: OwnedFd,
) -> ! {
    let [_, directory, _] = task.descriptors();
    // SAFETY: it never returns to those who own the others.
    unsafe { sys::close_all_but(&mut [report.as_raw_fd(), executed.as_raw_fd(), directory]) };
    // A directory of the host, or of a file system that somebody wants to unmount, is not held by waiting in it.
    let _ = chdir(c"/");
    if let Ok(errno) = <[u8; 4]>::try_from(read_up_to(executed.as_fd(), 4)) {
        Report::NotExecuted(Errno::from_raw_os_error(i32::from_ne_bytes(errno))).send(report);
        let _ = waitpid(Pid::from_raw(command), WaitOptions::empty());
        sys::leave(127)
    }
    drop(executed);
    Report::Started.send(report);
    loop {
        match inbox.next() {
            libc::SIGCHLD => {
                if let Some(status) = reap(command) {
                    end(task, report, status)
                }
            }
            // It was not waited for yet, so the pid is still its own.
            signal => sys::kill(command, signal),
        }
    }
}

/// Reports how the command ended, and ends; if this is pid 1, with all that still runs in the pid namespace.
fn end(task: &Task<'_>, report: BorrowedFd<'_>, status: u8) -> ! {
    let guest = task.post.guest_directory();
    let Some(directory) = guest.filter(|directory| !is_alone(*directory)) else {
        Report::Ended(status).send(report);
        sys::leave(status)
    };
    // The keeper has nothing to wait for any more.
    let _ = set_parent_process_death_signal(None);
    Report::EndedAlone(status).send(report);
    while !is_alone(directory) {
        let there = joined();
        let mut entries: Vec<_> = there.iter().map(sys::readable).collect();
        // Without the process that records the end of this one and reads the output, it ends as it would without its
        // keeper.
        entries.push(sys::entry(&report, 0));
        sys::poll(&mut entries, ORPHANS_MS);
        if entries.last().is_some_and(|recorder| recorder.revents != 0) {
            break;
        }
        reap(0);
    }
    sys::leave(status)
}

/// Whether nobody has joined this pid 1, nor can any more: the directory is locked from then on. A keeper that is
/// stopped while it joins is not waited for.
fn is_alone(directory: BorrowedFd<'_>) -> bool {
    for _ in 0..ABOUT_TO_JOIN_MS / LOOK_AGAIN_MS {
        if flock(directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            break;
        }
        sys::poll(&mut [], LOOK_AGAIN_MS);
    }
    let alone = joined().is_empty();
    if !alone {
        let _ = flock(directory, FlockOperation::Unlock);
    }
    alone
}

/// How long a keeper may take to join.
const ABOUT_TO_JOIN_MS: i32 = 1000;

/// How long what has ended inside may wait to be reaped while nothing else is to be done.
const ORPHANS_MS: i32 = 1000;

/// The processes that have joined this pid 1: those in here whose parent is outside.
fn joined() -> Vec<OwnedFd> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let others = numbers.filter(|&number| number != 1 && has_parent_outside(number));
    others
        .filter_map(|number| pidfd_open(Pid::from_raw(number)?, PidfdFlags::empty()).ok())
        .collect()
}

/// Whether a living process has a parent in another pid namespace, which has no number in here (proc(5), field 4).
fn has_parent_outside(number: i32) -> bool {
    let Ok(stat) = std::fs::read(format!("/proc/{number}/stat")) else {
        return false;
    };
    let mut fields = fields_of_stat(&stat);
    !matches!(fields.next(), None | Some("Z" | "X")) && fields.next() == Some("0")
}

/// Reaps all children that have ended; the exit status of the command if it was among them.
fn reap(command: i32) -> Option<u8> {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid.as_raw_nonzero().get() == command {
            return Some(exit_status(status));
        }
    }
    None
}

fn exit_status(status: WaitStatus) -> u8 {
    let code = status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

/// Forks the command. The pipe carries an errno if it cannot be executed, and ends without one when it is.
fn start(task: &Task<'_>) -> Result<(i32, OwnedFd), Failed> {
    if let Some(workdir) = &task.request.workdir {
        // Here, where a failure can be reported with its step; the command inherits it.
        chdir(workdir.as_c_str()).map_err(Failed::at(ENTER_WORKDIR))?;
    }
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).map_err(Failed::at("make a pipe"))?;
    match sys::spawn(0).map_err(Failed::at("fork"))? {
        Spawned::Child => {
            let errno = become_command(task);
            let _ = rustix::io::write(&writer, &errno.raw_os_error().to_ne_bytes());
            sys::leave(127)
        }
        Spawned::Parent(child) => Ok((child.pid, reader)),
    }
}

fn become_command(task: &Task<'_>) -> Errno {
    if let Err(errno) = setsid() {
        return errno;
    }
    // SAFETY: the streams that the command gets are open until here.
    let streams = task.streams.inside;
    sys::set_standard_streams(streams.map(|number| unsafe { BorrowedFd::borrow_raw(number) }));
    if task.request.tty {
        // Descriptor 0 is the terminal now, and this process leads a session that has none.
        if let Err(errno) = ioctl_tiocsctty(sys::standard_stream(0)) {
            return errno;
        }
    }
    let elsewhere = |directory| chdir(directory).is_err();
    if task.request.workdir.is_none() && task.directory.is_none_or(elsewhere) {
        let _ = chdir(c"/");
    }
    if task.request.user.is_some() || task.request.only_environment {
        // What the caller has there is not for another user: addresses of agents, tokens, directories.
        sys::clear_environment();
    }
    for variable in &task.request.environment {
        set_variable(variable);
    }
    if let Some(user) = &task.request.user {
        if let Err(errno) = become_user(user, task.streams.own) {
            return errno;
        }
    }
    signals::reset();
    // SAFETY: nothing is handed on, and nothing closed before exec.
    unsafe { sys::close_on_exec_above_standard_streams(None) };
    execute(&task.request.command)
}

/// Adds `NAME=VALUE` to the environment, where `execute` looks for PATH.
fn set_variable(variable: &CStr) {
    let bytes = variable.to_bytes();
    // One without a name is none.
    if let Some(equals @ 1..) = bytes.iter().position(|&byte| byte == b'=') {
        let (name, value) = (&bytes[..equals], &bytes[equals + 1..]);
        std::env::set_var(OsStr::from_bytes(name), OsStr::from_bytes(value));
    }
}
