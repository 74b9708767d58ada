//! What a request costs to encode, and what batching saves in the kernel, as Markdown tables.
//!
//! `cargo bench -p macvfast-netlink --bench batch [-- LINKS]`: the first table anywhere, the second as root. All links
//! are made in namespaces of the benchmark's own.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{self, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use macvfast_netlink::netns::{make, Namespace};
use macvfast_netlink::{Batch, LinkKind, NewLink, Sysctl, REQUESTS_PER_SEND};

const PARENT: u32 = 10;
const FIRST: u32 = 1 << 20;
const ROUNDS: usize = 5;

fn macvlan<'a>(number: u32, name: &'a str, netns: Option<&'a Arc<OwnedFd>>) -> NewLink<'a> {
    let [_, _, high, low] = number.to_be_bytes();
    NewLink {
        ifname: name,
        ifindex: FIRST + number,
        mac: Some([2, 0x42, 10, 0, high, low]),
        mtu: Some(1500),
        group: 77,
        netns,
        up: true,
        kind: LinkKind::Macvlan {
            parent: PARENT,
            mode: "bridge",
            attributes: &[],
        },
    }
}

fn encoding() {
    let target = host_target();
    let link = macvlan(1, "eth0", Some(&target.fd));
    println!("| encode one request | ns |\n| --- | ---: |");
    encode("macvlan", |batch| batch.add_link(black_box(&link)).unwrap());
    encode("address", |batch| {
        batch
            .add_address(black_box(FIRST), [10, 0, 0, 2].into(), 24, false)
            .unwrap()
    });
}

fn encode(name: &str, add: impl Fn(&mut Batch) -> usize) {
    const COUNT: u32 = 100_000;
    let mut batch = Batch::new();
    let begin = Instant::now();
    for _ in 0..COUNT {
        add(&mut batch);
    }
    println!(
        "| {name} | {:.0} |",
        begin.elapsed().as_nanos() as f64 / f64::from(COUNT)
    );
}

/// A namespace with a parent, IPv6 off.
fn host() -> Namespace {
    let off = Sysctl::new("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    let host = one_namespace(&off);
    let inside = format!("--net=/proc/{}/fd/{}", process::id(), host.fd.as_raw_fd());
    let pair =
        format!("ip link add parent index {PARENT} up type veth peer far && ip link set far up");
    let made = Command::new("nsenter")
        .args([&inside, "sh", "-c", &pair])
        .status();
    assert!(made.unwrap().success());
    host
}

/// Make `count` macvlans in one other namespace, `per_send` at a time.
fn links(count: u32, per_send: usize) -> Duration {
    let mut host = host();
    let target = host_target();
    let names: Vec<String> = (0..count).map(|number| format!("m{number}")).collect();
    let numbers: Vec<u32> = (0..count).collect();
    let begin = Instant::now();
    for some in numbers.chunks(per_send) {
        let mut batch = Batch::new();
        for &number in some {
            let name = &names[usize::try_from(number).unwrap()];
            batch
                .add_link(&macvlan(number, name, Some(&target.fd)))
                .unwrap();
        }
        assert!(host.socket.send(&batch).unwrap().is_empty());
    }
    begin.elapsed()
}

fn host_target() -> Namespace {
    let off = Sysctl::new("net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    one_namespace(&off)
}

fn one_namespace(sysctl: &Sysctl) -> Namespace {
    let made = make(1, std::slice::from_ref(sysctl), 1).remove(0);
    made.expect("root is needed to make a network namespace")
}

fn main() {
    encoding();
    let count = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(1000);
    let (mut batched, mut single) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        batched.push(links(count, REQUESTS_PER_SEND));
        single.push(links(count, 1));
    }
    println!("\n| {count} macvlans, µs each | lowest | median | highest |");
    println!("| --- | ---: | ---: | ---: |");
    for (name, mut times) in [("256 to a send", batched), ("one to a send", single)] {
        times.sort_unstable();
        let each = |time: Duration| time.as_micros() as f64 / f64::from(count);
        println!(
            "| {name} | {:.1} | {:.1} | {:.1} |",
            each(times[0]),
            each(times[ROUNDS / 2]),
            each(times[ROUNDS - 1])
        );
    }
}
