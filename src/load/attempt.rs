//! One attempt: TCP, TLS and opening handshake, each timed and each under its own deadline.

use crate::dialogue::ClientMemory;
use crate::event::{ClientIndex, ConnectionNo, Event, Outcome, Stage};
use crate::fault::{InjectionStep, OnAttempt, Side};
use crate::load::connect::{Dial, First};
use crate::load::context::RunContext;
use crate::load::rate_cap::RateCap;
use crate::load::redirect;
use crate::load::request_template::{OwnParts, Turn, request, whole};
use crate::plan::{Cohort, Patience, Phase, Target};
use crate::reconnect::NextAddress;
use crate::secret::mask_address;
use crate::seed::Seed;
use crate::sut::endpoint::{Detour, Endpoint};
use crate::template::TemplateValues;
use crate::transport::Transport;
use crate::transport::link::Link;
use crate::transport::secure::Secure;
use crate::transport::send_limit::SendLimit;
use crate::transport::tls::Sessions;
use crate::transport::tls_words;
use crate::ws::connection::Connection;
use crate::ws::frame_tap::Tap;
use crate::ws::handshake::client::{ClientHandshake, Request, values};
use crate::ws::handshake::cookies::{CookieFields, CookieJar, CookieScope};
use crate::ws::handshake::failure::{Failure, fail};
use crate::ws::handshake::own_headers::Id;
use crate::ws::session::mailbox::SessionCommand;
use futures_util::FutureExt;
use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::protocol::Role;

/// Where the kernel's deadline is the only one: longer than any run.
pub(crate) const NEVER: Duration = Duration::from_secs(86_400 * 365);

thread_local! {
    /// Where requests are written that leave at once: all but those that wait for TCP.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// `Set-Cookie` fields, and of which request; `None`: there are none, as mostly.
pub(crate) type CookiesSet = Option<Box<(CookieScope, Box<CookieFields>)>>;

/// An attempt that opened.
pub(crate) struct OpenedAttempt {
    pub(crate) connection: Box<Connection>,
    pub(crate) tcp: Duration,
    pub(crate) tls: Option<Duration>,
    /// TLS took up an earlier session.
    pub(crate) resumed: bool,
    pub(crate) upgrade: Duration,
}

/// What a client keeps over its attempts.
#[derive(Clone, Copy)]
pub(crate) struct KeptByClient<'a> {
    /// Of earlier TLS sessions, if it does.
    pub(crate) sessions: Option<&'a Arc<Sessions>>,
    /// For its dialogue, if it has one.
    pub(crate) memory: Option<&'a ClientMemory>,
    /// Cookies, if it has some.
    pub(crate) jar: Option<&'a CookieJar>,
}

/// Attempts, while faults may cut it; and the cookies that its server has set.
pub(crate) async fn run(
    shared: &RunContext,
    cohort: &Cohort,
    (id, instance): (Id, u16),
    kept: KeptByClient<'_>,
    overall: Option<Duration>,
    turn: Turn<'_>,
) -> Result<(OpenedAttempt, CookiesSet), Failure> {
    let overall = overall.filter(|limit| !limit.is_zero()).map(|limit| Instant::now() + limit);
    unless_cut(shared, id, pin!(following(shared, cohort, (id, instance), kept, overall, turn))).await
}

/// Part of an attempt, while faults may cut it, and messages that fall due are not started. It is lent: a future that is handed over to
/// another one is held twice.
pub(crate) async fn unless_cut<T>(
    shared: &RunContext,
    id: Id,
    mut work: Pin<&mut impl Future<Output = Result<T, Failure>>>,
) -> Result<T, Failure> {
    let control = &shared.registry.slot(id.client).control;
    let mut later = Vec::new();
    let result = loop {
        tokio::select! {
            // Commands first: a fault that cuts the attempt must not lose against its success.
            biased;
            command = control.next() => match command {
                SessionCommand::Due(due) => shared.journal.record(&Event::NotStarted { client: id.client, due }),
                SessionCommand::Inject(dose) if dose.steps.iter().any(InjectionStep::cuts) => {
                    shared.journal.record(&Event::Injected { fault: dose.firing.fault, client: id.client, connection: id.connection });
                    let (stage, _) = shared.registry.slot(id.client).place().stages(shared.journal.now());
                    break Err(Failure { stage, outcome: Outcome::Abandoned, fault: Some(dose.firing.fault), local: None });
                }
                other => later.push(other),
            },
            result = work.as_mut() => break result,
        }
    };
    // What selected this attempt but cannot act on it acts on the connection.
    later.into_iter().for_each(|command| control.send(command));
    result
}

/// An attempt, and those that redirects lead to.
async fn following(
    shared: &RunContext,
    cohort: &Cohort,
    (id, instance): (Id, u16),
    kept: KeptByClient<'_>,
    overall: Option<Instant>,
    turn: Turn<'_>,
) -> Result<(OpenedAttempt, CookiesSet), Failure> {
    let own = OwnParts { memory: kept.memory, jar: kept.jar, redirect: None };
    let target = shared.fleet.place(instance);
    let mut result = stages(shared, cohort, (id, instance), target, (kept.sessions, own), overall, turn).await;
    let Target::Url(remote) = &shared.plan.target else { return result };
    let mut from = None;
    for _ in 0..remote.redirects {
        let Some(led) = result.as_ref().err().and_then(|failure| redirect::of(failure, target, from.as_ref())) else { break };
        let led = led?;
        // A connection more that somebody must accept.
        shared.one_more_attempt().await;
        shared.registry.slot(id.client).set(|place| place.begin(shared.journal.now()));
        let until = limit(Instant::now(), cohort.deadlines.connect, overall);
        let place = limited(redirect::find(shared, target, &led), Stage::Tcp, until).await?;
        let turn = shared.connect_permits.acquire().await.map_err(|_| fail(Stage::Upgrade, Outcome::ABANDONED))?;
        // Sessions of TLS and cookies are the target's.
        let sessions = kept.sessions.filter(|_| !led.strange);
        let own = OwnParts { redirect: Some(&led), ..own };
        let place = place.as_deref().unwrap_or(target);
        result = Box::pin(stages(shared, cohort, (id, instance), place, (sessions, own), overall, turn)).await;
        if led.strange {
            result = result.map(|(opened, _)| (opened, None));
        }
        from = Some(led);
    }
    result
}

async fn stages(
    shared: &RunContext,
    cohort: &Cohort,
    (id, instance): (Id, u16),
    place: &Endpoint,
    (sessions, own): (Option<&Arc<Sessions>>, OwnParts<'_>),
    overall: Option<Instant>,
    turn: Turn<'_>,
) -> Result<(OpenedAttempt, CookiesSet), Failure> {
    let slot = shared.registry.slot(id.client);
    let target = shared.fleet.place(instance);
    let form = shared.form(id.client, instance).map_err(|words| fail(Stage::Upgrade, words))?;
    let sends = shared.caps.sends.as_ref();
    let dial = Dial::new(place, (shared.sources.at(id.client), sends), cohort.reconnect.next_address, |detour| {
        detour.choice.begin(detour.addresses.len(), (id.client.0, id.connection.0), shared.plan.seed)
    })?;
    // What TLS or a fault makes of the request is seen when TCP is open.
    // So is what has to wait for its turn.
    let mut may_send = dial.may_send() && place.tls.is_none() && sends.is_none() && !shared.registry.awaits_attempts();
    if may_send {
        dial.expect_bytes();
    }
    let begun = Instant::now();
    dial.begin(place.address)?;
    if may_send {
        // Those that connect meanwhile write with it.
        tokio::task::yield_now().await;
        // And a fault that came meanwhile has a request of its own to send. From here to `attempted` nothing else runs.
        may_send = !shared.registry.awaits_attempts();
    }
    let mut bytes = SCRATCH.take();
    bytes.clear();
    let expects = if own.are_in_form(cohort) {
        form.fill(id, &mut bytes)
    } else {
        let request = whole(cohort, target, id, own, shared.journal.now()).map_err(|words| fail(Stage::Upgrade, &words))?;
        request.put(&mut bytes)
    };
    let mut scope = cohort.cookies.then(|| CookieScope::of_request(&bytes, place.url.secure));
    // Not before TCP was open; as late as the loop, as any time of an event is.
    let mut begun_next = Instant::now();
    let first = if may_send { dial.send(&bytes) } else { Ok(First::Waiting) };
    drop(turn);
    let (wire, mut asking) = match first {
        Ok(First::Waiting) => {
            let asking = ClientHandshake::new(bytes, expects);
            let wire = limited(dial.wait(), Stage::Tcp, limit(begun, cohort.deadlines.connect, overall)).await?;
            begun_next = Instant::now();
            (wire, asking)
        }
        Ok(First::Sent(sent)) => {
            let asking = ClientHandshake::begun(&bytes, sent, expects);
            SCRATCH.set(bytes);
            (dial.opened()?, asking)
        }
        Err(failure) => {
            SCRATCH.set(bytes);
            return Err(failure);
        }
    };
    let tcp = begun_next - begun;
    let mut link = Link::new(wire);
    sends.into_iter().for_each(|sends| link.set_send_limit(sends));
    let (transport, tls, resumed) = match &place.tls {
        None => (Transport::Plain(link), None, false),
        Some(tls) => {
            let begun = begun_next;
            let offered = sessions.is_some_and(|sessions| sessions.has_any());
            slot.set(|place| {
                place.enter(Phase::Tls, shared.journal.offset_of(begun));
                place.resumed = offered;
            });
            // Boxed: attempts without TLS do not carry its state along.
            let handshake = Box::pin(async {
                Secure::connect(tls.connector(sessions), tls.name.clone(), link)
                    .await
                    .map_err(|error| fail(Stage::Tls, &tls_reason(&error, place)))
            });
            let stream = limited(handshake, Stage::Tls, limit(begun, cohort.deadlines.handshake, overall)).await?;
            begun_next = Instant::now();
            let resumed = stream.is_resumed();
            (Transport::Secure(stream), Some(begun_next - begun), resumed)
        }
    };
    let begun = begun_next;
    slot.set(|place| {
        place.enter(Phase::Upgrade, shared.journal.offset_of(begun));
        place.resumed = resumed;
    });
    let (hit, asked) = selected(shared, id).await;
    // That took time, where another process had to be asked: the handshake has not begun.
    let begun = begun + asked;
    if let Some((fault, _)) = &hit {
        shared.journal.record(&Event::Injected { fault: *fault, client: id.client, connection: id.connection });
    }
    let mask = (id.client.0 ^ 0x5bd1_e995).wrapping_mul(id.connection.0 | 1);
    let mut tap = Tap::new(transport, Side::Client);
    tap.set_max_message(u32::try_from(cohort.max_message.0).unwrap_or(u32::MAX));
    if let Some((_, OnAttempt::Ask(ask))) = &hit {
        let request = whole(cohort, target, id, own, shared.journal.now()).map_err(|words| fail(Stage::Upgrade, &words))?;
        asking = ClientHandshake::edited(request, ask, mask);
        // Its answer is one to what it asks for now.
        scope = scope.map(|scope| CookieScope::of_request(asking.unsent(), scope.secure));
        if let Some(sends) = sends.filter(|_| !ask.early.is_empty()) {
            // The tap counts none before the opening handshake is complete.
            sends.frames(u32::try_from(ask.early.len()).unwrap_or(u32::MAX)).await;
        }
    }
    if !cohort.cookies {
        asking.forget_cookies();
    }
    let handshake = asking.shake_hands(&mut tap, &place.asked);
    let shaken = limited(handshake, Stage::Upgrade, limit(begun, cohort.deadlines.handshake, overall)).await;
    let cookies = shaken.map_err(|failure| Failure { fault: hit.as_ref().map(|(fault, _)| *fault), ..failure })?;
    let cookies = scope.zip(cookies).map(Box::new);
    let connection = Box::new(Connection::new(tap, Role::Client, mask));
    Ok((OpenedAttempt { connection, tcp, tls, resumed, upgrade: begun.elapsed() }, cookies))
}

/// The fault that selects this attempt, and what it does; uses up one of its hits. And how long it took to ask for that.
async fn selected(shared: &RunContext, id: Id) -> (Option<(u16, OnAttempt)>, Duration) {
    let mut asked = Duration::ZERO;
    for (firing, effect) in shared.registry.attempted(id.client) {
        let begun = shared.hits.are_elsewhere().then(Instant::now);
        let hit = shared.hits.take_one(firing).await;
        asked += begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        if hit {
            return (Some((firing.fault, effect)), asked);
        }
    }
    (None, asked)
}

/// Until when a stage that began at `begun` is waited for; `overall` is the strategy's word on the whole attempt.
fn limit(begun: Instant, patience: Patience, overall: Option<Instant>) -> Option<Instant> {
    match patience {
        Patience::Strategy => overall,
        Patience::Own(own) => (!own.is_zero()).then(|| begun + own),
    }
}

/// A stage under its deadline. No async function: that would hold the work twice.
fn limited<T, W: Future<Output = Result<T, Failure>>>(
    work: W,
    stage: Stage,
    until: Option<Instant>,
) -> impl Future<Output = Result<T, Failure>> {
    let until = until.unwrap_or_else(|| Instant::now() + NEVER);
    timeout_at(until, work).map(move |done| done.unwrap_or(Err(Failure { stage, outcome: Outcome::TimedOut, fault: None, local: None })))
}

fn tls_reason(error: &io::Error, place: &Endpoint) -> String {
    let asked = place.asked.was();
    let words = tls_words::of(error, asked).unwrap_or_else(|| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe if asked => {
            "the server requires a client certificate and closed the connection".to_owned()
        }
        io::ErrorKind::UnexpectedEof => "the server closed the connection during the handshake".to_owned(),
        _ => error.get_ref().map_or_else(|| error.kind().to_string(), ToString::to_string),
    });
    format!("tls: {words}")
}

/// What to do about a server that wants a certificate.
const NO_CERTIFICATE: &str = "; name one by `cert = \"FILE.pem\"` and `key = \"FILE.pem\"` in [target.url]";

/// What to do about it.
fn tls_remedy(error: &io::Error, place: &Endpoint) -> &'static str {
    match () {
        () if tls_words::is_distrust(error) => {
            "; trust it with `ca = \"FILE.pem\"`, or any certificate with `insecure = true`, in the target's table"
        }
        () if tls_words::wants_certificate(error, place.asked.was()) => NO_CERTIFICATE,
        () => "; check whether it uses TLS: without TLS the address begins with ws://",
    }
}

/// One opening handshake before the run, so that a wrong target is one clear message and not a failed run. `follows`: clients follow
/// redirects, so a target that answers with one is right; where it leads the run shows.
///
/// # Errors
/// What is wrong, in words.
pub(crate) async fn probe(
    (place, follows): (&Endpoint, bool),
    cohort: &Cohort,
    memory: Option<&ClientMemory>,
    within: Duration,
) -> Result<(), String> {
    let work = async {
        // The first values that the target will see in any case, so that one that checks them knows them. Without an id: no client's.
        let id = Id { client: ClientIndex(cohort.first), connection: ConnectionNo(1) };
        let request = match memory {
            Some(memory) => {
                let first = |values: &TemplateValues<'_>| request(cohort, place, values);
                memory.with_values(cohort.named_data(), (id.client, id.connection), Duration::ZERO, first)
            }
            None => request(cohort, place, &values(id)),
        };
        let mut connection = match opened(place, request?).await? {
            Err(failure) if follows && redirect::location(&failure).is_some() => return Ok(()),
            opened => opened.map_err(|failure| words(&failure))?,
        };
        connection.queue_close(Some(crate::close::NORMAL), "");
        let closed = async {
            let _ = std::future::poll_fn(|cx| connection.poll_flush(cx)).await;
            while !matches!(std::future::poll_fn(|cx| connection.poll_io(cx)).await, crate::ws::connection::Incoming::End) {}
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), closed).await;
        Ok(())
    };
    timeout_at(Instant::now() + within, work).await.unwrap_or_else(|_| {
        Err(format!(
            "no answer to the opening handshake within {within:?}: it accepts connections but sends nothing; check that this is a \
             WebSocket server, and whether it uses TLS (wss://)"
        ))
    })
}

/// Asks for opening handshakes one after another for as long as `time`, and closes each; how many. A target that stops answering is left
/// alone: the run will show it.
pub(crate) async fn warm_up(
    place: (&Endpoint, bool),
    cohort: &Cohort,
    memory: Option<&ClientMemory>,
    time: Duration,
    cap: &RateCap,
) -> u64 {
    let begun = Instant::now();
    let end = begun + time;
    let mut asked = 0;
    loop {
        let _ = timeout_at(end, cap.attempt(|| begun.elapsed())).await;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return asked;
        }
        asked += 1;
        if probe(place, cohort, memory, left).await.is_err() {
            return asked;
        }
    }
}

/// Longest message of conformance suites, with room.
const CONFORMANCE_MAX_MESSAGE: u32 = 64 << 20;

/// TCP, and TLS where the place has it, without deadlines; to the address that an attempt of a client begins with, and on as its `library` does. `sends`:
/// what limits what is sent.
///
/// # Errors
/// What is wrong, in words.
pub(crate) async fn connected(
    place: &Endpoint,
    library: NextAddress,
    (client, attempt): (ClientIndex, ConnectionNo),
    seed: Seed,
    sends: Option<&Arc<SendLimit>>,
) -> Result<Transport, String> {
    let first = |detour: &Detour| detour.choice.begin(detour.addresses.len(), (client.0, attempt.0), seed);
    let dial = Dial::new(place, (None, sends), library, first)
        .and_then(|dial| dial.begin(place.address).map(|()| dial))
        .map_err(|failure| words(&failure))?;
    let mut link = Link::new(dial.wait().await.map_err(|failure| words(&failure))?);
    sends.into_iter().for_each(|sends| link.set_send_limit(sends));
    match &place.tls {
        None => Ok(Transport::Plain(link)),
        Some(tls) => {
            let shaken = Secure::connect(tls.connector(None), tls.name.clone(), link).await;
            Ok(Transport::Secure(shaken.map_err(|error| format!("{}{}", tls_reason(&error, place), tls_remedy(&error, place)))?))
        }
    }
}

/// A connection that belongs to no client of a run, without deadlines.
///
/// # Errors
/// What is wrong, in words.
pub(crate) async fn open(place: &Endpoint, request: Request<'_>) -> Result<Connection, String> {
    opened(place, request).await?.map_err(|failure| words(&failure))
}

async fn opened(place: &Endpoint, request: Request<'_>) -> Result<Result<Connection, Failure>, String> {
    let transport = connected(place, NextAddress::Never, (ClientIndex(0), ConnectionNo(1)), Seed(0), None).await?;
    let mut tap = Tap::new(transport, Side::Client);
    tap.set_max_message(CONFORMANCE_MAX_MESSAGE);
    let shaken = ClientHandshake::plain(&request).shake_hands(&mut tap, &place.asked).await;
    Ok(shaken.map(|_| Connection::new(tap, Role::Client, 1)))
}

fn words(failure: &Failure) -> String {
    if let (Outcome::Rejected { status, .. }, Some(location)) = (&failure.outcome, redirect::location(failure)) {
        return format!(
            "it answered the opening handshake with HTTP {status}, a redirect to {}; write that address, or `redirects = 1` in [target.url]",
            mask_address(location)
        );
    }
    match &failure.outcome {
        Outcome::Refused => "connection refused: nothing listens on this port; start the server, or check host and port".into(),
        Outcome::TimedOut => "connecting timed out: check host, port and firewall".into(),
        Outcome::Rejected { status, .. } => format!(
            "it answered the opening handshake with HTTP {status} instead of 101; check the path, the `headers` that it requires, and \
             that this is a WebSocket server"
        ),
        Outcome::Failed { why } if why.ends_with(tls_words::WANTS) => format!("{why}{NO_CERTIFICATE}"),
        Outcome::Failed { why } if why.starts_with("tls: ") || why.starts_with("proxy: ") => why.clone(),
        Outcome::Failed { why } => {
            format!("{why}; check that this is a WebSocket server, and whether it uses TLS (wss://)")
        }
        Outcome::Abandoned => Outcome::ABANDONED.into(),
    }
}
