//! What the clients and the faults of a run share.

use super::dead_paths;
use super::hits::Hits;
use super::http_places::HttpPlaces;
use super::pacer::Pacer;
use super::rate_cap::RateCap;
use super::registry::Registry;
use super::request_template;
use super::source_address::Sources;
use super::under_way::UnderWayFirings;
use crate::event::{ClientIndex, Event};
use crate::metrics::Status;
use crate::plan::{Firing, Plan, Shard};
use crate::recorder::SharedRecorder;
use crate::sut::Fleet;
use crate::sut::error::RunError;
use crate::sut::target_events::TargetEvents;
use crate::ws::handshake::client::RequestTemplate;
use crate::ws::handshake::own_headers::Id;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// What the parts of a run share.
pub(crate) struct RunContext {
    pub(crate) plan: Arc<Plan>,
    /// The clients of this process; the whole where it has none.
    pub(crate) shard: Shard,
    pub(crate) journal: Arc<SharedRecorder>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) pacer: Arc<Pacer>,
    /// Who else has clients.
    pub(crate) crew: TargetEvents,
    /// Another process has the servers, and tells what happens to them.
    pub(crate) follows: bool,
    /// Worker processes have the clients; this one has the servers.
    pub(crate) leads: bool,
    /// The clients are real ones, who come to the servers by themselves.
    pub(crate) real: bool,
    /// Connections that a fault on a server process, by firing and instance, is about to act on.
    pub(crate) marked: Mutex<HashMap<(Firing, u16), Vec<Id>>>,
    pub(crate) sources: Sources,
    /// Opening requests by cohort and instance, as far as attempts have them in common.
    pub(crate) forms: Vec<Vec<Result<RequestTemplate, String>>>,
    /// Offset 0 by the clock for people, µs since 1970: what timestamps of messages are compared with.
    pub(crate) start_wall_us: i64,
    /// Leave to connect.
    pub(crate) connect_permits: Semaphore,
    /// How much load is allowed.
    pub(crate) caps: RateCap,
    /// Where HTTP requests before connections go.
    pub(crate) http_places: HttpPlaces,
    pub(crate) under_way: UnderWayFirings,
    pub(crate) dead_paths: dead_paths::DeadPaths,
    /// What faults may hit, here or in the process that leads.
    pub(crate) hits: Hits,
}

impl RunContext {
    /// Counts one more connection to be opened against the user's limit, waits until it may be, and tells of it.
    pub(crate) async fn one_more_attempt(&self) {
        if let Some(why) = self.caps.attempt(|| self.journal.now()).await {
            self.journal.record(&Event::LoadLimit { what: why.to_owned() });
        }
    }

    pub(crate) fn new(
        plan: Arc<Plan>,
        clients: Option<Shard>,
        hits: Hits,
        journal: Arc<SharedRecorder>,
        fleet: Arc<Fleet>,
        crew: TargetEvents,
    ) -> Result<Arc<RunContext>, RunError> {
        let shard = clients.unwrap_or(Shard::WHOLE);
        let count = if clients.is_some() { plan.clients() } else { 0 };
        let registry = Arc::new(Registry::new(count, shard));
        let sources = if fleet.is_in_memory() { Sources::one_each(plan.clients()) } else { Sources::of(&plan, fleet.place(0).address)? };
        let form = |cohort| fleet.named(None).into_iter().map(|instance| request_template::form(cohort, fleet.place(instance))).collect();
        let forms = plan.cohorts.iter().map(form).collect();
        let (pacer, marked, turns) = (Arc::default(), Mutex::default(), Semaphore::new(request_template::CONNECT_BURST));
        let telling = journal.clone();
        let tell = move |what: &str| telling.record(&Event::LoadLimit { what: what.to_owned() });
        let caps = RateCap::of(&plan.limits.caps(fleet.is_here()), shard, tell);
        let (follows, leads, real) = (false, clients.is_none(), fleet.is_of_real);
        let (under_way, dead_paths) = (UnderWayFirings::default(), dead_paths::DeadPaths::default());
        let start_wall_us = journal.start_wall_us();
        Ok(Arc::new(RunContext {
            plan,
            shard,
            journal,
            start_wall_us,
            registry,
            fleet,
            pacer,
            sources,
            crew,
            follows,
            leads,
            real,
            marked,
            forms,
            connect_permits: turns,
            caps,
            http_places: HttpPlaces::default(),
            under_way,
            dead_paths,
            hits,
        }))
    }

    /// Tells what should have been done to server processes and is not done when the run ends, and which faults were never due.
    pub(crate) fn tell_what_is_left(&self, status: Status) {
        let at = self.journal.now().min(self.plan.duration.saturating_sub(Duration::from_nanos(1)));
        for (Firing { fault, number }, why) in self.under_way.left(at) {
            self.journal.record_at(at, &Event::NotCarriedOut { fault: Some(fault), firing: number, why });
        }
        // Of a run that was stopped nobody can tell; and one process speaks for all.
        if status == Status::Completed && !self.follows {
            self.plan.never_due().for_each(|fault| self.journal.record_at(at, &Event::not_due(fault)));
        }
    }

    /// Whether a message of a client can go out now: its frames are counted when they do.
    ///
    /// # Errors
    /// It could not before this offset; the run says that it waited.
    pub(crate) fn may_send(&self, client: ClientIndex) -> Result<(), Duration> {
        let Some(sends) = &self.caps.sends else { return Ok(()) };
        let bytes = self.plan.cohorts[self.plan.cohort_of(client)].traffic.message_bytes();
        sends.has_room(bytes as usize).map_err(|free| self.journal.offset_of(free))
    }

    /// What the opening requests of a client to an instance have in common, or why it has none.
    pub(crate) fn form(&self, client: ClientIndex, instance: u16) -> Result<&RequestTemplate, &String> {
        self.forms[self.plan.cohort_of(client)][usize::from(instance)].as_ref()
    }
}
