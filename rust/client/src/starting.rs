//! The program around a sandbox's command, started from this process: what it inherits is the caller's.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::ptr;

use macvfast_signals::set_default;
use rustix::io::{fcntl_setfd, Errno, FdFlags};

use crate::message::Message;
use crate::signals;

/// A program with its arguments, as a worker has prepared it.
pub struct Program {
    /// Its path first.
    words: Vec<CString>,
    /// The descriptors that the words name.
    inherited: Vec<OwnedFd>,
    /// Its standard error; where there is none, the caller's.
    error: Option<OwnedFd>,
}

impl Program {
    /// Reads it from a message: the places of descriptors among the words (`3=0 8=1`: the word after the third one names
    /// the first descriptor), and the words, the program's path first. `error`: the last descriptor is its standard
    /// error.
    pub fn of(message: Message, error: bool) -> Option<Self> {
        let mut fields = message.fields().into_iter();
        let places = fields.next()?;
        let mut words: Vec<CString> = fields.collect();
        let mut inherited = message.fds;
        let error = if error { Some(inherited.pop()?) } else { None };
        for place in places.to_str().ok()?.split_ascii_whitespace() {
            let (word, fd) = place.split_once('=')?;
            let fd = inherited.get(fd.parse::<usize>().ok()?)?;
            *words.get_mut(word.parse::<usize>().ok()?)? =
                CString::new(fd.as_raw_fd().to_string()).ok()?;
        }
        Some(Self {
            words,
            inherited,
            error,
        })
    }

    /// Becomes it; returns only with the reason why not.
    pub fn become_it(&self) -> Errno {
        if let Err(error) = self.hand_on() {
            return error;
        }
        execute(&self.words)
    }

    /// Starts it as a child; the descriptors are its alone then.
    pub fn start(mut self) -> Result<Child, Errno> {
        self.hand_on()?;
        // The caller may have had the kernel reap its children.
        set_default(libc::SIGCHLD);
        let mut words = self
            .words
            .iter()
            .map(|word| OsStr::from_bytes(word.as_bytes()));
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        if let Some(error) = self.error.take() {
            command.stderr(Stdio::from(error));
        }
        // SAFETY: nothing but calls of the system happens between fork and exec. The standard library has just reset
        // one of these signals.
        unsafe {
            command.pre_exec(|| {
                signals::ignore_what_python_ignores();
                Ok(())
            });
        }
        command
            .spawn()
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    fn hand_on(&self) -> Result<(), Errno> {
        signals::ignore_what_python_ignores();
        self.inherited
            .iter()
            .try_for_each(|fd| fcntl_setfd(fd, FdFlags::empty()))
    }
}

/// Replaces this process by a program; returns only with the reason why not. Its path is the first of the words.
pub fn execute(words: &[CString]) -> Errno {
    let mut pointers: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(ptr::null());
    let Some(path) = words.first() else {
        return Errno::NOENT;
    };
    // SAFETY: a terminated string and a terminated array of such, alive until the call returns.
    unsafe { libc::execv(path.as_ptr(), pointers.as_ptr()) };
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
