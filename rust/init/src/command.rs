//! Executing a command by its name, as execvp(3) finds it, without that function's fall-back to a shell.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{access, Access};
use rustix::io::Errno;

use crate::sys;

/// Where the C library looks when there is no PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Replaces this process by the command, its name first; returns only with the reason why not.
///
/// LIBACC: the file exists, and its interpreter or loader does not. The kernel says NOENT of that, too.
pub fn execute(command: &[CString]) -> Errno {
    let Some(name) = command.first() else {
        return Errno::NOENT;
    };
    let path = std::env::var_os("PATH");
    let path = path.as_deref().unwrap_or(OsStr::new(DEFAULT_PATH));
    let mut forbidden = false;
    for candidate in candidates(name, path.as_bytes()) {
        match sys::execute(&candidate, command) {
            Errno::ACCESS => forbidden = true,
            Errno::NOENT if access(&candidate, Access::EXISTS).is_ok() => return Errno::LIBACC,
            Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::NODEV | Errno::TIMEDOUT => {}
            errno => return errno,
        }
    }
    if forbidden {
        Errno::ACCESS
    } else {
        Errno::NOENT
    }
}

/// The files that `name` may mean: itself if it holds a slash, else one in each directory of `path`.
fn candidates(name: &CStr, path: &[u8]) -> Vec<CString> {
    let name = name.to_bytes();
    if name.is_empty() {
        return Vec::new();
    }
    if name.contains(&b'/') {
        return CString::new(name).into_iter().collect();
    }
    // An empty directory is the working directory.
    let joined = path
        .split(|&byte| byte == b':')
        .map(|directory| match directory {
            b"" => name.to_vec(),
            _ => [directory, b"/", name].concat(),
        });
    joined.filter_map(|file| CString::new(file).ok()).collect()
}

#[cfg(test)]
mod tests;
