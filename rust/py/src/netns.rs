//! `Namespace` of `macvfast._core`, and the functions that make, open, pin and unpin one.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use macvfast_netlink::{self as netlink, netns, Sysctl};
use pyo3::exceptions::{PyBaseException, PyException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::error::{from_netlink, from_request};
use crate::lock;
use crate::netlink::Netlink;
use crate::refusal::Refusal;

/// A network namespace, kept alive by a descriptor and a socket inside.
#[pyclass(frozen, module = "macvfast._core")]
pub struct Namespace {
    /// Shared with those who use it at the moment, so that its number stays its own until they are done.
    fd: Mutex<Option<Arc<OwnedFd>>>,
    #[pyo3(get)]
    inode: u64,
    #[pyo3(get)]
    cookie: u64,
    #[pyo3(get)]
    netlink: Py<Netlink>,
    #[pyo3(get)]
    sysctls: Vec<Option<String>>,
}

impl Namespace {
    fn new(py: Python<'_>, namespace: netns::Namespace) -> PyResult<Self> {
        let cookie = namespace.socket.cookie();
        Ok(Self {
            fd: Mutex::new(Some(namespace.fd)),
            inode: namespace.inode,
            cookie,
            netlink: Py::new(py, Netlink::from(namespace.socket))?,
            sysctls: namespace.sysctls,
        })
    }

    /// The descriptor, open as long as it is held.
    pub fn descriptor(&self) -> PyResult<Arc<OwnedFd>> {
        let fd = lock(&self.fd);
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

    fn close(&self, py: Python<'_>) {
        let fd = lock(&self.fd).take();
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

/// One outcome per entry: None, or the exception that says why not.
fn outcomes<'py>(
    py: Python<'py>,
    results: Vec<Result<(), netlink::Error>>,
) -> PyResult<Bound<'py, PyList>> {
    let errors = results
        .into_iter()
        .map(|result| result.err().map(|error| told(py, error)).transpose());
    PyList::new(py, errors.collect::<PyResult<Vec<_>>>()?)
}

/// The exception that says what an error means, for an outcome.
///
/// # Errors
/// What interrupts Python while it is made (Ctrl-C), which is nobody's outcome.
fn told(py: Python<'_>, error: netlink::Error) -> PyResult<Py<PyBaseException>> {
    let value = from_netlink(error).into_value(py);
    if value.bind(py).is_instance_of::<PyException>() {
        Ok(value)
    } else {
        Err(PyErr::from_value(value.into_bound(py).into_any()))
    }
}

fn parse_names(names: &[String]) -> PyResult<Vec<Sysctl>> {
    names
        .iter()
        .map(|name| Sysctl::new(name, "").map_err(from_request))
        .collect()
}

#[pyfunction]
#[pyo3(signature = (paths, sysctls=Vec::new()), text_signature = "(paths, sysctls=())")]
pub fn open_namespaces<'py>(
    py: Python<'py>,
    paths: Vec<PathBuf>,
    sysctls: Vec<String>,
) -> PyResult<Bound<'py, PyList>> {
    let sysctls = parse_names(&sysctls)?;
    let opened = PyList::empty(py);
    for result in py.detach(|| netns::open_all(&paths, &sysctls)) {
        match result {
            Ok(namespace) => opened.append(Bound::new(py, Namespace::new(py, namespace)?)?)?,
            Err(error) => opened.append(told(py, error)?)?,
        }
    }
    Ok(opened)
}

#[pyfunction]
#[pyo3(signature = (count, sysctls=Vec::new(), threads=1), text_signature = "(count, sysctls=(), threads=1)")]
pub fn make_namespaces<'py>(
    py: Python<'py>,
    count: usize,
    sysctls: Vec<(String, String)>,
    threads: usize,
) -> PyResult<Bound<'py, PyList>> {
    let sysctls = parse_sysctls(&sysctls)?;
    let made = PyList::empty(py);
    for result in py.detach(|| netns::make(count, &sysctls, threads)) {
        match result {
            Ok(namespace) => made.append(Bound::new(py, Namespace::new(py, namespace)?)?)?,
            Err(error) => made.append(Bound::new(py, Refusal::from(error))?)?,
        }
    }
    Ok(made)
}

#[pyfunction]
pub fn pin_namespaces<'py>(
    py: Python<'py>,
    pins: Vec<(PyRef<'py, Namespace>, PathBuf)>,
) -> PyResult<Bound<'py, PyList>> {
    let held = pins
        .iter()
        .map(|(namespace, path)| Ok((namespace.descriptor()?, path.clone())))
        .collect::<PyResult<Vec<_>>>()?;
    let results = py.detach(|| {
        let pins: Vec<_> = held
            .iter()
            .map(|(fd, path)| (fd.as_fd(), path.clone()))
            .collect();
        netlink::pin_all(&pins)
    });
    outcomes(py, results)
}

#[pyfunction]
pub fn unpin_namespaces<'py>(py: Python<'py>, paths: Vec<PathBuf>) -> PyResult<Bound<'py, PyList>> {
    let unpin = |path: &PathBuf| netlink::unpin(path).map(|_| ());
    let results = py.detach(|| paths.iter().map(unpin).collect());
    outcomes(py, results)
}

#[pyfunction]
#[allow(clippy::type_complexity)] // The tuple of the stub.
pub fn write_sysctls<'py>(
    py: Python<'py>,
    writes: Vec<(PyRef<'py, Namespace>, Vec<(String, String)>)>,
) -> PyResult<Bound<'py, PyList>> {
    let held = writes
        .iter()
        .map(|(namespace, sysctls)| Ok((namespace.descriptor()?, parse_sysctls(sysctls)?)))
        .collect::<PyResult<Vec<_>>>()?;
    outcomes(py, py.detach(move || netns::write_sysctls(held)))
}

#[pyfunction]
pub fn read_sysctls<'py>(
    py: Python<'py>,
    namespaces: Vec<PyRef<'py, Namespace>>,
    names: Vec<String>,
) -> PyResult<Bound<'py, PyList>> {
    let names = parse_names(&names)?;
    let held = namespaces
        .iter()
        .map(|namespace| namespace.descriptor())
        .collect::<PyResult<Vec<_>>>()?;
    let values = PyList::empty(py);
    for result in py.detach(move || netns::read_sysctls(held, names)) {
        match result {
            Ok(found) => values.append(found)?,
            Err(error) => values.append(told(py, error)?)?,
        }
    }
    Ok(values)
}

#[pyfunction]
pub fn home_cookie(py: Python<'_>) -> PyResult<u64> {
    py.detach(netns::home_cookie).map_err(from_netlink)
}
