use std::os::fd::AsRawFd;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{
    InfoData, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, MacVlanMode,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMetric, RouteScope,
};

use super::*;
use crate::link::LinkKind;

fn macvlan(ifname: &str) -> NewLink<'_> {
    macvlan_in(ifname, None)
}

fn macvlan_in<'a>(ifname: &'a str, netns: Option<&'a Arc<OwnedFd>>) -> NewLink<'a> {
    NewLink {
        ifname,
        ifindex: 1 << 20,
        mac: Some([2, 0x42, 10, 0, 0, 2]),
        mtu: Some(1400),
        group: 77,
        netns,
        up: true,
        kind: LinkKind::Macvlan {
            parent: 10,
            mode: "vepa",
            attributes: &[],
        },
    }
}

fn descriptor() -> (Arc<OwnedFd>, i32) {
    let netns: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
    let number = netns.as_raw_fd();
    (Arc::new(netns), number)
}

#[test]
fn a_namespace_that_was_closed_is_not_sent_by_its_number() {
    let mut batch = Batch::new();
    let (netns, _) = descriptor();
    for name in ["a", "b"] {
        batch.add_link(&macvlan_in(name, Some(&netns))).unwrap();
    }
    let open = Arc::downgrade(&netns);
    let held = batch.hold().unwrap();
    drop(netns);
    assert!(open.upgrade().is_some(), "sending keeps it open");
    drop(held);
    assert!(open.upgrade().is_none(), "being asked for does not");
    assert!(batch.hold().is_err());
}

fn decode(bytes: &[u8]) -> NetlinkMessage<RouteNetlinkMessage> {
    NetlinkMessage::deserialize(bytes).unwrap()
}

#[test]
fn a_macvlan_is_asked_for_whole_in_one_message() {
    let mut batch = Batch::new();
    let (netns, number) = descriptor();
    let request = macvlan_in("eth0", Some(&netns));
    assert_eq!(batch.add_link(&request).unwrap(), 0);
    let message = decode(&batch.buffer);
    assert_eq!(
        message.header.flags,
        NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL
    );
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = message.payload else {
        panic!("not RTM_NEWLINK");
    };
    assert_eq!(link.header.index, 1 << 20);
    assert_eq!(
        (link.header.flags, link.header.change_mask),
        (LinkFlags::Up, LinkFlags::Up)
    );
    for wanted in [
        LinkAttribute::IfName("eth0".to_owned()),
        LinkAttribute::Address(vec![2, 0x42, 10, 0, 0, 2]),
        LinkAttribute::Mtu(1400),
        LinkAttribute::Group(77),
        LinkAttribute::NetNsFd(number),
        LinkAttribute::Link(10),
    ] {
        assert!(link.attributes.contains(&wanted), "{wanted:?}");
    }
    let info = link
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(info) => Some(info),
            _ => None,
        });
    let mode = LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(
        MacVlanMode::Vepa,
    )]));
    assert!(info.unwrap().contains(&mode));
}

#[test]
fn an_address_is_encoded_as_the_kernel_headers_say() {
    let mut batch = Batch::new();
    let address = [10, 0, 0, 2].into();
    batch.add_address(20, address, 24, false).unwrap();
    let expected: Vec<u8> = [
        &40_u32.to_ne_bytes()[..], // nlmsghdr: length, RTM_NEWADDR, REQUEST | EXCL | CREATE, number, port
        &20_u16.to_ne_bytes(),
        &0x601_u16.to_ne_bytes(),
        &[0; 8],
        &[2, 24, 0, 0], // ifaddrmsg: AF_INET, prefix, flags, scope global, index
        &20_u32.to_ne_bytes(),
        &8_u16.to_ne_bytes(), // IFA_LOCAL
        &2_u16.to_ne_bytes(),
        &[10, 0, 0, 2],
        &8_u16.to_ne_bytes(), // IFA_ADDRESS
        &1_u16.to_ne_bytes(),
        &[10, 0, 0, 2],
    ]
    .concat();
    assert_eq!(batch.buffer, expected);
}

fn default_route(destination: IpAddr, gateway: IpAddr) -> NewRoute {
    NewRoute {
        ifindex: 20,
        destination,
        prefix_length: 0,
        gateway: Some(gateway),
        metric: None,
        mtu: None,
        advmss: None,
        table: None,
        scope: None,
        replaces: false,
        beside: false,
    }
}

#[test]
fn a_default_route_has_nothing_that_only_other_routes_need() {
    let mut batch = Batch::new();
    let route = default_route([0, 0, 0, 0].into(), [10, 0, 0, 1].into());
    batch.add_route(&route).unwrap();
    let expected: Vec<u8> = [
        &44_u32.to_ne_bytes()[..], // nlmsghdr: length, RTM_NEWROUTE, REQUEST | EXCL | CREATE, number, port
        &24_u16.to_ne_bytes(),
        &0x601_u16.to_ne_bytes(),
        &[0; 8],
        &[2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0], // rtmsg: AF_INET, main, boot, universe, unicast
        &8_u16.to_ne_bytes(),                    // RTA_OIF
        &4_u16.to_ne_bytes(),
        &20_u32.to_ne_bytes(),
        &8_u16.to_ne_bytes(), // RTA_GATEWAY
        &5_u16.to_ne_bytes(),
        &[10, 0, 0, 1],
    ]
    .concat();
    assert_eq!(batch.buffer, expected);
}

#[test]
fn a_route_is_asked_for_with_all_that_is_given_of_it_and_refused_where_there_is_one() {
    let route = NewRoute {
        destination: "2001:db8:9::".parse().unwrap(),
        prefix_length: 48,
        metric: Some(7),
        mtu: Some(1400),
        advmss: Some(1300),
        ..default_route(IpAddr::from([0_u16; 8]), "fe80::1".parse().unwrap())
    };
    let flags = |route| {
        let mut batch = Batch::new();
        batch.add_route(&route).unwrap();
        let message = decode(&batch.buffer);
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(found)) = message.payload
        else {
            panic!("not RTM_NEWROUTE");
        };
        (message.header.flags & NLM_F_EXCL, found)
    };
    let (exclusive, found) = flags(route);
    assert_eq!(exclusive, NLM_F_EXCL);
    assert_eq!(found.header.destination_prefix_length, 48);
    for wanted in [
        RouteAttribute::Oif(20),
        RouteAttribute::Gateway(RouteAddress::Inet6("fe80::1".parse().unwrap())),
        RouteAttribute::Destination(RouteAddress::Inet6("2001:db8:9::".parse().unwrap())),
        RouteAttribute::Priority(7),
        RouteAttribute::Metrics(vec![RouteMetric::Mtu(1400), RouteMetric::Advmss(1300)]),
    ] {
        assert!(found.attributes.contains(&wanted), "{wanted:?}");
    }
    // A router advertises the default route with the same metric.
    let default = NewRoute {
        destination: IpAddr::from([0_u16; 8]),
        prefix_length: 0,
        ..route
    };
    assert_eq!(flags(default).0, 0);
    let beside = NewRoute {
        table: Some(1000),
        scope: Some(200),
        beside: true,
        ..route
    };
    let (exclusive, found) = flags(beside);
    assert_eq!(exclusive, 0);
    // 1000 needs more than the byte of the header.
    assert_eq!(found.header.table, RouteHeader::RT_TABLE_UNSPEC);
    assert!(found.attributes.contains(&RouteAttribute::Table(1000)));
    assert_eq!(found.header.scope, RouteScope::Site);
}

#[test]
fn an_address_as_usual_has_a_broadcast_address_or_is_looked_for_elsewhere() {
    let asked = |text: &str, length| {
        let mut batch = Batch::new();
        batch
            .add_address(20, text.parse().unwrap(), length, true)
            .unwrap();
        let message = decode(&batch.buffer);
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(found)) = message.payload
        else {
            panic!("not RTM_NEWADDR");
        };
        found.attributes
    };
    let broadcast = AddressAttribute::Broadcast([10, 0, 3, 255].into());
    assert!(asked("10.0.2.7", 23).contains(&broadcast));
    assert_eq!(asked("10.0.2.7", 31).len(), 2);
    assert_eq!(asked("2001:db8::7", 64).len(), 2);
}

#[test]
fn only_the_last_request_of_a_send_is_acknowledged() {
    let mut batch = Batch::new();
    for name in ["a", "ab", "abc", "abcd"] {
        batch.add_link(&macvlan(name)).unwrap();
    }
    let mut buffer = vec![0xff; 3];
    batch.copy(1..3, 41, &mut buffer);
    let first = decode(&buffer);
    let second = decode(&buffer[first.header.length.next_multiple_of(4) as usize..]);
    assert_eq!(
        (first.header.sequence_number, first.header.flags & NLM_F_ACK),
        (41, 0)
    );
    assert_eq!(
        (
            second.header.sequence_number,
            second.header.flags & NLM_F_ACK
        ),
        (42, NLM_F_ACK)
    );
    assert_eq!(
        buffer.len(),
        (first.header.length + second.header.length).next_multiple_of(4) as usize
    );
}

#[test]
fn sequence_numbers_begin_again_at_zero() {
    let mut batch = Batch::new();
    for _ in 0..3 {
        batch.set_up(1).unwrap();
    }
    let mut buffer = Vec::new();
    batch.copy(0..3, u32::MAX, &mut buffer);
    let numbers: Vec<u32> = buffer
        .chunks(buffer.len() / 3)
        .map(|message| decode(message).header.sequence_number)
        .collect();
    assert_eq!(numbers, [u32::MAX, 0, 1]);
}

#[test]
fn a_batch_is_split_by_count_and_by_bytes_and_nothing_is_left_out() {
    let mut batch = Batch::new();
    for _ in 0..600 {
        batch.set_up(1).unwrap();
    }
    let each = batch.buffer.len() / 600;
    let by_count: Vec<_> = batch.sends(usize::MAX).collect();
    assert_eq!(by_count, [0..256, 256..512, 512..600]);
    let by_bytes: Vec<_> = batch.sends(each * 100 + 1).collect();
    assert_eq!(
        by_bytes,
        [0..100, 100..200, 200..300, 300..400, 400..500, 500..600]
    );
    // What is larger than the limit goes alone, for the kernel to refuse.
    assert_eq!(batch.sends(1).count(), 600);
    assert_eq!(Batch::new().sends(usize::MAX).count(), 0);
}

#[test]
fn a_request_that_cannot_be_encoded_leaves_the_batch_as_it_was() {
    let mut batch = Batch::new();
    batch.add_link(&macvlan("eth0")).unwrap();
    let before = batch.buffer.clone();
    let long = "a".repeat(16);
    for name in [
        "", &long, "a\0b", "a/b", "a b", "a:b", "eth%d", ".", "..", "a\tb",
    ] {
        assert_eq!(
            batch.add_link(&macvlan(name)),
            Err(RequestError::Ifname(name.to_owned())),
            "{name:?}"
        );
    }
    assert_eq!(batch.delete_group(0, None), Err(RequestError::GroupZero));
    assert_eq!(batch.delete_link(0, None), Err(RequestError::Ifindex(0)));
    assert_eq!(batch.set_up(1 << 31), Err(RequestError::Ifindex(1 << 31)));
    let address = [10, 0, 0, 2].into();
    assert_eq!(
        batch.add_address(1, address, 33, false),
        Err(RequestError::PrefixLength {
            length: 33,
            bits: 32
        })
    );
    let other = default_route(IpAddr::from([0_u16; 8]), address);
    assert_eq!(batch.add_route(&other), Err(RequestError::GatewayFamily));
    let long = NewRoute {
        prefix_length: 129,
        gateway: None,
        ..other
    };
    let refused = RequestError::PrefixLength {
        length: 129,
        bits: 128,
    };
    assert_eq!(batch.add_route(&long), Err(refused));
    assert_eq!((batch.buffer, batch.ends.len()), (before, 1));
}

#[test]
fn a_name_of_fifteen_bytes_is_a_name() {
    assert_eq!(Batch::new().add_link(&macvlan(&"a".repeat(15))), Ok(0));
}
