use netlink_packet_route::AddressFamily;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::captured::{bytes, ERROR_PLAIN, ERROR_WORDS, FILTER, SEQUENCE};
use crate::{addr, link, route};

/// An NLMSG_ERROR as the kernel makes it with NETLINK_CAP_ACK in force.
fn error(sequence: u32, errno: i32) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(36_u32.to_ne_bytes());
    datagram.extend(NLMSG_ERROR.to_ne_bytes());
    datagram.extend(NLM_F_CAPPED.to_ne_bytes());
    datagram.extend(sequence.to_ne_bytes());
    datagram.extend([0; 4]);
    datagram.extend((-errno).to_ne_bytes());
    datagram.extend([0; 16]);
    datagram
}

fn refused(errno: i32) -> Refusal {
    Refusal::Refused { errno, text: None }
}

#[test]
fn a_refusal_is_mapped_to_its_request_by_number() {
    let mut replies = Replies::new(100, 5);
    replies.read(&error(102, 17));
    assert!(!replies.finished());
    replies.read(&error(104, 0));
    assert!(replies.finished());
    assert_eq!(
        replies.into_refusals(256),
        Refusals::from([(258, refused(17))])
    );
}

#[test]
fn several_replies_in_one_datagram_are_all_read() {
    let mut replies = Replies::new(1, 3);
    replies.read(&[error(1, 17), error(2, 19), error(3, 0)].concat());
    assert!(replies.finished());
    assert_eq!(
        replies.into_refusals(0),
        Refusals::from([(0, refused(17)), (1, refused(19))])
    );
}

#[test]
fn numbers_that_wrap_are_mapped_like_others() {
    let mut replies = Replies::new(u32::MAX - 1, 4);
    replies.read(&error(0, 17));
    replies.read(&error(1, 0));
    assert!(replies.finished());
    assert_eq!(replies.into_refusals(0), Refusals::from([(2, refused(17))]));
}

#[test]
fn replies_to_an_earlier_send_are_ignored() {
    let mut replies = Replies::new(10, 2);
    for stale in [9, 12, 8, u32::MAX] {
        replies.read(&error(stale, 1));
    }
    assert!(!replies.finished());
    replies.read(&error(11, 0));
    assert!(replies.into_refusals(0).is_empty());
}

#[test]
fn a_refused_last_request_ends_the_send_too() {
    let mut replies = Replies::new(10, 2);
    replies.read(&error(11, 19));
    assert!(replies.finished());
    assert_eq!(replies.into_refusals(0), Refusals::from([(1, refused(19))]));
}

#[test]
fn a_last_request_without_reply_is_unknown_and_the_others_done() {
    let mut replies = Replies::new(10, 3);
    replies.read(&error(10, 17));
    assert_eq!(
        replies.into_refusals(0),
        Refusals::from([(0, refused(17)), (2, Refusal::Unknown)])
    );
}

#[test]
fn after_lost_replies_what_was_not_heard_of_is_unknown() {
    let mut replies = Replies::new(10, 3);
    replies.read(&error(11, 17));
    replies.lose();
    let expected = [
        (0, Refusal::Unknown),
        (1, refused(17)),
        (2, Refusal::Unknown),
    ];
    assert_eq!(replies.into_refusals(0), Refusals::from(expected));
}

#[test]
fn the_kernels_own_words_are_read_where_it_gives_any() {
    let mut replies = Replies::new(SEQUENCE, 1);
    replies.read(&bytes(ERROR_WORDS));
    let text = Some("mtu greater than device maximum".to_owned());
    assert_eq!(
        replies.into_refusals(0),
        Refusals::from([(0, Refusal::Refused { errno: 22, text })])
    );
    let mut replies = Replies::new(SEQUENCE, 1);
    replies.read(&bytes(ERROR_PLAIN));
    assert_eq!(replies.into_refusals(0), Refusals::from([(0, refused(19))]));
}

#[test]
fn the_words_are_found_behind_a_request_that_is_repeated_whole() {
    let mut datagram = error(3, 22);
    let request_length = 24_u32;
    datagram[6..8].copy_from_slice(&NLM_F_ACK_TLVS.to_ne_bytes());
    datagram[20..24].copy_from_slice(&request_length.to_ne_bytes());
    datagram.extend([9; 8]); // the body of the request
    datagram.extend([7, 0, NLMSGERR_ATTR_MSG as u8, 0, b'n', b'o', 0, 0]);
    let length = u32::try_from(datagram.len()).unwrap();
    datagram[..4].copy_from_slice(&length.to_ne_bytes());
    let mut replies = Replies::new(3, 1);
    replies.read(&datagram);
    let text = Some("no".to_owned());
    assert_eq!(
        replies.into_refusals(0),
        Refusals::from([(0, Refusal::Refused { errno: 22, text })])
    );
}

#[test]
fn a_dump_goes_on_until_it_is_done_and_tells_of_interruptions() {
    let part = bytes(FILTER);
    let mut done = error(SEQUENCE, 0);
    done[4..6].copy_from_slice(&NLMSG_DONE.to_ne_bytes());
    let mut answers = Answers::new(SEQUENCE);
    let mut payloads = 0;
    assert_eq!(answers.read(&part, |_| payloads += 1), Progress::More);
    assert_eq!(
        (payloads, answers.interrupted, answers.parts),
        (5, false, 1)
    );
    let mut interrupted = part.clone();
    interrupted[6] |= NLM_F_DUMP_INTR as u8;
    assert_eq!(
        answers.read(&interrupted, |_| payloads += 1),
        Progress::More
    );
    assert_eq!(
        (payloads, answers.interrupted, answers.parts),
        (10, true, 2)
    );
    assert_eq!(answers.read(&done, |_| payloads += 1), Progress::Done);
    assert_eq!((payloads, answers.parts), (10, 2));
}

#[test]
fn a_dump_that_fails_says_with_what() {
    let mut answers = Answers::new(5);
    assert_eq!(answers.read(&error(4, 1), |_| ()), Progress::More);
    assert_eq!(
        answers.read(&error(5, 16), |_| ()),
        Progress::Failed {
            errno: 16,
            text: None
        }
    );
}

/// Everything that looks at bytes of the kernel.
fn decode_everything(datagram: &[u8], sequence: u32) {
    let mut replies = Replies::new(sequence, 4);
    replies.read(datagram);
    let _ = replies.into_refusals(0);
    let mut payloads = vec![datagram.to_vec()];
    Answers::new(sequence).read(datagram, |payload| payloads.push(payload.to_vec()));
    for payload in payloads {
        let _ = link::Link::decode(&payload);
        let _ = addr::decode(&payload);
        let _ = addr::decode_filter(&payload, 10);
        let _ = route::decode(&payload, AddressFamily::Inet, false);
        let _ = route::decode(&payload, AddressFamily::Inet6, false);
    }
}

fn captured() -> impl Strategy<Value = Vec<u8>> {
    use crate::captured::{ADDRESS, LINK_ALTNAME, LINK_MACVLAN, ROUTES};
    let captures = [
        ERROR_WORDS,
        ERROR_PLAIN,
        FILTER,
        ADDRESS,
        LINK_ALTNAME,
        LINK_MACVLAN,
        ROUTES,
    ];
    proptest::sample::select(captures.map(bytes).to_vec())
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(datagram in vec(any::<u8>(), 0..400), sequence in 0_u32..4) {
        decode_everything(&datagram, sequence);
    }

    #[test]
    fn no_damage_makes_the_decoder_panic(
        mut datagram in captured(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        length in any::<prop::sample::Index>(),
    ) {
        for (place, byte) in damage {
            let place = place.index(datagram.len());
            datagram[place] = byte;
        }
        datagram.truncate(length.index(datagram.len() + 1));
        decode_everything(&datagram, SEQUENCE);
    }
}
