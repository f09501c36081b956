//! Metric and labels as text, in one order whatever the user's: what is counted has a name.

use super::{Expectation, Labels, Metric, STATS, Stat, WireLabel};
use crate::fault::Side;
use crate::units::print_duration;

impl Expectation {
    /// The distribution whose times it is about, as `latency.hlog` calls it.
    pub fn timed(&self) -> &'static str {
        match (self.metric, self.labels.resumed) {
            (Metric::Tls, Some(true)) => "tls_resumed",
            (Metric::Tls, Some(false)) => "tls_full",
            (metric, _) => metric.name(),
        }
    }

    /// What it counts: metric and labels.
    ///
    /// ```
    /// # use closestorm::expect::{Expectation, Names};
    /// let names = Names { cohorts: &["web".to_owned()], ..Names::default() };
    /// let parsed = Expectation::parse("attempts{ outcome=opened, cohort=web } peak < 5/s", names).unwrap();
    /// assert_eq!(parsed.counted(), "attempts{cohort=web,outcome=opened}");
    /// ```
    pub fn counted(&self) -> String {
        let labels = written(&self.labels);
        if labels.is_empty() { self.metric.name().to_owned() } else { format!("{}{{{}}}", self.metric.name(), labels.join(",")) }
    }

    /// What it is about, without its limit: metric, labels and stat.
    ///
    /// ```
    /// # use closestorm::expect::{Expectation, Names};
    /// let expectation = Expectation::parse("closes{reported=1006}  share>99%", Names::default()).unwrap();
    /// assert_eq!(expectation.measured(), "closes{reported=1006} share");
    /// ```
    pub fn measured(&self) -> String {
        let stat = match self.stat {
            Stat::Percentile(percentile) => percentile.to_string(),
            stat => STATS.iter().find(|row| row.1 == stat).map_or_else(String::new, |row| row.0.to_owned()),
        };
        let whole = self.whole.as_ref().map_or_else(String::new, |whole| format!("{{{}}}", written(whole).join(",")));
        format!("{} {stat}{whole}", self.counted())
    }
}

fn written(labels: &Labels) -> Vec<String> {
    let label = |name: &str, value: Option<String>| value.map(|value| format!("{name}={value}"));
    let wire = |wire: WireLabel| match wire {
        WireLabel::Nothing => "none".to_owned(),
        WireLabel::Code(code) => code.to_string(),
    };
    [
        label("cohort", labels.cohort.clone()),
        label("fault", labels.fault.clone()),
        label("outcome", labels.outcome.map(|outcome| outcome.name().to_owned())),
        label("status", labels.status.map(|status| status.to_string())),
        label("name", labels.name.clone()),
        label("dir", labels.dir.map(|dir| dir.name().to_owned())),
        label("reported", labels.reported.map(|code| code.to_string())),
        label("wire", labels.wire.map(wire)),
        label("side", (labels.side == Side::Server).then(|| "server".to_owned())),
        label("cause", labels.cause.clone()),
        label("tcp_end", labels.tcp_end.map(|end| end.to_string())),
        label("tls_end", labels.tls_end.map(|end| end.to_string())),
        label("resumed", labels.resumed.map(|resumed| resumed.to_string())),
        label("clean", labels.clean.map(|clean| clean.to_string())),
        label("from", labels.from.map(print_duration)),
        label("to", labels.to.map(print_duration)),
    ]
    .into_iter()
    .flatten()
    .collect()
}
