//! A search in one paragraph of plain words: what holds, what breaks first, what it means for the size of a node.

use crate::capacity::Ended;
use crate::plot::capacity::limit_words;
use crate::plot::number;
use crate::results::capacity::{LimitRow, Search, VaryRow};

/// In which everybody should be back, where the scenario does not say: µs.
const BACK_WITHIN_US: u64 = 10_000_000;

/// The paragraph.
pub fn plain(search: &Search) -> String {
    let c = &search.capacity;
    let searched = search.searched();
    if c.vary.len() > 1 {
        return map(search, searched);
    }
    let limit = &c.limits[0];
    let mut sentences = vec![holds(limit, searched)];
    sentences.extend(edge(limit, searched));
    sentences.extend(there(search, limit));
    sentences.extend(node(search, limit, searched));
    sentences.join(" ")
}

/// What is varied: what the sentence is about.
enum Subject {
    /// Connections that arrive in a second.
    Arrivals,
    /// Clients.
    Clients,
    /// Messages in a second of each client.
    Messages,
    /// Clients that are cut at once.
    Cut,
    /// How long the server is away.
    Down,
    /// Anything else.
    Other,
}

fn subject(vary: &VaryRow) -> Subject {
    let ends = |end: &str| vary.key == end || vary.key.ends_with(&format!(".{end}"));
    match vary.unit.as_str() {
        "per_s" if ends("arrive.rate") || ends("arrive.poisson") => Subject::Arrivals,
        "per_s" if vary.key.contains(".traffic.") => Subject::Messages,
        "count" if vary.key == "clients" || (vary.key.starts_with("clients.") && ends("count")) => Subject::Clients,
        "percent" if ends("select.percent") => Subject::Cut,
        "s" if ends("down") => Subject::Down,
        _ => Subject::Other,
    }
}

fn holds(limit: &LimitRow, vary: &VaryRow) -> String {
    if limit.limit.is_none() {
        let low = number::observed(vary.low, &vary.unit);
        return match &limit.broke {
            Some(broke) => format!("Not even {} = {low} holds: {broke}.", vary.key),
            None => format!("At no value of {} could be told whether the expectations hold.", vary.key),
        };
    }
    let words = limit_words(limit, &vary.unit);
    match subject(vary) {
        // What was asked for; what the server opened of it is in the next sentence.
        Subject::Arrivals => format!("All expectations hold while {} arrive.", words.replace(" a second", " clients a second")),
        Subject::Clients => format!("All expectations hold with {words} clients."),
        Subject::Messages => format!("All expectations hold while each client sends {}.", words.replace(" a second", " messages a second")),
        Subject::Cut => format!("All expectations hold while {words} of the clients are cut at once."),
        Subject::Down => format!("All expectations hold while the server is away for {words}."),
        Subject::Other => format!("All expectations hold up to {} = {words}.", vary.key),
    }
}

/// Why there is no more.
fn edge(limit: &LimitRow, vary: &VaryRow) -> Vec<String> {
    let value = |value: f64| number::observed(value, &vary.unit);
    let mut sentences = Vec::new();
    let is = |ended: Ended| limit.ended == ended.name();
    if limit.limit.is_some() {
        sentences.extend(match limit.broke.as_ref().zip(limit.surely_fails) {
            _ if is(Ended::Top) => Some("That is the end of the range: the limit may be higher.".to_owned()),
            _ if is(Ended::Generator) => {
                Some("Beyond it closestorm itself was the limit, not the server: what the server can do is at least that.".to_owned())
            }
            Some((broke, at)) => Some(format!("At {} they no longer do: {}.", value(at), broke.trim_end_matches('.'))),
            None => None,
        });
    }
    if let Some(above) = limit.held_above.first() {
        sentences.push(format!("The edge is not a clean one: {} held again, above a value that failed.", value(*above)));
    }
    sentences
}

fn there(search: &Search, limit: &LimitRow) -> Option<String> {
    let c = &search.capacity;
    let (rate, p99) = (limit.throughput_per_s?, limit.p99_us);
    let what = if c.throughput == "echoed" { "messages echoed" } else { "connections opened" };
    let latency = plural(&c.latency);
    let p99 = p99.map(|us| format!(", and 99 % of {latency} took at most {}", number::time(us))).unwrap_or_default();
    Some(format!("At that load {} {what} a second{p99}.", number::quantity(rate.round())))
}

/// What a latency is of: `opening handshakes`.
fn plural(latency: &str) -> String {
    match latency {
        "rtt" | "rtt_from_sent" => "round trips".to_owned(),
        "reconnect_time" => "outages".to_owned(),
        "tcp_connect" => "TCP connects".to_owned(),
        "tls" => "TLS handshakes".to_owned(),
        "opening_handshake" | "closing_handshake" => format!("{}s", latency.replace('_', " ")),
        other => format!("times of {other}"),
    }
}

/// What it means for the size of a node: measured where the scenario loses one, computed from the rate where it does not.
fn node(search: &Search, limit: &LimitRow, vary: &VaryRow) -> Option<String> {
    let c = &search.capacity;
    let limit_at = limit.limit?;
    let within = c.reconnect_within_us.unwrap_or(BACK_WITHIN_US);
    match subject(vary) {
        Subject::Clients => {
            let within = c.reconnect_within_us?;
            Some(format!(
                "To have everybody back in {} after losing one node, keep at most {} clients per node.",
                number::time(within),
                number::quantity(limit_at)
            ))
        }
        Subject::Arrivals => {
            let down = c.down_us.unwrap_or(0);
            let left = within.saturating_sub(down) as f64 / 1e6;
            let clients = two_digits_down(limit_at * left);
            let away = if down > 0 { format!(" that is away for {}", number::time(down)) } else { String::new() };
            (clients > 0.0).then(|| {
                format!(
                    "To have everybody back in {} after losing one node{away}, keep at most {} clients per node: computed from that rate, not measured, for clients that all come at once.",
                    number::time(within),
                    number::quantity(clients)
                )
            })
        }
        _ => None,
    }
}

/// Rounded down to two digits: advice is not to promise more than the measurement.
fn two_digits_down(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1.0).log10().floor() - 1.0).max(1.0);
    (value / power).floor() * power
}

fn map(search: &Search, searched: &VaryRow) -> String {
    let first = &search.capacity.vary[0];
    let one = |limit: &LimitRow| {
        format!("{} at {}", limit_words(limit, &searched.unit), number::observed(limit.level.unwrap_or_default(), &first.unit))
    };
    let all: Vec<String> = search.capacity.limits.iter().map(one).collect();
    format!("The largest {} at which all expectations hold, by {}: {}.", searched.key, first.key, all.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture::{found, mapped, nothing};

    fn with(key: &str, unit: &str, limit: f64, change: impl Fn(&mut Search)) -> String {
        let mut search = found();
        (search.capacity.vary[0].key, search.capacity.vary[0].unit) = (key.to_owned(), unit.to_owned());
        search.capacity.limits[0].limit = Some(limit);
        change(&mut search);
        plain(&search)
    }

    #[test]
    fn each_parameter_has_its_sentence() {
        for (key, unit, limit, part) in [
            ("clients.web.arrive.rate", "per_s", 3_900.0, "All expectations hold while 3,900 ± 100 clients a second arrive."),
            ("clients", "count", 31_000.0, "All expectations hold with 31,000 ± 100 clients."),
            ("clients.web.traffic.echo.rate", "per_s", 20.0, "while each client sends 20 ± 100 messages a second"),
            ("faults.cut.select.percent", "percent", 40.0, "while 40 ± 100 % of the clients are cut at once"),
            ("faults.crash.inject.server_crash.down", "s", 4.0, "away for 4 s ±"),
            ("target.embedded.backlog", "count", 64.0, "up to target.embedded.backlog = 64"),
        ] {
            let text = with(key, unit, limit, |_| {});
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn the_size_of_a_node_is_computed_from_a_rate_and_measured_from_clients() {
        let rate = with("clients.web.arrive.rate", "per_s", 3_900.0, |search| search.capacity.down_us = Some(2_000_000));
        assert!(
            rate.contains("back in 10 s after losing one node that is away for 2 s, keep at most 31,000 clients per node: computed"),
            "{rate}"
        );
        let clients = with("clients", "count", 31_000.0, |search| search.capacity.reconnect_within_us = Some(8_000_000));
        assert!(
            clients.contains("To have everybody back in 8 s after losing one node, keep at most 31,000 clients per node."),
            "{clients}"
        );
        assert!(!with("clients", "count", 31_000.0, |_| {}).contains("per node"), "nothing was lost, nothing is advised");
    }

    #[test]
    fn bounds_holes_and_nothing_are_told() {
        let top = with("clients", "count", 900.0, |search| Ended::Top.name().clone_into(&mut search.capacity.limits[0].ended));
        assert!(top.contains("at least 900 clients") && top.contains("end of the range"), "{top}");
        let generator = with("clients", "count", 900.0, |search| Ended::Generator.name().clone_into(&mut search.capacity.limits[0].ended));
        assert!(generator.contains("closestorm itself was the limit"), "{generator}");
        let hole = with("clients", "count", 900.0, |search| search.capacity.limits[0].held_above = vec![950.0]);
        assert!(hole.contains("950 held again"), "{hole}");
        assert!(plain(&nothing()).starts_with("Not even clients.page.arrive.rate = 250/s holds: no data."), "{}", plain(&nothing()));
        assert!(
            plain(&mapped()).contains("4,000 ± 100 a second at 1 s; ") && plain(&mapped()).contains("none at 8 s"),
            "{}",
            plain(&mapped())
        );
    }
}
