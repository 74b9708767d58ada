//! A pool as bytes, and back.
//!
//! ```text
//! mvfp, version (2 bytes, little-endian)
//! 10.0.0.0/24 next 17               subnet, order, the ordinal with which `next` goes on (else 0)
//! 10.0.0.8-10.0.0.9 10.0.0.32-…     the ranges
//! 10.0.0.1                          the gateway, if there is one
//! 10.0.0.5 4                        an aux address and the length of its name; the name follows, and the next one
//! host
//! ```
//!
//! Behind an empty line, the pages in use: of each its number (16 bytes, little-endian), and 1 where it is full, or 0 and
//! its bits (512 bytes). Last the CRC-32 of all that (4).

use crate::error::{Damage, Error};
use crate::page::PAGE_BYTES;
use crate::pool::Pool;
use crate::prefix::{Address, AddressRange, Subnet};
use crate::rules::{Order, Rules};
use crate::space::Space;

const MAGIC: [u8; 4] = *b"mvfp";
const VERSION: u16 = 4;
const CHECKSUM_BYTES: usize = 4;
const FULL: [u8; PAGE_BYTES] = [u8::MAX; PAGE_BYTES];

impl Pool {
    /// The whole pool as versioned, checksummed bytes: equal pools give equal bytes.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let subnet = self.subnet();
        let order = match self.source.order() {
            Order::Lowest => "lowest",
            Order::Next => "next",
        };
        let ranges: Vec<_> = self
            .source
            .ranges()
            .map(|(first, last)| format!("{first}-{last}"))
            .collect();
        let gateway = self.gateway.map(|ordinal| subnet.address(ordinal));
        let gateway = gateway.map_or_else(String::new, |address| address.to_string());
        let (next, ranges) = (self.source.next(), ranges.join(" "));
        let mut out = Vec::from(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(format!("{subnet} {order} {next}\n{ranges}\n{gateway}\n").bytes());
        for (ordinal, name) in &self.aux {
            let address = subnet.address(*ordinal);
            out.extend(format!("{address} {}\n{name}", name.len()).bytes());
        }
        out.push(b'\n');
        for (number, bytes) in self.space.bits.all() {
            out.extend(number.to_le_bytes());
            out.push(u8::from(bytes == FULL));
            if bytes != FULL {
                out.extend(bytes);
            }
        }
        out.extend(crc32fast::hash(&out).to_le_bytes());
        out
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
            let known = VERSION;
            return Err(Damage::Version { found, known }.into());
        }
        let (rules, next) = reader.rules()?;
        let pages = reader.pages()?;
        let mut pool = Self::new(rules).map_err(|_| Damage::Altered)?;
        pool.source.go_on(next);
        pool.space = Space::of_pages(pool.subnet(), &pages, &pool.kept())?;
        // The checksum, orders, what is kept and what must not follow: all are as they would be written.
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

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Damage::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    fn text(&mut self, length: usize) -> Result<&'a str, Damage> {
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Damage::Truncated)?;
        self.rest = rest;
        std::str::from_utf8(head).map_err(|_| Damage::Altered)
    }

    fn line(&mut self) -> Result<&'a str, Damage> {
        let end = self.rest.iter().position(|&byte| byte == b'\n');
        let line = self.text(end.ok_or(Damage::Truncated)?)?;
        self.rest = &self.rest[1..];
        Ok(line)
    }

    /// The rules, and the ordinal with which allocation goes on.
    fn rules(&mut self) -> Result<(Rules, u128), Damage> {
        let mut words = self.line()?.split(' ');
        let mut word = || words.next().ok_or(Damage::Altered);
        let subnet = Subnet::parse(word()?).map_err(|_| Damage::Altered)?;
        let order = match word()? {
            "lowest" => Order::Lowest,
            _ => Order::Next,
        };
        let next = number(word()?)?;
        let ranges = self.line()?.split_terminator(' ').map(AddressRange::parse);
        let ranges: Result<_, _> = ranges.collect();
        let gateway = Some(self.line()?).filter(|text| !text.is_empty());
        let gateway = gateway.map(address).transpose()?;
        let mut aux = Vec::new();
        while let Some((at, length)) = self.line()?.split_once(' ') {
            let name = self.text(number(length)?)?;
            aux.push((name.to_owned(), address(at)?));
        }
        let rules = Rules {
            subnet,
            ranges: Some(ranges.map_err(|_| Damage::Altered)?),
            gateway,
            aux,
            order,
        };
        Ok((rules, next))
    }

    fn pages(&mut self) -> Result<Vec<(u128, [u8; PAGE_BYTES])>, Damage> {
        let mut pages = Vec::new();
        while self.rest.len() > CHECKSUM_BYTES {
            let number = u128::from_le_bytes(self.take()?);
            let bytes = match self.take()? {
                [0] => self.take()?,
                [_] => FULL,
            };
            pages.push((number, bytes));
        }
        Ok(pages)
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Damage> {
    text.parse().map_err(|_| Damage::Altered)
}

fn address(text: &str) -> Result<Address, Damage> {
    Address::parse(text).map_err(|_| Damage::Altered)
}
