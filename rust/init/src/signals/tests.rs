use super::*;
use crate::sys::{self, Spawned};
use rustix::process::{getpid, getsid, waitpid, Pid, WaitOptions};

#[test]
fn who_leaves_a_session_forgets_what_came_from_it() {
    let Spawned::Parent(child) = sys::spawn(0).unwrap() else {
        Set::of(PASSED_ON).block_exactly();
        // SAFETY: plain numbers.
        unsafe {
            libc::raise(libc::SIGINT);
            libc::raise(libc::SIGUSR1);
        }
        leave_session();
        let waiting = Set::waiting();
        let forgotten = PASSED_ON.iter().all(|&signal| !waiting.has(signal));
        let apart = getsid(None) == Ok(getpid());
        sys::leave(if forgotten && apart { 0 } else { 1 })
    };
    let ended = waitpid(Pid::from_raw(child.pid), WaitOptions::empty());
    let (_, status) = ended.unwrap().unwrap();
    assert_eq!(status.exit_status(), Some(0));
}
