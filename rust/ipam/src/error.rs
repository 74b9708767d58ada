//! All that a pool can refuse, as values; the words of each reason are said here once.

use crate::prefix::{Address, Family, Subnet, SHORTEST_PREFIX};
use crate::rules::Role;
use thiserror::Error as Described;

/// Why an operation on a pool was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Described)]
pub enum Error {
    /// The subnet is none that a pool may have.
    #[error("subnet `{text}`: {fault}")]
    Subnet {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        fault: SubnetFault,
    },
    /// The ip-range is malformed, or not within the subnet.
    #[error("ip-range `{text}`: {fault}")]
    Range {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        fault: RangeFault,
    },
    /// The gateway cannot be it.
    #[error("gateway {address}: {fault}")]
    Gateway {
        /// The gateway.
        address: Address,
        /// What is wrong with it.
        fault: PlaceFault,
    },
    /// The aux address cannot be one.
    #[error("aux address `{name}={address}`: {fault}")]
    Aux {
        /// Its name.
        name: String,
        /// The address.
        address: Address,
        /// What is wrong with it.
        fault: PlaceFault,
    },
    /// The address is of the other family.
    #[error("address {address}: {fault}")]
    Address {
        /// The address.
        address: Address,
        /// What is wrong with it.
        fault: AddressFault,
    },
    /// The address is not in the subnet.
    #[error("address {address} is outside {subnet}")]
    Outside {
        /// The address.
        address: Address,
        /// The pool's subnet.
        subnet: Subnet,
    },
    /// The address is in use.
    #[error("address {address} is taken")]
    Taken {
        /// The address.
        address: Address,
        /// What the subnet needs it for; None where it was allocated or reserved.
        role: Option<Role>,
    },
    /// The address is avoided: somebody else has it.
    #[error("address {address} is somebody else's")]
    Avoided {
        /// The address.
        address: Address,
    },
    /// The address is one that the subnet itself needs, and is not released.
    #[error("address {address} is the subnet's {role}")]
    Reserved {
        /// The address.
        address: Address,
        /// What the subnet needs it for.
        role: Role,
    },
    /// The ip-ranges have too few free addresses.
    #[error("no free address in {subnet}")]
    Exhausted {
        /// The pool's subnet.
        subnet: Subnet,
    },
    /// More addresses at once than a pool gives.
    #[error("{count} addresses at once are more than {most}")]
    TooMany {
        /// How many were asked for.
        count: u64,
        /// The most there may be.
        most: u64,
    },
    /// The operation needs a page that lies in the store. Provide it, then ask again.
    #[error("page {page} is not loaded")]
    NeedsPage {
        /// Its number.
        page: u128,
    },
    /// A source of another subnet.
    #[error("addresses of {subnet} are not those of {expected}")]
    Elsewhere {
        /// The source's subnet.
        subnet: Subnet,
        /// The subnet it was to take from.
        expected: Subnet,
    },
    /// A snapshot, or what was stored, cannot be a pool.
    #[error("{0}")]
    Damaged(#[from] Damage),
}

/// What is wrong with a subnet.
#[derive(Debug, Clone, PartialEq, Eq, Described)]
pub enum SubnetFault {
    /// It is no prefix.
    #[error("a subnet is an address, `/` and a prefix length: 192.168.32.0/24")]
    Malformed,
    /// It is an address alone.
    #[error("it has no prefix length")]
    LengthMissing,
    /// Its prefix length is none.
    #[error("the prefix length of an {family} subnet is a number from {} to {}", SHORTEST_PREFIX, .family.bits())]
    Length {
        /// Its family.
        family: Family,
    },
    /// Its prefix is too short.
    #[error("it is too large: an {family} subnet is a /{SHORTEST_PREFIX} or smaller")]
    TooLarge {
        /// Its family.
        family: Family,
    },
    /// It is not the first address of the subnet.
    #[error("it has host bits set: {meant} is meant")]
    HostBits {
        /// The subnet that the address lies in.
        meant: String,
    },
    /// It names a link.
    #[error("a subnet has no scope id")]
    ScopeId,
}

/// What is wrong with an ip-range.
#[derive(Debug, Clone, PartialEq, Eq, Described)]
pub enum RangeFault {
    /// It is neither a prefix nor two addresses.
    #[error(
        "an ip-range is a prefix (192.168.32.128/25) or FIRST-LAST (192.168.32.10-192.168.32.19)"
    )]
    Malformed,
    /// It is an address alone.
    #[error("it is neither a prefix, having no prefix length, nor FIRST-LAST")]
    LengthMissing,
    /// Its prefix length is none.
    #[error("the prefix length of an {family} ip-range is a number up to {}", .family.bits())]
    Length {
        /// Its family.
        family: Family,
    },
    /// It has host bits set.
    #[error("it has host bits set: {meant} is meant")]
    HostBits {
        /// The prefix that the address lies in.
        meant: String,
    },
    /// Its last address comes before its first.
    #[error("its first address comes after its last")]
    Reversed {
        /// The range the other way round.
        meant: String,
    },
    /// It is of the wrong family, or its ends are of two.
    #[error("it is not all of {expected}")]
    Family {
        /// The subnet's, or the first address's.
        expected: Family,
    },
    /// It is not within the subnet.
    #[error("it is not within subnet {subnet}")]
    Outside {
        /// The pool's subnet.
        subnet: Subnet,
    },
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq, Described)]
pub enum AddressFault {
    /// It is no address.
    #[error("it is not an IP address")]
    Malformed,
    /// It names a link.
    #[error("an address here has no scope id")]
    ScopeId,
    /// It is of the other family.
    #[error("it is not an {expected} address")]
    Family {
        /// The subnet's family.
        expected: Family,
    },
    /// The integer is negative, or beyond the last address of the family.
    #[error("the integer is not an {family} address")]
    TooLarge {
        /// The family it was to be of.
        family: Family,
    },
}

/// Why an address cannot be the gateway or an aux address.
#[derive(Debug, Clone, PartialEq, Eq, Described)]
pub enum PlaceFault {
    /// It is of the other family.
    #[error("it is not an {expected} address")]
    Family {
        /// The subnet's family.
        expected: Family,
    },
    /// It is not in the subnet.
    #[error("it is outside subnet {subnet}")]
    Outside {
        /// The pool's subnet.
        subnet: Subnet,
    },
    /// The subnet needs it for something else.
    #[error("it is the subnet's {0}")]
    Holds(Role),
    /// An aux address without a name.
    #[error("it has no name")]
    NameEmpty,
    /// Two aux addresses of one name.
    #[error("another aux address has that name")]
    NameTwice,
}

/// How a snapshot or stored page contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, Described)]
pub enum Damage {
    /// It ends too early.
    #[error("it is truncated")]
    Truncated,
    /// It does not begin as a snapshot does.
    #[error("it is not a pool's snapshot")]
    NotASnapshot,
    /// It was written by another version.
    #[error("it is of version {found}; this macvfast knows version {known}")]
    Version {
        /// Its version.
        found: u16,
        /// The one that is known.
        known: u16,
    },
    /// Its checksum is another.
    #[error("its checksum does not fit")]
    Checksum,
    /// It goes on after its end.
    #[error("{bytes} bytes follow its end")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// One of its fields is what no pool has.
    #[error("its {0} cannot be")]
    Field(&'static str),
    /// The counts do not fit the bits.
    #[error("its counts do not fit its pages")]
    Counts,
    /// A page is not 512 bytes long.
    #[error("page {page} is {length} bytes long, not 512")]
    PageLength {
        /// Its number.
        page: u128,
        /// Its length.
        length: usize,
    },
    /// A page is not one of the pool's, or contradicts the summary or the addresses that the subnet itself needs.
    #[error("page {page} cannot be one of the pool's")]
    Page {
        /// Its number.
        page: u128,
    },
    /// A summary page is not 512 bytes long.
    #[error("summary page {page} is {length} bytes long, not 512")]
    SummaryLength {
        /// Its number.
        page: u128,
        /// Its length.
        length: usize,
    },
    /// A summary page is not one of the pool's.
    #[error("summary page {page} cannot be one of the pool's")]
    Summary {
        /// Its number.
        page: u128,
    },
}
