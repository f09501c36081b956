//! The links to the embedded server processes: what they are told, what they report.

use crate::ipc;
use crate::ipc::LinkEnd;
use crate::lock::lock;
use crate::server::protocol::{FromServer, PROTOCOL, ServerSpec, ToServer};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

/// In which servers must have told all evidence; one that is stopped cannot.
pub(crate) const TOLD_WITHIN: Duration = Duration::from_secs(2);
/// In which what has come must be taken, where the wait for what is still to come has used all the time.
const TAKEN_WITHIN: Duration = Duration::from_millis(100);

/// A server process: instance, and which of its processes.
pub(crate) type Member = (u16, u16);

/// Hands the end of a link to a worker, by its number from 0: that of a server process.
pub(crate) type Hand = Arc<dyn Fn(u32, Member, LinkEnd) + Send + Sync>;

/// How a server process gets its links to the workers that have the clients.
#[derive(Clone, Default)]
pub(crate) struct ToWorkers {
    /// How many there are.
    pub(crate) count: u32,
    /// `None`: there are none.
    pub(crate) hand: Option<Hand>,
}

/// The way to tell a server something.
enum CommandSink {
    /// A process.
    Link(ipc::Sender<ToServer>),
    /// Tasks of this one.
    Here(mpsc::UnboundedSender<ToServer>),
}

impl CommandSink {
    fn is_link(&self) -> bool {
        matches!(self, CommandSink::Link(_))
    }
}

/// What comes out of the links, in the order in which it came.
#[derive(Debug)]
pub(crate) enum Reported {
    /// A report.
    Report(FromServer),
    /// All before it has been taken.
    Taken(oneshot::Sender<()>),
}

/// The reports of embedded servers.
#[derive(Debug)]
pub(crate) enum Reports {
    /// Of processes.
    Links(mpsc::UnboundedReceiver<Reported>),
    /// Of tasks of this process.
    Here(mpsc::UnboundedReceiver<FromServer>),
}

impl Reports {
    /// Those of a target that reports nothing.
    pub(crate) fn none() -> Reports {
        Reports::Here(mpsc::unbounded_channel().1)
    }

    /// The next report; `None`: no more come. Who calls this has made use of all before it: only then does the last word of a server count.
    pub(crate) async fn next(&mut self) -> Option<FromServer> {
        match self {
            Reports::Here(reports) => reports.recv().await,
            Reports::Links(reported) => loop {
                match reported.recv().await? {
                    Reported::Report(report) => return Some(report),
                    // Who asked may have stopped waiting.
                    Reported::Taken(taken) => drop(taken.send(())),
                }
            },
        }
    }
}

/// What has not been told of a run, or told and not taken, when nobody waits for it any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Untold {
    /// Processes that have not said that they have told all.
    pub(crate) processes: Vec<Member>,
    /// Reports have come, and were not taken.
    pub(crate) is_waiting: bool,
}

/// The links to the embedded server processes.
#[derive(Default)]
pub(crate) struct ControlLinks {
    /// `None`: their reports go elsewhere.
    reports: Option<mpsc::UnboundedSender<Reported>>,
    /// With the number of each link, which tells it from that of a successor.
    senders: Mutex<BTreeMap<Member, (u64, CommandSink)>>,
    /// Numbers of links and tickets so far.
    next: AtomicU64,
    /// Processes that have said hello.
    pids: watch::Sender<BTreeMap<Member, u32>>,
    /// Processes that listen, and since when, in ns of CLOCK_MONOTONIC.
    listening: watch::Sender<BTreeMap<Member, (u32, u64)>>,
    /// The last ticket of processes that stand still.
    still: watch::Sender<BTreeMap<Member, u64>>,
    /// The last ticket up to which processes have said all; `None`: their link has ended.
    told: watch::Sender<BTreeMap<Member, Option<u64>>>,
}

impl ControlLinks {
    /// The reports of all processes, of whichever incarnation, come out of the receiver.
    pub(crate) fn new() -> (Arc<ControlLinks>, Reports) {
        let (reports, receiver) = mpsc::unbounded_channel();
        (Arc::new(ControlLinks { reports: Some(reports), ..ControlLinks::default() }), Reports::Links(receiver))
    }

    /// Takes up the link to a process that has just been started, `pid`, and tells it what to be. Workers get their ends at once, so that
    /// they know of it before they hear that it is there.
    ///
    /// # Errors
    /// No file is left, or what it is to be is too long to be said.
    pub(crate) fn begin(self: &Arc<Self>, pid: u32, spec: &ServerSpec, link: LinkEnd, workers: &ToWorkers) -> Result<(), ipc::LinkError> {
        let member = (spec.instance, spec.process);
        let (sender, receiver, _) = ipc::open(link, PROTOCOL)?;
        sender.send(&ToServer::Serve { spec: Box::new(spec.clone()), workers: workers.count })?;
        for worker in 0..workers.count {
            let (one, other) = ipc::pair()?;
            sender.send_with(&ToServer::Worker, one)?;
            if let Some(hand) = &workers.hand {
                hand(worker, member, other);
            }
        }
        tokio::spawn(self.clone().follow(member, pid, sender, receiver));
        Ok(())
    }

    /// Takes up the link to a process that another one has started.
    ///
    /// # Errors
    /// The link is of no use.
    pub(crate) fn join(self: &Arc<Self>, member: Member, link: LinkEnd) -> Result<(), ipc::LinkError> {
        let (sender, receiver, _) = ipc::open(link, PROTOCOL)?;
        // Only who has started a process waits for it by its number.
        tokio::spawn(self.clone().follow(member, 0, sender, receiver));
        Ok(())
    }

    fn senders(&self) -> MutexGuard<'_, BTreeMap<Member, (u64, CommandSink)>> {
        lock(&self.senders)
    }

    /// A server that is tasks of this process takes what it is told from the receiver.
    pub(crate) fn lay(&self, member: Member) -> mpsc::UnboundedReceiver<ToServer> {
        let (sender, commands) = mpsc::unbounded_channel();
        self.senders().insert(member, (self.number(), CommandSink::Here(sender)));
        commands
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Tells all processes of an instance something; nothing happens while they are down.
    pub(crate) fn tell(&self, instance: u16, command: &ToServer) {
        for (_, sender) in self.senders().range((instance, 0)..=(instance, u16::MAX)).map(|(_, sender)| sender) {
            self.say(sender, command);
        }
    }

    /// Tells one process something.
    pub(crate) fn tell_one(&self, member: Member, command: ToServer) {
        if let Some((_, sender)) = self.senders().get(&member) {
            self.say(sender, &command);
        }
    }

    /// Waits until the process `pid` has said hello. Whether it did in time.
    pub(crate) async fn hello(&self, member: Member, pid: u32, within: Duration) -> bool {
        let mut pids = self.pids.subscribe();
        timeout(within, pids.wait_for(|pids| pids.get(&member) == Some(&pid))).await.is_ok()
    }

    /// Waits until the process `pid` says that it listens: since when, in ns of CLOCK_MONOTONIC. `None`: not in time.
    pub(crate) async fn listens(&self, member: Member, pid: u32, within: Duration) -> Option<u64> {
        let mut listening = self.listening.subscribe();
        let of = |(listens, _): &(u32, u64)| *listens == pid;
        let told = timeout(within, listening.wait_for(|listening| listening.get(&member).is_some_and(of))).await.ok()?.ok()?;
        told.get(&member).map(|(_, at)| *at)
    }

    /// Waits until all processes of an instance say that they stand still, as they were told with this ticket, or `within` is over.
    pub(crate) async fn stand_still(&self, instance: u16, ticket: u64, within: Duration) {
        let members: Vec<_> = self.senders().range((instance, 0)..=(instance, u16::MAX)).map(|(member, _)| *member).collect();
        self.tell(instance, &ToServer::StandStill { ticket });
        let mut still = self.still.subscribe();
        let all = |told: &BTreeMap<Member, u64>| members.iter().all(|member| told.get(member) == Some(&ticket));
        let _ = timeout(within, still.wait_for(all)).await;
    }

    /// Waits until all processes have told their evidence so far, and all that has come of it, of whichever process, was taken from the reports; what is
    /// missing when `within` is over.
    pub(crate) async fn all_told(&self, within: Duration) -> Untold {
        let (until, ticket) = (Instant::now() + within, self.number());
        let asked: Vec<_> = self.senders().iter().filter(|(_, (_, sink))| sink.is_link()).map(|(member, _)| *member).collect();
        asked.iter().for_each(|member| self.tell_one(*member, ToServer::Tell { ticket }));
        let mut told = self.told.subscribe();
        let waits =
            |told: &BTreeMap<Member, Option<u64>>, member: &Member| told.get(member).is_none_or(|at| at.is_some_and(|at| at < ticket));
        let _ = timeout_at(until, told.wait_for(|told| !asked.iter().any(|member| waits(told, member)))).await;
        let processes = {
            let told = self.told.borrow();
            asked.into_iter().filter(|member| waits(&told, member)).collect()
        };
        // A server's last word is known as soon as it is heard, and what it has told before may still wait behind a report that takes its time.
        Untold { processes, is_waiting: !self.taken(until).await }
    }

    /// Waits until all that the processes of an instance have told that is gone was read and taken, or `within` is over.
    pub(crate) async fn last_words(&self, instance: u16, within: Duration) {
        let until = Instant::now() + within;
        let mut told = self.told.subscribe();
        let ended =
            |told: &BTreeMap<Member, Option<u64>>| told.range((instance, 0)..=(instance, u16::MAX)).all(|(_, ticket)| ticket.is_none());
        let _ = timeout_at(until, told.wait_for(ended)).await;
        self.taken(until).await;
    }

    /// Waits until all reports that have come so far were taken. Whether they were in time.
    async fn taken(&self, until: Instant) -> bool {
        let Some(reports) = &self.reports else { return true };
        let (taken, all) = oneshot::channel();
        // Nobody takes reports any more when the run is over.
        let _ = reports.send(Reported::Taken(taken));
        // What is there already is taken in no time, also where the time was used up by those who were asked.
        timeout_at(until.max(Instant::now() + TAKEN_WITHIN), all).await.is_ok_and(|taken| taken.is_ok())
    }

    fn say(&self, to: &CommandSink, command: &ToServer) {
        match to {
            // It may be gone, which is noticed elsewhere.
            CommandSink::Here(sender) => _ = sender.send(command.clone()),
            CommandSink::Link(sender) => {
                if let Err(error) = sender.send(command) {
                    self.report(FromServer::Notice { text: format!("a command to a server could not be sent: {error}") });
                }
            }
        }
    }

    fn report(&self, report: FromServer) {
        // Nobody takes reports any more when the run is over.
        if let Some(reports) = &self.reports {
            let _ = reports.send(Reported::Report(report));
        }
    }

    async fn follow(self: Arc<Self>, member: Member, pid: u32, sender: ipc::Sender<ToServer>, mut link: ipc::Receiver<FromServer>) {
        let heard = match link.hello().await {
            Ok(()) => self.hear((member, pid), sender, &mut link).await,
            // It ended: whoever waits for it knows why.
            Err(ipc::LinkError::Silent) => return,
            Err(error) => Err(error),
        };
        if let Err(error) = heard {
            let why =
                format!("server {}, process {}: connection to closestorm: {error}; what it told later is missing", member.0, member.1);
            self.report(FromServer::Incomplete { why });
        }
    }

    /// Hears a process to the end of its link, which is then let go: the process ends with it.
    async fn hear(
        &self,
        (member, pid): (Member, u32),
        sender: ipc::Sender<ToServer>,
        link: &mut ipc::Receiver<FromServer>,
    ) -> Result<(), ipc::LinkError> {
        let number = self.number();
        self.senders().insert(member, (number, CommandSink::Link(sender.clone())));
        self.told.send_modify(|all| _ = all.insert(member, Some(0)));
        self.pids.send_modify(|pids| _ = pids.insert(member, pid));
        let heard = loop {
            match link.next().await {
                Ok(Some(FromServer::Listening { at_ns })) => {
                    self.listening.send_modify(|all| _ = all.insert(member, (pid, at_ns)));
                }
                Ok(Some(FromServer::Still { ticket })) => self.still.send_modify(|all| _ = all.insert(member, ticket)),
                Ok(Some(FromServer::Told { ticket })) => self.told.send_modify(|all| _ = all.insert(member, Some(ticket))),
                // Short enough.
                Ok(Some(FromServer::Over)) => _ = sender.send(&ToServer::Heard),
                Ok(Some(report)) => self.report(report),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let mut senders = self.senders();
        // Unless its successor is there already.
        if senders.get(&member).is_some_and(|(of, _)| *of == number) {
            senders.remove(&member);
            self.told.send_modify(|all| _ = all.insert(member, None));
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::memory::{self, LinkOwner, Weather};
    use std::io::{Read as _, Write as _};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    /// Between two reports, for who takes them.
    const TAKES: Duration = Duration::from_secs(1);

    /// A server that says something when it is asked whether it has told all, and then that it has.
    async fn tell(link: LinkEnd, asked: usize) {
        let (say, mut told, _) = ipc::open::<FromServer, ToServer>(link, PROTOCOL).expect("a link");
        for _ in 0..asked {
            let Some(ToServer::Tell { ticket }) = told.next().await.expect("a live link") else { panic!("it is asked") };
            say.send(&FromServer::Notice { text: "the last one".to_owned() }).expect("short");
            say.send(&FromServer::Told { ticket }).expect("short");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_word_of_a_server_counts_once_what_it_told_before_was_taken() {
        memory::set(Some(Weather::calm(LinkOwner::new(1))));
        let (lines, mut reports) = ControlLinks::new();
        let (ours, theirs) = ipc::pair().expect("a link");
        lines.join((0, 0), ours).expect("a live link");
        let server = tokio::spawn(tell(theirs, 2));
        assert!(lines.hello((0, 0), 0, TAKES).await);
        // All is told, and nobody takes it.
        let waiting = Untold { processes: Vec::new(), is_waiting: true };
        assert_eq!(lines.all_told(TAKES).await, waiting);
        // Somebody takes it, with each report a second; the second one comes while the first still takes its time.
        let (taken, books) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (taking, writing) = (taken.clone(), books.clone());
        let taker = tokio::spawn(async move {
            while reports.next().await.is_some() {
                taking.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(TAKES).await;
                writing.fetch_add(1, Ordering::Relaxed);
            }
        });
        tokio::task::yield_now().await;
        assert_eq!(lines.all_told(10 * TAKES).await, Untold::default());
        assert_eq!((taken.load(Ordering::Relaxed), books.load(Ordering::Relaxed)), (2, 2));
        // One that is gone is not asked, and what it has told is waited for all the same.
        server.await.expect("no panic");
        lines.report(FromServer::Notice { text: "of one that is gone".to_owned() });
        assert_eq!(lines.all_told(10 * TAKES).await, Untold::default());
        assert_eq!(books.load(Ordering::Relaxed), 3);
        taker.abort();
        memory::set(None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_server_told_before_it_was_killed_is_taken_before_it_counts_as_gone() {
        memory::set(Some(Weather::calm(LinkOwner::new(1))));
        let (lines, mut reports) = ControlLinks::new();
        let (ours, theirs) = ipc::pair().expect("a link");
        lines.join((0, 0), ours).expect("a live link");
        let killed = tokio::spawn(async move {
            let (say, _told, _) = ipc::open::<FromServer, ToServer>(theirs, PROTOCOL).expect("a link");
            for _ in 0..3 {
                say.send(&FromServer::Notice { text: "one of the last".to_owned() }).expect("short");
            }
            tokio::time::sleep(TAKES).await;
        });
        assert!(lines.hello((0, 0), 0, TAKES).await);
        let taken = Arc::new(AtomicU64::new(0));
        let taking = taken.clone();
        let taker = tokio::spawn(async move {
            while reports.next().await.is_some() {
                tokio::time::sleep(TAKES).await;
                taking.fetch_add(1, Ordering::Relaxed);
            }
        });
        lines.last_words(0, 10 * TAKES).await;
        assert_eq!(taken.load(Ordering::Relaxed), 3);
        killed.await.expect("no panic");
        taker.abort();
        memory::set(None);
    }

    #[tokio::test]
    async fn a_server_that_says_what_it_should_not_is_reported_and_left() {
        let hello = String::from_utf8(ipc::hello(PROTOCOL)).expect("text");
        let listening = String::from_utf8(ipc::Seal::default().close(b"{\"Listening\":1}".to_vec())).expect("text");
        let table = [
            (
                "{\"closestorm\":\"server\",\"version\":9}\n".to_owned(),
                "the other side uses protocol server 9, and this side uses server 3",
            ),
            (format!("{hello}{hello}"), "a second hello"),
            (format!("{hello}{listening}"), "not a message of server 3: invalid type: integer `1`"),
        ];
        for (said, expected) in table {
            let (lines, mut reports) = ControlLinks::new();
            let (mut server, theirs) = UnixStream::pair().expect("a file is left");
            server.write_all(said.as_bytes()).expect("a live link");
            lines.join((3, 1), OwnedFd::from(theirs).into()).expect("a live link");
            let Some(FromServer::Incomplete { why: text }) = reports.next().await else { panic!("nothing was said") };
            assert!(text.starts_with("server 3, process 1: connection to closestorm: ") && text.contains(expected), "{text}");
            let end = tokio::task::spawn_blocking(move || server.read_to_end(&mut Vec::new()));
            end.await.expect("no panic").expect("its link ends, and so does it");
        }
    }
}
