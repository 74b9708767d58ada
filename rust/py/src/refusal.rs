//! `Refusal` of `macvfast._core`.

use macvfast_netlink as netlink;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Why one thing of several was not done.
#[pyclass(frozen, get_all, module = "macvfast._core")]
pub struct Refusal {
    errno: i32,
    text: Option<String>,
    unknown: bool,
    operation: Option<String>,
}

impl Refusal {
    fn of(errno: i32, text: Option<String>) -> Self {
        Self {
            errno,
            text,
            unknown: false,
            operation: None,
        }
    }
}

impl From<netlink::Refusal> for Refusal {
    fn from(refusal: netlink::Refusal) -> Self {
        match refusal {
            netlink::Refusal::Refused { errno, text } => Self::of(errno, text),
            netlink::Refusal::Unknown => Self {
                unknown: true,
                ..Self::of(0, None)
            },
        }
    }
}

impl From<netlink::Error> for Refusal {
    fn from(error: netlink::Error) -> Self {
        let (operation, errno, text) = match error {
            netlink::Error::System {
                operation,
                errno,
                text,
            } => (operation.to_string(), errno, text),
            netlink::Error::Unsafe { .. } => (error.to_string(), libc::EPERM, None),
            netlink::Error::Locked { .. } => (error.to_string(), libc::EAGAIN, None),
            netlink::Error::NotANamespace { .. } => (error.to_string(), libc::EINVAL, None),
        };
        Self {
            operation: Some(operation),
            ..Self::of(errno, text)
        }
    }
}

#[pymethods]
impl Refusal {
    fn __repr__(&self) -> String {
        match (self.unknown, &self.text) {
            (true, _) => "<Refusal: unknown>".to_owned(),
            (false, Some(text)) => format!("<Refusal: errno {}, {text}>", self.errno),
            (false, None) => format!("<Refusal: errno {}>", self.errno),
        }
    }
}

/// The refusals of one batch, by the positions of its requests.
pub fn by_position<'py>(
    py: Python<'py>,
    refusals: netlink::Refusals,
) -> PyResult<Bound<'py, PyDict>> {
    let positions = PyDict::new(py);
    for (position, refusal) in refusals {
        positions.set_item(position, Bound::new(py, Refusal::from(refusal))?)?;
    }
    Ok(positions)
}
