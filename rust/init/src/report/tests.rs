use super::*;
use rustix::pipe::pipe;

#[test]
fn what_is_sent_is_received_in_order() {
    let (reader, writer) = pipe().unwrap();
    let reports = [
        Report::Started,
        Report::Ended(137),
        Report::EndedAlone(3),
        Report::NotExecuted(Errno::ACCESS),
        Report::NotSetUp("mount /proc".to_owned(), Errno::PERM),
    ];
    for report in &reports {
        report.send(writer.as_fd());
    }
    drop(writer);
    for report in reports {
        assert_eq!(Report::receive(&reader), Some(report));
    }
    assert_eq!(Report::receive(&reader), None);
}

#[test]
fn a_message_cut_off_is_none() {
    let (reader, writer) = pipe().unwrap();
    write(&writer, &[ENDED, 0]).unwrap();
    drop(writer);
    assert_eq!(Report::receive(&reader), None);
}
