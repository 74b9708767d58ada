//! What can go wrong, as values: the operation and the error number, never a sentence that has to be parsed.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// What was being done. `Display` gives it as the rest of "could not …".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Opening or preparing an rtnetlink socket.
    OpenSocket,
    /// Asking a socket for the cookie of its namespace.
    ReadCookie,
    /// Sending a batch.
    SendBatch,
    /// Looking up one link.
    ReadLink,
    /// Dumping the links.
    ReadLinks,
    /// Reading the ids of namespaces.
    ReadIds,
    /// Dumping a link's addresses.
    ReadAddresses,
    /// Dumping the routes.
    ReadRoutes,
    /// Dumping a link's filter list.
    ReadFilter,
    /// Starting a thread that enters or makes namespaces.
    StartThread,
    /// Making a network namespace.
    MakeNamespace,
    /// Bringing `lo` up in a new namespace.
    BringLoopbackUp,
    /// Duplicating or reopening a namespace's descriptor.
    HoldNamespace,
    /// Entering a namespace.
    EnterNamespace,
    /// Opening the namespace at a path.
    OpenNamespace(PathBuf),
    /// Making the folder of the pins, or making it a shared mount.
    PreparePins(PathBuf),
    /// Pinning a namespace at a path.
    Pin(PathBuf),
    /// Removing the pin at a path.
    Unpin(PathBuf),
    /// Opening procfs.
    OpenProcfs,
    /// Writing a sysctl.
    WriteSysctl(String),
    /// Reading a sysctl.
    ReadSysctl(String),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenSocket => f.write_str("open a netlink socket"),
            Self::ReadCookie => f.write_str("read the cookie of a network namespace"),
            Self::SendBatch => f.write_str("send netlink requests"),
            Self::ReadLink => f.write_str("look up a link"),
            Self::ReadLinks => f.write_str("list the links"),
            Self::ReadIds => f.write_str("read the ids of network namespaces"),
            Self::ReadAddresses => f.write_str("list the addresses of a link"),
            Self::ReadRoutes => f.write_str("list the routes"),
            Self::ReadFilter => f.write_str("list the MACs of a link's filter"),
            Self::StartThread => f.write_str("start a thread"),
            Self::MakeNamespace => f.write_str("make a network namespace"),
            Self::BringLoopbackUp => f.write_str("bring `lo` up in a new network namespace"),
            Self::HoldNamespace => f.write_str("hold a network namespace open"),
            Self::EnterNamespace => f.write_str("enter a network namespace"),
            Self::OpenNamespace(path) => {
                write!(f, "open the network namespace at `{}`", path.display())
            }
            Self::PreparePins(path) => {
                write!(f, "prepare `{}` for network namespaces", path.display())
            }
            Self::Pin(path) => write!(f, "pin a network namespace at `{}`", path.display()),
            Self::Unpin(path) => write!(f, "unpin the network namespace at `{}`", path.display()),
            Self::OpenProcfs => f.write_str("open procfs"),
            Self::WriteSysctl(name) => write!(f, "write the sysctl `{name}`"),
            Self::ReadSysctl(name) => write!(f, "read the sysctl `{name}`"),
        }
    }
}

impl Operation {
    /// The capability that EPERM or EACCES of this operation asks for.
    #[must_use]
    pub fn capability(&self) -> &'static str {
        match self {
            Self::OpenSocket
            | Self::ReadCookie
            | Self::SendBatch
            | Self::ReadLink
            | Self::ReadLinks
            | Self::ReadIds
            | Self::ReadAddresses
            | Self::ReadRoutes
            | Self::ReadFilter
            | Self::BringLoopbackUp
            | Self::ReadSysctl(_)
            | Self::WriteSysctl(_) => "CAP_NET_ADMIN",
            Self::StartThread
            | Self::MakeNamespace
            | Self::HoldNamespace
            | Self::EnterNamespace
            | Self::OpenNamespace(_)
            | Self::PreparePins(_)
            | Self::Pin(_)
            | Self::Unpin(_)
            | Self::OpenProcfs => "CAP_SYS_ADMIN",
        }
    }
}

/// Why a path leads to no network namespace, or why what is there is no pin that could be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotANamespace {
    /// Nothing is there.
    Missing,
    /// A symbolic link that leads nowhere, or round in circles; for unpinning, any symbolic link.
    SymbolicLink,
    /// A folder.
    Folder,
    /// A file (or device, socket, FIFO) that no namespace is mounted on.
    OtherFile,
    /// A namespace of another kind (mount, pid, user, …).
    OtherKind,
}

impl fmt::Display for NotANamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "nothing is there",
            Self::SymbolicLink => "it is a symbolic link",
            Self::Folder => "it is a folder",
            Self::OtherFile => "it is a file that no namespace is mounted on",
            Self::OtherKind => "it is a namespace of another kind",
        })
    }
}

/// A failure of the machinery. A request that the kernel refused is no such failure, but an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Error {
    /// A system call, or a look-up as a whole, failed.
    #[error("could not {operation}: {}", std::io::Error::from_raw_os_error(*errno))]
    System {
        /// What was being done.
        operation: Operation,
        /// The error number, positive.
        errno: i32,
        /// The kernel's own words, where it gave any.
        text: Option<String>,
    },
    /// Something changed during each attempt at a dump.
    #[error("could not {operation}: interrupted {attempts} times by changes")]
    DumpInterrupted {
        /// What was being done.
        operation: Operation,
        /// How often it was tried.
        attempts: u32,
    },
    /// The kernel's reply was cut short, lost, or not as its protocol says.
    #[error("could not {operation}: the reply is incomplete")]
    ReplyIncomplete {
        /// What was being done.
        operation: Operation,
    },
    /// Others hold a lock for longer than it is waited for.
    #[error("could not {operation}: others hold its lock")]
    Locked {
        /// What was being done.
        operation: Operation,
        /// They, as people are told, as far as they are seen here: `process 7 (sleep)`.
        holders: Vec<String>,
    },
    /// Others could replace what is about to be made.
    #[error("could not {operation}: {reason}")]
    Unsafe {
        /// What was being done.
        operation: Operation,
        /// Why.
        reason: String,
    },
    /// The path leads to no network namespace.
    #[error("`{}` is not a network namespace: {reason}", path.display())]
    NotANamespace {
        /// The path.
        path: PathBuf,
        /// Why.
        reason: NotANamespace,
    },
}

impl Error {
    /// A system call failed.
    pub(crate) fn system(operation: Operation, errno: rustix::io::Errno) -> Self {
        Self::System {
            operation,
            errno: errno.raw_os_error(),
            text: None,
        }
    }

    /// A call of the standard library failed; EINVAL where it did not come to a system call (a NUL in a path).
    pub(crate) fn io(operation: Operation, error: &std::io::Error) -> Self {
        Self::System {
            operation,
            errno: error.raw_os_error().unwrap_or(libc::EINVAL),
            text: None,
        }
    }
}

/// A request that cannot be encoded. Nothing was added to the batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// The kernel would not take the name, or take it for a pattern.
    #[error("`{0}` is not a link name: 1 to 15 bytes without NUL, `/`, `:`, `%` or white space, and not `.` or `..`")]
    Ifname(String),
    /// Link indexes are 1 to 2^31 - 1.
    #[error("{0} is not a link index: 1 to 2147483647")]
    Ifindex(i64),
    /// Ids of namespaces are 0 to 2^31 - 1.
    #[error("{0} is not the id of a network namespace: 0 to 2147483647")]
    Nsid(i64),
    /// VLAN ids are 1 to 4094.
    #[error("{0} is not a VLAN id: 1 to 4094")]
    Vid(i64),
    /// Every link that was put nowhere else is in group 0.
    #[error("group 0 holds every link without a group and is not deleted")]
    GroupZero,
    /// No such mode or flag.
    #[error("`{value}` is not {what}: {known}")]
    Mode {
        /// "a macvlan mode", ….
        what: &'static str,
        /// What was given.
        value: String,
        /// What there is.
        known: &'static str,
    },
    /// Longer than the address.
    #[error("{length} is not a prefix length of {bits}-bit addresses")]
    PrefixLength {
        /// What was given.
        length: i64,
        /// 32 or 128.
        bits: u8,
    },
    /// A gateway of the other family.
    #[error("the gateway is not of the route's family")]
    GatewayFamily,
    /// A sysctl outside `net/`, which is not the namespace's own, or a path that is none.
    #[error("`{0}` is not a sysctl of a network namespace: a path below `net/`")]
    Sysctl(String),
}
