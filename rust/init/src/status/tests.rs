use super::*;

fn line(name: &str) -> Vec<u8> {
    format!("42 ({name}) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 200 3\n")
        .into_bytes()
}

#[test]
fn the_start_time_is_the_twenty_second_field() {
    assert_eq!(start_time(&line("sleep")), Some(987_654));
}

#[test]
fn a_name_with_spaces_and_parentheses_shifts_nothing() {
    for name in ["a b", "a) S 1 2", "((", ") (", "\u{e9}\n"] {
        assert_eq!(start_time(&line(name)), Some(987_654), "{name}");
    }
}

#[test]
fn a_cut_off_line_has_no_start_time() {
    for text in [
        "",
        "42",
        "42 (a",
        "42 (a) S 1 2 3",
        "42 (a) S 1 42 42 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 x",
    ] {
        assert_eq!(start_time(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn this_process_has_started_before_now() {
    let own = Process::own().unwrap();
    assert_eq!(own, Process::child(own.pid).unwrap());
    assert!(own.start_time > 0);
}

#[test]
fn each_state_has_its_lines() {
    let process = |pid| Process {
        pid,
        start_time: 10,
    };
    let text = |state| status_text("b", process(2), process(3), state);
    let head = "boot b\nkeeper 2 10\ninit 3 10\n";
    assert_eq!(text(State::Running), format!("{head}state running\n"));
    assert_eq!(
        text(State::Exited(137)),
        format!("{head}state exited\nexit 137\n")
    );
    assert_eq!(text(State::Lost), format!("{head}state lost\n"));
}

#[test]
fn a_guests_status_has_the_one_before_it_below() {
    assert_eq!(split(b"state running\n"), (&b"state running\n"[..], None));
    assert_eq!(split(b"a\nbefore\n"), (&b"a\n"[..], Some(&b""[..])));
    assert_eq!(split(b"a\nbefore\nb\n"), (&b"a\n"[..], Some(&b"b\n"[..])));
    assert_eq!(split(b"xbefore\n").1, None);
}

#[test]
fn only_what_runs_in_this_boot_can_be_joined() {
    let status = |boot: &str, state| {
        let process = Process {
            pid: 3,
            start_time: 10,
        };
        status_text(boot, process, process, state)
    };
    let found = |text: String| recorded_process(text.as_bytes(), "b", "running", "init");
    assert!(found(status("b", State::Running)).is_some_and(|init| init.pid == 3));
    for other in [
        status("c", State::Running),
        status("b", State::Exited(0)),
        status("b", State::Lost),
        status("b", State::Restarting(1)),
        "state running\n".to_owned(),
        "init x y\nboot b\nstate running\n".to_owned(),
    ] {
        assert_eq!(found(other), None);
    }
}
