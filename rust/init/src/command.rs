//! Executing a command by its name, as execvp(3) finds it, without that function's fall-back to a shell.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

use crate::sys;

/// Where the C library looks when there is no PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Statuses for a command that cannot be executed, as `env` and shells have them.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Replaces this process by the command, its name first; returns only with the reason why not.
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

/// The files that `name` may mean: itself if it holds a slash, else one in each folder of `path`.
fn candidates(name: &CStr, path: &[u8]) -> Vec<CString> {
    let name = name.to_bytes();
    if name.is_empty() {
        return Vec::new();
    }
    if name.contains(&b'/') {
        return CString::new(name).into_iter().collect();
    }
    // An empty folder is the working directory.
    let joined = path.split(|&byte| byte == b':').map(|folder| match folder {
        b"" => name.to_vec(),
        _ => [folder, b"/", name].concat(),
    });
    joined.filter_map(|file| CString::new(file).ok()).collect()
}

/// The exit status for a command that could not be executed for that reason, and the reason in words.
pub fn refusal(errno: Errno) -> (u8, String) {
    match errno {
        Errno::NOENT | Errno::NOTDIR => (NOT_FOUND, "not found".to_owned()),
        _ => (NOT_EXECUTABLE, sys::text_of(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_for_in_each_folder_of_the_path() {
        assert_eq!(
            candidates(c"ls", b"/bin::/x/"),
            [c"/bin/ls", c"ls", c"/x//ls"].map(CStr::to_owned)
        );
    }

    #[test]
    fn a_name_with_a_slash_is_itself() {
        assert_eq!(candidates(c"./ls", b"/bin"), [c"./ls".to_owned()]);
    }

    #[test]
    fn an_empty_name_is_nowhere() {
        assert_eq!(candidates(c"", b"/bin:"), Vec::<CString>::new());
    }

    #[test]
    fn only_what_is_not_there_is_not_found() {
        assert_eq!(refusal(Errno::NOENT).0, 127);
        assert_eq!(refusal(Errno::NOTDIR).0, 127);
        assert_eq!(
            refusal(Errno::ACCESS),
            (126, "Permission denied".to_owned())
        );
        assert_eq!(refusal(Errno::NOEXEC).0, 126);
    }
}
