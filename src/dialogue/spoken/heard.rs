//! What a dialogue makes of a message that came: who takes it, what is kept of it, and what its number and its time tell.

use super::{AwaitedReply, Besides, DialogueTells, Meant, ScriptClient};
use crate::dialogue::Payload;
use crate::dialogue::matcher::{IncomingMessage, Matcher};
use crate::dialogue::script::StandingReply;
use crate::dialogue::timestamp::micros_since_1970;
use std::time::Duration;

/// Who takes a message.
#[derive(Clone, Copy, Debug)]
enum Taker<'a> {
    /// A standing answer.
    Standing(&'a StandingReply),
    /// The step that waits for it; whether it is right.
    Step { right: bool },
    /// A step waits, for another one.
    NoStep,
    /// The beat.
    Beat,
    /// An echo that is awaited.
    Echo { due: Duration, sent: Duration },
    /// The request at this place of those that wait; whether it says that it failed.
    Request { index: usize, error: bool },
    /// An error of this number.
    Error(usize),
    /// What is received.
    Nobody,
}

impl<'a> ScriptClient<'a> {
    /// A message came; `open`: neither side has begun to close the connection.
    pub(in crate::dialogue) fn on_message(&mut self, incoming: &IncomingMessage<'_>, open: bool, now: Duration) -> Meant {
        self.now = self.now.max(now);
        self.heard = self.now;
        let script = self.of.script;
        let receives = script.receive.as_ref().map(|matcher| self.takes(matcher, incoming));
        let taker = self.taker(incoming, receives == Some(true), open);
        // Its number counts whoever takes it. It is captured once it is known who does, and before that one answers.
        let sequence = script.sequence.as_ref().filter(|_| receives != Some(false));
        let number = sequence.and_then(|sequence| sequence.number_in(incoming));
        if receives.unwrap_or(matches!(taker, Taker::Nobody) || number.is_some()) {
            self.received(incoming, number, self.resumed && !matches!(taker, Taker::Step { .. }));
        }
        match taker {
            Taker::Standing(reply) => {
                self.memory.count();
                let answer = self.values(|values| reply.send.fill(values));
                self.say(answer);
                Meant::Dialogue
            }
            Taker::Step { right } => {
                self.on_step(incoming, right);
                Meant::Dialogue
            }
            Taker::NoStep => {
                self.instead.pass(incoming);
                if receives == Some(true) { Meant::Received } else { Meant::Dialogue }
            }
            Taker::Beat => {
                self.beat_until = None;
                Meant::Dialogue
            }
            Taker::Echo { due, sent } => Meant::Reply { due, sent, error: false },
            Taker::Request { index, error } => {
                // It has just been found there.
                let Some(AwaitedReply { request, due, sent, .. }) = self.awaited.remove(index).map(|awaited| *awaited) else {
                    return Meant::Dialogue;
                };
                if error {
                    self.tell_error(script.error.len() + request);
                }
                Meant::Reply { due, sent, error }
            }
            Taker::Error(number) => {
                self.tell_error(number);
                Meant::Dialogue
            }
            Taker::Nobody if receives == Some(false) => Meant::Dialogue,
            Taker::Nobody => Meant::Received,
        }
    }

    fn takes(&self, matcher: &Matcher, incoming: &IncomingMessage<'_>) -> bool {
        self.values(|values| matcher.fill(values).takes(incoming))
    }

    /// Who takes a message, by what was captured before it. `receives`: it is one of those that everybody gets.
    fn taker(&mut self, incoming: &IncomingMessage<'_>, receives: bool, open: bool) -> Taker<'a> {
        let script = self.of.script;
        if open && !self.failed {
            if let Some(reply) = script.reply.iter().find(|reply| self.takes(&reply.to, incoming)) {
                return Taker::Standing(reply);
            }
            if let Some(step) = script.open.get(self.step) {
                let meant = step.expect.as_ref().filter(|expect| self.takes(&expect.meant, incoming));
                return meant.map_or(Taker::NoStep, |expect| Taker::Step { right: self.takes(&expect.check, incoming) });
            }
            let beat = script.beat.as_ref().and_then(|beat| beat.expect.as_ref()).filter(|_| self.beat_until.is_some());
            if beat.is_some_and(|(matcher, _)| self.takes(matcher, incoming)) {
                return Taker::Beat;
            }
        }
        if let (Besides::Echo(echo), Payload::Binary(bytes)) = (&mut self.besides, incoming.payload)
            && let Some((due, sent)) = echo.answered(bytes)
        {
            return Taker::Echo { due, sent };
        }
        let request = self.answered(incoming, receives);
        let error = || script.error.iter().position(|(_, matcher)| self.takes(matcher, incoming)).map(Taker::Error);
        request.or_else(error).unwrap_or(Taker::Nobody)
    }

    /// Keeps of a received message what later ones need, tells when it was sent, and follows its number. `number`: its number, where one stands there. `resumed`: it came as an answer to a `resume`.
    fn received(&mut self, incoming: &IncomingMessage<'_>, number: Option<u64>, resumed: bool) {
        let script = self.of.script;
        for (name, from) in &script.capture {
            let kept = from.find_in(incoming, &|_| None).map_or(Ok(()), |value| self.memory.capture(name, value));
            if let Err(why) = kept {
                self.tells.push_back(DialogueTells::Counted(format!("cohort {}: a captured value {why}: it is not kept", self.of.cohort)));
            }
        }
        if let Some(timestamp) = &script.timestamp {
            let sent = timestamp.find_in(incoming, &|_| None).and_then(|text| micros_since_1970(&text));
            self.tells.push_back(sent.map_or_else(
                || DialogueTells::Counted(format!("cohort {}: a received message has no time where `timestamp` says", self.of.cohort)),
                DialogueTells::Stamped,
            ));
        }
        let Some(sequence) = &script.sequence else { return };
        let Some(number) = number else {
            let text = format!("cohort {}: a received message has no whole number where `sequence` says", self.of.cohort);
            self.tells.push_back(DialogueTells::Counted(text));
            return;
        };
        let stream = sequence.stream.as_ref().and_then(|stream| stream.find_in(incoming, &|_| None)).unwrap_or_default();
        let replayed = sequence.replayed.as_ref();
        let replayed = resumed || replayed.is_some_and(|matcher| self.values(|values| matcher.fill(values).takes(incoming)));
        let (found, doubt) = self.memory.streams().take(&stream, number, self.who.1, self.now);
        let doubt = doubt.filter(|doubt| self.memory.streams().is_new(*doubt));
        self.tells.extend(found.map(|found| DialogueTells::Sequenced { found, replayed }));
        self.tells.extend(doubt.map(|doubt| DialogueTells::Counted(format!("cohort {}: {doubt}", self.of.cohort))));
    }

    /// The oldest request that a message answers. `receives` as in [`ScriptClient::taker`].
    fn answered(&self, incoming: &IncomingMessage<'_>, receives: bool) -> Option<Taker<'a>> {
        let requests = &self.of.script.request;
        let any = |request: usize| requests[request].reply.as_ref().is_some_and(Matcher::is_any);
        self.awaited.iter().enumerate().find_map(|(index, awaited)| {
            let error = awaited.error.as_ref().is_some_and(|error| error.takes(incoming));
            let answers = error || (!(receives && any(awaited.request)) && awaited.reply.takes(incoming));
            answers.then_some(Taker::Request { index, error })
        })
    }

    /// The message that a step waits for.
    fn on_step(&mut self, incoming: &IncomingMessage<'_>, right: bool) {
        let Some(expect) = self.of.script.open.get(self.step).and_then(|step| step.expect.as_ref()) else { return };
        if !right {
            return self.fail(self.step, false, &format!("what came is wrong: {}", self.shown(incoming)));
        }
        for (name, from) in &expect.capture {
            let found = from.find_in(incoming, &|_| None).ok_or_else(|| format!("there is no `{name}`"));
            if let Err(why) = found.and_then(|value| self.memory.capture(name, value)) {
                return self.fail(self.step, false, &format!("{why} in {}", self.shown(incoming)));
            }
        }
        self.step += 1;
        self.begin_step();
    }

    /// Error number `number` of those of the dialogue was heard.
    fn tell_error(&mut self, number: usize) {
        let number = self.of.script.first_error.saturating_add(u16::try_from(number).unwrap_or(u16::MAX));
        self.tells.push_back(DialogueTells::Error(number));
    }
}
