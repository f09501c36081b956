//! What was on the wire of a connection that gets its steps from the host, for whoever finds out about its client: Close frames and the data
//! around them, pings and what answered them, and how the client ended TCP. In what order all came: `wire_log`.

use crate::close::TcpEnd;
use crate::fault::{CLOSE, PING, PONG};
use crate::ws::frame::payload;
use std::collections::BTreeSet;
use tokio::time::Instant;

/// One connection so far.
#[derive(Clone, Debug, Default)]
pub struct WireAccount {
    /// When our first Close frame went out.
    pub close_sent: Option<Instant>,
    /// When the client's came.
    pub close_received: Option<Instant>,
    /// When, and how, the client ended TCP.
    pub hung_up: Option<(Instant, TcpEnd)>,
    /// Data frames of the client before all that follows.
    pub data_open: u32,
    /// After our first ping.
    pub data_pinged: u32,
    /// After our Close frame, before its own.
    pub data_unanswered: u32,
    /// When the last of those came.
    pub last_unanswered: Option<Instant>,
    /// After its own Close frame.
    pub data_after_close: u32,
    /// Pings that went out.
    pub pings: u32,
    /// Which of them the client answered, by their numbers from 0 ([`ping`]).
    pub answered: BTreeSet<u32>,
}

/// The payload of a ping by its number on a connection, from 0.
pub(super) fn ping(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

impl WireAccount {
    /// A whole frame went out, of which this is the beginning.
    pub(super) fn sent(&mut self, frame: &[u8], now: Instant) {
        match opcode(frame) {
            CLOSE => {
                self.close_sent.get_or_insert(now);
            }
            PING => self.pings += 1,
            _ => {}
        }
    }

    /// A whole frame came.
    pub(super) fn received(&mut self, frame: &[u8], now: Instant) {
        match opcode(frame) {
            CLOSE => {
                self.close_received.get_or_insert(now);
            }
            PONG => {
                let number = payload(frame).try_into().map(u32::from_be_bytes);
                // Of what came before it was asked for nothing is known.
                self.answered.extend(number.ok().filter(|number| *number < self.pings));
            }
            PING => {}
            _ if self.close_received.is_some() => self.data_after_close += 1,
            _ if self.close_sent.is_some() => {
                self.data_unanswered += 1;
                self.last_unanswered = Some(now);
            }
            _ if self.pings > 0 => self.data_pinged += 1,
            _ => self.data_open += 1,
        }
    }

    /// The client ended TCP.
    pub(super) fn ended(&mut self, end: TcpEnd, now: Instant) {
        self.hung_up.get_or_insert((now, end));
    }
}

fn opcode(frame: &[u8]) -> u8 {
    frame.first().map_or(0, |first| first & 0x0f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Frame, TEXT};
    use crate::ws::frame::encode;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn data_is_counted_by_what_came_before_it_and_pongs_by_their_pings() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let (text, mask) = (|| Frame::new(TEXT, "hello"), Some([7, 8, 9, 10]));
        let mut account = WireAccount::default();
        let came = |account: &mut WireAccount, frame: Frame, seconds| account.received(&encode(&frame, mask), at(seconds));
        came(&mut account, text(), 0);
        came(&mut account, Frame::new(PONG, ping(0)), 0);
        for number in 0..3 {
            account.sent(&encode(&Frame::new(PING, ping(number)), None), at(1));
        }
        for number in [2, 2, 0, 3] {
            came(&mut account, Frame::new(PONG, ping(number)), 1);
        }
        came(&mut account, Frame::new(PONG, "unasked for"), 1);
        came(&mut account, Frame::new(PING, ""), 1);
        came(&mut account, text(), 1);
        account.sent(&encode(&Frame::close(Some(1001), b""), None), at(2));
        came(&mut account, text(), 3);
        came(&mut account, Frame::close(Some(1001), b""), 4);
        came(&mut account, text(), 5);
        came(&mut account, text(), 6);
        account.ended(TcpEnd::Fin, at(7));
        account.ended(TcpEnd::Rst, at(8));
        assert_eq!((account.pings, account.answered.iter().copied().collect::<Vec<_>>()), (3, vec![0, 2]));
        assert_eq!((account.data_open, account.data_pinged, account.data_unanswered, account.data_after_close), (1, 1, 1, 2));
        assert_eq!((account.close_sent, account.close_received, account.last_unanswered), (Some(at(2)), Some(at(4)), Some(at(3))));
        assert_eq!(account.hung_up, Some((at(7), TcpEnd::Fin)));
    }
}
