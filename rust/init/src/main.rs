//! The program around a sandbox's command: a keeper outside the sandbox and, inside, pid 1.
//!
//! ```text
//! macvfast ── keeper ─────────────────────── pid 1 ───────── command
//!             home namespaces                of the pid      its own session,
//!             holds lock and terminal,       namespace,      with --tty the terminal's
//!             records the status,            its own session:
//!             has the sandbox                reaps, passes
//!             removed (--after)              signals on
//! ```
//!
//! A signal to the caller's process group, Ctrl-C at its terminal, or a hang-up of that reaches only the keeper, which
//! passes it on. The command gets it once; or not at all, where the keeper was started with that signal ignored.
//!
//! The keeper waits for pid 1 on a pidfd and for its reports on a pipe ([`report`]). When one of the two dies,
//! everything in the pid namespace dies. The keeper records the death of pid 1.
//!
//! Another command may join (`exec`): its keeper starts a supervisor beside pid 1, in the same namespaces. It ends when
//! the sandbox's own command (`run`) ends. Where the sandbox runs no command of its own, the first that joins is a
//! guest: its pid 1 stays until the last of the others has ended, and a process that its keeper leaves behind records
//! that.

mod announce;
mod arguments;
mod buffer;
mod cleaning;
mod command;
mod devpts;
mod failure;
mod files;
mod identity;
mod init;
mod keeper;
mod log;
mod post;
mod queue;
mod relay;
mod report;
mod restarts;
mod running;
mod signals;
mod status;
mod streams;
mod sys;
mod terminal;

use std::process::ExitCode;

fn main() -> ExitCode {
    let status = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(request) => keeper::keep(request),
        Err(reason) => {
            let usage = arguments::USAGE;
            announce::say(&format!("error: macvfast-init: {reason}\n{usage}"));
            failure::FAILED
        }
    };
    ExitCode::from(status)
}
