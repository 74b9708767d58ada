//! What can go wrong, as values: the operation and the error number, never a sentence that has to be parsed.

#![allow(missing_docs, reason = "the text of each says what it is")]

use std::path::{Path, PathBuf};

use thiserror::Error;

/// What was being done, as the rest of "could not …".
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Operation {
    #[error("open a netlink socket")]
    OpenSocket,
    #[error("read the cookie of a network namespace")]
    ReadCookie,
    #[error("send netlink requests")]
    SendBatch,
    #[error("look up a link")]
    ReadLink,
    #[error("list the links")]
    ReadLinks,
    #[error("read the ids of network namespaces")]
    ReadIds,
    #[error("list the addresses of a link")]
    ReadAddresses,
    #[error("list the routes")]
    ReadRoutes,
    #[error("list the MACs of a link's filter")]
    ReadFilter,
    /// A thread that enters or makes namespaces.
    #[error("start a thread")]
    StartThread,
    #[error("make a network namespace")]
    MakeNamespace,
    #[error("bring `lo` up in a new network namespace")]
    BringLoopbackUp,
    /// Duplicating or reopening its descriptor.
    #[error("hold a network namespace open")]
    HoldNamespace,
    #[error("enter a network namespace")]
    EnterNamespace,
    #[error("open the network namespace at `{}`", .0.display())]
    OpenNamespace(PathBuf),
    /// Making the directory of the pins, or making it a shared mount.
    #[error("prepare `{}` for network namespaces", .0.display())]
    PreparePins(PathBuf),
    #[error("pin a network namespace at `{}`", .0.display())]
    Pin(PathBuf),
    #[error("unpin the network namespace at `{}`", .0.display())]
    Unpin(PathBuf),
    #[error("open procfs")]
    OpenProcfs,
    #[error("write the sysctl `{0}`")]
    WriteSysctl(String),
    #[error("read the sysctl `{0}`")]
    ReadSysctl(String),
}

impl Operation {
    /// The capability that EPERM or EACCES of this operation asks for.
    #[must_use]
    pub fn capability(&self) -> &'static str {
        match self {
            Self::StartThread
            | Self::MakeNamespace
            | Self::HoldNamespace
            | Self::EnterNamespace
            | Self::OpenNamespace(_)
            | Self::PreparePins(_)
            | Self::Pin(_)
            | Self::Unpin(_)
            | Self::OpenProcfs => "CAP_SYS_ADMIN",
            // What is asked of a socket, and the sysctls of a namespace.
            _ => "CAP_NET_ADMIN",
        }
    }
}

/// Why a path leads to no network namespace, or why what is there is no pin that could be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotANamespace {
    #[error("nothing is there")]
    Missing,
    /// One that leads nowhere, or round in circles; for unpinning, any symbolic link.
    #[error("it is a symbolic link")]
    SymbolicLink,
    /// A directory.
    #[error("it is a directory")]
    Directory,
    /// A file, or device, socket, FIFO.
    #[error("it is a file that no namespace is mounted on")]
    OtherFile,
    /// Mount, pid, user, ….
    #[error("it is a namespace of another kind")]
    OtherKind,
}

/// A failure of the machinery. A request that the kernel refused is no such failure, but an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// A system call, or a look-up as a whole, failed.
    #[error("could not {operation}: {}", std::io::Error::from_raw_os_error(*errno))]
    System {
        operation: Operation,
        /// The error number, positive.
        errno: i32,
        /// The kernel's own words, where it gave any; or what is wrong with its reply (EINTR, EPROTO).
        text: Option<String>,
    },
    /// Others hold a lock for longer than it is waited for.
    #[error("could not {operation}: others hold its lock")]
    Locked {
        operation: Operation,
        /// They, as people are told, as far as they are seen here: `process 7 (sleep)`.
        holders: Vec<String>,
    },
    /// Others could replace what is about to be made.
    #[error("could not {operation}: {reason}")]
    Unsafe {
        operation: Operation,
        reason: String,
    },
    #[error("`{}` is not a network namespace: {reason}", path.display())]
    NotANamespace {
        path: PathBuf,
        reason: NotANamespace,
    },
}

impl Error {
    /// The kernel refused something, in these words.
    pub(crate) fn refused(operation: Operation, errno: i32, text: Option<String>) -> Self {
        Self::System {
            operation,
            errno,
            text,
        }
    }

    /// A system call failed.
    pub(crate) fn system(operation: Operation, errno: rustix::io::Errno) -> Self {
        Self::refused(operation, errno.raw_os_error(), None)
    }

    /// A call of the standard library failed; EINVAL where it did not come to a system call (a NUL in a path).
    pub(crate) fn io(operation: Operation, error: &std::io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
        Self::refused(operation, errno, None)
    }

    pub(crate) fn not_a_namespace(path: &Path, reason: NotANamespace) -> Self {
        let path = path.to_owned();
        Self::NotANamespace { path, reason }
    }
}

/// A request that cannot be encoded. Nothing was added to the batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The kernel would not take the name, or take it for a pattern.
    #[error("`{0}` is not a link name: 1 to 15 bytes without NUL, `/`, `:`, `%` or white space, and not `.` or `..`")]
    Ifname(String),
    #[error("{0} is not a link index: 1 to 2147483647")]
    Ifindex(i64),
    #[error("{0} is not the id of a network namespace: 0 to 2147483647")]
    Nsid(i64),
    #[error("{0} is not a VLAN id: 1 to 4094")]
    Vid(i64),
    /// Every link that was put nowhere else is in group 0.
    #[error("group 0 holds every link without a group and is not deleted")]
    GroupZero,
    #[error("`{value}` is not {what}: {known}")]
    Mode {
        what: &'static str,
        value: String,
        known: String,
    },
    #[error("{length} is not a prefix length of {bits}-bit addresses")]
    PrefixLength { length: i64, bits: u8 },
    #[error("the gateway is not of the route's family")]
    GatewayFamily,
    /// A sysctl outside `net/`, which is not the namespace's own, or a path that is none.
    #[error("`{0}` is not a sysctl of a network namespace: a path below `net/`")]
    Sysctl(String),
}
