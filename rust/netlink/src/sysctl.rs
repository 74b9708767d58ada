//! Sysctls of network namespaces, written on the thread that is inside.
//!
//! `/proc/sys/net/ipv6/conf/default/disable_ipv6` of every namespace has the same parent and name, so the entries of
//! all namespaces share one chain of the kernel's directory cache, and each look-up walks it: 1.4 ms with 4,000
//! namespaces. A procfs instance of one's own begins with an empty cache, and costs 0.1 ms.

use std::os::fd::OwnedFd;

use rustix::fs::{openat, Mode, OFlags, CWD};
use rustix::io::{read, write, Errno};
use rustix::mount::{fsconfig_create, fsmount, fsopen, FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::error::{Error, Operation, RequestError};

/// Namespaces after which an instance has become slower than a new one.
const NAMESPACES_PER_INSTANCE: usize = 32;

/// A sysctl and the value it is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// Path below `/proc/sys`.
    name: String,
    value: String,
}

impl Sysctl {
    /// A sysctl below `net/`: others are the host's, whatever namespace they are written in.
    ///
    /// # Errors
    /// The name is no such path.
    pub fn new(name: &str, value: &str) -> Result<Self, RequestError> {
        let mut parts = name.split('/');
        let valid = parts.next() == Some("net")
            && parts.clone().next().is_some()
            && parts.all(|part| !matches!(part, "" | "." | ".."))
            && !name.contains('\0');
        if !valid {
            return Err(RequestError::Sysctl(name.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// Where sysctls are written: an own procfs instance, or `/proc` where the kernel refuses one.
pub(crate) struct Procfs {
    /// The directory `sys`, and how many namespaces have been written through it.
    instance: Option<(OwnedFd, usize)>,
}

impl Procfs {
    /// Opens nothing before it is needed.
    pub(crate) fn new() -> Self {
        Self { instance: None }
    }

    /// Write sysctls in the calling thread's namespace; one that this kernel does not have is skipped.
    pub(crate) fn write_all(&mut self, sysctls: &[Sysctl]) -> Result<(), Error> {
        if sysctls.is_empty() {
            return Ok(());
        }
        let directory = self.directory()?;
        sysctls
            .iter()
            .try_for_each(|sysctl| write_one(directory, sysctl))
    }

    /// The values of sysctls in the calling thread's namespace; None for one that this kernel does not have.
    pub(crate) fn read_all(&mut self, sysctls: &[Sysctl]) -> Result<Vec<Option<String>>, Error> {
        if sysctls.is_empty() {
            return Ok(Vec::new());
        }
        let directory = self.directory()?;
        sysctls
            .iter()
            .map(|sysctl| read_one(directory, &sysctl.name))
            .collect()
    }

    /// The directory `sys` of an instance that is still quick.
    fn directory(&mut self) -> Result<&OwnedFd, Error> {
        let (directory, used) = match self.instance.take() {
            Some((directory, used)) if used < NAMESPACES_PER_INSTANCE => (directory, used),
            _ => (
                open_directory().map_err(|errno| Error::system(Operation::OpenProcfs, errno))?,
                0,
            ),
        };
        Ok(&self.instance.insert((directory, used + 1)).0)
    }
}

fn read_one(directory: &OwnedFd, name: &str) -> Result<Option<String>, Error> {
    let failed = |errno| Error::system(Operation::ReadSysctl(name.to_owned()), errno);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed(errno)),
    };
    // A number, or some words: the kernel gives all of it at once.
    let mut value = [0; 256];
    let length = read(&file, &mut value).map_err(failed)?;
    let text = String::from_utf8_lossy(&value[..length]);
    Ok(Some(text.trim_end().to_owned()))
}

fn write_one(directory: &OwnedFd, sysctl: &Sysctl) -> Result<(), Error> {
    let failed = |errno| Error::system(Operation::WriteSysctl(sysctl.name.clone()), errno);
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    match openat(directory, sysctl.name.as_str(), flags, Mode::empty()) {
        // The kernel takes a value whole or not at all.
        Ok(file) => write(&file, sysctl.value.as_bytes())
            .map(|_| ())
            .map_err(failed),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed(errno)),
    }
}

fn open_directory() -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match own_instance() {
        Ok(root) => openat(root, "sys", flags, Mode::empty()),
        // Before Linux 5.2, and in containers that hide parts of `/proc`.
        Err(_) => openat(CWD, "/proc/sys", flags, Mode::empty()),
    }
}

/// A procfs that is attached nowhere and gone with its last descriptor.
fn own_instance() -> Result<OwnedFd, Errno> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

#[cfg(test)]
mod tests;
