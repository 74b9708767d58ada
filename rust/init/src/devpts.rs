//! The terminals of a sandbox: a file system of its own at /dev/pts, in which those of the host have no names.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{fstatfs, open, openat, openat2, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::pty::{openpt, OpenptFlags};

use crate::files::fresh;

/// linux/magic.h
const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

/// Makes one, attached nowhere and without a terminal; None where the kernel does not support it.
pub fn make() -> Result<Option<OwnedFd>, Errno> {
    // The group tty, as old C libraries want it for users; a user namespace need not have it.
    let options = [(c"ptmxmode", c"0666"), (c"mode", c"0620"), (c"gid", c"5")];
    let with = |options| fresh(c"devpts", options, MountAttrFlags::empty());
    match with(&options).or_else(|_| with(&options[..2])) {
        Err(Errno::NODEV) => Ok(None),
        made => made.map(Some),
    }
}

/// That of a command that runs, by its pid 1; None where it has none at /dev/pts.
pub fn of_running(init: BorrowedFd<'_>) -> Option<OwnedFd> {
    let path = format!("/proc/self/fdinfo/{}", init.as_raw_fd());
    let text = std::fs::read_to_string(path).ok()?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(format!("/proc/{}/root", pid.trim()), flags, Mode::empty()).ok()?;
    let terminals = openat2(
        &root,
        c"dev/pts",
        flags,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    );
    let terminals = terminals.ok()?;
    // Another root may have anything there.
    let kind = fstatfs(&terminals).ok()?.f_type;
    (u64::try_from(kind) == Ok(DEVPTS_SUPER_MAGIC)).then_some(terminals)
}

/// Opens the master of a new terminal there, or of one of the host's where that cannot be.
pub fn open_master(terminals: Option<BorrowedFd<'_>>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let there = terminals
        .map(|terminals| openat(terminals.as_fd(), c"ptmx", flags, Mode::empty()))
        .and_then(Result::ok);
    match there {
        Some(master) => Ok(master),
        None => openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC),
    }
}
