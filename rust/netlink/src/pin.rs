//! Pins: names for namespaces in the file system, as `ip netns` makes them.
//!
//! A pin is an empty file with the namespace bind-mounted on it, in a directory that is a shared mount, so that taking
//! the pin away in one mount namespace takes it away in all.

use std::collections::BTreeMap;
use std::fs::{metadata, read_to_string, set_permissions, DirBuilder, File, Permissions};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{
    flock, fstat, major, minor, open, unlink, FileType, FlockOperation, Mode, OFlags,
};
use rustix::io::Errno;
use rustix::mount::{
    mount_bind, mount_bind_recursive, mount_change, unmount, MountPropagationFlags, UnmountFlags,
};
use rustix::process::geteuid;

use crate::error::{Error, NotANamespace, Operation};
use crate::netns::{descriptor_path, directory_of, no_namespace_file, not_there, open_directory};

/// Namespaces mounted on top of each other at one path; more than this is someone's game.
const MOUNTS_MAX: usize = 16;

/// How long another may take to prepare a directory, and how often it is asked.
const LOCK_WAIT: Duration = Duration::from_secs(3);
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// How often in a row a lock must be seen to be held by strangers: `/proc/locks` may miss one while others come and go.
const LOOKS: u32 = 20;

/// Pin living namespaces, each at a path that is to be a new, empty file.
///
/// One result per entry: EEXIST and whatever else the kernel says, and then nothing is left at the path. Some 30 µs
/// each.
#[must_use]
pub fn pin_all(pins: &[(BorrowedFd<'_>, PathBuf)]) -> Vec<Result<(), Error>> {
    let mut directories = BTreeMap::new();
    pins.iter()
        .map(|(namespace, path)| {
            let directory = directory_of(path);
            let prepared = directories
                .entry(directory)
                .or_insert_with(|| prepare(directory));
            prepared.clone()?;
            pin(*namespace, path)
        })
        .collect()
}

/// Make a directory, and make it a shared mount, step by step as `create_netns_dir` and `netns_add` of iproute2 do. To
/// make shared what is shared already changes nothing and takes 65 µs with 4,000 pins; to find it out from
/// `/proc/self/mountinfo` takes 7 ms.
fn prepare(directory: &Path) -> Result<(), Error> {
    let failed = |errno| Error::system(Operation::PreparePins(directory.to_owned()), errno);
    make_directory(directory)
        .map_err(|error| Error::io(Operation::PreparePins(directory.to_owned()), &error))?;
    refuse_others(directory)?;
    let shared = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    match mount_change(directory, shared) {
        // It is no mount yet. Under the lock that iproute2 takes, too: two at once would mount it on itself twice.
        Err(Errno::INVAL) => {
            let _lock = locked(directory)?;
            match mount_change(directory, shared) {
                Err(Errno::INVAL) => {
                    mount_bind_recursive(directory, directory).map_err(failed)?;
                    mount_change(directory, shared).map_err(failed)
                }
                other => other.map_err(failed),
            }
        }
        other => other.map_err(failed),
    }
}

/// Make a directory that everybody may look into, whatever the umask; one that is there stays as it is.
fn make_directory(directory: &Path) -> std::io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let mut missing = DirBuilder::new();
    missing.recursive(true).mode(0o755).create(directory)?;
    set_permissions(directory, Permissions::from_mode(0o755))
}

/// Refuse a directory where others could exchange a new pin for a link, on whose target the namespace would be mounted.
fn refuse_others(directory: &Path) -> Result<(), Error> {
    let operation = Operation::PreparePins(directory.to_owned());
    let found = metadata(directory).map_err(|error| Error::io(operation.clone(), &error))?;
    let (uid, mode) = (found.uid(), found.mode() & 0o7777);
    let reason = if uid != 0 && uid != geteuid().as_raw() {
        format!("it belongs to another user (uid {uid})")
    } else if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        format!("others may write to it (mode {mode:04o})")
    } else {
        return Ok(());
    };
    Err(Error::Unsafe { operation, reason })
}

/// A directory with its lock, given up with the descriptor. Whoever can open it can hold the lock, and everybody can:
/// it is waited for only so long, and only for root and this user. Without it, the worst is a directory mounted on
/// itself twice.
fn locked(directory: &Path) -> Result<File, Error> {
    let failed = |errno| Error::system(Operation::PreparePins(directory.to_owned()), errno);
    let lock = open_directory(directory).map_err(failed)?;
    let file = fstat(&lock).map_err(failed)?;
    let device = (major(file.st_dev), minor(file.st_dev));
    let deadline = Instant::now() + LOCK_WAIT;
    let mut strangers = 0;
    loop {
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => {
                let locks = read_to_string("/proc/locks").unwrap_or_default();
                let holders: Vec<_> = holders(&locks, device, file.st_ino)
                    .into_iter()
                    .filter(|pid| is_believed(*pid))
                    .collect();
                strangers = if holders.is_empty() { strangers + 1 } else { 0 };
                if strangers == LOOKS {
                    return Ok(lock);
                }
                if !holders.is_empty() && Instant::now() >= deadline {
                    return Err(Error::Locked {
                        operation: Operation::PreparePins(directory.to_owned()),
                        holders: holders.into_iter().map(shown).collect(),
                    });
                }
                sleep(LOCK_PAUSE);
            }
            // iproute2 goes on without it, too, where the file system has no locks.
            Ok(()) | Err(_) => return Ok(lock),
        }
    }
}

/// Whether a process is root's or this user's: by all its user ids, as nobody becomes root by running what is setuid.
fn is_believed(pid: u32) -> bool {
    let own = geteuid().as_raw().to_string();
    let status = read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.is_some_and(|uids| uids.split_whitespace().all(|uid| uid == "0" || uid == own))
}

/// The processes that hold the flock of a file, by `/proc/locks` (proc(5)).
fn holders(locks: &str, (major, minor): (u32, u32), inode: u64) -> Vec<u32> {
    let file = format!("{major:02x}:{minor:02x}:{inode}");
    locks
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter_map(|words| match words.as_slice() {
            [_, "FLOCK", _, _, pid, held, ..] if *held == file => pid.parse().ok(),
            _ => None,
        })
        .collect()
}

fn shown(pid: u32) -> String {
    let name = read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("process {pid} ({})", name.trim_end())
}

/// Make a file, and mount a namespace on it. Where that fails, the file is deleted.
fn pin(namespace: BorrowedFd<'_>, path: &Path) -> Result<(), Error> {
    let failed = |errno| Error::system(Operation::Pin(path.to_owned()), errno);
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).map_err(failed)?;
    mount_bind(descriptor_path(namespace), path).map_err(|errno| {
        // The first error is the one to report; an empty file hurts nobody.
        let _ = unlink(path);
        failed(errno)
    })
}

/// Take a pin away: unmount it, then delete the file. False if nothing was there.
///
/// Deleted is only what a pin leaves behind, an empty regular file. So a pin whose mount is not seen here (made in
/// another mount namespace, or lost with it) is taken away as well.
///
/// # Errors
/// `NotANamespace` where something else is there, which is left alone; or a system call failed.
pub fn unpin(path: &Path) -> Result<bool, Error> {
    let failed = |errno| Error::system(Operation::Unpin(path.to_owned()), errno);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..MOUNTS_MAX {
        let place = match open(path, flags, Mode::empty()) {
            Ok(place) => place,
            Err(errno) if not_there(errno) == Some(NotANamespace::Missing) => return Ok(false),
            Err(errno) => return Err(failed(errno)),
        };
        match no_namespace_file(place.as_fd()).map_err(failed)? {
            None => {
                drop(place);
                unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).map_err(failed)?;
            }
            Some(reason) => {
                let file = fstat(&place).map_err(failed)?;
                if FileType::from_raw_mode(file.st_mode) != FileType::RegularFile
                    || file.st_size != 0
                {
                    return Err(Error::not_a_namespace(path, reason));
                }
                return match unlink(path) {
                    Ok(()) => Ok(true),
                    Err(Errno::NOENT) => Ok(false),
                    Err(errno) => Err(failed(errno)),
                };
            }
        }
    }
    Err(failed(Errno::BUSY))
}

#[cfg(test)]
mod tests;
