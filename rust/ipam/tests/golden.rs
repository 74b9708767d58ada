//! Random operations on a pool and on its slow, obvious twin, a sorted set.

#![allow(clippy::unwrap_used, reason = "a test may stop")]

use macvfast_ipam::{
    Address, AddressRange, Changes, Error, Order, Pool, Rules, Source, Space, Stored, Subnet,
    PAGE_BYTES,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// The twin: every ordinal of a small subnet, one by one.
struct Golden {
    size: u128,
    used: BTreeSet<u128>,
    reserved: BTreeSet<u128>,
    ends: BTreeSet<u128>,
    sources: Vec<GoldenSource>,
}

/// What gives of them.
struct GoldenSource {
    ranges: Vec<(u128, u128)>,
    avoided: BTreeSet<u128>,
    order: Order,
    next: u128,
}

impl Golden {
    fn new(plan: &Plan, more: &[(Vec<(u128, u128)>, Order)]) -> Self {
        let size = 1 << plan.host_bits;
        let mut ends = BTreeSet::new();
        if plan.host_bits > 1 {
            ends.insert(0);
            if plan.v4 {
                ends.insert(size - 1);
            }
        }
        let kept = plan.gateway.into_iter().chain(plan.aux.iter().copied());
        let reserved: BTreeSet<u128> = kept.chain(ends.iter().copied()).collect();
        let first = [(plan.ranges.clone(), plan.order)];
        let source = |(ranges, order): &(Vec<(u128, u128)>, Order)| GoldenSource {
            ranges: match ranges.is_empty() {
                true => vec![(0, size - 1)],
                false => ranges.clone(),
            },
            avoided: BTreeSet::new(),
            order: *order,
            next: 0,
        };
        Self {
            size,
            used: reserved.clone(),
            reserved,
            ends,
            sources: first.iter().chain(more).map(source).collect(),
        }
    }

    fn in_ranges(&self, ordinal: u128) -> bool {
        self.sources[0]
            .ranges
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&ordinal))
    }

    fn free(&self, at: usize) -> Vec<u128> {
        let source = &self.sources[at];
        let inside = |ordinal: &u128| {
            let mut ranges = source.ranges.iter();
            ranges.any(|(first, last)| (*first..=*last).contains(ordinal))
        };
        (0..self.size)
            .filter(|ordinal| !self.used.contains(ordinal) && !source.avoided.contains(ordinal))
            .filter(inside)
            .collect()
    }

    fn allocate(&mut self, at: usize) -> Option<u128> {
        self.allocate_many(at, 1)?.first().copied()
    }

    fn allocate_many(&mut self, at: usize, count: usize) -> Option<Vec<u128>> {
        let free = self.free(at);
        let source = &mut self.sources[at];
        let from = if source.order == Order::Next {
            source.next
        } else {
            0
        };
        let (before, after): (Vec<u128>, _) = free.into_iter().partition(|ordinal| *ordinal < from);
        let given: Vec<u128> = after.into_iter().chain(before).take(count).collect();
        if given.len() < count {
            return None;
        }
        source.next = given.last().map_or(source.next, |last| last + 1);
        self.used.extend(&given);
        Some(given)
    }

    fn at(&self, part: f64) -> u128 {
        (part * self.size as f64) as u128
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

    fn source(&self, ranges: &[(u128, u128)], order: Order) -> Source {
        let subnet = self.subnet();
        let range = |(first, last): &(u128, u128)| {
            AddressRange::new(subnet.address(*first), subnet.address(*last)).unwrap()
        };
        let ranges: Vec<_> = ranges.iter().map(range).collect();
        Source::new(subnet, (!ranges.is_empty()).then_some(&ranges), order).unwrap()
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
    /// Through bytes and back.
    Snapshot,
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
    ];
    prop::collection::vec(step, 1..60)
}

/// A store of pages, as a database would be.
#[derive(Default)]
struct Store {
    pages: BTreeMap<u128, [u8; PAGE_BYTES]>,
    summary: BTreeMap<u128, [u8; PAGE_BYTES]>,
    used: u128,
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
        self.used = changes.used;
    }

    fn load(&self, subnet: Subnet) -> Space {
        let stored = Stored {
            used: self.used,
            summary: self
                .summary
                .iter()
                .map(|(number, bytes)| (*number, *bytes))
                .collect(),
        };
        Space::stored(subnet, &stored).unwrap()
    }

    /// Ask until every page that the operation needs is there.
    fn with<T>(
        &self,
        space: &mut Space,
        mut ask: impl FnMut(&mut Space) -> Result<T, Error>,
    ) -> Result<T, Error> {
        loop {
            let before = space.used();
            match ask(space) {
                Err(Error::NeedsPage { page }) => {
                    assert_eq!(before, space.used());
                    space
                        .provide(page, self.pages.get(&page).map(|bytes| &bytes[..]))
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

fn compare(pool: &Pool, golden: &Golden, subnet: Subnet) {
    let inside = golden
        .used
        .union(&golden.sources[0].avoided)
        .filter(|ordinal| golden.in_ranges(**ordinal))
        .count();
    assert_eq!(pool.used(), golden.used.len() as u128);
    assert_eq!(pool.available(), golden.free(0).len() as u128);
    assert_eq!(
        pool.available() + inside as u128,
        (0..golden.size).filter(|o| golden.in_ranges(*o)).count() as u128
    );
    for ordinal in 0..golden.size {
        let held = pool.contains(subnet.address(ordinal)).unwrap();
        assert_eq!(held, golden.used.contains(&ordinal), "ordinal {ordinal}");
    }
}

/// What several networks do with the addresses that they share.
#[derive(Debug, Clone)]
enum Shared {
    Allocate(usize),
    Reserve(f64),
    ReleaseUsed(f64),
    Avoid(usize, u128, f64),
    Reload,
}

fn shared_steps() -> impl Strategy<Value = Vec<Shared>> {
    let part = || 0.0..1.0f64;
    let step = prop_oneof![
        6 => (0..3usize).prop_map(Shared::Allocate),
        1 => part().prop_map(Shared::Reserve),
        4 => part().prop_map(Shared::ReleaseUsed),
        1 => (0..3usize, 0..3u128, part()).prop_map(|(at, first, other)| Shared::Avoid(at, first, other)),
        2 => Just(Shared::Reload),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pool_behaves_as_a_sorted_set(plan in plans(), steps in steps()) {
        let (subnet, mut golden) = (plan.subnet(), Golden::new(&plan, &[]));
        let mut pool = Pool::new(plan.rules()).unwrap();
        for step in steps {
            match step {
                Step::Allocate => match pool.allocate() {
                    Ok(address) => prop_assert_eq!(subnet.ordinal(address), golden.allocate(0)),
                    Err(error) => {
                        prop_assert_eq!(error, Error::Exhausted { subnet });
                        prop_assert_eq!(golden.allocate(0), None);
                    }
                },
                Step::AllocateMany(count) => match pool.allocate_many(count as u64) {
                    Ok(addresses) => {
                        prop_assert_eq!(addresses.len(), count);
                        let given: Vec<u128> = addresses.iter().filter_map(|a| subnet.ordinal(a)).collect();
                        prop_assert_eq!(Some(given), golden.allocate_many(0, count));
                    }
                    Err(error) => {
                        prop_assert_eq!(error, Error::Exhausted { subnet });
                        prop_assert_eq!(golden.allocate_many(0, count), None);
                    }
                },
                Step::Reserve(part) => {
                    let ordinal = golden.at(part);
                    let address = subnet.address(ordinal);
                    let role = pool.role(address).unwrap();
                    prop_assert_eq!(role.is_some(), golden.reserved.contains(&ordinal));
                    match pool.reserve(address) {
                        Ok(()) => {
                            prop_assert!(golden.used.insert(ordinal));
                            prop_assert!(!golden.sources[0].avoided.contains(&ordinal));
                        }
                        Err(Error::Avoided { .. }) => {
                            prop_assert!(golden.sources[0].avoided.contains(&ordinal));
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
                        Step::Release(part) => Some(golden.at(part)),
                        Step::ReleaseUsed(part) => pick(&golden.used, part),
                        _ => None,
                    };
                    let Some(ordinal) = ordinal else { continue };
                    let address = subnet.address(ordinal);
                    match pool.release(address) {
                        Ok(was_used) => {
                            prop_assert_eq!(was_used, golden.used.remove(&ordinal));
                            prop_assert_eq!(pool.release(address), Ok(false));
                        }
                        Err(error) => {
                            prop_assert!(golden.reserved.contains(&ordinal));
                            let refused = matches!(error, Error::Reserved { .. });
                            prop_assert!(refused);
                        }
                    }
                }
                Step::Avoid(first, others) => {
                    let others = others.iter().map(|part| golden.at(*part));
                    let avoided: BTreeSet<u128> = (0..first.min(golden.size)).chain(others).collect();
                    // What is outside of the subnet does not matter.
                    let mut addresses = vec![Address::parse("192.0.2.1").unwrap(), Address::parse("2001:db8::1").unwrap()];
                    addresses.extend(avoided.iter().map(|ordinal| subnet.address(*ordinal)));
                    let before = pool.used();
                    pool.avoid(&addresses);
                    prop_assert_eq!(pool.used(), before);
                    golden.sources[0].avoided = avoided;
                }
                Step::Snapshot => {
                    let bytes = pool.snapshot();
                    pool = Pool::from_snapshot(&bytes).unwrap();
                    prop_assert_eq!(pool.snapshot(), bytes);
                    golden.sources[0].avoided.clear();
                }
            }
        }
        compare(&pool, &golden, subnet);
        // What was avoided is free, and given again where nobody has it any more.
        golden.sources[0].avoided.clear();
        pool.avoid(&[]);
        compare(&pool, &golden, subnet);
    }

    #[test]
    fn several_sources_give_each_address_of_a_stored_space_once(
        plan in plans(),
        others in prop::collection::vec((prop::collection::vec((0.0..1.0f64, 0..600u128), 0..3), any::<bool>()), 2..3),
        steps in shared_steps(),
    ) {
        let (subnet, size) = (plan.subnet(), 1u128 << plan.host_bits);
        let more: Vec<_> = others.into_iter().map(|(ranges, next)| {
            let range = |(part, length): (f64, u128)| {
                let first = (part * size as f64) as u128;
                (first, (first + length).min(size - 1))
            };
            let ranges: Vec<_> = ranges.into_iter().map(range).collect();
            (ranges, if next { Order::Next } else { Order::Lowest })
        }).collect();
        let mut golden = Golden::new(&plan, &more);
        let mut space = Space::new(subnet);
        // What networks keep is taken as all else is: the space knows its own ends alone.
        for ordinal in golden.reserved.difference(&golden.ends) {
            space.reserve(subnet.address(*ordinal)).unwrap();
        }
        golden.reserved = golden.ends.clone();
        let mut sources = vec![plan.source(&plan.ranges, plan.order)];
        sources.extend(more.iter().map(|(ranges, order)| plan.source(ranges, *order)));
        let mut store = Store::default();
        store.keep(space.changes());
        for step in steps {
            match step {
                Shared::Allocate(at) => {
                    let at = at % sources.len();
                    let source = &mut sources[at];
                    match store.with(&mut space, |space| source.allocate(space)) {
                        Ok(address) => prop_assert_eq!(subnet.ordinal(address), golden.allocate(at)),
                        Err(error) => {
                            prop_assert_eq!(error, Error::Exhausted { subnet });
                            prop_assert_eq!(golden.allocate(at), None);
                        }
                    }
                }
                Shared::Reserve(part) => {
                    let ordinal = golden.at(part);
                    let taken = store.with(&mut space, |space| space.reserve(subnet.address(ordinal)));
                    prop_assert_eq!(taken.is_ok(), golden.used.insert(ordinal));
                }
                Shared::ReleaseUsed(part) => {
                    let Some(ordinal) = pick(&golden.used, part) else { continue };
                    match store.with(&mut space, |space| space.release(subnet.address(ordinal))) {
                        Ok(was_used) => prop_assert_eq!(was_used, golden.used.remove(&ordinal)),
                        Err(_) => prop_assert!(golden.reserved.contains(&ordinal)),
                    }
                }
                Shared::Avoid(at, first, other) => {
                    let at = at % sources.len();
                    let avoided: BTreeSet<u128> = (0..first.min(size)).chain([golden.at(other)]).collect();
                    sources[at].avoid(&avoided.iter().map(|one| subnet.address(*one)).collect::<Vec<_>>());
                    golden.sources[at].avoided = avoided;
                }
                Shared::Reload => {
                    space = store.load(subnet);
                    // As in another process: a source begins with what was noted of it.
                    let all = [(plan.ranges.clone(), plan.order)].into_iter().chain(more.iter().cloned());
                    for (source, (ranges, order)) in sources.iter_mut().zip(all) {
                        let next = source.next();
                        *source = plan.source(&ranges, order);
                        source.go_on(next);
                    }
                    golden.sources.iter_mut().for_each(|source| source.avoided.clear());
                }
            }
            store.keep(space.changes());
            prop_assert_eq!(space.used(), golden.used.len() as u128);
            prop_assert_eq!(space.free(), size - space.used());
        }
        for ordinal in 0..size {
            let held = store.with(&mut space, |space| space.contains(subnet.address(ordinal)));
            prop_assert_eq!(held, Ok(golden.used.contains(&ordinal)), "ordinal {}", ordinal);
        }
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
        let copy = Pool::from_snapshot(&pool.snapshot()).unwrap();
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
        let mut bytes = pool.snapshot();
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
        let mut bytes = pool.snapshot();
        bytes.truncate(bytes.len() - 4);
        for (at, value) in edits {
            let at = (at * bytes.len() as f64) as usize;
            bytes[at] = value;
        }
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        if let Ok(mut pool) = Pool::from_snapshot(&bytes) {
            prop_assert_eq!(pool.snapshot(), bytes);
            let available = pool.available();
            match pool.allocate() {
                Ok(address) => prop_assert_eq!(pool.role(address), Ok(None)),
                Err(_) => prop_assert_eq!(available, 0),
            }
        }
    }
}
