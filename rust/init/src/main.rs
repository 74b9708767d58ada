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
//! A signal to the caller's process group, Ctrl-C at its terminal or the end of that reaches the keeper alone, which
//! passes it on: the command gets it once, or, where the keeper was started to ignore it, not at all.
//!
//! The keeper waits for pid 1 on a pidfd and for its reports on a pipe ([`report`]). When either of the two dies, all
//! that runs in the pid namespace dies; when pid 1 does, the keeper records it.
//!
//! Another command may join (`exec`): its keeper puts a supervisor beside pid 1, into the same namespaces. Such a command
//! ends with the sandbox's own (`run`). Where that does not run, the first to come is a guest: its pid 1 stays for as
//! long as others are there, and a process that its keeper leaves behind records the end of the last.

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
