//! `macvfast._core`: the native half of the macvfast package.
//!
//! Converts, calls the pure crates, converts back. Nothing here decides anything about networks.

mod address;
mod addresses;
mod batch;
mod error;
mod link;
mod netlink;
mod netns;
mod pool;
mod refusal;
mod stored;

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;

/// What a mutex guards, also after a thread has panicked with it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[pymodule]
mod _core {
    use super::*;

    #[pymodule_export]
    use super::addresses::Addresses;
    #[pymodule_export]
    use super::batch::Batch;
    #[pymodule_export]
    use super::link::Link;
    #[pymodule_export]
    use super::netlink::{links_at, send_each, send_then, Netlink};
    #[pymodule_export]
    use super::netns::{
        home_cookie, make_namespaces, open_namespaces, pin_namespaces, read_sysctls,
        unpin_namespaces, write_sysctls, Namespace,
    };
    #[pymodule_export]
    use super::pool::Pool;
    #[pymodule_export]
    use super::refusal::Refusal;
    #[pymodule_export]
    use super::stored::{PoolChanges, Source, StoredPool};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let sequence = module.py().import("collections.abc")?.getattr("Sequence")?;
        sequence.call_method1("register", (module.getattr("Addresses")?,))?;
        Ok(())
    }
}
