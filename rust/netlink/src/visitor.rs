//! The thread that visits namespaces, one after the other, and is at home in between.
//!
//! A thread made for one visit costs 90 to 220 µs, a visit of this one some 15. It is started by the first visit, and
//! ends after a second without one: what it got from the thread that started it, a mount namespace say, it does not
//! keep for long. Home is the network namespace of the process's first thread, looked up after each visit, so that no
//! namespace lives on because of a visit.

use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::{open, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::getpid;
use rustix::thread::{move_into_link_name_space, LinkNameSpaceType};

use crate::error::{Error, Operation};
use crate::sysctl::Procfs;
use crate::threads::on_thread;

/// How long it waits for the next visit.
const IDLE: Duration = Duration::from_secs(1);

/// A visit; gives what tells whoever asked for it. That is done at home.
type Visit = Box<dyn FnOnce(&mut Procfs) -> Tell + Send>;
type Tell = Box<dyn FnOnce()>;
type Result<T> = std::result::Result<T, Error>;

struct Visitor {
    /// The process that it is a thread of.
    pid: i32,
    inbox: Sender<Visit>,
}

/// The visitor of this process, by how many forks came before it. A forked child has none of its parent's threads, and
/// a lock that another thread held is never given up there: so each has a place of its own, and looks at no other.
static PLACES: [Mutex<Option<Visitor>>; 64] = [const { Mutex::new(None) }; 64];
static FORKS: AtomicUsize = AtomicUsize::new(0);
static WATCHING: AtomicBool = AtomicBool::new(false);

/// Do something on the visitor's thread, whose namespace it may change. Visits are short: others wait for it.
pub(crate) fn visit<T: Send + 'static>(
    work: impl FnOnce(&mut Procfs) -> Result<T> + Send + 'static,
) -> Result<T> {
    watch_forks();
    let Some(place) = PLACES.get(FORKS.load(Ordering::Relaxed)) else {
        // A child of children without end.
        return on_thread(move || work(&mut Procfs::new()));
    };
    let work = Arc::new(Mutex::new(Some(work)));
    let (answer, answered) = channel::<thread::Result<Result<T>>>();
    let todo = Arc::clone(&work);
    let visit: Visit = Box::new(move |procfs| {
        let result = lock(&todo)
            .take()
            .map(|work| catch_unwind(AssertUnwindSafe(|| work(procfs))));
        Box::new(move || {
            if let Some(result) = result {
                // Somebody waits for it, unless that thread has died.
                let _ = answer.send(result);
            }
        })
    });
    send(place, visit)?;
    match answered.recv() {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => resume_unwind(panic),
        // The visitor found no way home and ended before it came to this.
        Err(_) => match lock(&work).take() {
            Some(work) => on_thread(move || work(&mut Procfs::new())),
            None => Err(Error::system(Operation::StartThread, Errno::SRCH)),
        },
    }
}

fn send(place: &'static Mutex<Option<Visitor>>, visit: Visit) -> Result<()> {
    let mut here = lock(place);
    let pid = getpid().as_raw_nonzero().get();
    let visit = match here.take() {
        Some(visitor) if visitor.pid == pid => match visitor.inbox.send(visit) {
            Ok(()) => {
                *here = Some(visitor);
                return Ok(());
            }
            // It found no way home.
            Err(refused) => refused.0,
        },
        // Of another process, by a fork that was not counted: what it shares with a thread that is not here is not
        // touched.
        other => {
            std::mem::forget(other);
            visit
        }
    };
    let (inbox, visits) = channel();
    thread::Builder::new()
        .name("macvfast-visits".to_owned())
        .spawn(move || stay(place, &visits))
        .map_err(|error| Error::io(Operation::StartThread, &error))?;
    let sent = inbox.send(visit);
    *here = Some(Visitor { pid, inbox });
    sent.map_err(|_| Error::system(Operation::StartThread, Errno::SRCH))
}

/// Visit what is asked for, until nothing is.
fn stay(place: &Mutex<Option<Visitor>>, visits: &Receiver<Visit>) {
    leave_signals_to_others();
    let mut procfs = Procfs::new();
    loop {
        let visit = match visits.recv_timeout(IDLE) {
            Ok(visit) => visit,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                // What was sent in this very moment was sent under the lock.
                let mut here = lock(place);
                match visits.try_recv() {
                    Ok(visit) => visit,
                    Err(_) => {
                        *here = None;
                        return;
                    }
                }
            }
        };
        let tell = visit(&mut procfs);
        let home = go_home();
        tell();
        if home.is_err() {
            // Rather than to stay where it is; the next visit makes another.
            return;
        }
    }
}

/// Back to where the process's first thread is.
fn go_home() -> std::result::Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let home = open("/proc/self/ns/net", flags, Mode::empty())?;
    move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Block all signals in this thread: one that the first thread holds back, for the program that it is about to execute,
/// would be acted upon here.
#[allow(unsafe_code)]
fn leave_signals_to_others() {
    let mut all = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set; the old mask is not asked for.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut());
    }
}

/// Count forks in each child, from now on.
#[allow(unsafe_code)]
fn watch_forks() {
    extern "C" fn forked() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    if !WATCHING.swap(true, Ordering::Relaxed) {
        // SAFETY: the handler touches nothing but an atomic number. Where there is no memory for it, it is not called.
        unsafe { libc::pthread_atfork(None, None, Some(forked)) };
    }
}
