//! A connection to which something has happened that lasts, as two ends and what is on its way between them.
//!
//! A healthy connection is a word in its client's row: what it says is answered, what closes it is answered at once. As soon as a fault holds
//! bytes back, loses them, stops a process, or leaves one end without the other, what each side does *meanwhile* decides how it ends: it may
//! ping, send, leave, be told to close, give up. These are the rules of `ws::session` and of the kernel below it, without bytes.
//! Pure: it is told the time, and tells what happened.

mod session;

use crate::close::{Cause, Ending, Initiator, NO_STATUS, TcpEnd, may_be_sent};
use crate::event::Closing;
use crate::fault::{self, ConnectionEffects, Flow, InjectionStep, Side};
use crate::plan::Firing;
use std::collections::VecDeque;
use std::time::Duration;

/// The client's end.
pub(super) const CLIENT: usize = 0;
/// The server's end.
pub(super) const SERVER: usize = 1;
/// An offset that is not reached.
pub(super) const NEVER: u64 = u64::MAX;
/// How long a socket that its side has ended is read, so that FIN stays FIN, ns.
const LINGER: u64 = 2_000_000_000;

/// What one end says to the other.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum PairItem {
    /// Of a client; when it was due and sent.
    Message { due: u64, sent: u64 },
    /// The server's echo of it.
    Echo { due: u64, sent: u64 },
    /// The server's first word.
    Greeting,
    /// What a client says in a step of its dialogue that awaits an answer.
    Step(u16),
    /// That answer.
    StepAnswer(u16),
    /// With its number.
    Ping(u64),
    /// With the number of its ping.
    Pong(u64),
    /// `None`: an empty one.
    Close { code: Option<u16>, reason: String },
}

impl PairItem {
    /// What a healthy server answers to it.
    pub(super) fn answer(self) -> PairItem {
        match self {
            PairItem::Message { due, sent } => PairItem::Echo { due, sent },
            PairItem::Step(step) => PairItem::StepAnswer(step),
            other => other,
        }
    }
}

/// What travels.
#[derive(Clone, Debug, PartialEq)]
enum PairWire {
    Item(PairItem),
    Fin,
    Rst,
}

/// What reaches an end from outside of the connection.
#[derive(Clone, Debug)]
pub(super) enum PairCommand {
    /// A fault acts on it.
    Inject { firing: Firing, gate: Box<ConnectionEffects>, steps: Vec<InjectionStep> },
    /// A firing is over.
    Revert(Firing),
    /// The server stops gracefully.
    Close { fault: u16, code: u16, reason: String },
    /// The server says something by itself.
    Say(PairItem),
}

/// What its owner must know.
#[derive(Clone, Debug)]
pub(super) enum PairEvent {
    /// A fault acts.
    Injected(u16),
    /// The client heard an echo.
    Echoed { due: u64, sent: u64 },
    /// The client heard the server's first word.
    Greeted,
    /// The client heard what a step of its dialogue awaits.
    StepMet(u16),
    /// A session is over; `back`: its client comes back on another path, so much later.
    Ended { ending: Box<Ending>, closing: Option<Closing>, back: Option<Duration> },
}

/// A heartbeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct PairHeartbeat {
    pub(super) every: u64,
    pub(super) timeout: u64,
    /// When the next ping goes out.
    pub(super) next: u64,
    pub(super) count: u64,
    /// When the one that is not answered went out.
    pub(super) awaited: Option<u64>,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PairPhase {
    #[default]
    Open,
    /// Its Close frame is out first.
    CloseSent,
    /// Both Close frames are out.
    FinAwaited,
    Over,
}

#[derive(Clone, Debug)]
struct Hold {
    firing: Firing,
    gate: ConnectionEffects,
}

/// One end: its session, and what its kernel has.
#[derive(Clone, Debug)]
pub(super) struct PairEnd {
    pub(super) phase: PairPhase,
    /// When `phase` is given up.
    until: u64,
    /// The process stands still: nothing of the session runs, and what is told it waits. The kernel goes on.
    pub(super) stands: bool,
    told: VecDeque<PairCommand>,
    pub(super) beat: Option<PairHeartbeat>,
    holds: Vec<Hold>,
    read: Flow,
    write: Flow,
    cause: Option<Cause>,
    initiator: Option<Initiator>,
    received: Option<(Option<u16>, String)>,
    wire_sent: Option<u16>,
    /// Bytes of pings and pongs behind the peer's Close frame.
    after_close: u64,
    /// When the first Close frame was sent or came, and the one that answers it.
    pub(super) first: Option<u64>,
    pub(super) second: Option<u64>,
    back: Option<Duration>,
    /// Longest waits for the peer's Close frame and FIN; 0: for ever.
    limits: (u64, u64),
    /// The server's first word came with its answer.
    greeted: bool,
    /// Came, and not read yet.
    inbox: VecDeque<PairItem>,
    /// Said, and not taken by the kernel yet.
    outbox: VecDeque<PairItem>,
    /// The peer's FIN came.
    fin: bool,
    /// A reset came, and whether that was read.
    broken: Option<bool>,
    finished: bool,
    closed: bool,
    /// Behind a dead path for good.
    buried: bool,
    /// Until when the socket is read after the session.
    lingers: u64,
    /// The process died behind a dead path: what its kernel will say when that is over.
    owes: Option<PairWire>,
    /// When a graceful stop comes to it.
    pub(super) shuts: Option<(u64, Box<PairCommand>)>,
}

impl PairEnd {
    /// One that is open; `limits` as in [`crate::plan::Deadlines`], in ns.
    pub(super) fn open(limits: (u64, u64), beat: Option<PairHeartbeat>) -> PairEnd {
        PairEnd {
            phase: PairPhase::Open,
            until: NEVER,
            stands: false,
            told: VecDeque::new(),
            beat,
            holds: Vec::new(),
            read: Flow::Pass,
            write: Flow::Pass,
            cause: None,
            initiator: None,
            received: None,
            wire_sent: None,
            after_close: 0,
            first: None,
            second: None,
            back: None,
            limits,
            greeted: false,
            inbox: VecDeque::new(),
            outbox: VecDeque::new(),
            fin: false,
            broken: None,
            finished: false,
            closed: false,
            buried: false,
            lingers: NEVER,
            owes: None,
            shuts: None,
        }
    }

    /// Whether a message can be said now.
    pub(super) fn is_ready(&self) -> bool {
        self.phase == PairPhase::Open && self.outbox.is_empty()
    }

    /// Whether it is over, and nothing told the peer.
    pub(super) fn is_buried(&self) -> bool {
        self.buried
    }

    /// Whether a write fails.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some() && self.write == Flow::Pass
    }

    /// Whether nothing of a fault is left here.
    fn is_well(&self) -> bool {
        self.phase == PairPhase::Open
            && !self.stands
            && (self.holds.is_empty() && self.told.is_empty() && self.inbox.is_empty() && self.outbox.is_empty())
            && (!self.fin && self.broken.is_none() && self.shuts.is_none())
            && self.beat.is_none_or(|beat| beat.awaited.is_none())
    }

    fn beat_at(&self) -> u64 {
        // A process that hangs has no heartbeat either.
        let hangs = self.holds.iter().any(|hold| hold.gate.hangs());
        let beat = self.beat.filter(|_| self.phase == PairPhase::Open && !hangs);
        beat.map_or(NEVER, |beat| beat.awaited.map_or(beat.next, |sent| sent.saturating_add(beat.timeout)))
    }

    /// When it does something by itself.
    fn due(&self) -> u64 {
        let shuts = self.shuts.as_ref().map_or(NEVER, |(at, _)| *at);
        match self.phase {
            // A stop is told to a process that stands, too, and waits there.
            PairPhase::Over if self.closed || self.buried || self.stands => NEVER,
            PairPhase::Over => self.lingers,
            _ if self.stands => shuts,
            _ => self.until.min(self.beat_at()).min(shuts),
        }
    }

    fn apply(&mut self) {
        let gate = self.holds.iter().fold(ConnectionEffects::default(), |all, hold| all.and(&hold.gate));
        (self.read, self.write) = (gate.read, gate.write);
    }
}

/// What a pair needs of its world.
pub(super) struct PairScene<'a> {
    pub(super) now: u64,
    /// One way of the path, ns.
    pub(super) leg: &'a mut dyn FnMut() -> u64,
    pub(super) happened: &'a mut Vec<(usize, PairEvent)>,
}

/// Both ends of a connection.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) client: u32,
    /// Which of the client's connections.
    pub(super) connection: u32,
    pub(super) opened_at: u64,
    /// When the trouble began.
    pub(super) begun: u64,
    pub(super) server: u16,
    /// The fault that ends the server's process, and so explains an end.
    pub(super) mark: Option<u16>,
    /// The server answers messages.
    pub(super) echoes: bool,
    pub(super) ends: [PairEnd; 2],
    /// On its way to each end, with the time of its arrival.
    lanes: [VecDeque<(u64, PairWire)>; 2],
}

fn side(end: usize) -> Initiator {
    if end == CLIENT { Initiator::Client } else { Initiator::Server }
}

impl Pair {
    pub(super) fn new(client: u32, connection: u32, (server, opened_at): (u16, u64), echoes: bool, ends: [PairEnd; 2]) -> Pair {
        Pair {
            client,
            connection,
            opened_at,
            begun: opened_at,
            server,
            mark: None,
            echoes,
            ends,
            lanes: [VecDeque::new(), VecDeque::new()],
        }
    }

    /// Whether it is as any healthy connection.
    pub(super) fn is_well(&self) -> bool {
        self.ends.iter().all(PairEnd::is_well) && self.lanes.iter().all(VecDeque::is_empty)
    }

    /// Whether both sessions are over.
    pub(super) fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.phase == PairPhase::Over)
    }

    /// When it must be looked at again, if nothing reaches it before.
    pub(super) fn due(&self) -> u64 {
        let lanes = self.lanes.iter().filter_map(|lane| Some(lane.front()?.0)).min();
        self.ends.iter().map(PairEnd::due).chain(lanes).min().unwrap_or(NEVER)
    }

    /// Tells an end something.
    pub(super) fn tell(&mut self, scene: &mut PairScene<'_>, end: usize, command: PairCommand) {
        if self.ends[end].stands {
            self.ends[end].told.push_back(command);
        } else {
            self.obey(scene, end, command);
        }
    }

    /// An end says something; it goes out as far as its gates let it.
    pub(super) fn say(&mut self, scene: &mut PairScene<'_>, end: usize, item: PairItem) {
        self.ends[end].outbox.push_back(item);
        self.flush(scene, end);
    }

    /// The server says its first word: with its answer to the opening handshake, which no gate of the client can hold back, if it can.
    pub(super) fn greet(&mut self, scene: &mut PairScene<'_>) {
        let server = &self.ends[SERVER];
        if server.phase == PairPhase::Open && !server.stands && server.holds.is_empty() {
            self.ends[CLIENT].greeted = true;
        } else {
            self.tell(scene, SERVER, PairCommand::Say(PairItem::Greeting));
        }
    }

    /// Something comes to an end that was on its way before.
    pub(super) fn comes(&mut self, scene: &mut PairScene<'_>, end: usize, item: PairItem) {
        self.arrive(scene, end, PairWire::Item(item));
    }

    /// As [`Pair::comes`], at `at`.
    pub(super) fn will_come(&mut self, end: usize, at: u64, item: PairItem) {
        self.lanes[end].push_back((at, PairWire::Item(item)));
    }

    /// The process of the server dies; `notice`: how long until its client is told, beside the path.
    pub(super) fn kill(&mut self, scene: &mut PairScene<'_>, notice: u64) {
        let end = &mut self.ends[SERVER];
        (end.stands, end.shuts) = (false, None);
        end.told.clear();
        let unread = !end.inbox.is_empty();
        end.phase = PairPhase::Over;
        // What was kept behind a path that is dead no more ends with the process.
        end.buried = false;
        if std::mem::replace(&mut end.closed, true) || end.broken.is_some() {
            return;
        }
        // What a process had not read is answered with RST.
        let last = if unread { PairWire::Rst } else { PairWire::Fin };
        if end.write == Flow::Discard {
            end.owes = Some(last);
        } else {
            let at = scene.now.saturating_add((scene.leg)()).saturating_add(notice);
            self.send(scene, SERVER, last, at);
        }
    }

    /// Lets happen all that is due.
    pub(super) fn run(&mut self, scene: &mut PairScene<'_>) {
        loop {
            for end in [CLIENT, SERVER] {
                while self.lanes[end].front().is_some_and(|(at, _)| *at <= scene.now) {
                    if let Some((_, wire)) = self.lanes[end].pop_front() {
                        self.arrive(scene, end, wire);
                    }
                }
            }
            if !self.step(scene, SERVER) && !self.step(scene, CLIENT) {
                return;
            }
        }
    }

    /// One thing that an end does; whether it did any.
    fn step(&mut self, scene: &mut PairScene<'_>, at: usize) -> bool {
        let now = scene.now;
        if let Some((_, command)) = self.ends[at].shuts.take_if(|(due, _)| *due <= now) {
            self.tell(scene, at, *command);
            return true;
        }
        if self.ends[at].stands || self.ends[at].closed || self.ends[at].buried {
            return false;
        }
        // A server that goes on reads what has come before it hears of faults; a client carries out what has been there as it opened.
        if at == CLIENT
            && let Some(command) = self.ends[at].told.pop_front()
        {
            self.obey(scene, at, command);
            return true;
        }
        let end = &mut self.ends[at];
        if end.phase != PairPhase::Over && std::mem::take(&mut end.greeted) {
            scene.happened.push((at, PairEvent::Greeted));
            return true;
        }
        let over = end.phase == PairPhase::Over;
        // While a flush is blocked a server does not read (back-pressure), a client does.
        let reads = over || at == CLIENT || end.outbox.is_empty();
        if reads && end.read == Flow::Discard {
            end.inbox.clear();
            end.broken = end.broken.map(|_| true);
        }
        if reads && end.read == Flow::Pass {
            if over {
                end.inbox.clear();
                if end.fin || end.broken.is_some() {
                    self.close(scene, at);
                    return true;
                }
            } else if let Some(item) = end.inbox.pop_front() {
                self.hear(scene, at, item);
                return true;
            } else if end.fin {
                self.peer_ended(scene, at, TcpEnd::Fin);
                return true;
            } else if let Some(read) = end.broken {
                self.peer_ended(scene, at, if read { TcpEnd::Fin } else { TcpEnd::Rst });
                return true;
            }
        }
        if let Some(command) = self.ends[at].told.pop_front() {
            self.obey(scene, at, command);
            return true;
        }
        let end = &mut self.ends[at];
        match () {
            () if over && end.lingers <= now => self.close(scene, at),
            () if over => return false,
            () if end.until <= now => self.end_locally(scene, at, fault::End::Fin, TcpEnd::Timeout),
            () if end.beat_at() <= now => self.beat(scene, at),
            () => return false,
        }
        true
    }

    /// Hands to the kernel what it takes.
    fn flush(&mut self, scene: &mut PairScene<'_>, at: usize) {
        while self.ends[at].write != Flow::Stop
            && let Some(item) = self.ends[at].outbox.pop_front()
        {
            let end = &mut self.ends[at];
            if end.write == Flow::Discard || end.broken.is_some() || end.finished || end.closed {
                continue;
            }
            if let PairItem::Close { code, .. } = item {
                end.wire_sent.get_or_insert(code.unwrap_or(NO_STATUS));
            }
            let arrives = scene.now.saturating_add((scene.leg)());
            self.send(scene, at, PairWire::Item(item), arrives);
        }
    }

    fn finish(&mut self, scene: &mut PairScene<'_>, at: usize) {
        let end = &mut self.ends[at];
        if end.write != Flow::Discard && end.broken.is_none() && !std::mem::replace(&mut end.finished, true) {
            let arrives = scene.now.saturating_add((scene.leg)());
            self.send(scene, at, PairWire::Fin, arrives);
        }
    }

    /// The socket is closed.
    fn close(&mut self, scene: &mut PairScene<'_>, at: usize) {
        let end = &mut self.ends[at];
        end.closed = true;
        let unread = !std::mem::take(&mut end.inbox).is_empty();
        if end.broken.is_some() {
            return;
        }
        if unread {
            let arrives = scene.now.saturating_add((scene.leg)());
            self.send(scene, at, PairWire::Rst, arrives);
        } else {
            self.finish(scene, at);
        }
    }

    fn send(&mut self, scene: &mut PairScene<'_>, from: usize, wire: PairWire, at: u64) {
        let lane = &mut self.lanes[1 - from];
        // Nothing overtakes.
        let at = lane.back().map_or(at, |(before, _)| at.max(*before));
        if at <= scene.now && lane.is_empty() { self.arrive(scene, 1 - from, wire) } else { lane.push_back((at, wire)) }
    }

    fn arrive(&mut self, scene: &mut PairScene<'_>, at: usize, wire: PairWire) {
        let end = &mut self.ends[at];
        match wire {
            _ if end.buried => {}
            // Behind a dead path not even a reset of the kernel comes out.
            PairWire::Item(_) if end.closed && end.write == Flow::Discard => {}
            PairWire::Item(_) if end.closed => {
                let arrives = scene.now.saturating_add((scene.leg)());
                self.send(scene, at, PairWire::Rst, arrives);
            }
            PairWire::Item(item) => end.inbox.push_back(item),
            PairWire::Fin => end.fin = true,
            PairWire::Rst => _ = end.broken.get_or_insert(false),
        }
    }
}

/// One side's account of an ending; `frames`: the code received, where a Close frame was (`None` in it: an empty one), and the code sent as
/// it stood on the wire.
pub(super) fn account(cause: Cause, initiator: Initiator, tcp_end: TcpEnd, frames: (Option<Option<u16>>, Option<u16>)) -> Ending {
    let (received, wire_sent) = frames;
    let valid = received.is_some_and(|code| code.is_none_or(may_be_sent));
    let wire_received = received.map(|code| code.unwrap_or(NO_STATUS));
    Ending {
        cause,
        initiator,
        wire_received,
        wire_sent,
        tcp_end,
        tls_end: None,
        mid_frame: false,
        clean: valid && wire_sent.is_some() && tcp_end == TcpEnd::Fin,
        code: crate::close::reported(wire_received.filter(|_| valid)),
        reason: String::new(),
        bytes_after: 0,
    }
}

/// Which end a side is.
pub(super) fn end_of(side: Side) -> usize {
    if side == Side::Client { CLIENT } else { SERVER }
}
