//! `ipaddress` objects to addresses and back.

use macvfast_ipam::{Address, AddressFault, Family};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyInt, PyString, PyType};
use pyo3::{ffi, intern};

/// A class of `ipaddress`, looked up once: of addresses.
fn address_class(py: Python<'_>, family: Family) -> PyResult<&Bound<'_, PyType>> {
    static V4: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static V6: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match family {
        Family::V4 => V4.import(py, "ipaddress", "IPv4Address"),
        Family::V6 => V6.import(py, "ipaddress", "IPv6Address"),
    }
}

/// The same of networks.
fn network_class(py: Python<'_>, family: Family) -> PyResult<&Bound<'_, PyType>> {
    static V4: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static V6: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    match family {
        Family::V4 => V4.import(py, "ipaddress", "IPv4Network"),
        Family::V6 => V6.import(py, "ipaddress", "IPv6Network"),
    }
}

/// An address as an `ipaddress` object.
///
/// Its constructor would cost several times as much: it is made without, and its slots are set as
/// `ipaddress` itself sets them.
pub(crate) fn to_object(py: Python<'_>, address: Address) -> PyResult<Bound<'_, PyAny>> {
    let object = blank(address_class(py, address.family())?)?;
    match address.family() {
        Family::V4 => object.setattr(intern!(py, "_ip"), address.value() as u32)?,
        Family::V6 => {
            object.setattr(intern!(py, "_ip"), address.value())?;
            object.setattr(intern!(py, "_scope_id"), py.None())?;
        }
    }
    Ok(object)
}

/// An instance of a class of `ipaddress` whose slots are not set yet: `object.__new__`, without the
/// look-up and the arguments of a call.
fn blank<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    let none = std::ptr::null_mut();
    // SAFETY: the class is alive, and a plain Python class (of `object`, with slots): its own `tp_new` is that of
    // `object`, which allocates in the same way. The result is a new reference, or NULL with an exception set.
    unsafe {
        let object = ffi::PyType_GenericNew(class.as_type_ptr(), none, none);
        Bound::from_owned_ptr_or_err(class.py(), object)
    }
}

/// Why an object is no address: how it is shown, and the reason.
pub(crate) struct Refused {
    pub(crate) text: String,
    pub(crate) reason: String,
}

/// The address that an object stands for: text, an `ipaddress` object, or an integer of a family.
pub(crate) fn from_object(
    object: &Bound<'_, PyAny>,
    family: Family,
) -> PyResult<Result<Address, Refused>> {
    let parsed = if let Ok(text) = object.cast::<PyString>() {
        Address::parse(&text.to_string_lossy())
    } else if object.is_instance_of::<PyInt>() && !object.is_instance_of::<PyBool>() {
        match object.extract::<u128>() {
            Ok(value) => Address::new(family, value),
            Err(_) => Err(AddressFault::TooLarge { family }),
        }
    } else {
        return other_from_object(object);
    };
    Ok(parsed.map_err(|fault| Refused {
        text: shown(object),
        reason: fault.to_string(),
    }))
}

fn other_from_object(object: &Bound<'_, PyAny>) -> PyResult<Result<Address, Refused>> {
    let py = object.py();
    let refuse = |reason: String| {
        Ok(Err(Refused {
            text: shown(object),
            reason,
        }))
    };
    let family = if object.is_instance(address_class(py, Family::V4)?)? {
        Family::V4
    } else if object.is_instance(address_class(py, Family::V6)?)? {
        Family::V6
    } else {
        return refuse("an address is text, an integer or an ipaddress object".to_owned());
    };
    if family == Family::V6 && !object.getattr(intern!(py, "_scope_id"))?.is_none() {
        return refuse(AddressFault::ScopeId.to_string());
    }
    match Address::new(family, object.getattr(intern!(py, "_ip"))?.extract()?) {
        Ok(address) => Ok(Ok(address)),
        Err(fault) => refuse(fault.to_string()),
    }
}

/// The address of an `ipaddress` object; None for anything else, which equals no address.
pub(crate) fn exact_address(object: &Bound<'_, PyAny>) -> PyResult<Option<Address>> {
    if object.is_instance_of::<PyString>() || object.is_instance_of::<PyInt>() {
        return Ok(None);
    }
    Ok(other_from_object(object)?.ok())
}

/// The text of a subnet or range: text itself, or an `ipaddress` network; None for anything else.
pub(crate) fn prefix_text(object: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let is_text = object.is_instance_of::<PyString>()
        || object.is_instance(network_class(object.py(), Family::V4)?)?
        || object.is_instance(network_class(object.py(), Family::V6)?)?;
    let text = is_text.then(|| object.str()).transpose()?;
    Ok(text.map(|text| text.to_string_lossy().into_owned()))
}

/// A subnet as an `ipaddress` object.
pub(crate) fn network(py: Python<'_>, subnet: macvfast_ipam::Subnet) -> PyResult<Bound<'_, PyAny>> {
    network_class(py, subnet.family())?.call1((subnet.to_string(),))
}

/// How an object is shown in an error: text as it is, anything else as Python would write it.
pub(crate) fn shown(object: &Bound<'_, PyAny>) -> String {
    let text = match object.cast::<PyString>() {
        Ok(text) => Ok(text.clone()),
        Err(_) => object.repr(),
    };
    text.map_or_else(
        |_| "?".to_owned(),
        |text| text.to_string_lossy().into_owned(),
    )
}
