//! Addresses and subnets as integers, and the way between an address and its ordinal.

use crate::error::{AddressFault, Error, RangeFault, SubnetFault};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use thiserror::Error as Described;

/// The shortest prefix that a pool takes: 2^24 addresses of IPv4, 2^120 of IPv6.
pub const SHORTEST_PREFIX: u8 = 8;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Described)]
pub enum Family {
    /// IPv4, 32 bits.
    #[error("IPv4")]
    V4,
    /// IPv6, 128 bits.
    #[error("IPv6")]
    V6,
}

impl Family {
    /// Bits of an address.
    #[must_use]
    pub fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// One address, as an integer of its family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    family: Family,
    value: u128,
}

impl Address {
    /// The address that an integer stands for.
    ///
    /// # Errors
    /// `AddressFault::TooLarge`: it has more bits than the family.
    pub fn new(family: Family, value: u128) -> Result<Self, AddressFault> {
        if family == Family::V4 && value > u128::from(u32::MAX) {
            return Err(AddressFault::TooLarge { family });
        }
        Ok(Self { family, value })
    }

    /// The address of a family that bits stand for; what is beyond the family's bits is left out.
    #[must_use]
    pub fn of_bits(family: Family, bits: u128) -> Self {
        let value = match family {
            Family::V4 => u128::from(bits as u32),
            Family::V6 => bits,
        };
        Self { family, value }
    }

    /// The address that a text stands for. No leading zeros, no scope id, no blanks.
    ///
    /// # Errors
    /// `AddressFault::ScopeId`, `AddressFault::Malformed`
    pub fn parse(text: &str) -> Result<Self, AddressFault> {
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(address.into()),
            Err(_) if text.contains('%') => Err(AddressFault::ScopeId),
            Err(_) => Err(AddressFault::Malformed),
        }
    }

    /// Its family.
    #[must_use]
    pub fn family(self) -> Family {
        self.family
    }

    /// It as an integer.
    #[must_use]
    pub fn value(self) -> u128 {
        self.value
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self {
                family: Family::V4,
                value: u32::from(v4).into(),
            },
            IpAddr::V6(v6) => Self {
                family: Family::V6,
                value: v6.into(),
            },
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        match address.family {
            Family::V4 => Self::V4(Ipv4Addr::from(address.value as u32)),
            Family::V6 => Self::V6(Ipv6Addr::from(address.value)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

/// A prefix: its first address and how many leading bits its addresses share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Prefix {
    first: Address,
    length: u8,
}

impl Prefix {
    /// `address/length` in decimal digits: no netmask, no sign, no leading zero, which other programs read otherwise.
    fn parse(text: &str) -> Result<(Address, u8), SubnetFault> {
        let (address, length) = match text.split_once('/') {
            Some(parts) => parts,
            None if Address::parse(text).is_ok() => return Err(SubnetFault::LengthMissing),
            None => return Err(SubnetFault::Malformed),
        };
        let address = Address::parse(address).map_err(|fault| match fault {
            AddressFault::ScopeId => SubnetFault::ScopeId,
            _ => SubnetFault::Malformed,
        })?;
        let family = address.family;
        let plain = length.bytes().all(|byte| byte.is_ascii_digit())
            && (length == "0" || !length.starts_with('0'));
        match length.parse() {
            Ok(bits) if plain && bits <= family.bits() => Ok((address, bits)),
            _ => Err(SubnetFault::Length { family }),
        }
    }

    /// The prefix that an address lies in.
    fn around(address: Address, length: u8) -> Self {
        let mut first = address;
        first.value &= !host_mask(address.family, length);
        Self { first, length }
    }

    fn last(self) -> Address {
        let mut last = self.first;
        last.value |= host_mask(last.family, self.length);
        last
    }
}

/// The bits of an address behind its prefix.
fn host_mask(family: Family, length: u8) -> u128 {
    // Shifting all 128 bits out is an overflow.
    let prefix = u128::MAX.checked_shl(u32::from(family.bits() - length));
    !prefix.unwrap_or(0)
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.length)
    }
}

/// A subnet that a pool may have: IPv4 /8 to /32, IPv6 /8 to /128, no host bits set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet(Prefix);

impl Subnet {
    /// The subnet of a text, such as `10.0.0.0/24`.
    ///
    /// ```
    /// use macvfast_ipam::Subnet;
    /// let subnet = Subnet::parse("192.168.32.0/24").unwrap();
    /// assert_eq!(subnet.address(2).to_string(), "192.168.32.2");
    /// assert!(Subnet::parse("192.168.32.7/24").is_err());
    /// ```
    ///
    /// # Errors
    /// `Error::Subnet` with what is wrong.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |fault| Error::Subnet {
            text: text.to_owned(),
            fault,
        };
        let (address, length) = Prefix::parse(text).map_err(refuse)?;
        Self::new(address, length).map_err(refuse)
    }

    /// The subnet that begins with an address.
    ///
    /// # Errors
    /// The prefix is too long or too short, or the address is not its first.
    pub fn new(first: Address, length: u8) -> Result<Self, SubnetFault> {
        let family = first.family;
        if length > family.bits() {
            return Err(SubnetFault::Length { family });
        }
        if length < SHORTEST_PREFIX {
            return Err(SubnetFault::TooLarge { family });
        }
        let prefix = Prefix::around(first, length);
        if prefix.first != first {
            return Err(SubnetFault::HostBits {
                meant: prefix.to_string(),
            });
        }
        Ok(Self(prefix))
    }

    /// Its family.
    #[must_use]
    pub fn family(self) -> Family {
        self.0.first.family
    }

    /// Its first address.
    #[must_use]
    pub fn first(self) -> Address {
        self.0.first
    }

    /// Its prefix length.
    #[must_use]
    pub fn prefix_length(self) -> u8 {
        self.0.length
    }

    /// Bits of an ordinal: 8 in a /24.
    #[must_use]
    pub fn host_bits(self) -> u32 {
        u32::from(self.family().bits() - self.0.length)
    }

    /// How many addresses it has, the reserved ones included: 256 in a /24.
    #[must_use]
    pub fn size(self) -> u128 {
        1 << self.host_bits()
    }

    /// Position of an address in the subnet: 2 for `10.0.0.2` in `10.0.0.0/24`; None outside.
    #[must_use]
    pub fn ordinal(self, address: Address) -> Option<u128> {
        let offset = address.value.checked_sub(self.0.first.value)?;
        (address.family == self.family() && offset < self.size()).then_some(offset)
    }

    /// The address at a position below `size`.
    #[must_use]
    #[inline]
    pub fn address(self, ordinal: u128) -> Address {
        Address {
            family: self.0.first.family,
            value: self.0.first.value | ordinal,
        }
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The addresses from `first` to `last`, both included, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    first: Address,
    last: Address,
}

impl AddressRange {
    /// A range of its first and last address.
    ///
    /// # Errors
    /// `RangeFault::Family` where they are of two families, `RangeFault::Reversed` where the last comes first.
    pub fn new(first: Address, last: Address) -> Result<Self, RangeFault> {
        if first.family != last.family {
            return Err(RangeFault::Family {
                expected: first.family,
            });
        }
        if last < first {
            return Err(RangeFault::Reversed {
                meant: format!("{last}-{first}"),
            });
        }
        Ok(Self { first, last })
    }

    /// The range of a text: a prefix without host bits (`10.0.0.128/25`), or `FIRST-LAST` (`10.0.0.10-10.0.0.19`).
    ///
    /// # Errors
    /// `Error::Range` with what is wrong.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let refuse = |fault| Error::Range {
            text: text.to_owned(),
            fault,
        };
        if let Some((first, last)) = text.split_once('-') {
            let first = Address::parse(first).map_err(|_| refuse(RangeFault::Malformed))?;
            let last = Address::parse(last).map_err(|_| refuse(RangeFault::Malformed))?;
            return Self::new(first, last).map_err(refuse);
        }
        let (address, length) = Prefix::parse(text).map_err(|fault| {
            refuse(match fault {
                SubnetFault::LengthMissing => RangeFault::LengthMissing,
                SubnetFault::Length { family } => RangeFault::Length { family },
                _ => RangeFault::Malformed,
            })
        })?;
        let prefix = Prefix::around(address, length);
        if prefix.first != address {
            return Err(refuse(RangeFault::HostBits {
                meant: prefix.to_string(),
            }));
        }
        Ok(Self {
            first: address,
            last: prefix.last(),
        })
    }

    /// The range of a text that is to lie in a subnet: what is meant by a text with a fault is told only where the subnet
    /// has it, so that it can be typed. `10.0.0.128/23` is not within 10.0.0.0/24, whatever is meant.
    ///
    /// # Errors
    /// `Error::Range` with what is wrong.
    pub fn parse_within(text: &str, subnet: Subnet) -> Result<Self, Error> {
        Self::parse(text).map_err(|error| match error {
            Error::Range {
                text,
                fault: RangeFault::HostBits { meant } | RangeFault::Reversed { meant },
            } if Self::parse(&meant).is_ok_and(|range| range.ordinals(subnet).is_err()) => {
                let fault = RangeFault::Outside { subnet };
                Error::Range { text, fault }
            }
            other => other,
        })
    }

    /// Its ordinals in a subnet, both included.
    pub(crate) fn ordinals(self, subnet: Subnet) -> Result<(u128, u128), RangeFault> {
        if self.first.family != subnet.family() {
            return Err(RangeFault::Family {
                expected: subnet.family(),
            });
        }
        match (subnet.ordinal(self.first), subnet.ordinal(self.last)) {
            (Some(first), Some(last)) => Ok((first, last)),
            _ => Err(RangeFault::Outside { subnet }),
        }
    }
}

impl fmt::Display for AddressRange {
    /// As a prefix where it is one, else `FIRST-LAST`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.first.family.bits();
        let common = (self.first.value ^ self.last.value).leading_zeros() as u8 - (128 - bits);
        let prefix = Prefix::around(self.first, common);
        if (prefix.first, prefix.last()) == (self.first, self.last) {
            prefix.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}
