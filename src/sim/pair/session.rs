//! What the session of an end does: heartbeat, faults, and the closing handshake to the end of TCP, by the rules of `ws::session`.

use super::{Hold, LINGER, NEVER, Pair, PairCommand, PairEvent, PairItem, PairPhase, PairScene, PairWire, SERVER, account, side};
use crate::close::{Cause, Deadline, Ending, Initiator, PROTOCOL_ERROR, TcpEnd, may_be_sent};
use crate::event::Closing;
use crate::fault::{self, Flow, InjectionStep};
use crate::plan::Firing;
use std::time::Duration;

/// Bytes of a ping or pong of a heartbeat: a header and a number.
const PING: u64 = 10;
/// Of a client.
const MASKED_PING: u64 = 14;

impl Pair {
    pub(super) fn beat(&mut self, scene: &mut PairScene<'_>, at: usize) {
        let end = &mut self.ends[at];
        let Some(beat) = &mut end.beat else { return };
        if beat.awaited.is_some() {
            end.cause.get_or_insert(Cause::Deadline(Deadline::Pong));
            return self.end_locally(scene, at, fault::End::Fin, TcpEnd::Local);
        }
        beat.count += 1;
        beat.awaited = Some(scene.now);
        let ping = PairItem::Ping(beat.count);
        self.say(scene, at, ping);
    }

    pub(super) fn obey(&mut self, scene: &mut PairScene<'_>, at: usize, command: PairCommand) {
        if self.ends[at].phase == PairPhase::Over {
            return self.pay(scene, at, &command);
        }
        match command {
            PairCommand::Inject { firing, gate, steps } => {
                let end = &mut self.ends[at];
                if !gate.is_open() {
                    end.holds.push(Hold { firing, gate: *gate });
                    end.apply();
                }
                scene.happened.push((at, PairEvent::Injected(firing.fault)));
                for step in steps {
                    self.carry_out(scene, at, firing.fault, step);
                }
            }
            PairCommand::Revert(firing) => self.revert(scene, at, firing),
            PairCommand::Close { fault, code, reason } => {
                if self.ends[at].phase == PairPhase::Open {
                    scene.happened.push((at, PairEvent::Injected(fault)));
                    self.begin_close(scene, at, Cause::Fault(fault), Some(code), &reason);
                }
            }
            PairCommand::Say(item) => {
                if self.ends[at].phase == PairPhase::Open {
                    self.say(scene, at, item);
                }
            }
        }
    }

    /// What a revert does to an end whose session is over: only the kernel of a dead process has something to say.
    fn pay(&mut self, scene: &mut PairScene<'_>, at: usize, command: &PairCommand) {
        let PairCommand::Revert(firing) = command else { return };
        self.ends[at].holds.retain(|hold| hold.firing != *firing);
        self.ends[at].apply();
        if self.ends[at].write != Flow::Discard
            && let Some(wire) = self.ends[at].owes.take()
        {
            let arrives = scene.now.saturating_add((scene.leg)());
            self.send(scene, at, wire, arrives);
        }
    }

    fn carry_out(&mut self, scene: &mut PairScene<'_>, at: usize, fault: u16, step: InjectionStep) {
        let end = &mut self.ends[at];
        match step {
            _ if end.phase == PairPhase::Over => {}
            InjectionStep::Close { code, reason } => self.begin_close(scene, at, Cause::Fault(fault), code, &reason),
            // The peer answered meanwhile: this is the usual end of a closing handshake.
            InjectionStep::End(fault::End::Fin) if end.second.is_some() => self.end_own_direction(scene, at),
            InjectionStep::End(how) => {
                end.cause.get_or_insert(Cause::Fault(fault));
                let tcp_end = if how == fault::End::Silent { TcpEnd::None } else { TcpEnd::Local };
                self.end_locally(scene, at, how, tcp_end);
            }
            InjectionStep::Switch { gap } => {
                end.cause.get_or_insert(Cause::Fault(fault));
                end.back = Some(gap);
                self.end_locally(scene, at, fault::End::Silent, TcpEnd::None);
            }
            // `support` refuses what acts on frames.
            _ => {}
        }
    }

    fn revert(&mut self, scene: &mut PairScene<'_>, at: usize, firing: Firing) {
        let end = &mut self.ends[at];
        let before = end.holds.len();
        let reset = end.holds.iter().any(|hold| hold.firing == firing && hold.gate.reset_on_revert);
        end.holds.retain(|hold| hold.firing != firing);
        end.apply();
        let hit = end.holds.len() < before;
        if let Some(beat) = end.beat.as_mut().filter(|_| hit && end.read == Flow::Pass && end.write == Flow::Pass) {
            // What came while it hung is read before its timers count against the peer.
            beat.awaited = beat.awaited.map(|_| scene.now);
        }
        if reset {
            self.carry_out(scene, at, firing.fault, InjectionStep::End(fault::End::Rst));
        } else {
            self.flush(scene, at);
        }
    }

    /// Starts the closing handshake, once.
    pub(in crate::sim) fn begin_close(&mut self, scene: &mut PairScene<'_>, at: usize, cause: Cause, code: Option<u16>, reason: &str) {
        let end = &mut self.ends[at];
        if end.phase != PairPhase::Open {
            return;
        }
        end.cause.get_or_insert(cause);
        end.initiator.get_or_insert(side(at));
        end.first.get_or_insert(scene.now);
        end.phase = PairPhase::CloseSent;
        end.until = after(scene.now, end.limits.0);
        self.say(scene, at, PairItem::Close { code, reason: reason.to_owned() });
    }

    pub(super) fn hear(&mut self, scene: &mut PairScene<'_>, at: usize, item: PairItem) {
        let end = &mut self.ends[at];
        if end.received.is_some() {
            if matches!(item, PairItem::Ping(_) | PairItem::Pong(_)) {
                end.after_close += if at == SERVER { MASKED_PING } else { PING };
            }
            return;
        }
        match item {
            PairItem::Message { due, sent } => {
                if end.phase == PairPhase::Open && self.echoes {
                    self.say(scene, at, PairItem::Echo { due, sent });
                }
            }
            PairItem::Echo { due, sent } => scene.happened.push((at, PairEvent::Echoed { due, sent })),
            PairItem::Step(_) => {
                if end.phase == PairPhase::Open {
                    self.say(scene, at, item.answer());
                }
            }
            PairItem::StepAnswer(step) => scene.happened.push((at, PairEvent::StepMet(step))),
            PairItem::Greeting => scene.happened.push((at, PairEvent::Greeted)),
            PairItem::Ping(number) => self.say(scene, at, PairItem::Pong(number)),
            PairItem::Pong(number) => {
                if let Some(beat) = end.beat.as_mut().filter(|beat| beat.count == number)
                    && let Some(sent) = beat.awaited.take()
                {
                    beat.next = sent.saturating_add(beat.every).max(scene.now);
                }
            }
            PairItem::Close { code, reason } => {
                end.initiator.get_or_insert(side(1 - at));
                end.first.get_or_insert(scene.now);
                let valid = code.is_none_or(may_be_sent);
                end.received = Some((code, reason.clone()));
                if end.phase == PairPhase::Open {
                    let answer = if valid {
                        PairItem::Close { code, reason }
                    } else {
                        PairItem::Close { code: Some(PROTOCOL_ERROR), reason: String::new() }
                    };
                    self.say(scene, at, answer);
                }
                self.handshake_complete(scene, at);
            }
        }
    }

    /// Close frames are out both ways: the server ends TCP, the client waits for it to.
    fn handshake_complete(&mut self, scene: &mut PairScene<'_>, at: usize) {
        let end = &mut self.ends[at];
        end.second.get_or_insert(scene.now);
        if at == SERVER {
            return self.end_own_direction(scene, at);
        }
        end.phase = PairPhase::FinAwaited;
        end.until = after(scene.now, end.limits.1);
    }

    fn end_own_direction(&mut self, scene: &mut PairScene<'_>, at: usize) {
        self.flush(scene, at);
        self.finish(scene, at);
        let end = &mut self.ends[at];
        end.phase = PairPhase::FinAwaited;
        end.until = after(scene.now, end.limits.1);
    }

    pub(super) fn peer_ended(&mut self, scene: &mut PairScene<'_>, at: usize, tcp_end: TcpEnd) {
        self.ends[at].initiator.get_or_insert(side(1 - at));
        self.ended(scene, at, tcp_end);
        if self.ends[at].write == Flow::Discard {
            // Behind a dead path even the kernel's FIN must not come out.
            self.ends[at].buried = true;
        } else {
            self.close(scene, at);
        }
    }

    /// This side ends TCP now.
    pub(super) fn end_locally(&mut self, scene: &mut PairScene<'_>, at: usize, how: fault::End, tcp_end: TcpEnd) {
        self.ends[at].initiator.get_or_insert(side(at));
        self.ended(scene, at, tcp_end);
        let dead = self.ends[at].write == Flow::Discard;
        match how {
            _ if dead => self.ends[at].buried = true,
            fault::End::Silent => self.ends[at].buried = true,
            fault::End::Rst => {
                self.ends[at].closed = true;
                let arrives = scene.now.saturating_add((scene.leg)());
                self.send(scene, at, PairWire::Rst, arrives);
            }
            fault::End::Fin | fault::End::Hold => {
                self.finish(scene, at);
                self.ends[at].lingers = scene.now.saturating_add(LINGER);
            }
        }
    }

    fn ended(&mut self, scene: &mut PairScene<'_>, at: usize, tcp_end: TcpEnd) {
        let end = &mut self.ends[at];
        (end.phase, end.until) = (PairPhase::Over, NEVER);
        let (received, reason) = end.received.take().map_or((None, String::new()), |(code, reason)| (Some(code), reason));
        let ending =
            account(end.cause.unwrap_or(Cause::Remote), end.initiator.unwrap_or(Initiator::None), tcp_end, (received, end.wire_sent));
        let ending = Ending {
            bytes_after: end.after_close,
            reason: if ending.code == crate::close::ABNORMAL { String::new() } else { reason },
            ..ending
        };
        let closing = end.first.map(|first| Closing {
            ack: end.second.map(|second| Duration::from_nanos(second - first)),
            total: Duration::from_nanos(scene.now - first),
        });
        scene.happened.push((at, PairEvent::Ended { ending: Box::new(ending), closing, back: end.back }));
    }
}

fn after(now: u64, limit: u64) -> u64 {
    if limit == 0 { NEVER } else { now.saturating_add(limit) }
}
