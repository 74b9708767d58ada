//! Why there is no command: in words for the person who waits for it, or in one line for the macvfast that started a
//! detached keeper and has its own words (`errors`; a test compares the two).

use rustix::io::Errno;

use crate::sys;

/// Our own refusals and failures, as Docker has them.
pub const FAILED: u8 = 125;
/// The command was ended together with its pid 1, by SIGKILL.
pub const KILLED: u8 = 128 + 9;

/// Statuses for a command that cannot be executed, as `env` and shells have them.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Statuses with `--detach`, where none is the command's: what else can fail.
const GONE: u8 = 119;
const RESTARTING: u8 = 120;
const HELD: u8 = 121;
const DIRECTORY: u8 = 122;
const REFUSED: u8 = 123;
const NO_DIRECTORY: u8 = 124;

/// What is said when pid 1 of another command has ended, and with it one that ran beside it.
pub const ENDED_TOGETHER: &str =
    "the command that this one had joined has ended, and all that ran beside it";

/// Why a command does not run.
#[derive(Debug)]
pub enum Failure {
    /// It does not exist.
    NotFound { command: String },
    /// It exists, and cannot be executed.
    NotExecutable { command: String, errno: Errno },
    /// Another keeper is there, whose command cannot be joined, or not yet.
    Held { name: String, joining: bool },
    /// It was to join a command that has ended and is about to be run again.
    Restarting { name: String },
    /// The sandbox was removed meanwhile.
    Gone { name: String },
    /// Something cannot be done in the sandbox's directory; the words follow "cannot".
    Directory {
        path: String,
        step: &'static str,
        errno: Errno,
    },
    /// The kernel refused something; the words follow "could not".
    Refused { step: String, errno: Errno },
    /// It is to start in a directory that it cannot enter.
    NoDirectory {
        command: String,
        directory: String,
        errno: Errno,
    },
    /// Its pid 1 was killed before it was known whether it had been started.
    Killed { command: String },
    /// What it was to join has ended, and it had not been started.
    Ended,
    /// What it had joined has ended, before it was known whether it had been started.
    EndedTogether,
}

impl Failure {
    /// Makes a failure out of an errno of that step.
    pub fn at(step: &str) -> impl FnOnce(Errno) -> Self + '_ {
        move |errno| Self::Refused {
            step: step.to_owned(),
            errno,
        }
    }

    /// The failure of a command that could not be executed.
    pub fn of_command(command: String, errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::NOTDIR => Self::NotFound { command },
            _ => Self::NotExecutable { command, errno },
        }
    }

    /// The exit status, where it takes the place of the command's.
    pub fn status(&self) -> u8 {
        match self {
            Self::NotFound { .. } => NOT_FOUND,
            Self::NotExecutable { .. } | Self::NoDirectory { .. } => NOT_EXECUTABLE,
            Self::Killed { .. } | Self::EndedTogether => KILLED,
            Self::Held { .. }
            | Self::Restarting { .. }
            | Self::Gone { .. }
            | Self::Directory { .. }
            | Self::Refused { .. }
            | Self::Ended => FAILED,
        }
    }

    /// With `--detach`: the exit status, and `ERRNO WORDS`, the words being those of the reason or the step.
    pub fn report(&self) -> (u8, String) {
        let (status, errno, words) = match self {
            Self::NotFound { .. } => (NOT_FOUND, None, String::new()),
            Self::NotExecutable { errno, .. } => (NOT_EXECUTABLE, Some(errno), reason(*errno)),
            Self::NoDirectory {
                directory, errno, ..
            } => (NO_DIRECTORY, Some(errno), no_directory(directory, *errno)),
            Self::Held { .. } => (HELD, None, String::new()),
            Self::Restarting { .. } => (RESTARTING, None, String::new()),
            Self::Gone { .. } => (GONE, None, String::new()),
            Self::Directory { step, errno, .. } => (DIRECTORY, Some(errno), (*step).to_owned()),
            Self::Refused { step, errno } => (REFUSED, Some(errno), step.clone()),
            Self::Killed { .. } => (KILLED, None, PID_1_KILLED.to_owned()),
            Self::Ended | Self::EndedTogether => (FAILED, None, ENDED_TOGETHER.to_owned()),
        };
        let errno = errno.map_or(0, |errno| errno.raw_os_error());
        (status, format!("{errno} {words}\n"))
    }

    /// Without `--detach`: what failed, why, and what to do.
    pub fn text(&self) -> String {
        match self {
            Self::NotFound { command } if command.contains('/') => block(
                &format!("command `{command}` not found"),
                "there is no such file",
                "give the path of a command that exists, or its name",
            ),
            Self::NotFound { command } => block(
                &format!("command `{command}` not found"),
                "no directory of PATH has it",
                "install it, or give its whole path",
            ),
            Self::NotExecutable { command, errno } => not_started(
                command,
                &reason(*errno),
                match *errno {
                    Errno::TOOBIG => TOO_BIG,
                    _ => "it must be an executable program, or a script whose first line names one: `#!/bin/sh`",
                },
            ),
            Self::NoDirectory {
                command,
                directory,
                errno,
            } => not_started(command, &no_directory(directory, *errno), WORKDIR),
            Self::Killed { command } => block(
                &format!("command `{command}` was killed"),
                PID_1_KILLED,
                "run the command again; `dmesg | tail` shows whether the kernel ended it",
            ),
            Self::Held { name, joining: true } => block(
                &format!("sandbox `{name}` is being given a command"),
                "another macvfast process began it",
                "wait until that is done, then run the command again",
            ),
            Self::Held { name, joining: false } => block(
                &format!("sandbox `{name}` runs a command"),
                "its command is still running",
                &format!("`macvfast stop {name}` ends it, and `macvfast rm -f {name}` removes the sandbox, too"),
            ),
            Self::Restarting { name } => block(
                &format!("sandbox `{name}` is restarting"),
                "its command has ended, and --restart runs it again after a pause",
                &format!("run this again when `macvfast ps` shows it running; `macvfast logs {name}` may say why it ends"),
            ),
            Self::Gone { name } => block(
                &format!("sandbox `{name}` not found"),
                "no sandbox has that name, or an id that begins so",
                "`macvfast ps -a` lists them",
            ),
            Self::Directory { path, step, errno } => block(
                &format!("the state in `{path}` cannot be used"),
                &format!("cannot {step}: {}", sys::text_of(*errno)),
                &directory_hint(path, *errno),
            ),
            Self::Refused { step, errno } => {
                let (limit, hint) = limit_of(*errno);
                block(
                    &format!("could not {step}"),
                    &format!("{limit}the kernel said: {}", sys::text_of(*errno)),
                    hint,
                )
            }
            Self::Ended | Self::EndedTogether => format!("note: {ENDED_TOGETHER}\n"),
        }
    }
}

const TOO_BIG: &str = "give it fewer or shorter arguments and variables";

/// The limit that an errno of the kernel's means, as causes begin with it, and what to do.
const fn limit_of(errno: Errno) -> (&'static str, &'static str) {
    match errno {
        Errno::AGAIN => (
            "the limit of processes is reached: of the cgroup (pids.max), of the user (RLIMIT_NPROC) or of the kernel\n  caused by: ",
            "`ulimit -u` shows the user's limit, `systemctl show -p TasksMax UNIT` that of a unit",
        ),
        Errno::DQUOT => (
            "the user has reached the limit of keys (kernel.keys.maxkeys)\n  caused by: ",
            "`sysctl kernel.keys` shows how many, and `sysctl -w kernel.keys.maxkeys=N` allows more",
        ),
        Errno::MFILE => (
            "this process has reached its limit of open files (RLIMIT_NOFILE)\n  caused by: ",
            "ulimit -n 4096",
        ),
        _ => ("", "`dmesg | tail` shows what the kernel has logged"),
    }
}

const WORKDIR: &str = "-w takes a directory that the command can see";

const PID_1_KILLED: &str = "its pid 1 was killed before it was known whether it had started";

fn not_started(command: &str, reason: &str, hint: &str) -> String {
    block(
        &format!("command `{command}` cannot be started"),
        reason,
        hint,
    )
}

/// One error, as macvfast shows every one.
pub fn block(message: &str, cause: &str, hint: &str) -> String {
    format!("error: {message}\n  caused by: {cause}\n\nhint: {hint}\n")
}

/// Why a file is not executed. LIBACC stands for an interpreter that is not there (`command::execute`).
fn reason(errno: Errno) -> String {
    match errno {
        Errno::LIBACC => "the interpreter that it names is not there".to_owned(),
        _ => sys::text_of(errno),
    }
}

/// Why a command cannot start in a directory.
fn no_directory(directory: &str, errno: Errno) -> String {
    match errno {
        Errno::NOENT | Errno::NOTDIR => format!("there is no directory `{directory}` to start in"),
        _ => format!("it cannot start in `{directory}`: {}", sys::text_of(errno)),
    }
}

fn directory_hint(path: &str, errno: Errno) -> String {
    match errno {
        Errno::NOSPC | Errno::DQUOT => {
            "make room on its file system: `df -h` shows which are full".to_owned()
        }
        Errno::ROFS => "`findmnt --options ro` lists what is mounted read-only".to_owned(),
        Errno::ACCESS | Errno::PERM => "run macvfast as root".to_owned(),
        _ => format!("`ls -la {path}` shows what is there"),
    }
}

#[cfg(test)]
mod tests;
