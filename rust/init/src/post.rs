//! Where a keeper runs its command: in a pid namespace of its own, or beside another keeper's command.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use macvfast_signals::set_default;
use rustix::io::Errno;
use rustix::process::{getpid, pidfd_open, PidfdFlags};
use rustix::thread::{move_into_thread_name_spaces, ThreadNameSpaceType};

use crate::arguments::{shown_name, Request};
use crate::failure::Failure;
use crate::status::{self, Found, Record};
use crate::sys;

/// How long another keeper may take to get its command running, or to be gone.
const OTHERS: Duration = Duration::from_secs(10);
/// How often to look at that keeper meanwhile.
pub const LOOK_AGAIN_MS: i32 = 2;
/// How long a pid 1 may take to end.
pub const ABOUT_TO_END_MS: i32 = 1000;

/// Where a keeper runs its command.
pub enum Post {
    /// In a pid namespace of its own: this keeper is the sandbox's, and records what becomes of its command.
    Own(Record),
    /// In that of another keeper's command.
    Beside {
        /// Its pid 1.
        pidfd: OwnedFd,
        /// Held until the command runs: until then, pid 1 does not end.
        joining: Option<OwnedFd>,
    },
}

impl Post {
    /// The same; with a policy, restarts are counted.
    pub fn of_policy(mut self, policy: bool) -> Self {
        if let (Self::Own(record), true) = (&mut self, policy) {
            record.restarts = Some(0);
        }
        self
    }

    /// Whether somebody has asked that the command of this keeper's sandbox ends.
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Own(record) if record.is_stopped())
    }

    /// The sandbox's directory, where the command is a guest with a pid 1 of its own: that stays for as long as others
    /// are there that have joined. Otherwise they end with the command.
    pub fn guest_directory(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Own(record) => record.guest_directory(),
            Self::Beside { .. } => None,
        }
    }
}

/// Becomes the sandbox's keeper; or, to join where there is one, waits until its command runs, and finds pid 1 of that.
/// One that waits before it runs its command again is not waited for: that may take a minute.
pub fn take_post(request: &mut Request) -> Result<Post, Failure> {
    let path = shown_name(&request.directory);
    let failed = |step| {
        let path = path.clone();
        move |errno| Failure::Directory { path, step, errno }
    };
    let deadline = Instant::now() + OTHERS;
    loop {
        let lock = request.lock.take();
        let record = match Record::open(&request.directory, request.join, lock) {
            Err(Errno::NOENT) if request.join => {
                let name = request.name.clone();
                return Err(Failure::Gone { name });
            }
            outcome => outcome.map_err(failed("lock it"))?,
        };
        if let Some(record) = record {
            if request.beside {
                return Err(Failure::Ended);
            }
            return Ok(Post::Own(record));
        }
        if request.join {
            let joining = status::join(&request.directory).map_err(failed("lock it"))?;
            let found = match &request.netns {
                Some(netns) => status::found(&request.directory, netns.as_fd())
                    .map_err(failed("read its status"))?,
                None => Found::Nothing,
            };
            match found {
                Found::Running(pidfd) if joining.is_some() && !has_ended(&pidfd, 0) => {
                    return Ok(Post::Beside { pidfd, joining });
                }
                Found::Restarting(keeper) if !has_ended(&keeper, 0) => {
                    let name = request.name.clone();
                    return Err(Failure::Restarting { name });
                }
                _ => {}
            }
        }
        if !request.join || Instant::now() > deadline {
            return Err(Failure::Held {
                name: request.name.clone(),
                joining: request.join,
            });
        }
        sys::poll(&mut [], LOOK_AGAIN_MS);
    }
}

/// Whether pid 1 of a sandbox has ended, or does so within `timeout_ms`.
pub fn has_ended(pidfd: &OwnedFd, timeout_ms: i32) -> bool {
    let mut entry = [sys::readable(pidfd)];
    sys::poll(&mut entry, timeout_ms);
    entry[0].revents != 0
}

/// Has the next child start in this process's own pid namespace again, and wait until this process reaps it.
pub fn return_to_own_processes() -> Result<(), Errno> {
    set_default(libc::SIGCHLD);
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    move_into_thread_name_spaces(own.as_fd(), ThreadNameSpaceType::PROCESS_ID)
}

/// A failure to join: that the command to be joined has ended meanwhile, if it has.
pub fn ended_or(step: &str, errno: Errno, pidfd: &OwnedFd) -> Failure {
    // A pid 1 that is about to end has no namespaces (SRCH) and takes no processes (NOMEM) before it shows as ended.
    if errno == Errno::SRCH || has_ended(pidfd, ABOUT_TO_END_MS) {
        return Failure::Ended;
    }
    Failure::at(step)(errno)
}
