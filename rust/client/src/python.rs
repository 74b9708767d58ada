//! The Python that has macvfast, and how it does a command.

use std::ffi::{c_int, CString, OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{env, fs, iter};

use crate::{configured, signals, starting};

/// Names another Python, for commands.
const VARIABLE: &str = "MACVFAST_PYTHON";

/// Installed beside this program, for the sake of its first line.
const SCRIPT: &str = "macvfast-python";

/// The kernel reads no longer one (`BINPRM_BUF_SIZE`).
const LONGEST_LINE: usize = 256;

/// Exit status where there is no Python, as a shell has it for a command that is not found.
const NOT_FOUND: c_int = 127;

/// Finds it: the one that the environment names, or that of the script beside this program, whose first line the
/// installer has written, or the one beside this program, or the one that root's file names.
pub fn find() -> Option<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE).filter(|named| !named.is_empty()) {
        return Some(PathBuf::from(named));
    }
    // The program itself, whatever link it was called by.
    let own = fs::read_link("/proc/self/exe").ok()?;
    let directory = own.parent()?;
    let beside = || Some(directory.join("python3")).filter(|python| python.exists());
    first_line_of(&directory.join(SCRIPT))
        .or_else(beside)
        .or_else(|| configured::path("python"))
}

/// The interpreter of a script, if it is there.
fn first_line_of(script: &Path) -> Option<PathBuf> {
    let mut beginning = [0; LONGEST_LINE];
    let have = fs::File::open(script).ok()?.read(&mut beginning).ok()?;
    let line = beginning.get(..have)?.split(|&byte| byte == b'\n').next()?;
    let interpreter = line.strip_prefix(b"#!")?.trim_ascii();
    let path = PathBuf::from(OsStr::from_bytes(interpreter));
    // A path that is long, or has a space, has a line of the shell's there, which nobody reads here.
    (path.is_absolute() && path.exists() && !path.ends_with("sh")).then_some(path)
}

/// Becomes Python, which does the command; returns only where it cannot be executed.
pub fn execute(python: Option<&Path>, words: &[OsString]) -> c_int {
    let Some(python) = python else {
        say(&format!(
            "error: no Python is found\n  caused by: there is no `python3` beside this program, and /etc/macvfast/client.conf names none\n\n\
             hint: `{VARIABLE}=/usr/bin/python3 macvfast …` names the one in which macvfast is installed"
        ));
        return NOT_FOUND;
    };
    // Until Python is told what Ctrl-C does, it waits (`python/macvfast/__main__.py`).
    let waits: &[&str] = if signals::let_interrupts_wait() {
        &["-X", "interrupts-wait"]
    } else {
        &[]
    };
    // Without this process's directory among the places where modules are looked for.
    let module = ["-P", "-m", "macvfast"];
    let line = iter::once(python.as_os_str())
        .chain(waits.iter().chain(&module).map(OsStr::new))
        .chain(words.iter().map(OsString::as_os_str))
        .map(|word| CString::new(word.as_bytes()).unwrap_or_default())
        .collect::<Vec<_>>();
    let error = starting::execute(&line);
    say(&format!(
        "error: `{}` cannot be executed\n  caused by: {error}",
        python.display()
    ));
    NOT_FOUND
}

/// Writes a text to standard error, whether or not it can be written.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
