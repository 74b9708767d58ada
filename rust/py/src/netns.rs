//! `Namespace` of `macvfast._core`, and the functions that make, open, pin and unpin one.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use macvfast_netlink::{self as netlink, netns, Sysctl};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::error::{from_netlink, from_request};
use crate::netlink::{Netlink, Refusal};

/// A network namespace, kept alive by a descriptor and a socket inside.
#[pyclass(frozen, module = "macvfast._core")]
pub struct Namespace {
    /// Shared with those who use it at the moment, so that its number stays its own until they are done.
    fd: Mutex<Option<Arc<OwnedFd>>>,
    inode: u64,
    cookie: u64,
    netlink: Py<Netlink>,
}

impl Namespace {
    fn new(py: Python<'_>, namespace: netns::Namespace) -> PyResult<Self> {
        let cookie = namespace.socket.cookie();
        Ok(Self {
            fd: Mutex::new(Some(Arc::new(namespace.fd))),
            inode: namespace.inode,
            cookie,
            netlink: Py::new(py, Netlink::from(namespace.socket))?,
        })
    }

    fn descriptor(&self) -> PyResult<Arc<OwnedFd>> {
        let fd = self.fd.lock().unwrap_or_else(PoisonError::into_inner);
        fd.clone()
            .ok_or_else(|| PyValueError::new_err("the namespace is closed"))
    }
}

#[pymethods]
impl Namespace {
    #[getter]
    fn fd(&self) -> PyResult<RawFd> {
        Ok(self.descriptor()?.as_raw_fd())
    }

    #[getter]
    fn inode(&self) -> u64 {
        self.inode
    }

    #[getter]
    fn cookie(&self) -> u64 {
        self.cookie
    }

    #[getter]
    fn netlink(&self, py: Python<'_>) -> Py<Netlink> {
        self.netlink.clone_ref(py)
    }

    fn close(&self, py: Python<'_>) {
        let fd = self
            .fd
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(fd);
        self.netlink.get().close(py);
    }

    fn __repr__(&self) -> String {
        format!("<Namespace {}>", self.cookie)
    }
}

fn parse_sysctls(sysctls: &[(String, String)]) -> PyResult<Vec<Sysctl>> {
    sysctls
        .iter()
        .map(|(name, value)| Sysctl::new(name, value).map_err(from_request))
        .collect()
}

#[pyfunction]
pub fn open_namespace(py: Python<'_>, path: PathBuf) -> PyResult<Namespace> {
    let namespace = py
        .detach(|| netns::open_at(&path))
        .map_err(|error| from_netlink(py, error))?;
    Namespace::new(py, namespace)
}

#[pyfunction]
#[pyo3(signature = (pins, sysctls=Vec::new(), threads=1), text_signature = "(pins, sysctls=(), threads=1)")]
pub fn make_namespaces<'py>(
    py: Python<'py>,
    pins: Vec<Option<PathBuf>>,
    sysctls: Vec<(String, String)>,
    threads: usize,
) -> PyResult<Bound<'py, PyList>> {
    let sysctls = parse_sysctls(&sysctls)?;
    let made = PyList::empty(py);
    for result in py.detach(|| netns::make(&pins, &sysctls, threads)) {
        match result {
            Ok(namespace) => made.append(Bound::new(py, Namespace::new(py, namespace)?)?)?,
            Err(error) => made.append(Bound::new(py, Refusal::from(error))?)?,
        }
    }
    Ok(made)
}

#[pyfunction]
pub fn pin_namespace(py: Python<'_>, namespace: &Namespace, path: PathBuf) -> PyResult<()> {
    let fd = namespace.descriptor()?;
    py.detach(|| netns::pin_at(fd.as_fd(), &path))
        .map_err(|error| from_netlink(py, error))
}

#[pyfunction]
pub fn unpin_namespace(py: Python<'_>, path: PathBuf) -> PyResult<bool> {
    py.detach(|| netlink::unpin(&path))
        .map_err(|error| from_netlink(py, error))
}

#[pyfunction]
pub fn write_sysctls(
    py: Python<'_>,
    namespace: &Namespace,
    sysctls: Vec<(String, String)>,
) -> PyResult<()> {
    let sysctls = parse_sysctls(&sysctls)?;
    let fd = namespace.descriptor()?;
    py.detach(|| netns::write_sysctls(fd.as_fd(), &sysctls))
        .map_err(|error| from_netlink(py, error))
}

#[pyfunction]
pub fn home_cookie(py: Python<'_>) -> PyResult<u64> {
    py.detach(netns::home_cookie)
        .map_err(|error| from_netlink(py, error))
}
