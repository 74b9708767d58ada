//! What the allocator refuses, as exceptions.

use macvfast_ipam::{Error, PlaceFault, RangeFault, Role, SubnetFault};
use pyo3::import_exception;
use pyo3::prelude::*;

import_exception!(macvfast.errors, AddressInvalid);
import_exception!(macvfast.errors, AddressOutsideSubnet);
import_exception!(macvfast.errors, AddressReserved);
import_exception!(macvfast.errors, AddressTaken);
import_exception!(macvfast.errors, AuxAddressInvalid);
import_exception!(macvfast.errors, GatewayInvalid);
import_exception!(macvfast.errors, OptionInvalid);
import_exception!(macvfast.errors, PoolExhausted);
import_exception!(macvfast.errors, RangeInvalid);
import_exception!(macvfast.errors, SnapshotDamaged);
import_exception!(macvfast.errors, SubnetInvalid);

/// The exception of a pool's error.
pub(crate) fn of_ipam(error: Error) -> PyErr {
    match error {
        Error::Subnet { text, fault } => {
            SubnetInvalid::new_err((text, fault.to_string(), meant_subnet(fault)))
        }
        Error::Range { text, fault } => {
            RangeInvalid::new_err((text, fault.to_string(), meant_range(fault)))
        }
        Error::Gateway { address, fault } => {
            GatewayInvalid::new_err((address.to_string(), fault.to_string()))
        }
        Error::Aux {
            name,
            address,
            fault,
        } => {
            let (reason, hints) = (fault.to_string(), aux_hints(&fault));
            AuxAddressInvalid::new_err((name, address.to_string(), reason, hints))
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

fn meant_subnet(fault: SubnetFault) -> Option<String> {
    match fault {
        SubnetFault::HostBits { meant } => Some(meant),
        SubnetFault::Malformed
        | SubnetFault::LengthMissing
        | SubnetFault::Length { .. }
        | SubnetFault::TooLarge { .. }
        | SubnetFault::ScopeId => None,
    }
}

fn meant_range(fault: RangeFault) -> Option<String> {
    match fault {
        RangeFault::HostBits { meant } | RangeFault::Reversed { meant } => Some(meant),
        RangeFault::Malformed
        | RangeFault::LengthMissing
        | RangeFault::Length { .. }
        | RangeFault::Family { .. }
        | RangeFault::Outside { .. } => None,
    }
}

fn aux_hints(fault: &PlaceFault) -> Vec<&'static str> {
    match fault {
        PlaceFault::Holds(Role::Gateway) => vec!["name the gateway itself, with --gateway"],
        PlaceFault::Holds(
            Role::NetworkAddress
            | Role::BroadcastAddress
            | Role::SubnetRouterAnycast
            | Role::Aux(_),
        )
        | PlaceFault::Family { .. }
        | PlaceFault::Outside { .. }
        | PlaceFault::NameEmpty
        | PlaceFault::NameTwice => Vec::new(),
    }
}
