//! The addresses of one subnet as bits: which are in use, and how many. What networks take of them, and by which
//! rules, is [`Source`](crate::Source)'s matter.

use crate::bitmap::{full_pages, Bitmap, Missing, SUMMARY_BITS};
use crate::error::{AddressFault, Damage, Error};
use crate::page::{PAGE_BITS, PAGE_BYTES};
use crate::prefix::{Address, Family, Subnet};
use crate::rules::{Changes, Role, Stored};

/// The bits of one subnet. Several sources may take from it; each address is given once.
///
/// ```
/// use macvfast_ipam::{Address, Order, Source, Space, Subnet};
/// let subnet = Subnet::parse("192.168.32.0/24").unwrap();
/// let mut space = Space::new(subnet);
/// let mut one = Source::new(subnet, None, Order::Lowest).unwrap();
/// let mut other = one.clone();
/// space.reserve(Address::parse("192.168.32.1").unwrap()).unwrap();
/// assert_eq!(one.allocate(&mut space).unwrap().to_string(), "192.168.32.2");
/// assert_eq!(other.allocate(&mut space).unwrap().to_string(), "192.168.32.3");
/// assert_eq!(space.used(), 5); // .0, .1, .2, .3 and .255
/// ```
#[derive(Debug, Clone)]
pub struct Space {
    pub(crate) subnet: Subnet,
    pub(crate) bits: Bitmap,
    used: u128,
    /// How many addresses were freed: a source that has seen fewer begins its search anew.
    pub(crate) freed: u64,
}

/// Whatever takes an address refuses one that is not of the subnet (`Error::Outside`, `Error::Address`), and asks for the
/// page that it needs (`Error::NeedsPage`).
impl Space {
    /// A subnet in which nothing is in use but its own ends. Cost: a few kilobytes, whatever its size.
    #[must_use]
    pub fn new(subnet: Subnet) -> Self {
        let mut bits = Bitmap::new(subnet.host_bits());
        let used = ends(subnet).filter(|ordinal| bits.set(*ordinal) == Ok(true));
        let used = used.count() as u128;
        Self {
            subnet,
            bits,
            used,
            freed: 0,
        }
    }

    /// A subnet whose pages lie in a store. Operations refuse with `Error::NeedsPage` where they need one that was not
    /// provided yet; they have changed nothing then, and are asked again after [`Space::provide`].
    ///
    /// # Errors
    /// `Error::Damaged` where what was stored cannot be this subnet's.
    pub fn stored(subnet: Subnet, stored: &Stored) -> Result<Self, Error> {
        let page_count = 1 << subnet.host_bits().saturating_sub(PAGE_BITS);
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
        let bits = Bitmap::backed(subnet.host_bits(), full.into_iter());
        let least = bits.known_used().max(ends(subnet).count() as u128);
        if stored.used < least || stored.used > subnet.size() {
            return Err(Damage::Counts.into());
        }
        Ok(Self {
            subnet,
            bits,
            used: stored.used,
            freed: 0,
        })
    }

    /// A subnet of which these pages are in use.
    ///
    /// # Errors
    /// A page cannot be one of the subnet's, or in it an end of the subnet, or an address that is kept, is free.
    pub(crate) fn of_pages(
        subnet: Subnet,
        pages: &[(u128, [u8; PAGE_BYTES])],
        kept: &[Address],
    ) -> Result<Self, Damage> {
        let mut bits = Bitmap::new(subnet.host_bits());
        for &(page, ref bytes) in pages {
            if !bits.add(page, bytes) {
                return Err(Damage::Page { page });
            }
        }
        let kept = kept.iter().filter_map(|one| subnet.ordinal(*one));
        for ordinal in ends(subnet).chain(kept) {
            if bits.test(ordinal) != Ok(true) {
                let page = ordinal >> PAGE_BITS;
                return Err(Damage::Page { page });
            }
        }
        Ok(Self {
            subnet,
            used: bits.known_used(),
            bits,
            freed: 0,
        })
    }

    /// The subnet.
    #[must_use]
    pub fn subnet(&self) -> Subnet {
        self.subnet
    }

    /// Addresses in use, the subnet's ends included.
    #[must_use]
    #[inline]
    pub fn used(&self) -> u128 {
        self.used
    }

    /// Addresses that are not in use.
    #[must_use]
    pub fn free(&self) -> u128 {
        self.subnet.size().saturating_sub(self.used)
    }

    /// Whether an address is in use.
    pub fn contains(&self, address: Address) -> Result<bool, Error> {
        Ok(self.bits.test(self.ordinal(address)?)?)
    }

    /// Take the given address; `Error::Taken` where it is in use.
    pub fn reserve(&mut self, address: Address) -> Result<(), Error> {
        let ordinal = self.ordinal(address)?;
        if !self.bits.set(ordinal)? {
            let role = role_of_end(self.subnet, ordinal);
            return Err(Error::Taken { address, role });
        }
        self.count(1);
        Ok(())
    }

    /// Free an address. False if it was free already; `Error::Reserved` where it is an end of the subnet.
    pub fn release(&mut self, address: Address) -> Result<bool, Error> {
        let ordinal = self.ordinal(address)?;
        match role_of_end(self.subnet, ordinal) {
            Some(role) => Err(Error::Reserved { address, role }),
            None => self.clear(ordinal),
        }
    }

    /// Hand over a page of the store; None where the store has none of that number. One that is known stays as it is.
    ///
    /// # Errors
    /// `Error::Damaged`: it is not 512 bytes long, or contradicts the summary or lacks an end of the subnet.
    pub fn provide(&mut self, page: u128, bytes: Option<&[u8]>) -> Result<(), Error> {
        let length = bytes.map_or(PAGE_BYTES, <[u8]>::len);
        let bytes: Option<&[u8; PAGE_BYTES]> = bytes.and_then(|bytes| bytes.try_into().ok());
        if length != PAGE_BYTES {
            return Err(Damage::PageLength { page, length }.into());
        }
        let is_set = |bit: usize| bytes.is_some_and(|bytes| bytes[bit / 8] >> (bit % 8) & 1 == 1);
        let has_ends = ends(self.subnet).all(|ordinal| {
            ordinal >> PAGE_BITS != page
                || self.bits.is_known(page)
                || is_set(ordinal as usize & (PAGE_BYTES * 8 - 1))
        });
        if page >= self.bits.page_count() || !has_ends || !self.bits.provide(page, bytes) {
            return Err(Damage::Page { page }.into());
        }
        Ok(())
    }

    /// What is to be stored since the space was made, loaded, or last asked. A space made anew has everything to be
    /// stored; where storing fails, load it again.
    pub fn changes(&mut self) -> Changes {
        let (pages, summary) = self.bits.changes();
        Changes {
            used: self.used,
            pages,
            summary,
        }
    }

    /// Count addresses whose bits were set.
    #[inline]
    pub(crate) fn count(&mut self, given: u128) {
        // It does not wrap: as many bits were clear before.
        self.used = self.used.wrapping_add(given);
    }

    /// Clear a bit; false if it was clear.
    #[inline]
    pub(crate) fn clear(&mut self, ordinal: u128) -> Result<bool, Error> {
        let was_used = self.bits.clear(ordinal)?;
        self.used = self.used.saturating_sub(was_used.into());
        self.freed += u64::from(was_used);
        Ok(was_used)
    }

    #[inline]
    pub(crate) fn ordinal(&self, address: Address) -> Result<u128, Error> {
        let subnet = self.subnet;
        match subnet.ordinal(address) {
            Some(ordinal) => Ok(ordinal),
            None if address.family() == subnet.family() => Err(Error::Outside { address, subnet }),
            None => Err(Error::Address {
                address,
                fault: AddressFault::Family {
                    expected: subnet.family(),
                },
            }),
        }
    }
}

/// What the subnet itself needs one of its ends for.
#[inline]
pub(crate) fn role_of_end(subnet: Subnet, ordinal: u128) -> Option<Role> {
    // RFC 3021 and RFC 6164: a pair of addresses, or a single one, has nothing to spare.
    let has_ends = subnet.host_bits() > 1;
    match subnet.family() {
        Family::V4 if has_ends && ordinal == 0 => Some(Role::NetworkAddress),
        Family::V4 if has_ends && ordinal == subnet.size() - 1 => Some(Role::BroadcastAddress),
        Family::V6 if has_ends && ordinal == 0 => Some(Role::SubnetRouterAnycast),
        _ => None,
    }
}

fn ends(subnet: Subnet) -> impl Iterator<Item = u128> {
    let both = [0, subnet.size() - 1];
    both.into_iter()
        .filter(move |ordinal| role_of_end(subnet, *ordinal).is_some())
}

impl From<Missing> for Error {
    fn from(Missing(page): Missing) -> Self {
        Self::NeedsPage { page }
    }
}
