//! All proxies at a look: the live summary, and metrics for Prometheus.

use crate::proxy::account::{frames_json, opcode_name};
use crate::proxy::listener::ListenerTotals;
use crate::proxy::witnesses::ProxyEvents;
use serde_json::{Value, json};
use std::fmt::{Display, Write};

/// Directions as Toxiproxy names them: from the client, from the upstream.
const DIRECTIONS: [&str; 2] = ["upstream", "downstream"];

/// What one proxy has counted.
pub(crate) struct ProxyTotals {
    pub(crate) name: String,
    pub(crate) listen: String,
    pub(crate) upstream: String,
    pub(crate) totals: ListenerTotals,
}

/// All that was counted, as JSON.
pub(crate) fn summary(proxies: &[ProxyTotals], events: &ProxyEvents) -> Value {
    let mut all = ListenerTotals::default();
    proxies.iter().for_each(|proxy| all.add(&proxy.totals));
    let direction =
        |at: usize| json!({ "received_bytes": all.received[at], "sent_bytes": all.passed_on[at], "frames": frames_json(&all.frames[at]) });
    let mut json = events.counts(|counts| counts.json(events.labels().map(|labels| labels.key().to_string())));
    (json["up"], json["down"]) = (direction(0), direction(1));
    json
}

/// All that was counted, as Prometheus reads it: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
pub(crate) fn metrics(proxies: &[ProxyTotals], events: &ProxyEvents) -> String {
    let mut text = String::new();
    for (what, help, of) in [
        ("received", "bytes that a direction received", (|of| of.received) as fn(&ListenerTotals) -> [u64; 2]),
        ("sent", "bytes that a direction passed on", |of| of.passed_on),
    ] {
        let metric = head(&mut text, &format!("toxiproxy_proxy_{what}_bytes_total"), help, "counter");
        for proxy in proxies {
            for (direction, count) in DIRECTIONS.iter().zip(of(&proxy.totals)) {
                let labels =
                    [("direction", *direction), ("listener", proxy.listen.as_str()), ("proxy", &proxy.name), ("upstream", &proxy.upstream)];
                line(&mut text, &metric, &labels, count);
            }
        }
    }
    let metric = head(&mut text, "closestorm_proxy_frames_total", "WebSocket frames that a direction received", "counter");
    for proxy in proxies {
        for (direction, frames) in DIRECTIONS.iter().zip(&proxy.totals.frames) {
            for (opcode, count) in frames.iter().enumerate().filter(|(_, count)| **count > 0) {
                line(&mut text, &metric, &[("direction", direction), ("opcode", &opcode_name(opcode)), ("proxy", &proxy.name)], count);
            }
        }
    }
    events.counts(|counts| {
        let metric = head(&mut text, "closestorm_proxy_connections_total", "connections that were accepted", "counter");
        line(&mut text, &metric, &[], counts.accepted);
        let metric = head(&mut text, "closestorm_proxy_connections_open", "connections that are open", "gauge");
        line(&mut text, &metric, &[], counts.accepted.saturating_sub(counts.ended));
        let metric = head(&mut text, "closestorm_proxy_handshakes_total", "opening handshakes by the status of their answer", "counter");
        for (status, count) in &counts.answers {
            line(&mut text, &metric, &[("status", &status.to_string())], count);
        }
        let metric = head(&mut text, "closestorm_proxy_endings_total", "connections by who ended them first, and how", "counter");
        for ((by, how), count) in &counts.endings {
            line(&mut text, &metric, &[("by", &by.to_string()), ("how", how)], count);
        }
        let help = "connections by the code of the first Close frame from the client and from the server";
        let metric = head(&mut text, "closestorm_proxy_closes_total", help, "counter");
        for (from, codes) in ["client", "server"].iter().zip(&counts.closes) {
            for (code, count) in codes {
                line(&mut text, &metric, &[("from", from), ("code", &code.to_string())], count);
            }
        }
    });
    text
}

fn head(text: &mut String, metric: &str, help: &str, of: &str) -> String {
    let _ = writeln!(text, "# HELP {metric} {help}\n# TYPE {metric} {of}");
    metric.to_owned()
}

fn line(text: &mut String, metric: &str, labels: &[(&str, &str)], count: impl Display) {
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", label(value))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "{metric}{labels} {count}");
}

/// A value of a label.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
