//! Metrics of a run under way for Prometheus. Names end in their unit, times are in seconds; counts are since the start of the run.

use crate::http::exposition::Exposition;
use crate::plan::Plan;
use crate::snapshots::Update;

/// Upper edges of the buckets of times to reconnect, in µs: as exact as the stream, whose times have two digits.
const BUCKETS_US: [u64; 14] = [
    10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_000_000, 3_000_000, 5_000_000, 10_000_000, 20_000_000, 30_000_000,
    60_000_000,
];

/// Names of a run's parts.
#[derive(Debug)]
pub(super) struct MetricLabels {
    scenario: String,
    seed: String,
    duration_s: f64,
    clients: u64,
    cohorts: Vec<String>,
    faults: Vec<(String, &'static str)>,
}

impl MetricLabels {
    pub(super) fn of(plan: &Plan) -> MetricLabels {
        MetricLabels {
            scenario: plan.name.clone(),
            seed: plan.seed.0.to_string(),
            duration_s: plan.duration.as_secs_f64(),
            clients: u64::from(plan.clients()),
            cohorts: plan.cohorts.iter().map(|cohort| cohort.name.clone()).collect(),
            faults: plan.faults.iter().map(|fault| (fault.name.clone(), fault.inject.row.kind)).collect(),
        }
    }

    /// The run as it stands.
    pub(super) fn text(&self, update: &Update) -> String {
        let Update { at, state, .. } = update;
        let mut text = Exposition::default();
        text.metric("closestorm_run_info", "gauge", "The run: always 1.").put(&[("scenario", &self.scenario), ("seed", &self.seed)], 1);
        text.metric("closestorm_run_duration_seconds", "gauge", "Planned length of the run.").put(&[], self.duration_s);
        text.metric("closestorm_run_elapsed_seconds", "gauge", "Time since the first due arrival.").put(&[], at.as_secs_f64());
        let gauges = [
            ("closestorm_clients_planned", "Clients of the plan.", self.clients),
            ("closestorm_clients_open", "Clients with an open connection.", state.open),
            ("closestorm_clients_ready", "Clients whose open connection is ready.", state.ready),
            ("closestorm_clients_disconnected", "Clients that lost a connection and are not ready again.", state.disconnected),
        ];
        gauges.into_iter().for_each(|(name, help, value)| text.metric(name, "gauge", help).put(&[], value));
        let counters = [
            ("closestorm_clients_lost_total", "Clients that gave up.", state.lost),
            ("closestorm_attempts_started_total", "Connection attempts begun.", state.ledger.attempts.total),
            ("closestorm_connections_ended_total", "Connections that ended.", state.ledger.closed),
            ("closestorm_messages_sent_total", "Messages that clients sent.", state.sent),
            ("closestorm_messages_received_total", "Messages that clients received.", state.received),
        ];
        counters.into_iter().for_each(|(name, help, value)| text.metric(name, "counter", help).put(&[], value));
        let attempts = &state.ledger.attempts;
        let mut metric = text.metric("closestorm_attempts_total", "counter", "Connection attempts that ended, by outcome.");
        for (outcome, count) in [
            ("opened", attempts.opened),
            ("refused", attempts.refused),
            ("timed_out", attempts.timed_out),
            ("rejected", attempts.rejected),
            ("failed", attempts.failed),
            ("abandoned", attempts.abandoned),
        ] {
            metric.put(&[("outcome", outcome)], count);
        }
        let mut metric =
            text.metric("closestorm_closes_total", "counter", "Connections that ended, by the close code that the client app sees.");
        state.closes.iter().for_each(|(code, count)| metric.put(&[("code", &code.to_string())], count));
        let mut metric = text.metric("closestorm_cohort_open", "gauge", "Clients of a cohort with an open connection.");
        let cohorts = || self.cohorts.iter().zip(&state.cohorts);
        cohorts().for_each(|(name, cohort)| metric.put(&[("cohort", name)], cohort.open));
        let mut metric = text.metric("closestorm_cohort_attempts_started_total", "counter", "Connection attempts begun by a cohort.");
        cohorts().for_each(|(name, cohort)| metric.put(&[("cohort", name)], cohort.attempts));
        let faults = || self.faults.iter().zip(&state.faults);
        let mut metric = text.metric("closestorm_fault_firings_total", "counter", "Firings of a fault.");
        faults().for_each(|((name, kind), fault)| metric.put(&[("fault", name), ("kind", kind)], fault.fired));
        let mut metric = text.metric("closestorm_fault_hits_total", "counter", "Connections and attempts on which a fault acted.");
        faults().for_each(|((name, kind), fault)| metric.put(&[("fault", name), ("kind", kind)], fault.injected));
        self.reconnect(&mut text, update);
        text.into_text()
    }

    /// Those that ended; those under way are `closestorm_clients_disconnected`.
    fn reconnect(&self, text: &mut Exposition, update: &Update) {
        let times = &update.state.reconnect;
        let help = "Time from a fault until its client was ready again, of outages that ended; each rounded up to two digits.";
        let mut metric = text.metric("closestorm_reconnect_seconds", "histogram", help);
        let within = |edge: u64| times.steps().filter(|(us, _)| *us <= edge).map(|(_, count)| count).sum::<u64>();
        for edge in BUCKETS_US {
            metric.ending("_bucket", &[("le", &(edge as f64 / 1e6).to_string())], within(edge));
        }
        let all = within(u64::MAX);
        metric.ending("_bucket", &[("le", "+Inf")], all);
        metric.ending("_sum", &[], times.steps().map(|(us, count)| us as f64 / 1e6 * count as f64).sum::<f64>());
        metric.ending("_count", &[], all);
    }
}
