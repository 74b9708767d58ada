//! `Batch` of `macvfast._core`.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use macvfast_netlink::{self as netlink, LinkKind, NewLink, NewRoute, RequestError};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::error::from_request;
use crate::lock;
use crate::netns::Namespace;

/// Requests to be sent together.
///
/// Shared and copied only if something is added while it is being sent: what is sent is what was there.
#[pyclass(frozen, module = "macvfast._core")]
pub struct Batch(Mutex<Arc<netlink::Batch>>);

impl Batch {
    /// What is in it now, unchanged by what is added later.
    pub fn snapshot(&self) -> Arc<netlink::Batch> {
        Arc::clone(&lock(&self.0))
    }

    fn add(
        &self,
        add: impl FnOnce(&mut netlink::Batch) -> Result<usize, RequestError>,
    ) -> PyResult<usize> {
        add(Arc::make_mut(&mut lock(&self.0))).map_err(from_request)
    }

    fn add_link(&self, new: &NewLink<'_>) -> PyResult<usize> {
        self.add(|batch| batch.add_link(new))
    }
}

/// The descriptor of a namespace that a link is to be born in.
fn held(netns: Option<&Namespace>) -> PyResult<Option<Arc<OwnedFd>>> {
    netns.map(Namespace::descriptor).transpose()
}

#[pymethods]
impl Batch {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(Arc::new(netlink::Batch::new())))
    }

    fn __len__(&self) -> usize {
        lock(&self.0).len()
    }

    #[pyo3(signature = (
        ifname, ifindex, parent, mode, *, mac=None, mtu=None, group=0, netns=None, up=true, attributes=vec![]
    ))]
    #[allow(clippy::too_many_arguments)] // As many as the link has properties; Python names them.
    fn add_macvlan(
        &self,
        ifname: &str,
        ifindex: i64,
        parent: i64,
        mode: &str,
        mac: Option<&[u8]>,
        mtu: Option<u32>,
        group: u32,
        netns: Option<PyRef<'_, Namespace>>,
        up: bool,
        attributes: Vec<(u16, i64)>,
    ) -> PyResult<usize> {
        let attributes = &numbers(&attributes)?[..];
        let parent = index(parent)?;
        let netns = held(netns.as_deref())?;
        let kind = LinkKind::Macvlan {
            parent,
            mode,
            attributes,
        };
        self.add_link(&NewLink {
            mac: mac.map(mac_bytes).transpose()?,
            mtu,
            group,
            netns: netns.as_ref(),
            ..plain(ifname, ifindex, kind, up)?
        })
    }

    #[pyo3(signature = (ifname, ifindex, parent, mode, flag, *, mtu=None, group=0, netns=None, up=true))]
    #[allow(clippy::too_many_arguments)]
    fn add_ipvlan(
        &self,
        ifname: &str,
        ifindex: i64,
        parent: i64,
        mode: &str,
        flag: &str,
        mtu: Option<u32>,
        group: u32,
        netns: Option<PyRef<'_, Namespace>>,
        up: bool,
    ) -> PyResult<usize> {
        let parent = index(parent)?;
        let netns = held(netns.as_deref())?;
        let kind = LinkKind::Ipvlan { parent, mode, flag };
        self.add_link(&NewLink {
            mtu,
            group,
            netns: netns.as_ref(),
            ..plain(ifname, ifindex, kind, up)?
        })
    }

    #[pyo3(signature = (ifname, ifindex, parent, vid, *, up=true))]
    fn add_vlan(
        &self,
        ifname: &str,
        ifindex: i64,
        parent: i64,
        vid: i64,
        up: bool,
    ) -> PyResult<usize> {
        let vid = u16::try_from(vid).map_err(|_| from_request(RequestError::Vid(vid)))?;
        let parent = index(parent)?;
        self.add_link(&plain(ifname, ifindex, LinkKind::Vlan { parent, vid }, up)?)
    }

    #[pyo3(signature = (ifname, ifindex, *, up=true))]
    fn add_dummy(&self, ifname: &str, ifindex: i64, up: bool) -> PyResult<usize> {
        self.add_link(&plain(ifname, ifindex, LinkKind::Dummy, up)?)
    }

    fn change_macvlan(&self, ifindex: i64, attributes: Vec<(u16, i64)>) -> PyResult<usize> {
        let (ifindex, attributes) = (index(ifindex)?, numbers(&attributes)?);
        self.add(|batch| batch.change_macvlan(ifindex, &attributes))
    }

    fn set_up(&self, ifindex: i64) -> PyResult<usize> {
        let ifindex = index(ifindex)?;
        self.add(|batch| batch.set_up(ifindex))
    }

    fn set_mtu(&self, ifindex: i64, mtu: u32) -> PyResult<usize> {
        let ifindex = index(ifindex)?;
        self.add(|batch| batch.set_mtu(ifindex, mtu))
    }

    fn set_group(&self, ifindex: i64, group: u32) -> PyResult<usize> {
        let ifindex = index(ifindex)?;
        self.add(|batch| batch.set_group(ifindex, group))
    }

    #[pyo3(signature = (ifindex, address, prefix_length, *, usual=false))]
    fn add_address(
        &self,
        ifindex: i64,
        address: &[u8],
        prefix_length: i64,
        usual: bool,
    ) -> PyResult<usize> {
        let (ifindex, address) = (index(ifindex)?, ip_address(address)?);
        let prefix_length = prefix(&address, prefix_length)?;
        self.add(|batch| batch.add_address(ifindex, address, prefix_length, usual))
    }

    #[pyo3(signature = (
        ifindex, destination, prefix_length, gateway, *, metric=None, mtu=None, advmss=None, table=None, scope=None,
        replaces=false, beside=false
    ))]
    #[allow(clippy::too_many_arguments)]
    fn add_route(
        &self,
        ifindex: i64,
        destination: &[u8],
        prefix_length: i64,
        gateway: Option<&[u8]>,
        metric: Option<u32>,
        mtu: Option<u32>,
        advmss: Option<u32>,
        table: Option<u32>,
        scope: Option<u8>,
        replaces: bool,
        beside: bool,
    ) -> PyResult<usize> {
        let route = NewRoute {
            mtu,
            advmss,
            table,
            scope,
            replaces,
            beside,
            ..plain_route(ifindex, destination, prefix_length, gateway, metric)?
        };
        self.add(|batch| batch.add_route(&route))
    }

    #[pyo3(signature = (ifindex, destination, prefix_length, gateway, *, metric=None))]
    fn delete_route(
        &self,
        ifindex: i64,
        destination: &[u8],
        prefix_length: i64,
        gateway: Option<&[u8]>,
        metric: Option<u32>,
    ) -> PyResult<usize> {
        let route = plain_route(ifindex, destination, prefix_length, gateway, metric)?;
        self.add(|batch| batch.delete_route(&route))
    }

    #[pyo3(signature = (ifindex, *, nsid=None))]
    fn delete_link(&self, ifindex: i64, nsid: Option<i32>) -> PyResult<usize> {
        let ifindex = index(ifindex)?;
        self.add(|batch| batch.delete_link(ifindex, nsid))
    }

    #[pyo3(signature = (group, *, nsid=None))]
    fn delete_group(&self, group: u32, nsid: Option<i32>) -> PyResult<usize> {
        self.add(|batch| batch.delete_group(group, nsid))
    }

    fn give_id(&self, netns: &Namespace, nsid: i32) -> PyResult<usize> {
        let netns = netns.descriptor()?;
        self.add(|batch| batch.give_id(&netns, nsid))
    }

    fn look_for_id(&self, nsid: i32) -> PyResult<usize> {
        self.add(|batch| batch.look_for_id(nsid))
    }
}

/// Numbers as the 32 bits that stand for them, signed or not.
fn numbers(attributes: &[(u16, i64)]) -> PyResult<Vec<(u16, u32)>> {
    let bits = |value: i64| {
        u32::try_from(value).or_else(|_| i32::try_from(value).map(|signed| signed as u32))
    };
    let found: Result<_, _> = attributes
        .iter()
        .map(|&(number, value)| Ok((number, bits(value)?)))
        .collect();
    found.map_err(|_: std::num::TryFromIntError| PyValueError::new_err("a value has 32 bits"))
}

/// A link with nothing but what every link has.
fn plain<'a>(ifname: &'a str, ifindex: i64, kind: LinkKind<'a>, up: bool) -> PyResult<NewLink<'a>> {
    Ok(NewLink {
        ifname,
        ifindex: index(ifindex)?,
        mac: None,
        mtu: None,
        group: 0,
        netns: None,
        up,
        kind,
    })
}

/// A route with nothing but what the kernel tells it apart by.
fn plain_route(
    ifindex: i64,
    destination: &[u8],
    prefix_length: i64,
    gateway: Option<&[u8]>,
    metric: Option<u32>,
) -> PyResult<NewRoute> {
    let destination = ip_address(destination)?;
    Ok(NewRoute {
        ifindex: index(ifindex)?,
        destination,
        prefix_length: prefix(&destination, prefix_length)?,
        gateway: gateway.map(ip_address).transpose()?,
        metric,
        mtu: None,
        advmss: None,
        table: None,
        scope: None,
        replaces: false,
        beside: false,
    })
}

fn index(ifindex: i64) -> PyResult<u32> {
    u32::try_from(ifindex).map_err(|_| from_request(RequestError::Ifindex(ifindex)))
}

fn mac_bytes(mac: &[u8]) -> PyResult<[u8; 6]> {
    mac.try_into()
        .map_err(|_| PyValueError::new_err(format!("a MAC is 6 bytes, not {}", mac.len())))
}

/// An address from its 4 or 16 bytes.
pub(crate) fn ip_address(packed: &[u8]) -> PyResult<IpAddr> {
    let v4 = <[u8; 4]>::try_from(packed).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(packed).map(IpAddr::from))
        .map_err(|_| {
            let length = packed.len();
            PyValueError::new_err(format!("a packed address is 4 or 16 bytes, not {length}"))
        })
}

fn prefix(address: &IpAddr, length: i64) -> PyResult<u8> {
    let bits = if address.is_ipv4() { 32 } else { 128 };
    u8::try_from(length).map_err(|_| from_request(RequestError::PrefixLength { length, bits }))
}
