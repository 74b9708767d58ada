//! What a pool gives, keeps and refuses, case by case.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop")]

use macvfast_ipam::{
    Address, AddressRange, Changes, Damage, Error, Order, Pool, Role, Rules, Source, Space, Stored,
    Subnet, PAGE_BYTES,
};
use std::collections::BTreeMap;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn pool(subnet: &str, ranges: &[&str]) -> Pool {
    let ranges: Vec<_> = ranges
        .iter()
        .map(|text| AddressRange::parse(text).unwrap())
        .collect();
    let rules = Rules::new(Subnet::parse(subnet).unwrap());
    Pool::new(Rules {
        ranges: (!ranges.is_empty()).then_some(ranges),
        ..rules
    })
    .unwrap()
}

fn source(subnet: Subnet, order: Order) -> Source {
    Source::new(subnet, None, order).unwrap()
}

/// What a store would give back of a subnet's addresses, no page of them loaded.
fn load(subnet: Subnet, changes: Changes) -> Space {
    let Changes { used, summary, .. } = changes;
    let summary = summary
        .into_iter()
        .filter_map(|(number, bytes)| Some((number, bytes?)))
        .collect();
    Space::stored(subnet, &Stored { used, summary }).unwrap()
}

#[test]
fn every_prefix_length_gives_all_its_addresses_and_ends() {
    let lengths = (8..=32)
        .map(|length| ("10.0.0.0", length))
        .chain((32..=128).map(|length| ("fd00::", length)));
    for (base, length) in lengths {
        let mut pool = pool(&format!("{base}/{length}"), &[]);
        let size = pool.size();
        let v4 = base == "10.0.0.0";
        let kept = match size {
            1 | 2 => 0,
            _ if v4 => 2,
            _ => 1,
        };
        assert_eq!(
            (pool.used(), pool.available()),
            (kept, size - kept),
            "{base}/{length}"
        );
        let mut first = address(base).value();
        if kept > 0 {
            first += 1;
        }
        assert_eq!(
            pool.allocate().map(Address::value),
            Ok(first),
            "{base}/{length}"
        );
        if size <= 1 << 16 {
            let rest = pool.allocate_many((size - kept - 1) as u64).unwrap();
            let mut expected = first;
            for address in rest.iter() {
                expected += 1;
                assert_eq!(address.value(), expected);
            }
            assert!(matches!(pool.allocate(), Err(Error::Exhausted { .. })));
            assert_eq!(pool.used(), size);
        }
    }
}

#[test]
fn the_last_addresses_of_the_largest_pools_can_be_reserved_and_given() {
    for (subnet, range, last) in [
        (
            "10.0.0.0/8",
            "10.255.255.254-10.255.255.255",
            "10.255.255.254",
        ),
        (
            "fd00::/8",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127",
            "fdff:ffff:ffff:ffff:ffff:ffff:ffff:fffe",
        ),
    ] {
        let mut pool = pool(subnet, &[range]);
        assert_eq!(pool.allocate(), Ok(address(last)));
        assert_eq!(pool.release(address(last)), Ok(true));
        assert_eq!(pool.reserve(address(last)), Ok(()));
        assert!(matches!(
            pool.reserve(address(last)),
            Err(Error::Taken { role: None, .. })
        ));
    }
}

#[test]
fn no_more_than_the_largest_ipv4_pool_is_given_at_once() {
    let mut pool = pool("fd00::/64", &[]);
    assert!(matches!(
        pool.allocate_many(1 << 40),
        Err(Error::TooMany { .. })
    ));
    assert_eq!(pool.used(), 1);
}

#[test]
fn a_full_slash_eight_is_exact() {
    let mut pool = pool("10.0.0.0/8", &[]);
    assert_eq!(
        pool.allocate_many((1 << 24) - 2).unwrap().len(),
        (1 << 24) - 2
    );
    assert_eq!(pool.available(), 0);
    assert_eq!(pool.release(address("10.77.3.9")), Ok(true));
    let copy = pool.snapshot();
    assert!(
        copy.len() < 100_000,
        "of full pages the number says enough: {}",
        copy.len()
    );
    let mut copy = Pool::from_snapshot(&copy).unwrap();
    for pool in [&mut pool, &mut copy] {
        assert_eq!(pool.allocate(), Ok(address("10.77.3.9")));
        assert!(matches!(pool.allocate(), Err(Error::Exhausted { .. })));
    }
}

#[test]
fn a_space_in_a_store_loads_only_the_pages_that_it_touches() {
    let subnet = Subnet::parse("10.0.0.0/8").unwrap();
    let (mut space, mut lowest) = (Space::new(subnet), source(subnet, Order::Lowest));
    for _ in 0..100_000 {
        lowest.allocate(&mut space).unwrap();
    }
    let stored = space.changes();
    let pages: BTreeMap<_, _> = stored.pages.iter().cloned().collect();
    let mut loaded = load(subnet, stored);
    let mut fresh = source(subnet, Order::Lowest);
    let Err(Error::NeedsPage { page }) = fresh.allocate(&mut loaded) else {
        panic!("nothing was loaded yet")
    };
    assert_eq!(
        page,
        100_000 / 4096,
        "the full pages before it are known from the summary"
    );
    loaded
        .provide(page, pages[&page].as_ref().map(|bytes| &bytes[..]))
        .unwrap();
    assert_eq!(fresh.allocate(&mut loaded), lowest.allocate(&mut space));
    assert_eq!(loaded.contains(address("10.0.0.77")), Ok(true));
    assert_eq!(loaded.release(address("10.0.0.77")), Ok(true));
    assert_eq!(loaded.changes().pages.len(), 2);
    assert_eq!(
        fresh.allocate(&mut loaded),
        Ok(address("10.0.0.77")),
        "what others free is seen by who has searched past it"
    );
}

#[test]
fn a_page_that_lacks_the_subnets_ends_or_contradicts_the_summary_is_refused() {
    let subnet = Subnet::parse("10.0.0.0/16").unwrap();
    let mut space = load(subnet, Space::new(subnet).changes());
    let damage = |result: Result<(), Error>| match result {
        Err(Error::Damaged(damage)) => Some(damage),
        _ => None,
    };
    assert_eq!(
        damage(space.provide(0, None)),
        Some(Damage::Page { page: 0 }),
        "the network address is in use"
    );
    assert_eq!(
        damage(space.provide(1, Some(&[255; 512]))),
        Some(Damage::Page { page: 1 }),
        "it would be full"
    );
    assert_eq!(
        damage(space.provide(16, None)),
        Some(Damage::Page { page: 16 }),
        "a /16 has 16 pages"
    );
    assert_eq!(
        damage(space.provide(1, Some(&[0; 511]))),
        Some(Damage::PageLength {
            page: 1,
            length: 511
        })
    );
    assert_eq!(
        source(subnet, Order::Lowest).allocate(&mut space),
        Err(Error::NeedsPage { page: 0 })
    );
}

#[test]
fn counts_that_no_subnet_can_have_are_refused() {
    let subnet = Subnet::parse("10.0.0.0/24").unwrap();
    let stored = |used| Stored {
        used,
        summary: vec![],
    };
    for wrong in [0, 1, 257] {
        assert!(matches!(
            Space::stored(subnet, &stored(wrong)),
            Err(Error::Damaged(Damage::Counts))
        ));
    }
    let mut beyond = stored(2);
    beyond.summary = vec![(0, [1; PAGE_BYTES])];
    assert!(matches!(
        Space::stored(subnet, &beyond),
        Err(Error::Damaged(Damage::Summary { page: 0 }))
    ));
    assert!(Space::stored(subnet, &stored(3)).is_ok());
}

#[test]
fn a_source_takes_nothing_of_another_subnet() {
    let mut space = Space::new(Subnet::parse("10.0.0.0/24").unwrap());
    let mut other = source(Subnet::parse("10.0.0.0/16").unwrap(), Order::Lowest);
    assert!(matches!(
        other.allocate(&mut space),
        Err(Error::Elsewhere { .. })
    ));
    assert_eq!(space.used(), 2);
}

#[test]
fn what_the_subnet_needs_has_a_role() {
    let mut rules = Rules::new(Subnet::parse("192.168.32.0/24").unwrap());
    rules.gateway = Some(address("192.168.32.254"));
    rules.aux = vec![("router".to_owned(), address("192.168.32.129"))];
    let pool = Pool::new(rules).unwrap();
    let role = |text| pool.role(address(text)).unwrap();
    assert_eq!(role("192.168.32.0"), Some(Role::NetworkAddress));
    assert_eq!(role("192.168.32.255"), Some(Role::BroadcastAddress));
    assert_eq!(role("192.168.32.254"), Some(Role::Gateway));
    assert_eq!(
        role("192.168.32.129").unwrap().to_string(),
        "aux address `router`"
    );
    assert_eq!(role("192.168.32.128"), None);
}

#[test]
fn many_at_once_begin_with_the_first_free_page_not_in_the_midst_of_it() {
    let mut pool = Pool::new(Rules {
        order: Order::Next,
        ..Rules::new(Subnet::parse("10.0.0.0/18").unwrap())
    })
    .unwrap();
    pool.allocate_many(4000).unwrap();
    for ordinal in 4001..4096 {
        pool.reserve(pool.subnet().address(ordinal)).unwrap();
    }
    let rest = pool.allocate_many(pool.available() as u64).unwrap();
    assert_eq!(rest.iter().next(), Some(address("10.0.16.0")));
    assert_eq!(rest.len(), 3 * 4096 - 1);
}

#[test]
fn a_stored_page_that_is_freed_twice_over_is_taken_out_of_the_store() {
    let mut space = Space::new(Subnet::parse("10.0.0.0/16").unwrap());
    let far = address("10.0.99.99");
    space.reserve(far).unwrap();
    let page = (99 << 8 | 99) >> 12;
    assert!(space
        .changes()
        .pages
        .iter()
        .any(|(number, bytes)| *number == page && bytes.is_some()));
    for _ in 0..2 {
        assert_eq!(space.release(far), Ok(true));
        assert_eq!(space.reserve(far), Ok(()));
    }
    assert_eq!(space.release(far), Ok(true));
    assert_eq!(space.changes().pages, [(page, None)]);
    space.reserve(far).unwrap();
    space.release(far).unwrap();
    assert_eq!(
        space.changes().pages,
        [],
        "what was never stored leaves no trace"
    );
}

#[test]
fn a_search_passes_over_whole_levels_that_are_full() {
    let rules = Rules {
        order: Order::Next,
        ..Rules::new(Subnet::parse("10.0.0.0/8").unwrap())
    };
    let mut pool = Pool::new(rules).unwrap();
    pool.allocate_many((1 << 24) - 2).unwrap();
    for text in ["10.77.3.9", "10.0.0.1", "10.255.255.254", "10.128.0.0"] {
        assert_eq!(pool.release(address(text)), Ok(true));
        assert_eq!(pool.allocate(), Ok(address(text)));
    }
    assert!(matches!(pool.allocate(), Err(Error::Exhausted { .. })));
}

#[test]
fn pages_out_of_order_are_no_snapshot() {
    let mut pool = pool("10.0.0.0/16", &[]);
    pool.reserve(address("10.0.99.99")).unwrap();
    let mut bytes = pool.snapshot();
    // The last two records before the checksum are those of pages 6 and 15: number, 0, bits.
    let (record, end) = (17 + PAGE_BYTES, bytes.len() - 4);
    let (before, last) = bytes[end - 2 * record..end].split_at_mut(record);
    before.swap_with_slice(last);
    let checksum = crc32fast::hash(&bytes[..end]).to_le_bytes();
    bytes[end..].copy_from_slice(&checksum);
    assert!(matches!(
        Pool::from_snapshot(&bytes),
        Err(Error::Damaged(Damage::Altered))
    ));
}

#[test]
fn a_snapshot_in_which_a_reserved_address_is_free_is_none() {
    let mut bytes = pool("10.0.0.0/24", &[]).snapshot();
    // The only page comes last before the checksum. Its counts stay as they were.
    let (page, end) = (bytes.len() - 4 - PAGE_BYTES, bytes.len() - 4);
    bytes[page] = 0b0010_0000;
    let checksum = crc32fast::hash(&bytes[..end]).to_le_bytes();
    bytes[end..].copy_from_slice(&checksum);
    let refused = Damage::Page { page: 0 };
    assert_eq!(
        Pool::from_snapshot(&bytes).map(|_| ()),
        Err(Error::Damaged(refused))
    );
}
