use super::*;
use rustix::fs::{mkdirat, CWD};

fn directory(name: &str) -> (std::path::PathBuf, OwnedFd) {
    let path = std::env::temp_dir().join(format!("macvfast-log-{name}-{}", std::process::id()));
    mkdirat(CWD, &path, Mode::RWXU).unwrap();
    let directory = openat(
        CWD,
        &path,
        OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    (path, directory.unwrap())
}

fn contents(path: &std::path::Path) -> [String; 2] {
    ["log.1", "log"].map(|name| std::fs::read_to_string(path.join(name)).unwrap_or_default())
}

#[test]
fn what_fits_is_whole_lines_or_all_of_an_empty_file() {
    assert_eq!(fitting(b"a\nbc\n", 9, false), 5);
    assert_eq!(fitting(b"a\nbc\n", 5, false), 5);
    assert_eq!(fitting(b"a\nbc\n", 4, false), 2);
    assert_eq!(fitting(b"abcdef", 4, false), 0);
    assert_eq!(fitting(b"abcdef", 4, true), 4);
    assert_eq!(fitting(b"abcdef", 0, false), 0);
}

#[test]
fn the_two_files_have_the_last_lines_and_never_more_than_the_limit() {
    let (path, directory) = directory("turns");
    let mut log = Log::open(directory.as_fd(), Some(40)).unwrap();
    for number in 10..60 {
        log.write(format!("line {number}\n").as_bytes());
        let [before, last] = contents(&path);
        assert!(before.len() <= 20 && last.len() <= 20);
        assert!(format!("{before}{last}").ends_with(&format!("line {number}\n")));
    }
    assert_eq!(
        contents(&path),
        ["line 56\nline 57\n", "line 58\nline 59\n"].map(str::to_owned)
    );
    // As another keeper finds it.
    let mut log = Log::open(directory.as_fd(), Some(40)).unwrap();
    log.write(&[b'x'; 50]);
    assert_eq!(contents(&path), ["x".repeat(20), "x".repeat(10)]);
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn what_cannot_be_written_is_counted_and_told_of_when_it_can_again() {
    let (path, directory) = directory("lost");
    let mut log = Log::open(directory.as_fd(), Some(1000)).unwrap();
    log.write(b"begun");
    let full = openat(
        CWD,
        c"/dev/full",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    );
    let file = log.file.replace(full.unwrap());
    log.write(b"lost\n");
    log.write(b"lost, too\n");
    log.file = file;
    log.write(b"again\n");
    let note = "\n[macvfast: 15 bytes are missing here: No space left on device]\n";
    assert_eq!(
        contents(&path),
        [String::new(), format!("begun{note}again\n")]
    );
    std::fs::remove_dir_all(path).unwrap();
}
