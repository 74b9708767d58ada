//! Says whether the command was started, to whoever waits for that.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;

use crate::failure::Failure;

/// Who learns whether the command was started.
pub enum Announce {
    /// A success is not reported; a failure is written to standard error.
    StandardError,
    /// The process that started a detached keeper.
    Pipe(OwnedFd),
    Done,
}

impl Announce {
    /// Says that the command was started.
    pub fn started(&mut self) {
        if let Self::Pipe(_) = self {
            self.send(0, "");
        }
    }

    /// Says why it was not.
    pub fn failed(&mut self, failure: &Failure) {
        match self {
            Self::StandardError => say(&failure.text()),
            Self::Pipe(_) => {
                let (status, line) = failure.report();
                self.send(status, &line);
            }
            Self::Done => {}
        }
    }

    fn send(&mut self, status: u8, line: &str) {
        if let Self::Pipe(pipe) = std::mem::replace(self, Self::Done) {
            let mut pipe = File::from(pipe);
            let _ = pipe
                .write_all(&[status])
                .and_then(|()| pipe.write_all(line.as_bytes()));
        }
    }
}

/// Writes to standard error, if that is still there.
pub fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
