use super::*;

const HEADER: Header = Header { kind: 0x0a06, flags: 0x400, sequence: 7, family: 1, resource: 10 };

#[test]
fn a_message_is_framed_as_the_kernel_reads_it() {
    let mut buffer = Buffer::default();
    buffer.message(HEADER, |message| {
        message.text(1, "abc");
        message.nest(4, |list| list.u32(2, 5));
    });
    let mut expected = Vec::new();
    expected.extend(40_u32.to_ne_bytes());
    expected.extend(0x0a06_u16.to_ne_bytes());
    expected.extend(0x401_u16.to_ne_bytes());
    expected.extend(7_u32.to_ne_bytes());
    expected.extend([0, 0, 0, 0, 1, 0, 0, 10]);
    expected.extend(8_u16.to_ne_bytes());
    expected.extend(1_u16.to_ne_bytes());
    expected.extend(*b"abc\0");
    expected.extend(12_u16.to_ne_bytes());
    expected.extend(0x8004_u16.to_ne_bytes());
    expected.extend(8_u16.to_ne_bytes());
    expected.extend(2_u16.to_ne_bytes());
    expected.extend([0, 0, 0, 5]);
    assert_eq!(buffer.as_bytes(), expected);
}

#[test]
fn an_attribute_that_does_not_fill_its_words_is_padded_and_not_counted() {
    let mut buffer = Buffer::default();
    buffer.message(HEADER, |message| {
        message.bytes(3, &[9]);
        message.bytes(5, &[8, 7]);
    });
    let attributes = &buffer.as_bytes()[20..];
    assert_eq!(attributes.len(), 16);
    assert_eq!(find(attributes, 3), Some(&[9][..]));
    assert_eq!(find(attributes, 5), Some(&[8, 7][..]));
    assert_eq!(find(attributes, 4), None);
}

#[test]
fn answers_tell_objects_statuses_and_the_end_apart() {
    let mut buffer = Buffer::default();
    buffer.message(HEADER, |message| message.u32(1, 77));
    let mut bytes = buffer.as_bytes().to_vec();
    for (kind, body) in [(NLMSG_ERROR, (-17_i32).to_ne_bytes()), (NLMSG_DONE, [0; 4])] {
        bytes.extend(20_u32.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0, 0]);
        bytes.extend(9_u32.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(body);
    }
    let found: Vec<_> = answers(&bytes).collect();
    let [Answer::Object { family: 1, attributes }, Answer::Status { sequence: 9, errno: 17 }, Answer::Done] = found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(find_u32(attributes, 1), Some(77));
}

#[test]
fn bytes_that_are_cut_short_are_no_answer() {
    let mut buffer = Buffer::default();
    buffer.message(HEADER, |message| message.text(1, "a name"));
    let whole = buffer.as_bytes();
    for len in 0..whole.len() {
        assert_eq!(answers(&whole[..len]).count(), 0, "{len}");
    }
    assert_eq!(find(&[4, 0], 1), None);
    assert_eq!(find(&[3, 0, 1, 0, 9, 9, 9, 9], 1), None);
    assert_eq!(find_u32(&[6, 0, 1, 0, 9, 9], 1), None);
}
