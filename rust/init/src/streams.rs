//! The command's standard streams, and what the keeper holds of them.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use rustix::fs::{open, Mode, OFlags};
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::process::chdir;
use rustix::termios::Winsize;

use crate::arguments::Request;
use crate::failure::Failure;
use crate::log::{Log, Logged};
use crate::sys;
use crate::terminal::{Ends, Terminal};

/// The streams of one command.
pub struct Streams {
    /// The command's terminal, if it has one.
    pub terminal: Option<Terminal>,
    /// Where what the command shows goes, if it is logged without a terminal.
    pub logged: Option<Logged>,
    inside: [RawFd; 3],
    /// What the command alone needs.
    given: Vec<OwnedFd>,
    /// The end of a pipe that nobody writes to, so that the command's input does not end.
    _held: Option<OwnedFd>,
}

impl Streams {
    /// Opens what the request asks for; what a detached command shows goes to the `log`, where there is one.
    pub fn prepare(
        request: &Request,
        log: Option<Log>,
        window: Option<Winsize>,
    ) -> Result<Self, Failure> {
        if request.tty {
            let ends = if request.detach {
                Ends::Detached { log }
            } else {
                Ends::Standard {
                    interactive: request.interactive,
                }
            };
            let terminal =
                Terminal::open(ends, window).map_err(Failure::at("make a pseudo-terminal"))?;
            let inside = [terminal.slave(); 3];
            return Ok(Self {
                terminal: Some(terminal),
                logged: None,
                inside,
                given: Vec::new(),
                _held: None,
            });
        }
        let mut streams = Self {
            terminal: None,
            logged: None,
            inside: [0, 1, 2],
            given: Vec::new(),
            _held: None,
        };
        if !request.interactive {
            let null = open(
                c"/dev/null",
                OFlags::RDONLY | OFlags::CLOEXEC,
                Mode::empty(),
            );
            streams.give(&[0], null.map_err(Failure::at("open /dev/null"))?);
        } else if request.detach {
            let (reader, writer) =
                pipe_with(PipeFlags::CLOEXEC).map_err(Failure::at("make a pipe"))?;
            streams.give(&[0], reader);
            streams._held = Some(writer);
        }
        if let Some(log) = log {
            let (logged, writer) = Logged::new(log).map_err(Failure::at("make a pipe"))?;
            streams.give(&[1, 2], writer);
            streams.logged = Some(logged);
        }
        Ok(streams)
    }

    fn give(&mut self, targets: &[usize], fd: OwnedFd) {
        for &target in targets {
            self.inside[target] = fd.as_raw_fd();
        }
        self.given.push(fd);
    }

    /// The command's standard input, output and error.
    pub fn inside(&self) -> [RawFd; 3] {
        self.inside
    }

    /// What to wait for before [`Self::log`].
    pub fn to_log(&self) -> libc::pollfd {
        self.logged.as_ref().map_or(sys::NOTHING, Logged::entry)
    }

    /// Logs what the command has shown, where a wait for [`Self::to_log`] has found some.
    pub fn log(&mut self, found: &libc::pollfd) {
        if let Some(logged) = self.logged.as_mut().filter(|_| found.revents != 0) {
            logged.pump();
        }
    }

    /// Closes what is the command's now: whoever reads its output learns of its end from itself alone.
    ///
    /// Standard error stays, for what the keeper has to say.
    pub fn let_go(&mut self, detached: bool) {
        self.given.clear();
        if detached {
            let _ = chdir(c"/");
        } else if self.terminal.is_none() {
            if let Ok(null) = open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
                sys::set_standard_streams([null.as_raw_fd(), null.as_raw_fd(), 2]);
            }
        }
    }
}
