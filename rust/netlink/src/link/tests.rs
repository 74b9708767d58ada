use std::net::IpAddr;

use netlink_packet_route::AddressFamily;

use super::*;
use crate::captured::{bytes, ADDRESS, FILTER, LINK_ALTNAME, LINK_MACVLAN, ROUTES, SEQUENCE};
use crate::reply::Answers;
use crate::route::Route;
use crate::{addr, route};

fn payloads(hex: &str) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    Answers::new(SEQUENCE).read(&bytes(hex), |payload| payloads.push(payload.to_vec()));
    payloads
}

#[test]
fn a_macvlan_is_read_as_the_kernel_showed_it() {
    let link = Link::decode(&payloads(LINK_MACVLAN)[0]).unwrap();
    let expected = Link {
        ifindex: 20,
        ifname: "m0".to_owned(),
        kind: Some("macvlan".to_owned()),
        mac: vec![2, 0x42, 10, 0, 0, 2],
        mtu: 1400,
        up: true,
        group: 77,
        parent: Some(10),
        mode: Some("vepa".to_owned()),
        attributes: vec![(6, 0), (7, 1000), (8, 1000)],
        ..Link::default()
    };
    assert_eq!(link, expected);
}

#[test]
fn alternative_names_are_read() {
    let link = Link::decode(&payloads(LINK_ALTNAME)[0]).unwrap();
    assert_eq!(
        (link.ifname.as_str(), link.kind.as_deref()),
        ("p0", Some("veth"))
    );
    assert_eq!(link.altnames, ["a-long-name-for-the-parent"]);
}

#[test]
fn an_address_is_read_with_its_link() {
    let payload = &payloads(ADDRESS)[0];
    assert_eq!(
        addr::decode(payload).unwrap(),
        Some(addr::Shown {
            ifindex: 20,
            address: IpAddr::from([10, 0, 0, 2]),
            prefix_length: 24,
            tentative: false,
        })
    );
}

#[test]
fn only_unicast_macs_of_the_parent_itself_are_in_its_filter() {
    let macs = |ifindex| -> Vec<[u8; 6]> {
        payloads(FILTER)
            .iter()
            .filter_map(|payload| addr::decode_filter(payload, ifindex).unwrap())
            .collect()
    };
    assert_eq!(macs(10), [[2, 0x42, 10, 0, 0, 2]]);
    assert_eq!(macs(11), [] as [[u8; 6]; 0]);
}

#[test]
fn routes_are_read_with_where_they_lead_and_by_what_and_default_ones_alone_where_those_are_meant() {
    let read = |default_only| -> Vec<Route> {
        payloads(ROUTES)
            .iter()
            .flat_map(|payload| route::decode(payload, AddressFamily::Inet, default_only).unwrap())
            .collect()
    };
    let default = Route {
        destination: IpAddr::from([0, 0, 0, 0]),
        prefix_length: 0,
        metric: 0,
        ifindex: Some(20),
        gateway: Some(IpAddr::from([10, 0, 0, 1])),
        advertised: false,
        mtu: None,
        advmss: None,
    };
    let connected = Route {
        destination: IpAddr::from([10, 0, 0, 0]),
        prefix_length: 24,
        gateway: None,
        ..default.clone()
    };
    assert_eq!(read(true), std::slice::from_ref(&default));
    assert_eq!(read(false), [default, connected]);
}

#[test]
fn a_route_for_packets_with_one_tos_is_none_that_all_packets_take() {
    for payload in payloads(ROUTES) {
        let mut payload = payload.to_vec();
        // rtm_tos.
        payload[3] = 0x10;
        assert_eq!(
            route::decode(&payload, AddressFamily::Inet, false).unwrap(),
            []
        );
    }
}

#[test]
fn a_payload_shorter_than_its_header_is_an_error() {
    assert!(Link::decode(&[0; 15]).is_err());
    assert!(addr::decode(&[0; 7]).is_err());
    assert!(addr::decode_filter(&[0; 11], 1).is_err());
    assert!(route::decode(&[0; 11], AddressFamily::Inet, false).is_err());
}

#[test]
fn every_mode_has_a_meaning_and_no_other_word() {
    let parent = 7;
    let refused = |kind| {
        let new = NewLink {
            ifname: "eth0",
            ifindex: 8,
            mac: None,
            mtu: None,
            group: 0,
            netns: None,
            up: true,
            kind,
        };
        new.message().err().map(|error| error.to_string())
    };
    for mode in ["bridge", "private", "vepa", "passthru"] {
        assert_eq!(
            refused(LinkKind::Macvlan {
                parent,
                mode,
                attributes: &[]
            }),
            None
        );
    }
    for mode in ["l2", "l3", "l3s"] {
        for flag in ["bridge", "private", "vepa"] {
            assert_eq!(refused(LinkKind::Ipvlan { parent, mode, flag }), None);
        }
    }
    let mode = "source";
    assert_eq!(
        refused(LinkKind::Macvlan {
            parent,
            mode,
            attributes: &[]
        })
        .unwrap(),
        "`source` is not a macvlan mode: bridge, private, vepa, passthru"
    );
    for (mode, flag, reason) in [
        ("L2", "bridge", "`L2` is not an ipvlan mode: l2, l3, l3s"),
        ("l2", "", "`` is not an ipvlan flag: bridge, private, vepa"),
    ] {
        assert_eq!(
            refused(LinkKind::Ipvlan { parent, mode, flag }).unwrap(),
            reason
        );
    }
}

#[test]
fn what_no_link_can_have_is_not_asked_for() {
    assert!(get(LinkKey::Index(0)).is_none());
    assert!(get(LinkKey::Index(u32::MAX)).is_none());
    assert!(get(LinkKey::Name("")).is_none());
    assert!(get(LinkKey::Name("a\0b")).is_none());
    assert!(get(LinkKey::Name(&"a".repeat(128))).is_none());
    assert!(get(LinkKey::Name(&"a".repeat(127))).is_some());
}
