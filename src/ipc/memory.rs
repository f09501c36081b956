//! Links in memory, for tests that play all processes of a run on a clock that they move: late, with lines that are lost, damaged or cut, and with
//! ends that a process takes along when it dies.

use crate::ipc::link::LinkEnd;
use crate::lock::lock;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// What happens to one line of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is lost.
    Lost,
    /// One of its bits is another.
    Damaged,
    /// The link ends in the middle of it.
    Cut,
    /// It comes so much later, with all after it.
    Late(Duration),
}

/// How links are where tests play them.
pub(crate) struct Weather {
    /// Bytes that wait for their reader before a writer has to.
    pub(crate) room: usize,
    /// What goes wrong in one direction of a new link, and with which of its lines, from 0.
    pub(crate) trouble: Box<dyn FnMut() -> Option<(u64, Trouble)>>,
    /// How long some bytes are under way.
    pub(crate) delay: Box<dyn FnMut() -> Duration>,
    /// Who has the ends that are used outside of any [`PROCESS`].
    pub(crate) leader: LinkOwner,
    /// Troubles that came about: what, and between which processes.
    pub(crate) happened: Vec<(Trouble, u32, u32)>,
}

impl Weather {
    /// Nothing goes wrong, and nothing takes time.
    pub(crate) fn calm(leader: LinkOwner) -> Weather {
        Weather { room: 1 << 20, trouble: Box::new(|| None), delay: Box::new(Duration::default), leader, happened: Vec::new() }
    }
}

thread_local! {
    static WEATHER: RefCell<Option<Weather>> = const { RefCell::new(None) };
}

tokio::task_local! {
    /// The process whose task this is.
    pub(crate) static PROCESS: LinkOwner;
}

/// Lets all new links of this thread be in memory; `None`: sockets again. Returns how it was.
pub(crate) fn set(weather: Option<Weather>) -> Option<Weather> {
    WEATHER.replace(weather)
}

fn with<T>(does: impl FnOnce(&mut Weather) -> T) -> Option<T> {
    WEATHER.with_borrow_mut(|weather| weather.as_mut().map(does))
}

/// A process, as far as links know it: its end is that of all ends that it has.
#[derive(Clone, Debug)]
pub(crate) struct LinkOwner {
    pub(crate) pid: u32,
    ends: Arc<Mutex<(bool, Vec<Weak<MemoryEnd>>)>>,
}

impl LinkOwner {
    pub(crate) fn new(pid: u32) -> LinkOwner {
        LinkOwner { pid, ends: Arc::default() }
    }

    /// Ends all that it has, and all that it will ever take.
    pub(crate) fn sever(&self) {
        let ends = {
            let mut ends = lock(&self.ends);
            ends.0 = true;
            std::mem::take(&mut ends.1)
        };
        ends.iter().filter_map(Weak::upgrade).for_each(|end| end.close());
    }

    fn take(&self, end: &Arc<MemoryEnd>) {
        lock(&end.writes.state).from = self.pid;
        lock(&end.reads.state).to = self.pid;
        let mut ends = lock(&self.ends);
        ends.1.push(Arc::downgrade(end));
        if ends.0 {
            drop(ends);
            end.close();
        }
    }
}

/// One direction of a link.
#[derive(Debug)]
struct Pipe {
    state: Mutex<PipeState>,
    changed: Notify,
}

#[derive(Debug)]
struct PipeState {
    parts: VecDeque<(Instant, Vec<u8>, Option<LinkEnd>)>,
    waiting: usize,
    room: usize,
    trouble: Option<(u64, Trouble)>,
    /// Lines that were written to their ends.
    line: u64,
    last: Instant,
    written_to_end: bool,
    read_to_end: bool,
    from: u32,
    to: u32,
}

impl Pipe {
    fn new(weather: &mut Weather) -> Arc<Pipe> {
        let state = PipeState {
            parts: VecDeque::new(),
            waiting: 0,
            room: weather.room,
            trouble: (weather.trouble)(),
            line: 0,
            last: Instant::now(),
            written_to_end: false,
            read_to_end: false,
            from: 0,
            to: 0,
        };
        Arc::new(Pipe { state: Mutex::new(state), changed: Notify::new() })
    }

    fn end(&self, written: bool, read: bool) {
        let parts = {
            let mut state = lock(&self.state);
            state.written_to_end |= written;
            state.read_to_end |= read;
            // What nobody will read ends with them, ends of other links, too.
            if state.read_to_end { std::mem::take(&mut state.parts) } else { VecDeque::new() }
        };
        drop(parts);
        self.changed.notify_waiters();
    }
}

impl PipeState {
    /// Lets trouble come to the bytes of one line; whether the link ends here.
    fn suffer(&mut self, bytes: &mut Vec<u8>) -> bool {
        let Some((_, trouble)) = self.trouble.filter(|(line, _)| *line == self.line) else { return false };
        with(|weather| weather.happened.push((trouble, self.from, self.to)));
        match trouble {
            // All parts of it.
            Trouble::Lost => bytes.clear(),
            Trouble::Damaged => {
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
                self.trouble = None;
            }
            Trouble::Late(time) => {
                self.last = self.last.max(Instant::now()) + time;
                self.trouble = None;
            }
            Trouble::Cut => {
                bytes.truncate(bytes.len() / 2);
                self.trouble = None;
                return true;
            }
        }
        false
    }
}

/// One end of a link in memory.
#[derive(Debug)]
pub(crate) struct MemoryEnd {
    reads: Arc<Pipe>,
    writes: Arc<Pipe>,
}

/// Both ends of a new link; `None` where links are sockets.
pub(super) fn pair() -> Option<(MemoryEnd, MemoryEnd)> {
    with(|weather| {
        let (one, other) = (Pipe::new(weather), Pipe::new(weather));
        (MemoryEnd { reads: one.clone(), writes: other.clone() }, MemoryEnd { reads: other, writes: one })
    })
}

impl Drop for MemoryEnd {
    fn drop(&mut self) {
        self.close();
    }
}

impl MemoryEnd {
    fn close(&self) {
        self.writes.end(true, false);
        self.reads.end(false, true);
    }

    pub(super) fn split(self) -> (MemoryReader, MemoryWriter) {
        let end = Arc::new(self);
        match PROCESS.try_with(Clone::clone) {
            Ok(process) => process.take(&end),
            Err(_) => _ = with(|weather| weather.leader.take(&end)),
        }
        (MemoryReader(end.clone()), MemoryWriter(end))
    }
}

/// The writing half, whose end the other side hears.
#[derive(Debug)]
pub(crate) struct MemoryWriter(Arc<MemoryEnd>);

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        self.0.writes.end(true, false);
    }
}

impl MemoryWriter {
    pub(super) fn try_write(&self, bytes: &[u8], file: &mut Option<LinkEnd>) -> io::Result<usize> {
        let pipe = &self.0.writes;
        let mut state = lock(&pipe.state);
        if state.written_to_end || state.read_to_end {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let free = state.room.saturating_sub(state.waiting);
        if free == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let end = bytes.iter().take(free).position(|byte| *byte == b'\n').map(|at| at + 1);
        let taken = end.unwrap_or(free.min(bytes.len()));
        let mut part = bytes[..taken].to_vec();
        let cut = state.suffer(&mut part);
        state.line += u64::from(end.is_some());
        let delay = with(|weather| (weather.delay)()).unwrap_or_default();
        state.last = state.last.max(Instant::now() + delay);
        let due = state.last;
        let file = file.take();
        if !part.is_empty() || file.is_some() {
            state.waiting += part.len();
            state.parts.push_back((due, part, file));
        }
        drop(state);
        if cut {
            self.0.close();
        }
        pipe.changed.notify_waiters();
        Ok(taken)
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        let pipe = &self.0.writes;
        loop {
            let changed = pipe.changed.notified();
            {
                let state = lock(&pipe.state);
                if state.written_to_end || state.read_to_end || state.waiting < state.room {
                    return Ok(());
                }
            }
            changed.await;
        }
    }
}

/// The reading half.
#[derive(Debug)]
pub(crate) struct MemoryReader(Arc<MemoryEnd>);

impl MemoryReader {
    /// Some bytes, at most `most`, and what comes with them; `None`: no more come.
    pub(super) async fn read(&self, most: usize) -> Option<(Vec<u8>, Option<LinkEnd>)> {
        let pipe = &self.0.reads;
        loop {
            let changed = pipe.changed.notified();
            let due = {
                let mut state = lock(&pipe.state);
                match state.parts.front() {
                    _ if state.read_to_end => return None,
                    None if state.written_to_end => return None,
                    None => None,
                    Some((due, ..)) if *due > Instant::now() => Some(*due),
                    Some(_) => {
                        let (due, mut bytes, file) = state.parts.pop_front()?;
                        if bytes.len() > most {
                            let later = bytes.split_off(most);
                            state.parts.push_front((due, later, None));
                        }
                        state.waiting -= bytes.len();
                        drop(state);
                        pipe.changed.notify_waiters();
                        return Some((bytes, file));
                    }
                }
            };
            match due {
                // Its end may come before what is late.
                Some(due) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = sleep_until(due) => {}
                },
                None => changed.await,
            }
        }
    }
}
