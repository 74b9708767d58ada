//! Pools of addresses: which address of a subnet is free, reserved or in use.
//!
//! Pure: no files, no kernel, no clock. An address is an integer and its position in the subnet an ordinal; a pool is a
//! bitmap of ordinals under a tree of summaries ([`Space`]: its cost follows the addresses in use, never the subnet's
//! size), from which one or several [`Source`]s give: ranges and an order. [`Pool`] is one of each with its gateway and aux
//! addresses.

#![forbid(unsafe_code)]

mod addresses;
mod bitmap;
mod error;
mod page;
mod pool;
mod prefix;
mod ranges;
mod rules;
mod snapshot;
mod source;
mod space;
mod tree;

pub use addresses::Addresses;
pub use bitmap::StoredPage;
pub use error::{AddressFault, Damage, Error, PlaceFault, RangeFault, SubnetFault};
pub use page::PAGE_BYTES;
pub use pool::Pool;
pub use prefix::{Address, AddressRange, Family, Subnet};
pub use rules::{Changes, Order, Role, Rules, Stored};
pub use source::{Source, MOST_AT_ONCE};
pub use space::Space;
