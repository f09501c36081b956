//! All proxies at a look: the live summary, and metrics for Prometheus.

use crate::http::exposition::Exposition;
use crate::proxy::account::{frames_json, opcode_name};
use crate::proxy::listener::ListenerTotals;
use crate::proxy::witnesses::ProxyEvents;
use serde_json::{Value, json};

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

/// All that was counted, for Prometheus.
pub(crate) fn metrics(proxies: &[ProxyTotals], events: &ProxyEvents) -> String {
    let mut text = Exposition::default();
    for (what, help, of) in [
        ("received", "bytes that a direction received", (|of| of.received) as fn(&ListenerTotals) -> [u64; 2]),
        ("sent", "bytes that a direction passed on", |of| of.passed_on),
    ] {
        let name = format!("toxiproxy_proxy_{what}_bytes_total");
        let mut metric = text.metric(&name, "counter", help);
        for proxy in proxies {
            for (direction, count) in DIRECTIONS.iter().zip(of(&proxy.totals)) {
                let labels =
                    [("direction", *direction), ("listener", proxy.listen.as_str()), ("proxy", &proxy.name), ("upstream", &proxy.upstream)];
                metric.put(&labels, count);
            }
        }
    }
    let mut metric = text.metric("closestorm_proxy_frames_total", "counter", "WebSocket frames that a direction received");
    for proxy in proxies {
        for (direction, frames) in DIRECTIONS.iter().zip(&proxy.totals.frames) {
            for (opcode, count) in frames.iter().enumerate().filter(|(_, count)| **count > 0) {
                metric.put(&[("direction", direction), ("opcode", &opcode_name(opcode)), ("proxy", &proxy.name)], count);
            }
        }
    }
    events.counts(|counts| {
        text.metric("closestorm_proxy_connections_total", "counter", "connections that were accepted").put(&[], counts.accepted);
        let open = counts.accepted.saturating_sub(counts.ended);
        text.metric("closestorm_proxy_connections_open", "gauge", "connections that are open").put(&[], open);
        let mut metric = text.metric("closestorm_proxy_handshakes_total", "counter", "opening handshakes by the status of their answer");
        counts.answers.iter().for_each(|(status, count)| metric.put(&[("status", &status.to_string())], count));
        let mut metric = text.metric("closestorm_proxy_endings_total", "counter", "connections by who ended them first, and how");
        counts.endings.iter().for_each(|((by, how), count)| metric.put(&[("by", &by.to_string()), ("how", how)], count));
        let help = "connections by the code of the first Close frame from the client and from the server";
        let mut metric = text.metric("closestorm_proxy_closes_total", "counter", help);
        for (from, codes) in ["client", "server"].iter().zip(&counts.closes) {
            codes.iter().for_each(|(code, count)| metric.put(&[("from", from), ("code", &code.to_string())], count));
        }
    });
    text.into_text()
}
