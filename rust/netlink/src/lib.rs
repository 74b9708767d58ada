//! macvfast-netlink: what to ask of the kernel, in batches, and network namespaces to ask it in.
//!
//! A [`Batch`] encodes requests as they come; a [`Socket`] sends it in a few system calls and gives one outcome per
//! request. `netlink-packet-route` knows the messages; what is here is how many of
//! them travel at once and how their replies find back to them.
//!
//! Not `async`, and nothing is retried but interrupted dumps: the caller knows what a refusal means.

#![deny(unsafe_code)]

mod addr;
mod batch;
#[cfg(test)]
#[path = "tests/captured/mod.rs"]
mod captured;
mod error;
mod link;
pub mod netns;
mod nsid;
mod pin;
mod reply;
mod route;
mod socket;
mod sysctl;
mod threads;
mod visitor;

pub use batch::{Batch, REQUESTS_PER_SEND};
pub use error::{Error, NotANamespace, Operation, RequestError};
pub use link::{Link, LinkKey, LinkKind, NewLink};
pub use pin::{pin_all, unpin};
pub use reply::{Refusal, Refusals};
pub use route::{NewRoute, Route};
pub use socket::Socket;
pub use sysctl::Sysctl;
pub use threads::spread;
