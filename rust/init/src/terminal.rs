//! The command's pseudo-terminal, and the copying between it and whatever the keeper has instead.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{fcntl_setfl, OFlags};
use rustix::io::Errno;
use rustix::pty::{ioctl_tiocgptpeer, unlockpt, OpenptFlags};
use rustix::termios::{
    isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize, OptionalActions, SpecialCodeIndex,
    Termios, Winsize,
};

use crate::arguments::Request;
use crate::buffer::{reopened_to_not_wait, Buffer};
use crate::devpts::open_master;
use crate::log::Log;
use crate::sys;

/// How much is on its way in one direction. The kernel's own buffer for what a program has shown is no larger.
const BUFFER: usize = 4096;

/// How long to wait before looking again at a terminal that nobody in the sandbox has open at the moment.
const LOOK_AGAIN_MS: i32 = 200;

/// The pseudo-terminal of one command.
pub struct Terminal {
    master: OwnedFd,
    /// Held so that the terminal does not hang up while the command has closed all of its own.
    slave: Option<OwnedFd>,
    input: Input,
    output: Output,
    /// On its way from the input to the command.
    typed: Buffer,
    /// On its way from the command to the output.
    shown: Buffer,
    /// The master said that no slave is open.
    unattended: bool,
}

/// Where typed characters come from.
struct Input {
    open: bool,
    is_terminal: bool,
    /// The modes that the terminal had before it was made raw.
    saved: Option<Termios>,
    /// Whether the last character ended a line.
    at_line_start: bool,
}

/// Where shown characters go.
enum Output {
    /// Standard output or, where that can be written to without waiting, another way to the same.
    Standard(Option<OwnedFd>),
    Log(Log),
    Nowhere,
}

/// Something that concerns the command, not only its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The caller's terminal, or the pipe in its place, has hung up.
    HungUp,
}

/// The size of the window that this process was started in, if one of its standard streams is a terminal.
pub fn window() -> Option<Winsize> {
    [sys::standard_stream(0), sys::standard_stream(1)]
        .into_iter()
        .find_map(|stream| tcgetwinsize(stream).ok())
}

impl Terminal {
    /// Makes a pseudo-terminal with a window of that size, of the sandbox's `terminals` where it has some. What a
    /// detached command shows goes to the `log`, where there is one.
    pub fn open(
        request: &Request,
        log: Option<Log>,
        window: Option<Winsize>,
        terminals: Option<BorrowedFd<'_>>,
    ) -> Result<Self, Errno> {
        let master = open_master(terminals)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(
            &master,
            OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
        )?;
        if let Some(window) = window {
            tcsetwinsize(&slave, window)?;
        }
        fcntl_setfl(&master, OFlags::RDWR | OFlags::NONBLOCK)?;
        let open = request.interactive && !request.detach;
        let output = match log {
            _ if !request.detach => Output::Standard(reopened_to_not_wait(1)),
            Some(log) => Output::Log(log),
            None => Output::Nowhere,
        };
        let is_terminal = open && isatty(sys::standard_stream(0));
        Ok(Self {
            master,
            slave: Some(slave),
            input: Input {
                open,
                is_terminal,
                saved: None,
                at_line_start: true,
            },
            output,
            typed: Buffer::new(BUFFER),
            shown: Buffer::new(BUFFER),
            unattended: false,
        })
    }

    /// The command's end of it.
    pub fn slave(&self) -> RawFd {
        self.slave.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Makes the keeper's terminal raw, where the command's input comes from one: every key goes to the command.
    pub fn make_raw(&mut self) {
        let stdin = sys::standard_stream(0);
        if !self.input.is_terminal {
            return;
        }
        if let Ok(modes) = tcgetattr(stdin) {
            let mut raw = modes.clone();
            raw.make_raw();
            if tcsetattr(stdin, OptionalActions::Now, &raw).is_ok() {
                self.input.saved.get_or_insert(modes);
            }
        }
    }

    /// Restores the modes of the keeper's terminal.
    pub fn restore(&mut self) {
        if let Some(modes) = self.input.saved.take() {
            // A terminal that has gone needs nothing.
            let _ = tcsetattr(sys::standard_stream(0), OptionalActions::Now, &modes);
        }
    }

    /// Gives the command's terminal the size of the keeper's.
    pub fn follow_window(&self) {
        if let (Output::Standard(_), Some(window)) = (&self.output, window()) {
            let _ = tcsetwinsize(&self.master, window);
        }
    }

    /// What to wait for: the input, the master, the output; and how long at most.
    pub fn interest(&self) -> ([libc::pollfd; 3], i32) {
        let entry = |fd: BorrowedFd<'_>, events| match events {
            0 => sys::NOTHING,
            _ => sys::entry(&fd, events),
        };
        let wanted = |on: bool, events| if on { events } else { 0 };
        let master = wanted(self.shown.is_empty(), libc::POLLIN)
            | wanted(!self.typed.is_empty(), libc::POLLOUT);
        let input = wanted(self.input.open && self.typed.is_empty(), libc::POLLIN);
        let output = self.output.fd().filter(|_| !self.shown.is_empty());
        let entries = [
            entry(sys::standard_stream(0), input),
            entry(self.master.as_fd(), wanted(!self.unattended, master)),
            output.map_or(sys::NOTHING, |fd| entry(fd, libc::POLLOUT)),
        ];
        (entries, if self.unattended { LOOK_AGAIN_MS } else { -1 })
    }

    /// Copies what can be copied without waiting, after poll has filled in `entries`.
    pub fn pump(&mut self, entries: &[libc::pollfd; 3]) -> Option<Event> {
        let [input, master, output] = entries.map(|entry| entry.revents != 0);
        let mut event = None;
        if input {
            event = self.read_input();
        }
        if master || self.unattended {
            if !self.typed.is_empty() {
                self.type_in();
            }
            if self.shown.is_empty() {
                self.unattended = self.read_master() == Err(Errno::IO);
            }
        }
        if output && !self.show() {
            event = Some(Event::HungUp);
        }
        event
    }

    fn read_input(&mut self) -> Option<Event> {
        match self.typed.fill_from(sys::standard_stream(0)) {
            Ok(1..) => {
                self.input.at_line_start = self.typed.ends_line();
                None
            }
            Err(Errno::AGAIN | Errno::INTR) => None,
            _ => {
                self.input.open = false;
                if self.input.is_terminal {
                    return Some(Event::HungUp);
                }
                self.type_end_of_file();
                None
            }
        }
    }

    /// Types the end-of-file character: once at the start of a line, and elsewhere twice, since the first then only
    /// hands over the unfinished line.
    fn type_end_of_file(&mut self) {
        let Ok(modes) = tcgetattr(&self.master) else {
            return;
        };
        let end = modes.special_codes[SpecialCodeIndex::VEOF];
        let twice = [end; 2];
        self.typed.put(if self.input.at_line_start {
            &twice[..1]
        } else {
            &twice
        });
    }

    fn type_in(&mut self) {
        // What a terminal that has gone does not take, nobody will read.
        if !self.typed.drain_to(self.master.as_fd()) {
            self.typed.clear();
        }
    }

    fn read_master(&mut self) -> Result<usize, Errno> {
        let outcome = self.shown.fill_from(self.master.as_fd());
        match &mut self.output {
            Output::Standard(_) => {}
            Output::Log(log) => {
                log.write(self.shown.content());
                self.shown.clear();
            }
            Output::Nowhere => self.shown.clear(),
        }
        outcome
    }

    /// Writes output; false when nobody will ever read it.
    fn show(&mut self) -> bool {
        let Some(fd) = self.output.fd() else {
            return true;
        };
        if self.shown.drain_to(fd) {
            return true;
        }
        self.shown.clear();
        self.output = Output::Nowhere;
        false
    }

    /// Copies the last output of the command, which has ended; false where not all of it is taken at once.
    pub fn drain(&mut self) -> bool {
        self.slave = None;
        loop {
            let (mut entries, _) = self.interest();
            let output = &mut entries[2];
            if output.fd >= 0 {
                sys::poll(std::slice::from_mut(output), 0);
                if output.revents == 0 {
                    return false;
                }
            }
            self.show();
            if self.shown.is_empty() && !matches!(self.read_master(), Ok(1..) | Err(Errno::INTR)) {
                if let Output::Log(log) = &mut self.output {
                    log.finish();
                }
                return true;
            }
        }
    }

    /// The output's entry for poll, when [`Terminal::drain`] has to wait for it.
    pub fn output_entry(&self) -> libc::pollfd {
        self.interest().0[2]
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.restore();
    }
}

impl Output {
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Standard(Some(fd)) => Some(fd.as_fd()),
            Self::Standard(None) => Some(sys::standard_stream(1)),
            // It takes all at once.
            Self::Log(_) | Self::Nowhere => None,
        }
    }
}
