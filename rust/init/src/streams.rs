//! The command's standard streams, and what the keeper holds of them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{open, Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{pipe_with, PipeFlags};
use rustix::process::chdir;
use rustix::termios::Winsize;

use crate::arguments::Request;
use crate::failure::Failure;
use crate::log::{Log, Logged};
use crate::relay::{self, Relay};
use crate::sys;
use crate::terminal::{Event, Terminal};

/// The streams of one command.
pub struct Streams {
    /// The command's terminal, if it has one.
    pub terminal: Option<Terminal>,
    /// Where what the command shows goes, if it is logged without a terminal.
    pub logged: Option<Logged>,
    /// What goes between the caller's terminal and the command, which has none.
    relays: Vec<Relay>,
    /// The command's standard input, output and error.
    pub inside: [RawFd; 3],
    /// Which of them were made for it alone.
    pub own: [bool; 3],
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
        terminals: Option<BorrowedFd<'_>>,
    ) -> Result<Self, Failure> {
        let mut streams = Self {
            terminal: None,
            logged: None,
            relays: Vec::new(),
            inside: [0, 1, 2],
            own: [false; 3],
            given: Vec::new(),
            _held: None,
        };
        if request.tty {
            let terminal = Terminal::open(request, log, window, terminals)
                .map_err(Failure::at("make a pseudo-terminal"))?;
            streams.inside = [terminal.slave(); 3];
            streams.own[0] = true;
            streams.terminal = Some(terminal);
            return Ok(streams);
        }
        if !request.interactive {
            let null = open_null().map_err(Failure::at("open /dev/null"))?;
            streams.inside[0] = null.as_raw_fd();
            streams.given.push(null);
        } else if request.detach {
            let (reader, writer) =
                pipe_with(PipeFlags::CLOEXEC).map_err(Failure::at("make a pipe"))?;
            streams.give(&[0], reader);
            streams._held = Some(writer);
        } else if relay::is_terminal(0) {
            streams.relay(&[0], Relay::input())?;
        }
        if let Some(log) = log {
            let (logged, writer) = Logged::new(log).map_err(Failure::at("make a pipe"))?;
            streams.give(&[1, 2], writer);
            streams.logged = Some(logged);
        } else if relay::is_one_terminal() {
            // One pipe, so that what is shown keeps its order.
            streams.relay(&[1, 2], Relay::output(1))?;
        } else {
            for number in [1, 2] {
                if relay::is_terminal(number) {
                    streams.relay(&[number as usize], Relay::output(number))?;
                }
            }
        }
        Ok(streams)
    }

    fn relay(
        &mut self,
        targets: &[usize],
        made: Result<(Relay, OwnedFd), Errno>,
    ) -> Result<(), Failure> {
        let (relay, end) = made.map_err(Failure::at("make a pipe"))?;
        self.relays.push(relay);
        self.give(targets, end);
        Ok(())
    }

    /// Gives the command something of its own.
    fn give(&mut self, targets: &[usize], fd: OwnedFd) {
        for &target in targets {
            self.inside[target] = fd.as_raw_fd();
            self.own[target] = true;
        }
        self.given.push(fd);
    }

    /// What to wait for, and how long at most: the log's pipe, the terminal's three, then two of each relay.
    pub fn interest(&self) -> (Vec<libc::pollfd>, i32) {
        let logged = self.logged.as_ref().map(Logged::entry);
        let terminal = self.terminal.as_ref().map(Terminal::interest);
        let (terminal, timeout_ms) = terminal.unwrap_or(([sys::NOTHING; 3], -1));
        let mut entries = vec![logged.unwrap_or(sys::NOTHING)];
        entries.extend(terminal);
        entries.extend(self.relays.iter().flat_map(Relay::entries));
        (entries, timeout_ms)
    }

    /// Copies what can be copied without waiting, after the entries came back from poll.
    pub fn pump(&mut self, entries: &[libc::pollfd]) -> Option<Event> {
        let ([log, terminal @ ..], relays) = entries.split_first_chunk::<4>()?;
        self.log(log);
        for (relay, two) in self.relays.iter_mut().zip(relays.chunks_exact(2)) {
            relay.pump(two);
        }
        self.terminal.as_mut()?.pump(terminal)
    }

    /// Logs output of the command, where poll has found some at the first entry.
    pub fn log(&mut self, found: &libc::pollfd) {
        if let Some(logged) = self.logged.as_mut().filter(|_| found.revents != 0) {
            logged.pump();
        }
    }

    /// Copies the last output of the command, which has ended; false where not all of it is taken at once.
    pub fn drain(&mut self) -> bool {
        let mut all = self.terminal.as_mut().is_none_or(Terminal::drain);
        for relay in &mut self.relays {
            all &= relay.drain();
        }
        all
    }

    /// What to wait for before another [`Self::drain`].
    pub fn outputs(&self) -> Vec<libc::pollfd> {
        let relays = self.relays.iter().map(Relay::output_entry);
        relays
            .chain(self.terminal.iter().map(Terminal::output_entry))
            .collect()
    }

    /// Whether a process in the sandbox may still write to the caller's terminal.
    pub fn goes_on(&self) -> bool {
        self.relays.iter().any(Relay::goes_on)
    }

    /// Closes everything that this does not need; the descriptors that it does need.
    pub fn keep_to_showing(&mut self) -> Vec<RawFd> {
        self.logged = None;
        self.terminal = None;
        self.relays.retain(Relay::goes_on);
        self.relays.iter().flat_map(Relay::descriptors).collect()
    }

    /// Closes what is the command's now: whoever reads its output learns of its end from itself alone.
    ///
    /// Standard error stays, for what the keeper has to say.
    pub fn let_go(&mut self, detached: bool) {
        self.given.clear();
        if detached {
            let _ = chdir(c"/");
        } else if self.terminal.is_none() {
            if let Ok(null) = open_null() {
                let null = null.as_fd();
                sys::set_standard_streams([null, null, sys::standard_stream(2)]);
            }
        }
    }
}

/// Opens /dev/null, for reading and writing.
pub fn open_null() -> Result<OwnedFd, Errno> {
    open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}
