//! The one place where errors of the pure crates become Python exceptions. No catch-all arm: a new variant does not
//! compile until it has its exception. The exceptions themselves are defined in `macvfast/errors`.

mod ipam;
mod netlink;

pub(crate) use ipam::*;
pub(crate) use netlink::*;
