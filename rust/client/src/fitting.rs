//! Whether a server may do this command line. The server looks at the caller too: its user, namespaces, root directory
//! and capabilities.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{lstat, FileType};
use rustix::process::{geteuid, getpgrp};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{tcgetattr, tcgetpgrp, LocalModes};

use crate::configured;

/// `off`: every process does its own command.
const VARIABLE: &str = "MACVFAST_SERVER";

/// Names another directory for the server's sockets.
const RUN_DIR: &str = "MACVFAST_RUN_DIR";
const DEFAULT_RUN_DIR: &str = "/run/macvfast";

/// Variables of Python that a worker, whose interpreter is running already, need not obey, or obeys.
const WITHOUT_EFFECT: [&[u8]; 3] = [
    b"PYTHONDONTWRITEBYTECODE",
    b"PYTHONPYCACHEPREFIX",
    b"PYTHONUNBUFFERED",
];

/// Writable by others than the owner.
const BY_OTHERS: u32 = 0o022;

/// Whether this process may ask a server at all.
pub fn may_be_served(words: &[OsString]) -> bool {
    env::var_os(VARIABLE).as_deref() != Some(OsStr::new("off"))
        && !words.iter().any(|word| word == "serve")
        && !is_in_the_background()
        && is_utf8()
        && !python_is_told()
}

/// The server's socket for commands, where nobody but this process's user could have put it.
pub fn socket() -> Option<PathBuf> {
    let named = env::var_os(RUN_DIR)
        .filter(|named| !named.is_empty())
        .map(PathBuf::from);
    trusted_socket(&named.unwrap_or_else(configured_directory), "command.sock")
}

/// The server's socket for plugins. No variable has a say in where it is.
pub fn request_socket() -> Option<PathBuf> {
    trusted_socket(&configured_directory(), "request.sock")
}

fn configured_directory() -> PathBuf {
    configured::path("run_dir").unwrap_or_else(|| PathBuf::from(DEFAULT_RUN_DIR))
}

fn trusted_socket(directory: &Path, name: &str) -> Option<PathBuf> {
    let found = lstat(directory).ok()?;
    let is_ours = FileType::from_raw_mode(found.st_mode).is_dir()
        && found.st_uid == geteuid().as_raw()
        && found.st_mode & BY_OTHERS == 0;
    is_ours.then(|| directory.join(name))
}

/// Whether the kernel would stop this process when it reads from its terminal, or, with `stty tostop`, when it writes to
/// it: a worker, which is in another session, would be let do so.
fn is_in_the_background() -> bool {
    let stops_output =
        |fd| tcgetattr(fd).is_ok_and(|terminal| terminal.local_modes.contains(LocalModes::TOSTOP));
    is_behind(stdin())
        || [stdout(), stderr()]
            .into_iter()
            .any(|fd| is_behind(fd) && stops_output(fd))
}

/// Whether it is this process's terminal, and another process group is in its foreground.
fn is_behind(fd: BorrowedFd<'_>) -> bool {
    tcgetpgrp(fd).is_ok_and(|foreground| foreground != getpgrp())
}

/// Whether Python would take the words of the command line for UTF-8 (PEP 538, PEP 540), as the server's does.
fn is_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(env::var_os)
        .find(|value| !value.is_empty())
        .unwrap_or_default();
    let name = locale.as_bytes().to_ascii_lowercase();
    let codeset = name.split(|&byte| byte == b'@').next().unwrap_or_default();
    matches!(codeset, b"" | b"c" | b"posix")
        || codeset.ends_with(b".utf-8")
        || codeset.ends_with(b".utf8")
}

/// Whether a variable of the environment changes what Python does.
fn python_is_told() -> bool {
    env::vars_os().any(|(name, _)| {
        let name = name.as_bytes();
        // PYTHON_VERSION and the like are others', or change nothing that a command does.
        name.starts_with(b"PYTHON")
            && !name.starts_with(b"PYTHON_")
            && !WITHOUT_EFFECT.contains(&name)
    })
}
