//! One command line, done by a worker of the server.

use std::ffi::{c_int, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags};
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_timeout, socket_peercred, Timeout};
use rustix::net::{connect, socket_with, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::{geteuid, pidfd_open, pidfd_send_signal, umask, Pid, PidfdFlags, Signal};

use crate::message::{self, Message};
use crate::signals::{ends, Signals};
use crate::starting::Program;
use crate::streams::Streams;
use crate::{fitting, python};

/// How long a worker may take until it is ready. Where systemd listens, which starts the server for it, it has longer
/// until it listens, and then as long until it is ready.
const READY_WITHIN: Duration = Duration::from_millis(200);
const STARTED_WITHIN: Duration = Duration::from_secs(2);

/// Exit status where the server has gone with the command begun (`macvfast.errors.ServerLost`).
const SERVER_LOST: u8 = 3;

/// The process that does the command.
struct Worker {
    pid: String,
    pidfd: OwnedFd,
}

impl Worker {
    fn of(ready: Message) -> Option<Self> {
        if ready.kind != message::READY {
            return None;
        }
        Some(Self {
            pid: String::from_utf8(ready.body).ok()?,
            pidfd: ready.fds.into_iter().next()?,
        })
    }

    fn send(&self, signal: Signal) {
        // One that has ended takes no signal any more.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Whether it expects a signal, which does not end it then.
    fn catches(&self, signal: Signal) -> bool {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .unwrap_or_default();
        caught >> (signal.as_raw() - 1) & 1 == 1
    }
}

/// How a command that was begun has ended.
pub enum Ended {
    /// With an exit status.
    With(c_int),
    /// With the server, whatever was done of it.
    WithServer,
}

/// A worker that is ready.
pub struct Session {
    socket: OwnedFd,
    worker: Worker,
    signals: Signals,
    /// The signals that were passed on and end a process that does not expect them.
    sent: Vec<Signal>,
    /// The last of them that the worker did not expect.
    ending: Option<Signal>,
    /// A program that was started for the worker.
    child: Option<(Child, OwnedFd)>,
}

/// Asks the server for a worker; None where there is none, or it does not serve this process. `kind`: HELLO or CALL.
pub fn open(kind: u8, words: &[OsString], streams: &Streams, python: &Path) -> Option<Session> {
    let (socket, until) = connected(fitting::socket()?)?;
    limit(&socket, until)?;
    // Where nobody takes this connection, what was sent would keep the streams open after this process has ended.
    message::receive(&socket)
        .ok()?
        .filter(|said| said.kind == message::LISTENS)?;
    let until = until.min(Instant::now() + READY_WITHIN);
    let hello = hello(words, streams, python);
    let here = fs::open(
        c".",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .ok()?;
    let mut fds = vec![here.as_fd()];
    fds.extend(streams.fds());
    limit(&socket, until)?;
    message::send_message(socket.as_fd(), kind, &hello, &fds).ok()?;
    limit(&socket, until)?;
    let ready = message::receive(&socket).ok()??;
    let worker = Worker::of(ready)?;
    set_socket_timeout(&socket, Timeout::Recv, None).ok()?;
    set_socket_timeout(&socket, Timeout::Send, None).ok()?;
    let signals = Signals::take().ok()?;
    Some(Session {
        socket,
        worker,
        signals,
        sent: Vec::new(),
        ending: None,
        child: None,
    })
}

/// A connection to this user's server, and until when it must listen.
pub fn connected(path: PathBuf) -> Option<(OwnedFd, Instant)> {
    let begun = Instant::now();
    let address = SocketAddrUnix::new(path).ok()?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    connect(&socket, &address).ok()?;
    rustix::io::ioctl_fionbio(&socket, false).ok()?;
    let server = socket_peercred(&socket).ok()?;
    if server.uid != geteuid() {
        return None;
    }
    let within = if server.pid == Pid::INIT {
        STARTED_WITHIN
    } else {
        READY_WITHIN
    };
    Some((socket, begun + within))
}

/// Has what is sent and received next fail after an instant; None: it has passed.
fn limit(socket: &OwnedFd, until: Instant) -> Option<()> {
    let left = until.checked_duration_since(Instant::now())?;
    set_socket_timeout(socket, Timeout::Recv, Some(left)).ok()?;
    set_socket_timeout(socket, Timeout::Send, Some(left)).ok()
}

/// The command line and what else a worker takes over, as fields.
fn hello(words: &[OsString], streams: &Streams, python: &Path) -> Vec<u8> {
    let mode = umask(Mode::empty());
    umask(mode);
    let numbers = [
        format!("{:o}", mode.bits()),
        streams.digits(),
        words.len().to_string(),
    ];
    let variables: Vec<OsString> = std::env::vars_os()
        .map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            variable
        })
        .collect();
    let who = [
        OsStr::new(message::PROTOCOL),
        OsStr::new(env!("CARGO_PKG_VERSION")),
        python.as_os_str(),
    ];
    let rest = words.iter().chain(&variables).map(OsString::as_os_str);
    message::body(
        who.into_iter()
            .chain(numbers.iter().map(OsStr::new))
            .chain(rest),
    )
}

impl Session {
    /// Has the worker do the command, and passes on to it what comes meanwhile, until it ends. None: the worker was not
    /// told to go on. After that, there is no second try.
    pub fn go(mut self, streams: &mut Streams) -> Option<Ended> {
        if message::send_message(self.socket.as_fd(), message::GO, &[], &[]).is_err() {
            return None;
        }
        // From here on it is held for as long as the worker holds it.
        streams.let_go_of_other();
        loop {
            let [message, signal, child] = self.wait();
            if signal {
                self.pass_on();
            }
            if child {
                self.tell_of_child();
            }
            if !message {
                continue;
            }
            match message::receive(&self.socket) {
                Ok(Some(message)) => {
                    if let Some(status) = self.obey(message) {
                        return Some(Ended::With(status));
                    }
                }
                _ => return Some(self.lost()),
            }
        }
    }

    /// Waits until there is a message, a signal, or an end of the child.
    fn wait(&self) -> [bool; 3] {
        let child = self.child.as_ref().map(|(_, fd)| fd);
        let mut waits = vec![
            PollFd::new(&self.socket, PollFlags::IN),
            PollFd::from_borrowed_fd(self.signals.fd(), PollFlags::IN),
        ];
        waits.extend(child.map(|fd| PollFd::new(fd, PollFlags::IN)));
        // Interrupted by nothing that is not blocked, save a stop and what lets it go on.
        let _ = poll(&mut waits, None);
        let mut found = [false; 3];
        for (wait, found) in waits.iter().zip(&mut found) {
            *found = !wait.revents().is_empty();
        }
        found
    }

    fn pass_on(&mut self) {
        while let Some(signal) = self.signals.next() {
            if signal == Signal::TSTP {
                // Otherwise it would go on where nobody sees it.
                self.worker.send(Signal::STOP);
                self.signals.obey(signal);
                self.worker.send(Signal::CONT);
                continue;
            }
            if ends(signal) {
                self.sent.push(signal);
                if !self.worker.catches(signal) {
                    self.ending = Some(signal);
                }
            }
            self.worker.send(signal);
        }
    }

    /// Does what the worker says; the exit status, if that is the end.
    fn obey(&mut self, message: Message) -> Option<c_int> {
        match message.kind {
            message::STATUS => Some(c_int::from(
                message.body.first().copied().unwrap_or(SERVER_LOST),
            )),
            message::BECOME => {
                let error = Program::of(message, false).map_or(Errno::INVAL, |program| {
                    // A worker that says so has acted on none of them.
                    self.signals.leave_to_the_keeper(&self.sent);
                    program.become_it()
                });
                self.signals.block();
                self.answer(message::FAILED, error.raw_os_error());
                None
            }
            message::START => {
                match Program::of(message, true)
                    .ok_or(Errno::INVAL)
                    .and_then(Program::start)
                {
                    Ok(child) => self.watch(child),
                    Err(error) => self.answer(message::FAILED, error.raw_os_error()),
                }
                None
            }
            _ => None,
        }
    }

    fn watch(&mut self, child: Child) {
        let pidfd = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        match pidfd {
            Some(pidfd) => self.child = Some((child, pidfd)),
            None => self.tell_of(child),
        }
    }

    fn tell_of_child(&mut self) {
        if let Some((child, _)) = self.child.take() {
            self.tell_of(child);
        }
    }

    /// Tells the worker how a program has ended, when it has.
    fn tell_of(&self, mut child: Child) {
        let status = child.wait().map_or(-1, |status| status.into_raw());
        self.answer(message::ENDED, status);
    }

    fn answer(&self, kind: u8, number: i32) {
        let text = number.to_string();
        // A worker that is gone is noticed when the next message is awaited.
        let _ = message::send_message(self.socket.as_fd(), kind, text.as_bytes(), &[]);
    }

    /// The worker is gone without a word: ended by a signal that was passed on, as this process is then, or lost.
    fn lost(&self) -> Ended {
        if let Some(signal) = self.ending {
            self.signals.obey(signal);
        }
        Ended::WithServer
    }
}

/// Says that a command has ended with the server; the exit status.
pub fn say_lost(words: &[OsString]) -> c_int {
    let command = words.first().map_or_else(String::new, |word| {
        word.to_string_lossy().escape_debug().to_string()
    });
    python::say(&format!(
        "error: `macvfast {command}` may be unfinished\n  caused by: the server that did it has ended\n\n\
         hint: `macvfast restore` finishes what was begun, and `macvfast check` shows what differs"
    ));
    c_int::from(SERVER_LOST)
}
