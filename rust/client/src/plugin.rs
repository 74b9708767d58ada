//! A call of a plugin, as runtimes of CNI and netavark make them: done by the server, or by Python, where there is none or
//! the connection breaks. A call that has programs of others executed, as this process would, is done by a worker of the
//! server, which is as this process.
//!
//! Both get the same id, so that what the server has done already is answered from the record
//! (`python/macvfast/plugins`). Only root's file says where they are: a runtime's environment is not a person's.

use std::env;
use std::ffi::{c_int, CString, OsStr, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::fs::{memfd_create, open, MemfdFlags, Mode, OFlags};
use rustix::io::{fcntl_setfd, Errno, FdFlags};
use rustix::net::sockopt::{set_socket_timeout, Timeout};
use rustix::rand::{getrandom, GetRandomFlags};

use crate::session::{self, Ended};
use crate::streams::Streams;
use crate::{configured, fitting, message, netavark, starting};

/// Set where a runtime of the Container Network Interface calls.
const COMMAND: &str = "CNI_COMMAND";
const NETNS: &str = "CNI_NETNS";
const VARIABLES: &[u8] = b"CNI_";

/// What is not done again where it may have been done.
const ADD: &str = "ADD";

/// What needs neither a configuration nor a server: runtimes ask before each call.
const VERSION: &str = "VERSION";

/// The versions of the specification (`python/macvfast/plugins/cni/conf.py`).
const VERSIONS: [&str; 4] = ["0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const NEWEST: &str = VERSIONS[VERSIONS.len() - 1];

/// The name of this program for a person. A runtime calls it by the type of its configuration.
const NAME: &[u8] = b"macvfast";

/// What a person's environment may say is nothing to a plugin.
const OURS: &[u8] = b"MACVFAST_";

/// The longest configuration (`python/macvfast/plugins/cni/conf.py`), and the longest answer.
const LONGEST: u64 = 1 << 20;

/// How long the server may take to read a request, and to answer. One that is stopped reads nothing.
const READ_WITHIN: Duration = Duration::from_secs(2);
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// The answer to a call that a worker is to do. How the answer to one begins that was done; any other says that the server
/// does not do it.
const BY_WORKER: &[u8] = b"{\"worker\":true}";
const STATUS: &[u8] = b"{\"status\":";
const RESULT: &[u8] = b",\"result\":";

/// Exit status, and codes of errors (docs/cni.md): of the specification, and of our own.
const FAILED: c_int = 1;
const IO_FAILURE: u32 = 5;
const TRY_AGAIN: u32 = 11;
const NOT_INSTALLED: u32 = 109;

/// Whether a runtime calls this program: it sets the variable, and gives no words. A command line that a plugin or a hook
/// of a runtime starts has the variable too, and so has what removes its sandbox afterwards (`run --rm`).
pub fn is_called(words: &[OsString]) -> bool {
    words.is_empty() && env::var_os(COMMAND).is_some_and(|command| !command.is_empty())
}

/// Whether this program, called without words, is asked what it is: under another name it is a plugin only.
pub fn is_asked_what_it_is(program: &OsStr, words: &[OsString]) -> bool {
    words.is_empty()
        && Path::new(program)
            .file_name()
            .is_some_and(|name| name.as_bytes() != NAME)
}

/// Says it, as the reference plugins do; the exit status.
pub fn about() -> c_int {
    let mut out = io::stderr();
    let _ = writeln!(
        out,
        "CNI macvfast plugin v{}\nCNI protocol versions supported: {}",
        env!("CARGO_PKG_VERSION"),
        VERSIONS.join(", ")
    );
    0
}

/// Does the call; the exit status.
pub fn run(program: &OsStr, streams: Streams) -> c_int {
    if env::var_os(COMMAND).is_some_and(|command| command == VERSION) {
        let known = VERSIONS.join("\",\"");
        let line = format!("{{\"cniVersion\":\"{NEWEST}\",\"supportedVersions\":[\"{known}\"]}}");
        return if say(line.as_bytes()) { 0 } else { FAILED };
    }
    let program = Path::new(program).file_name().unwrap_or_default();
    done(Engine::Cni(program.to_owned()), streams)
}

/// Does a call of an engine; the exit status.
pub fn done(engine: Engine, streams: Streams) -> c_int {
    match Call::read(engine, streams.digits().contains('0')) {
        Ok(call) => {
            let done = match call.ask_server() {
                Some(Said::Done(answer)) => Some(answer.tell()),
                Some(Said::ByWorker) => call.by_worker(streams),
                None => None,
            };
            done.unwrap_or_else(|| call.become_python())
        }
        Err((engine, error)) => {
            engine.fail(IO_FAILURE, "the call cannot be read", &error.to_string())
        }
    }
}

/// Who calls, and with which words.
pub enum Engine {
    /// A runtime of CNI, by this name of the program: of the network's type, or of that of its IPAM.
    Cni(OsString),
    /// netavark, or Podman itself.
    Podman(netavark::Words),
}

impl Engine {
    /// The path of the namespace that the call is about.
    fn netns(&self) -> Option<OsString> {
        match self {
            Self::Cni(_) => env::var_os(NETNS),
            Self::Podman(words) => words.netns.clone(),
        }
    }

    /// The module of Python that does a call, and what it is given after the id.
    fn python(&self) -> (&'static str, Vec<OsString>) {
        match self {
            Self::Cni(program) => ("macvfast.plugins", vec![program.clone()]),
            Self::Podman(words) => {
                let netns = words.netns.clone().unwrap_or_default();
                ("macvfast.plugins.podman", vec![words.verb.into(), netns])
            }
        }
    }

    /// Adds the fields that only calls of this engine have.
    fn push_fields(&self, body: &mut String) {
        let (key, texts) = match self {
            Self::Cni(program) => {
                body.push_str(",\"program\":");
                push_text(body, program.as_bytes());
                let given = env::vars_os();
                let of_cni = given.filter(|(name, _)| name.as_bytes().starts_with(VARIABLES));
                ("environment", of_cni.collect::<Vec<_>>())
            }
            Self::Podman(words) => {
                let mut texts = vec![("verb".into(), words.verb.into())];
                texts.extend(words.netns.clone().map(|path| ("netns".into(), path)));
                ("call", texts)
            }
        };
        let _ = write!(body, ",\"{key}\":{{");
        for (number, (name, value)) in texts.into_iter().enumerate() {
            body.push_str(if number == 0 { "" } else { "," });
            push_text(body, name.as_bytes());
            body.push(':');
            push_text(body, value.as_bytes());
        }
        body.push('}');
    }

    /// Says why a call is not done; the exit status.
    fn fail(&self, code: u32, message: &str, details: &str) -> c_int {
        match self {
            Self::Cni(_) => fail(code, message, details),
            Self::Podman(_) => {
                // With any other key beside it, Podman shows none.
                let mut error = String::from("{\"error\":");
                push_text(&mut error, format!("{message}: {details}").as_bytes());
                error.push('}');
                say(error.as_bytes());
                FAILED
            }
        }
    }
}

/// What the engine gives.
struct Call {
    /// By which a call that is done once more is known.
    id: String,
    engine: Engine,
    /// The configuration; one that is too long is cut. None: it cannot be read, which is said when all else is right.
    input: Option<Vec<u8>>,
    /// The namespace; None: it cannot be opened.
    netns: Option<OwnedFd>,
}

impl Call {
    fn read(engine: Engine, has_input: bool) -> Result<Self, (Engine, Errno)> {
        let mut random = [0; 16];
        if let Err(error) = getrandom(&mut random, GetRandomFlags::empty()) {
            return Err((engine, error));
        }
        let id = random.iter().fold(String::new(), |mut id, byte| {
            let _ = write!(id, "{byte:02x}");
            id
        });
        let mut input = Vec::new();
        let read = has_input
            && io::stdin()
                .take(LONGEST + 1)
                .read_to_end(&mut input)
                .is_ok();
        // Whatever is there: a pipe is not waited for, and a terminal not taken.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let netns = engine
            .netns()
            .and_then(|path| open(path, flags, Mode::empty()).ok());
        Ok(Self {
            id,
            engine,
            input: read.then_some(input),
            netns,
        })
    }

    /// What the server says; None: it does not do it, or was lost.
    fn ask_server(&self) -> Option<Said> {
        let (socket, _) = session::connected(fitting::request_socket()?)?;
        let until = Instant::now() + READ_WITHIN;
        set_socket_timeout(&socket, Timeout::Send, Some(READ_WITHIN)).ok()?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWERED_WITHIN)).ok()?;
        let body = self.body();
        let mut whole = u32::try_from(body.len()).ok()?.to_le_bytes().to_vec();
        whole.extend_from_slice(body.as_bytes());
        let fds: Vec<_> = self.netns.iter().map(AsFd::as_fd).collect();
        message::send_whole(socket.as_fd(), &whole, &fds).ok()?;
        if !answers(&socket, until) && is_unread(&socket) {
            // It does not begin what nobody waits for any more.
            return None;
        }
        let mut unused = Vec::new();
        let length = message::exactly(socket.as_fd(), size_of::<u32>(), &mut unused).ok()??;
        let length = u32::from_le_bytes(*length.first_chunk()?);
        if u64::from(length) > LONGEST {
            return None;
        }
        let body =
            message::exactly(socket.as_fd(), usize::try_from(length).ok()?, &mut unused).ok()??;
        if body == BY_WORKER {
            return Some(Said::ByWorker);
        }
        Answer::of(&body).map(Said::Done)
    }

    /// The request, as `python/macvfast/serve/request.py` reads it.
    fn body(&self) -> String {
        let kind = match self.engine {
            Engine::Cni(_) => "cni",
            Engine::Podman(_) => "podman",
        };
        let mut body = format!(
            "{{\"protocol\":1,\"kind\":\"{kind}\",\"id\":\"{}\"",
            self.id
        );
        if let Some(input) = &self.input {
            body.push_str(",\"input\":");
            push_text(&mut body, input);
        }
        if let Some(state) = configured::path("state_dir") {
            body.push_str(",\"state_dir\":");
            push_text(&mut body, state.as_os_str().as_bytes());
        }
        self.engine.push_fields(&mut body);
        body.push('}');
        body
    }

    /// Has a worker do it, and prints what that has said when it has ended; the exit status. None: it has not begun, or
    /// was lost, and can be done again.
    fn by_worker(&self, streams: Streams) -> Option<c_int> {
        let Engine::Cni(program) = &self.engine else {
            return None;
        };
        let python = configured::path("python")?;
        self.stand_ready().ok()?;
        let mut words = vec![OsString::from(&self.id), program.clone()];
        let netns = self
            .netns
            .as_ref()
            .map(OwnedFd::try_clone)
            .transpose()
            .ok()?;
        // The worker has another number for it.
        words.extend(netns.iter().map(|_| OsString::from("-")));
        let mut output = File::from(memfd_create("output", MemfdFlags::CLOEXEC).ok()?);
        let mut streams = streams.with(netns, output.try_clone().ok()?, self.input.is_some());
        let session = session::open(message::CALL, &words, &streams, &python)?;
        match session.go(&mut streams)? {
            Ended::With(status) => Some(if pass_on(&mut output).is_ok() {
                status
            } else {
                FAILED
            }),
            Ended::WithServer if env::var_os(COMMAND).is_some_and(|command| command == ADD) => {
                Some(self.engine.fail(
                    TRY_AGAIN,
                    "the call may be unfinished",
                    "the server that did it has ended",
                ))
            }
            Ended::WithServer => None,
        }
    }

    /// Becomes Python, which does the call; returns only where it cannot.
    fn become_python(&self) -> c_int {
        let Some(python) = configured::path("python") else {
            return self.engine.fail(
                NOT_INSTALLED,
                "macvfast is not installed here",
                "/etc/macvfast/client.conf names no Python: `macvfast service install` writes it",
            );
        };
        self.hand_over(&python).map_or_else(
            |error| {
                self.engine.fail(
                    NOT_INSTALLED,
                    "macvfast cannot be executed",
                    &format!("{}: {error}", python.display()),
                )
            },
            |never| match never {},
        )
    }

    /// Gives whoever does it instead of this process the input and the environment.
    fn stand_ready(&self) -> io::Result<()> {
        let stdin = match &self.input {
            Some(input) => {
                let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
                file.write_all(input)?;
                file.rewind()?;
                file
            }
            // It cannot be read either; with a directory, Python would not start.
            None => File::options().write(true).open("/dev/null")?,
        };
        rustix::stdio::dup2_stdin(&stdin)?;
        for (name, _) in env::vars_os() {
            if name.as_bytes().starts_with(OURS) {
                env::remove_var(name);
            }
        }
        Ok(())
    }

    fn hand_over(&self, python: &Path) -> io::Result<std::convert::Infallible> {
        self.stand_ready()?;
        let (module, given) = self.engine.python();
        let mut words: Vec<OsString> = [python.as_os_str()]
            .into_iter()
            .chain(["-I", "-m", module, &self.id].map(OsStr::new))
            .map(OsStr::to_owned)
            .chain(given)
            .collect();
        if let Some(netns) = &self.netns {
            fcntl_setfd(netns, FdFlags::empty())?;
            words.push(netns.as_raw_fd().to_string().into());
        }
        let line = words
            .iter()
            .map(|word| CString::new(word.as_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        Err(starting::execute(&line).into())
    }
}

/// Prints what a file has.
fn pass_on(output: &mut File) -> io::Result<()> {
    output.rewind()?;
    let mut said = Vec::new();
    output.read_to_end(&mut said)?;
    let mut out = io::stdout();
    out.write_all(&said)?;
    out.flush()
}

/// Waits for the beginning of an answer; false: there was none until then.
fn answers(socket: &OwnedFd, until: Instant) -> bool {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], timeout.as_ref()) {
            Err(Errno::INTR) => {}
            outcome => return outcome.is_ok_and(|ready| ready > 0),
        }
    }
}

/// Whether the other side has not read all that was sent.
fn is_unread(socket: &OwnedFd) -> bool {
    let mut bytes: c_int = 0;
    // SAFETY: the number is written to `bytes`, which outlives the call.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    outcome == 0 && bytes > 0
}

/// What the server says of a call.
enum Said {
    Done(Answer),
    /// A worker is to do it.
    ByWorker,
}

/// How a call was done.
struct Answer {
    status: c_int,
    /// What is printed: JSON.
    result: Vec<u8>,
}

impl Answer {
    /// Reads `{"status":0,"result":…}`, which has these two fields, in this order.
    fn of(body: &[u8]) -> Option<Self> {
        let rest = body.strip_prefix(STATUS)?.strip_suffix(b"}")?;
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        let (status, rest) = rest.split_at_checked(digits)?;
        let result = rest.strip_prefix(RESULT)?;
        Some(Self {
            status: std::str::from_utf8(status).ok()?.parse().ok()?,
            result: result.to_vec(),
        })
    }

    /// Prints it; the exit status.
    fn tell(&self) -> c_int {
        if self.result == b"null" || say(&self.result) {
            self.status
        } else {
            FAILED
        }
    }
}

fn fail(code: u32, message: &str, details: &str) -> c_int {
    let mut error = format!("{{\"cniVersion\":\"{NEWEST}\",\"code\":{code},\"msg\":");
    push_text(&mut error, message.as_bytes());
    error.push_str(",\"details\":");
    push_text(&mut error, details.as_bytes());
    error.push('}');
    say(error.as_bytes());
    FAILED
}

/// Writes a line to standard output; false: it cannot be written.
pub fn say(line: &[u8]) -> bool {
    let mut out = io::stdout();
    out.write_all(line).is_ok() && out.write_all(b"\n").is_ok() && out.flush().is_ok()
}

/// Adds a text as JSON has it; what is not UTF-8 is replaced.
fn push_text(out: &mut String, text: &[u8]) {
    out.push('"');
    for one in String::from_utf8_lossy(text).chars() {
        match one {
            '"' | '\\' => {
                out.push('\\');
                out.push(one);
            }
            '\0'..='\x1f' => {
                let _ = write!(out, "\\u{:04x}", u32::from(one));
            }
            _ => out.push(one),
        }
    }
    out.push('"');
}
