//! The framing as a whole: any bytes in any pieces.

use std::borrow::Cow;

use proptest::prelude::*;

use crate::websocket::frame::parser::Parser;
use crate::websocket::frame::{BINARY, CLOSE, CONTINUATION, Message, PING, PONG, TEXT, Violation, write};

const MAX: usize = 70_000;

/// A client's frame: masked.
fn client(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut plain = Vec::new();
    write::push_header(&mut plain, first & 0x0f, payload.len());
    plain[0] = first;
    plain[1] |= 0x80;
    plain.extend_from_slice(&mask);
    plain.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    plain
}

fn owned(message: Message<'_>) -> Message<'static> {
    match message {
        Message::Text(text) => Message::Text(Cow::Owned(text.into_owned())),
        Message::Binary(bytes) => Message::Binary(Cow::Owned(bytes.into_owned())),
        Message::Ping(bytes) => Message::Ping(Cow::Owned(bytes.into_owned())),
        Message::Pong => Message::Pong,
        Message::Close(code) => Message::Close(code),
    }
}

/// Everything that comes out when the bytes come in pieces of these sizes, over and over.
fn parse(bytes: &[u8], sizes: &[usize]) -> (Vec<Message<'static>>, Option<Violation>) {
    let mut parser = Parser::new(MAX);
    let mut messages = Vec::new();
    let mut rest = bytes.to_vec();
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let n = (*sizes.next().unwrap()).clamp(1, rest.len());
        let mut piece: Vec<u8> = rest.drain(..n).collect();
        let mut input = &mut piece[..];
        loop {
            match parser.next(&mut input) {
                Ok(Some(message)) => messages.push(owned(message)),
                Ok(None) => break,
                Err(violation) => return (messages, Some(violation)),
            }
        }
        assert!(input.is_empty());
    }
    (messages, None)
}

#[track_caller]
fn check(bytes: &[u8], expected: Violation) {
    for sizes in [&[usize::MAX][..], &[1]] {
        assert_eq!(parse(bytes, sizes).1, Some(expected));
    }
}

#[test]
fn violations_are_told_apart() {
    let mask = [1, 2, 3, 4];
    check(&client(0xC1, b"a", mask), Violation::Reserved);
    check(&client(0x83, b"a", mask), Violation::Opcode);
    check(&client(0x8B, b"a", mask), Violation::Opcode);
    check(&[0x81, 0x01, b'a'], Violation::Unmasked);
    check(&client(0x89, &[0; 126], mask), Violation::LongControl);
    check(&client(0x09, b"", mask), Violation::FragmentedControl);
    check(&[0x82, 0xFE, 0, 125, 0, 0, 0, 0], Violation::NotMinimal);
    check(&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0], Violation::NotMinimal);
    check(&client(0x80, b"a", mask), Violation::StrayContinuation);
    check(&[client(0x01, b"a", mask), client(0x81, b"b", mask)].concat(), Violation::Interrupted);
    check(&client(0x88, &[3], mask), Violation::CloseCode);
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000] {
        check(&client(0x88, &code.to_be_bytes(), mask), Violation::CloseCode);
    }
    check(&client(0x88, &[3, 0xE8, 0xff], mask), Violation::NotUtf8);
    check(&client(0x81, &[0xC3, 0x28], mask), Violation::NotUtf8);
    check(&client(0x81, &[0xC3], mask), Violation::NotUtf8);
    check(&client(0x82, &vec![0; MAX + 1], mask), Violation::TooBig);
    check(&[client(0x02, &vec![0; MAX], mask), client(0x80, b"a", mask)].concat(), Violation::TooBig);
}

#[test]
fn wrong_text_is_refused_before_it_is_complete() {
    let start = client(0x01, &[b'a', 0xC3], [9, 8, 7, 6]);
    assert_eq!(parse(&start, &[3]).1, None);
    let wrong = client(0x00, &[0x28], [9, 8, 7, 6]);
    assert_eq!(parse(&[start, wrong].concat(), &[3]).1, Some(Violation::NotUtf8));
}

#[test]
fn between_messages_nothing_is_held() {
    let mut parser = Parser::new(MAX);
    let mut bytes = [client(0x01, b"a", [1; 4]), client(0x89, b"p", [2; 4]), client(0x80, b"b", [3; 4])].concat();
    for byte in &mut bytes {
        let mut input = std::slice::from_mut(byte);
        while parser.next(&mut input).unwrap().is_some() {}
    }
    assert_eq!(parser.held(), 0);
    assert!(std::mem::size_of::<Parser>() <= 64);
}

#[test]
fn a_close_reason_is_cut_between_characters() {
    let frame = write::close(4400, &"ä".repeat(100));
    assert!(frame.len() <= 127);
    assert!(std::str::from_utf8(&frame[4..]).is_ok());
}

/// Messages with the fragments they are sent in, and pings in between.
fn sent() -> impl Strategy<Value = Vec<(bool, String, usize, bool)>> {
    let text =
        prop_oneof![8 => "[a-zäß€𝄞]{0,40}", 1 => (65_530_usize..65_540).prop_map(|n| "x".repeat(n)), 1 => "y{120,130}"];
    prop::collection::vec((any::<bool>(), text, 1_usize..20, any::<bool>()), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_come_through_however_they_are_cut(
        messages in sent(), sizes in prop::collection::vec(1_usize..3000, 1..6), mask: [u8; 4],
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (is_text, text, n_bytes, ping) in messages {
            let opcode = if is_text { TEXT } else { BINARY };
            let size = (text.len() / 20).max(n_bytes);
            let chunks: Vec<&[u8]> = if text.is_empty() { vec![&[]] } else { text.as_bytes().chunks(size).collect() };
            for (i, chunk) in chunks.iter().enumerate() {
                let fin = if i + 1 == chunks.len() { 0x80 } else { 0 };
                bytes.extend(client(fin | if i == 0 { opcode } else { CONTINUATION }, chunk, mask));
                if ping && fin == 0 {
                    bytes.extend(client(0x80 | PING, b"hey", mask));
                    bytes.extend(client(0x80 | PONG, b"", mask));
                    expected.push(Message::Ping(Cow::Borrowed(&b"hey"[..])));
                    expected.push(Message::Pong);
                }
            }
            expected.push(if is_text { Message::Text(text.into()) } else { Message::Binary(text.into_bytes().into()) });
        }
        bytes.extend(client(0x80 | CLOSE, &[0x03, 0xE8, b'!'], mask));
        expected.push(Message::Close(Some(1000)));
        prop_assert_eq!(parse(&bytes, &sizes), (expected, None));
    }

    #[test]
    fn any_bytes_in_any_pieces_do_the_same(
        bytes in prop::collection::vec(any::<u8>(), 0..400), sizes in prop::collection::vec(1_usize..9, 1..6),
    ) {
        // Most random bytes are refused at once; masked frames with small lengths get further.
        let mut likely = bytes.clone();
        for pair in likely.chunks_mut(7) {
            if let [first, second, ..] = pair {
                *first &= 0x8a;
                *second = 0x80 | (*second & 3);
            }
        }
        for bytes in [bytes, likely] {
            let (whole, whole_violation) = parse(&bytes, &[usize::MAX]);
            let (cut, cut_violation) = parse(&bytes, &sizes);
            prop_assert_eq!(whole, cut);
            prop_assert_eq!(whole_violation, cut_violation);
        }
    }

    #[test]
    fn what_the_hub_writes_is_read_the_same(n in prop_oneof![0_usize..300, 65_000_usize..70_000], byte: u8) {
        let payload = vec![byte; n];
        let frame = write::frame(BINARY, &payload);
        let header = frame.len() - payload.len();
        let masked = client(frame[0], &frame[header..], [5, 6, 7, 8]);
        let (messages, violation) = parse(&masked, &[usize::MAX]);
        prop_assert_eq!(violation, None);
        prop_assert_eq!(messages, vec![Message::Binary(payload.into())]);
    }
}
