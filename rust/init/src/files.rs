//! The files that a sandbox's command sees: the host's or those of another root directory, with /proc and /sys of its
//! own.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{fstat, openat, openat2, stat, Mode, OFlags, ResolveFlags, CWD};
use rustix::io::Errno;
use rustix::mount::{
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree,
    unmount, FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};
use rustix::process::{chdir, fchdir, pivot_root};
use rustix::thread::{unshare_unsafe, UnshareFlags};

use crate::arguments::Request;

/// A step that failed, in words that follow "cannot", and why.
pub struct Failed {
    pub step: &'static str,
    pub errno: Errno,
}

impl Failed {
    /// Makes a failure out of an errno of that step.
    pub fn at(step: &'static str) -> impl FnOnce(Errno) -> Self {
        move |errno| Self { step, errno }
    }
}

/// The files of a sandbox's own that may take the place of those in /etc.
const OWN_FILES: [(&CStr, &CStr); 3] = [
    (c"hosts", c"etc/hosts"),
    (c"hostname", c"etc/hostname"),
    (c"resolv.conf", c"etc/resolv.conf"),
];

const NO_DEVICES: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;

/// Where `ip netns` has its pins, and nothing else is.
const PINS_OF_IP_NETNS: &CStr = c"/run/netns";

/// Gives this process a mount namespace with /proc of its pid namespace, /sys of its network namespace and `terminals`,
/// and the request's `rootfs`, if it has one, as its root with the host's /dev.
///
/// Files of its directory `etc` are mounted on those of /etc that have the same name. What is mounted in the
/// directories of `pins` is left out. The host's later mounts and unmounts are followed, so that nothing is kept busy
/// in here.
pub fn make(request: &Request, terminals: Option<BorrowedFd<'_>>) -> Result<(), Failed> {
    // SAFETY: not the descriptors but the mounts are no longer shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(Failed::at("make a mount namespace"))?;
    mount_change(
        c"/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )
    .map_err(Failed::at("keep mounts to the sandbox"))?;
    for directory in &request.pins {
        leave_out(directory).map_err(Failed::at("leave out the pins of other sandboxes"))?;
    }
    let own_files = request.etc.as_deref().map(copies_of_own_files);
    let control_groups = copy_of(c"/sys/fs/cgroup").ok();
    // Made while the host's are there: in a user namespace the kernel makes one only where another is to be seen.
    let proc = fresh(c"proc", &[], NO_DEVICES).map_err(Failed::at("mount /proc"))?;
    let sys = fresh(c"sysfs", &[], NO_DEVICES).map_err(Failed::at("mount /sys"))?;
    let devices = request.rootfs.as_ref().map(|_| copy_of(c"/dev"));
    if let Some(path) = &request.rootfs {
        enter(path)?;
    }
    let root = open_directory(c"/").map_err(Failed::at("open the root directory"))?;
    uncover(c"/proc")
        .and_then(|()| attach(&proc, &root, c"proc", OFlags::DIRECTORY))
        .map_err(Failed::at("mount /proc"))?;
    uncover(c"/sys")
        .and_then(|()| attach(&sys, &root, c"sys", OFlags::DIRECTORY))
        .map_err(Failed::at("mount /sys"))?;
    if let Some(tree) = control_groups {
        // What does not exist need not be hidden.
        let _ = attach(&tree, &root, c"sys/fs/cgroup", OFlags::DIRECTORY);
    }
    for (path, tree) in own_files.iter().flatten() {
        attach_if_possible(tree, &root, path, OFlags::empty())
            .map_err(Failed::at("mount the sandbox's files in /etc"))?;
    }
    if let Some(tree) = devices {
        match tree.and_then(|tree| attach(tree, &root, c"dev", OFlags::DIRECTORY)) {
            // A root directory without /dev is accepted.
            Err(Errno::NOENT) => Ok(()),
            outcome => outcome.map_err(Failed::at("mount /dev")),
        }?;
    }
    let Some(terminals) = terminals else {
        return Ok(());
    };
    // In place of the host's, which their owners can open by name.
    uncover(c"/dev/pts")
        .and_then(|()| attach_if_possible(terminals, &root, c"dev/pts", OFlags::DIRECTORY))
        .map_err(Failed::at("mount /dev/pts"))
}

/// Makes a directory, with what is mounted below it, the root, and leaves the host's.
fn enter(rootfs: &CStr) -> Result<(), Failed> {
    let root = copy_of(rootfs).and_then(|tree| {
        // Whatever is found at the path from now on, this is the root.
        let attached = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&tree, c"", CWD, rootfs, attached).map(|()| tree)
    });
    let root = root.map_err(Failed::at("open the root directory"))?;
    change_root(&root).map_err(Failed::at("make the directory the root"))
}

/// Unmounts all that is mounted on a directory and below it: what is mounted there next then hides nothing that an
/// unmount would show.
///
/// A symbolic link has nothing mounted on it. Of a mount that came from another user namespace, the kernel keeps what
/// it hides; it stays underneath.
fn uncover(path: &CStr) -> Result<(), Errno> {
    loop {
        match unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
}

/// Removes what is mounted in a directory from this mount namespace, now and in the future. A directory that is a mount
/// only because of pins is empty from now on; another file system stays, without what is mounted in it.
///
/// The host's pins are copied with all its mounts. Each copy takes memory, and would have to go too before the pin of a
/// sandbox is gone. Nothing of this reaches the host, whose mounts these only follow.
fn leave_out(directory: &CStr) -> Result<(), Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let bare = match open_tree(CWD, directory, flags) {
        Ok(bare) => bare,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let mut found = false;
    // Two that prepare a directory at once can mount it on itself twice.
    while unmount(directory, UnmountFlags::DETACH).is_ok() {
        found = true;
    }
    if !found {
        // It is no mount, so that macvfast has pinned nothing there.
        return Ok(());
    }
    let (above, below) = (fstat(&bare)?, stat(directory)?);
    let for_pins_alone = (above.st_dev, above.st_ino) == (below.st_dev, below.st_ino);
    let tree = if for_pins_alone || directory == PINS_OF_IP_NETNS {
        fresh(c"tmpfs", &[(c"mode", c"0755")], NO_DEVICES)?
    } else {
        bare
    };
    let by_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&tree, c"", CWD, directory, by_descriptor)?;
    mount_change(directory, MountPropagationFlags::PRIVATE)
}

/// Those of a sandbox's own files that are there, with where they belong, attached nowhere.
fn copies_of_own_files(directory: &CStr) -> Vec<(&'static CStr, OwnedFd)> {
    let Ok(directory) = open_directory(directory) else {
        return Vec::new();
    };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let found = OWN_FILES.iter().filter_map(|&(name, path)| {
        let tree = open_tree(&directory, name, flags).ok()?;
        Some((path, tree))
    });
    found.collect()
}

fn open_directory(path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

/// A copy, attached nowhere, of what is mounted at and below `path`.
fn copy_of(path: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags)
}

/// A new instance of a kernel file system, attached nowhere and without executables; those of the kernel's own show
/// this process's namespaces.
pub fn fresh(
    kind: &CStr,
    options: &[(&CStr, &CStr)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for &(name, value) in options {
        fsconfig_set_string(&context, name, value)?;
    }
    fsconfig_create(&context)?;
    let attributes =
        attributes | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Mounts `tree` at `path` below `root`, a directory if `kind` says so; symbolic links on the way do not lead out of
/// it.
fn attach(tree: impl AsFd, root: &OwnedFd, path: &CStr, kind: OFlags) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | kind;
    let target = openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?;
    let both_by_descriptor =
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", target.as_fd(), c"", both_by_descriptor)
}

/// The same, or nothing where `path` does not exist: a link that leads nowhere within the root, or to itself, does not.
fn attach_if_possible(
    tree: impl AsFd,
    root: &OwnedFd,
    path: &CStr,
    kind: OFlags,
) -> Result<(), Errno> {
    match attach(tree, root, path, kind) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
        outcome => outcome,
    }
}

fn change_root(root: &OwnedFd) -> Result<(), Errno> {
    fchdir(root)?;
    // The old root then lies on top of the new one (pivot_root(2)): one unmount uncovers it.
    pivot_root(c".", c".")?;
    unmount(c".", UnmountFlags::DETACH)?;
    chdir(c"/")
}
