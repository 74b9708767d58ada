//! `Netlink` of `macvfast._core`, and what is sent by several of them.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use macvfast_netlink::{self as netlink, LinkKey, Socket};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PySet};

use crate::batch::{ip_address, Batch};
use crate::error::from_netlink;
use crate::link::Link;
use crate::lock;
use crate::netns::Namespace;
use crate::refusal::{by_position, Refusal};

fn packed<'py>(py: Python<'py>, address: &IpAddr) -> Bound<'py, PyBytes> {
    match address {
        IpAddr::V4(ip) => PyBytes::new(py, &ip.octets()),
        IpAddr::V6(ip) => PyBytes::new(py, &ip.octets()),
    }
}

/// What a link is looked up by.
#[derive(FromPyObject)]
pub enum Key {
    Index(i64),
    Name(String),
}

/// An rtnetlink socket; one exchange at a time.
#[pyclass(frozen, module = "macvfast._core")]
pub struct Netlink {
    socket: Mutex<Option<Socket>>,
    #[pyo3(get)]
    cookie: u64,
}

impl From<Socket> for Netlink {
    fn from(socket: Socket) -> Self {
        Self {
            cookie: socket.cookie(),
            socket: Mutex::new(Some(socket)),
        }
    }
}

impl Netlink {
    /// Use the socket, with the GIL free: also while another thread uses it, and this one waits.
    fn exchange<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Socket) -> Result<T, netlink::Error> + Send,
    ) -> PyResult<T> {
        opened(py.detach(|| lock(&self.socket).as_mut().map(work).transpose()))
    }
}

/// What came of the use of a socket; an exception where it is closed (None).
fn opened<T>(result: Result<Option<T>, netlink::Error>) -> PyResult<T> {
    result.map_err(from_netlink)?.ok_or_else(closed)
}

type Sent = Result<Option<netlink::Refusals>, netlink::Error>;

fn send_locked(socket: &mut Option<Socket>, batch: &netlink::Batch) -> Sent {
    socket.as_mut().map(|socket| socket.send(batch)).transpose()
}

fn send_one(socket: &Mutex<Option<Socket>>, batch: &netlink::Batch) -> Sent {
    send_locked(&mut lock(socket), batch)
}

fn refusals_of_each<'py>(py: Python<'py>, results: Vec<Sent>) -> PyResult<Bound<'py, PyList>> {
    let outcomes = PyList::empty(py);
    for result in results {
        match result {
            Ok(Some(refusals)) => outcomes.append(by_position(py, refusals)?)?,
            Ok(None) => return Err(closed()),
            Err(error) => {
                let positions = PyDict::new(py);
                positions.set_item(0, Bound::new(py, Refusal::from(error))?)?;
                outcomes.append(positions)?;
            }
        }
    }
    Ok(outcomes)
}

/// What is to be sent, held so that it stays what it is while the GIL is free.
fn held<'a>(
    sends: &'a [(PyRef<'_, Netlink>, PyRef<'_, Batch>)],
) -> Vec<(&'a Mutex<Option<Socket>>, Arc<netlink::Batch>)> {
    sends
        .iter()
        .map(|(socket, batch)| (&socket.socket, batch.snapshot()))
        .collect()
}

#[pyfunction]
#[pyo3(signature = (sends, threads=1))]
pub fn send_each<'py>(
    py: Python<'py>,
    sends: Vec<(PyRef<'py, Netlink>, PyRef<'py, Batch>)>,
    threads: usize,
) -> PyResult<Bound<'py, PyList>> {
    let sends = held(&sends);
    let send = |index: usize| send_one(sends[index].0, &sends[index].1);
    let results = py.detach(|| {
        if threads == 1 {
            (0..sends.len()).map(send).collect()
        } else {
            netlink::spread(sends.len(), threads, || (), |(), index| send(index))
        }
    });
    refusals_of_each(py, results)
}

#[pyfunction]
pub fn links_at<'py>(
    py: Python<'py>,
    wanted: Vec<(PyRef<'py, Netlink>, i64)>,
) -> PyResult<Bound<'py, PyList>> {
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(socket, ifindex)| (&socket.socket, u32::try_from(*ifindex).unwrap_or(0)))
        .collect();
    let look = |(socket, ifindex): &(&Mutex<Option<Socket>>, u32)| {
        let mut socket = lock(socket);
        let found = socket.as_mut().map(|it| it.link(LinkKey::Index(*ifindex)));
        found.transpose()
    };
    let results: Vec<_> = py.detach(|| wanted.iter().map(look).collect());
    let links = PyList::empty(py);
    for result in results {
        links.append(opened(result)?.map(Link))?;
    }
    Ok(links)
}

#[pyfunction]
#[allow(clippy::type_complexity)] // The tuple of the stub.
pub fn send_then<'py>(
    py: Python<'py>,
    first: (PyRef<'py, Netlink>, PyRef<'py, Batch>),
    sends: Vec<(PyRef<'py, Netlink>, PyRef<'py, Batch>)>,
) -> PyResult<(Bound<'py, PyDict>, Option<Bound<'py, PyList>>)> {
    let (socket, batch) = (&first.0.socket, first.1.snapshot());
    let sends = held(&sends);
    if sends.iter().any(|(other, _)| std::ptr::eq(*other, socket)) {
        return Err(PyValueError::new_err(
            "the first socket is among the others",
        ));
    }
    let (result, then) = py.detach(|| {
        // Held to the end: two that send at once would only wait for each other in the kernel.
        let mut socket = lock(socket);
        let result = send_locked(&mut socket, &batch);
        let done = matches!(&result, Ok(Some(refusals)) if refusals.is_empty());
        let then = done.then(|| {
            let sent = sends.iter().map(|(socket, batch)| send_one(socket, batch));
            sent.collect()
        });
        (result, then)
    });
    let refusals = by_position(py, opened(result)?)?;
    let then = then.map(|results| refusals_of_each(py, results));
    Ok((refusals, then.transpose()?))
}

fn closed() -> PyErr {
    PyValueError::new_err("the netlink socket is closed")
}

#[pymethods]
impl Netlink {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        py.detach(Socket::open)
            .map(Self::from)
            .map_err(from_netlink)
    }

    fn send<'py>(&self, py: Python<'py>, batch: &Batch) -> PyResult<Bound<'py, PyDict>> {
        let batch = batch.snapshot();
        let refusals = self.exchange(py, move |socket| socket.send(&batch))?;
        by_position(py, refusals)
    }

    fn link(&self, py: Python<'_>, key: Key) -> PyResult<Option<Link>> {
        let found = self.exchange(py, |socket| match key {
            // No link has an index that is none.
            Key::Index(ifindex) => socket.link(LinkKey::Index(u32::try_from(ifindex).unwrap_or(0))),
            Key::Name(name) => socket.link(LinkKey::Name(&name)),
        })?;
        Ok(found.map(Link))
    }

    #[pyo3(signature = (nsid=None))]
    fn links(&self, py: Python<'_>, nsid: Option<i32>) -> PyResult<Vec<Link>> {
        let links = self.exchange(py, |socket| socket.links(nsid))?;
        Ok(links.into_iter().map(Link).collect())
    }

    fn nsids(&self, py: Python<'_>) -> PyResult<Vec<i32>> {
        self.exchange(py, Socket::nsids)
    }

    fn nsid_of(&self, py: Python<'_>, netns: &Namespace) -> PyResult<Option<i32>> {
        let fd = netns.descriptor()?;
        self.exchange(py, move |socket| socket.nsid_of(&fd))
    }

    fn addresses<'py>(
        &self,
        py: Python<'py>,
        ifindex: i64,
    ) -> PyResult<Vec<(Bound<'py, PyBytes>, u8)>> {
        let ifindex = u32::try_from(ifindex).unwrap_or(0);
        let addresses = self.exchange(py, |socket| socket.addresses(ifindex))?;
        Ok(addresses
            .iter()
            .map(|(address, prefix_length)| (packed(py, address), *prefix_length))
            .collect())
    }

    fn is_tentative(&self, py: Python<'_>, ifindex: u32, address: &[u8]) -> PyResult<bool> {
        let address = ip_address(address)?;
        self.exchange(py, |socket| socket.is_tentative(ifindex, address))
    }

    fn all_addresses<'py>(&self, py: Python<'py>) -> PyResult<Vec<(u32, Bound<'py, PyBytes>)>> {
        let addresses = self.exchange(py, Socket::all_addresses)?;
        Ok(addresses
            .iter()
            .map(|(ifindex, address)| (*ifindex, packed(py, address)))
            .collect())
    }

    #[pyo3(signature = (*, default_only))]
    #[allow(clippy::type_complexity)] // The tuple of the stub.
    fn routes<'py>(
        &self,
        py: Python<'py>,
        default_only: bool,
    ) -> PyResult<
        Vec<(
            Bound<'py, PyBytes>,
            u8,
            u32,
            Option<u32>,
            Option<Bound<'py, PyBytes>>,
            bool,
            Option<u32>,
            Option<u32>,
        )>,
    > {
        let routes = self.exchange(py, |socket| socket.routes(default_only))?;
        Ok(routes
            .iter()
            .map(|route| {
                (
                    packed(py, &route.destination),
                    route.prefix_length,
                    route.metric,
                    route.ifindex,
                    route.gateway.as_ref().map(|gateway| packed(py, gateway)),
                    route.advertised,
                    route.mtu,
                    route.advmss,
                )
            })
            .collect())
    }

    fn filter_macs<'py>(&self, py: Python<'py>, ifindex: i64) -> PyResult<Bound<'py, PySet>> {
        let ifindex = u32::try_from(ifindex).unwrap_or(0);
        let macs = self.exchange(py, |socket| socket.filter_macs(ifindex))?;
        PySet::new(py, macs.iter().map(|mac| PyBytes::new(py, mac)))
    }

    pub fn close(&self, py: Python<'_>) {
        py.detach(|| lock(&self.socket).take());
    }
}
