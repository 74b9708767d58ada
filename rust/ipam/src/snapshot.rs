//! A pool as bytes, and back.
//!
//! It is what a store would have of the pool, behind the rules that the pool is made from. Little-endian: `mvfp`, version
//! (2 bytes), family (1: 4 or 6), prefix length (1), first address (16), order (1: 0 lowest, 1 next); ranges: how many
//! (4), of each the first and last ordinal (16 + 16); gateway: 0, or 1 and its ordinal (1 + 16); aux addresses: how many
//! (4), of each ordinal (16), length of its name (4), name; next ordinal, 0 unless the order is next (16); addresses in
//! use (16), summary pages, and the pages that are not full: how many (8), of each its number (16) and its bits (512);
//! the CRC-32 of all that (4).

use crate::error::{Damage, Error};
use crate::page::PAGE_BYTES;
use crate::pool::Pool;
use crate::prefix::{Address, AddressRange, Family, Subnet};
use crate::rules::{Changes, Order, Rules, Stored};
use crate::space::Space;

const MAGIC: [u8; 4] = *b"mvfp";
const VERSION: u16 = 3;

impl Pool {
    /// The whole pool as versioned, checksummed bytes: equal pools give equal bytes.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let subnet = self.subnet();
        let mut out = Vec::new();
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.push(match subnet.family() {
            Family::V4 => 4,
            Family::V6 => 6,
        });
        out.push(subnet.prefix_length());
        out.extend(subnet.first().value().to_le_bytes());
        out.push(u8::from(self.source.order() == Order::Next));
        self.write_rules(&mut out);
        out.extend(self.source.next().to_le_bytes());
        let all = self.all();
        out.extend(all.used.to_le_bytes());
        for pages in [all.summary, all.pages] {
            out.extend((pages.len() as u64).to_le_bytes());
            for (number, bytes) in pages {
                out.extend(number.to_le_bytes());
                out.extend(bytes.iter().flatten());
            }
        }
        out.extend(crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// What would be stored of the pool, but for the pages of which the summary says enough.
    fn all(&self) -> Changes {
        let mut copy = self.space.clone();
        copy.bits.detach();
        let mut all = copy.changes();
        all.pages
            .retain(|(number, _)| !self.space.bits.is_full(*number));
        all
    }

    fn write_rules(&self, out: &mut Vec<u8>) {
        let ranges = self.source.ordinals();
        out.extend((ranges.len() as u32).to_le_bytes());
        for (first, last) in ranges {
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
        let mut reader = Reader { rest: data };
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
        let rules = reader.rules()?;
        let next = reader.number()?;
        let used = reader.number()?;
        let summary = reader.pages()?;
        let pages = reader.pages()?;
        let mut pool = Self::new(rules).map_err(|_| Damage::Altered)?;
        pool.source.go_on(next);
        pool.space = Space::stored(pool.subnet(), &Stored { used, summary })?;
        for (number, bytes) in &pages {
            pool.space.provide(*number, Some(bytes))?;
        }
        pool.space.be_whole(&pool.kept());
        // The checksum, counts, orders, what is kept and what must not follow: all are as they would be written.
        if pool.snapshot() != data {
            return Err(Damage::Altered.into());
        }
        Ok(pool)
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

    fn address(&mut self, subnet: Subnet) -> Result<Address, Damage> {
        match self.number()? {
            ordinal if ordinal < subnet.size() => Ok(subnet.address(ordinal)),
            _ => Err(Damage::Altered),
        }
    }

    fn rules(&mut self) -> Result<Rules, Damage> {
        let family = match self.byte()? {
            4 => Family::V4,
            _ => Family::V6,
        };
        let (length, first) = (self.byte()?, self.number()?);
        let first = Address::new(family, first).map_err(|_| Damage::Altered)?;
        let subnet = Subnet::new(first, length).map_err(|_| Damage::Altered)?;
        let order = match self.byte()? {
            0 => Order::Lowest,
            _ => Order::Next,
        };
        let mut ranges = Vec::new();
        for _ in 0..self.length()? {
            let range = AddressRange::new(self.address(subnet)?, self.address(subnet)?);
            ranges.push(range.map_err(|_| Damage::Altered)?);
        }
        let gateway = match self.byte()? {
            0 => None,
            _ => Some(self.address(subnet)?),
        };
        let mut aux = Vec::new();
        for _ in 0..self.length()? {
            let address = self.address(subnet)?;
            let length = self.length()?;
            let (name, rest) = self
                .rest
                .split_at_checked(length)
                .ok_or(Damage::Truncated)?;
            self.rest = rest;
            let name = std::str::from_utf8(name).map_err(|_| Damage::Altered)?;
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

    fn pages(&mut self) -> Result<Vec<(u128, [u8; PAGE_BYTES])>, Damage> {
        let count = u64::from_le_bytes(self.take()?);
        (0..count)
            .map(|_| Ok((self.number()?, self.take()?)))
            .collect()
    }
}
