//! Outside the sandbox: the process that starts the command's supervisor, holds its terminal, passes signals on,
//! records how it ends and, last, runs the program that cleans up.
//!
//! It stays in the namespaces that it was started in; only the supervisor that it forks leaves them.

use std::ffi::CString;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{open, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::process::{getcwd, setsid};
use rustix::termios::Winsize;
use rustix::thread::{move_into_thread_name_spaces, ThreadNameSpaceType};

use crate::arguments::{Request, Target};
use crate::command;
use crate::init::{self, Place, Task};
use crate::report::{read_up_to, Report};
use crate::running::{kill, wait_for, Running};
use crate::signals::{self, Signals};
use crate::status::{Process, Record, State};
use crate::streams::Streams;
use crate::sys::{self, Spawned};
use crate::terminal::{self, Terminal};

/// Our own refusals and failures.
pub const FAILED: u8 = 125;
/// The command was ended together with its pid 1, by SIGKILL.
const KILLED: u8 = 128 + 9;

/// Why there is no command: the exit status and what to say.
pub struct Failure {
    pub status: u8,
    pub text: String,
}

impl Failure {
    fn of_step(step: &str, errno: Errno) -> Self {
        Self {
            status: FAILED,
            text: format!("error: cannot {step}: {}\n", sys::text_of(errno)),
        }
    }

    fn at(step: &str) -> impl FnOnce(Errno) -> Self + '_ {
        move |errno| Self::of_step(step, errno)
    }
}

/// Whom to tell whether the command was started.
enum Announce {
    /// Nobody is told of a success; a failure is written to standard error.
    StandardError,
    /// The process that started a detached keeper: status and text.
    Pipe(OwnedFd),
    Done,
}

impl Announce {
    fn tell(&mut self, status: u8, text: &str) {
        match std::mem::replace(self, Self::Done) {
            Self::StandardError => say(text),
            Self::Pipe(pipe) => {
                let mut pipe = File::from(pipe);
                let _ = pipe
                    .write_all(&[status])
                    .and_then(|()| pipe.write_all(text.as_bytes()));
            }
            Self::Done => {}
        }
    }
}

/// Writes to standard error, or not, if that has gone.
pub fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Runs a request from here to its end; the exit status of this process.
pub fn keep(request: Request) -> u8 {
    let surroundings = Surroundings {
        directory: getcwd(Vec::new()).ok(),
        window: terminal::window(),
    };
    // Whatever else the caller left open would be held for as long as the command runs.
    sys::close_all_but(&mut [0, 1, 2, request.target.descriptor()]);
    if !request.detach {
        return keep_in_this_process(request, &surroundings, Announce::StandardError);
    }
    match detach(request, &surroundings) {
        Ok(status) => status,
        Err(errno) => {
            let failure = Failure::of_step("start the keeper", errno);
            say(&failure.text);
            failure.status
        }
    }
}

/// What is to be known of the process that asked, before anything changes.
struct Surroundings {
    directory: Option<CString>,
    window: Option<Winsize>,
}

/// Leaves the keeper to itself and waits only until the command runs or does not.
fn detach(request: Request, surroundings: &Surroundings) -> Result<u8, Errno> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    match sys::spawn(0)? {
        Spawned::Child => {
            drop(reader);
            let _ = setsid();
            let mut announce = Announce::Pipe(writer);
            match open_null() {
                Ok(null) => sys::set_standard_streams([null.as_raw_fd(); 3]),
                Err(errno) => {
                    let failure = Failure::of_step("open /dev/null", errno);
                    announce.tell(failure.status, &failure.text);
                    sys::leave(failure.status)
                }
            }
            sys::leave(keep_in_this_process(request, surroundings, announce))
        }
        Spawned::Parent(_) => {
            drop(writer);
            let told = read_up_to(reader.as_fd(), 8192);
            let (status, text) = told.split_first().map_or(
                (
                    FAILED,
                    b"error: the keeper ended before the command started\n".as_slice(),
                ),
                |(status, text)| (*status, text),
            );
            say(&String::from_utf8_lossy(text));
            Ok(status)
        }
    }
}

fn open_null() -> Result<OwnedFd, Errno> {
    open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}

/// Runs a request in this process.
fn keep_in_this_process(
    mut request: Request,
    surroundings: &Surroundings,
    mut announce: Announce,
) -> u8 {
    let record = match open_record(&request) {
        Ok(record) => record,
        Err(failure) => {
            announce.tell(failure.status, &failure.text);
            return failure.status;
        }
    };
    let outcome = Keeper::new(&mut request, surroundings, record.as_ref()).keep(&mut announce);
    // From here on another keeper may be there.
    drop(record);
    if let Target::New { netns, after, .. } = &mut request.target {
        // The namespace is to go, also where no supervisor ever came so far.
        *netns = None;
        clean_up(after);
    }
    outcome.unwrap_or_else(|failure| {
        announce.tell(failure.status, &failure.text);
        failure.status
    })
}

fn open_record(request: &Request) -> Result<Option<Record>, Failure> {
    let Target::New {
        directory, name, ..
    } = &request.target
    else {
        return Ok(None);
    };
    match Record::open(directory) {
        Ok(Some(record)) => Ok(Some(record)),
        Ok(None) => {
            let name = name
                .as_deref()
                .map_or_else(|| "it".to_owned(), |name| format!("sandbox `{name}`"));
            let directory = shown(directory);
            let text = format!(
                "error: {name} runs a command: another keeper holds the lock in {directory}\n"
            );
            Err(Failure {
                status: FAILED,
                text,
            })
        }
        Err(errno) => Err(Failure::of_step(
            &format!("lock the folder {}", shown(directory)),
            errno,
        )),
    }
}

/// A command's or file's name for a message.
fn shown(name: &CString) -> String {
    crate::arguments::shown(name.as_bytes())
}

/// Runs the program that cleans up, and waits for it. It is out of the terminal's reach: a second Ctrl-C is no reason
/// to leave it half done.
fn clean_up(program: &[CString]) {
    if program.is_empty() {
        return;
    }
    let outcome = sys::spawn(0).map(|spawned| match spawned {
        Spawned::Child => {
            let _ = setsid();
            if let Ok(null) = open_null() {
                sys::set_standard_streams([null.as_raw_fd(), null.as_raw_fd(), 2]);
            }
            signals::reset();
            sys::close_on_exec_above_standard_streams();
            let (status, reason) = command::refusal(command::execute(program));
            let name = program.first().map(shown).unwrap_or_default();
            say(&format!(
                "error: command `{name}` cannot be started\n  caused by: {reason}\n"
            ));
            sys::leave(status)
        }
        Spawned::Parent(child) => wait_for(&child),
    });
    if let Err(errno) = outcome {
        say(&Failure::of_step("start the program that cleans up", errno).text);
    }
}

/// The work of one request.
struct Keeper<'a> {
    request: &'a mut Request,
    surroundings: &'a Surroundings,
    record: Option<&'a Record>,
}

impl<'a> Keeper<'a> {
    fn new(
        request: &'a mut Request,
        surroundings: &'a Surroundings,
        record: Option<&'a Record>,
    ) -> Self {
        Self {
            request,
            surroundings,
            record,
        }
    }

    /// Starts the command, stays with it and records its end; the status to end with.
    fn keep(mut self, announce: &mut Announce) -> Result<u8, Failure> {
        let mut running = self.start()?;
        let first = Report::receive(&running.reports);
        if first != Some(Report::Started) {
            wait_for(&running.child);
            return Err(self.not_started(&running, first));
        }
        if let Err(failure) = self.write(&running, State::Running) {
            // What is not recorded must not run.
            kill(&running.child);
            return Err(failure);
        }
        if let Announce::Pipe(_) = announce {
            announce.tell(0, "");
        }
        running.watch();
        Ok(self.end(&mut running))
    }

    fn start(&mut self) -> Result<Running, Failure> {
        let signals = Signals::take(self.request.tty).map_err(Failure::at("block signals"))?;
        let streams = Streams::prepare(self.request, self.record, self.surroundings.window)
            .map_err(|(step, errno)| Failure::of_step(step, errno))?;
        let (reports, pipe) = pipe_with(PipeFlags::CLOEXEC).map_err(Failure::at("make a pipe"))?;
        let spawned = match &self.request.target {
            Target::New { .. } => {
                sys::spawn(libc::CLONE_NEWPID).map_err(Failure::at("make a pid namespace"))?
            }
            Target::Running { pidfd } => {
                // A child that nobody has waited for would keep the sandbox's pid 1 from ending, even while this
                // process is stopped.
                signals::let_children_be_reaped();
                move_into_thread_name_spaces(pidfd.as_fd(), ThreadNameSpaceType::PROCESS_ID)
                    .and_then(|()| sys::spawn(0))
                    .map_err(|errno| ended_or(errno, pidfd))?
            }
        };
        let child = match spawned {
            Spawned::Parent(child) => child,
            Spawned::Child => self.supervise(&streams, &pipe),
        };
        drop(pipe);
        if let Target::New { netns, .. } = &mut self.request.target {
            *netns = None;
        }
        let process = match self.record.map(|_| Process::child(child.pid)).transpose() {
            Ok(process) => process,
            Err(errno) => {
                kill(&child);
                return Err(Failure::of_step("read the start time of pid 1", errno));
            }
        };
        let mut running = Running {
            child,
            process,
            reports,
            signals,
            streams,
        };
        running.streams.let_go(self.request.detach);
        Ok(running)
    }

    /// Becomes the supervisor, in the process that was forked for it.
    fn supervise(&self, streams: &Streams, pipe: &OwnedFd) -> ! {
        let (place, directory) = match &self.request.target {
            Target::New {
                netns: Some(netns),
                rootfs,
                ..
            } => {
                let place = Place::New {
                    netns: netns.as_fd(),
                    rootfs: rootfs.as_deref(),
                };
                (
                    place,
                    self.surroundings
                        .directory
                        .as_deref()
                        .filter(|_| rootfs.is_none()),
                )
            }
            Target::Running { pidfd } => (
                Place::Beside {
                    pidfd: pidfd.as_fd(),
                },
                self.surroundings.directory.as_deref(),
            ),
            Target::New { netns: None, .. } => sys::leave(FAILED),
        };
        let task = Task {
            place,
            command: &self.request.command,
            directory,
            streams: streams.inside(),
            terminal: self.request.tty,
        };
        init::supervise(&task, pipe.as_fd())
    }

    fn not_started(&self, running: &Running, report: Option<Report>) -> Failure {
        match report {
            Some(Report::NotExecuted(errno)) => {
                let (status, reason) = command::refusal(errno);
                let name = self.request.command.first().map(shown).unwrap_or_default();
                let text =
                    format!("error: command `{name}` cannot be started\n  caused by: {reason}\n");
                match self.write(running, State::Exited(status)) {
                    Ok(()) => Failure { status, text },
                    Err(failure) => failure,
                }
            }
            Some(Report::NotSetUp(step, errno)) => match &self.request.target {
                Target::Running { pidfd } => ended_or(errno, pidfd),
                Target::New { .. } => Failure::of_step(&step, errno),
            },
            _ => match &self.request.target {
                // It may have started: whatever it was, it has died with the sandbox.
                Target::Running { .. } => Failure {
                    status: KILLED,
                    text: "error: the sandbox's command has ended, and this one with it\n"
                        .to_owned(),
                },
                Target::New { .. } => Failure {
                    status: FAILED,
                    text: "error: pid 1 was killed before the command started\n".to_owned(),
                },
            },
        }
    }

    fn write(&self, running: &Running, state: State) -> Result<(), Failure> {
        match (self.record, running.process) {
            (Some(record), Some(process)) => record
                .write(process, state)
                .map_err(Failure::at("record the command's status")),
            _ => Ok(()),
        }
    }

    /// Records how the command ended, which it has, and hands over the last of what it has shown.
    fn end(&self, running: &mut Running) -> u8 {
        wait_for(&running.child);
        let shown = running
            .streams
            .terminal
            .as_mut()
            .is_none_or(Terminal::drain);
        let state = match Report::receive(&running.reports) {
            Some(Report::Ended(status)) => State::Exited(status),
            _ => State::Lost,
        };
        let recorded = self.write(running, state);
        if !shown {
            running.finish_showing();
        }
        running.streams.terminal = None;
        if let Err(failure) = recorded {
            say(&failure.text);
        }
        match state {
            State::Exited(status) => status,
            _ => KILLED,
        }
    }
}

/// A failure to join: that the command has ended meanwhile, if it has.
fn ended_or(errno: Errno, pidfd: &OwnedFd) -> Failure {
    let mut entry = [libc::pollfd {
        fd: pidfd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    }];
    sys::poll(&mut entry, 0);
    if entry[0].revents != 0 {
        let text = "error: cannot enter the sandbox: its command has ended\n".to_owned();
        return Failure {
            status: FAILED,
            text,
        };
    }
    Failure::of_step("enter the sandbox", errno)
}
