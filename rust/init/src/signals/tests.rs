use super::*;
use crate::sys::Spawned;
use rustix::process::{getpid, getsid, waitpid, Pid, WaitOptions};

#[test]
fn who_leaves_a_session_forgets_what_came_from_it() {
    let Spawned::Parent(child) = sys::spawn(0).unwrap() else {
        Set::of(FORWARDED).block_exactly();
        // SAFETY: plain numbers.
        unsafe {
            libc::raise(libc::SIGINT);
            libc::raise(libc::SIGUSR1);
        }
        leave_session();
        let mut waiting = Set::empty();
        // SAFETY: an initialised set to be written to.
        unsafe { libc::sigpending(&raw mut waiting.0) };
        let forgotten = FORWARDED
            .iter()
            // SAFETY: an initialised set and the number of a signal.
            .all(|&signal| unsafe { libc::sigismember(waiting.pointer(), signal) } == 0);
        let apart = getsid(None) == Ok(getpid());
        sys::leave(if forgotten && apart { 0 } else { 1 })
    };
    let ended = waitpid(Pid::from_raw(child.pid), WaitOptions::empty());
    let (_, status) = ended.unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(0));
}
