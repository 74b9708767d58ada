//! A sandbox's folder: the lock that says that a keeper is there, and the status that outlives it.

use std::ffi::{CStr, CString};
use std::fmt::Write;
use std::os::fd::OwnedFd;

use rustix::fs::{flock, fsync, openat, renameat, FlockOperation, Mode, OFlags, CWD};
use rustix::io::{read, write, Errno};

/// A process, named so that its pid cannot mean another after it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pid: i32,
    /// In clock ticks since boot: field 22 of /proc/PID/stat.
    start_time: u64,
}

impl Process {
    /// This process.
    pub fn own() -> Result<Self, Errno> {
        Self::read(rustix::process::getpid().as_raw_nonzero().get(), "self")
    }

    /// A child that was not yet waited for.
    pub fn child(pid: i32) -> Result<Self, Errno> {
        Self::read(pid, &pid.to_string())
    }

    fn read(pid: i32, name: &str) -> Result<Self, Errno> {
        let text = read_small(CWD, &format!("/proc/{name}/stat"))?;
        let start_time = start_time(&text).ok_or(Errno::INVAL)?;
        Ok(Self { pid, start_time })
    }
}

/// Field 22 of a line of /proc/PID/stat; field 2, the name, may hold spaces and parentheses.
fn start_time(stat: &[u8]) -> Option<u64> {
    let end_of_name = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end_of_name + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// What is recorded of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It was started.
    Running,
    /// It ended with this exit status, or could not be started (126, 127).
    Exited(u8),
    /// pid 1 was killed before it could say how the command ended.
    Lost,
}

/// The folder of one sandbox, locked for as long as this lives.
pub struct Record {
    directory: OwnedFd,
    boot_id: String,
    keeper: Process,
    _lock: OwnedFd,
}

impl Record {
    /// Opens the folder for a keeper that is this process; None where another keeper is there.
    pub fn open(directory: &CStr) -> Result<Option<Self>, Errno> {
        let directory = openat(
            CWD,
            directory,
            OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let lock = openat(&directory, c"lock", flags, Mode::RUSR | Mode::WUSR)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            outcome => outcome?,
        }
        let boot_id = read_small(CWD, "/proc/sys/kernel/random/boot_id")?;
        let boot_id = String::from_utf8_lossy(&boot_id).trim().to_owned();
        Ok(Some(Self {
            directory,
            boot_id,
            keeper: Process::own()?,
            _lock: lock,
        }))
    }

    /// Opens the command's log to append to it.
    pub fn open_log(&self) -> Result<OwnedFd, Errno> {
        let flags =
            OFlags::CREATE | OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        openat(&self.directory, c"log", flags, Mode::RUSR | Mode::WUSR)
    }

    /// Records `state` durably: after a crash there is the old status or the new one, never a part.
    pub fn write(&self, init: Process, state: State) -> Result<(), Errno> {
        let text = status_text(&self.boot_id, self.keeper, init, state);
        let flags =
            OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = openat(
            &self.directory,
            c"status.new",
            flags,
            Mode::RUSR | Mode::WUSR,
        )?;
        let mut left = text.as_bytes();
        while !left.is_empty() {
            left = left.get(write(&file, left)?..).unwrap_or_default();
        }
        fsync(&file)?;
        renameat(&self.directory, c"status.new", &self.directory, c"status")?;
        fsync(&self.directory)
    }
}

fn status_text(boot_id: &str, keeper: Process, init: Process, state: State) -> String {
    let mut text = format!(
        "boot {boot_id}\nkeeper {} {}\ninit {} {}\n",
        keeper.pid, keeper.start_time, init.pid, init.start_time
    );
    // Writing to a String cannot fail.
    let _ = match state {
        State::Running => writeln!(text, "state running"),
        State::Exited(status) => writeln!(text, "state exited\nexit {status}"),
        State::Lost => writeln!(text, "state lost"),
    };
    text
}

fn read_small(directory: rustix::fd::BorrowedFd<'_>, path: &str) -> Result<Vec<u8>, Errno> {
    let path = CString::new(path).map_err(|_| Errno::INVAL)?;
    let file = openat(directory, path, OFlags::CLOEXEC, Mode::empty())?;
    let mut buffer = vec![0; 1024];
    let length = read(&file, &mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str) -> Vec<u8> {
        format!("42 ({name}) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 200 3\n")
            .into_bytes()
    }

    #[test]
    fn the_start_time_is_the_twenty_second_field() {
        assert_eq!(start_time(&line("sleep")), Some(987_654));
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_shifts_nothing() {
        for name in ["a b", "a) S 1 2", "((", ") (", "\u{e9}\n"] {
            assert_eq!(start_time(&line(name)), Some(987_654), "{name}");
        }
    }

    #[test]
    fn a_cut_off_line_has_no_start_time() {
        for text in [
            "",
            "42",
            "42 (a",
            "42 (a) S 1 2 3",
            "42 (a) S 1 42 42 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 x",
        ] {
            assert_eq!(start_time(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn this_process_has_started_before_now() {
        let own = Process::own().unwrap();
        assert_eq!(own, Process::child(own.pid).unwrap());
        assert!(own.start_time > 0);
    }

    #[test]
    fn each_state_has_its_lines() {
        let process = |pid| Process {
            pid,
            start_time: 10,
        };
        let text = |state| status_text("b", process(2), process(3), state);
        let head = "boot b\nkeeper 2 10\ninit 3 10\n";
        assert_eq!(text(State::Running), format!("{head}state running\n"));
        assert_eq!(
            text(State::Exited(137)),
            format!("{head}state exited\nexit 137\n")
        );
        assert_eq!(text(State::Lost), format!("{head}state lost\n"));
    }
}
