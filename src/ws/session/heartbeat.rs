//! Pings and pongs of a session: the heartbeat, and what faults make of both.

use crate::close::{Cause, Deadline, TcpEnd};
use crate::fault::{End, Frame, PING, PONG, Payload};
use crate::plan::Firing;
use crate::ws::session::injected::Flooding;
use crate::ws::session::{Session, SessionEvent, SessionState};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// Late pongs that may wait; the oldest are forgotten (RFC 6455 §5.5.3 asks for an answer to the latest ping only).
const LATE_MAX: usize = 4096;
/// Bytes of a flood handed over at once; what is due beyond them follows when the kernel has taken these.
const BATCH: u64 = 64 * 1024;
/// Longest header of a frame.
const HEADER: u64 = 14;

impl Session {
    /// The peer's ping: the pong went out, or a fault has it.
    pub(crate) fn pinged(&mut self, ping: &[u8]) -> Option<SessionEvent> {
        self.flush_now();
        let told = self.pong_swallowed();
        let gate = self.gate().filter(|gate| gate.alters_pongs() && !gate.drop_pongs);
        if let Some((delay, wrong)) = gate.map(|gate| (gate.pong_delay, gate.wrong_pongs)) {
            let payload = match ping {
                ping if !wrong => ping.to_vec(),
                [] => vec![0],
                ping => ping.iter().map(|byte| !byte).collect(),
            };
            let at = Instant::now() + delay;
            let late = &mut self.faults().late_pongs;
            if late.len() == LATE_MAX {
                late.pop_front();
            }
            late.insert(late.partition_point(|(other, _)| *other <= at), (at, payload));
        }
        told.map(|firing| SessionEvent::Injected(firing.fault))
    }

    /// The fault whose gate swallowed the pong just answered: told once each.
    fn pong_swallowed(&mut self) -> Option<Firing> {
        let dropped = self.connection.as_mut()?.tap().pongs_dropped();
        let faults = self.faults.as_mut()?;
        if dropped <= faults.pongs_dropped {
            return None;
        }
        // One write may have held several; each ping tells of one.
        faults.pongs_dropped += 1;
        self.announce_first(|gate| gate.drop_pongs || gate.alters_pongs())
    }

    pub(crate) fn pong(&mut self, payload: &Bytes) -> Option<SessionEvent> {
        let beat = self.heartbeat.as_mut()?;
        let sent = beat.awaited.filter(|_| payload.as_ref() == beat.count.to_be_bytes())?;
        beat.awaited = None;
        beat.next = (sent + beat.every).max(Instant::now());
        Some(SessionEvent::Pong(sent.elapsed()))
    }

    /// Sends a ping with each of these payloads, all at once.
    pub(crate) fn ping(&mut self, payloads: impl Iterator<Item = [u8; 4]>) {
        for payload in payloads {
            self.connection().queue_frame(&Frame::new(PING, payload));
        }
        self.flush_now();
    }

    /// Whether late pongs and floods go out now: no frame follows our Close frame, and a blocked kernel takes no more.
    fn may_ping(&self) -> bool {
        self.state == SessionState::Open && !self.asleep() && self.connection.as_ref().is_some_and(|connection| connection.is_flushed())
    }

    /// When the next late pong or ping of a flood is due.
    pub(crate) fn ping_deadline(&self) -> Option<Instant> {
        let faults = self.faults.as_ref().filter(|_| self.may_ping())?;
        let late = faults.late_pongs.front().map(|(at, _)| *at);
        late.into_iter().chain(faults.floods.iter().map(Flooding::next)).min()
    }

    /// Sends the late pongs and the pings of floods that are due.
    pub(crate) fn ping_what_is_due(&mut self) {
        if self.faults.is_none() || !self.may_ping() {
            return;
        }
        let Session { faults: Some(faults), connection: Some(connection), .. } = self else { return };
        let now = Instant::now();
        let due = faults.late_pongs.partition_point(|(at, _)| *at <= now);
        for (_, payload) in faults.late_pongs.drain(..due) {
            connection.queue_frame(&Frame::new(PONG, payload));
        }
        for flooding in &mut faults.floods {
            let bytes = flooding.flood.bytes;
            // Where frames wait for their turn the next one does not wait in front of a Close frame.
            let batch = if connection.link_mut().send_turns().is_some() { 1 } else { (BATCH / (bytes + HEADER)).max(1) };
            let count = flooding.due(now).min(batch);
            let ping = Frame { payload: Payload::Filled(bytes), ..Frame::new(PING, "") };
            (0..count).for_each(|_| connection.queue_frame(&ping));
            flooding.sent += count;
        }
        self.flush_now();
    }

    pub(crate) fn beat_deadline(&self) -> Option<Instant> {
        // A process that hangs has no heartbeat either, whatever else is wrong with its path.
        let hangs = self.faults.iter().flat_map(|faults| &faults.active).any(|(_, gate)| gate.hangs());
        let beat = self.heartbeat.as_ref().filter(|_| self.state == SessionState::Open && !hangs)?;
        Some(match beat.awaited {
            Some(sent) => sent + beat.timeout,
            None => beat.next,
        })
    }

    pub(crate) fn beat(&mut self, now: Instant) -> Option<SessionEvent> {
        let beat = self.heartbeat.as_mut()?;
        if beat.awaited.is_some() {
            self.cause.get_or_insert(Cause::Deadline(Deadline::Pong));
            return Some(self.end_locally(End::Fin, TcpEnd::Local));
        }
        beat.count += 1;
        beat.awaited = Some(now);
        let payload = Bytes::copy_from_slice(&beat.count.to_be_bytes());
        self.send(Message::Ping(payload));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Flood;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_flood_keeps_its_due_times_exactly() {
        for per_s in [1, 3, 1000, 99_999] {
            let mut flooding = Flooding::new(Firing { fault: 0, number: 0 }, Flood { per_s, bytes: 0 });
            let begun = flooding.begun;
            assert_eq!((flooding.due(begun), flooding.next()), (1, begun), "the first at once");
            for _ in 0..1000 {
                let next = flooding.next();
                assert_eq!(flooding.due(next), 1, "{per_s}/s: due when it says");
                flooding.sent += 1;
                assert_eq!(flooding.due(next), 0);
            }
            // A wake-up that comes late sends all that is due.
            let late = begun + Duration::from_secs(2000);
            assert_eq!(flooding.sent + flooding.due(late), u64::from(per_s) * 2000 + 1);
        }
    }
}
