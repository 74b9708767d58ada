//! Outside the sandbox: the process that starts the command's supervisor, holds its terminal, passes signals on,
//! records how it ends and, last, has the sandbox removed.
//!
//! It stays in the namespaces that it was started in; only the supervisor that it forks leaves them.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::process::{getcwd, setsid};
use rustix::termios::Winsize;
use rustix::thread::{move_into_thread_name_spaces, ThreadNameSpaceType};

use crate::announce::{say, Announce};
use crate::arguments::{shown_name, Request};
use crate::cleaning::clean_up;
use crate::devpts;
use crate::failure::{Failure, ENDED_TOGETHER, FAILED, KILLED};
use crate::init::{self, Task};
use crate::log::Logged;
use crate::post::{ended_or, has_ended, return_to_own_processes, take_post, Post, ABOUT_TO_END_MS};
use crate::report::{read_up_to, Report};
use crate::running::{kill, wait_for, Running};
use crate::signals::{self, Signals};
use crate::status::{Process, State};
use crate::streams::{open_null, Streams};
use crate::sys::{self, Spawned};
use crate::terminal;

/// Runs a request from here to its end; the exit status of this process.
pub fn keep(mut request: Request) -> u8 {
    let asked = request.start_directory.take();
    let surroundings = Surroundings {
        directory: asked.or_else(|| getcwd(Vec::new()).ok()),
        window: terminal::window(),
    };
    // Whatever else the caller left open would be held for as long as the command runs.
    let [netns, lock] = request.descriptors();
    // SAFETY: nothing else was opened yet.
    unsafe { sys::close_all_but(&mut [0, 1, 2, netns, lock]) };
    if !request.detach {
        return keep_in_this_process(request, &surroundings, Announce::StandardError);
    }
    let (status, line) = detach(request, &surroundings)
        .unwrap_or_else(|errno| Failure::at("start the keeper")(errno).report());
    say(&line);
    status
}

/// What is remembered of the caller's surroundings before anything changes.
struct Surroundings {
    directory: Option<CString>,
    window: Option<Winsize>,
}

/// Runs the keeper in a process of its own, and waits only until the command runs or could not be started; status and
/// line of the keeper's report.
fn detach(request: Request, surroundings: &Surroundings) -> Result<(u8, String), Errno> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    match sys::spawn(0)? {
        Spawned::Child => {
            drop(reader);
            let _ = setsid();
            let mut announce = Announce::Pipe(writer);
            match open_null() {
                Ok(null) => sys::set_standard_streams([null.as_fd(); 3]),
                Err(errno) => {
                    announce.failed(&Failure::at("open /dev/null")(errno));
                    sys::leave(FAILED)
                }
            }
            sys::leave(keep_in_this_process(request, surroundings, announce))
        }
        Spawned::Parent(_) => {
            drop((writer, request));
            let report = read_up_to(reader.as_fd(), 8192);
            Ok(report.split_first().map_or_else(
                || (FAILED, "0 its keeper was killed\n".to_owned()),
                |(status, line)| (*status, String::from_utf8_lossy(line).into_owned()),
            ))
        }
    }
}

/// Runs a request in this process.
fn keep_in_this_process(
    mut request: Request,
    surroundings: &Surroundings,
    mut announce: Announce,
) -> u8 {
    let outcome = loop {
        let post = match take_post(&mut request) {
            Ok(post) => post.of_policy(request.restart.is_some()),
            Err(failure) => {
                announce.failed(&failure);
                return failure.status();
            }
        };
        let keeper = Keeper {
            request: &mut request,
            surroundings,
            post,
        };
        match keeper.keep(&mut announce) {
            // Something else runs by now, or nothing: look again.
            Err(Failure::Ended) => {
                if let Err(errno) = return_to_own_processes() {
                    break Err(Failure::at("return from the sandbox")(errno));
                }
            }
            outcome => break outcome,
        }
    };
    // The namespace is about to be removed, whether a supervisor has entered it or not.
    request.netns = None;
    clean_up(&request);
    outcome.unwrap_or_else(|failure| {
        announce.failed(&failure);
        failure.status()
    })
}

/// The work of one request.
struct Keeper<'a> {
    request: &'a mut Request,
    surroundings: &'a Surroundings,
    post: Post,
}

impl Keeper<'_> {
    /// Starts the command, stays with it and records its end; the status to end with.
    fn keep(mut self, announce: &mut Announce) -> Result<u8, Failure> {
        let mut running = self.begin()?;
        announce.started();
        if let Some(policy) = self.request.restart {
            return Ok(self.run_again(running, policy));
        }
        running.watch();
        let (state, alone) = self.outcome(&running);
        Ok(self.end(&mut running, state, alone))
    }

    /// Starts the command; once this returns, it runs and that is recorded.
    fn begin(&mut self) -> Result<Running, Failure> {
        let mut running = self.start()?;
        let report = Report::receive(&running.reports);
        if report != Some(Report::Started) {
            wait_for(&running.child);
            return Err(self.not_started(&running, report));
        }
        if let Post::Beside { joining, .. } = &mut self.post {
            *joining = None;
        }
        // Whoever reads the command's output learns of its end from itself alone; the supervisor is in the namespace.
        running.streams.let_go(self.request.detach);
        if self.request.restart.is_none() {
            self.request.netns = None;
        }
        if let Err(failure) = self.write(&running, State::Running) {
            // What is not recorded must not run.
            kill(&running.child);
            return Err(failure);
        }
        Ok(running)
    }

    fn start(&self) -> Result<Running, Failure> {
        let signals = Signals::take(self.request.tty).map_err(Failure::at("block signals"))?;
        if let Post::Own(record) = &self.post {
            record.forget_stop();
        }
        let terminals = self.terminals()?;
        let streams = self.streams(terminals.as_ref().map(AsFd::as_fd))?;
        let (reports, pipe) = pipe_with(PipeFlags::CLOEXEC).map_err(Failure::at("make a pipe"))?;
        let spawned = match &self.post {
            Post::Own(_) => {
                let own_name = match self.request.hostname {
                    Some(_) => libc::CLONE_NEWUTS,
                    None => 0,
                };
                sys::spawn(libc::CLONE_NEWPID | own_name)
                    .map_err(Failure::at("make a pid namespace"))?
            }
            Post::Beside { pidfd, .. } => {
                // A child that nobody has waited for would keep the sandbox's pid 1 from ending, even while this
                // process is stopped.
                macvfast_signals::ignore(libc::SIGCHLD);
                move_into_thread_name_spaces(pidfd.as_fd(), ThreadNameSpaceType::PROCESS_ID)
                    .and_then(|()| sys::spawn(0))
                    .map_err(|errno| ended_or("enter the sandbox", errno, pidfd))?
            }
        };
        let child = match spawned {
            Spawned::Parent(child) => child,
            Spawned::Child => self.supervise(&streams, terminals.as_ref(), &pipe),
        };
        drop(pipe);
        let process = match &self.post {
            Post::Own(_) => Some(Process::child(child.pid)),
            Post::Beside { .. } => None,
        };
        let process = process.transpose().map_err(|errno| {
            kill(&child);
            Failure::at("read the start time of pid 1")(errno)
        })?;
        Ok(Running {
            child,
            process,
            reports,
            signals,
            streams,
        })
    }

    /// The sandbox's terminals: new ones for a command with a pid 1 of its own.
    fn terminals(&self) -> Result<Option<OwnedFd>, Failure> {
        match &self.post {
            Post::Own(_) => devpts::make().map_err(Failure::at("mount /dev/pts")),
            Post::Beside { pidfd, .. } if self.request.tty => Ok(devpts::of_running(pidfd.as_fd())),
            Post::Beside { .. } => Ok(None),
        }
    }

    fn streams(&self, terminals: Option<BorrowedFd<'_>>) -> Result<Streams, Failure> {
        let log = match &self.post {
            Post::Own(record) if self.request.detach => Some(
                record
                    .open_log(self.request.log_limit)
                    .map_err(|errno| self.directory_failed("open its log", errno))?,
            ),
            _ => None,
        };
        Streams::prepare(self.request, log, self.surroundings.window, terminals)
    }

    fn directory_failed(&self, step: &'static str, errno: Errno) -> Failure {
        Failure::Directory {
            path: shown_name(&self.request.directory),
            step,
            errno,
        }
    }

    /// Becomes the supervisor, in the process that was forked for it.
    fn supervise(&self, streams: &Streams, terminals: Option<&OwnedFd>, pipe: &OwnedFd) -> ! {
        let directory = self.surroundings.directory.as_deref();
        let task = Task {
            request: self.request,
            post: &self.post,
            terminals: terminals.map(AsFd::as_fd),
            directory: directory.filter(|_| self.request.rootfs.is_none()),
            streams,
        };
        init::supervise(&task, pipe.as_fd())
    }

    fn not_started(&self, running: &Running, report: Option<Report>) -> Failure {
        let command = self.request.command_name();
        let of_the_command =
            |failure: Failure| match self.write(running, State::Exited(failure.status())) {
                Ok(()) => failure,
                Err(failure) => failure,
            };
        match (report, &self.post) {
            (Some(Report::NotExecuted(errno)), _) => {
                of_the_command(Failure::of_command(command, errno))
            }
            (Some(Report::NotSetUp(step, errno)), _) if step == init::ENTER_WORKDIR => {
                let directory = self.request.workdir.as_ref().map(shown_name);
                of_the_command(Failure::NoDirectory {
                    command,
                    directory: directory.unwrap_or_default(),
                    errno,
                })
            }
            (Some(Report::NotSetUp(step, errno)), Post::Own(_)) => Failure::at(&step)(errno),
            (Some(Report::NotSetUp(step, errno)), Post::Beside { pidfd, .. }) => {
                ended_or(&step, errno, pidfd)
            }
            // It may have started: whatever it was, it has died with the sandbox.
            (_, Post::Beside { .. }) => Failure::EndedTogether,
            (_, Post::Own(_)) => Failure::Killed { command },
        }
    }

    fn write(&self, running: &Running, state: State) -> Result<(), Failure> {
        match (&self.post, running.process) {
            (Post::Own(record), Some(process)) => record
                .write(process, state)
                .map_err(|errno| self.directory_failed("record the command's status", errno)),
            _ => Ok(()),
        }
    }

    /// Leaves a process behind that records the end of pid 1, which stays for those that have joined.
    fn leave_to_others(&self, running: &mut Running) -> Result<(), Failure> {
        let Post::Own(record) = &self.post else {
            return Ok(());
        };
        match sys::spawn(0).map_err(Failure::at("fork"))? {
            Spawned::Parent(_) => Ok(()),
            Spawned::Child => {
                signals::leave_session();
                let [lock, directory] = record.descriptors();
                // By the end of the pipe of reports, pid 1 knows that nobody records its end.
                let reports = running.reports.as_raw_fd();
                let mut kept = vec![running.child.pidfd.as_raw_fd(), reports, lock, directory];
                kept.extend(running.streams.logged.iter().flat_map(Logged::descriptors));
                // SAFETY: this process ends below, and drops none of the others' owners.
                unsafe { sys::close_all_but(&mut kept) };
                running.log_on();
                let recorded = self.write(running, State::Lost);
                sys::leave(if recorded.is_ok() { 0 } else { FAILED })
            }
        }
    }

    /// How a command has ended, and whether pid 1 stays for those that have joined.
    fn outcome(&self, running: &Running) -> (State, bool) {
        match Report::receive(&running.reports) {
            Some(Report::Ended(status)) => (State::Exited(status), false),
            Some(Report::EndedAlone(status)) => (State::Exited(status), true),
            // `stop` has killed it.
            _ if self.post.is_stopped() => (State::Exited(KILLED), false),
            _ => (State::Lost, false),
        }
    }

    fn count_restarts(&mut self, count: u32) {
        if let Post::Own(record) = &mut self.post {
            record.restarts = Some(count);
        }
    }

    /// Records how the command has ended, and passes on the last of what it has shown.
    fn end(self, running: &mut Running, state: State, alone: bool) -> u8 {
        // Once the end is recorded, the namespace may be removed.
        self.request.netns = None;
        if !alone {
            running.finish();
        }
        let shown = running.streams.drain();
        let recorded = if alone {
            self.leave_to_others(running)
        } else {
            self.write(running, state)
        };
        // From here on another keeper may be there: a slow reader is no reason to keep the sandbox.
        let joined = match self.post {
            Post::Own(record) => {
                drop(record);
                None
            }
            Post::Beside { pidfd, .. } => Some(pidfd),
        };
        if !shown {
            running.finish_showing();
        }
        running.streams.terminal = None;
        running.leave_showing();
        if let Err(failure) = recorded {
            say(&failure.text());
        }
        match state {
            State::Exited(status) => status,
            _ => {
                // pid 1 ends last, when all that it takes with it has been reaped.
                if joined.is_some_and(|pidfd| has_ended(&pidfd, ABOUT_TO_END_MS)) {
                    say(&format!("note: {ENDED_TOGETHER}\n"));
                }
                KILLED
            }
        }
    }
}

mod again;
