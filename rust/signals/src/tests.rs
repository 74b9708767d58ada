use super::*;

// Each test has a thread of its own, whose mask and signals are its own.

fn send(signal: c_int) {
    // SAFETY: a thread that lives, and the number of a signal.
    unsafe { libc::pthread_kill(libc::pthread_self(), signal) };
}

#[test]
fn a_set_has_what_was_put_in_and_nothing_else() {
    let set = Set::of([libc::SIGUSR1, libc::SIGHUP]);
    assert!(set.has(libc::SIGUSR1) && set.has(libc::SIGHUP));
    assert!(!set.has(libc::SIGUSR2));
}

#[test]
fn what_is_blocked_is_read_once_in_place_of_being_acted_upon() {
    let set = Set::of([libc::SIGUSR1, libc::SIGUSR2]);
    set.block();
    let reader = Reader::of(&set).unwrap();
    assert_eq!(reader.next(), None);
    send(libc::SIGUSR2);
    assert_eq!(reader.next(), Some(libc::SIGUSR2));
    assert_eq!(reader.next(), None);
}

#[test]
fn blocking_adds_and_blocking_exactly_replaces() {
    Set::of([libc::SIGUSR1]).block();
    Set::of([libc::SIGUSR2]).block();
    assert!([libc::SIGUSR1, libc::SIGUSR2].map(|one| Set::blocked().has(one)) == [true, true]);
    Set::of([libc::SIGUSR1]).unblock();
    assert!(!Set::blocked().has(libc::SIGUSR1));
    Set::of([libc::SIGHUP]).block_exactly();
    assert!([libc::SIGUSR2, libc::SIGHUP].map(|one| Set::blocked().has(one)) == [false, true]);
}

#[test]
fn what_is_forgotten_waits_no_more_and_the_rest_does() {
    Set::of(PASSED_ON).block();
    send(libc::SIGINT);
    send(libc::SIGTERM);
    Set::of([libc::SIGINT]).forget();
    assert!(!Set::waiting().has(libc::SIGINT) && Set::waiting().has(libc::SIGTERM));
    assert_eq!(Set::of([libc::SIGTERM]).wait(), libc::SIGTERM);
    assert!(!Set::waiting().has(libc::SIGTERM));
}

#[test]
fn what_is_ignored_is_known() {
    // No other test has to do with it.
    ignore(libc::SIGWINCH);
    assert!(is_ignored(libc::SIGWINCH));
    set_default(libc::SIGWINCH);
    assert!(!is_ignored(libc::SIGWINCH));
}
