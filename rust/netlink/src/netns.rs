//! Network namespaces: made, opened, entered, pinned, unpinned.
//!
//! Beside the visitor's way home, the only place of `unshare` and `setns`. Both change the thread they are called on:
//! what takes a moment is done on the visitor's, which goes home afterwards; what is many on threads made for it, which
//! end with it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{fstat, fstatfs, open, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{move_into_link_name_space, unshare_unsafe, LinkNameSpaceType, UnshareFlags};

use crate::batch::Batch;
use crate::error::{Error, NotANamespace, Operation};
use crate::reply::Refusal;
use crate::socket::Socket;
use crate::sysctl::{Procfs, Sysctl};
use crate::threads::spread;
use crate::visitor::visit;

/// `f_type` of a file that stands for a namespace (NSFS_MAGIC of `linux/magic.h`).
const NSFS_MAGIC: u64 = 0x6e73_6673;
/// Namespaces that are visited one after the other while others wait; for more, threads are made.
const VISITS_MAX: usize = 16;
/// `lo` is the first link of every namespace.
const LOOPBACK: u32 = 1;

/// A network namespace, kept alive by a descriptor and an rtnetlink socket inside.
#[derive(Debug)]
pub struct Namespace {
    /// The namespace itself (close-on-exec).
    pub fd: Arc<OwnedFd>,
    /// The inode number under nsfs, used again as soon as the namespace is gone.
    pub inode: u64,
    /// A socket in it, which knows its cookie.
    pub socket: Socket,
    /// The values of the sysctls that were asked for when it was opened; None for one that this kernel does not have.
    pub sysctls: Vec<Option<String>>,
}

/// Make network namespaces that are pinned nowhere: each lives as long as its value, and no crash leaves it behind.
///
/// Each has the `sysctls` written and then `lo` brought up. Spread over `threads` threads; about 0.4 ms each on one.
#[must_use]
pub fn make(count: usize, sysctls: &[Sysctl], threads: usize) -> Vec<Result<Namespace, Error>> {
    if count == 1 {
        let sysctls = sysctls.to_vec();
        return vec![visit(move |procfs| make_here(&sysctls, procfs))];
    }
    spread(count, threads, Procfs::new, |procfs, _| {
        make_here(sysctls, procfs)
    })
}

/// Make a namespace and leave the calling thread in it.
fn make_here(sysctls: &[Sysctl], procfs: &mut Procfs) -> Result<Namespace, Error> {
    unshare_network().map_err(|errno| Error::system(Operation::MakeNamespace, errno))?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let fd = open("/proc/thread-self/ns/net", flags, Mode::empty())
        .map_err(|errno| Error::system(Operation::HoldNamespace, errno))?;
    let mut socket = Socket::open()?;
    // Before `lo` comes up, so that they decide what it comes up with.
    procfs.write_all(sysctls)?;
    bring_loopback_up(&mut socket)?;
    with_inode(fd, socket, Vec::new())
}

#[allow(unsafe_code)]
fn unshare_network() -> Result<(), Errno> {
    // SAFETY: only UnshareFlags::FILES is unsafe (it would give this thread a descriptor table of its own).
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
}

fn bring_loopback_up(socket: &mut Socket) -> Result<(), Error> {
    let mut batch = Batch::new();
    let failed = |errno, text| Error::refused(Operation::BringLoopbackUp, errno, text);
    batch
        .set_up(LOOPBACK)
        .map_err(|_| failed(libc::EINVAL, None))?;
    match socket.send(&batch)?.into_values().next() {
        None => Ok(()),
        Some(Refusal::Refused { errno, text }) => Err(failed(errno, text)),
        Some(Refusal::Unknown) => Err(failed(libc::EINTR, None)),
    }
}

fn with_inode(
    fd: OwnedFd,
    socket: Socket,
    sysctls: Vec<Option<String>>,
) -> Result<Namespace, Error> {
    let inode = fstat(&fd)
        .map_err(|errno| Error::system(Operation::HoldNamespace, errno))?
        .st_ino;
    Ok(Namespace {
        fd: Arc::new(fd),
        inode,
        socket,
        sysctls,
    })
}

/// Open the network namespaces that are pinned at, or linked from, paths; `NotANamespace` where none is. Some 15 µs
/// each, and 5 for each of the sysctls that are read in them.
///
/// What stands there is looked at before it is opened: opening a FIFO would wait, opening a device may do anything.
#[must_use]
pub fn open_all(paths: &[PathBuf], sysctls: &[Sysctl]) -> Vec<Result<Namespace, Error>> {
    if paths.len() <= VISITS_MAX {
        return open_few(paths, sysctls.to_vec());
    }
    spread(paths.len(), 1, Procfs::new, |procfs, index| {
        let path = &paths[index];
        open_inside(open_file(path)?, path, sysctls, procfs)
    })
}

/// In one visit.
fn open_few(paths: &[PathBuf], sysctls: Vec<Sysctl>) -> Vec<Result<Namespace, Error>> {
    let files: Vec<_> = paths
        .iter()
        .map(|path| open_file(path).map(|fd| (fd, path.clone())))
        .collect();
    if files.iter().all(Result::is_err) {
        return files.into_iter().filter_map(Result::err).map(Err).collect();
    }
    let opened = visit(move |procfs| {
        let open = |file: Result<(OwnedFd, PathBuf), Error>| {
            let (fd, path) = file?;
            open_inside(fd, &path, &sysctls, procfs)
        };
        Ok(files.into_iter().map(open).collect())
    });
    opened.unwrap_or_else(|error| paths.iter().map(|_| Err(error.clone())).collect())
}

/// Open what stands for a namespace, on the thread whose files and whose `/proc/thread-self` are meant.
fn open_file(path: &Path) -> Result<OwnedFd, Error> {
    let failed = |errno| match not_there(errno) {
        Some(reason) => Error::not_a_namespace(path, reason),
        None => Error::system(Operation::OpenNamespace(path.to_owned()), errno),
    };
    let place = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    if let Some(reason) = no_namespace_file(place.as_fd()).map_err(failed)? {
        return Err(Error::not_a_namespace(path, reason));
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    open(descriptor_path(place.as_fd()), flags, Mode::empty())
        .map_err(|errno| Error::system(Operation::OpenNamespace(path.to_owned()), errno))
}

/// Enter the namespace that was at `path`, open a socket in it, read sysctls, and leave the calling thread there.
fn open_inside(
    fd: OwnedFd,
    path: &Path,
    sysctls: &[Sysctl],
    procfs: &mut Procfs,
) -> Result<Namespace, Error> {
    // Also the check of its kind: the kernel compares before it asks for permission.
    enter(fd.as_fd()).map_err(|errno| match errno {
        Errno::INVAL => Error::not_a_namespace(path, NotANamespace::OtherKind),
        errno => Error::system(Operation::EnterNamespace, errno),
    })?;
    let socket = Socket::open()?;
    let values = procfs.read_all(sysctls)?;
    with_inode(fd, socket, values)
}

/// Write sysctls inside namespaces; one that this kernel does not have is skipped. One thread goes from one namespace
/// to the next; some 30 µs each.
///
/// One result per entry; where one failed, those before it in its list are written.
#[must_use]
pub fn write_sysctls(writes: Vec<(Arc<OwnedFd>, Vec<Sysctl>)>) -> Vec<Result<(), Error>> {
    let count = writes.len();
    if count > VISITS_MAX {
        return spread(count, 1, Procfs::new, |procfs, index| {
            write_inside(&writes[index], procfs)
        });
    }
    let written = visit(move |procfs| {
        let results = writes.iter().map(|write| write_inside(write, procfs));
        Ok(results.collect::<Vec<_>>())
    });
    written.unwrap_or_else(|error| vec![Err(error); count])
}

fn write_inside(write: &(Arc<OwnedFd>, Vec<Sysctl>), procfs: &mut Procfs) -> Result<(), Error> {
    enter(write.0.as_fd()).map_err(|errno| Error::system(Operation::EnterNamespace, errno))?;
    procfs.write_all(&write.1)
}

/// The values of sysctls inside each namespace; None for one that this kernel does not have.
#[must_use]
pub fn read_sysctls(
    namespaces: Vec<Arc<OwnedFd>>,
    names: Vec<Sysctl>,
) -> Vec<Result<Vec<Option<String>>, Error>> {
    let count = namespaces.len();
    if count > VISITS_MAX {
        return spread(count, 1, Procfs::new, |procfs, index| {
            read_inside(&namespaces[index], &names, procfs)
        });
    }
    let read = visit(move |procfs| {
        let results = namespaces
            .iter()
            .map(|namespace| read_inside(namespace, &names, procfs));
        Ok(results.collect::<Vec<_>>())
    });
    read.unwrap_or_else(|error| vec![Err(error); count])
}

fn read_inside(
    namespace: &Arc<OwnedFd>,
    names: &[Sysctl],
    procfs: &mut Procfs,
) -> Result<Vec<Option<String>>, Error> {
    enter(namespace.as_fd()).map_err(|errno| Error::system(Operation::EnterNamespace, errno))?;
    procfs.read_all(names)
}

/// SO_NETNS_COOKIE of the calling thread's network namespace.
///
/// # Errors
/// A system call failed.
pub fn home_cookie() -> Result<u64, Error> {
    Ok(Socket::open()?.cookie())
}

fn enter(namespace: BorrowedFd<'_>) -> Result<(), Errno> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
}

/// The path that leads to an open file again, whatever happened to its name. The thread's own: the process may have
/// lost its first thread.
pub(crate) fn descriptor_path(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/thread-self/fd/{}", fd.as_raw_fd()))
}

/// Why an O_PATH descriptor is no namespace's; None where it is one.
pub(crate) fn no_namespace_file(place: BorrowedFd<'_>) -> Result<Option<NotANamespace>, Errno> {
    // The sign differs between architectures.
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)]
    if fstatfs(place)?.f_type as u64 == NSFS_MAGIC {
        return Ok(None);
    }
    Ok(Some(match FileType::from_raw_mode(fstat(place)?.st_mode) {
        FileType::Directory => NotANamespace::Directory,
        FileType::Symlink => NotANamespace::SymbolicLink,
        _ => NotANamespace::OtherFile,
    }))
}

/// Why nothing can be at a path.
pub(crate) fn not_there(errno: Errno) -> Option<NotANamespace> {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::INVAL => {
            Some(NotANamespace::Missing)
        }
        Errno::LOOP => Some(NotANamespace::SymbolicLink),
        _ => None,
    }
}

/// The directory of a pin; the current one for a mere name.
pub(crate) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if directory.as_os_str() != OsStr::new("") => directory,
        _ => Path::new("."),
    }
}

/// A directory, opened to be locked.
pub(crate) fn open_directory(path: &Path) -> Result<File, Errno> {
    Ok(open(
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?
    .into())
}
