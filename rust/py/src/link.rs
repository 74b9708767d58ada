//! `Link` of `macvfast._core`.

use macvfast_netlink as netlink;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// One link, as a dump shows it.
#[pyclass(frozen, module = "macvfast._core")]
pub struct Link(pub netlink::Link);

#[pymethods]
impl Link {
    #[getter]
    fn ifindex(&self) -> u32 {
        self.0.ifindex
    }

    #[getter]
    fn ifname(&self) -> &str {
        &self.0.ifname
    }

    #[getter]
    fn altnames(&self) -> Vec<String> {
        self.0.altnames.clone()
    }

    #[getter]
    fn kind(&self) -> Option<&str> {
        self.0.kind.as_deref()
    }

    #[getter]
    fn port_kind(&self) -> Option<&str> {
        self.0.port_kind.as_deref()
    }

    #[getter]
    fn controller(&self) -> Option<u32> {
        self.0.controller
    }

    #[getter]
    fn mac<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.mac)
    }

    #[getter]
    fn mtu(&self) -> u32 {
        self.0.mtu
    }

    #[getter]
    fn up(&self) -> bool {
        self.0.up
    }

    #[getter]
    fn loopback(&self) -> bool {
        self.0.loopback
    }

    #[getter]
    fn group(&self) -> u32 {
        self.0.group
    }

    #[getter]
    fn parent(&self) -> Option<u32> {
        self.0.parent
    }

    #[getter]
    fn parent_netnsid(&self) -> Option<i32> {
        self.0.parent_netnsid
    }

    #[getter]
    fn mode(&self) -> Option<&str> {
        self.0.mode.as_deref()
    }

    #[getter]
    fn vid(&self) -> Option<u16> {
        self.0.vid
    }

    fn __repr__(&self) -> String {
        let kind = self.0.kind.as_deref().unwrap_or("physical");
        format!("<Link {}: {} ({kind})>", self.0.ifindex, self.0.ifname)
    }
}
