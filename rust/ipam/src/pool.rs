//! A pool at work: allocate, reserve, release, by its rules.

use crate::addresses::Addresses;
use crate::bitmap::{full_pages, Bitmap, Missing, SUMMARY_BITS};
use crate::error::{AddressFault, Damage, Error, PlaceFault};
use crate::page::{PAGE_BITS, PAGE_BYTES};
use crate::prefix::{Address, AddressRange, Family, Subnet};
use crate::ranges::Ranges;
use crate::rules::{Changes, Order, Role, Rules, Stored};
use std::collections::{BTreeMap, BTreeSet};

/// The most addresses that are taken at once: as many as the largest IPv4 pool has.
pub const MOST_AT_ONCE: u64 = 1 << 24;

/// A lane in which nothing lies.
pub(crate) const NO_LANE: (u128, u128) = (u128::MAX, 0);

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
    pub(crate) subnet: Subnet,
    pub(crate) order: Order,
    pub(crate) ranges: Ranges,
    pub(crate) gateway: Option<u128>,
    pub(crate) aux: BTreeMap<u128, String>,
    pub(crate) bits: Bitmap,
    size: u128,
    /// The ranges without what is avoided: where automatic allocation looks.
    pub(crate) lanes: Ranges,
    /// The lane of the last allocation, so that the next one need not search for it.
    pub(crate) lane: (u128, u128),
    /// What is never given, though it may be free; and what of that is free, in the ranges.
    pub(crate) avoided: BTreeSet<u128>,
    pub(crate) idle: BTreeSet<u128>,
    /// Addresses in use within the ranges, and outside.
    pub(crate) inside: u128,
    pub(crate) outside: u128,
    pub(crate) cursor: u128,
}

impl Pool {
    /// A pool in which nothing is in use but what the subnet itself needs. Cost: a few kilobytes, whatever its size.
    ///
    /// # Errors
    /// `Error::Range`, `Error::Gateway`, `Error::Aux`
    pub fn new(rules: Rules) -> Result<Self, Error> {
        let bits = Bitmap::new(rules.subnet.host_bits());
        let mut pool = Self::with_bits(rules, bits)?;
        for ordinal in pool.reserved() {
            pool.take(ordinal)?;
        }
        Ok(pool)
    }

    /// A pool whose pages lie in a store. Operations refuse with `Error::NeedsPage` where they need one that was not
    /// provided yet; they have changed nothing then, and are asked again after [`Pool::provide`].
    ///
    /// # Errors
    /// Those of `new`, and `Error::Damaged` where what was stored cannot be this pool.
    pub fn stored(rules: Rules, stored: Stored) -> Result<Self, Error> {
        let host_bits = rules.subnet.host_bits();
        let page_count = 1 << host_bits.saturating_sub(PAGE_BITS);
        let mut full = Vec::new();
        for (number, bytes) in &stored.summary {
            if *number > (page_count - 1) >> SUMMARY_BITS {
                return Err(Damage::Summary { page: *number }.into());
            }
            full.extend(full_pages(*number, bytes));
            if full.last().is_some_and(|last| *last >= page_count) {
                return Err(Damage::Summary { page: *number }.into());
            }
        }
        let mut pool = Self::with_bits(rules, Bitmap::backed(host_bits, full.into_iter()))?;
        pool.inside = stored.used_in_ranges;
        pool.outside = stored
            .used
            .checked_sub(stored.used_in_ranges)
            .ok_or(Damage::Counts)?;
        pool.cursor = stored.cursor;
        let fits = pool.inside <= pool.ranges.size()
            && pool.outside <= pool.size() - pool.ranges.size()
            && pool.used() >= (pool.reserved().len() as u128).max(pool.bits.known_used());
        if !fits {
            return Err(Damage::Counts.into());
        }
        if pool.cursor > pool.size() {
            return Err(Damage::Field("cursor").into());
        }
        Ok(pool)
    }

    /// The rules, checked, over bits in which nothing is set yet.
    pub(crate) fn with_bits(rules: Rules, bits: Bitmap) -> Result<Self, Error> {
        let subnet = rules.subnet;
        let whole = vec![(0, subnet.size() - 1)];
        let ranges = Ranges::union(
            rules
                .ranges
                .map_or(Ok(whole), |ranges| ordinals_of(&ranges, subnet))?,
        );
        let cursor = ranges
            .as_slice()
            .first()
            .map_or(subnet.size(), |range| range.0);
        let (order, gateway, aux) = (rules.order, None, BTreeMap::new());
        let mut pool = Self {
            subnet,
            order,
            lanes: ranges.clone(),
            ranges,
            gateway,
            aux,
            bits,
            size: subnet.size(),
            lane: NO_LANE,
            avoided: BTreeSet::new(),
            idle: BTreeSet::new(),
            inside: 0,
            outside: 0,
            cursor,
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
        Ok(pool)
    }

    /// The ordinal of an address that is to be the gateway or an aux address.
    fn place(&self, address: Address) -> Result<u128, PlaceFault> {
        let expected = self.subnet.family();
        let address = address
            .of(expected)
            .map_err(|_| PlaceFault::Family { expected })?;
        let ordinal = self.subnet.ordinal(address).ok_or(PlaceFault::Outside {
            subnet: self.subnet,
        })?;
        self.role_of(ordinal)
            .map_or(Ok(ordinal), |role| Err(PlaceFault::Holds(role)))
    }

    /// Its subnet.
    #[must_use]
    pub fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// Addresses in the subnet, the reserved ones included: 256 in a /24.
    #[must_use]
    pub fn size(&self) -> u128 {
        self.size
    }

    /// Addresses in use, the reserved ones included.
    #[must_use]
    pub fn used(&self) -> u128 {
        self.inside + self.outside
    }

    /// Addresses that automatic allocation can still give.
    #[must_use]
    #[inline]
    pub fn available(&self) -> u128 {
        self.ranges.size() - self.inside - self.idle.len() as u128
    }

    /// Where allocation goes on. `Lowest`: an ordinal below which nothing of the ranges is free. `Next`: the one after
    /// the last given.
    #[must_use]
    pub fn cursor(&self) -> u128 {
        match (self.order, self.idle.first()) {
            // It has gone past what is only avoided.
            (Order::Lowest, Some(idle)) => self.cursor.min(*idle),
            _ => self.cursor,
        }
    }

    /// Take one address of the ranges, in the pool's order. Flat: it looks at one word per level at most.
    ///
    /// # Errors
    /// `Error::Exhausted`, `Error::NeedsPage`
    // Always: passed through memory, a 128-bit result costs as much again as finding it.
    #[inline(always)]
    pub fn allocate(&mut self) -> Result<Address, Error> {
        if self.inside < self.ranges.size() && self.cursor >= self.lane.0 {
            if let Some(ordinal) = self.bits.take_hot(self.cursor, self.lane.1) {
                // Neither can wrap: both are at most the size.
                self.inside = self.inside.wrapping_add(1);
                self.cursor = ordinal.wrapping_add(1);
                return Ok(self.subnet.address(ordinal));
            }
        }
        self.allocate_by_search()
    }

    #[inline(never)]
    fn allocate_by_search(&mut self) -> Result<Address, Error> {
        if self.available() == 0 {
            return Err(Error::Exhausted {
                subnet: self.subnet,
            });
        }
        for (from, until) in self.sweeps() {
            for (first, last) in self.lanes.between(from, until) {
                if let Some(ordinal) = self.bits.take_first(first, last)? {
                    self.inside += 1;
                    self.cursor = ordinal + 1;
                    self.lane = self.lanes.around(ordinal);
                    return Ok(self.subnet.address(ordinal));
                }
            }
        }
        Err(Damage::Counts.into())
    }

    /// Take `count` addresses of the ranges, in the pool's order, or none at all. Whole words at once.
    ///
    /// # Errors
    /// `Error::Exhausted`, `Error::TooMany`, `Error::NeedsPage`
    pub fn allocate_many(&mut self, count: u64) -> Result<Addresses, Error> {
        self.check_many(count)?;
        let mut pieces = Vec::new();
        let mut wanted = count;
        for (from, until) in self.sweeps() {
            for place in self.lanes.between(from, until) {
                if wanted > 0 {
                    wanted -= self.bits.take_many(place, wanted, &mut pieces)?;
                }
            }
        }
        self.inside += u128::from(count - wanted);
        if let Some((first, mask)) = pieces.last() {
            self.cursor = first + u128::from(64 - mask.leading_zeros());
        }
        Ok(Addresses::new(self.subnet, pieces))
    }

    /// Whether `allocate_many` would succeed; where pages lie in a store, that all it needs are loaded.
    ///
    /// # Errors
    /// Those of `allocate_many`.
    pub fn check_many(&self, count: u64) -> Result<(), Error> {
        if self.available() < count.into() {
            return Err(Error::Exhausted {
                subnet: self.subnet,
            });
        }
        if count > MOST_AT_ONCE {
            return Err(Error::TooMany {
                count,
                most: MOST_AT_ONCE,
            });
        }
        if !self.bits.is_backed() {
            return Ok(());
        }
        let mut free = 0;
        for (from, until) in self.sweeps() {
            for place in self.lanes.between(from, until) {
                if free < count {
                    free += self.bits.count_free(place, count - free)?;
                }
            }
        }
        if free < count {
            return Err(Damage::Counts.into());
        }
        Ok(())
    }

    /// From where to before where allocation looks, one after the other.
    #[inline]
    fn sweeps(&self) -> [(u128, u128); 2] {
        let again = match self.order {
            Order::Lowest => 0,
            Order::Next => self.cursor,
        };
        [(self.cursor, self.size), (0, again)]
    }

    /// Take the given address, inside or outside the ranges.
    ///
    /// # Errors
    /// `Error::Taken`, `Error::Avoided`, `Error::Outside`, `Error::Address`, `Error::NeedsPage`
    pub fn reserve(&mut self, address: Address) -> Result<(), Error> {
        let ordinal = self.ordinal(address)?;
        if self.bits.test(ordinal)? {
            return Err(Error::Taken {
                address,
                role: self.role_of(ordinal),
            });
        }
        if self.avoided.contains(&ordinal) {
            return Err(Error::Avoided { address });
        }
        self.take(ordinal)
    }

    /// Set a bit that is clear, and count it.
    fn take(&mut self, ordinal: u128) -> Result<(), Error> {
        let (count, most) = if self.ranges.contains(ordinal) {
            (&mut self.inside, self.ranges.size())
        } else {
            (&mut self.outside, self.subnet.size() - self.ranges.size())
        };
        if *count == most {
            return Err(Damage::Counts.into());
        }
        self.bits.set(ordinal)?;
        *count += 1;
        Ok(())
    }

    /// Free an address. False if it was free already.
    ///
    /// # Errors
    /// `Error::Reserved`, `Error::Outside`, `Error::Address`, `Error::NeedsPage`
    pub fn release(&mut self, address: Address) -> Result<bool, Error> {
        let ordinal = self.ordinal(address)?;
        if let Some(role) = self.role_of(ordinal) {
            return Err(Error::Reserved { address, role });
        }
        let in_ranges = self.ranges.contains(ordinal);
        let count = if in_ranges {
            &mut self.inside
        } else {
            &mut self.outside
        };
        if *count == 0 && self.bits.test(ordinal)? {
            return Err(Damage::Counts.into());
        }
        if !self.bits.clear(ordinal)? {
            return Ok(false);
        }
        *count -= 1;
        if in_ranges && self.avoided.contains(&ordinal) {
            self.idle.insert(ordinal);
        } else if in_ranges && self.order == Order::Lowest {
            self.cursor = self.cursor.min(ordinal);
        }
        Ok(true)
    }

    /// Whether an address is in use.
    ///
    /// # Errors
    /// `Error::Outside`, `Error::Address`, `Error::NeedsPage`
    pub fn contains(&self, address: Address) -> Result<bool, Error> {
        Ok(self.bits.test(self.ordinal(address)?)?)
    }

    /// What the subnet itself needs an address for; None for any other address.
    ///
    /// # Errors
    /// `Error::Outside`, `Error::Address`
    pub fn role(&self, address: Address) -> Result<Option<Role>, Error> {
        Ok(self.role_of(self.ordinal(address)?))
    }

    /// Hand over a page of the store; None where the store has none of that number. One that is known stays as it is.
    ///
    /// # Errors
    /// `Error::Damaged`: it is not 512 bytes long, or contradicts the summary or the rules.
    pub fn provide(&mut self, page: u128, bytes: Option<&[u8]>) -> Result<(), Error> {
        let length = bytes.map_or(PAGE_BYTES, <[u8]>::len);
        let bytes: Option<&[u8; PAGE_BYTES]> = bytes.and_then(|bytes| bytes.try_into().ok());
        if length != PAGE_BYTES {
            return Err(Damage::PageLength { page, length }.into());
        }
        let is_set = |bit: usize| bytes.is_some_and(|bytes| bytes[bit / 8] >> (bit % 8) & 1 == 1);
        let kept = self.reserved().iter().all(|ordinal| {
            ordinal >> PAGE_BITS != page
                || self.bits.is_known(page)
                || is_set(*ordinal as usize & (PAGE_BYTES * 8 - 1))
        });
        if page >= self.bits.page_count() || !kept || !self.bits.provide(page, bytes) {
            return Err(Damage::Page { page }.into());
        }
        Ok(())
    }

    /// What is to be stored since the pool was made, loaded, or last asked. A pool made anew or from a snapshot has
    /// everything to be stored; where storing fails, load the pool again.
    pub fn changes(&mut self) -> Changes {
        let (pages, summary) = self.bits.changes();
        Changes {
            used: self.used(),
            used_in_ranges: self.inside,
            cursor: self.cursor(),
            pages,
            summary,
        }
    }

    fn ordinal(&self, address: Address) -> Result<u128, Error> {
        match self.subnet.ordinal(address) {
            Some(ordinal) => Ok(ordinal),
            None if address.family() == self.subnet.family() => Err(Error::Outside {
                address,
                subnet: self.subnet,
            }),
            None => Err(Error::Address {
                address,
                fault: AddressFault::Family {
                    expected: self.subnet.family(),
                },
            }),
        }
    }

    fn role_of(&self, ordinal: u128) -> Option<Role> {
        // RFC 3021 and RFC 6164: a pair of addresses, or a single one, has nothing to spare.
        let has_ends = self.subnet.host_bits() > 1;
        match self.subnet.family() {
            Family::V4 if has_ends && ordinal == 0 => Some(Role::NetworkAddress),
            Family::V4 if has_ends && ordinal == self.size() - 1 => Some(Role::BroadcastAddress),
            Family::V6 if has_ends && ordinal == 0 => Some(Role::SubnetRouterAnycast),
            _ if self.gateway == Some(ordinal) => Some(Role::Gateway),
            _ => self.aux.get(&ordinal).map(|name| Role::Aux(name.clone())),
        }
    }

    /// The ordinals that have a role, each once.
    pub(crate) fn reserved(&self) -> Vec<u128> {
        let mut ordinals = vec![0];
        if self.size() > 1 {
            ordinals.push(self.size() - 1);
        }
        ordinals.extend(self.gateway.into_iter().chain(self.aux.keys().copied()));
        ordinals.sort_unstable();
        ordinals.dedup();
        ordinals.retain(|ordinal| self.role_of(*ordinal).is_some());
        ordinals
    }
}

impl From<Missing> for Error {
    fn from(Missing(page): Missing) -> Self {
        Self::NeedsPage { page }
    }
}

fn ordinals_of(ranges: &[AddressRange], subnet: Subnet) -> Result<Vec<(u128, u128)>, Error> {
    let refuse = |range: &AddressRange, fault| Error::Range {
        text: range.to_string(),
        fault,
    };
    ranges
        .iter()
        .map(|range| range.ordinals(subnet).map_err(|fault| refuse(range, fault)))
        .collect()
}
