//! `Addresses`: many addresses in one buffer.

use crate::address::{self, exact_address};
use macvfast_ipam::{Address, Family};
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PySlice, PyString};
use std::sync::atomic::{AtomicUsize, Ordering};

#[pyclass(frozen, module = "macvfast._core")]
pub(crate) struct Addresses {
    family: Family,
    packed: Py<PyBytes>,
}

/// Bytes of a packed address.
pub(crate) fn width(family: Family) -> usize {
    usize::from(family.bits() / 8)
}

impl Addresses {
    pub(crate) fn new(family: Family, packed: Bound<'_, PyBytes>) -> Self {
        Self {
            family,
            packed: packed.unbind(),
        }
    }

    fn len(&self, py: Python<'_>) -> usize {
        self.packed.as_bytes(py).len() / width(self.family)
    }

    fn addresses<'py>(
        &'py self,
        py: Python<'py>,
    ) -> impl DoubleEndedIterator<Item = Address> + 'py {
        self.packed
            .as_bytes(py)
            .chunks_exact(width(self.family))
            .map(|chunk| self.unpack(chunk))
    }

    fn at(&self, py: Python<'_>, index: usize) -> Option<Address> {
        let width = width(self.family);
        let chunk = self
            .packed
            .as_bytes(py)
            .get(index.checked_mul(width)?..)?
            .get(..width)?;
        Some(self.unpack(chunk))
    }

    fn unpack(&self, chunk: &[u8]) -> Address {
        let value = chunk
            .iter()
            .fold(0u128, |value, byte| value << 8 | u128::from(*byte));
        Address::of_bits(self.family, value)
    }

    fn slice(&self, slice: &Bound<'_, PySlice>) -> PyResult<Self> {
        let py = slice.py();
        let (width, bytes) = (width(self.family), self.packed.as_bytes(py));
        let indices = slice.indices(self.len(py) as isize)?;
        let packed = PyBytes::new_with(py, indices.slicelength * width, |buffer| {
            let mut index = indices.start;
            for chunk in buffer.chunks_exact_mut(width) {
                let from = index as usize * width;
                chunk.copy_from_slice(&bytes[from..from + width]);
                index += indices.step;
            }
            Ok(())
        })?;
        Ok(Self::new(self.family, packed))
    }

    /// The first index of an address from `start` to before `stop`, as lists count them.
    fn find(&self, value: &Bound<'_, PyAny>, start: isize, stop: isize) -> PyResult<Option<usize>> {
        let py = value.py();
        let Some(wanted) = exact_address(value)? else {
            return Ok(None);
        };
        let len = self.len(py) as isize;
        let bound = |index: isize| if index < 0 { (index + len).max(0) } else { index } as usize;
        let (start, stop) = (bound(start), bound(stop));
        let places = self.addresses(py).enumerate().take(stop).skip(start);
        let mut found = places.filter(|(_, address)| *address == wanted);
        Ok(found.next().map(|(index, _)| index))
    }
}

#[pymethods]
impl Addresses {
    #[getter]
    fn packed(&self, py: Python<'_>) -> Py<PyBytes> {
        self.packed.clone_ref(py)
    }

    fn texts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        // The collected vector knows its length, as a list must.
        let texts: Vec<_> = self
            .addresses(py)
            .map(|address| PyString::new(py, &address.to_string()))
            .collect();
        PyList::new(py, texts)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.len(py)
    }

    fn __getitem__<'py>(&self, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = index.py();
        if let Ok(slice) = index.cast::<PySlice>() {
            return Ok(Bound::new(py, self.slice(slice)?)?.into_any());
        }
        let index: isize = index.extract()?;
        let len = self.len(py) as isize;
        let from_start = if index < 0 { index + len } else { index };
        let from_start = usize::try_from(from_start).ok();
        match from_start.and_then(|index| self.at(py, index)) {
            Some(address) => address::to_object(py, address),
            None => Err(PyIndexError::new_err("index beyond the addresses")),
        }
    }

    fn __iter__(slf: PyRef<'_, Self>) -> AddressesIterator {
        AddressesIterator {
            addresses: slf.into(),
            next: AtomicUsize::new(0),
        }
    }

    fn __reversed__(&self, py: Python<'_>) -> PyResult<AddressesIterator> {
        let all = PySlice::new(py, isize::MAX, isize::MIN, -1);
        let addresses = Py::new(py, self.slice(&all)?)?;
        Ok(AddressesIterator {
            addresses,
            next: AtomicUsize::new(0),
        })
    }

    fn __contains__(&self, value: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.find(value, 0, isize::MAX)?.is_some())
    }

    #[pyo3(signature = (value, start = 0, stop = isize::MAX, /))]
    fn index(&self, value: &Bound<'_, PyAny>, start: isize, stop: isize) -> PyResult<usize> {
        let found = self.find(value, start, stop)?;
        found.ok_or_else(|| {
            let shown = address::shown(value);
            PyValueError::new_err(format!("{shown} is not among the addresses"))
        })
    }

    #[pyo3(signature = (value, /))]
    fn count(&self, value: &Bound<'_, PyAny>) -> PyResult<usize> {
        let Some(wanted) = exact_address(value)? else {
            return Ok(0);
        };
        Ok(self
            .addresses(value.py())
            .filter(|address| *address == wanted)
            .count())
    }

    fn __eq__(&self, py: Python<'_>, other: PyRef<'_, Self>) -> bool {
        self.family == other.family && self.packed.as_bytes(py) == other.packed.as_bytes(py)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        self.packed.bind(py).hash()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        match (self.addresses(py).next(), self.addresses(py).next_back()) {
            (Some(first), Some(last)) => format!("<{} addresses: {first} … {last}>", self.len(py)),
            _ => "<0 addresses>".to_owned(),
        }
    }
}

/// What `iter` gives: the next address, made when it is asked for.
#[pyclass(frozen, module = "macvfast._core")]
pub(crate) struct AddressesIterator {
    addresses: Py<Addresses>,
    next: AtomicUsize,
}

#[pymethods]
impl AddressesIterator {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        self.addresses
            .get()
            .at(py, index)
            .map(|address| address::to_object(py, address))
            .transpose()
    }

    fn __length_hint__(&self, py: Python<'_>) -> usize {
        self.addresses
            .get()
            .len(py)
            .saturating_sub(self.next.load(Ordering::Relaxed))
    }
}
