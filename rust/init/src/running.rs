//! Stays with a running command: passes on signals, input and output until it has ended.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{pidfd_send_signal, waitid, Signal, WaitId, WaitIdOptions};

use crate::post::return_to_own_processes;
use crate::signals::{self, Signals};
use crate::status::Process;
use crate::streams::Streams;
use crate::sys::{self, Child, Spawned};
use crate::terminal::Event;

/// A supervisor that runs, with what the keeper holds for it.
pub struct Running {
    pub child: Child,
    /// Known where the status is recorded.
    pub process: Option<Process>,
    pub reports: OwnedFd,
    pub signals: Signals,
    pub streams: Streams,
}

impl Running {
    /// Passes on signals, input and output until the supervisor reports something, or has ended.
    pub fn watch(&mut self) {
        if let Some(terminal) = &mut self.streams.terminal {
            terminal.make_raw();
            // A change before its signal was blocked was reported to nobody.
            terminal.follow_window();
        }
        let mut hang_up = HangUp::default();
        loop {
            let mut entries = vec![
                sys::readable(&self.child.pidfd),
                sys::readable(&self.reports),
                sys::readable(&self.signals.fd()),
            ];
            let (streams, timeout_ms) = self.streams.interest();
            entries.extend(streams);
            sys::poll(&mut entries, timeout_ms);
            let [ended, reported, signalled] = [0, 1, 2].map(|at| entries[at].revents != 0);
            if signalled {
                self.pass_signals_on(&mut hang_up);
            }
            if self.streams.pump(&entries[3..]) == Some(Event::HungUp) && hang_up.seen() {
                let _ = pidfd_send_signal(&self.child.pidfd, Signal::HUP);
            }
            if ended || reported {
                return;
            }
        }
    }

    /// Goes on logging the output of processes that the command left behind, until pid 1 ends.
    pub fn log_on(&mut self) {
        loop {
            let (streams, _) = self.streams.interest();
            let mut entries = [sys::readable(&self.child.pidfd), streams[0]];
            sys::poll(&mut entries, -1);
            let [ended, log] = entries;
            self.streams.log(&log);
            if ended.revents != 0 {
                self.finish_logging();
                return;
            }
        }
    }

    /// Waits until everything that the command started has ended, and logs the last of what was shown.
    pub fn finish(&mut self) {
        wait_for(&self.child);
        self.finish_logging();
    }

    /// Logs the last of what was shown.
    pub fn finish_logging(&mut self) {
        if let Some(logged) = &mut self.streams.logged {
            logged.finish();
        }
    }

    fn pass_signals_on(&mut self, hang_up: &mut HangUp) {
        while let Some(signal) = self.signals.next() {
            match (signal, &mut self.streams.terminal) {
                (libc::SIGWINCH, Some(terminal)) => terminal.follow_window(),
                (libc::SIGCONT, Some(terminal)) => {
                    // Whoever used the terminal meanwhile has left it in modes of their own.
                    terminal.make_raw();
                    terminal.follow_window();
                }
                (libc::SIGHUP, Some(_)) if !hang_up.signalled() => {}
                _ => {
                    if let Some(signal) = Signal::from_named_raw(signal) {
                        let _ = pidfd_send_signal(&self.child.pidfd, signal);
                    }
                }
            }
        }
    }

    /// Waits until all output is taken, or a signal arrives.
    pub fn finish_showing(&mut self) {
        while !self.streams.drain() {
            let mut entries = self.streams.outputs();
            entries.push(sys::readable(&self.signals.fd()));
            sys::poll(&mut entries, -1);
            while let Some(signal) = self.signals.next() {
                if !matches!(signal, libc::SIGWINCH | libc::SIGCONT) {
                    return;
                }
            }
        }
    }

    /// Starts a process that goes on copying the output of processes that the command left behind, if there may be
    /// some: without it, they would end at their next write.
    pub fn leave_showing(&mut self) {
        if !self.streams.goes_on() || return_to_own_processes().is_err() {
            return;
        }
        if let Ok(Spawned::Child) = sys::spawn(0) {
            signals::leave_session();
            signals::reset();
            // SAFETY: this process ends below, and drops none of the others' owners.
            unsafe { sys::close_all_but(&mut self.streams.keep_to_showing()) };
            while self.streams.goes_on() {
                let (mut entries, _) = self.streams.interest();
                sys::poll(&mut entries, -1);
                self.streams.pump(&entries);
            }
            sys::leave(0)
        }
    }
}

/// Waits until a child has ended; the signal that has ended it, if one has.
pub fn wait_for(child: &Child) -> Option<i32> {
    loop {
        match waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            // One that the kernel has reaped is an error, and has ended as well.
            outcome => return outcome.ok().flatten()?.terminating_signal(),
        }
    }
}

/// Kills a child, and waits until it has ended.
pub fn kill(child: &Child) {
    let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
    wait_for(child);
}

/// The keeper's terminal hangs up once, and is reported twice: by a signal, and by the terminal itself.
#[derive(Default)]
struct HangUp {
    by_signal: bool,
    by_terminal: bool,
}

impl HangUp {
    /// The terminal reports it; whether that is new.
    fn seen(&mut self) -> bool {
        self.by_terminal = !self.by_signal;
        self.by_terminal
    }

    /// A signal reports it; whether that is new. Further ones are no longer about the terminal.
    fn signalled(&mut self) -> bool {
        self.by_signal = true;
        !std::mem::take(&mut self.by_terminal)
    }
}
