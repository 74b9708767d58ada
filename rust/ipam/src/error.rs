//! All that a pool can refuse, as values; the words of each reason are said here once.

#![allow(missing_docs, reason = "the words of each reason say what it is")]

use crate::prefix::{Address, Family, Subnet, SHORTEST_PREFIX};
use crate::rules::Role;
use thiserror::Error as Described;

/// Why an operation on a pool was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Described)]
pub enum Error {
    #[error("subnet `{text}`: {fault}")]
    Subnet { text: String, fault: SubnetFault },
    #[error("ip-range `{text}`: {fault}")]
    Range { text: String, fault: RangeFault },
    #[error("gateway {address}: {fault}")]
    Gateway { address: Address, fault: PlaceFault },
    #[error("aux address `{name}={address}`: {fault}")]
    Aux {
        name: String,
        address: Address,
        fault: PlaceFault,
    },
    #[error("address {address}: {fault}")]
    Address {
        address: Address,
        fault: AddressFault,
    },
    #[error("address {address} is outside {subnet}")]
    Outside { address: Address, subnet: Subnet },
    #[error("address {address} is taken")]
    Taken {
        address: Address,
        /// What the subnet needs it for; None where it was allocated or reserved.
        role: Option<Role>,
    },
    /// The address is avoided: somebody else has it.
    #[error("address {address} is somebody else's")]
    Avoided { address: Address },
    /// The address is one that the subnet itself needs, and is not released.
    #[error("address {address} is the subnet's {role}")]
    Reserved { address: Address, role: Role },
    /// The ip-ranges have too few free addresses.
    #[error("no free address in {subnet}")]
    Exhausted { subnet: Subnet },
    #[error("{count} addresses at once are more than {most}")]
    TooMany { count: u64, most: u64 },
    /// The operation needs a page that lies in the store. Provide it, then ask again.
    #[error("page {page} is not loaded")]
    NeedsPage { page: u128 },
    #[error("addresses of {subnet} are not those of {expected}")]
    Elsewhere { subnet: Subnet, expected: Subnet },
    #[error("{0}")]
    Damaged(#[from] Damage),
}

/// What is wrong with a subnet.
#[derive(Debug, Clone, PartialEq, Eq, Described)]
pub enum SubnetFault {
    #[error("a subnet is an address, `/` and a prefix length: 192.168.32.0/24")]
    Malformed,
    #[error("it has no prefix length")]
    LengthMissing,
    #[error("the prefix length of an {family} subnet is a number from {} to {}", SHORTEST_PREFIX, .family.bits())]
    Length { family: Family },
    #[error("it is too large: an {family} subnet is a /{SHORTEST_PREFIX} or smaller")]
    TooLarge { family: Family },
    #[error("it has host bits set: {meant} is meant")]
    HostBits {
        /// The subnet that the address lies in.
        meant: String,
    },
    #[error("a subnet has no scope id")]
    ScopeId,
}

/// What is wrong with an ip-range.
#[derive(Debug, Clone, PartialEq, Eq, Described)]
pub enum RangeFault {
    #[error(
        "an ip-range is a prefix (192.168.32.128/25) or FIRST-LAST (192.168.32.10-192.168.32.19)"
    )]
    Malformed,
    #[error("it is neither a prefix, having no prefix length, nor FIRST-LAST")]
    LengthMissing,
    #[error("the prefix length of an {family} ip-range is a number up to {}", .family.bits())]
    Length { family: Family },
    #[error("it has host bits set: {meant} is meant")]
    HostBits {
        /// The prefix that the address lies in.
        meant: String,
    },
    #[error("its first address comes after its last")]
    Reversed {
        /// The range the other way round.
        meant: String,
    },
    #[error("it is not all of {expected}")]
    Family {
        /// The subnet's, or the first address's.
        expected: Family,
    },
    #[error("it is not within subnet {subnet}")]
    Outside { subnet: Subnet },
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq, Described)]
pub enum AddressFault {
    #[error("it is not an IP address")]
    Malformed,
    #[error("an address here has no scope id")]
    ScopeId,
    #[error("it is not an {expected} address")]
    Family { expected: Family },
    #[error("the integer is not an {family} address")]
    TooLarge { family: Family },
}

/// Why an address cannot be the gateway or an aux address.
#[derive(Debug, Clone, PartialEq, Eq, Described)]
pub enum PlaceFault {
    #[error("it is not an {expected} address")]
    Family { expected: Family },
    #[error("it is outside subnet {subnet}")]
    Outside { subnet: Subnet },
    #[error("it is the subnet's {0}")]
    Holds(Role),
    #[error("it has no name")]
    NameEmpty,
    #[error("another aux address has that name")]
    NameTwice,
}

/// How a snapshot or stored page contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, Described)]
pub enum Damage {
    #[error("it is truncated")]
    Truncated,
    #[error("it is not a pool's snapshot")]
    NotASnapshot,
    #[error("it is of version {found}; this macvfast knows version {known}")]
    Version { found: u16, known: u16 },
    #[error("it is not as it was written")]
    Altered,
    #[error("its {0} cannot be")]
    Field(&'static str),
    #[error("its counts do not fit its pages")]
    Counts,
    #[error("page {page} is {length} bytes long, not 512")]
    PageLength { page: u128, length: usize },
    /// A page is not one of the pool's, or contradicts the summary or the addresses that the subnet itself needs.
    #[error("page {page} cannot be one of the pool's")]
    Page { page: u128 },
    #[error("summary page {page} is {length} bytes long, not 512")]
    SummaryLength { page: u128, length: usize },
    #[error("summary page {page} cannot be one of the pool's")]
    Summary { page: u128 },
}
