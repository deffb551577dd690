//! Every frame goes out and comes back; what is no frame is refused with a reason.

use bytes::Bytes;
use proptest::prelude::*;

use crate::duration::Span;
use crate::envelope::tests::{bodies, envelopes, headers};
use crate::groups::tests::{delivered, delivery_ids, write_delivered};
use crate::payload::Body;
use crate::problem::kind::Kind;
use crate::problem::object::Problem;
use crate::session::command::{
    Command, Id, Message, Presence, Producer, Progress, Publish, Reply, Request, Respond, Selector, Subscribe,
};
use crate::session::groups::{Ack, Consume, Credit, Extend, Nack, Unconsume};
use crate::session::{answer, delivery, groups, hub};
use crate::token::{Cursor, Since, Token};

fn command(text: &str) -> Command {
    let (id, command) = Command::parse(text).unwrap_or_else(|bad| panic!("{text}: {bad}"));
    assert_eq!(id, Id::from(1));
    command
}

#[test]
fn commands_as_documented() {
    let subscribe = |selector, since| Command::Subscribe(Subscribe { selector, since, presence: None });
    assert_eq!(
        command(r#"{"id":1,"subscribe":{"topic":"chat"}}"#),
        subscribe(Selector::Topic("chat".into()), Since::Now)
    );
    assert_eq!(
        command(r#"{"id":1,"subscribe":{"filter":"chat/#","since":"start"}}"#),
        subscribe(Selector::Filter("chat/#".into()), Since::Start)
    );
    let Command::Subscribe(present) =
        command(r#"{"id":1,"subscribe":{"topic":"chat","presence":{"id":"anna","data":"x"}}}"#)
    else {
        panic!("not a subscribe")
    };
    assert_eq!(present.presence, Some(Presence { id: Some("anna".into()), data: Some("x".into()) }));
    assert!(Command::parse(r#"{"id":1,"subscribe":{"filter":"chat/#","presence":{}}}"#).is_err());
    assert_eq!(command(r#"{"id":1,"unsubscribe":{"subscription":7}}"#), Command::Unsubscribe { subscription: 7 });
    assert_eq!(command(r#"{"id":1,"ping":{}}"#), Command::Ping);
    let respond = Command::Respond(Respond { service: "echo".into(), concurrency: 1 });
    assert_eq!(command(r#"{"id":1,"respond":{"service":"echo"}}"#), respond);
    let consume = Consume { group: "g".into(), credit: 1, member: String::new() };
    assert_eq!(command(r#"{"id":1,"consume":{"group":"g"}}"#), Command::Consume(consume));
    let deliveries = vec!["00000001_000000000000002b.2".parse().unwrap()];
    let nack = Nack { consumer: 7, deliveries, delay: Some(Span(std::time::Duration::from_secs(5))) };
    assert_eq!(
        command(r#"{"id":1,"nack":{"consumer":7,"deliveries":["00000001_000000000000002b.2"],"delay":"5s"}}"#),
        Command::Nack(nack)
    );
    let Command::Publish(publish) = command(
        r#"{"id":1,"publish":{"topic":"t","messages":[{"data":"a"},{"data":null,"headers":{"x":"y"}}],"create":false}}"#,
    ) else {
        panic!("not a publish")
    };
    assert!(!publish.create && publish.producer.is_none());
    assert_eq!(publish.messages[0].body, Body::text("a"));
    assert_eq!(publish.messages[1].body, Body::json("null"));
    let Command::Request(request) = command(r#"{"id":1,"request":{"service":"echo"}}"#) else { panic!("no request") };
    assert_eq!((request.method.as_str(), request.path.as_str(), request.body), ("POST", "/", None));
}

#[test]
fn refusals_say_what_is_wrong_and_to_whom() {
    for (text, id, kind, said) in [
        ("", None, Kind::BadJson, "EOF"),
        (r#"{"id":1,"ping":{}"#, None, Kind::BadJson, "EOF"),
        (r#"{"ping":{}}"#, None, Kind::BadRequest, "missing field `id`"),
        (r#"{"id":true,"ping":{}}"#, None, Kind::BadRequest, "Id"),
        (r#"{"id":1}"#, Some(1), Kind::BadRequest, "names a command, one of: subscribe"),
        (r#"{"id":1,"ping":{},"respond":{"service":"x"}}"#, Some(1), Kind::BadRequest, "one command only"),
        (r#"{"id":1,"shout":{}}"#, Some(1), Kind::BadRequest, "unknown field `shout`"),
        (r#"{"id":1,"subscribe":{"topic":"a","filter":"b"}}"#, Some(1), Kind::BadRequest, "either"),
        (r#"{"id":1,"subscribe":{"topic":"a","since":"x"}}"#, Some(1), Kind::BadCursor, "`since`"),
        (r#"{"id":1,"publish":{"topic":"a"}}"#, Some(1), Kind::BadRequest, "needs `data`"),
        (r#"{"id":1,"publish":{"topic":"a","messages":[]}}"#, Some(1), Kind::BadRequest, "empty"),
        (r#"{"id":1,"publish":{"topic":"a","messages":[{}]}}"#, Some(1), Kind::BadRequest, "message 0: `data`"),
        (r#"{"id":1,"publish":{"topic":"a","messages":[{"data":1}],"data":1}}"#, Some(1), Kind::BadRequest, "not both"),
        (r#"{"id":1,"publish":{"topic":"a","data":"=","encoding":"base64"}}"#, Some(1), Kind::BadRequest, "base64"),
        (r#"{"id":1,"respond":{"service":"x","concurrency":0}}"#, Some(1), Kind::BadRequest, "at least 1"),
        (r#"{"id":1,"consume":{"group":"g","credit":0}}"#, Some(1), Kind::BadRequest, "at least 1"),
        (r#"{"id":1,"ack":{"consumer":1,"deliveries":["x"]}}"#, Some(1), Kind::BadRequest, "`id` that it came with"),
        (r#"{"id":1,"extend":{"consumer":1,"deliveries":[],"by":"x"}}"#, Some(1), Kind::BadRequest, "a duration"),
        (r#"{"id":1,"reply":{"request":"r","status":100}}"#, Some(1), Kind::BadRequest, "200 to 599"),
        (r#"{"id":1,"request":{"service":"r","wait":-1}}"#, Some(1), Kind::BadRequest, "`wait`"),
    ] {
        let bad = Command::parse(text).unwrap_err();
        assert_eq!((bad.id, bad.kind), (id.map(Id::from), kind), "{text}");
        assert!(bad.detail.contains(said), "{text}: {}", bad.detail);
    }
}

#[test]
fn answers_come_back() {
    let published = answer::Published { offset: Token { log: 1, offset: 9 }, duplicate: false, receipt: None };
    let frame = answer::ok(&Id::Text("a".into()), &published);
    assert_eq!(frame, r#"{"id":"a","ok":{"offset":"00000001_0000000000000009","duplicate":false}}"#);
    let Ok(hub::Frame::Answer { id, result: Ok(ok) }) = hub::Frame::parse(&frame) else { panic!("{frame}") };
    assert_eq!(id, Some(Id::Text("a".into())));
    assert_eq!(serde_json::from_str::<answer::Published>(ok.get()).unwrap(), published);
    let receipt = Some(answer::Receipt { readers: 3, groups: 0 });
    let frame = answer::ok(&Id::from(1), &answer::Published { receipt, ..published });
    assert!(frame.ends_with(r#""duplicate":false,"receipt":{"readers":3,"groups":0}}}"#), "{frame}");

    let problem = Problem::new(Kind::TopicClosed, "use another");
    let frame = answer::error(None, &problem);
    assert!(frame.starts_with(r#"{"id":null,"error":{"type":"/problems/topic-closed""#), "{frame}");
    let Ok(hub::Frame::Answer { id: None, result: Err(error) }) = hub::Frame::parse(&frame) else { panic!("{frame}") };
    assert_eq!(*error, problem);
    assert_eq!(answer::ok(&Id::from(2), &answer::Done {}), r#"{"id":2,"ok":{}}"#);
}

#[test]
fn notices_come_back() {
    let at = Token { log: 1, offset: 9 };
    let frame = |shared: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        delivery::prefix(&mut out, 4);
        shared(&mut out);
        hub::Frame::parse(std::str::from_utf8(&out).unwrap()).unwrap()
    };
    let hub::Frame::Gap { subscription: 4, gap } = frame(&|out| delivery::gap(out, "a\"", &at.into())) else {
        panic!()
    };
    assert_eq!(gap, hub::Gap { topic: "a\"".into(), first_available: at.into() });
    let hub::Frame::Closed { closed, .. } = frame(&|out| delivery::closed(out, "a", at)) else { panic!() };
    assert_eq!(closed.offset, at);
    let hub::Frame::Deleted { deleted, .. } = frame(&|out| delivery::deleted(out, "a")) else { panic!() };
    assert_eq!(deleted.topic, "a");
    let goodbye = hub::Goodbye { reason: "shutting-down".into(), retry_after: 1 };
    assert_eq!(goodbye.encode(), r#"{"goodbye":{"reason":"shutting-down","retry_after":1}}"#);
    assert!(matches!(hub::Frame::parse(&goodbye.encode()), Ok(hub::Frame::Goodbye(read)) if read == goodbye));
    let cancel = hub::Cancel { request: "r".into() };
    assert!(matches!(hub::Frame::parse(&cancel.encode()), Ok(hub::Frame::Cancel(read)) if read == cancel));
    let mut ended = Vec::new();
    groups::ended(&mut ended, 7, &Problem::new(Kind::GroupNotFound, "it was deleted"));
    let ended = hub::Frame::parse(std::str::from_utf8(&ended).unwrap());
    let Ok(hub::Frame::Ended { consumer: 7, problem }) = ended else { panic!("{ended:?}") };
    assert_eq!(problem.kind, Kind::GroupNotFound);
    assert!(matches!(hub::Frame::parse(r#"{"tomorrow":{}}"#), Ok(hub::Frame::Other)));
    assert!(hub::Frame::parse("{").is_err());
}

/// Eighths of a second: serde_json reads other fractions only nearly as they were written.
fn waits() -> impl Strategy<Value = f64> {
    (0..2400u32).prop_map(|eighths| f64::from(eighths) / 8.0)
}

fn ids() -> impl Strategy<Value = Id> {
    prop_oneof![any::<u64>().prop_map(Id::from), ".{0,20}".prop_map(Id::Text)]
}

fn messages() -> impl Strategy<Value = Vec<Message>> {
    prop::collection::vec((headers(), bodies()).prop_map(|(headers, body)| Message { headers, body }), 1..4)
}

fn commands() -> impl Strategy<Value = Command> {
    let text = any::<String>;
    let body = || prop::option::of(bodies());
    let producer = (text(), any::<u64>(), any::<u64>()).prop_map(|(id, epoch, seq)| Producer { id, epoch, seq });
    let since = prop_oneof![
        Just(Since::Start),
        Just(Since::Now),
        (1u32.., any::<u64>()).prop_map(|(log, offset)| Since::At(Token { log, offset }.into())),
    ];
    let selector = prop_oneof![text().prop_map(Selector::Topic), text().prop_map(Selector::Filter)];
    prop_oneof![
        (selector, since, prop::option::of((prop::option::of(text()), prop::option::of(text())))).prop_map(
            |(selector, since, presence)| {
                let presence =
                    presence.filter(|_| matches!(selector, Selector::Topic(_))).map(|(id, data)| Presence { id, data });
                Command::Subscribe(Subscribe { selector, since, presence })
            }
        ),
        any::<u64>().prop_map(|subscription| Command::Unsubscribe { subscription }),
        (text(), messages(), prop::option::of(producer), prop::option::of(text()), any::<(bool, bool)>()).prop_map(
            |(topic, messages, producer, message_id, (receipts, create))| {
                Command::Publish(Publish { topic, messages, producer, message_id, receipts, create })
            }
        ),
        (text(), text(), headers(), body(), prop::option::of(waits()), prop::option::of(text())).prop_map(
            |(service, path, headers, body, wait, key)| {
                let (method, query) = ("GET".to_owned(), "a=b".to_owned());
                Command::Request(Request { service, method, path, query, headers, body, wait, key })
            }
        ),
        (text(), 1u32..).prop_map(|(service, concurrency)| Command::Respond(Respond { service, concurrency })),
        (text(), 200u16..600, headers(), body())
            .prop_map(|(request, status, headers, body)| { Command::Reply(Reply { request, status, headers, body }) }),
        (text(), bodies()).prop_map(|(request, body)| Command::Progress(Progress { request, body })),
        any::<u64>().prop_map(|responder| Command::Unrespond { responder }),
        group_commands(),
        Just(Command::Ping),
    ]
}

fn group_commands() -> impl Strategy<Value = Command> {
    let number = any::<u64>;
    let ids = || prop::collection::vec(delivery_ids(), 0..4);
    let span = || prop::option::of((0..9_000_000u64).prop_map(|ms| Span(std::time::Duration::from_millis(ms))));
    prop_oneof![
        (any::<String>(), 1u32.., any::<String>()).prop_map(|(group, credit, member)| Command::Consume(Consume {
            group,
            credit,
            member
        })),
        (number(), ids()).prop_map(|(consumer, deliveries)| Command::Ack(Ack { consumer, deliveries })),
        (number(), ids(), span()).prop_map(|(consumer, deliveries, delay)| Command::Nack(Nack {
            consumer,
            deliveries,
            delay
        })),
        (number(), ids(), span()).prop_map(|(consumer, deliveries, by)| Command::Extend(Extend {
            consumer,
            deliveries,
            by
        })),
        (number(), any::<u32>()).prop_map(|(consumer, credit)| Command::Credit(Credit { consumer, credit })),
        number().prop_map(|consumer| Command::Unconsume(Unconsume { consumer })),
    ]
}

proptest! {
    #[test]
    fn commands_come_back(id in ids(), command in commands()) {
        prop_assert_eq!(Command::parse(&command.encode(&id)), Ok((id, command)));
    }

    #[test]
    fn deliveries_come_back(subscription: u64, envelopes in prop::collection::vec(envelopes(), 0..4)) {
        let cursor = Cursor::from(Token { log: 1, offset: 5 });
        let mut out = Vec::new();
        delivery::prefix(&mut out, subscription);
        let mut shared = delivery::Messages::open(&mut out);
        for envelope in &envelopes {
            envelope.write(shared.next());
        }
        shared.close(&cursor);
        match hub::Frame::parse(std::str::from_utf8(&out).unwrap()).unwrap() {
            hub::Frame::Messages { subscription: read, messages, next } => {
                prop_assert_eq!((read, messages, next), (subscription, envelopes, cursor));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn what_groups_hand_out_comes_back(consumer: u64, handed in prop::collection::vec(delivered(), 1..4)) {
        let mut out = Vec::new();
        let mut frame = groups::Deliveries::open(&mut out, consumer);
        for delivered in &handed {
            write_delivered(frame.next(), delivered);
        }
        frame.close();
        match hub::Frame::parse(std::str::from_utf8(&out).unwrap()).unwrap() {
            hub::Frame::Deliveries { consumer: read, messages } => prop_assert_eq!((read, messages), (consumer, handed)),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn requests_and_responses_come_back(
        headers in headers(), body in prop::option::of(bodies()), wait in waits(), attempt: u32,
    ) {
        let request = hub::Request {
            id: "r1".into(), responder: 3, service: "s\n".into(), method: "PUT".into(), path: "/x/é".into(),
            query: String::new(), headers: headers.clone(), body: body.clone(), attempt, wait,
        };
        match hub::Frame::parse(&request.encode()).unwrap() {
            hub::Frame::Request(read) => prop_assert_eq!(*read, request),
            other => prop_assert!(false, "{:?}", other),
        }
        let response = answer::Response { status: 418, headers, body };
        match hub::Frame::parse(&answer::response(&Id::from(1), &response)).unwrap() {
            hub::Frame::Answer { result: Ok(ok), .. } => {
                prop_assert_eq!(serde_json::from_str::<answer::Response>(ok.get()).unwrap(), response);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let text = if bytes.len() > 40 { String::from_utf8_lossy(&Bytes::from(bytes)).into_owned() } else { text };
        drop(Command::parse(&text));
        drop(hub::Frame::parse(&text));
    }
}

#[test]
fn a_large_frame_is_not_repeated_to_say_what_is_wrong() {
    let unknown = format!(r#"{{"id":1,"{}":1}}"#, "ü".repeat(100_000));
    let bad = Command::parse(&unknown).unwrap_err();
    assert!(bad.id == Some(Id::from(1)) && bad.detail.contains("üüü") && bad.detail.len() < 1_100, "{}", bad.detail);
}
