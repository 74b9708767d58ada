//! The command `macvfast`: hands a command line over to the server, where a fitting one is there, or executes Python.
//!
//! ```text
//! macvfast ──── words, environment, streams ────> a worker of `macvfast serve`, a forked warm interpreter
//!     │                                                │
//!     │<───────── the exit status, or ─────────────────┤
//!     │<───────── the keeper to start ─────────────────┘
//!     │
//!     ├── becomes macvfast-init, or starts it: terminal, process group and limits are the caller's
//!     └── no server: becomes Python, which does the same
//! ```
//!
//! A container engine calls it as a plugin: by a variable and without words (`plugin.rs`), or from a directory of plugins
//! (`netavark.rs`).
//!
//! Nothing needs the server. Until it is told to go on, a worker does nothing, and Python may still be executed; after
//! that, there is no second try.

#![no_main]

mod configured;
mod fitting;
mod message;
mod netavark;
mod plugin;
mod python;
mod session;
mod signals;
mod starting;
mod streams;

use std::ffi::{c_char, c_int, CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use session::Ended;

/// The program, entered without Rust's own start, which would open closed standard streams and ignore SIGPIPE: what the
/// caller has set up is Python's, or the keeper's.
///
/// # Safety
/// `argv` has `argc` strings, as the C library calls it.
#[no_mangle]
pub unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
    let mut words: Vec<OsString> = (0..usize::try_from(argc).unwrap_or(0))
        // SAFETY: by what the caller promises.
        .map(|number| unsafe { CStr::from_ptr(*argv.add(number)) })
        .map(|word| OsStr::from_bytes(word.to_bytes()).to_owned())
        .collect();
    let program = words.drain(..words.len().min(1)).next().unwrap_or_default();
    // Before anything is opened, which would take the place of one that is closed.
    let mut streams = streams::given(&words);
    if plugin::is_called(&words) {
        return plugin::run(&program, streams);
    }
    if let Some(words) = netavark::called(&program, &words) {
        return netavark::run(words, streams);
    }
    if plugin::is_asked_what_it_is(&program, &words) {
        return plugin::about();
    }
    let python = python::find();
    let session = python
        .as_deref()
        .filter(|_| fitting::may_be_served(&words))
        .and_then(|python| session::open(message::HELLO, &words, &streams, python));
    match session.and_then(|session| session.go(&mut streams)) {
        Some(Ended::With(status)) => status,
        Some(Ended::WithServer) => session::say_lost(&words),
        None => python::execute(python.as_deref(), &words),
    }
}
