//! Where automatic allocation takes addresses from, and in which order: one network's part in a [`Space`].

use crate::addresses::Addresses;
use crate::error::Error;
use crate::page::PAGE_ORDINALS;
use crate::prefix::{Address, AddressRange, Subnet};
use crate::ranges::Ranges;
use crate::rules::Order;
use crate::space::Space;
use std::collections::BTreeSet;

/// The most addresses that are taken at once: as many as the largest IPv4 pool has.
pub const MOST_AT_ONCE: u64 = 1 << 24;

/// A lane in which nothing lies.
const NO_LANE: (u128, u128) = (u128::MAX, 0);

/// Ranges of one subnet, and where in them the next address is looked for. It says nothing of what is in use.
#[derive(Debug, Clone)]
pub struct Source {
    subnet: Subnet,
    order: Order,
    ranges: Ranges,
    /// Never given, though it may be free: somebody else has it.
    avoided: BTreeSet<u128>,
    /// The ranges without what is avoided: where allocation looks.
    lanes: Ranges,
    /// The lane of the last allocation, so that the next one need not search for it.
    lane: (u128, u128),
    /// `Lowest`: an ordinal below which nothing of the lanes is free. `Next`: the one after the last given.
    cursor: u128,
    /// `Space::freed`, when the cursor was known to be right.
    seen: u64,
}

impl Source {
    /// The union of these ranges, nowhere where there are none; None: the whole subnet.
    ///
    /// # Errors
    /// `Error::Range`: one is not within the subnet.
    pub fn new(
        subnet: Subnet,
        ranges: Option<&[AddressRange]>,
        order: Order,
    ) -> Result<Self, Error> {
        let whole = vec![(0, subnet.size() - 1)];
        let ranges = ranges.map_or(Ok(whole), |ranges| ordinals_of(ranges, subnet))?;
        let ranges = Ranges::union(ranges);
        Ok(Self {
            subnet,
            order,
            lanes: ranges.clone(),
            ranges,
            avoided: BTreeSet::new(),
            lane: NO_LANE,
            cursor: 0,
            seen: 0,
        })
    }

    /// Go on with that ordinal, where the order is `Next`.
    pub fn go_on(&mut self, next: u128) {
        if self.order == Order::Next {
            self.cursor = next.min(self.subnet.size());
        }
    }

    /// The ordinal with which allocation goes on, where the order is `Next`; 0 where it is `Lowest`.
    #[must_use]
    pub fn next(&self) -> u128 {
        match self.order {
            Order::Lowest => 0,
            Order::Next => self.cursor,
        }
    }

    /// The order.
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// The ranges, sorted and apart from each other: the first and the last address of each.
    pub fn ranges(&self) -> impl Iterator<Item = (Address, Address)> + '_ {
        let address = |ordinal: &u128| self.subnet.address(*ordinal);
        self.ranges
            .as_slice()
            .iter()
            .map(move |(first, last)| (address(first), address(last)))
    }

    /// From now on, give none of these addresses; what was avoided until now may be given again. What is outside of the
    /// subnet does not matter.
    ///
    /// ```
    /// use macvfast_ipam::{Address, Order, Source, Space, Subnet};
    /// let subnet = Subnet::parse("192.168.32.0/24").unwrap();
    /// let (mut space, mut source) = (Space::new(subnet), Source::new(subnet, None, Order::Lowest).unwrap());
    /// source.avoid(&[Address::parse("192.168.32.1").unwrap()]);
    /// assert_eq!(source.allocate(&mut space).unwrap().to_string(), "192.168.32.2");
    /// assert_eq!(space.used(), 3); // .0, .2 and .255
    /// ```
    pub fn avoid(&mut self, addresses: &[Address]) {
        let ordinals = addresses.iter().filter_map(|one| self.subnet.ordinal(*one));
        self.avoided = ordinals.collect();
        self.lanes = self.ranges.without(&self.avoided);
        self.lane = NO_LANE;
        if self.order == Order::Lowest {
            self.cursor = 0;
        }
    }

    pub(crate) fn avoids(&self, ordinal: u128) -> bool {
        self.avoided.contains(&ordinal)
    }

    /// Take one address, in the source's order. Flat: it looks at one word per level at most.
    ///
    /// # Errors
    /// `Error::Exhausted`, `Error::NeedsPage`; `Error::Elsewhere`: the space is another subnet's.
    pub fn allocate(&mut self, space: &mut Space) -> Result<Address, Error> {
        if self.subnet != space.subnet {
            return Err(Error::Elsewhere {
                subnet: self.subnet,
                expected: space.subnet,
            });
        }
        self.take(space)
    }

    // Always: passed through memory, a 128-bit result costs as much again as finding it.
    #[inline(always)]
    pub(crate) fn take(&mut self, space: &mut Space) -> Result<Address, Error> {
        if self.seen == space.freed && self.cursor >= self.lane.0 {
            if let Some(ordinal) = space.bits.take_hot(self.cursor, self.lane.1) {
                space.count(1);
                // It does not wrap: it is at most the size.
                self.cursor = ordinal.wrapping_add(1);
                return Ok(self.subnet.address(ordinal));
            }
        }
        self.take_by_search(space)
    }

    #[inline(never)]
    fn take_by_search(&mut self, space: &mut Space) -> Result<Address, Error> {
        self.catch_up(space);
        for (from, until) in self.sweeps() {
            for (first, last) in self.lanes.between(from, until) {
                if let Some(ordinal) = space.bits.take_first(first, last)? {
                    space.count(1);
                    self.cursor = ordinal + 1;
                    self.lane = self.lanes.around(ordinal);
                    return Ok(self.subnet.address(ordinal));
                }
            }
        }
        Err(self.exhausted())
    }

    /// Take `count` addresses, in the source's order, or none at all. Whole words at once.
    pub(crate) fn take_many(&mut self, space: &mut Space, count: u64) -> Result<Addresses, Error> {
        self.catch_up(space);
        self.check_many(space, count)?;
        let mut pieces = Vec::new();
        let mut wanted = count;
        for (from, until) in self.sweeps() {
            for place in self.lanes.between(from, until) {
                if wanted > 0 {
                    wanted -= space.bits.take_many(place, wanted, &mut pieces)?;
                }
            }
        }
        space.count((count - wanted).into());
        if let Some((first, mask)) = pieces.last() {
            self.cursor = first + u128::from(64 - mask.leading_zeros());
        }
        Ok(Addresses::new(self.subnet, pieces))
    }

    /// Whether that many could be taken at once.
    pub(crate) fn check_many(&self, space: &Space, count: u64) -> Result<(), Error> {
        let enough = count.min(MOST_AT_ONCE);
        let mut free = 0;
        for (first, last) in self.lanes.as_slice() {
            if free < enough {
                free += space.bits.count_free((*first, *last), enough - free);
            }
        }
        if free < enough {
            return Err(self.exhausted());
        }
        if count > MOST_AT_ONCE {
            return Err(Error::TooMany {
                count,
                most: MOST_AT_ONCE,
            });
        }
        Ok(())
    }

    /// Addresses that could still be taken. Cost: a look at each page in use.
    pub(crate) fn available(&self, space: &Space) -> u128 {
        let in_page = |start: u128| -> u128 {
            let places = self.lanes.between(start, start + u128::from(PAGE_ORDINALS));
            places
                .map(|(first, last)| u128::from(space.bits.known_used_between(first, last)))
                .sum()
        };
        self.lanes.size() - space.bits.known().map(in_page).sum::<u128>()
    }

    /// Free an address of the space; the search goes on there, where it is the lowest.
    #[inline]
    pub(crate) fn give_back(&mut self, space: &mut Space, ordinal: u128) -> Result<bool, Error> {
        let up_to_date = self.seen == space.freed;
        let was_used = space.clear(ordinal)?;
        if was_used && up_to_date {
            self.seen = space.freed;
            if self.order == Order::Lowest {
                self.cursor = self.cursor.min(ordinal);
            }
        }
        Ok(was_used)
    }

    /// Begin anew where others have freed what the search has passed.
    fn catch_up(&mut self, space: &Space) {
        if self.seen != space.freed && self.order == Order::Lowest {
            self.cursor = 0;
        }
        self.seen = space.freed;
    }

    /// From where to before where allocation looks, one after the other.
    fn sweeps(&self) -> [(u128, u128); 2] {
        let again = match self.order {
            Order::Lowest => 0,
            Order::Next => self.cursor,
        };
        [(self.cursor, self.subnet.size()), (0, again)]
    }

    fn exhausted(&self) -> Error {
        Error::Exhausted {
            subnet: self.subnet,
        }
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
