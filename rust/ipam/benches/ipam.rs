//! What the allocator costs: `cargo bench -p macvfast-ipam`. Medians of interleaved rounds, as Markdown tables.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark may stop, and prints its figures"
)]

use macvfast_ipam::{Address, Order, Pool, Rules, Subnet};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

const ROUNDS: usize = 9;
/// Allocations timed in one go.
const CALLS: usize = 20_000;
/// Addresses left free in a pool that is nearly full.
const NEARLY: usize = 1_000;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, counting the bytes that are held.
struct Counting;

// SAFETY: both calls are passed on to the system's allocator as they came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        System.alloc(layout)
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        System.dealloc(at, layout);
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// xorshift64: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn pool(subnet: &str, order: Order) -> Pool {
    Pool::new(Rules {
        order,
        ..Rules::new(Subnet::parse(subnet).unwrap())
    })
    .unwrap()
}

/// Half of a pool's addresses in use, at random.
fn half_full(subnet: &str, order: Order) -> Pool {
    let mut pool = pool(subnet, order);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    while pool.used() < pool.size() / 2 {
        let ordinal = u128::from(random.below(pool.size() as u64));
        let _ = pool.reserve(pool.subnet().address(ordinal));
    }
    pool
}

fn full(subnet: &str, order: Order) -> Pool {
    let mut pool = pool(subnet, order);
    pool.allocate_many(pool.available() as u64).unwrap();
    pool
}

/// A few addresses free, at random: each allocation has to find another page or word.
fn nearly_full(subnet: &str, order: Order) -> Pool {
    let mut pool = full(subnet, order);
    for address in spread(&pool).iter().take(NEARLY) {
        pool.release(*address).unwrap();
    }
    pool
}

/// One allocation after the other, in ns each.
fn allocations(mut pool: Pool) -> f64 {
    let calls = CALLS.min(pool.available() as usize);
    let start = Instant::now();
    for _ in 0..calls {
        black_box(pool.allocate().unwrap().value());
    }
    per_call(start, calls)
}

/// An address released, then one allocated: in ns for the allocation. The clock's own cost is taken off.
fn refills(pool: &mut Pool, addresses: &[Address]) -> f64 {
    let (mut with, mut without) = (0, 0);
    for address in addresses {
        pool.release(*address).unwrap();
        let start = Instant::now();
        black_box(pool.allocate().unwrap().value());
        with += start.elapsed().as_nanos();
        let start = Instant::now();
        without += black_box(start.elapsed()).as_nanos();
    }
    (with as f64 - without as f64) / addresses.len() as f64
}

/// The same, untimed within: in ns for the pair.
fn pairs(pool: &mut Pool, addresses: &[Address]) -> f64 {
    let start = Instant::now();
    for address in addresses {
        pool.release(*address).unwrap();
        black_box(pool.allocate().unwrap().value());
    }
    per_call(start, addresses.len())
}

fn per_call(start: Instant, calls: usize) -> f64 {
    start.elapsed().as_nanos() as f64 / calls as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Addresses of a pool that no rule holds, spread over all of it.
fn spread(pool: &Pool) -> Vec<Address> {
    let mut random = Random(42);
    let ordinal = |n: u64| pool.subnet().address(u128::from(n) + 1);
    (0..CALLS)
        .map(|_| ordinal(random.below(pool.size() as u64 - 2)))
        .collect()
}

fn one_at_a_time() {
    println!("| one allocation, ns | /16 lowest | /16 next | /8 lowest | /8 next | goal /16, /8 |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let kinds: Vec<(&str, Order)> = ["10.0.0.0/16", "10.0.0.0/8"]
        .into_iter()
        .flat_map(|subnet| [(subnet, Order::Lowest), (subnet, Order::Next)])
        .collect();
    type Make = fn(&str, Order) -> Pool;
    for (title, make) in [
        ("empty", pool as Make),
        ("half full at random", half_full as Make),
        ("all but 1,000 taken, at random", nearly_full as Make),
    ] {
        let pools: Vec<Pool> = kinds
            .iter()
            .map(|(subnet, order)| make(subnet, *order))
            .collect();
        print_medians(title, &pools, |pool| allocations(pool.clone()), "10, 20");
    }
    let pools: Vec<Pool> = kinds
        .iter()
        .map(|(subnet, order)| full(subnet, *order))
        .collect();
    let near = |pool: &Pool| vec![pool.subnet().address(77); CALLS];
    print_medians(
        "all but one taken, the same one",
        &pools,
        |pool| refills(&mut pool.clone(), &near(pool)),
        "10, 20",
    );
    print_medians(
        "all but one taken, anywhere",
        &pools,
        |pool| refills(&mut pool.clone(), &spread(pool)),
        "10, 20",
    );
    print_medians(
        "the release before it too, the same one",
        &pools,
        |pool| pairs(&mut pool.clone(), &near(pool)),
        "",
    );
    print_medians(
        "the release before it too, anywhere",
        &pools,
        |pool| pairs(&mut pool.clone(), &spread(pool)),
        "",
    );
}

fn print_medians(title: &str, pools: &[Pool], time: impl Fn(&Pool) -> f64, goal: &str) {
    let mut figures = vec![Vec::new(); pools.len()];
    for _ in 0..ROUNDS {
        for (pool, figures) in pools.iter().zip(&mut figures) {
            figures.push(time(pool));
        }
    }
    let medians: Vec<String> = figures
        .into_iter()
        .map(|f| format!("{:.1}", median(f)))
        .collect();
    println!("| {title} | {} | {goal} |", medians.join(" | "));
}

fn at_once() {
    println!("\n| 65,534 addresses in one call, µs | empty /16 | half full /15 | empty /8 |");
    println!("| --- | ---: | ---: | ---: |");
    let pools = [
        pool("10.0.0.0/16", Order::Lowest),
        half_full("10.0.0.0/15", Order::Lowest),
        pool("10.0.0.0/8", Order::Lowest),
    ];
    for (title, packed) in [
        ("taken", false),
        ("taken and written as packed bytes", true),
    ] {
        let time = |pool: &Pool| {
            let mut pool = pool.clone();
            let count = pool.available().min(65_534) as u64;
            let mut buffer = vec![0; if packed { count as usize * 4 } else { 0 }];
            let start = Instant::now();
            let taken = pool.allocate_many(count).unwrap();
            taken.pack(&mut buffer);
            black_box((taken, &buffer));
            per_call(start, 1_000)
        };
        let medians = pools
            .iter()
            .map(|pool| median((0..ROUNDS).map(|_| time(pool)).collect()));
        let medians: Vec<String> = medians.map(|figure| format!("{figure:.1}")).collect();
        println!("| {title} | {} |", medians.join(" | "));
    }
}

fn bytes() {
    println!("\n| pool | bytes held | bits of its addresses, in bytes |");
    println!("| --- | ---: | ---: |");
    type Make = fn(&str, Order) -> Pool;
    let makes: [(&str, &str, Make); 8] = [
        ("fresh", "10.0.0.0/24", pool),
        ("full", "10.0.0.0/24", full),
        ("fresh", "10.0.0.0/16", pool),
        ("full", "10.0.0.0/16", full),
        ("half full", "10.0.0.0/16", half_full),
        ("fresh", "10.0.0.0/8", pool),
        ("full", "10.0.0.0/8", full),
        ("fresh", "fd00::/32", pool),
    ];
    for (state, subnet, make) in makes {
        let before = HELD.load(Ordering::Relaxed);
        let pool = make(subnet, Order::Lowest);
        let held = HELD.load(Ordering::Relaxed) - before + std::mem::size_of::<Pool>();
        let bits = pool.size() / 8;
        let bits = if bits > 1 << 32 {
            "–".to_owned()
        } else {
            bits.to_string()
        };
        println!("| {state} {subnet} | {held} | {bits} |");
    }
}

fn main() {
    one_at_a_time();
    at_once();
    bytes();
}
