//! Random operations on a pool and on its slow, obvious twin, a sorted set.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use macvfast_ipam::{
    Address, AddressRange, Changes, Error, Order, Pool, Rules, Stored, Subnet, PAGE_BYTES,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The twin: every ordinal of a small subnet, one by one.
struct Golden {
    size: u128,
    ranges: Vec<(u128, u128)>,
    used: BTreeSet<u128>,
    reserved: BTreeSet<u128>,
    avoided: BTreeSet<u128>,
    order: Order,
    next: u128,
}

impl Golden {
    fn new(plan: &Plan) -> Self {
        let size = 1 << plan.host_bits;
        let mut reserved: BTreeSet<u128> = plan
            .gateway
            .into_iter()
            .chain(plan.aux.iter().copied())
            .collect();
        if plan.host_bits > 1 {
            reserved.insert(0);
            if plan.v4 {
                reserved.insert(size - 1);
            }
        }
        let ranges = if plan.ranges.is_empty() {
            vec![(0, size - 1)]
        } else {
            plan.ranges.clone()
        };
        Self {
            size,
            ranges,
            used: reserved.clone(),
            reserved,
            avoided: BTreeSet::new(),
            order: plan.order,
            next: 0,
        }
    }

    fn in_ranges(&self, ordinal: u128) -> bool {
        self.ranges
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&ordinal))
    }

    fn free(&self) -> impl Iterator<Item = u128> + '_ {
        (0..self.size).filter(|ordinal| {
            self.in_ranges(*ordinal)
                && !self.used.contains(ordinal)
                && !self.avoided.contains(ordinal)
        })
    }

    fn allocate(&mut self) -> Option<u128> {
        self.allocate_many(1)?.first().copied()
    }

    fn allocate_many(&mut self, count: usize) -> Option<Vec<u128>> {
        let from = if self.order == Order::Next {
            self.next
        } else {
            0
        };
        let (before, after): (Vec<u128>, _) = self.free().partition(|ordinal| *ordinal < from);
        let given: Vec<u128> = after.into_iter().chain(before).take(count).collect();
        if given.len() < count {
            return None;
        }
        self.used.extend(&given);
        self.next = given.last().map_or(self.next, |last| last + 1);
        Some(given)
    }
}

#[derive(Debug, Clone)]
struct Plan {
    v4: bool,
    host_bits: u32,
    ranges: Vec<(u128, u128)>,
    gateway: Option<u128>,
    aux: BTreeSet<u128>,
    order: Order,
}

impl Plan {
    fn subnet(&self) -> Subnet {
        let (base, bits) = if self.v4 {
            ("10.64.0.0", 32)
        } else {
            ("fd00::1:0", 128)
        };
        Subnet::new(Address::parse(base).unwrap(), (bits - self.host_bits) as u8).unwrap()
    }

    fn rules(&self) -> Rules {
        let subnet = self.subnet();
        let address = |ordinal: u128| subnet.address(ordinal);
        let ranges: Vec<_> = self
            .ranges
            .iter()
            .map(|(a, b)| AddressRange::new(address(*a), address(*b)).unwrap())
            .collect();
        Rules {
            subnet,
            ranges: (!ranges.is_empty()).then_some(ranges),
            gateway: self.gateway.map(address),
            aux: self
                .aux
                .iter()
                .map(|ordinal| (format!("aux-{ordinal}"), address(*ordinal)))
                .collect(),
            order: self.order,
        }
    }
}

/// Subnets of 1 to 16,384 addresses (four pages), with everything that a pool can be given.
fn plans() -> impl Strategy<Value = Plan> {
    (
        any::<bool>(),
        prop_oneof![0..=9u32, 12..=14u32],
        any::<bool>(),
    )
        .prop_flat_map(|(v4, host_bits, next)| {
            let ordinals = 0..1u128 << host_bits;
            let ranges = prop::collection::vec((ordinals.clone(), 0..600u128), 0..4);
            let aux = prop::collection::btree_set(ordinals.clone(), 0..4);
            (ranges, prop::option::of(ordinals), aux).prop_map(move |(ranges, gateway, aux)| {
                let size = 1u128 << host_bits;
                let ends = |o: &u128| host_bits > 1 && (*o == 0 || (v4 && *o == size - 1));
                let gateway = gateway.filter(|o| !ends(o));
                Plan {
                    v4,
                    host_bits,
                    ranges: ranges
                        .into_iter()
                        .map(|(a, n)| (a, (a + n).min(size - 1)))
                        .collect(),
                    gateway,
                    aux: aux
                        .into_iter()
                        .filter(|o| !ends(o) && Some(*o) != gateway)
                        .collect(),
                    order: if next { Order::Next } else { Order::Lowest },
                }
            })
        })
}

#[derive(Debug, Clone)]
enum Step {
    Allocate,
    AllocateMany(usize),
    /// A part of the way through the subnet, so that it fits every size.
    Reserve(f64),
    Release(f64),
    /// One of the addresses in use.
    ReleaseUsed(f64),
    /// Some that somebody else has: the first ones, and others.
    Avoid(u128, Vec<f64>),
    /// Through bytes and back, or through a store and back.
    Snapshot,
    Reload,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let part = || 0.0..1.0f64;
    let step = prop_oneof![
        4 => Just(Step::Allocate),
        2 => prop_oneof![0..10usize, 0..5000usize].prop_map(Step::AllocateMany),
        2 => part().prop_map(Step::Reserve),
        1 => part().prop_map(Step::Release),
        4 => part().prop_map(Step::ReleaseUsed),
        2 => (0..3u128, prop::collection::vec(part(), 0..3)).prop_map(|(first, others)| Step::Avoid(first, others)),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Reload),
    ];
    prop::collection::vec(step, 1..60)
}

/// A store of pages, as a database would be.
#[derive(Default)]
struct Store {
    pages: BTreeMap<u128, [u8; PAGE_BYTES]>,
    summary: BTreeMap<u128, [u8; PAGE_BYTES]>,
    counts: (u128, u128, u128),
}

impl Store {
    fn keep(&mut self, changes: Changes) {
        for (into, from) in [
            (&mut self.pages, changes.pages),
            (&mut self.summary, changes.summary),
        ] {
            for (number, bytes) in from {
                match bytes {
                    Some(bytes) => into.insert(number, bytes),
                    None => into.remove(&number),
                };
            }
        }
        self.counts = (changes.used, changes.used_in_ranges, changes.cursor);
    }

    fn load(&self, rules: Rules) -> Pool {
        let (used, used_in_ranges, cursor) = self.counts;
        let summary = self
            .summary
            .iter()
            .map(|(number, bytes)| (*number, *bytes))
            .collect();
        Pool::stored(
            rules,
            Stored {
                used,
                used_in_ranges,
                cursor,
                summary,
            },
        )
        .unwrap()
    }

    /// Ask until every page that the operation needs is there.
    fn with<T>(
        &self,
        pool: &mut Pool,
        mut ask: impl FnMut(&mut Pool) -> Result<T, Error>,
    ) -> Result<T, Error> {
        loop {
            let before = (pool.used(), pool.available(), pool.cursor());
            match ask(pool) {
                Err(Error::NeedsPage { page }) => {
                    assert_eq!(before, (pool.used(), pool.available(), pool.cursor()));
                    pool.provide(page, self.pages.get(&page).map(|bytes| &bytes[..]))
                        .unwrap();
                }
                answer => return answer,
            }
        }
    }
}

fn pick(set: &BTreeSet<u128>, part: f64) -> Option<u128> {
    set.iter().nth((part * set.len() as f64) as usize).copied()
}

fn compare(pool: &mut Pool, store: &Store, golden: &Golden, subnet: Subnet) {
    let inside = golden
        .used
        .union(&golden.avoided)
        .filter(|ordinal| golden.in_ranges(**ordinal))
        .count();
    assert_eq!(pool.used(), golden.used.len() as u128);
    assert_eq!(pool.available(), golden.free().count() as u128);
    assert_eq!(
        pool.available() + inside as u128,
        (0..golden.size).filter(|o| golden.in_ranges(*o)).count() as u128
    );
    for ordinal in 0..golden.size {
        let held = store
            .with(pool, |pool| pool.contains(subnet.address(ordinal)))
            .unwrap();
        assert_eq!(held, golden.used.contains(&ordinal), "ordinal {ordinal}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pool_behaves_as_a_sorted_set(plan in plans(), steps in steps()) {
        let (subnet, mut golden) = (plan.subnet(), Golden::new(&plan));
        let mut pool = Pool::new(plan.rules()).unwrap();
        let mut store = Store::default();
        store.keep(pool.changes());
        for step in steps {
            match step {
                Step::Allocate => match store.with(&mut pool, Pool::allocate) {
                    Ok(address) => prop_assert_eq!(subnet.ordinal(address), golden.allocate()),
                    Err(error) => {
                        prop_assert_eq!(error, Error::Exhausted { subnet });
                        prop_assert_eq!(golden.allocate(), None);
                    }
                },
                Step::AllocateMany(count) => match store.with(&mut pool, |pool| pool.allocate_many(count as u64)) {
                    Ok(addresses) => {
                        prop_assert_eq!(addresses.len(), count);
                        let given: Vec<u128> = addresses.iter().filter_map(|a| subnet.ordinal(a)).collect();
                        prop_assert_eq!(Some(given), golden.allocate_many(count));
                    }
                    Err(error) => {
                        prop_assert_eq!(error, Error::Exhausted { subnet });
                        prop_assert_eq!(golden.allocate_many(count), None);
                    }
                },
                Step::Reserve(part) => {
                    let ordinal = (part * golden.size as f64) as u128;
                    let address = subnet.address(ordinal);
                    let role = pool.role(address).unwrap();
                    prop_assert_eq!(role.is_some(), golden.reserved.contains(&ordinal));
                    match store.with(&mut pool, |pool| pool.reserve(address)) {
                        Ok(()) => {
                            prop_assert!(golden.used.insert(ordinal));
                            prop_assert!(!golden.avoided.contains(&ordinal));
                        }
                        Err(Error::Avoided { .. }) => {
                            prop_assert!(golden.avoided.contains(&ordinal));
                            prop_assert!(!golden.used.contains(&ordinal));
                        }
                        Err(error) => {
                            prop_assert_eq!(error, Error::Taken { address, role });
                            prop_assert!(golden.used.contains(&ordinal));
                        }
                    }
                }
                Step::Release(_) | Step::ReleaseUsed(_) => {
                    let ordinal = match step {
                        Step::Release(part) => Some((part * golden.size as f64) as u128),
                        Step::ReleaseUsed(part) => pick(&golden.used, part),
                        _ => None,
                    };
                    let Some(ordinal) = ordinal else { continue };
                    let address = subnet.address(ordinal);
                    match store.with(&mut pool, |pool| pool.release(address)) {
                        Ok(was_used) => {
                            prop_assert_eq!(was_used, golden.used.remove(&ordinal));
                            prop_assert_eq!(store.with(&mut pool, |pool| pool.release(address)), Ok(false));
                        }
                        Err(error) => {
                            prop_assert!(golden.reserved.contains(&ordinal));
                            let refused = matches!(error, Error::Reserved { .. });
                            prop_assert!(refused);
                        }
                    }
                }
                Step::Avoid(first, others) => {
                    let others = others.iter().map(|part| (part * golden.size as f64) as u128);
                    let avoided: BTreeSet<u128> = (0..first.min(golden.size)).chain(others).collect();
                    // What is outside of the subnet does not matter.
                    let mut addresses = vec![Address::parse("192.0.2.1").unwrap(), Address::parse("2001:db8::1").unwrap()];
                    addresses.extend(avoided.iter().map(|ordinal| subnet.address(*ordinal)));
                    let before = pool.used();
                    store.with(&mut pool, |pool| pool.avoid(&addresses)).unwrap();
                    prop_assert_eq!(pool.used(), before);
                    golden.avoided = avoided;
                }
                Step::Snapshot => {
                    let bytes = store.with(&mut pool, |pool| pool.snapshot()).unwrap();
                    pool = Pool::from_snapshot(&bytes).unwrap();
                    prop_assert_eq!(pool.snapshot().unwrap(), bytes);
                    // It knows nothing of the store: all of it is to be stored.
                    store = Store::default();
                    golden.avoided.clear();
                }
                Step::Reload => {
                    store.keep(pool.changes());
                    pool = store.load(plan.rules());
                    golden.avoided.clear();
                }
            }
            store.keep(pool.changes());
        }
        compare(&mut pool, &store, &golden, subnet);
        // What was avoided is free, and given again where nobody has it any more.
        golden.avoided.clear();
        store.with(&mut pool, |pool| pool.avoid(&[])).unwrap();
        compare(&mut pool, &store, &golden, subnet);
        let mut reloaded = store.load(plan.rules());
        compare(&mut reloaded, &store, &golden, subnet);
        let all = store.with(&mut reloaded, |pool| pool.snapshot()).unwrap();
        prop_assert_eq!(all, store.with(&mut pool, |pool| pool.snapshot()).unwrap());
    }

    #[test]
    fn a_huge_pool_gives_and_keeps_what_a_small_one_would(
        far in prop::collection::btree_set(0u128..1 << 120, 0..60),
        order in prop_oneof![Just(Order::Lowest), Just(Order::Next)],
    ) {
        let subnet = Subnet::parse("fd00::/8").unwrap();
        let mut pool = Pool::new(Rules { order, ..Rules::new(subnet) }).unwrap();
        let mut used = BTreeSet::from([0]);
        for ordinal in &far {
            prop_assert_eq!(pool.reserve(subnet.address(*ordinal)).is_ok(), used.insert(*ordinal));
        }
        for _ in 0..100 {
            let expected = (0u128..).find(|ordinal| !used.contains(ordinal)).unwrap();
            prop_assert_eq!(subnet.ordinal(pool.allocate().unwrap()), Some(expected));
            used.insert(expected);
        }
        let copy = Pool::from_snapshot(&pool.snapshot().unwrap()).unwrap();
        for ordinal in &used {
            prop_assert_eq!(copy.contains(subnet.address(*ordinal)), Ok(true));
        }
        for ordinal in used.iter().filter(|ordinal| **ordinal != 0) {
            prop_assert_eq!(pool.release(subnet.address(*ordinal)), Ok(true));
        }
        prop_assert_eq!(pool.used(), 1);
        prop_assert_eq!(copy.used(), used.len() as u128);
    }

    #[test]
    fn no_damaged_snapshot_becomes_a_pool(plan in plans(), at in 0.0..1.0f64, bit in 0..8u32, cut in any::<bool>()) {
        let mut pool = Pool::new(plan.rules()).unwrap();
        let _ = pool.allocate_many(5);
        let mut bytes = pool.snapshot().unwrap();
        let at = (at * bytes.len() as f64) as usize;
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] ^= 1 << bit;
        }
        prop_assert!(matches!(Pool::from_snapshot(&bytes), Err(Error::Damaged(_))));
    }

    #[test]
    fn a_snapshot_with_a_right_checksum_over_wrong_content_is_refused_or_sound(
        plan in plans(),
        edits in prop::collection::vec((0.0..1.0f64, any::<u8>()), 1..4),
    ) {
        let mut pool = Pool::new(plan.rules()).unwrap();
        let _ = pool.allocate_many(5);
        let mut bytes = pool.snapshot().unwrap();
        bytes.truncate(bytes.len() - 4);
        for (at, value) in edits {
            let at = (at * bytes.len() as f64) as usize;
            bytes[at] = value;
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        if let Ok(mut pool) = Pool::from_snapshot(&bytes) {
            prop_assert_eq!(pool.snapshot().unwrap(), bytes);
            let available = pool.available();
            match pool.allocate() {
                Ok(address) => prop_assert_eq!(pool.role(address), Ok(None)),
                Err(_) => prop_assert_eq!(available, 0),
            }
        }
    }
}
