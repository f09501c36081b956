//! Paths and what they mean, by table, over all kinds, and by property.

use super::*;
use crate::fault::{Effect, InjectionStep, OnAttempt, Side, ValueShape};
use crate::serve::catalogue::kinds;
use proptest::prelude::*;

fn read(target: &str) -> PathSteps {
    target.parse().unwrap_or_else(|error| panic!("{target}: {error}"))
}

/// What a step is, short.
fn short(step: &PathStep) -> String {
    let what = match &step.does {
        StepAction::Echo => "echo".to_owned(),
        StepAction::Message(text) => format!("message {text:?}"),
        StepAction::Repeat { text, every } => format!("repeat {text:?} {every:?}"),
        StepAction::Pings(count) => format!("pings {count}"),
        StepAction::Wait(time) => format!("wait {time:?}"),
        StepAction::Subprotocol(name) => format!("subprotocol {name:?}"),
        StepAction::Fault { injection, holds } => {
            let given = injection.values.0.iter().filter(|(name, value)| injection.row.defaults().0.get(*name) != Some(value));
            let given: Vec<_> = given.map(|(name, value)| format!(" {name}={value:?}")).collect();
            format!("{}{}{}", injection.row.kind, given.concat(), holds.map(|time| format!(" for {time:?}")).unwrap_or_default())
        }
    };
    if step.share == 1.0 { what } else { format!("{what} at {:.0} %", step.share * 100.0) }
}

#[test]
fn paths_become_steps() {
    for (target, before, open) in [
        ("/", "", ""),
        ("/echo", "", "echo"),
        ("/echo/", "", "echo"),
        (
            "/message/hello/wait/2s/close/1011?reason=oops",
            "",
            r#"message "hello"; wait 2s; close_code code=Whole(1011) reason=Text("oops")"#,
        ),
        ("/close", "", "close_code code=Whole(1000)"),
        ("/close/1000/wait/1s", "", "close_code code=Whole(1000); wait 1s"),
        ("/wait/1s/drop_rst", "", "wait 1s; drop_rst"),
        ("/drop_fin", "", "drop_fin"),
        ("/half_close_write", "", "half_close_write"),
        ("/close_ack_delay?delay=10s", "", "close_ack_delay delay=Duration(10s)"),
        ("/freeze", "", "freeze"),
        ("/freeze?for=5s", "", "freeze for 5s"),
        ("/pong_drop", "", "pong_drop"),
        ("/truncate_frame", "", "truncate_frame"),
        ("/upgrade_status?status=503&retry_after=5s", "upgrade_status retry_after=Duration(5s)", ""),
        // a time without unit has seconds
        ("/upgrade_status?status=503&retry_after=5", "upgrade_status retry_after=Duration(5s)", ""),
        ("/accept_stall", "accept_stall", ""),
        // waits before a step of the opening handshake wait with the answer, all others on the open connection
        ("/wait/1s/accept_rst", "wait 1s; accept_rst", ""),
        ("/wait/1s/upgrade_delay/wait/2s", "wait 1s; upgrade_delay", "wait 2s"),
        ("/flaky/20/drop_rst", "", "drop_rst at 20 %"),
        ("/flaky/20%25/drop_rst", "", "drop_rst at 20 %"),
        ("/flaky/20%/drop_rst", "", "drop_rst at 20 %"),
        ("/flaky/50/flaky/50/close/4000", "", "close_code code=Whole(4000) at 25 %"),
        ("/flaky/30/upgrade_status/echo", "upgrade_status at 30 %", "echo"),
        ("/repeat/tick/1s", "", r#"repeat "tick" 1s"#),
        ("/pings/3000", "", "pings 3000"),
        ("/message/a%2Fb%20%C3%A4", "", r#"message "a/b ä""#),
        ("/wait/2/close_ack_delay?delay=0.5", "", "wait 2s; close_ack_delay delay=Duration(500ms)"),
        // two steps with the same key
        (
            "/close_ack_delay/pong_delay?close_ack_delay.delay=3s&pong_delay.delay=4s",
            "",
            "close_ack_delay delay=Duration(3s); pong_delay delay=Duration(4s)",
        ),
        ("/close/4000?close.reason=a+b%21", "", r#"close_code code=Whole(4000) reason=Text("a b!")"#),
        ("/echo?watch=a-1_B", "", "echo"),
        // httptoolkit's testserver
        ("/ws/echo", "", "echo"),
        ("/ws/message/hello/close/1000", "", r#"message "hello"; close_code code=Whole(1000)"#),
        ("/ws/delay/1/echo", "", "wait 1s; echo"),
        ("/ws/delay/0.5/echo", "", "wait 500ms; echo"),
        ("/ws/repeat/hi/250", "", r#"repeat "hi" 250ms"#),
        ("/ws/error/reset", "", "drop_rst"),
        ("/ws/subprotocol/chat/echo", r#"subprotocol Some("chat")"#, "echo"),
        ("/ws/no-subprotocol", "subprotocol None", ""),
        ("/ws/close/4000?reason=bye", "", r#"close_code code=Whole(4000) reason=Text("bye")"#),
        // and our own names there
        ("/ws/wait/1s/drop_fin", "", "wait 1s; drop_fin"),
    ] {
        let steps = read(target);
        let join = |steps: &[PathStep]| steps.iter().map(short).collect::<Vec<_>>().join("; ");
        assert_eq!((join(&steps.before).as_str(), join(&steps.open).as_str()), (before, open), "{target}");
        assert!(!steps.silent, "{target}");
    }
}

#[test]
fn the_page_is_its_node_server() {
    let steps = read("/page");
    let all: Vec<_> = steps.open.iter().map(short).collect();
    let closing = r#"close_code code=Whole(1000) reason=Text("Normal closure")"#;
    let [welcome, bye] = PAGE.map(|text| format!("message {text:?}"));
    assert_eq!((all, steps.silent), (vec![welcome, "wait 5s".into(), bye, closing.into()], true));
}

#[test]
fn what_is_wrong_is_said_with_what_is_right() {
    for (target, says) in [
        ("/drop_rts", "unknown step `drop_rts`; did you mean `drop_rst`?"),
        ("/ecko", "did you mean `echo`?"),
        ("/zzz", "unknown step `zzz`\n"),
        ("//echo", "unknown step ``"),
        ("/delay/1/echo", "unknown step `delay`"),
        ("/connect_refuse", "`connect_refuse` is no step"),
        ("/server_crash", "`server_crash` is no step"),
        ("/close_simultaneous", "`close_simultaneous` is no step"),
        ("/client_sleep", "`client_sleep` is no step"),
        ("/message", "`message` needs a text"),
        ("/wait/soon", "`wait`: "),
        ("/wait/2x", "\"2.5s\""),
        ("/message/", "`message` needs a text"),
        ("/repeat/tick", "`repeat` needs a time"),
        ("/pings/0", "whole number from 1 to 100000"),
        ("/pings", "`pings` needs a number"),
        ("/repeat/tick/0s", "1ms or more"),
        ("/flaky/20", "`flaky` needs a step behind"),
        ("/flaky/120/echo", "from 0 to 100"),
        ("/flaky/-1/echo", "from 0 to 100"),
        ("/flaky/NaN/echo", "from 0 to 100"),
        ("/close/65536", "65536 is out of bounds: 0 to 65535"),
        ("/drop_rst?delay=1s", "no step of this URL has a parameter `delay` (these steps have no parameters)"),
        ("/close/1000?reasn=x", "did you mean `reason`?"),
        ("/freeze?for=x", "`for`: "),
        ("/drop_fin?for=1s", "no step of this URL has a parameter `for`"),
        ("/close_ack_delay/pong_delay?delay=1s", "write close_ack_delay.delay or pong_delay.delay"),
        ("/close/1000?reason=a&reason=b", "`reason` is given twice"),
        ("/half_close_write?keep_reading=never", "`keep_reading` of `half_close_write`: "),
        ("/message/hi/accept_rst", "`accept_rst` acts on the answer to the opening handshake, and `message` before it"),
        ("/echo?watch=a%20b", "`watch` is up to 64"),
        ("/message/%FF", "is not UTF-8"),
        ("/subprotocol/a%20b", "cannot be the name of a subprotocol"),
        ("/ws/error/other", "it is `reset`"),
    ] {
        let error = target.parse::<PathSteps>().expect_err(target).to_string();
        assert!(error.contains(says), "{target}: {error}");
        if error.starts_with("unknown step") {
            kinds().for_each(|row| assert!(error.contains(&format!("/{} ", row.kind)), "{target} does not list {}", row.kind));
            catalogue::OWN.iter().for_each(|step| assert!(error.contains(&format!("/{} ", step.usage)), "{target}: {}", step.usage));
        }
    }
    let many = "/echo".repeat(STEPS_MAX);
    assert_eq!(read(&many).open.len(), STEPS_MAX);
    assert!(format!("{many}/echo").parse::<PathSteps>().is_err());
}

/// What a value of this shape looks like in a query, other than its default.
fn other_value(shape: ValueShape) -> String {
    match shape {
        ValueShape::Duration => "137ms".to_owned(),
        ValueShape::Bytes { .. } => "17B".to_owned(),
        ValueShape::Whole { min, .. } => min.to_string(),
        ValueShape::Share { min, max } => format!("{}%", (min + max) * 50.0),
        ValueShape::Text { .. } => "text".to_owned(),
        ValueShape::Choice(words) => words.last().copied().unwrap_or_default().to_owned(),
    }
}

#[test]
fn every_kind_that_a_server_can_do_to_one_connection_is_a_step_and_takes_each_of_its_parameters() {
    let mut seen = 0;
    for row in fault::rows() {
        let path = format!("/{}", row.kind);
        let able = row.sides.contains(&Side::Server) && matches!(row.form, Form::Instant | Form::Holding | Form::Attempts);
        if !able || row.kind == "close_simultaneous" {
            assert!(path.parse::<PathSteps>().is_err(), "{path}");
            continue;
        }
        seen += 1;
        let steps = read(&path);
        let all: Vec<_> = steps.before.iter().chain(&steps.open).collect();
        let [PathStep { share: 1.0, does: StepAction::Fault { injection, holds: None } }] = all.as_slice() else { panic!("{path}") };
        assert_eq!((injection.row.kind, &injection.values), (row.kind, &row.defaults()));
        assert_eq!(steps.before.is_empty(), row.form != Form::Attempts, "{path}");
        for param in row.params {
            let text = other_value(param.shape);
            for key in [param.name.to_owned(), format!("{}.{}", row.kind, param.name)] {
                let steps = read(&format!("{path}?{key}={text}"));
                let step = steps.before.iter().chain(&steps.open).next().expect("one step");
                let StepAction::Fault { injection, .. } = &step.does else { panic!("{path}") };
                assert_eq!(injection.values.0.get(param.name), param.read(&text).ok().as_ref(), "{path}?{key}={text}");
            }
        }
        let example = catalogue::example(row);
        assert!(example.parse::<PathSteps>().is_ok(), "{example}");
    }
    assert_eq!(seen, kinds().count());
    assert!(seen > 55, "{seen}");
    catalogue::OWN.iter().for_each(|step| drop(read(step.example)));
    let grouped: usize = catalogue::GROUPS.iter().map(|(layer, _)| catalogue::of_layer(*layer).count()).sum();
    assert_eq!(grouped, seen);
}

/// A path has what its kind does: no second list of effects.
#[test]
fn a_step_has_the_effect_of_its_kind() {
    let effect = |target: &str| {
        let steps = read(target);
        let step = steps.before.into_iter().chain(steps.open).next().expect("one step");
        let StepAction::Fault { injection, .. } = step.does else { panic!("{target}") };
        injection.effect(Side::Server)
    };
    let Effect::Connection { steps, .. } = effect("/close/4001?reason=r") else { panic!() };
    assert_eq!(steps, [InjectionStep::Close { code: Some(4001), reason: "r".into() }]);
    let Effect::Attempt(OnAttempt::Stall(hold)) = effect("/accept_stall?hold=3s") else { panic!() };
    assert_eq!(hold, Duration::from_secs(3));
}

proptest! {
    #[test]
    fn no_target_is_a_panic_and_each_is_read_or_refused_with_a_text(target in "(/(echo|message|wait|close|flaky|repeat|ws|page|drop_rst|freeze|accept_stall|1s|20%25|%[0-9a-g]{0,2}|[a-z_%.0-9]{0,12}|\\PC{0,6})){0,9}(\\?[a-z_.=&%0-9]{0,30})?") {
        match target.parse::<PathSteps>() {
            Ok(steps) => {
                prop_assert!(steps.before.iter().chain(&steps.open).all(|step| (0.0..=1.0).contains(&step.share)));
                prop_assert!(steps.before.iter().all(|step| step.does.is_of_handshake() || matches!(step.does, StepAction::Wait(_))));
                prop_assert!(!steps.open.iter().any(|step| step.does.is_of_handshake()));
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn any_text_can_be_a_message(text in "\\PC{1,40}") {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let steps = read(&format!("/message/{encoded}"));
        let found = steps.open.first().map(|step| step.does.clone());
        prop_assert!(matches!(found, Some(StepAction::Message(found)) if found == text), "{:?}", text);
    }
}
