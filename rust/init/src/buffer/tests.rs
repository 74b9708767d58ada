use super::*;
use rustix::pipe::pipe;
use std::os::fd::AsFd;

#[test]
fn a_buffer_gives_what_it_was_filled_with() {
    let (reader, writer) = pipe().unwrap();
    write(&writer, b"one\n").unwrap();
    let mut buffer = Buffer::new(16);
    assert_eq!(buffer.fill_from(reader.as_fd()), Ok(4));
    assert!(buffer.ends_line());
    assert!(buffer.drain_to(writer.as_fd()));
    assert!(buffer.is_empty());
    let mut back = [0; 8];
    assert_eq!(read(&reader, &mut back), Ok(4));
    assert_eq!(&back[..4], b"one\n");
}
