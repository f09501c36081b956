//! A dialogue on one connection: steps, captures, deadlines, beats, replies, and what was sent is what was answered or waits.

use super::super::matcher::{CaptureFrom, Content, Matcher, Pattern};
use super::super::script::{
    Dialogue, DialogueBeat, DialogueProtocol, DialogueRequest, DialogueStep, ExpectedMessage, FollowedSequence, StandingReply,
};
use super::*;
use crate::dialogue::mqtt;
use crate::seed::Seed;
use crate::template::Template;
use crate::units::Rate;
use proptest::prelude::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn content(text: &str) -> Content {
    Content::Text(Template::parse(text).expect("names"))
}

fn prefix(text: &str) -> Matcher {
    Matcher { prefix: Some(content(text)), ..Matcher::default() }
}

fn awaited(text: &str) -> ExpectedMessage {
    ExpectedMessage { meant: prefix(text), check: Matcher::default(), capture: Vec::new(), within: ms(1_000) }
}

fn request(send: &str, reply: Matcher) -> DialogueRequest {
    DialogueRequest { name: "ask".into(), send: content(send), reply: Some(reply), error: None, weight: 1.0 }
}

fn memory() -> Box<ClientMemory> {
    Box::new(ClientMemory::new(Seed(1), ClientIndex(7), 0))
}

fn client(script: &Dialogue) -> ScriptClient<'_> {
    let of = Scripted { script, cohort: "web", data: None };
    ScriptClient::new(of, (ClientIndex(7), ConnectionNo(2)), memory(), ms(0), Besides::Nothing)
}

impl ScriptClient<'_> {
    fn hears(&mut self, message: Payload<'_>, now: Duration) -> Meant {
        self.on_message(&IncomingMessage::new(message), true, now)
    }
}

fn said(client: &mut ScriptClient<'_>) -> Vec<String> {
    std::iter::from_fn(|| {
        let message = client.send_next()?;
        client.on_sent(ms(0), ms(0));
        Some(text(message))
    })
    .collect()
}

const fn reply(due: u64, sent: u64) -> Meant {
    Meant::Reply { due: ms(due), sent: ms(sent), error: false }
}

fn text(message: Outgoing) -> String {
    let Outgoing::Text(text) = message else { panic!("a text message") };
    text.into()
}

/// socket.io, as a dialogue: the handshake of Engine.IO, then `40`, and pings of the server.
fn socket_io() -> Dialogue {
    let mut hello = awaited("0{");
    hello.capture = vec![("sid".into(), CaptureFrom::Json("/sid".to_owned()))];
    Dialogue {
        open: vec![
            DialogueStep { name: "hello".into(), send: None, resume: None, expect: Some(hello) },
            DialogueStep {
                name: "connect".into(),
                send: Some(content("40{\"of\":\"{captured.sid}\"}")),
                resume: None,
                expect: Some(awaited("40")),
            },
        ],
        reply: vec![StandingReply { to: prefix("2"), send: content("3") }],
        request: vec![request("42{sequence}[\"ask\"]", prefix("43{sequence}["))],
        pace: RequestPace::InFlight(2),
        ..Dialogue::default()
    }
}

#[test]
fn steps_come_one_after_the_other_and_captures_go_on() {
    let script = socket_io();
    let mut client = client(&script);
    assert_eq!((said(&mut client), client.is_open(), client.on_due()), (vec![], false, None));
    assert_eq!(client.hears(Payload::Text("0{\"sid\":\"abc\"}"), ms(1)), Meant::Dialogue);
    assert_eq!(said(&mut client), ["40{\"of\":\"abc\"}"]);
    // A ping comes while a step waits: it is answered, and the step goes on waiting.
    assert_eq!(client.hears(Payload::Text("2"), ms(2)), Meant::Dialogue);
    assert_eq!(said(&mut client), ["3"]);
    assert!(!client.is_open());
    client.hears(Payload::Text("40{\"sid\":\"x\"}"), ms(3));
    assert!(client.is_open());
    assert_eq!(said(&mut client), ["423[\"ask\"]", "424[\"ask\"]"]);
    assert_eq!(client.hears(Payload::Text("42[\"news\"]"), ms(4)), Meant::Received);
    assert_eq!(client.hears(Payload::Text("434[\"ok\"]"), ms(4)), reply(0, 0));
    assert_eq!(client.hears(Payload::Text("434[\"ok\"]"), ms(4)), Meant::Received, "a duplicate answers nothing");
    assert_eq!(said(&mut client), ["425[\"ask\"]"]);
    assert_eq!(client.tells(), None);
}

#[test]
fn what_is_received_while_a_step_waits_counts_as_received_with_its_time() {
    let script = Dialogue {
        receive: Some(prefix("{\"news")),
        timestamp: Some(CaptureFrom::Json("/at".to_owned())),
        open: vec![DialogueStep { name: "hello".into(), send: None, resume: None, expect: Some(awaited("hello")) }],
        ..Dialogue::default()
    };
    let mut client = client(&script);
    assert_eq!(client.hears(Payload::Text("{\"news\":1,\"at\":1769860800}"), ms(1)), Meant::Received);
    assert_eq!(client.tells(), Some(DialogueTells::Stamped(1_769_860_800_000_000)));
    assert_eq!(client.hears(Payload::Text("{\"other\":1,\"at\":1769860800}"), ms(2)), Meant::Dialogue);
    assert_eq!(client.tells(), None, "not received, and no time of it");
    client.on_wake(ms(1_000));
    let told = client.tells();
    assert!(matches!(&told, Some(DialogueTells::Failed { words, .. }) if words.contains("the last \"{\"other")), "{told:?}");
}

/// Of a long message its length is told: what of it must not be shown could be cut in two.
#[test]
fn a_long_message_that_came_instead_is_its_length() {
    let script = socket_io();
    for (length, shown) in [(4_096, "\"xxxx"), (4_097, "4097 bytes came instead")] {
        let mut client = client(&script);
        client.hears(Payload::Text(&"x".repeat(length)), ms(1));
        client.on_wake(ms(1_000));
        let told = client.tells();
        assert!(matches!(&told, Some(DialogueTells::Failed { words, .. }) if words.contains(shown)), "{told:?}");
    }
}

#[test]
fn a_step_that_is_not_met_says_what_came_instead_and_is_no_hang() {
    let script = Dialogue { first_step: 5, ..socket_io() };
    for (came, late, words) in [
        (&[][..], true, "nothing came in time"),
        (&["44{}"][..], true, "not in time; \"44{}\" came instead"),
        (&["a", "44{}"][..], true, "not in time; other messages came instead, the last \"44{}\""),
        (&["0{\"other\":1}"][..], false, "there is no `sid` in \"0{\"other\":1}\""),
    ] {
        let mut client = client(&script);
        for message in came {
            client.hears(Payload::Text(message), ms(1));
        }
        if late {
            assert_eq!(client.wake(), Some(ms(1_000)));
            client.on_wake(ms(999));
            assert_eq!(client.tells(), None);
            client.on_wake(ms(1_000));
        }
        let words = format!("cohort web: step `hello` of the dialogue: {words}");
        assert_eq!(client.tells(), Some(DialogueTells::Failed { step: 5, late, words }));
        assert_eq!((client.wake(), client.send_next(), client.on_due()), (None, None, None), "it has failed");
    }
}

#[test]
fn what_is_meant_and_what_is_right_are_two_things() {
    let mut expect = awaited("{\"type\":\"welcome\"");
    expect.check = Matcher { json: vec![("/ok".to_owned(), None)], ..Matcher::default() };
    let step = DialogueStep { name: "welcome".into(), send: Some(content("login")), resume: None, expect: Some(expect) };
    let script = Dialogue { open: vec![step], ..Dialogue::default() };
    let mut right = client(&script);
    assert_eq!(said(&mut right), ["login"]);
    right.hears(Payload::Text("{\"type\":\"other\"}"), ms(1));
    right.hears(Payload::Text("{\"type\":\"welcome\",\"ok\":1}"), ms(1));
    assert!(right.is_open());
    let mut wrong = client(&script);
    wrong.hears(Payload::Text("{\"type\":\"welcome\"}"), ms(1));
    assert!(matches!(wrong.tells(), Some(DialogueTells::Failed { step: 0, late: false, .. })));
}

#[test]
fn a_beat_goes_out_by_the_clock_and_is_answered_in_time() {
    let beat = DialogueBeat { every: ms(100), send: content("ping"), expect: Some((prefix("pong"), ms(50))) };
    let script = Dialogue { beat: Some(beat), ..Dialogue::default() };
    let mut client = client(&script);
    assert_eq!(client.wake(), Some(ms(100)));
    client.on_wake(ms(100));
    assert_eq!((said(&mut client), client.wake()), (vec!["ping".to_owned()], Some(ms(150))));
    client.hears(Payload::Text("pong"), ms(120));
    assert_eq!(client.wake(), Some(ms(200)));
    client.on_wake(ms(200));
    client.on_wake(ms(250));
    assert!(matches!(client.tells(), Some(DialogueTells::Failed { step: 0, late: true, .. })));
}

#[test]
fn errors_are_told_apart_and_broadcasts_are_not_replies() {
    let error = Some(prefix("error"));
    let script = Dialogue {
        request: vec![DialogueRequest { error, ..request("ask", Matcher::default()) }],
        pace: RequestPace::Rate(Rate(1.0)),
        receive: Some(prefix("news")),
        error: vec![("busy".into(), prefix("busy"))],
        first_error: 3,
        ..Dialogue::default()
    };
    let mut client = client(&script);
    let ask = |client: &mut ScriptClient<'_>| {
        let message = client.on_due().expect("it is open");
        assert!(client.on_sent(ms(1), ms(2)));
        text(message)
    };
    assert_eq!(ask(&mut client), "ask");
    assert_eq!(client.hears(Payload::Text("news"), ms(3)), Meant::Received);
    assert_eq!(client.hears(Payload::Text("ok"), ms(3)), reply(1, 2));
    assert_eq!(client.tells(), None);
    ask(&mut client);
    assert_eq!(client.hears(Payload::Text("error 7"), ms(3)), Meant::Reply { due: ms(1), sent: ms(2), error: true });
    assert_eq!(client.tells(), Some(DialogueTells::Error(4)));
    assert_eq!(client.hears(Payload::Text("busy"), ms(3)), Meant::Dialogue);
    assert_eq!(client.tells(), Some(DialogueTells::Error(3)));
    assert_eq!(client.hears(Payload::Text("other"), ms(3)), Meant::Dialogue, "not among those that are received");
}

#[test]
fn numbers_of_messages_go_on_over_connections() {
    let script = Dialogue {
        open: vec![DialogueStep { name: "1".into(), send: Some(content("hi {sequence}")), resume: None, expect: None }],
        ..Dialogue::default()
    };
    let mut first = client(&script);
    assert_eq!(said(&mut first), ["hi 1"]);
    let of = Scripted { script: &script, cohort: "web", data: None };
    let mut second = ScriptClient::new(of, (ClientIndex(7), ConnectionNo(3)), first.into_memory(), ms(9), Besides::Nothing);
    assert_eq!(said(&mut second), ["hi 2"]);
}

/// What a client was told of the numbers of messages.
fn sequenced(client: &mut ScriptClient<'_>) -> Vec<Sequenced> {
    std::iter::from_fn(|| client.tells())
        .map(|tells| match tells {
            DialogueTells::Sequenced { found, .. } => found,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn numbered(number: u64) -> String {
    format!("{{\"type\":\"message\",\"seq\":{number}}}")
}

/// A step, a standing answer and a request take messages with numbers; none of these is missed, and one that did not come is.
#[test]
fn numbers_count_whatever_takes_their_message() {
    let sequence = FollowedSequence { number: CaptureFrom::Json("/seq".to_owned()), stream: None, replayed: None };
    let message = prefix("{\"type\":\"message\"");
    let number = |number: &str| Matcher { json: vec![("/seq".to_owned(), Some(Template::plain(number)))], ..Matcher::default() };
    let script = Dialogue {
        open: vec![DialogueStep {
            name: "1".into(),
            send: None,
            resume: None,
            expect: Some(ExpectedMessage { meant: number("2"), ..awaited("") }),
        }],
        reply: vec![StandingReply { to: number("4"), send: content("ack {captured.last}") }],
        request: vec![request("say", number("5"))],
        pace: RequestPace::Rate(Rate(1.0)),
        error: vec![("bad".into(), number("6"))],
        sequence: Some(sequence),
        capture: vec![("last".into(), CaptureFrom::Json("/seq".to_owned()))],
        ..Dialogue::default()
    };
    for (receive, at_first, meant) in [(Some(message), Meant::Received, Meant::Received), (None, Meant::Dialogue, Meant::Received)] {
        let script = Dialogue { receive, ..script.clone() };
        let mut client = client(&script);
        let hear = |client: &mut ScriptClient<'_>, number| client.hears(Payload::Text(&numbered(number)), ms(1));
        assert_eq!((hear(&mut client, 1), client.is_open()), (at_first, false));
        assert_eq!((hear(&mut client, 2), client.is_open()), (Meant::Dialogue, true));
        assert_eq!(hear(&mut client, 3), meant);
        assert_eq!((hear(&mut client, 4), said(&mut client)), (Meant::Dialogue, vec!["ack 4".to_owned()]));
        assert!(client.on_due().is_some() && client.on_sent(ms(1), ms(2)));
        assert_eq!((hear(&mut client, 5), sequenced(&mut client)), (reply(1, 2), vec![Sequenced::Next; 5]));
        assert_eq!(
            (hear(&mut client, 6), client.tells()),
            (Meant::Dialogue, Some(DialogueTells::Sequenced { found: Sequenced::Next, replayed: false }))
        );
        assert_eq!(client.tells(), Some(DialogueTells::Error(0)));
        assert_eq!((hear(&mut client, 9), sequenced(&mut client)), (meant, vec![Sequenced::Gap { missed: 2 }]));
        // Each counts once, and what has no number only where it is received.
        assert_eq!((hear(&mut client, 9), sequenced(&mut client)), (meant, vec![Sequenced::Duplicate { back: false }]));
        let other = client.hears(Payload::Text("other"), ms(1));
        let told = matches!(client.tells(), Some(DialogueTells::Counted(text)) if text.contains("no whole number"));
        assert_eq!((other, told), if script.receive.is_some() { (Meant::Dialogue, false) } else { (Meant::Received, true) });
    }
}

/// What is captured of a message is not what it is compared with.
#[test]
fn a_step_compares_with_what_was_captured_before() {
    let last = Matcher { json: vec![("/seq".to_owned(), Template::parse("{captured.last}").ok())], ..Matcher::default() };
    let script = Dialogue {
        open: vec![DialogueStep {
            name: "1".into(),
            send: None,
            resume: None,
            expect: Some(ExpectedMessage { check: last, ..awaited("") }),
        }],
        receive: Some(Matcher::default()),
        capture: vec![("last".into(), CaptureFrom::Json("/seq".to_owned()))],
        ..Dialogue::default()
    };
    for (number, right) in [(7, true), (8, false)] {
        let mut client = client(&script);
        client.memory.capture("last", "7".to_owned()).expect("short");
        client.hears(Payload::Text(&numbered(number)), ms(1));
        assert_eq!((client.is_open(), client.tells().is_none()), (right, right), "{number}");
    }
}

#[test]
fn a_number_that_cannot_be_is_told_and_nothing_is_missed() {
    let sequence = FollowedSequence { number: CaptureFrom::Json("/seq".to_owned()), stream: None, replayed: None };
    let script = Dialogue { sequence: Some(sequence), ..Dialogue::default() };
    let mut client = client(&script);
    for number in [1, u64::MAX] {
        client.hears(Payload::Text(&numbered(number)), ms(1));
        assert_eq!(client.tells(), Some(DialogueTells::Sequenced { found: Sequenced::Next, replayed: false }));
    }
    assert!(matches!(client.tells(), Some(DialogueTells::Counted(text)) if text.contains("jumped by more than 10000000:")));
}

/// A message can have as many packets as it likes: each is taken when the one before it is done with, and its answer goes out before.
#[test]
fn packets_of_a_message_are_taken_one_by_one() {
    let sequence = FollowedSequence { number: CaptureFrom::Json("/payload".to_owned()), stream: None, replayed: None };
    let script = Dialogue { protocol: Some(DialogueProtocol::Mqtt), sequence: Some(sequence), ..Dialogue::default() };
    let mut client = client(&script);
    let of = |number: u16| {
        mqtt::packet(&format!("{{\"type\":\"publish\",\"topic\":\"a\",\"qos\":1,\"id\":{number},\"payload\":\"{number}\"}}"), false)
    };
    let message: Vec<u8> = (1..=5_000).flat_map(|number| of(number).expect("right")).collect();
    let mut rest = Payload::Binary(&message);
    for number in 1..=5_000_u16 {
        let packet = client.unpack(&mut rest).expect("one more");
        let text = packet.says.to_string();
        assert_eq!(client.on_message(&IncomingMessage::known(&text, packet.says), true, ms(1)), Meant::Received);
        assert_eq!(client.tells(), Some(DialogueTells::Sequenced { found: Sequenced::Next, replayed: false }));
        let [high, low] = number.to_be_bytes();
        assert_eq!((client.send_next(), client.outbox.len()), (Some(Outgoing::Binary(vec![0x40, 2, high, low])), 0));
    }
    assert_eq!((client.unpack(&mut rest), rest, client.tells()), (None, Payload::Binary(&[]), None));
    // What is no MQTT is said once.
    for mut wrong in [Payload::Text("x"), Payload::Text("y"), Payload::Binary(&message)] {
        while client.unpack(&mut wrong).is_some() {}
    }
    assert!(matches!(client.tells(), Some(DialogueTells::Failed { step: 2, words, .. }) if words.contains("step `packets`")));
    assert_eq!(client.tells(), None);
}

/// Whatever a server sends: nothing panics, and what a client keeps of it has a bound.
#[test]
fn hostile_messages_cost_no_panic_and_no_memory() {
    const LONG: usize = 1 << 20;
    let long = "k".repeat(LONG);
    let texts = [
        String::new(),
        "\0".to_owned(),
        "[".repeat(10_000) + &"]".repeat(10_000),
        "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000),
        "[".repeat(LONG),
        "[0".to_owned() + &",0".repeat(LONG / 2) + "]",
        format!("{{\"{long}\":1,\"seq\":2}}"),
        format!("{{\"type\":\"message\",\"seq\":3,\"id\":\"{long}\",\"room\":\"{long}\"}}"),
        format!("{{\"type\":\"message\",\"seq\":1{},\"id\":\"x\"}}", "0".repeat(LONG)),
        "{\"seq\":-1,\"id\":1e999}".to_owned(),
        "\u{10ffff}".repeat(LONG / 4),
        long.clone(),
    ];
    let binary: [&[u8]; 4] = [&[], &[0xff; 1_000], b"{\"seq\":4,\"id\":\"\xff\"}", b"\xed\xa0\x80"];
    let messages = || texts.iter().map(|text| Payload::Text(text)).chain(binary.map(Payload::Binary));
    let pattern = super::super::Pattern(regex_lite::Regex::new("(k+|\\[+)$").expect("an expression"));
    let json = |pointer: &str| CaptureFrom::Json(pointer.to_owned());
    let sequence = FollowedSequence { number: json("/seq"), stream: Some(json("/room")), replayed: Some(prefix("{captured.id}")) };
    let contains = |text: &str| Matcher { contains: Some(content(text)), ..Matcher::default() };
    let script = Dialogue {
        reply: vec![StandingReply { to: contains("kkk{captured.id}"), send: content("{captured.id}{captured.all}{captured.run}") }],
        request: vec![request("ask", Matcher { json: vec![("/id".to_owned(), None)], ..Matcher::default() })],
        pace: RequestPace::InFlight(3),
        sequence: Some(sequence),
        capture: vec![("id".into(), json("/id")), ("all".into(), CaptureFrom::Whole), ("run".into(), CaptureFrom::Regex(pattern))],
        error: vec![("bad".into(), Matcher { at: Some((usize::MAX, Box::new([1]))), ..Matcher::default() })],
        ..Dialogue::default()
    };
    let all = Matcher::default();
    let step = |meant: Matcher| ExpectedMessage { capture: vec![("id".into(), json("/id"))], ..ExpectedMessage { meant, ..awaited("") } };
    let waits = |meant| vec![DialogueStep { name: "1".into(), send: None, resume: None, expect: Some(step(meant)) }];
    for open in [vec![], waits(all), waits(contains("never"))] {
        let script = Dialogue { open, ..script.clone() };
        let mut client = client(&script);
        for message in (0..3).flat_map(|_| messages()) {
            client.hears(message, ms(1));
            let told: usize = std::iter::from_fn(|| client.tells()).map(|tells| format!("{tells:?}").len()).sum();
            assert!(told < 2_000, "{told}");
            client.send_next();
        }
        let kept = client.memory.kept();
        assert!(kept <= 3 * (64 << 10) && client.instead.text().is_none_or(|last| last.len() <= 4 << 10), "{kept}");
    }
    // A step that must keep a value says why it does not.
    let script = Dialogue { open: waits(prefix("{")), ..Dialogue::default() };
    let mut client = client(&script);
    client.hears(Payload::Text(&texts[7]), ms(1));
    let told = client.tells();
    assert!(matches!(&told, Some(DialogueTells::Failed { words, .. }) if words.contains("`id` is longer than 65536 bytes")), "{told:?}");
}

proptest! {
    /// Replies by number arrive in any order, some twice, some never: each request is answered at most once, and what was sent is what was
    /// answered and what waits.
    #[test]
    fn what_was_sent_was_answered_or_waits(
        happens in prop::collection::vec(prop_oneof![Just(None), (0_u64..40).prop_map(Some)], 0..200),
    ) {
        let script = Dialogue {
            request: vec![request("{sequence}", Matcher { equals: Some(content("r{sequence}")), ..Matcher::default() })],
            pace: RequestPace::Rate(Rate(1.0)),
            ..Dialogue::default()
        };
        let mut client = client(&script);
        let (mut sent, mut answered) = (0, std::collections::BTreeSet::new());
        for what in happens {
            match what {
                None => {
                    sent += 1;
                    let message = client.on_due().expect("open");
                    prop_assert_eq!(text(message), sent.to_string());
                    prop_assert!(client.on_sent(ms(sent), ms(sent)));
                }
                Some(number) => {
                    let meant = client.hears(Payload::Text(&format!("r{number}")), ms(1));
                    let first = (1..=sent).contains(&number) && answered.insert(number);
                    prop_assert_eq!(meant, if first { reply(number, number) } else { Meant::Received });
                }
            }
            prop_assert_eq!(client.awaited.len() + answered.len(), sent as usize);
        }
    }

    /// Whatever comes, a dialogue opens or fails: never neither, once its time is over.
    #[test]
    fn it_opens_or_fails_in_time(messages in prop::collection::vec("(0\\{\"sid\":\"a\"\\}|40|2|44|)", 0..8)) {
        let script = socket_io();
        let mut client = client(&script);
        let mut now = ms(0);
        for message in messages {
            now += ms(10);
            client.hears(Payload::Text(&message), now);
        }
        while let Some(at) = client.wake().filter(|_| !client.is_open()) {
            client.send_next();
            client.on_wake(at);
        }
        prop_assert!(client.is_open() != client.failed);
    }
}

/// Connection state recovery of socket.io: what comes between the `resume` and its answer is sent once more; a new session forgets the old one.
#[test]
fn a_step_takes_up_what_was_captured_before() {
    let pid = CaptureFrom::OrNothing(Box::new(CaptureFrom::Json("/pid".to_owned())));
    let expect = ExpectedMessage { capture: vec![("pid".into(), pid)], ..awaited("40") };
    let resume = Some(content("40{\"pid\":\"{captured.pid}\",\"offset\":\"{captured.offset}\"}"));
    let offset = Pattern(regex_lite::Regex::new(r#""((?:[^"\\]|\\.)*)"\]$"#).expect("an expression"));
    let script = Dialogue {
        open: vec![DialogueStep { name: "connect".into(), send: Some(content("40")), resume, expect: Some(expect) }],
        receive: Some(prefix("42")),
        sequence: Some(FollowedSequence { number: CaptureFrom::Json("/1".to_owned()), stream: None, replayed: None }),
        capture: vec![("offset".into(), CaptureFrom::Regex(offset))],
        ..Dialogue::default()
    };
    let of = Scripted { script: &script, cohort: "web", data: None };
    let mut memory = memory();
    let tells = |client: &mut ScriptClient<'_>| {
        std::iter::from_fn(|| client.tells()).filter(|tells| matches!(tells, DialogueTells::Sequenced { replayed: true, .. })).count()
    };
    for (connection, said_first, before, answer, after, again) in [
        (1, "40", &[][..], r#"40{"sid":"a","pid":"p1"}"#, &[][..], 0),
        // No event came: there is nothing to take up.
        (2, "40", &[], r#"40{"sid":"b","pid":"p2"}"#, &[r#"42["news",1,"o\"1"]"#, r#"42["news",2,["x"]]"#], 0),
        (3, r#"40{"pid":"p2","offset":"o\"1"}"#, &[r#"42["news",3,"o3"]"#], r#"40{"sid":"b","pid":"p2"}"#, &[r#"42["news",4,"o4"]"#], 1),
        // The server has recovery no more.
        (4, r#"40{"pid":"p2","offset":"o4"}"#, &[], r#"40{"sid":"c"}"#, &[r#"42["news",5,"text"]"#], 0),
        (5, "40", &[r#"42["news",6,"o6"]"#], r#"40{"sid":"d","pid":"p4"}"#, &[], 0),
        (6, r#"40{"pid":"p4","offset":"o6"}"#, &[], r#"40{"sid":"d","pid":"p4"}"#, &[], 0),
    ] {
        let mut client = ScriptClient::new(of, (ClientIndex(7), ConnectionNo(connection)), memory, ms(0), Besides::Nothing);
        assert_eq!(said(&mut client), [said_first], "{connection}");
        before.iter().for_each(|message| assert_eq!(client.hears(Payload::Text(message), ms(1)), Meant::Received));
        assert_eq!((client.hears(Payload::Text(answer), ms(1)), client.is_open()), (Meant::Dialogue, true));
        after.iter().for_each(|message| assert_eq!(client.hears(Payload::Text(message), ms(1)), Meant::Received));
        assert_eq!(tells(&mut client), again, "{connection}");
        memory = client.into_memory();
    }
}
