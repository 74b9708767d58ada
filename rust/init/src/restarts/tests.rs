use super::*;

const AT_ONCE: Duration = Duration::from_millis(1);

#[test]
fn the_pause_doubles_up_to_a_minute() {
    let mut restarts = Restarts::new(Policy::Always);
    let pauses: Vec<_> = (0..12)
        .map(|_| restarts.next(0, AT_ONCE).unwrap().as_millis())
        .collect();
    assert_eq!(
        pauses,
        [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000]
    );
    assert_eq!(restarts.count, 12);
}

#[test]
fn after_ten_seconds_up_the_pause_is_the_first_again() {
    let mut restarts = Restarts::new(Policy::Always);
    for _ in 0..5 {
        restarts.next(1, AT_ONCE);
    }
    assert_eq!(
        restarts
            .next(1, Duration::from_millis(9_999))
            .unwrap()
            .as_millis(),
        3200
    );
    assert_eq!(restarts.next(1, WAS_UP), Some(FIRST));
    assert_eq!(restarts.next(1, AT_ONCE), Some(2 * FIRST));
}

#[test]
fn on_failure_a_command_that_succeeded_is_not_run_again() {
    let mut restarts = Restarts::new(Policy::OnFailure(None));
    assert_eq!(restarts.next(0, AT_ONCE), None);
    assert_eq!(restarts.next(1, AT_ONCE), Some(FIRST));
}

#[test]
fn a_number_bounds_how_often_a_failed_command_is_run_again() {
    let mut restarts = Restarts::new(Policy::OnFailure(Some(2)));
    assert!(restarts.next(1, WAS_UP).is_some());
    assert!(restarts.next(1, WAS_UP).is_some());
    assert_eq!(restarts.next(1, WAS_UP), None);
}

#[test]
fn policies_are_read_as_docker_spells_them() {
    assert_eq!(Policy::parse("always"), Some(Policy::Always));
    assert_eq!(Policy::parse("unless-stopped"), Some(Policy::Always));
    assert_eq!(Policy::parse("on-failure"), Some(Policy::OnFailure(None)));
    assert_eq!(
        Policy::parse("on-failure:3"),
        Some(Policy::OnFailure(Some(3)))
    );
    for wrong in [
        "",
        "no",
        "always:3",
        "on-failure:",
        "on-failure:-1",
        "on-failure:x",
    ] {
        assert_eq!(Policy::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn zero_is_no_limit() {
    assert_eq!(Policy::parse("on-failure:0"), Some(Policy::OnFailure(None)));
}
