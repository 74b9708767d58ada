//! The one place where errors of the pure crates become Python exceptions. No catch-all arm: a new variant does not
//! compile until it has its exception. The exceptions themselves are defined in `macvfast/errors`.

use macvfast_ipam::{Error, PlaceFault, RangeFault, Role, SubnetFault};
use macvfast_netlink::{Error as NetlinkError, RequestError};
use pyo3::exceptions::PyValueError;
use pyo3::import_exception;
use pyo3::prelude::*;

import_exception!(macvfast.errors, AddressInvalid);
import_exception!(macvfast.errors, AddressOutsideSubnet);
import_exception!(macvfast.errors, AddressReserved);
import_exception!(macvfast.errors, AddressTaken);
import_exception!(macvfast.errors, AuxAddressInvalid);
import_exception!(macvfast.errors, GatewayInvalid);
import_exception!(macvfast.errors, KernelRefused);
import_exception!(macvfast.errors, NamespaceInvalid);
import_exception!(macvfast.errors, OptionInvalid);
import_exception!(macvfast.errors, PermissionNeeded);
import_exception!(macvfast.errors, PinsLocked);
import_exception!(macvfast.errors, PinsUnsafe);
import_exception!(macvfast.errors, PoolExhausted);
import_exception!(macvfast.errors, RangeInvalid);
import_exception!(macvfast.errors, SnapshotDamaged);
import_exception!(macvfast.errors, SubnetInvalid);

/// The exception of a pool's error.
pub(crate) fn of_ipam(error: Error) -> PyErr {
    match error {
        Error::Subnet { text, fault } => {
            let reason = fault.to_string();
            let meant = match fault {
                SubnetFault::HostBits { meant } => Some(meant),
                _ => None,
            };
            SubnetInvalid::new_err((text, reason, meant))
        }
        Error::Range { text, fault } => {
            let reason = fault.to_string();
            let meant = match fault {
                RangeFault::HostBits { meant } | RangeFault::Reversed { meant } => Some(meant),
                _ => None,
            };
            RangeInvalid::new_err((text, reason, meant))
        }
        Error::Gateway { address, fault } => {
            GatewayInvalid::new_err((address.to_string(), fault.to_string()))
        }
        Error::Aux {
            name,
            address,
            fault,
        } => {
            let hints = match fault {
                PlaceFault::Holds(Role::Gateway) => vec!["name the gateway itself, with --gateway"],
                _ => Vec::new(),
            };
            AuxAddressInvalid::new_err((name, address.to_string(), fault.to_string(), hints))
        }
        Error::Address { address, fault } => {
            AddressInvalid::new_err((address.to_string(), fault.to_string()))
        }
        Error::Outside { address, subnet } => {
            AddressOutsideSubnet::new_err((address.to_string(), vec![subnet.to_string()]))
        }
        Error::Taken { address, role } => AddressTaken::new_err((
            address.to_string(),
            role.map(|role| format!("the subnet's {role}")),
        )),
        Error::Avoided { address } => {
            AddressTaken::new_err((address.to_string(), "somebody else's"))
        }
        Error::Reserved { address, role } => {
            AddressReserved::new_err((address.to_string(), role.to_string()))
        }
        Error::Exhausted { subnet } => {
            let network: Option<String> = None;
            PoolExhausted::new_err((
                vec![subnet.to_string()],
                network,
                subnet.family().to_string(),
            ))
        }
        Error::TooMany { count, most } => OptionInvalid::new_err((
            "count",
            count.to_string(),
            format!("at most {most} addresses are taken at once"),
        )),
        // Bugs of the caller's: a pool without a way to its pages, or another subnet's source.
        error @ (Error::NeedsPage { .. } | Error::Elsewhere { .. }) => {
            SnapshotDamaged::new_err((error.to_string(),))
        }
        Error::Damaged(damage) => SnapshotDamaged::new_err((damage.to_string(),)),
    }
}

/// The exception for a failure of the netlink crate. EPERM and EACCES become `PermissionNeeded`.
pub(crate) fn from_netlink(error: NetlinkError) -> PyErr {
    match error {
        NetlinkError::System {
            operation,
            errno: libc::EPERM | libc::EACCES,
            text: _,
        } => PermissionNeeded::new_err((operation.to_string(), operation.capability())),
        NetlinkError::System {
            operation,
            errno,
            text,
        } => KernelRefused::new_err((operation.to_string(), errno, text)),
        NetlinkError::Locked { operation, holders } => {
            PinsLocked::new_err((operation.to_string(), holders))
        }
        NetlinkError::Unsafe { operation, reason } => {
            PinsUnsafe::new_err((operation.to_string(), reason))
        }
        NetlinkError::NotANamespace { path, reason } => {
            NamespaceInvalid::new_err((path.to_string_lossy().into_owned(), reason.to_string()))
        }
    }
}

/// The exception for a request that cannot be encoded: its caller made a mistake.
pub(crate) fn from_request(error: RequestError) -> PyErr {
    PyValueError::new_err(error.to_string())
}
