//! A pool as bytes, and back.
//!
//! It is what a store would have of the pool, behind the rules that the pool is made from. Little-endian: `mvfp`, version
//! (2 bytes), family (1: 4 or 6), prefix length (1), first address (16), order (1: 0 lowest, 1 next); ranges: how many
//! (4), of each the first and last ordinal (16 + 16); gateway: 0, or 1 and its ordinal (1 + 16); aux addresses: how many
//! (4), of each ordinal (16), length of its name (4), name; addresses in use (16), of them within the ip-ranges (16),
//! cursor (16); summary pages, and the pages that are not full: how many (8), of each its number (16) and its bits (512);
//! the CRC-32 of all that (4).

use crate::bitmap::StoredPage;
use crate::error::{Damage, Error};
use crate::page::PAGE_ORDINALS;
use crate::pool::Pool;
use crate::prefix::{Address, AddressRange, Family, Subnet};
use crate::rules::{Changes, Order, Rules, Stored};

const MAGIC: [u8; 4] = *b"mvfp";
const VERSION: u16 = 2;
const CHECKSUM_BYTES: usize = 4;
/// Where pages lie in a store and are more than this, they are not looked through one by one.
const MOST_PAGES: u128 = 1 << 12;

impl Pool {
    /// The whole pool as versioned, checksummed bytes: equal pools give equal bytes.
    ///
    /// # Errors
    /// Where pages lie in a store: `Error::NeedsPage` until all that are in use were provided, `Error::PagesUnread`
    /// where the subnet has more than 2^24 addresses and they were not.
    pub fn snapshot(&self) -> Result<Vec<u8>, Error> {
        if self.bits.known_used() < self.used() {
            if self.bits.page_count() > MOST_PAGES {
                return Err(Error::PagesUnread {
                    subnet: self.subnet,
                });
            }
            if let Some(page) = (0..self.bits.page_count()).find(|page| !self.bits.is_known(*page))
            {
                return Err(Error::NeedsPage { page });
            }
        }
        let mut out = Vec::new();
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.push(match self.subnet.family() {
            Family::V4 => 4,
            Family::V6 => 6,
        });
        out.push(self.subnet.prefix_length());
        out.extend(self.subnet.first().value().to_le_bytes());
        out.push(u8::from(self.order == Order::Next));
        self.write_rules(&mut out);
        let all = self.all();
        for number in [all.used, all.used_in_ranges, all.cursor] {
            out.extend(number.to_le_bytes());
        }
        for pages in [all.summary, all.pages] {
            out.extend((pages.len() as u64).to_le_bytes());
            for (number, bytes) in pages {
                out.extend(number.to_le_bytes());
                out.extend(bytes.iter().flatten());
            }
        }
        out.extend(crc32fast::hash(&out).to_le_bytes());
        Ok(out)
    }

    /// What would be stored of the pool as far as it is known, but for the pages of which the summary says enough.
    fn all(&self) -> Changes {
        let mut copy = self.clone();
        copy.bits.detach();
        let mut all = copy.changes();
        all.pages.retain(|(number, _)| !self.bits.is_full(*number));
        all
    }

    fn write_rules(&self, out: &mut Vec<u8>) {
        out.extend((self.ranges.as_slice().len() as u32).to_le_bytes());
        for (first, last) in self.ranges.as_slice() {
            out.extend(first.to_le_bytes());
            out.extend(last.to_le_bytes());
        }
        out.push(u8::from(self.gateway.is_some()));
        out.extend(
            self.gateway
                .iter()
                .flat_map(|ordinal| ordinal.to_le_bytes()),
        );
        out.extend((self.aux.len() as u32).to_le_bytes());
        for (ordinal, name) in &self.aux {
            out.extend(ordinal.to_le_bytes());
            out.extend((name.len() as u32).to_le_bytes());
            out.extend(name.as_bytes());
        }
    }

    /// The pool that `snapshot` saw.
    ///
    /// # Errors
    /// `Error::Damaged`: truncated, altered, of another version, or not what any pool could be.
    pub fn from_snapshot(data: &[u8]) -> Result<Self, Error> {
        let (body, checksum) = data
            .split_last_chunk::<CHECKSUM_BYTES>()
            .ok_or(Damage::Truncated)?;
        let mut reader = Reader { rest: body };
        if reader.take()? != MAGIC {
            return Err(Damage::NotASnapshot.into());
        }
        let found = u16::from_le_bytes(reader.take()?);
        if found != VERSION {
            return Err(Damage::Version {
                found,
                known: VERSION,
            }
            .into());
        }
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return Err(Damage::Checksum.into());
        }
        let subnet = reader.subnet()?;
        let order = match reader.byte()? {
            0 => Order::Lowest,
            1 => Order::Next,
            _ => return Err(Damage::Field("order").into()),
        };
        let rules = reader.rules(subnet, order)?;
        let read = Changes {
            used: reader.number()?,
            used_in_ranges: reader.number()?,
            cursor: reader.number()?,
            summary: reader.pages()?,
            pages: reader.pages()?,
        };
        if !reader.rest.is_empty() {
            return Err(Damage::Trailing {
                bytes: reader.rest.len(),
            }
            .into());
        }
        let pool = Self::from_changes(rules, &read)?;
        pool.check()?;
        Ok(pool)
    }

    /// The pool of which that would be stored.
    fn from_changes(rules: Rules, all: &Changes) -> Result<Self, Error> {
        let mut pool = Self::stored(
            rules,
            Stored {
                used: all.used,
                used_in_ranges: all.used_in_ranges,
                cursor: all.cursor,
                summary: all
                    .summary
                    .iter()
                    .filter_map(|(number, bytes)| Some((*number, (*bytes)?)))
                    .collect(),
            },
        )
        .map_err(|error| match error {
            Error::Damaged(_) => error,
            _ => Damage::Field("reserved addresses").into(),
        })?;
        for (number, bytes) in &all.pages {
            pool.provide(*number, bytes.as_ref().map(|bytes| &bytes[..]))?;
        }
        pool.bits.detach();
        // Pages out of order, twice, without a bit set, or as full as their summary does not say.
        if pool.all() != *all {
            return Err(Damage::Field("pages").into());
        }
        Ok(pool)
    }

    /// Whether counts, cursor and reserved addresses fit the bits, all of which are known.
    fn check(&self) -> Result<(), Damage> {
        let known = self.bits.known_used();
        if self.inside.checked_add(self.outside) != Some(known)
            || self.inside != self.used_inside_before(self.size())
        {
            return Err(Damage::Counts);
        }
        if self
            .reserved()
            .iter()
            .any(|ordinal| self.bits.test(*ordinal) != Ok(true))
        {
            return Err(Damage::Field("reserved addresses"));
        }
        let before: u128 = self
            .ranges
            .between(0, self.cursor)
            .map(|(first, last)| last - first + 1)
            .sum();
        let passed = self.order == Order::Next || self.used_inside_before(self.cursor) == before;
        if self.cursor > self.size() || !passed {
            return Err(Damage::Field("cursor"));
        }
        Ok(())
    }

    /// Addresses of the ranges, before an ordinal, in use.
    fn used_inside_before(&self, end: u128) -> u128 {
        let in_page = |start: u128| -> u128 {
            let places = self
                .ranges
                .between(start, end.min(start + u128::from(PAGE_ORDINALS)));
            places
                .map(|(first, last)| u128::from(self.bits.known_used_between(first, last)))
                .sum()
        };
        self.bits.known().map(in_page).sum()
    }
}

/// What is left of a snapshot.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Damage::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, Damage> {
        Ok(u8::from_le_bytes(self.take()?))
    }

    fn number(&mut self) -> Result<u128, Damage> {
        Ok(u128::from_le_bytes(self.take()?))
    }

    fn length(&mut self) -> Result<usize, Damage> {
        usize::try_from(u32::from_le_bytes(self.take()?)).map_err(|_| Damage::Truncated)
    }

    fn subnet(&mut self) -> Result<Subnet, Damage> {
        let family = match self.byte()? {
            4 => Family::V4,
            6 => Family::V6,
            _ => return Err(Damage::Field("family")),
        };
        let (length, first) = (self.byte()?, self.number()?);
        let first = Address::new(family, first).map_err(|_| Damage::Field("subnet"))?;
        Subnet::new(first, length).map_err(|_| Damage::Field("subnet"))
    }

    fn rules(&mut self, subnet: Subnet, order: Order) -> Result<Rules, Damage> {
        let address = |ordinal| match ordinal < subnet.size() {
            true => Ok(subnet.address(ordinal)),
            false => Err(Damage::Field("reserved addresses")),
        };
        let mut ranges = Vec::new();
        let mut apart = 0;
        for _ in 0..self.length()? {
            let (first, last) = (self.number()?, self.number()?);
            if first < apart || last < first || last >= subnet.size() {
                return Err(Damage::Field("ranges"));
            }
            apart = last + 2;
            let range = AddressRange::new(subnet.address(first), subnet.address(last));
            ranges.push(range.map_err(|_| Damage::Field("ranges"))?);
        }
        let gateway = match self.byte()? {
            0 => None,
            1 => Some(address(self.number()?)?),
            _ => return Err(Damage::Field("gateway")),
        };
        let mut aux: Vec<(String, Address)> = Vec::new();
        for _ in 0..self.length()? {
            let address = address(self.number()?)?;
            let length = self.length()?;
            let (name, rest) = self
                .rest
                .split_at_checked(length)
                .ok_or(Damage::Truncated)?;
            self.rest = rest;
            let name = std::str::from_utf8(name).map_err(|_| Damage::Field("aux addresses"))?;
            if aux.last().is_some_and(|(_, before)| *before >= address) {
                return Err(Damage::Field("aux addresses"));
            }
            aux.push((name.to_owned(), address));
        }
        Ok(Rules {
            subnet,
            ranges: Some(ranges),
            gateway,
            aux,
            order,
        })
    }

    fn pages(&mut self) -> Result<Vec<StoredPage>, Damage> {
        let count = u64::from_le_bytes(self.take()?);
        (0..count)
            .map(|_| Ok((self.number()?, Some(self.take()?))))
            .collect()
    }
}
