//! `Pool`: the allocator of one owner for Python.

use crate::address::{self, from_object, prefix_text, shown};
use crate::addresses::{width, Addresses};
use crate::error;
use macvfast_ipam as ipam;
use macvfast_ipam::{Address, AddressRange, Order, RangeFault, Rules, Subnet, SubnetFault};
use pyo3::exceptions::{PyOverflowError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping};
use std::sync::{Mutex, MutexGuard};

/// The lock is held for one operation of the allocator and never while Python code could run: it is
/// waited for with the GIL held.
#[pyclass(frozen, module = "macvfast._core")]
pub(crate) struct Pool {
    pool: Mutex<ipam::Pool>,
    subnet: Subnet,
}

/// The value of a lock that no operation was stopped under.
pub(crate) fn locked<T>(value: &Mutex<T>) -> PyResult<MutexGuard<'_, T>> {
    value.lock().map_err(|_| {
        PyRuntimeError::new_err("a bug stopped an earlier change of this pool half-way")
    })
}

impl Pool {
    fn new(pool: Result<ipam::Pool, ipam::Error>) -> PyResult<Self> {
        let pool = pool.map_err(error::of_ipam)?;
        Ok(Self {
            subnet: pool.subnet(),
            pool: Mutex::new(pool),
        })
    }

    fn ask<T>(&self, ask: impl FnOnce(&mut ipam::Pool) -> Result<T, ipam::Error>) -> PyResult<T> {
        ask(&mut *locked(&self.pool)?).map_err(error::of_ipam)
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
        let subnet = subnet_of(subnet)?;
        let order = order_of(order)?;
        let gateway = gateway.map(|object| gateway_address(object, subnet));
        let rules = Rules {
            subnet,
            order,
            gateway: gateway.transpose()?,
            aux: aux.map_or(Ok(Vec::new()), |aux| aux_addresses(aux, subnet))?,
            ranges: ranges_of(ip_range, subnet)?,
        };
        Self::new(ipam::Pool::new(rules))
    }

    #[staticmethod]
    fn from_snapshot(data: &[u8]) -> PyResult<Self> {
        Self::new(ipam::Pool::from_snapshot(data))
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
        let pool = locked(&self.pool)?;
        Ok(pool.size() - pool.used())
    }

    #[getter]
    fn available(&self) -> PyResult<u128> {
        Ok(locked(&self.pool)?.available())
    }

    fn __len__(&self) -> PyResult<usize> {
        let used = locked(&self.pool)?.used();
        Ok(used.min(isize::MAX as u128) as usize)
    }

    fn __contains__(&self, address: &Bound<'_, PyAny>) -> PyResult<bool> {
        match from_object(address, self.subnet.family())? {
            Ok(parsed) if self.subnet.ordinal(parsed).is_some() => {
                self.ask(|pool| pool.contains(parsed))
            }
            _ => Ok(false),
        }
    }

    fn allocate<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let given = self.ask(ipam::Pool::allocate)?;
        address::to_object(py, given)
    }

    fn allocate_many(&self, count: &Bound<'_, PyAny>) -> PyResult<Addresses> {
        let py = count.py();
        let count = requested(count)?;
        self.ask(|pool| pool.check_many(count))?;
        let len = count as usize * width(self.subnet.family());
        // The buffer comes first: where there is no memory for it, nothing was taken.
        let packed = PyBytes::new_with(py, len, |buffer| {
            self.ask(|pool| pool.allocate_many(count))?.pack(buffer);
            Ok(())
        })?;
        Ok(Addresses::new(self.subnet.family(), packed))
    }

    fn reserve(&self, address: &Bound<'_, PyAny>) -> PyResult<()> {
        let parsed = address_in(self.subnet, address)?;
        self.ask(|pool| pool.reserve(parsed))
    }

    fn release(&self, address: &Bound<'_, PyAny>) -> PyResult<bool> {
        let parsed = address_in(self.subnet, address)?;
        self.ask(|pool| pool.release(parsed))
    }

    fn avoid(&self, addresses: &Bound<'_, PyAny>) -> PyResult<()> {
        let parsed = addresses_in(self.subnet, addresses)?;
        locked(&self.pool)?.avoid(&parsed);
        Ok(())
    }

    fn role(&self, address: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
        let parsed = address_in(self.subnet, address)?;
        let role = self.ask(|pool| pool.role(parsed))?;
        Ok(role.map(|role| role.to_string()))
    }

    fn snapshot<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = locked(&self.pool)?.snapshot();
        Ok(PyBytes::new(py, &bytes))
    }

    fn __repr__(&self) -> PyResult<String> {
        let (used, subnet) = (locked(&self.pool)?.used(), self.subnet);
        let size = subnet.size();
        Ok(format!("<Pool {subnet}: {used} of {size} in use>"))
    }
}

/// An address of a subnet's family.
pub(crate) fn address_in(subnet: Subnet, object: &Bound<'_, PyAny>) -> PyResult<Address> {
    from_object(object, subnet.family())?
        .map_err(|refused| error::AddressInvalid::new_err((refused.text, refused.reason)))
}

pub(crate) fn addresses_in(subnet: Subnet, objects: &Bound<'_, PyAny>) -> PyResult<Vec<Address>> {
    let objects = objects.try_iter()?;
    objects.map(|item| address_in(subnet, &item?)).collect()
}

pub(crate) fn subnet_of(object: &Bound<'_, PyAny>) -> PyResult<Subnet> {
    let text = prefix_text(object)?.ok_or_else(|| {
        error::SubnetInvalid::new_err((shown(object), SubnetFault::Malformed.to_string()))
    })?;
    Subnet::parse(&text).map_err(error::of_ipam)
}

pub(crate) fn order_of(text: &str) -> PyResult<Order> {
    match text {
        "lowest" => Ok(Order::Lowest),
        "next" => Ok(Order::Next),
        _ => Err(error::OptionInvalid::new_err((
            "order",
            text.to_owned(),
            "it is `lowest` or `next`",
        ))),
    }
}

/// One ip-range, or several; None where there is none at all, which is no limit.
pub(crate) fn ranges_of(
    object: Option<&Bound<'_, PyAny>>,
    subnet: Subnet,
) -> PyResult<Option<Vec<AddressRange>>> {
    let ranges = object.map_or(Ok(Vec::new()), |object| ranges(object, subnet))?;
    Ok((!ranges.is_empty()).then_some(ranges))
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
