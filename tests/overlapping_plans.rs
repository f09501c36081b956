//! Random plans for a comparison of two worlds that carry out the same plan: many kinds of fault that stand at the same time, several
//! instances, restarts, stays, selectors, presets. A plan that differs is made small before it is shown.
//!
//! All times are whole milliseconds, as tokio's timers are.

use closestorm::plan::Plan;
use closestorm::reconnect::presets;
use closestorm::scenario::{Overrides, Source, load_with};
use closestorm::seed::{Seed, Stream};

/// A table of a scenario: what it must have, and what it may be without.
#[derive(Clone, Debug)]
struct Table {
    must: Vec<String>,
    may: Vec<String>,
}

/// A scenario that can be made smaller.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    target: Table,
    cohorts: Vec<Table>,
    faults: Vec<Table>,
}

/// Kinds that the simulator carries out, for each side that has them; `#` is a random time of up to two seconds, `~` one of up to 300 ms.
const KINDS: &[(&str, &str)] = &[
    ("", "server_crash = { down = \"#\" }"),
    ("", "server_crash = { instance = 0, down = \"#\" }"),
    ("", "server_graceful = { spread = \"#\", down = \"#\" }"),
    ("", "server_graceful = { spread = \"0s\", down = \"#\", grace = \"#\" }"),
    ("", "server_restart_rolling = { interval = \"#\", down = \"#\" }"),
    ("", "server_restart_rolling = { interval = \"#\", down = \"#\", mode = \"crash\" }"),
    ("server", "close_code = { code = 1012, reason = \"restart\" }"),
    ("client", "close_code = { code = 4000 }"),
    ("server", "close_code = { code = 1001 }"),
    ("server", "close_empty = {}"),
    ("client", "close_empty = {}"),
    ("server", "drop_rst = {}"),
    ("client", "drop_rst = {}"),
    ("server", "drop_fin = {}"),
    ("client", "drop_fin = {}"),
    ("client", "client_crash = {}"),
    ("client", "client_network_switch = { gap = \"#\" }"),
    ("client", "blackhole = { on_revert = \"resume\" }"),
    ("server", "blackhole = { on_revert = \"resume\" }"),
    ("client", "blackhole = {}"),
    ("server", "blackhole = {}"),
    ("client", "freeze = {}"),
    ("server", "freeze = {}"),
    ("client", "stop_reading = {}"),
    ("server", "stop_reading = {}"),
    ("", "connect_refuse = {}"),
    ("", "connect_refuse = { instance = 0 }"),
    ("", "backlog_full = { backlog = 3 }"),
    ("", "backlog_full = { backlog = 0 }"),
    ("", "accept_stall = {}"),
    ("", "accept_stall = { hold = \"#\" }"),
    ("", "accept_fin = { delay = \"~\" }"),
    ("", "accept_rst = {}"),
    ("", "upgrade_status = { status = 503, retry_after = \"1s\" }"),
    ("", "upgrade_redirect = {}"),
    ("", "upgrade_delay = { delay = \"#\" }"),
    ("", "server_overload = {}"),
];
/// Stops all threads of a process: on sockets only.
const PROCESSES: &[(&str, &str)] = &[("", "server_pause = {}")];
/// Kinds that end at once take no `for`.
const AT_ONCE: &[&str] = &[
    "server_crash",
    "server_graceful",
    "server_restart_rolling",
    "close_code",
    "close_empty",
    "drop_",
    "client_crash",
    "client_network_switch",
];
/// Kinds that are about whole instances take no `select`.
const WHOLE: &[&str] = &["server_crash", "server_graceful", "server_restart_rolling", "server_pause", "connect_", "backlog_"];
/// Kinds that select among open connections, and with `new` among those that open later.
const CONNECTIONS: &[&str] = &["close_", "drop_", "blackhole", "freeze", "stop_reading", "client_"];
const STRATEGIES: &[&str] = &[
    "{ fixed = { delay = \"#\" } }",
    "{ linear = { base = \"~\", step = \"200ms\", cap = \"2s\" } }",
    "{ exponential = { base = \"300ms\", factor = 2, cap = \"3s\", jitter = \"full\" } }",
    "{ exponential = { base = \"300ms\", factor = 2, cap = \"3s\", jitter = \"equal\" } }",
    "{ exponential = { base = \"100ms\", factor = 2, cap = \"2s\", jitter = \"none\" } }",
    "{ preset = \"reconnecting-websocket\", max_retries = 1 }",
    "\"none\"",
];

/// What an opening handshake costs, and what lies between two arrivals, ms: primes, so that their multiples seldom meet.
const COSTS: &[u64] = &[23, 31, 37, 43, 53, 61, 67];
const GAPS: &[u64] = &[3, 7, 13, 29, 41, 59, 71, 79, 97, 113];

impl Draft {
    /// Number `number`: the same for the same. `processes`: with kinds that need a process.
    pub(crate) fn new(number: u64, processes: bool) -> Draft {
        let random = &mut Seed(number).stream("overlapping plan");
        let seconds = 6 + random.below(7);
        let mut target = Table { must: vec![format!("duration = \"{seconds}s\""), format!("seed = {number}")], may: Vec::new() };
        target.must.push("[target.embedded]".to_owned());
        let balance = ["random", "sticky", "healthy"][random.below(3) as usize];
        for (one_in, line) in [
            (2, format!("instances = {}", 2 + random.below(2))),
            (2, format!("handshake_cost = \"{}ms\"", one_of(COSTS, random))),
            (4, format!("max_connections = {}", 5 + random.below(30))),
            (6, "admit = { rate = \"20/s\", burst = 5, retry_after = \"1s\" }".to_owned()),
            (5, format!("parallel = {}", 2 + random.below(3))),
            (6, "queue = \"lifo\"".to_owned()),
            (3, format!("balance = \"{balance}\"")),
        ] {
            if random.below(one_in) == 0 {
                target.may.push(line);
            }
        }
        let cohorts: Vec<_> = (0..1 + random.below(3)).map(|index| cohort(index, random)).collect();
        let kinds = if processes { [KINDS, PROCESSES].concat() } else { KINDS.to_vec() };
        let faults = (0..1 + random.below(4)).map(|index| fault(index, seconds, cohorts.len() as u64, &kinds, random)).collect();
        Draft { target, cohorts, faults }
    }

    /// As a scenario.
    pub(crate) fn text(&self) -> String {
        let tables = std::iter::once(&self.target).chain(&self.cohorts).chain(&self.faults);
        tables.flat_map(|table| table.must.iter().chain(&table.may)).fold(String::new(), |text, line| text + line + "\n")
    }

    /// Its plan, which keeps every event. `None`: a combination that a scenario may not have.
    pub(crate) fn plan(&self) -> Option<Plan> {
        let source = Source::Text { name: "random".to_owned(), text: self.text() };
        let plan = load_with(&source, &Overrides::default(), &|_| None).ok()?;
        Some(Plan { all_events: true, ..plan })
    }

    /// The same with all times some milliseconds longer, by the numbers of a stream: what is only a matter of two things in the same instant
    /// is none there.
    pub(crate) fn moved(&self, seed: u64) -> Draft {
        let random = &mut Seed(seed).stream("moved");
        let mut moved = self.clone();
        let tables = std::iter::once(&mut moved.target).chain(&mut moved.cohorts).chain(&mut moved.faults);
        for table in tables {
            let count = table.must.iter().find_map(|line| line.strip_prefix("count = ")?.parse().ok()).unwrap_or(1_u64);
            for line in table.must.iter_mut().chain(&mut table.may) {
                *line = if line.starts_with("reconnect") {
                    // Clients that a fault hits together do not come back together.
                    let base = 1_000 + random.below(1_500);
                    format!("reconnect = {{ exponential = {{ base = \"{base}ms\", factor = 2, cap = \"5s\", jitter = \"equal\" }} }}")
                } else if line.starts_with("arrive") {
                    format!("arrive = {{ over = \"{}ms\" }}", count * one_of(GAPS, random))
                } else if line.starts_with("handshake_cost") {
                    format!("handshake_cost = \"{}ms\"", one_of(COSTS, random))
                } else {
                    times(line, &mut |ms| ms + 1 + random.below(6))
                };
            }
        }
        moved
    }

    /// The smallest that can be reached by leaving out and making less one by one, of which this still holds.
    pub(crate) fn smallest(&self, holds: &dyn Fn(&Draft) -> bool) -> Draft {
        let mut small = self.clone();
        while let Some(smaller) = small.smaller().into_iter().find(|draft| holds(draft)) {
            small = smaller;
        }
        small
    }

    /// All that are one step smaller, the greatest steps first.
    fn smaller(&self) -> Vec<Draft> {
        let mut all = Vec::new();
        let mut with = |change: &dyn Fn(&mut Draft)| {
            let mut draft = self.clone();
            change(&mut draft);
            all.push(draft);
        };
        (0..self.faults.len()).for_each(|place| with(&|draft| drop(draft.faults.remove(place))));
        (0..self.cohorts.len().saturating_sub(1)).for_each(|place| with(&|draft| drop(draft.cohorts.remove(place + 1))));
        if self.cohorts.len() > 1 {
            with(&|draft| drop(draft.cohorts.remove(0)));
        }
        (0..self.target.may.len()).for_each(|place| with(&|draft| drop(draft.target.may.remove(place))));
        for (cohort, table) in self.cohorts.iter().enumerate() {
            (0..table.may.len()).for_each(|place| with(&|draft| drop(draft.cohorts[cohort].may.remove(place))));
        }
        for (fault, table) in self.faults.iter().enumerate() {
            (0..table.may.len()).for_each(|place| with(&|draft| drop(draft.faults[fault].may.remove(place))));
        }
        for (cohort, table) in self.cohorts.iter().enumerate() {
            let count = table.must.iter().position(|line| line.starts_with("count = ")).unwrap_or_default();
            let of: u64 = table.must[count].trim_start_matches("count = ").parse().unwrap_or_default();
            for less in [1, of / 2, of.saturating_sub(1)] {
                if less > 0 && less < of {
                    let each = |over: u64| (over / of).max(1) * less;
                    with(&|draft| {
                        let must = &mut draft.cohorts[cohort].must;
                        must[count] = format!("count = {less}");
                        must[count + 1] = times(&must[count + 1], &mut |over| each(over));
                    });
                }
            }
        }
        all
    }

    /// Whether a fault of one of these kinds is in it.
    pub(crate) fn has(&self, kinds: &[&str]) -> bool {
        let injects =
            |table: &Table| table.must.iter().any(|line| kinds.iter().any(|kind| line.starts_with(&format!("inject = {{ {kind}"))));
        self.faults.iter().any(injects)
    }

    /// Whether a line of it begins like this.
    pub(crate) fn says(&self, words: &str) -> bool {
        self.text().lines().any(|line| line.starts_with(words))
    }

    /// The kinds of its faults, with their sides.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let kind = |table: &Table| {
            let line = table.must.iter().find_map(|line| line.strip_prefix("inject = { ")).unwrap_or_default();
            let side = table.must.iter().find_map(|line| line.strip_prefix("side = ")).unwrap_or_default().trim_matches('"');
            let new = if table.may.iter().any(|line| line == "new = true") { " new" } else { "" };
            format!("{} {side}{new}", line.split(' ').next().unwrap_or_default())
        };
        let mut kinds: Vec<_> = self.faults.iter().map(kind).collect();
        kinds.sort();
        kinds
    }
}

fn cohort(index: u64, random: &mut Stream) -> Table {
    let count = 2 + random.below(19);
    let mut must = vec![format!("[clients.c{index}]"), format!("count = {count}")];
    // Whole milliseconds between two arrivals.
    must.push(format!("arrive = {{ over = \"{}ms\" }}", count * one_of(GAPS, random)));
    let preset = || presets().map(|preset| preset.id.as_str()).collect::<Vec<_>>();
    let strategy = match random.below(2) {
        0 => random_times(STRATEGIES[random.below(STRATEGIES.len() as u64) as usize], random),
        _ => {
            let all = preset();
            format!("\"{}\"", all[random.below(all.len() as u64) as usize])
        }
    };
    must.push(format!("reconnect = {strategy}"));
    let mut may = Vec::new();
    match random.below(4) {
        0 => may.push(format!("traffic = {{ echo = {{ rate = \"{}/s\", payload = \"40B\" }} }}", 1 + random.below(8))),
        1 => may.push(format!("traffic = {{ send = {{ rate = \"{}/s\", payload = \"40B\" }} }}", 1 + random.below(8))),
        _ => {}
    }
    match random.below(3) {
        0 => may.push(format!("heartbeat = {{ every = \"{}ms\", timeout = \"{}ms\" }}", 200 + random.below(900), 100 + random.below(500))),
        1 => may.push("heartbeat = \"none\"".to_owned()),
        _ => {}
    }
    if random.below(3) == 0 {
        let back = if random.below(3) == 0 { String::new() } else { format!(", return = \"{}ms\"", 50 + random.below(900)) };
        may.push(format!("stay = {{ for = \"{}ms\"{back} }}", 300 + random.below(3_000)));
    }
    if random.below(2) == 0 {
        let more = if random.below(2) == 0 { String::new() } else { format!(", close = \"{}ms\"", 300 + random.below(2_000)) };
        may.push(format!(
            "deadlines = {{ connect = \"{}ms\", handshake = \"{}ms\"{more} }}",
            200 + random.below(1_900),
            100 + random.below(1_900)
        ));
    }
    match random.below(6) {
        0 => may.push(format!("ready = {{ open_for = \"{}ms\" }}", 100 + random.below(1_500))),
        1 => may.push("ready = \"message\"".to_owned()),
        2 => may.push("ready = \"open\"".to_owned()),
        _ => {}
    }
    Table { must, may }
}

fn fault(index: u64, seconds: u64, cohorts: u64, kinds: &[(&str, &str)], random: &mut Stream) -> Table {
    let (side, kind) = kinds[random.below(kinds.len() as u64) as usize];
    let kind = random_times(kind, random);
    let mut must =
        vec!["[[faults]]".to_owned(), format!("name = \"f{index}\""), format!("at = \"{}ms\"", 300 + random.below(seconds * 700))];
    if !side.is_empty() {
        must.push(format!("side = \"{side}\""));
    }
    must.push(format!("inject = {{ {kind} }}"));
    let mut may = Vec::new();
    let is = |kinds: &[&str]| kinds.iter().any(|one| kind.starts_with(one));
    if random.below(3) == 0 {
        may.push(format!("every = \"{}ms\"", 150 + random.below(2_400)));
    }
    if !is(AT_ONCE) && random.below(4) > 0 {
        may.push(format!("for = \"{}ms\"", 100 + random.below(2_500)));
    }
    if !is(WHOLE) {
        let mut select = Vec::new();
        match random.below(5) {
            0 => select.push(format!("count = {}", 1 + random.below(9))),
            1 => select.push("percent = \"40%\"".to_owned()),
            2 => select.push("nth = 3".to_owned()),
            _ => {}
        }
        if random.below(4) == 0 {
            select.push(format!("cohort = \"c{}\"", random.below(cohorts)));
        }
        let phases = is(CONNECTIONS) && side == "client" && kind.starts_with("drop_");
        if phases && random.below(5) == 0 {
            select.push(format!("phase = \"{}\"", ["tcp", "upgrade"][random.below(2) as usize]));
        } else if is(CONNECTIONS) && random.below(8) == 0 {
            select.push(format!("min_age = \"{}ms\"", 100 + random.below(900)));
        }
        if !select.is_empty() {
            may.push(format!("select = {{ {} }}", select.join(", ")));
        }
        if random.below(6) == 0 {
            may.push(format!("first_n = {}", 1 + random.below(12)));
        }
        if is(CONNECTIONS) && !is(&["client_network_switch"]) && random.below(5) == 0 {
            may.push("new = true".to_owned());
        }
    }
    Table { must, may }
}

fn one_of(list: &[u64], random: &mut Stream) -> u64 {
    list[random.below(list.len() as u64) as usize]
}

/// With a random time for each `#` and `~`.
fn random_times(text: &str, random: &mut Stream) -> String {
    text.chars().fold(String::new(), |out, letter| match letter {
        '#' => format!("{out}{}ms", 20 + random.below(1_980)),
        '~' => format!("{out}{}ms", random.below(300)),
        _ => format!("{out}{letter}"),
    })
}

/// With each time of `text` in milliseconds changed.
fn times(text: &str, change: &mut dyn FnMut(u64) -> u64) -> String {
    let mut parts = text.split('"');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let ms = part.strip_suffix("ms").and_then(|ms| ms.parse::<u64>().ok()).filter(|ms| *ms > 0);
        out += &ms.map_or_else(|| format!("\"{part}"), |ms| format!("\"{}ms", change(ms)));
    }
    out
}
