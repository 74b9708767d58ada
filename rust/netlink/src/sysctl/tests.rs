use super::*;

#[test]
fn only_paths_below_net_are_sysctls_of_a_namespace() {
    assert!(Sysctl::new("net/ipv6/conf/default/disable_ipv6", "1").is_ok());
    assert!(Sysctl::new("net/ipv4/conf/eth0.10/arp_ignore", "1").is_ok());
    let others = [
        "",
        "net",
        "net/",
        "/net/a",
        "net//a",
        "net/../kernel/hostname",
        "kernel/hostname",
        "net/a/.",
    ];
    for name in others {
        assert_eq!(
            Sysctl::new(name, "1"),
            Err(RequestError::Sysctl(name.to_owned()))
        );
    }
    assert!(Sysctl::new("net/a\0b", "1").is_err());
}
