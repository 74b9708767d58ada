//! What a pool is made from, and what is stored of it.

use crate::bitmap::StoredPage;
use crate::page::PAGE_BYTES;
use crate::prefix::{Address, AddressRange, Subnet};
use thiserror::Error as Described;

/// Which free address automatic allocation gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The lowest one.
    Lowest,
    /// The first one after the last given, beginning again at the end.
    Next,
}

/// What the subnet itself needs an address for.
#[derive(Debug, Clone, PartialEq, Eq, Described)]
pub enum Role {
    /// The first address of an IPv4 subnet.
    #[error("network address")]
    NetworkAddress,
    /// The last address of an IPv4 subnet.
    #[error("broadcast address")]
    BroadcastAddress,
    /// The first address of an IPv6 subnet (RFC 4291 section 2.6.1).
    #[error("subnet-router anycast address")]
    SubnetRouterAnycast,
    /// The gateway.
    #[error("gateway")]
    Gateway,
    /// An aux address, by its name.
    #[error("aux address `{0}`")]
    Aux(String),
}

/// What a pool is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The subnet.
    pub subnet: Subnet,
    /// Where automatic allocation goes: the union of these, nowhere where there are none; None: the whole subnet.
    pub ranges: Option<Vec<AddressRange>>,
    /// The gateway, anywhere in the subnet.
    pub gateway: Option<Address>,
    /// Names and addresses, anywhere in the subnet, that are never given.
    pub aux: Vec<(String, Address)>,
    /// Which free address automatic allocation gives.
    pub order: Order,
}

impl Rules {
    /// A subnet alone: every address that it does not need itself, the lowest first.
    #[must_use]
    pub fn new(subnet: Subnet) -> Self {
        Self {
            subnet,
            ranges: None,
            gateway: None,
            aux: Vec::new(),
            order: Order::Lowest,
        }
    }
}

/// What is stored of a subnet's addresses, the pages aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Addresses in use.
    pub used: u128,
    /// Summary pages, by number: bit b of page k is set where page 4096 k + b of the pool has no free address.
    pub summary: Vec<(u128, [u8; PAGE_BYTES])>,
}

/// What differs from what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Addresses in use.
    pub used: u128,
    /// Changed pages, by number.
    pub pages: Vec<StoredPage>,
    /// Changed summary pages, by number.
    pub summary: Vec<StoredPage>,
}
