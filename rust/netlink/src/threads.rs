//! Threads made for a piece of work that changes the namespace of whoever does it, or that waits in the kernel.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::error::{Error, Operation};

/// More threads than this only wait for each other.
const THREADS_MAX: usize = 64;

/// Run something on a thread of its own.
pub(crate) fn on_thread<T: Send>(
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    thread::scope(|scope| {
        let started = thread::Builder::new()
            .name("macvfast-one".to_owned())
            .spawn_scoped(scope, work);
        match started {
            Ok(handle) => handle
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => Err(Error::io(Operation::StartThread, &error)),
        }
    })
}

/// Do `count` pieces of work on at most `threads` new threads; results in the order of the pieces.
///
/// `start` makes what one thread keeps between its pieces. Where fewer threads can be started, those do it all; where
/// none can, every piece fails.
pub fn spread<T: Send, S>(
    count: usize,
    threads: usize,
    start: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> Result<T, Error> + Sync,
) -> Vec<Result<T, Error>> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut own = start();
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return done;
            }
            done.push((index, work(&mut own, index)));
        }
    };
    let mut results: Vec<Option<Result<T, Error>>> = (0..count).map(|_| None).collect();
    let mut failure = Error::refused(Operation::StartThread, libc::EAGAIN, None);
    thread::scope(|scope| {
        let mut workers = Vec::new();
        for _ in 0..threads.clamp(1, THREADS_MAX).min(count) {
            match thread::Builder::new()
                .name("macvfast-many".to_owned())
                .spawn_scoped(scope, run)
            {
                Ok(worker) => workers.push(worker),
                Err(error) => failure = Error::io(Operation::StartThread, &error),
            }
        }
        for worker in workers {
            for (index, result) in worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            {
                results[index] = Some(result);
            }
        }
    });
    results
        .into_iter()
        .map(|result| result.unwrap_or_else(|| Err(failure.clone())))
        .collect()
}
