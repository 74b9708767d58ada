use proptest::prelude::*;

use super::*;
use crate::batch::Batch;

/// The payload of an RTM_NEWNSID, as `rtnl_net_fill` makes it.
fn payload(nsid: i32) -> Vec<u8> {
    [
        &[0; 4][..], // rtgenmsg: AF_UNSPEC
        &8_u16.to_ne_bytes(),
        &1_u16.to_ne_bytes(), // NETNSA_NSID
        &nsid.to_ne_bytes(),
    ]
    .concat()
}

#[test]
fn an_id_is_asked_for_as_the_kernel_headers_say() {
    let mut batch = Batch::new();
    batch.look_for_id(77).unwrap();
    let header = [
        &28_u32.to_ne_bytes()[..], // nlmsghdr: length, RTM_GETNSID, REQUEST | ACK, number, port
        &90_u16.to_ne_bytes(),
        &5_u16.to_ne_bytes(),
        &9_u32.to_ne_bytes(),
        &0_u32.to_ne_bytes(),
    ]
    .concat();
    let mut sent = Vec::new();
    batch.copy(0..1, 9, &mut sent);
    assert_eq!(sent, [header, payload(77)].concat());
}

#[test]
fn a_namespace_without_an_id_has_none() {
    assert_eq!(decode(&payload(-1)).unwrap(), None);
    assert_eq!(decode(&[0; 4]).unwrap(), None);
    assert!(decode(&[0; 3]).is_err());
}

#[test]
fn no_namespace_is_given_an_id_that_none_can_have() {
    let mut batch = Batch::new();
    assert!(matches!(batch.look_for_id(-1), Err(RequestError::Nsid(-1))));
    assert!(batch.is_empty());
}

proptest! {
    #[test]
    fn every_id_is_read_as_it_was_given(nsid in 0..=i32::MAX) {
        prop_assert_eq!(decode(&payload(nsid)).unwrap(), Some(nsid));
    }

    #[test]
    fn no_bytes_are_too_strange_to_be_read(payload: Vec<u8>) {
        let _ = decode(&payload);
    }
}
