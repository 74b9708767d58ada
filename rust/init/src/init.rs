//! Inside the sandbox: the supervisor of the command, which is pid 1 or, beside a running command, one that joined.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{flock, open, FlockOperation, Mode, OFlags};
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

use crate::arguments::User;
use crate::command::execute;
use crate::files::{self, Failed};
use crate::identity::{become_user, leave_keyring};
use crate::post::LOOK_AGAIN_MS;
use crate::report::{read_up_to, Report};
use crate::signals::{self, Inbox};
use crate::sys::{self, Spawned};

/// Where a supervisor is to run its command.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// As pid 1 of a pid namespace of its own, in this network namespace, with these files. A `guest` has the sandbox's
    /// folder, and is pid 1 for as long as others are there that have joined; otherwise they end with its command.
    New {
        netns: BorrowedFd<'a>,
        rootfs: Option<&'a CStr>,
        guest: Option<BorrowedFd<'a>>,
        hostname: Option<&'a CStr>,
        etc: Option<&'a CStr>,
        pins: &'a [CString],
        terminals: Option<BorrowedFd<'a>>,
    },
    /// Beside the command whose pid 1 this is.
    Beside { pidfd: BorrowedFd<'a> },
}

/// The step that fails where the working directory that was asked for is not there.
pub const ENTER_WORKDIR: &str = "enter the working directory";

/// What a supervisor needs to know.
pub struct Task<'a> {
    /// Where to run the command.
    pub place: Place<'a>,
    /// The command's name and arguments.
    pub command: &'a [CString],
    /// The working directory, taken if it exists there.
    pub directory: Option<&'a CStr>,
    /// The working directory that it must have.
    pub workdir: Option<&'a CStr>,
    /// What it has besides this process's environment or, as another user, instead.
    pub environment: &'a [CString],
    /// Who runs it, if not this process's user.
    pub user: Option<&'a User>,
    /// The command's standard streams.
    pub streams: [RawFd; 3],
    /// Whether the first of them is a terminal that the command is to control.
    pub terminal: bool,
    /// Which of them were made for it alone.
    pub own_streams: [bool; 3],
}

impl Task<'_> {
    /// The number of the folder's descriptor, of a guest; -1 of any other.
    fn folder(&self) -> RawFd {
        match self.place {
            Place::New {
                guest: Some(folder),
                ..
            } => folder.as_raw_fd(),
            _ => -1,
        }
    }

    /// The number of the descriptor of the sandbox's terminals, of one who mounts them; -1 of any other.
    fn terminals(&self) -> RawFd {
        match self.place {
            Place::New {
                terminals: Some(terminals),
                ..
            } => terminals.as_raw_fd(),
            _ => -1,
        }
    }
}

/// Runs the command from here to its end, as the process that `sys::spawn` has just made.
///
/// `report` is the pipe to the keeper, which must hold its only reading end once this process has closed its own copy.
pub fn supervise(task: &Task<'_>, report: BorrowedFd<'_>) -> ! {
    let namespace = match task.place {
        Place::New { netns, .. } => netns,
        Place::Beside { pidfd } => pidfd,
    };
    let mut kept = vec![
        report.as_raw_fd(),
        namespace.as_raw_fd(),
        task.folder(),
        task.terminals(),
    ];
    kept.extend(task.streams);
    // Whoever is root in the sandbox can open what this process has open.
    let null = give_up_standard_streams(task.streams);
    kept.extend([0, 1, 2]);
    // SAFETY: it never returns to those who own the others.
    unsafe { sys::close_all_but(&mut kept) };
    signals::leave_session();
    let inbox = Inbox::open();
    let entered = null
        .map_err(Failed::at("open /dev/null"))
        .and_then(|()| leave_keyring().map_err(Failed::at("make a session keyring")))
        .and_then(|()| enter(task.place, report));
    if let Err(Failed { step, errno }) = entered {
        Report::NotSetUp(step.to_owned(), errno).send(report);
        sys::leave(125)
    }
    run(task, report, &inbox)
}

/// Has /dev/null for each of this process's own standard streams that the command does not get.
fn give_up_standard_streams(given: [RawFd; 3]) -> Result<(), Errno> {
    if given == [0, 1, 2] {
        return Ok(());
    }
    let null = open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let kept = |number| {
        given
            .contains(&number)
            .then(|| sys::standard_stream(number))
    };
    sys::set_standard_streams([0, 1, 2].map(|number| kept(number).unwrap_or(null.as_fd())));
    Ok(())
}

fn enter(place: Place<'_>, report: BorrowedFd<'_>) -> Result<(), Failed> {
    match place {
        Place::New {
            netns,
            rootfs,
            hostname,
            etc,
            pins,
            terminals,
            ..
        } => {
            die_with_keeper(report)?;
            move_into_link_name_space(netns, Some(LinkNameSpaceType::Network))
                .map_err(Failed::at("enter the network namespace"))?;
            if let Some(hostname) = hostname {
                sethostname(hostname.to_bytes()).map_err(Failed::at("set the host name"))?;
            }
            files::make(rootfs, etc, pins, terminals)
        }
        Place::Beside { pidfd } => move_into_thread_name_spaces(
            pidfd,
            ThreadNameSpaceType::NETWORK
                | ThreadNameSpaceType::MOUNT
                | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME,
        )
        .map_err(Failed::at("enter the sandbox")),
    }
}

/// Has this process die with the keeper, and with it all that runs in the sandbox.
fn die_with_keeper(report: BorrowedFd<'_>) -> Result<(), Failed> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(Failed::at("depend on the keeper"))?;
    // The keeper may have died before that. Its pid says nothing in here (it is 0 before and after); the pipe does.
    let mut entry = [libc::pollfd {
        fd: report.as_raw_fd(),
        events: 0,
        revents: 0,
    }];
    sys::poll(&mut entry, 0);
    if entry[0].revents & libc::POLLERR != 0 {
        sys::leave(125)
    }
    Ok(())
}

fn run(task: &Task<'_>, report: BorrowedFd<'_>, inbox: &Inbox) -> ! {
    let (command, executed) = match start(task) {
        Ok(started) => started,
        Err(Failed { step, errno }) => {
            Report::NotSetUp(step.to_owned(), errno).send(report);
            sys::leave(125)
        }
    };
    // SAFETY: it never returns to those who own the others.
    unsafe {
        sys::close_all_but(&mut [report.as_raw_fd(), executed.as_raw_fd(), task.folder()]);
    };
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
    let guest = match task.place {
        Place::New { guest, .. } => guest,
        Place::Beside { .. } => None,
    };
    let Some(folder) = guest.filter(|folder| !is_alone(*folder)) else {
        Report::Ended(status).send(report);
        sys::leave(status)
    };
    // The keeper has nothing to wait for any more.
    let _ = set_parent_process_death_signal(None);
    Report::EndedAlone(status).send(report);
    while !is_alone(folder) {
        let there = joined();
        let mut entries: Vec<_> = there.iter().map(sys::readable).collect();
        // Without who records this process's end, and reads what is shown, it ends as it does without its keeper.
        let mut recorder = sys::readable(&report);
        recorder.events = 0;
        entries.push(recorder);
        sys::poll(&mut entries, ORPHANS_MS);
        if entries.last().is_some_and(|recorder| recorder.revents != 0) {
            break;
        }
        reap(0);
    }
    sys::leave(status)
}

/// Whether nobody has joined this pid 1, nor can any more: the folder is locked from then on. A keeper that is stopped
/// while it joins is not waited for.
fn is_alone(folder: BorrowedFd<'_>) -> bool {
    for _ in 0..ABOUT_TO_JOIN_MS / LOOK_AGAIN_MS {
        if flock(folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
            break;
        }
        sys::poll(&mut [], LOOK_AGAIN_MS);
    }
    let alone = joined().is_empty();
    if !alone {
        let _ = flock(folder, FlockOperation::Unlock);
    }
    alone
}

/// How long a keeper may take to join.
const ABOUT_TO_JOIN_MS: i32 = 1000;

/// How long what has ended inside may wait to be reaped while nothing else is to be done.
const ORPHANS_MS: i32 = 1000;

/// Who has joined this pid 1: the other processes in here whose parent is outside.
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
    let rest = stat
        .iter()
        .rposition(|&byte| byte == b')')
        .map(|end| &stat[end..]);
    rest.is_some_and(|rest| {
        let mut fields = rest.split(|&byte| byte == b' ').skip(1);
        !matches!(fields.next(), None | Some(b"Z" | b"X")) && fields.next() == Some(b"0")
    })
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
    if let Some(workdir) = task.workdir {
        // Here, where a failure can say what it is about; the command inherits it.
        chdir(workdir).map_err(Failed::at(ENTER_WORKDIR))?;
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
    sys::set_standard_streams(
        task.streams
            .map(|number| unsafe { BorrowedFd::borrow_raw(number) }),
    );
    if task.terminal {
        // Descriptor 0 is the terminal now, and this process leads a session that has none.
        if let Err(errno) = ioctl_tiocsctty(sys::standard_stream(0)) {
            return errno;
        }
    }
    if task.workdir.is_none()
        && task
            .directory
            .is_none_or(|directory| chdir(directory).is_err())
    {
        let _ = chdir(c"/");
    }
    if task.user.is_some() {
        // What the caller has there is the caller's: addresses of agents, tokens, folders.
        sys::clear_environment();
    }
    for variable in task.environment {
        set_variable(variable);
    }
    if let Some(user) = task.user {
        if let Err(errno) = become_user(user, task.own_streams) {
            return errno;
        }
    }
    signals::reset();
    // SAFETY: nothing is handed on, and nothing closed before exec.
    unsafe { sys::close_on_exec_above_standard_streams(None) };
    execute(task.command)
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
