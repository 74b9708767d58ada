//! Exceptions for what the netlink crate says.

use macvfast_netlink::{Error as NetlinkError, Operation, RequestError};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The exception for a failure of the netlink crate. EPERM and EACCES become `PermissionNeeded`.
pub fn from_netlink(py: Python<'_>, error: NetlinkError) -> PyErr {
    match error {
        NetlinkError::System {
            operation,
            errno: libc::EPERM | libc::EACCES,
            text: _,
        } => {
            let needed = operation.capability();
            netlink_exception(
                py,
                "PermissionNeeded",
                (operation.to_string(), needed),
                None,
            )
        }
        NetlinkError::System {
            operation,
            errno,
            text,
        } => kernel_refused(py, &operation, errno, text),
        NetlinkError::DumpInterrupted {
            operation,
            attempts,
        } => {
            let text = format!("interrupted {attempts} times by changes");
            kernel_refused(py, &operation, libc::EINTR, Some(text))
        }
        NetlinkError::ReplyIncomplete { operation } => kernel_refused(
            py,
            &operation,
            libc::EPROTO,
            Some("the reply is incomplete".to_owned()),
        ),
        NetlinkError::Locked { operation, holders } => {
            netlink_exception(py, "PinsLocked", (operation.to_string(), holders), None)
        }
        NetlinkError::Unsafe { operation, reason } => {
            netlink_exception(py, "PinsUnsafe", (operation.to_string(), reason), None)
        }
        NetlinkError::NotANamespace { path, reason } => netlink_exception(
            py,
            "NamespaceInvalid",
            (path.to_string_lossy().into_owned(), reason.to_string()),
            None,
        ),
    }
}

/// The exception for a request that cannot be encoded.
pub fn from_request(error: RequestError) -> PyErr {
    match error {
        RequestError::Ifname(_)
        | RequestError::Ifindex(_)
        | RequestError::Vid(_)
        | RequestError::GroupZero
        | RequestError::Mode { .. }
        | RequestError::PrefixLength { .. }
        | RequestError::GatewayFamily
        | RequestError::Nsid(_)
        | RequestError::Sysctl(_) => PyValueError::new_err(error.to_string()),
    }
}

fn kernel_refused(
    py: Python<'_>,
    operation: &Operation,
    errno: i32,
    text: Option<String>,
) -> PyErr {
    let keywords = PyDict::new(py);
    match keywords.set_item("text", text) {
        Ok(()) => netlink_exception(
            py,
            "KernelRefused",
            (operation.to_string(), errno),
            Some(&keywords),
        ),
        Err(error) => error,
    }
}

/// An exception of `macvfast.errors`, made with those arguments; or what went wrong in making it.
fn netlink_exception<'py, A>(
    py: Python<'py>,
    class: &str,
    arguments: A,
    keywords: Option<&Bound<'py, PyDict>>,
) -> PyErr
where
    A: pyo3::call::PyCallArgs<'py>,
{
    py.import("macvfast.errors")
        .and_then(|errors| errors.getattr(class))
        .and_then(|class| class.call(arguments, keywords))
        .map_or_else(|error| error, PyErr::from_value)
}
