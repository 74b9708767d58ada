//! `Pool` and `PoolChanges`: the allocator for Python.

use crate::address::{self, from_object, prefix_text, shown};
use crate::addresses::{width, Addresses};
use crate::error;
use macvfast_ipam as ipam;
use macvfast_ipam::{
    Address, AddressRange, Damage, Order, RangeFault, Rules, Stored, Subnet, SubnetFault,
};
use pyo3::exceptions::{PyOverflowError, PyRuntimeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping, PyTuple};
use std::sync::{Mutex, MutexGuard};

/// The lock is held for one operation of the allocator and never while Python code could run: it is
/// waited for with the GIL held.
#[pyclass(frozen, module = "macvfast._core")]
pub(crate) struct Pool {
    pool: Mutex<ipam::Pool>,
    subnet: Subnet,
    /// Reads a page from the store, where pages lie in one.
    fetch: Mutex<Option<Py<PyAny>>>,
}

impl Pool {
    fn new(pool: ipam::Pool, fetch: Option<Py<PyAny>>) -> Self {
        Self {
            subnet: pool.subnet(),
            pool: Mutex::new(pool),
            fetch: Mutex::new(fetch),
        }
    }

    fn lock(&self) -> PyResult<MutexGuard<'_, ipam::Pool>> {
        self.pool.lock().map_err(|_| {
            PyRuntimeError::new_err("a bug stopped an earlier change of this pool half-way")
        })
    }

    /// Ask the pool; where it needs a page of the store, fetch that and ask again.
    fn ask<T>(
        &self,
        py: Python<'_>,
        question: impl Fn(&mut ipam::Pool) -> Result<T, ipam::Error>,
    ) -> PyResult<T> {
        loop {
            let answer = question(&mut *self.lock()?);
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
        let bytes = if bytes.is_none() {
            None
        } else {
            Some(bytes.cast_into::<PyBytes>()?)
        };
        let provided = self
            .lock()?
            .provide(page, bytes.as_ref().map(|bytes| bytes.as_bytes()));
        provided.map_err(error::of_ipam)
    }

    fn address(&self, object: &Bound<'_, PyAny>) -> PyResult<Address> {
        from_object(object, self.subnet.family())?
            .map_err(|refused| error::AddressInvalid::new_err((refused.text, refused.reason)))
    }
}

#[pymethods]
impl Pool {
    #[new]
    #[pyo3(signature = (subnet, *, ip_range = None, gateway = None, aux = None, order = "lowest"))]
    fn __new__(
        subnet: &Bound<'_, PyAny>,
        ip_range: Option<&Bound<'_, PyAny>>,
        gateway: Option<&Bound<'_, PyAny>>,
        aux: Option<&Bound<'_, PyAny>>,
        order: &str,
    ) -> PyResult<Self> {
        let rules = rules(subnet, ip_range, gateway, aux, order)?;
        Ok(Self::new(
            ipam::Pool::new(rules).map_err(error::of_ipam)?,
            None,
        ))
    }

    #[staticmethod]
    fn from_snapshot(data: &[u8]) -> PyResult<Self> {
        Ok(Self::new(
            ipam::Pool::from_snapshot(data).map_err(error::of_ipam)?,
            None,
        ))
    }

    #[staticmethod]
    #[pyo3(signature = (subnet, *, ip_range, gateway, aux, order, used, used_in_ranges, cursor, summary, fetch))]
    #[allow(clippy::too_many_arguments, reason = "they are keywords")]
    fn from_pages(
        subnet: &Bound<'_, PyAny>,
        ip_range: Option<&Bound<'_, PyAny>>,
        gateway: Option<&Bound<'_, PyAny>>,
        aux: Option<&Bound<'_, PyAny>>,
        order: &str,
        used: &Bound<'_, PyAny>,
        used_in_ranges: &Bound<'_, PyAny>,
        cursor: &Bound<'_, PyAny>,
        summary: &Bound<'_, PyAny>,
        fetch: Py<PyAny>,
    ) -> PyResult<Self> {
        let rules = rules(subnet, ip_range, gateway, aux, order)?;
        let stored = Stored {
            used: stored_number(used, Damage::Counts)?,
            used_in_ranges: stored_number(used_in_ranges, Damage::Counts)?,
            cursor: stored_number(cursor, Damage::Field("cursor"))?,
            summary: summary
                .try_iter()?
                .map(|item| summary_page(&item?))
                .collect::<PyResult<_>>()?,
        };
        let pool = ipam::Pool::stored(rules, stored).map_err(error::of_ipam)?;
        Ok(Self::new(pool, Some(fetch)))
    }

    #[getter]
    fn subnet<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        address::network(py, self.subnet)
    }

    #[getter]
    fn size(&self) -> u128 {
        self.subnet.size()
    }

    #[getter]
    fn free(&self) -> PyResult<u128> {
        let pool = self.lock()?;
        Ok(pool.size() - pool.used())
    }

    #[getter]
    fn available(&self) -> PyResult<u128> {
        Ok(self.lock()?.available())
    }

    fn __len__(&self) -> PyResult<usize> {
        let used = self.lock()?.used();
        Ok(usize::try_from(used)
            .unwrap_or(usize::MAX)
            .min(isize::MAX as usize))
    }

    fn __contains__(&self, address: &Bound<'_, PyAny>) -> PyResult<bool> {
        match from_object(address, self.subnet.family())? {
            Ok(parsed) if self.subnet.ordinal(parsed).is_some() => {
                self.ask(address.py(), |pool| pool.contains(parsed))
            }
            _ => Ok(false),
        }
    }

    fn allocate<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let given = self.ask(py, |pool| pool.allocate())?;
        address::to_object(py, given)
    }

    fn allocate_many(&self, count: &Bound<'_, PyAny>) -> PyResult<Addresses> {
        let py = count.py();
        let count = requested(count)?;
        self.ask(py, |pool| pool.check_many(count))?;
        let len = count as usize * width(self.subnet.family());
        loop {
            // The buffer comes first: where there is no memory for it, nothing was taken.
            let mut refusal = None;
            let packed = PyBytes::new_with(py, len, |buffer| {
                match self.lock()?.allocate_many(count) {
                    Ok(given) => given.pack(buffer),
                    Err(error) => refusal = Some(error),
                }
                Ok(())
            })?;
            match refusal {
                None => return Ok(Addresses::new(self.subnet.family(), packed)),
                Some(refusal) => self.cure(py, refusal)?,
            }
        }
    }

    fn reserve(&self, address: &Bound<'_, PyAny>) -> PyResult<()> {
        let parsed = self.address(address)?;
        self.ask(address.py(), |pool| pool.reserve(parsed))
    }

    fn release(&self, address: &Bound<'_, PyAny>) -> PyResult<bool> {
        let parsed = self.address(address)?;
        self.ask(address.py(), |pool| pool.release(parsed))
    }

    fn avoid(&self, addresses: &Bound<'_, PyAny>) -> PyResult<()> {
        let parsed = addresses
            .try_iter()?
            .map(|item| self.address(&item?))
            .collect::<PyResult<Vec<_>>>()?;
        self.ask(addresses.py(), |pool| pool.avoid(&parsed))
    }

    fn role(&self, address: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        let parsed = self.address(address)?;
        let role = self.lock()?.role(parsed).map_err(error::of_ipam)?;
        Ok(role.map(|role| role.to_string()))
    }

    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = self.ask(py, |pool| pool.snapshot())?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn changes(&self) -> PyResult<PoolChanges> {
        Ok(PoolChanges(self.lock()?.changes()))
    }

    fn __repr__(&self) -> PyResult<String> {
        let pool = self.lock()?;
        Ok(format!(
            "<Pool {}: {} of {} in use>",
            self.subnet,
            pool.used(),
            pool.size()
        ))
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

#[pyclass(frozen, module = "macvfast._core")]
pub(crate) struct PoolChanges(ipam::Changes);

#[pymethods]
impl PoolChanges {
    #[getter]
    fn used(&self) -> u128 {
        self.0.used
    }

    #[getter]
    fn used_in_ranges(&self) -> u128 {
        self.0.used_in_ranges
    }

    #[getter]
    fn cursor(&self) -> u128 {
        self.0.cursor
    }

    #[getter]
    fn pages<'py>(&self, py: Python<'py>) -> Vec<StoredPage<'py>> {
        stored_pages(py, &self.0.pages)
    }

    #[getter]
    fn summary<'py>(&self, py: Python<'py>) -> Vec<StoredPage<'py>> {
        stored_pages(py, &self.0.summary)
    }
}

type StoredPage<'py> = (u128, Option<Bound<'py, PyBytes>>);

fn stored_pages<'py>(py: Python<'py>, pages: &[ipam::StoredPage]) -> Vec<StoredPage<'py>> {
    pages
        .iter()
        .map(|(number, bytes)| (*number, bytes.as_ref().map(|bytes| PyBytes::new(py, bytes))))
        .collect()
}

fn rules(
    subnet: &Bound<'_, PyAny>,
    ip_range: Option<&Bound<'_, PyAny>>,
    gateway: Option<&Bound<'_, PyAny>>,
    aux: Option<&Bound<'_, PyAny>>,
    order: &str,
) -> PyResult<Rules> {
    let text = prefix_text(subnet)?.ok_or_else(|| {
        error::SubnetInvalid::new_err((shown(subnet), SubnetFault::Malformed.to_string()))
    })?;
    let subnet = Subnet::parse(&text).map_err(error::of_ipam)?;
    let order = match order {
        "lowest" => Order::Lowest,
        "next" => Order::Next,
        _ => {
            return Err(error::OptionInvalid::new_err((
                "order",
                order.to_owned(),
                "it is `lowest` or `next`",
            )))
        }
    };
    let gateway = gateway
        .map(|object| gateway_address(object, subnet))
        .transpose()?;
    let aux = aux.map_or(Ok(Vec::new()), |aux| aux_addresses(aux, subnet))?;
    let ranges = ip_range.map_or(Ok(Vec::new()), |object| ranges(object, subnet))?;
    // No range at all is no limit.
    let ranges = (!ranges.is_empty()).then_some(ranges);
    Ok(Rules {
        subnet,
        ranges,
        gateway,
        aux,
        order,
    })
}

fn gateway_address(object: &Bound<'_, PyAny>, subnet: Subnet) -> PyResult<Address> {
    from_object(object, subnet.family())?
        .map_err(|refused| error::GatewayInvalid::new_err((refused.text, refused.reason)))
}

fn aux_addresses(aux: &Bound<'_, PyAny>, subnet: Subnet) -> PyResult<Vec<(String, Address)>> {
    let mut addresses = Vec::new();
    for item in aux.cast::<PyMapping>()?.items()? {
        let (name, object): (Bound<'_, PyAny>, Bound<'_, PyAny>) = item.extract()?;
        let refuse = |text, reason| error::AuxAddressInvalid::new_err((shown(&name), text, reason));
        let Ok(text) = name.extract::<String>() else {
            return Err(refuse(shown(&object), "its name is not text".to_owned()));
        };
        let parsed = from_object(&object, subnet.family())?;
        addresses.push((
            text,
            parsed.map_err(|refused| refuse(refused.text, refused.reason))?,
        ));
    }
    Ok(addresses)
}

/// One ip-range, or several.
fn ranges(object: &Bound<'_, PyAny>, subnet: Subnet) -> PyResult<Vec<AddressRange>> {
    let parse = |text: &str| AddressRange::parse_within(text, subnet).map_err(error::of_ipam);
    if let Some(text) = prefix_text(object)? {
        return Ok(vec![parse(&text)?]);
    }
    let refuse = |object: &Bound<'_, PyAny>| {
        error::RangeInvalid::new_err((shown(object), RangeFault::Malformed.to_string()))
    };
    let range = |item: PyResult<Bound<'_, PyAny>>| {
        let item = item?;
        let text = prefix_text(&item)?.ok_or_else(|| refuse(&item))?;
        parse(&text)
    };
    object
        .try_iter()
        .map_err(|_| refuse(object))?
        .map(range)
        .collect()
}

/// How many addresses are asked for.
fn requested(count: &Bound<'_, PyAny>) -> PyResult<u64> {
    match count.extract() {
        Ok(count) => Ok(count),
        Err(error) if error.is_instance_of::<PyOverflowError>(count.py()) => {
            if count.gt(0)? {
                // More than 64 bits: more than there may be, whatever it is.
                return Ok(u64::MAX);
            }
            Err(error::OptionInvalid::new_err((
                "count",
                shown(count),
                "it is negative",
            )))
        }
        Err(error) => Err(error),
    }
}

/// A count or cursor of the store.
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
    match bytes.as_bytes().try_into() {
        Ok(bytes) => Ok((page, bytes)),
        Err(_) => Err(error::of_ipam(
            Damage::SummaryLength {
                page,
                length: bytes.as_bytes().len(),
            }
            .into(),
        )),
    }
}
