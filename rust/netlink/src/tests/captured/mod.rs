//! Datagrams as Linux 6.18 sent them, in answer to requests with sequence number 7.
//!
//! In the namespace they come from: veth 10 `p0`, 02:00:00:00:00:10, with the alternative name
//! `a-long-name-for-the-parent`; on it macvlan 20 `m0`, 02:42:0a:00:00:02, vepa, MTU 1400, group 77, 10.0.0.2/24,
//! default route by 10.0.0.1.

/// The number of all requests.
pub const SEQUENCE: u32 = 7;
/// RTM_NEWLINK of `m0`.
pub const LINK_MACVLAN: &str = include_str!("link-macvlan.hex");
/// RTM_NEWLINK of `p0`.
pub const LINK_ALTNAME: &str = include_str!("link-altname.hex");
/// NLMSG_ERROR: a macvlan with MTU 70000, EINVAL.
pub const ERROR_WORDS: &str = include_str!("error-words.hex");
/// NLMSG_ERROR: deletion of link 99, ENODEV.
pub const ERROR_PLAIN: &str = include_str!("error-plain.hex");
/// RTM_NEWNEIGH: the filter list of `p0`, multicast MACs too.
pub const FILTER: &str = include_str!("filter.hex");
/// RTM_NEWADDR of `m0`.
pub const ADDRESS: &str = include_str!("address.hex");
/// RTM_NEWROUTE: the default and the connected route.
pub const ROUTES: &str = include_str!("routes.hex");

/// The bytes of a capture.
pub fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.trim().as_bytes();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
