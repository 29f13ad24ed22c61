use proptest::prelude::*;

use super::{FRAME_BYTES_MAX, FrameReader, ReadFrameError, WriteFrameError, decode_body, encode_frame};
use crate::protocol::{Request, ServerFrame};

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut(
        texts in proptest::collection::vec(".{0,40}", 0..8),
        cut in 1_usize..30,
    ) {
        let mut wire = Vec::new();
        for text in &texts {
            encode_frame(text, &mut wire).expect("a short text fits");
        }
        let mut reader = FrameReader::default();
        let mut received = Vec::new();
        for chunk in wire.chunks(cut) {
            reader.extend(chunk);
            while let Some(body) = reader.next_body().expect("the frames are well formed") {
                received.push(decode_body::<String>(body).expect("the body is a text"));
            }
        }
        prop_assert_eq!(received, texts);
        prop_assert!(!reader.is_mid_frame());
    }

    #[test]
    fn garbage_is_refused_or_waits_for_more_but_never_panics(
        garbage in proptest::collection::vec(any::<u8>(), 0..300),
        cut in 1_usize..50,
    ) {
        let mut reader = FrameReader::default();
        'wire: for chunk in garbage.chunks(cut) {
            reader.extend(chunk);
            loop {
                match reader.next_body() {
                    Ok(None) => break,
                    Ok(Some(body)) => {
                        let _ = Request::parse(body);
                        let _ = decode_body::<ServerFrame>(body);
                    }
                    Err(_) => break 'wire,
                }
            }
        }
    }

    #[test]
    fn json_of_any_shape_is_refused_or_read_but_never_panics(body in "[\\[\\]{}\":,a-z0-9 ]{0,200}") {
        let _ = Request::parse(body.as_bytes());
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_before_its_body_comes() {
    let mut reader = FrameReader::default();
    reader.extend(&(FRAME_BYTES_MAX as u32 + 1).to_le_bytes());
    let error = reader.next_body().expect_err("the frame is too long");
    assert!(matches!(error, ReadFrameError::TooLong { length } if length == FRAME_BYTES_MAX + 1), "{error}");
}

#[test]
fn a_frame_of_the_limit_is_taken() {
    let mut reader = FrameReader::default();
    reader.extend(&(FRAME_BYTES_MAX as u32).to_le_bytes());
    reader.extend(&vec![b' '; FRAME_BYTES_MAX]);
    assert_eq!(reader.next_body().expect("within the limit").map(<[u8]>::len), Some(FRAME_BYTES_MAX));
}

#[test]
fn an_empty_frame_is_refused() {
    let mut reader = FrameReader::default();
    reader.extend(&[0; 4]);
    assert!(matches!(reader.next_body(), Err(ReadFrameError::Empty)));
}

#[test]
fn a_truncated_frame_waits() {
    let mut reader = FrameReader::default();
    reader.extend(&[5, 0, 0]);
    assert!(reader.next_body().expect("nothing is wrong yet").is_none());
    reader.extend(&[0, b'1', b'2']);
    assert!(reader.next_body().expect("nothing is wrong yet").is_none());
    assert!(reader.is_mid_frame());
}

#[test]
fn a_message_over_the_limit_is_not_sent_and_leaves_the_buffer_as_it_was() {
    let mut out = b"before".to_vec();
    let error = encode_frame(&"x".repeat(FRAME_BYTES_MAX), &mut out).expect_err("too long");
    assert!(matches!(error, WriteFrameError::TooLong { .. }), "{error}");
    assert_eq!(out, b"before");
}
