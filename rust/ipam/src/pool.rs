//! A pool of one owner: the bits of a subnet, what its owner keeps of them, and where it allocates.

use crate::addresses::Addresses;
use crate::error::{Error, PlaceFault};
use crate::prefix::{Address, Subnet};
use crate::rules::{Role, Rules};
use crate::source::Source;
use crate::space::{role_of_end, Space};
use std::collections::BTreeMap;

/// The addresses of one subnet under management.
///
/// ```
/// use macvfast_ipam::{Address, Pool, Rules, Subnet};
/// let mut rules = Rules::new(Subnet::parse("192.168.32.0/24").unwrap());
/// rules.gateway = Some(Address::parse("192.168.32.1").unwrap());
/// let mut pool = Pool::new(rules).unwrap();
/// assert_eq!(pool.allocate().unwrap().to_string(), "192.168.32.2");
/// assert_eq!(pool.used(), 4); // .0, .1, .2 and .255
/// assert_eq!(pool.available(), 252);
/// ```
#[derive(Debug, Clone)]
pub struct Pool {
    pub(crate) space: Space,
    pub(crate) source: Source,
    pub(crate) gateway: Option<u128>,
    pub(crate) aux: BTreeMap<u128, String>,
}

/// Whatever takes an address refuses one that is not of the subnet: `Error::Outside`, `Error::Address`.
impl Pool {
    /// A pool in which nothing is in use but what the subnet itself needs. Cost: a few kilobytes, whatever its size.
    ///
    /// # Errors
    /// `Error::Range`, `Error::Gateway`, `Error::Aux`
    pub fn new(rules: Rules) -> Result<Self, Error> {
        let mut pool = Self {
            space: Space::new(rules.subnet),
            source: Source::new(rules.subnet, rules.ranges.as_deref(), rules.order)?,
            gateway: None,
            aux: BTreeMap::new(),
        };
        if let Some(address) = rules.gateway {
            let ordinal = pool
                .place(address)
                .map_err(|fault| Error::Gateway { address, fault })?;
            pool.gateway = Some(ordinal);
        }
        for (name, address) in rules.aux {
            let fault = match pool.place(address) {
                _ if name.is_empty() => PlaceFault::NameEmpty,
                _ if pool.aux.values().any(|other| *other == name) => PlaceFault::NameTwice,
                Ok(ordinal) => {
                    pool.aux.insert(ordinal, name);
                    continue;
                }
                Err(fault) => fault,
            };
            return Err(Error::Aux {
                name,
                address,
                fault,
            });
        }
        for address in pool.kept() {
            pool.space.reserve(address)?;
        }
        Ok(pool)
    }

    /// The ordinal of an address that is to be the gateway or an aux address.
    fn place(&self, address: Address) -> Result<u128, PlaceFault> {
        let subnet = self.subnet();
        let expected = subnet.family();
        if address.family() != expected {
            return Err(PlaceFault::Family { expected });
        }
        let ordinal = subnet
            .ordinal(address)
            .ok_or(PlaceFault::Outside { subnet })?;
        self.role_of(ordinal)
            .map_or(Ok(ordinal), |role| Err(PlaceFault::Holds(role)))
    }

    /// The gateway and the aux addresses.
    pub(crate) fn kept(&self) -> Vec<Address> {
        let ordinals = self.gateway.into_iter().chain(self.aux.keys().copied());
        ordinals
            .map(|ordinal| self.subnet().address(ordinal))
            .collect()
    }

    /// Its subnet.
    #[must_use]
    pub fn subnet(&self) -> Subnet {
        self.space.subnet
    }

    /// Addresses in the subnet, the reserved ones included: 256 in a /24.
    #[must_use]
    pub fn size(&self) -> u128 {
        self.subnet().size()
    }

    /// Addresses in use, the reserved ones included.
    #[must_use]
    pub fn used(&self) -> u128 {
        self.space.used()
    }

    /// Addresses that automatic allocation can still give. Cost: a look at each page in use.
    #[must_use]
    pub fn available(&self) -> u128 {
        self.source.available(&self.space)
    }

    /// Take one address of the ranges, in the pool's order, or `Error::Exhausted`. Flat: it looks at one word per level
    /// at most.
    #[inline(always)]
    pub fn allocate(&mut self) -> Result<Address, Error> {
        self.source.take(&mut self.space)
    }

    /// Take `count` addresses of the ranges, in the pool's order, or none at all: `Error::Exhausted`, `Error::TooMany`.
    /// Whole words at once.
    pub fn allocate_many(&mut self, count: u64) -> Result<Addresses, Error> {
        self.source.take_many(&mut self.space, count)
    }

    /// Whether `allocate_many` would succeed, and why not.
    pub fn check_many(&self, count: u64) -> Result<(), Error> {
        self.source.check_many(&self.space, count)
    }

    /// Take the given address, inside or outside the ranges; `Error::Taken`, `Error::Avoided`.
    pub fn reserve(&mut self, address: Address) -> Result<(), Error> {
        let ordinal = self.space.ordinal(address)?;
        if self.space.contains(address)? {
            return Err(Error::Taken {
                address,
                role: self.role_of(ordinal),
            });
        }
        if self.source.avoids(ordinal) {
            return Err(Error::Avoided { address });
        }
        self.space.reserve(address)
    }

    /// Free an address. False if it was free already; `Error::Reserved` where the subnet needs it.
    pub fn release(&mut self, address: Address) -> Result<bool, Error> {
        let ordinal = self.space.ordinal(address)?;
        match self.role_of(ordinal) {
            Some(role) => Err(Error::Reserved { address, role }),
            None => self.source.give_back(&mut self.space, ordinal),
        }
    }

    /// Whether an address is in use.
    pub fn contains(&self, address: Address) -> Result<bool, Error> {
        self.space.contains(address)
    }

    /// From now on, give none of these addresses, neither automatically nor where it is asked for; what was avoided
    /// until now may be given again. They stay free and are no part of a snapshot; one that is in use stays so. What is
    /// outside of the subnet does not matter.
    pub fn avoid(&mut self, addresses: &[Address]) {
        self.source.avoid(addresses);
    }

    /// What the subnet itself needs an address for; None for any other address.
    pub fn role(&self, address: Address) -> Result<Option<Role>, Error> {
        Ok(self.role_of(self.space.ordinal(address)?))
    }

    fn role_of(&self, ordinal: u128) -> Option<Role> {
        if self.gateway == Some(ordinal) {
            return Some(Role::Gateway);
        }
        let aux = self.aux.get(&ordinal).map(|name| Role::Aux(name.clone()));
        aux.or_else(|| role_of_end(self.space.subnet, ordinal))
    }
}
