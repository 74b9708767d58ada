//! The user of a command: with keys of its own and, if it is another user than the caller, nothing of the caller's.

use rustix::fs::{fchown, Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{
    set_capabilities, set_no_new_privs, set_thread_gid, set_thread_groups, set_thread_uid,
    CapabilitySet, CapabilitySets,
};

use crate::arguments::User;
use crate::sys;

/// Leaves the session keyring that came from the caller, for a new and empty one.
///
/// Where the kernel has no keyrings, or does not let this process use them, none of the caller's keys can be used
/// either.
pub fn leave_keyring() -> Result<(), Errno> {
    match sys::join_new_session_keyring() {
        Ok(()) | Err(Errno::NOSYS | Errno::PERM) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Becomes another user, with a keyring of that user and without any capability; what it executes cannot gain more.
///
/// Of the standard streams, those that are the command's `own` belong to this user then: it can open them by their
/// names too, `> /dev/stdout`.
pub fn become_user(user: &User, own: [bool; 3]) -> Result<(), Errno> {
    for (number, _) in (0..).zip(own).filter(|&(_, own)| own) {
        // Where the terminal's file system does not let it be owned, the descriptors still work.
        let owner = Some(Uid::from_raw(user.uid));
        let _ = fchown(sys::standard_stream(number), owner, None);
    }
    let groups: Vec<Gid> = user.groups.iter().map(|&gid| Gid::from_raw(gid)).collect();
    set_thread_groups(&groups)?;
    set_thread_gid(Gid::from_raw(user.gid))?;
    set_thread_uid(Uid::from_raw(user.uid))?;
    if user.uid != 0 {
        // The kernel takes them from who was root, and leaves them to who had them otherwise (capabilities(7)).
        let nothing = CapabilitySet::empty();
        set_capabilities(
            None,
            CapabilitySets {
                effective: nothing,
                permitted: nothing,
                inheritable: nothing,
            },
        )?;
    }
    set_no_new_privs(true)?;
    // Where the user has as many keys as it may, the one of before, empty as well, still serves.
    let _ = sys::join_new_session_keyring();
    Ok(())
}
