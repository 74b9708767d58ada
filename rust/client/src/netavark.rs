//! How Podman calls this program: as a plugin of netavark, from a directory of such plugins, by one of a few words.
//!
//! That directory tells such a call from a person's: `macvfast create` is a command, too.

use std::ffi::{c_int, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::plugin::{self, Engine};
use crate::streams::Streams;

/// The last part of the path of each directory in which Podman looks for plugins.
const DIRECTORY: &[u8] = b"netavark";

/// What needs neither a network nor a server.
const INFO: &str = "info";
const VERBS: [&str; 4] = [INFO, "create", "setup", "teardown"];

/// The version of the plugins' interface.
const API: &str = "1.0.0";

/// What a call says.
pub struct Words {
    pub verb: &'static str,
    /// The path of the container's namespace.
    pub netns: Option<OsString>,
}

/// What Podman says by this command line; None: it is a person's.
pub fn called(program: &OsStr, words: &[OsString]) -> Option<Words> {
    let directory = Path::new(program).parent()?.file_name()?;
    let first = words.first().map_or(OsStr::new(INFO), OsString::as_os_str);
    let verb = VERBS.into_iter().find(|verb| first == *verb)?;
    let netns = words.get(1).cloned();
    (directory.as_bytes() == DIRECTORY).then_some(Words { verb, netns })
}

/// Does the call; the exit status.
pub fn run(words: Words, streams: Streams) -> c_int {
    if words.verb == INFO {
        let version = env!("CARGO_PKG_VERSION");
        let line = format!("{{\"version\":\"{version}\",\"api_version\":\"{API}\"}}");
        return c_int::from(!plugin::say(line.as_bytes()));
    }
    plugin::done(Engine::Podman(words), streams)
}
