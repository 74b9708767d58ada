//! Runs a command again when it has ended, as its policy says.

use std::time::{Duration, Instant};

use crate::restarts::{Policy, Restarts};
use crate::running::Running;
use crate::signals::Signals;
use crate::status::State;
use crate::sys;

use super::Keeper;

impl Keeper<'_> {
    /// Stays with a command that runs, and runs it again until its policy or somebody ends that; the status to end
    /// with.
    pub(super) fn run_again(mut self, mut running: Running, policy: Policy) -> u8 {
        let mut restarts = Restarts::new(policy);
        let mut begun = Instant::now();
        loop {
            running.watch();
            let (mut state, _) = self.outcome(&running);
            let mut up = begun.elapsed();
            running = loop {
                let stopped = self.post.is_stopped();
                let pause = (!stopped)
                    .then(|| restarts.next(state.status(), up))
                    .flatten();
                let Some(pause) = pause else {
                    return self.end(&mut running, state, false);
                };
                running.finish();
                self.count_restarts(restarts.count);
                // Where this cannot be written, it is seen that pid 1 has ended.
                let _ = self.write(&running, State::Restarting(state.status()));
                if !self.wait(&running.signals, pause) {
                    state = State::Exited(state.status());
                    return self.end(&mut running, state, false);
                }
                begun = Instant::now();
                match self.begin() {
                    Ok(next) => break next,
                    Err(failure) => (state, up) = (State::Exited(failure.status()), Duration::ZERO),
                }
            };
        }
    }

    /// Waits before the command is run again; false where somebody has asked meanwhile that it is not. Whoever does
    /// that sends a signal.
    fn wait(&self, signals: &Signals, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            if self.post.is_stopped() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let left_ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
            sys::poll(
                &mut [sys::readable(&signals.fd())],
                left_ms.saturating_add(1),
            );
            while signals.next().is_some() {}
        }
    }
}
