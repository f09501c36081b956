//! A search in one paragraph of plain words: what holds, what breaks first, what it means for the size of a node.

use crate::capacity::Ended;
use crate::number;
use crate::plot::capacity::limit_words;
use crate::results::capacity::{LimitRow, LostNodeRow, Search, VaryRow};

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
enum Varied {
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

fn subject(vary: &VaryRow) -> Varied {
    let ends = |end: &str| vary.key == end || vary.key.ends_with(&format!(".{end}"));
    match vary.unit.as_str() {
        "per_s" if ends("arrive.rate") || ends("arrive.poisson") => Varied::Arrivals,
        "per_s" if vary.key.contains(".traffic.") => Varied::Messages,
        "count" if vary.key == "clients" || (vary.key.starts_with("clients.") && ends("count")) => Varied::Clients,
        "percent" if ends("select.percent") => Varied::Cut,
        "s" if ends("down") => Varied::Down,
        _ => Varied::Other,
    }
}

fn holds(limit: &LimitRow, vary: &VaryRow) -> String {
    if limit.limit.is_none() {
        let low = number::observed(vary.low, &vary.unit);
        return match &limit.broke {
            Some(broke) => format!("Not even {} = {low} holds: {broke}.", vary.key),
            None => format!("It could not be determined at any value of {} whether the expectations hold.", vary.key),
        };
    }
    let words = limit_words(limit, &vary.unit);
    match subject(vary) {
        // What was asked for; what the server opened of it is in the next sentence.
        Varied::Arrivals => format!("All expectations hold while {} arrive.", words.replace(" a second", " clients a second")),
        Varied::Clients => format!("All expectations hold with {words} {}.", if words == "1" { "client" } else { "clients" }),
        Varied::Messages => format!("All expectations hold while each client sends {}.", words.replace(" a second", " messages a second")),
        Varied::Cut => format!("All expectations hold if {words} of the clients are disconnected at once."),
        Varied::Down => format!("All expectations hold if the server is down for {words}."),
        Varied::Other => format!("All expectations hold up to {} = {words}.", vary.key),
    }
}

/// Why there is no more.
fn edge(limit: &LimitRow, vary: &VaryRow) -> Vec<String> {
    let value = |value: f64| number::observed(value, &vary.unit);
    let mut sentences = Vec::new();
    let is = |ended: Ended| limit.ended == ended.name();
    if limit.limit.is_some() {
        sentences.extend(match limit.broke.as_ref().zip(limit.surely_fails) {
            _ if is(Ended::Top) && limit.limit < Some(vary.high) => Some("No larger value was tested with a clear result.".to_owned()),
            _ if is(Ended::Top) => Some("This is the end of the tested range: the limit may be higher.".to_owned()),
            _ if is(Ended::Generator) => Some(
                "At larger values the load generator reached its limit before the server did: the server's limit is at least this \
                    value."
                    .to_owned(),
            ),
            Some((broke, at)) => Some(format!("At {} they fail: {}.", value(at), broke.trim_end_matches('.'))),
            None => None,
        });
    }
    if let Some(above) = limit.held_above.first() {
        sentences
            .push(format!("The limit is not sharp: the expectations held again at {}, above a value at which they failed.", value(*above)));
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

/// What it means for the size of a node: measured where the scenario loses one, simulated where it does not.
fn node(search: &Search, limit: &LimitRow, vary: &VaryRow) -> Option<String> {
    let c = &search.capacity;
    if let Some(lost) = &c.lost_node {
        return Some(simulated(lost));
    }
    let within = number::time(c.reconnect_within_us.filter(|_| c.crashes)?);
    let clients = number::quantity(limit.limit.filter(|_| matches!(subject(vary), Varied::Clients))?);
    let noun = if clients == "1" { "client" } else { "clients" };
    let who = match c.reconnect_stat.as_deref()?.strip_prefix('p') {
        Some(percentile) => format!("{percentile} % of them are"),
        None => "all of them are".to_owned(),
    };
    let nodes = match c.instances {
        None | Some(1) => format!("With at most {clients} {noun} on a node"),
        Some(nodes) => format!("With at most {clients} {noun} on {nodes} nodes"),
    };
    Some(format!("{nodes}, {who} back within {within} of losing one: measured with this scenario."))
}

fn simulated(lost: &LostNodeRow) -> String {
    let within = number::time(lost.within_us);
    let down = if lost.down_us > 0 { format!(" that is down for {}", number::time(lost.down_us)) } else { String::new() };
    let how = format!("Simulated ({}, server as {})", lost.strategies.join(", "), lost.model);
    let more = lost.more.map(|more| {
        let back = lost.more_back_us.map_or_else(
            || format!("are not all back within {}", number::time(3 * lost.within_us)),
            |us| format!("take {}", number::time(us)),
        );
        format!("{} {back}", number::count(more))
    });
    let after = format!("after losing a node{down}");
    match (lost.clients, lost.back_us.map(number::time), more) {
        (0, _, Some(more)) => format!("{how}: no number of clients is back within {within} {after}; {more}."),
        (0, _, None) => format!("{how}: no number of clients is back within {within} {after}."),
        (clients, Some(back), Some(more)) => {
            format!(
                "{how}: {after}, up to {} of it are all back within {within} (slowest {back}); {more}.",
                number::counted(clients, "client")
            )
        }
        (clients, ..) => format!(
            "{how}: {after}, all of up to {} of that node are back within {within}, and maybe more.",
            number::counted(clients, "client")
        ),
    }
}

fn map(search: &Search, searched: &VaryRow) -> String {
    let first = &search.capacity.vary[0];
    let one = |limit: &LimitRow| {
        format!("{} at {}", limit_words(limit, &searched.unit), number::observed(limit.level.unwrap_or_default(), &first.unit))
    };
    let all: Vec<String> = search.capacity.limits.iter().map(one).collect();
    format!("Largest {} at which all expectations hold, for each {}: {}.", searched.key, first.key, all.join("; "))
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
            ("faults.cut.select.percent", "percent", 40.0, "if 40 ± 100 % of the clients are disconnected at once"),
            ("faults.crash.inject.server_crash.down", "s", 4.0, "down for 4 s ±"),
            ("target.embedded.backlog", "count", 64.0, "up to target.embedded.backlog = 64"),
        ] {
            let text = with(key, unit, limit, |_| {});
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn the_size_of_a_node_is_simulated_or_measured_and_never_divided() {
        let rate =
            |lost: LostNodeRow| with("clients.web.arrive.rate", "per_s", 230.0, |search| search.capacity.lost_node = Some(lost.clone()));
        let lost = LostNodeRow {
            within_us: 10_000_000,
            clients: 1_400,
            back_us: Some(9_700_000),
            more: Some(1_430),
            more_back_us: Some(10_200_000),
            model: "[target.embedded]".to_owned(),
            strategies: vec!["reconnecting-websocket".to_owned()],
            ..LostNodeRow::default()
        };
        let text = rate(lost.clone());
        let expected = "Simulated (reconnecting-websocket, server as [target.embedded]): after losing a node, up to 1,400 clients of it \
            are all back within 10 s (slowest 9.7 s); 1,430 take 10.2 s.";
        assert!(text.ends_with(expected), "{text}");
        let text = rate(LostNodeRow { clients: 0, back_us: None, more: Some(10), more_back_us: None, down_us: 2_000_000, ..lost });
        let expected =
            "no number of clients is back within 10 s after losing a node that is down for 2 s; 10 are not all back within 30 s.";
        assert!(text.ends_with(expected), "{text}");
        // Measured: a limit on the way back, and a crash.
        let measured = |stat: &str, crashes, instances| {
            with("clients", "count", 31_000.0, |search| {
                let c = &mut search.capacity;
                (c.reconnect_within_us, c.reconnect_stat, c.crashes, c.instances) =
                    (Some(8_000_000), Some(stat.to_owned()), crashes, instances);
            })
        };
        let text = measured("p99", true, Some(1));
        let expected =
            "With at most 31,000 clients on a node, 99 % of them are back within 8 s of losing one: measured with this scenario.";
        assert!(text.ends_with(expected), "{text}");
        assert!(measured("max", true, Some(4)).contains("31,000 clients on 4 nodes, all of them are back within 8 s of losing one"));
        // A cut by a network is no loss of a node, and without either nothing is said.
        assert!(!measured("p99", false, Some(1)).contains("node"));
        assert!(!with("clients.web.arrive.rate", "per_s", 230.0, |_| {}).contains("node"));
    }

    #[test]
    fn bounds_holes_and_nothing_are_told() {
        let top = with("clients", "count", 900.0, |search| Ended::Top.name().clone_into(&mut search.capacity.limits[0].ended));
        assert!(top.contains("at least 900 clients") && top.contains("No larger value was tested with a clear result."), "{top}");
        let generator = with("clients", "count", 900.0, |search| Ended::Generator.name().clone_into(&mut search.capacity.limits[0].ended));
        assert!(generator.contains("the load generator reached its limit"), "{generator}");
        let hole = with("clients", "count", 900.0, |search| search.capacity.limits[0].held_above = vec![950.0]);
        assert!(hole.contains("held again at 950"), "{hole}");
        assert!(plain(&nothing()).starts_with("Not even clients.page.arrive.rate = 250/s holds: no data."), "{}", plain(&nothing()));
        assert!(
            plain(&mapped()).contains("4,000 ± 100 a second at 1 s; ") && plain(&mapped()).contains("none at 8 s"),
            "{}",
            plain(&mapped())
        );
    }
}
