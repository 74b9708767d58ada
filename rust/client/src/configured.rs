//! Root's file on where Python and the server are, for a copy of this program that is told nothing else.
//!
//! `python/macvfast/system/configured.py` reads the same.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::process::geteuid;

/// Written by `macvfast service install`.
const FILE: &str = "/etc/macvfast/client.conf";

const LONGEST: u64 = 1 << 16;

/// Writable by others than the owner.
const BY_OTHERS: u32 = 0o022;

/// The path that is called `python` or `run_dir`; None: the file says nothing, or others than root may change it.
pub fn path(name: &str) -> Option<PathBuf> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(FILE)
        .ok()?;
    let found = file.metadata().ok()?;
    let owner_is_trusted = found.uid() == 0 || found.uid() == geteuid().as_raw();
    if !found.is_file() || !owner_is_trusted || found.mode() & BY_OTHERS != 0 {
        return None;
    }
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    value(&text, name).map(|value| PathBuf::from(OsStr::from_bytes(value)))
}

/// What a line `name=value` says; of several, the last one counts.
fn value<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    text.split(|&byte| byte == b'\n')
        .rev()
        .find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        .filter(|value| !value.is_empty())
}
