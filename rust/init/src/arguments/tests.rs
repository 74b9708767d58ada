use super::*;
use std::os::fd::IntoRawFd;

fn read(line: &str) -> Result<Request, String> {
    parse(line.split(' ').map(OsString::from))
}

/// The number of a descriptor that is open, and nobody else's.
fn handed_over() -> RawFd {
    File::open("/dev/null").unwrap().into_raw_fd()
}

#[test]
fn every_option_is_read() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    rustix::io::write(&writer, b"A=b\nc\0B=\0").unwrap();
    drop(writer);
    let [netns, lock, variables] = [handed_over(), handed_over(), reader.into_raw_fd()];
    let mut request = read(&format!(
        "run --netns-fd {netns} --dir /d --lock-fd {lock} --name n --tty --interactive --detach --rootfs /r --after a \
         --after --tty --queue /q --after-all b --hostname h --etc /e --pins /p --pins /q --env-fd {variables} \
         --log-max 8192 --workdir /w --user 1:2:3:4 -- c --x",
    ))
    .unwrap();
    assert_eq!(request.descriptors(), [netns, lock]);
    (request.netns, request.lock) = (None, None);
    let expected = Request {
        directory: c"/d".to_owned(),
        name: "n".to_owned(),
        rootfs: Some(c"/r".to_owned()),
        hostname: Some(c"h".to_owned()),
        etc: Some(c"/e".to_owned()),
        pins: vec![c"/p".to_owned(), c"/q".to_owned()],
        environment: vec![c"A=b\nc".to_owned(), c"B=".to_owned()],
        log_limit: Some(8192),
        workdir: Some(c"/w".to_owned()),
        user: Some(User {
            uid: 1,
            gid: 2,
            groups: vec![3, 4],
        }),
        after: vec![c"a".to_owned(), c"--tty".to_owned()],
        queue: Some(c"/q".to_owned()),
        after_all: vec![c"b".to_owned()],
        tty: true,
        interactive: true,
        detach: true,
        command: vec![c"c".to_owned(), c"--x".to_owned()],
        ..Request::default()
    };
    assert_eq!(format!("{request:?}"), format!("{expected:?}"));
    let line = format!("join --netns-fd {} --dir /d --beside -- --", handed_over());
    let mut request = read(&line).unwrap();
    request.netns = None;
    let expected = Request {
        join: true,
        beside: true,
        directory: c"/d".to_owned(),
        command: vec![c"--".to_owned()],
        ..Request::default()
    };
    assert_eq!(format!("{request:?}"), format!("{expected:?}"));
}

#[test]
fn what_is_incomplete_or_unknown_is_refused() {
    let cases = [
        ("exec --dir /d -- c", "neither run nor join"),
        ("run --dir /d c", "unknown argument `c`"),
        ("run --dir /d", "`--` and the command are missing"),
        ("run --dir /d --", "the command is missing"),
        ("run --dir /d -- c", "--netns-fd is missing"),
        ("join -- c", "--netns-fd is missing"),
        ("run --netns-fd", "--netns-fd needs a value"),
        ("run --netns-fd 2 -- c", "`2` is not the number"),
        ("run --netns-fd seven -- c", "`seven` is not the number"),
        (
            "run --netns-fd 9999999 -- c",
            "--netns-fd: descriptor 9999999 is not open",
        ),
        ("run --user 1 -- c", "`1` is not a user and a group"),
        ("run --user 1:x -- c", "`1:x` is not a user and a group"),
        ("run --log-max 8191 -- c", "`8191` is not a number of bytes"),
        ("run --colour\x1b -- c", "`--colour\\u{1b}`"),
    ];
    for (line, reason) in cases {
        let refusal = read(line).unwrap_err();
        assert!(refusal.contains(reason), "{line}: {refusal}");
    }
}

#[test]
fn a_command_that_joins_has_no_files_and_no_removal_of_its_own() {
    for option in ["--rootfs /r", "--after a"] {
        let netns = handed_over();
        let line = format!("join --netns-fd {netns} --dir /d {option} -- c");
        assert_eq!(
            read(&line).unwrap_err(),
            "join takes neither --rootfs nor --after"
        );
    }
}
