//! Frames of one direction while a fault acts on them, however the bytes are cut.

use super::*;
use crate::fault::{PING, Payload, TEXT};
use crate::seed::Seed;
use std::task::Waker;
use std::time::Duration;

fn stage(rules: StageRules) -> FrameStage {
    FrameStage::new(rules, Scanner::default(), Seed(1).stream("stage"))
}

fn text(text: &str) -> Vec<u8> {
    encode(&Frame::new(TEXT, text), None)
}

fn close(code: u16) -> Vec<u8> {
    encode(&Frame::close(Some(code), b""), None)
}

/// What comes out of `bytes`, pushed in pieces of `size`.
fn out(stage: &mut FrameStage, bytes: &[u8], size: usize, closed: Option<Instant>, ask: AskMessage<'_>) -> Vec<u8> {
    let (mut all, mut cx) = (Vec::new(), Context::from_waker(Waker::noop()));
    stage.take(&mut cx, closed, ask, &mut all);
    for piece in bytes.chunks(size) {
        stage.push(piece);
        stage.take(&mut cx, closed, ask, &mut all);
    }
    all
}

fn never() -> bool {
    false
}

#[tokio::test(start_paused = true)]
async fn frames_are_put_in_between_frames_and_messages_between_messages() {
    let first = encode(&Frame { fin: false, ..Frame::new(TEXT, "one, ") }, None);
    let second = encode(&Frame::new(0, "two"), None);
    let ping = encode(&Frame::new(PING, ""), None);
    for size in [1, 3, 1000] {
        let mut stage = stage(StageRules::default());
        assert_eq!(out(&mut stage, &first[..2], size, None, &mut never), first[..2]);
        stage.insert(&[Frame::new(PING, "")], &mut || [0; 4]);
        stage.insert(&[Frame::new(TEXT, "in")], &mut || [0; 4]);
        assert!(!stage.is_flushed() && !stage.is_idle());
        let stream = [&first[2..], &second, &text("three")].concat();
        let expected = [&first[2..], &ping, &second, &text("in"), &text("three")].concat();
        assert_eq!(out(&mut stage, &stream, size, None, &mut never), expected, "pieces of {size}");
        assert!(stage.is_flushed() && stage.is_idle());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_follows_a_close_frame_of_the_proxy() {
    let mut stage = stage(StageRules { masks: true, ..StageRules::default() });
    stage.insert(&[Frame::close(Some(1012), b"")], &mut || [1, 2, 3, 4]);
    let expected = encode(&Frame::close(Some(1012), b""), Some([1, 2, 3, 4]));
    assert_eq!(out(&mut stage, &[text("late"), close(1000)].concat(), 4, None, &mut never), expected);
    stage.insert(&[Frame::new(TEXT, "later")], &mut || [0; 4]);
    assert_eq!(out(&mut stage, b"", 4, None, &mut never), b"");
    assert!(stage.is_flushed() && !stage.is_idle());
}

#[tokio::test(start_paused = true)]
async fn only_an_answer_to_a_close_frame_is_changed() {
    let now = Some(Instant::now());
    for (ack, closed, expected) in [
        (CloseAck::Code(4000), None, close(1000)),
        (CloseAck::Code(4000), now, close(4000)),
        (CloseAck::Never(End::Rst), now, Vec::new()),
        (CloseAck::Never(End::Rst), None, close(1000)),
        (CloseAck::Prompt, now, close(1000)),
    ] {
        let mut stage = stage(StageRules { ack, ..StageRules::default() });
        let got = out(&mut stage, &[text("one"), close(1000)].concat(), 1, closed, &mut never);
        assert_eq!(got, [text("one"), expected].concat(), "{ack:?} {closed:?}");
        let withheld = if let (CloseAck::Never(end), Some(_)) = (ack, closed) { Some(end) } else { None };
        assert_eq!(stage.withheld(), withheld);
    }
    let mut late = stage(StageRules { ack: CloseAck::Delayed(Duration::from_secs(2)), ..StageRules::default() });
    assert_eq!(out(&mut late, &[text("one"), close(1000)].concat(), 1, now, &mut never), text("one"));
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(out(&mut late, b"", 1, now, &mut never), close(1000));
}

#[tokio::test(start_paused = true)]
async fn pongs_for_pings_of_the_proxy_vanish_and_others_pass() {
    let pong = |payload: &[u8]| encode(&Frame::new(PONG, payload), Some([4, 3, 2, 1]));
    for size in [1, 2, 100] {
        let mut stage = stage(StageRules { own_pongs: vec![4], ..StageRules::default() });
        let stream = [pong(b"xxxx"), pong(b"xxx"), pong(b"mine"), text("one"), pong(b"xxxx")].concat();
        let expected = [pong(b"xxx"), pong(b"mine"), text("one")].concat();
        assert_eq!(out(&mut stage, &stream, size, None, &mut never), expected, "pieces of {size}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_one_too_many_vanishes_with_all_of_its_parts() {
    let part = |fin, opcode, text: &str| encode(&Frame { fin, ..Frame::new(opcode, text) }, None);
    let mut count = 0;
    let mut second = || {
        count += 1;
        count == 2
    };
    let mut stage = stage(StageRules { asks: true, ..StageRules::default() });
    let stream = [text("one"), part(false, TEXT, "two"), part(true, 0, "too"), text("three")].concat();
    assert_eq!(out(&mut stage, &stream, 1, None, &mut second), [text("one"), text("three")].concat());
    assert!(stage.take_acted() && !stage.take_acted());
}

#[tokio::test(start_paused = true)]
async fn what_no_rule_takes_comes_out_as_it_came() {
    let filled = Frame { payload: Payload::Filled(70_000), ..Frame::new(2, "") };
    let stream = [text("one"), encode(&filled, Some([9, 8, 7, 6])), close(1001), b"behind".to_vec()].concat();
    for size in [7, 1000, 1 << 20] {
        let mut stage = stage(StageRules { own_pongs: vec![4], asks: true, ..StageRules::default() });
        assert!(out(&mut stage, &stream, size, None, &mut never) == stream, "pieces of {size}");
        stage.end();
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(stage.take(&mut cx, None, &mut never, &mut Vec::new()), StageEnd::Ended);
    }
}
