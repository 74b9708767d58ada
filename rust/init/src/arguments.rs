//! The command line, which only macvfast itself writes.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;

use crate::log::LEAST_LIMIT;
use crate::sys;

/// How the program is called.
pub const USAGE: &str = "\
usage: macvfast-init run --netns-fd N --dir DIR [--rootfs DIR] [--pins DIR]... [--after ARG]... [--queue DIR] [--after-all ARG]... [OPTIONS] -- COMMAND [ARG...]
       macvfast-init join --netns-fd N --dir DIR [--beside] [OPTIONS] -- COMMAND [ARG...]
options: [--lock-fd N] [--name NAME] [--hostname NAME] [--etc DIR] [--tty] [--interactive] [--detach] [--env-fd N] \
[--workdir DIR] [--user UID:GID[:GID]...] [--log-max BYTES]
";

/// What is asked for: a command with a pid 1 of its own; or, with `join`, beside the running command, if there is one.
pub struct Request {
    pub join: bool,
    /// Only beside one: who its user is, was read there.
    pub beside: bool,
    /// The sandbox's network namespace; None once a supervisor is in it.
    pub netns: Option<OwnedFd>,
    /// The sandbox's folder, for lock, status and log.
    pub directory: CString,
    /// The folder's lock, where the caller had it already, so that nobody else comes in between.
    pub lock: Option<OwnedFd>,
    /// The sandbox's name, for messages.
    pub name: String,
    pub rootfs: Option<CString>,
    /// The host name that a command with a pid 1 of its own sees; None: the host's.
    pub hostname: Option<CString>,
    /// A folder with files that replace those of the same names in /etc, for a command with a pid 1 of its own.
    pub etc: Option<CString>,
    /// Folders of pins, which a command with a pid 1 of its own does not see.
    pub pins: Vec<CString>,
    /// A program to run last, its name first; empty for none.
    pub after: Vec<CString>,
    /// The queue in which it waits, with others, for one program that removes all of their sandboxes.
    pub queue: Option<CString>,
    /// That program, its name first.
    pub after_all: Vec<CString>,
    pub tty: bool,
    pub interactive: bool,
    pub detach: bool,
    /// The limit of a detached command's log in bytes; None: that of before.
    pub log_limit: Option<u64>,
    /// The command's name and arguments; never empty.
    pub command: Vec<CString>,
    /// Added to this program's environment or, for another user, in its place: `NAME=VALUE`. It comes by a descriptor,
    /// since everybody can read a command line.
    pub environment: Vec<CString>,
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
    /// The groups besides.
    pub groups: Vec<u32>,
}

impl Request {
    /// The numbers of the descriptors that were handed over; -1 of one that is closed.
    pub fn descriptors(&self) -> [RawFd; 2] {
        [&self.netns, &self.lock].map(|one| one.as_ref().map_or(-1, AsRawFd::as_raw_fd))
    }
}

/// The command line as it was written, its numbers not yet looked at.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    join: bool,
    beside: bool,
    netns: Option<RawFd>,
    directory: Option<CString>,
    lock: Option<RawFd>,
    name: Option<CString>,
    rootfs: Option<CString>,
    hostname: Option<CString>,
    etc: Option<CString>,
    pins: Vec<CString>,
    after: Vec<CString>,
    queue: Option<CString>,
    after_all: Vec<CString>,
    tty: bool,
    interactive: bool,
    detach: bool,
    log_limit: Option<u64>,
    environment: Option<RawFd>,
    workdir: Option<CString>,
    user: Option<User>,
    command: Vec<CString>,
}

/// Reads the arguments (without the program's name) and takes over the descriptor that they name.
///
/// # Errors
///
/// What is wrong with them, in words.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Request, String> {
    let words = read(arguments.into_iter().map(OsString::into_vec))?;
    if words.join && (words.rootfs.is_some() || !words.after.is_empty()) {
        return Err("join takes the files that are there".to_owned());
    }
    let netns = inherited("--netns-fd", words.netns.ok_or("--netns-fd is missing")?)?;
    let environment = match words.environment {
        Some(number) => variables(inherited("--env-fd", number)?)?,
        None => Vec::new(),
    };
    let lock = words.lock.map(|number| inherited("--lock-fd", number));
    Ok(Request {
        join: words.join,
        beside: words.beside,
        lock: lock.transpose()?,
        netns: Some(netns),
        directory: words.directory.ok_or("--dir is missing")?,
        name: words
            .name
            .map_or_else(String::new, |name| shown(name.as_bytes())),
        rootfs: words.rootfs,
        hostname: words.hostname,
        etc: words.etc,
        pins: words.pins,
        after: words.after,
        queue: words.queue,
        after_all: words.after_all,
        tty: words.tty,
        interactive: words.interactive,
        detach: words.detach,
        log_limit: words.log_limit,
        command: words.command,
        environment,
        workdir: words.workdir,
        user: words.user,
    })
}

fn read(mut arguments: impl Iterator<Item = Vec<u8>>) -> Result<Words, String> {
    let mut words = Words::default();
    match arguments.next().as_deref() {
        Some(b"run") => {}
        Some(b"join") => words.join = true,
        _ => return Err("the first argument is neither run nor join".to_owned()),
    }
    loop {
        let Some(option) = arguments.next() else {
            return Err("`--` and the command are missing".to_owned());
        };
        let mut value = || {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{} wants a value", shown(&option)))?;
            CString::new(value).map_err(|_| format!("{} wants a value without NUL", shown(&option)))
        };
        match option.as_slice() {
            b"--netns-fd" => words.netns = Some(descriptor(&value()?)?),
            b"--dir" => words.directory = Some(value()?),
            b"--lock-fd" => words.lock = Some(descriptor(&value()?)?),
            b"--name" => words.name = Some(value()?),
            b"--rootfs" => words.rootfs = Some(value()?),
            b"--hostname" => words.hostname = Some(value()?),
            b"--etc" => words.etc = Some(value()?),
            b"--pins" => words.pins.push(value()?),
            b"--env-fd" => words.environment = Some(descriptor(&value()?)?),
            b"--workdir" => words.workdir = Some(value()?),
            b"--user" => words.user = Some(user(&value()?)?),
            b"--log-max" => words.log_limit = Some(limit(&value()?)?),
            b"--after" => words.after.push(value()?),
            b"--queue" => words.queue = Some(value()?),
            b"--after-all" => words.after_all.push(value()?),
            b"--beside" => words.beside = true,
            b"--tty" => words.tty = true,
            b"--interactive" => words.interactive = true,
            b"--detach" => words.detach = true,
            b"--" => break,
            other => return Err(format!("unknown argument `{}`", shown(other))),
        }
    }
    words.command = arguments
        .filter_map(|word| CString::new(word).ok())
        .collect();
    if words.command.is_empty() {
        return Err("the command is missing".to_owned());
    }
    Ok(words)
}

fn descriptor(value: &CString) -> Result<RawFd, String> {
    let number = value
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|number: &RawFd| *number > 2);
    number.ok_or_else(|| {
        format!(
            "`{}` is not the number of a descriptor above 2",
            shown(value.as_bytes())
        )
    })
}

fn inherited(option: &str, number: RawFd) -> Result<OwnedFd, String> {
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
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    number
        .filter(|number| *number >= LEAST_LIMIT)
        .ok_or_else(|| {
            format!(
                "`{}` is not a number of bytes from {LEAST_LIMIT} on",
                shown(value.as_bytes())
            )
        })
}

/// `UID:GID` and further groups, with colons between.
fn user(value: &CString) -> Result<User, String> {
    let numbers = value.to_str().ok().and_then(|text| {
        let numbers: Result<Vec<u32>, _> = text.split(':').map(str::parse).collect();
        numbers.ok()
    });
    match numbers.as_deref() {
        Some([uid, gid, groups @ ..]) => Ok(User {
            uid: *uid,
            gid: *gid,
            groups: groups.to_vec(),
        }),
        _ => Err(format!(
            "`{}` is not a user and a group by number",
            shown(value.as_bytes())
        )),
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
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Words, String> {
        read(line.split(' ').map(|word| word.as_bytes().to_vec()))
    }

    #[test]
    fn every_option_is_read() {
        let read = words(
            "run --netns-fd 7 --dir /d --lock-fd 9 --name n --tty --interactive --detach --rootfs /r --after a --after --tty \
             --queue /q --after-all b \
             --hostname h --etc /e --pins /p --pins /q --env-fd 8 --log-max 8192 --workdir /w --user 1:2:3:4 -- c --x",
        );
        let expected = Words {
            netns: Some(7),
            directory: Some(c"/d".to_owned()),
            lock: Some(9),
            name: Some(c"n".to_owned()),
            rootfs: Some(c"/r".to_owned()),
            hostname: Some(c"h".to_owned()),
            etc: Some(c"/e".to_owned()),
            pins: vec![c"/p".to_owned(), c"/q".to_owned()],
            environment: Some(8),
            log_limit: Some(8192),
            workdir: Some(c"/w".to_owned()),
            user: Some(User {
                uid: 1,
                gid: 2,
                groups: vec![3, 4],
            }),
            after: vec![c"a".to_owned(), c"--tty".to_owned()],
            queue: Some(c"/q".to_owned()),
            after_all: vec![c"b".to_owned()],
            tty: true,
            interactive: true,
            detach: true,
            command: vec![c"c".to_owned(), c"--x".to_owned()],
            ..Words::default()
        };
        assert_eq!(read, Ok(expected));
        let expected = Words {
            join: true,
            beside: true,
            netns: Some(3),
            command: vec![c"--".to_owned()],
            ..Words::default()
        };
        assert_eq!(words("join --netns-fd 3 --beside -- --"), Ok(expected));
    }

    #[test]
    fn what_is_incomplete_or_unknown_is_refused() {
        let cases = [
            ("exec --netns-fd 3 -- c", "neither run nor join"),
            ("run --netns-fd 7 --dir /d c", "unknown argument `c`"),
            (
                "run --netns-fd 7 --dir /d",
                "`--` and the command are missing",
            ),
            ("run --netns-fd 7 --dir /d --", "the command is missing"),
            ("run --netns-fd", "--netns-fd wants a value"),
            ("run --netns-fd 2 -- c", "`2` is not the number"),
            ("run --netns-fd seven -- c", "`seven` is not the number"),
            ("run --user 1 -- c", "`1` is not a user and a group"),
            ("run --user 1:x -- c", "`1:x` is not a user and a group"),
            ("run --log-max 8191 -- c", "`8191` is not a number of bytes"),
            ("run --colour\x1b -- c", "`--colour\\u{1b}`"),
        ];
        for (line, reason) in cases {
            let refusal = words(line).unwrap_err();
            assert!(refusal.contains(reason), "{line}: {refusal}");
        }
    }

    #[test]
    fn a_request_needs_what_its_kind_needs() {
        let parse = |line: &str| parse(line.split(' ').map(OsString::from)).err().unwrap();
        assert_eq!(parse("run --dir /d -- c"), "--netns-fd is missing");
        assert_eq!(parse("join -- c"), "--netns-fd is missing");
        for option in ["--rootfs /r", "--after a"] {
            assert_eq!(
                parse(&format!("join --netns-fd 9999999 --dir /d {option} -- c")),
                "join takes the files that are there"
            );
        }
        assert_eq!(
            parse("run --netns-fd 9999999 --dir /d -- c"),
            "--netns-fd: descriptor 9999999 is not open"
        );
    }

    #[test]
    fn variables_are_what_stands_between_the_ends() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        rustix::io::write(&writer, b"A=b\nc\0B=\0").unwrap();
        drop(writer);
        let read = variables(reader).unwrap();
        assert_eq!(read, [c"A=b\nc".to_owned(), c"B=".to_owned()]);
    }
}
