//! The command line, which only macvfast itself writes.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;

use crate::log::LEAST_LIMIT;
use crate::restarts::Policy;
use crate::sys;

/// How the program is called.
pub const USAGE: &str = "\
usage: macvfast-init run --netns-fd N --dir DIR [--rootfs DIR] [--pins DIR]... [--after ARG]... [--queue DIR] [--after-all ARG]... [OPTIONS] -- COMMAND [ARG...]
       macvfast-init join --netns-fd N --dir DIR [--beside] [OPTIONS] -- COMMAND [ARG...]
options: [--lock-fd N] [--name NAME] [--hostname NAME] [--etc DIR] [--tty] [--interactive] [--detach] [--env-fd N] \
[--restart POLICY] [--only-env] [--directory DIR] [--workdir DIR] [--user UID:GID[:GID]...] [--log-max BYTES]
";

/// What is asked for: a command with a pid 1 of its own; or, with `join`, beside the running command, if there is one.
#[derive(Debug, Default)]
pub struct Request {
    pub join: bool,
    /// Only beside one: the user was looked up in its root.
    pub beside: bool,
    /// The sandbox's network namespace; None once a supervisor is in it.
    pub netns: Option<OwnedFd>,
    /// The sandbox's directory, for lock, status and log.
    pub directory: CString,
    /// The directory's lock, where the caller already holds it, so that nobody else can take it in between.
    pub lock: Option<OwnedFd>,
    /// The sandbox's name, for messages.
    pub name: String,
    pub rootfs: Option<CString>,
    /// The host name that a command with a pid 1 of its own sees; None: the host's.
    pub hostname: Option<CString>,
    /// A directory with files that replace those of the same names in /etc, for a command with a pid 1 of its own.
    pub etc: Option<CString>,
    /// Directories of pins, which a command with a pid 1 of its own does not see.
    pub pins: Vec<CString>,
    /// The program that removes this sandbox alone, its name first; empty for none.
    pub after: Vec<CString>,
    /// The queue in which it waits, with others, for one program that removes all of their sandboxes.
    pub queue: Option<CString>,
    /// That program, its name first.
    pub after_all: Vec<CString>,
    pub tty: bool,
    pub interactive: bool,
    pub detach: bool,
    /// Whether a detached command is run again when it has ended.
    pub restart: Option<Policy>,
    /// The limit of a detached command's log in bytes; None: the limit that the directory keeps.
    pub log_limit: Option<u64>,
    /// The command's name and arguments; never empty.
    pub command: Vec<CString>,
    /// Variables, `NAME=VALUE`: added to this program's environment or, for another user and with `only_environment`,
    /// in its place. They come by a descriptor, since everybody can read a command line.
    pub environment: Vec<CString>,
    pub only_environment: bool,
    /// Where the command starts if that exists there, in place of this process's working directory.
    pub start_directory: Option<CString>,
    /// Where the command must start.
    pub workdir: Option<CString>,
    /// Who runs the command, if not this process's user.
    pub user: Option<User>,
}

/// A user by numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

impl Request {
    /// The numbers of the descriptors that were handed over; -1 of one that is closed.
    pub fn descriptors(&self) -> [RawFd; 2] {
        [&self.netns, &self.lock].map(|one| one.as_ref().map_or(-1, AsRawFd::as_raw_fd))
    }

    /// The command's name, for messages.
    pub fn command_name(&self) -> String {
        self.command.first().map(shown_name).unwrap_or_default()
    }
}

/// Reads the arguments (without the program's name) and takes over the descriptors that they name.
///
/// # Errors
///
/// What is wrong with them, in words.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    let mut arguments = arguments.into_iter().map(OsString::into_vec);
    let mut request = Request::default();
    match arguments.next().as_deref() {
        Some(b"run") => {}
        Some(b"join") => request.join = true,
        _ => return Err("the first argument is neither run nor join".to_owned()),
    }
    loop {
        let Some(option) = arguments.next() else {
            return Err("`--` and the command are missing".to_owned());
        };
        let mut value = || {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{} needs a value", shown(&option)))?;
            CString::new(value).map_err(|_| format!("{} needs a value without NUL", shown(&option)))
        };
        match option.as_slice() {
            b"--netns-fd" => request.netns = Some(descriptor("--netns-fd", &value()?)?),
            b"--dir" => request.directory = value()?,
            b"--lock-fd" => request.lock = Some(descriptor("--lock-fd", &value()?)?),
            b"--name" => request.name = shown_name(&value()?),
            b"--rootfs" => request.rootfs = Some(value()?),
            b"--hostname" => request.hostname = Some(value()?),
            b"--etc" => request.etc = Some(value()?),
            b"--pins" => request.pins.push(value()?),
            b"--env-fd" => request.environment = variables(descriptor("--env-fd", &value()?)?)?,
            b"--restart" => request.restart = Some(policy(&value()?)?),
            b"--only-env" => request.only_environment = true,
            b"--directory" => request.start_directory = Some(value()?),
            b"--workdir" => request.workdir = Some(value()?),
            b"--user" => request.user = Some(user(&value()?)?),
            b"--log-max" => request.log_limit = Some(limit(&value()?)?),
            b"--after" => request.after.push(value()?),
            b"--queue" => request.queue = Some(value()?),
            b"--after-all" => request.after_all.push(value()?),
            b"--beside" => request.beside = true,
            b"--tty" => request.tty = true,
            b"--interactive" => request.interactive = true,
            b"--detach" => request.detach = true,
            b"--" => break,
            other => return Err(format!("unknown argument `{}`", shown(other))),
        }
    }
    request.command = arguments
        .filter_map(|word| CString::new(word).ok())
        .collect();
    let missing = [
        (request.command.is_empty(), "the command"),
        (request.netns.is_none(), "--netns-fd"),
        (request.directory.is_empty(), "--dir"),
    ];
    if let Some((_, what)) = missing.iter().find(|(missing, _)| *missing) {
        return Err(format!("{what} is missing"));
    }
    if request.join && (request.rootfs.is_some() || !request.after.is_empty()) {
        return Err("join takes neither --rootfs nor --after".to_owned());
    }
    if request.restart.is_some() && (request.join || !request.detach || !request.after.is_empty()) {
        return Err("--restart is for a detached command that stays".to_owned());
    }
    Ok(request)
}

/// The descriptor that an option names.
fn descriptor(option: &str, value: &CString) -> Result<OwnedFd, String> {
    let text = shown_name(value);
    let number = text.parse().ok();
    let number = number
        .filter(|number: &RawFd| *number > 2)
        .ok_or_else(|| format!("`{text}` is not the number of a descriptor above 2"))?;
    // SAFETY: it was open when this program began, which has had no way to know its number but this one.
    let taken = unsafe { sys::inherited(number) };
    taken.ok_or_else(|| format!("{option}: descriptor {number} is not open"))
}

/// What a file holds, each with a NUL at its end.
fn variables(file: OwnedFd) -> Result<Vec<CString>, String> {
    let mut text = Vec::new();
    File::from(file)
        .read_to_end(&mut text)
        .map_err(|error| format!("--env-fd: {error}"))?;
    let found = text.split(|&byte| byte == 0).filter(|one| !one.is_empty());
    Ok(found.filter_map(|one| CString::new(one).ok()).collect())
}

fn limit(value: &CString) -> Result<u64, String> {
    let text = shown_name(value);
    let number = text.parse().ok();
    number
        .filter(|number| *number >= LEAST_LIMIT)
        .ok_or_else(|| format!("`{text}` is not a number of bytes from {LEAST_LIMIT} on"))
}

fn policy(value: &CString) -> Result<Policy, String> {
    let text = shown_name(value);
    Policy::parse(&text).ok_or_else(|| format!("`{text}` is not a restart policy"))
}

/// `UID:GID` and supplementary groups, with colons between.
fn user(value: &CString) -> Result<User, String> {
    let text = shown_name(value);
    let numbers: Option<Vec<u32>> = text.split(':').map(|one| one.parse().ok()).collect();
    match numbers.as_deref() {
        Some([uid, gid, groups @ ..]) => Ok(User {
            uid: *uid,
            gid: *gid,
            groups: groups.to_vec(),
        }),
        _ => Err(format!("`{text}` is not a user and a group by number")),
    }
}

/// Text for a terminal: control characters escaped, what is no UTF-8 replaced.
fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    for character in String::from_utf8_lossy(bytes).chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

/// A command's or file's name for a message.
pub fn shown_name(name: &CString) -> String {
    shown(name.as_bytes())
}

#[cfg(test)]
mod tests;
