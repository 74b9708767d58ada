//! Whether, and after which pause, a command that has ended is run again: Docker's restart policies and back-off.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// A command that ran for so long did not fail at its start: the next pause is the first again.
const WAS_UP: Duration = Duration::from_secs(10);

/// When a command is run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// However it ends: `always`, `unless-stopped`.
    Always,
    /// When it failed, at most so many times: `on-failure`, `on-failure:N`.
    OnFailure(Option<u32>),
}

impl Policy {
    /// What an option's value means.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "always" || text == "unless-stopped" => Some(Self::Always),
            None if text == "on-failure" => Some(Self::OnFailure(None)),
            Some(("on-failure", most)) => {
                let most: u32 = most.parse().ok()?;
                // As in Docker, 0 is no limit.
                Some(Self::OnFailure((most > 0).then_some(most)))
            }
            _ => None,
        }
    }
}

/// The restarts of one command.
pub struct Restarts {
    policy: Policy,
    pause: Duration,
    /// How often it was run again.
    pub count: u32,
}

impl Restarts {
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            pause: FIRST,
            count: 0,
        }
    }

    /// How long to wait before the command is run again; None: it is not. The pause doubles from one to the next.
    ///
    /// # Arguments
    ///
    /// `status` is its exit status, `up` for how long it ran.
    pub fn next(&mut self, status: u8, up: Duration) -> Option<Duration> {
        let again = match self.policy {
            Policy::Always => true,
            Policy::OnFailure(most) => status != 0 && most.is_none_or(|most| self.count < most),
        };
        if !again {
            return None;
        }
        if up >= WAS_UP {
            self.pause = FIRST;
        }
        let pause = self.pause;
        self.pause = LONGEST.min(2 * pause);
        self.count = self.count.saturating_add(1);
        Some(pause)
    }
}

#[cfg(test)]
mod tests;
