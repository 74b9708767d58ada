//! `Link` of `macvfast._core`.

use macvfast_netlink as netlink;
use pyo3::prelude::*;
use pyo3::IntoPyObjectExt;

/// One link, as a dump shows it.
#[pyclass(frozen, module = "macvfast._core")]
pub struct Link(pub netlink::Link);

/// Has these fields of the native link as attributes.
macro_rules! attributes {
    ($($field:ident),*) => {
        #[pymethods]
        impl Link {
            $(
                #[getter]
                fn $field<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                    (&self.0.$field).into_bound_py_any(py)
                }
            )*

            fn __repr__(&self) -> String {
                let kind = self.0.kind.as_deref().unwrap_or("physical");
                format!("<Link {}: {} ({kind})>", self.0.ifindex, self.0.ifname)
            }
        }
    };
}

attributes!(
    ifindex,
    ifname,
    altnames,
    kind,
    port_kind,
    controller,
    mac,
    mtu,
    up,
    loopback,
    group,
    parent,
    parent_netnsid,
    mode,
    vid,
    attributes
);
