use super::*;

fn samples() -> Vec<Failure> {
    let name = || "web".to_owned();
    vec![
        Failure::of_command("sh".to_owned(), Errno::NOENT),
        Failure::of_command("/x/sh".to_owned(), Errno::NOTDIR),
        Failure::of_command("sh".to_owned(), Errno::ACCESS),
        Failure::of_command("sh".to_owned(), Errno::LIBACC),
        Failure::Killed {
            command: "sh".to_owned(),
        },
        Failure::NoDirectory {
            command: "sh".to_owned(),
            directory: "/x".to_owned(),
            errno: Errno::ACCESS,
        },
        Failure::Held {
            name: name(),
            joining: true,
        },
        Failure::Held {
            name: name(),
            joining: false,
        },
        Failure::Directory {
            path: "/d".to_owned(),
            step: "lock it",
            errno: Errno::NOSPC,
        },
        Failure::at("fork")(Errno::AGAIN),
        Failure::Restarting { name: name() },
        Failure::Gone { name: name() },
    ]
}

#[test]
fn every_failure_is_one_error_with_a_cause_and_a_hint() {
    for failure in samples() {
        let text = failure.text();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("error: "), "{text}");
        assert!(lines[1].starts_with("  caused by: "), "{text}");
        let end = lines.len() - 2;
        assert_eq!((lines[end], end < 4), ("", true), "{text}");
        assert!(lines[end + 1].starts_with("hint: "), "{text}");
    }
}

#[test]
fn a_command_line_that_is_too_long_is_no_fault_of_the_program() {
    let text = Failure::of_command("sh".to_owned(), Errno::TOOBIG).text();
    assert!(text.ends_with(&format!("hint: {TOO_BIG}\n")), "{text}");
}

#[test]
fn only_what_is_not_there_is_not_found() {
    let status = |errno| Failure::of_command("sh".to_owned(), errno).status();
    assert_eq!(status(Errno::NOENT), 127);
    assert_eq!(status(Errno::NOTDIR), 127);
    assert_eq!(status(Errno::ACCESS), 126);
    assert_eq!(status(Errno::NOEXEC), 126);
    assert_eq!(status(Errno::LIBACC), 126);
}

#[test]
fn a_detached_failure_is_told_by_its_status_its_errno_and_a_word() {
    let reports: Vec<_> = samples().iter().map(Failure::report).collect();
    assert_eq!(reports[0], (127, "0 \n".to_owned()));
    assert_eq!(reports[2], (126, "13 Permission denied\n".to_owned()));
    let words = "13 it cannot start in `/x`: Permission denied\n";
    assert_eq!(reports[5], (124, words.to_owned()));
    assert_eq!(reports[6].0, 121);
    assert_eq!(reports[8], (122, "28 lock it\n".to_owned()));
    assert_eq!(reports[9], (123, "11 fork\n".to_owned()));
    assert_eq!((reports[10].0, reports[11].0), (120, 119));
}
