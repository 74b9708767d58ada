//! Root's file on where Python and the server are, for a copy of this program that is told nothing else.
//!
//! `python/macvfast/system/configured.py` reads the same.

use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{fstat, openat, FileType, Mode, OFlags, CWD};

/// Written by `macvfast service install`.
const DIRECTORY: &CStr = c"/etc/macvfast";
const NAME: &CStr = c"client.conf";

/// A file that is longer is not read.
const LONGEST: u64 = 1 << 16;

/// Writable by others than the owner.
const BY_OTHERS: u32 = 0o022;

/// The path that is called `python` or `run_dir`; None: the file says nothing, or others than root may change it.
pub fn path(name: &str) -> Option<PathBuf> {
    let directory = opened_of_root(CWD, DIRECTORY, FileType::Directory)?;
    let file = File::from(opened_of_root(directory, NAME, FileType::RegularFile)?);
    let mut text = Vec::new();
    let length = file.take(LONGEST + 1).read_to_end(&mut text).ok()?;
    if length as u64 > LONGEST {
        return None;
    }
    value(&text, name).map(|value| PathBuf::from(OsStr::from_bytes(value)))
}

/// What is there, where it is root's alone.
fn opened_of_root(directory: impl AsFd, name: &CStr, kind: FileType) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = openat(directory, name, flags, Mode::empty()).ok()?;
    let found = fstat(&opened).ok()?;
    let of_root = found.st_uid == 0 && found.st_mode & BY_OTHERS == 0;
    (of_root && FileType::from_raw_mode(found.st_mode) == kind).then_some(opened)
}

/// What a line `name=value` says; of several, the last one counts.
fn value<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    text.split(|&byte| byte == b'\n')
        .rev()
        .find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        .filter(|value| !value.is_empty())
}
