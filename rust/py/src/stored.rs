//! `StoredPool`, `Source` and `PoolChanges`: the addresses that networks share, for Python.

use crate::address;
use crate::error;
use crate::pool::{address_in, addresses_in, locked, order_of, ranges_of, subnet_of};
use macvfast_ipam as ipam;
use macvfast_ipam::{Address, Damage, Space, Stored, Subnet};
use pyo3::exceptions::PyOverflowError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use std::sync::Mutex;

/// Locked as `Pool` is, and before the pool that it takes from.
#[pyclass(frozen, module = "macvfast._core")]
pub(crate) struct Source {
    source: Mutex<ipam::Source>,
}

#[pymethods]
impl Source {
    #[new]
    #[pyo3(signature = (subnet, *, ip_range, order, begin, avoid))]
    fn __new__(
        subnet: &Bound<'_, PyAny>,
        ip_range: Option<&Bound<'_, PyAny>>,
        order: &str,
        begin: &Bound<'_, PyAny>,
        avoid: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let subnet = subnet_of(subnet)?;
        let ranges = ranges_of(ip_range, subnet)?;
        let mut source = ipam::Source::new(subnet, ranges.as_deref(), order_of(order)?)
            .map_err(error::of_ipam)?;
        source.go_on(stored_number(begin, Damage::Field("next"))?);
        source.avoid(&addresses_in(subnet, avoid)?);
        Ok(Self {
            source: Mutex::new(source),
        })
    }

    #[getter]
    fn next(&self) -> PyResult<u128> {
        Ok(locked(&self.source)?.next())
    }

    fn go_on(&self, ordinal: u128) -> PyResult<()> {
        locked(&self.source)?.go_on(ordinal);
        Ok(())
    }

    #[getter]
    fn ranges(&self) -> PyResult<Vec<(u128, u128)>> {
        let source = locked(&self.source)?;
        let ends = |(first, last): (Address, Address)| (first.value(), last.value());
        Ok(source.ranges().map(ends).collect())
    }
}

#[pyclass(frozen, module = "macvfast._core")]
pub(crate) struct StoredPool {
    space: Mutex<Space>,
    subnet: Subnet,
    /// Reads a page from the store.
    fetch: Mutex<Option<Py<PyAny>>>,
}

impl StoredPool {
    /// Ask the pool; where it needs a page of the store, fetch that and ask again.
    fn ask<T>(
        &self,
        py: Python<'_>,
        question: impl Fn(&mut Space) -> Result<T, ipam::Error>,
    ) -> PyResult<T> {
        loop {
            let answer = question(&mut *locked(&self.space)?);
            match answer {
                Ok(value) => return Ok(value),
                Err(refusal) => self.cure(py, refusal)?,
            }
        }
    }

    /// Fetch the page whose absence is the refusal; any other refusal is raised.
    #[cold]
    fn cure(&self, py: Python<'_>, refusal: ipam::Error) -> PyResult<()> {
        let ipam::Error::NeedsPage { page } = refusal else {
            return Err(error::of_ipam(refusal));
        };
        let fetch = self
            .fetch
            .lock()
            .ok()
            .and_then(|fetch| Some(fetch.as_ref()?.clone_ref(py)));
        let bytes = fetch
            .ok_or_else(|| error::of_ipam(refusal))?
            .bind(py)
            .call1((page,))?;
        let bytes: Option<&[u8]> = bytes.extract()?;
        let provided = locked(&self.space)?.provide(page, bytes);
        provided.map_err(error::of_ipam)
    }
}

#[pymethods]
impl StoredPool {
    #[new]
    #[pyo3(signature = (subnet, *, used, summary, fetch))]
    fn __new__(
        subnet: &Bound<'_, PyAny>,
        used: Option<&Bound<'_, PyAny>>,
        summary: &Bound<'_, PyAny>,
        fetch: Py<PyAny>,
    ) -> PyResult<Self> {
        let subnet = subnet_of(subnet)?;
        let space = match used {
            None => Ok(Space::new(subnet)),
            Some(used) => Space::stored(
                subnet,
                &Stored {
                    used: stored_number(used, Damage::Counts)?,
                    summary: summary
                        .try_iter()?
                        .map(|item| summary_page(&item?))
                        .collect::<PyResult<_>>()?,
                },
            ),
        };
        Ok(Self {
            subnet,
            space: Mutex::new(space.map_err(error::of_ipam)?),
            fetch: Mutex::new(Some(fetch)),
        })
    }

    #[getter]
    fn free(&self) -> PyResult<u128> {
        Ok(locked(&self.space)?.free())
    }

    fn __contains__(&self, address: &Bound<'_, PyAny>) -> PyResult<bool> {
        let parsed = address_in(self.subnet, address)?;
        self.ask(address.py(), |space| space.contains(parsed))
    }

    fn allocate<'py>(
        &self,
        py: Python<'py>,
        source: &Bound<'py, Source>,
    ) -> PyResult<Bound<'py, PyAny>> {
        loop {
            let given = {
                let mut source = locked(&source.get().source)?;
                source.allocate(&mut *locked(&self.space)?)
            };
            match given {
                Ok(given) => return address::to_object(py, given),
                Err(refusal) => self.cure(py, refusal)?,
            }
        }
    }

    fn reserve(&self, address: &Bound<'_, PyAny>) -> PyResult<()> {
        let parsed = address_in(self.subnet, address)?;
        self.ask(address.py(), |space| space.reserve(parsed))
    }

    fn release(&self, address: &Bound<'_, PyAny>) -> PyResult<bool> {
        let parsed = address_in(self.subnet, address)?;
        self.ask(address.py(), |space| space.release(parsed))
    }

    fn changes(&self, py: Python<'_>) -> PyResult<PoolChanges> {
        let changes = locked(&self.space)?.changes();
        Ok(PoolChanges {
            used: changes.used,
            pages: stored_pages(py, &changes.pages),
            summary: stored_pages(py, &changes.summary),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self.fetch.try_lock() {
            Ok(fetch) => visit.call(&*fetch),
            // Somebody is about to call it: the pool is no garbage.
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let fetch = self.fetch.lock().ok().and_then(|mut fetch| fetch.take());
        drop(fetch);
    }
}

#[pyclass(frozen, get_all, module = "macvfast._core")]
pub(crate) struct PoolChanges {
    used: u128,
    pages: Vec<StoredPage>,
    summary: Vec<StoredPage>,
}

type StoredPage = (u128, Option<Py<PyBytes>>);

fn stored_pages(py: Python<'_>, pages: &[ipam::StoredPage]) -> Vec<StoredPage> {
    let stored = |bytes: &[u8; ipam::PAGE_BYTES]| PyBytes::new(py, bytes).unbind();
    pages
        .iter()
        .map(|(number, bytes)| (*number, bytes.as_ref().map(stored)))
        .collect()
}

/// A number of the store.
fn stored_number(object: &Bound<'_, PyAny>, damage: Damage) -> PyResult<u128> {
    match object.extract() {
        Ok(number) => Ok(number),
        Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => {
            Err(error::of_ipam(damage.into()))
        }
        Err(error) => Err(error),
    }
}

fn summary_page(item: &Bound<'_, PyAny>) -> PyResult<(u128, [u8; ipam::PAGE_BYTES])> {
    let item = item.cast::<PyTuple>()?;
    let (number, bytes): (Bound<'_, PyAny>, Bound<'_, PyBytes>) = item.extract()?;
    let page = stored_number(&number, Damage::Field("summary"))?;
    let length = bytes.as_bytes().len();
    match bytes.as_bytes().try_into() {
        Ok(bytes) => Ok((page, bytes)),
        Err(_) => Err(error::of_ipam(
            Damage::SummaryLength { page, length }.into(),
        )),
    }
}
