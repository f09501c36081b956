//! What the user wrote: TOML text → tree with positions → [`Plan`], or everything that is wrong with it.
//!
//! `tree` reads and merges, `keys` documents every key, `reader` is a typed view, and one file reads each part of a scenario. Nothing
//! here opens a socket; the only files read are the scenario and the one it extends.

mod bundled;
mod cohort;
mod data;
mod diagnostic;
mod dialogue;
mod dialogue_keys;
mod explain;
mod faults;
mod from_url;
pub mod keys;
mod model;
mod model_keys;
mod proxied;
mod reader;
mod readiness;
mod reconnect;
mod schema;
mod section;
mod stages;
mod stored;
mod target;
mod target_keys;
mod times;
mod tree;
mod trust;

pub use bundled::{BUNDLED, Bundled, PROGRAMS, bundled};
pub use diagnostic::Errors;
pub use explain::ExplainedValue;
pub use from_url::{MadeScenario, UrlScenario};
pub use proxied::proxied_faults;
pub use schema::json_schema;
pub use stored::shown_set;
pub use trust::ScenarioTrust;

use crate::address::{self, Address};
use crate::event::CLIENTS_MAX;
use crate::expect::{Expectation, Names};
use crate::files::{read_named, read_regular};
use crate::plan::{AuthorAnswer, Cohort, LoadLimits, Plan, SENTENCE_ENDS, ScenarioPlace};
use crate::secret::{Secrets, mask_address};
use crate::seed::Seed;
use crate::template::Name;
use crate::units::print_duration;
use diagnostic::{At, Diagnostic, Sink};
use reader::Reader;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tree::{Node, TomlValue, Variables};

/// The run without `duration`.
const DURATION: Duration = Duration::from_secs(10);
/// The longest run; longer is a slip.
pub const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// The run without `seed`: always the same, so that two runs differ only where the user changed something.
const SEED: u64 = 1;

/// Where a scenario comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A scenario that comes with the program, by name.
    Bundled(String),
    /// A ws:// or wss:// address: the scenario of a URL without options.
    Url(String),
    /// A text that the program made.
    Text {
        /// Names the plan.
        name: String,
        /// TOML.
        text: String,
    },
}

/// What the command line changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `key=value`, in order.
    pub set: Vec<String>,
    /// All clients together; cohorts keep their proportion.
    pub clients: Option<u32>,
    /// Length of the run.
    pub duration: Option<Duration>,
    /// Root of all random streams.
    pub seed: Option<u64>,
    /// The address of a server of the user's, in place of the target; of a target that is one, other settings stay.
    pub target: Option<String>,
    /// It stands in a run folder of an earlier schema version: what that allowed is allowed.
    pub recorded: bool,
    /// What it may name of this machine, and whom it may contact.
    pub trust: ScenarioTrust,
}

impl Source {
    /// What a positional argument means: nothing is the bundled `default`, an existing file or a path that file, `ws://…`, `http://…` and
    /// `host:port` a URL, anything else the bundled scenario of that name.
    pub fn of(argument: Option<&str>) -> Source {
        let Some(word) = argument else { return Source::Bundled("default".to_owned()) };
        let is_there = || Path::new(word).exists();
        match (address::of_word(word), bundled(word)) {
            (Some(url), _) if word.contains("://") || !is_there() => Source::Url(url),
            // A folder of that name is that of its results.
            (None, Some(bundled)) if !is_there() || Path::new(word).is_dir() => Source::Bundled(bundled.name.to_owned()),
            _ => Source::File(PathBuf::from(word)),
        }
    }
}

/// Reads a scenario and makes its plan.
///
/// # Errors
/// Everything that is wrong with the scenario, its base, and the overrides.
pub fn load(source: &Source, overrides: &Overrides) -> Result<Plan, Errors> {
    load_with(source, overrides, &|name| std::env::var(name).ok())
}

/// As [`load`], with another place for `${VAR}`.
///
/// # Errors
/// As [`load`].
pub fn load_with(source: &Source, overrides: &Overrides, variables: &dyn Fn(&str) -> Option<String>) -> Result<Plan, Errors> {
    let proxy = |tree: &mut Node, variables: Variables<'_>| {
        if !overrides.trust.untrusted {
            target::proxy_of_environment(tree, variables);
        }
    };
    read_plan(source, overrides, variables, (proxy, false))
}

/// Where each value of a scenario comes from; of one that loads.
///
/// # Errors
/// As [`load`].
pub fn explain(source: &Source, overrides: &Overrides) -> Result<Vec<ExplainedValue>, Errors> {
    let sink = Sink::reading(overrides.trust.untrusted.then(|| overrides.trust.env.clone()));
    let variables = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty() && overrides.trust.allows_env(name));
    let Some(mut tree) = read(source, &overrides.trust, &variables, &sink) else { return Err(sink.into_errors(Secrets::default())) };
    apply(&mut tree, overrides, &sink);
    if !overrides.trust.untrusted {
        target::proxy_of_environment(&mut tree, &variables);
    }
    inline(&mut tree, source, overrides, &variables, &sink);
    let mut secrets = Secrets::default();
    stored::collect(&tree, &mut secrets);
    if !sink.is_empty() {
        return Err(sink.into_errors(secrets));
    }
    let own = text(source).map_or_else(|(name, _)| name, |(name, _)| name);
    Ok(explain::explain(&stored::stored(tree), own, overrides.clients, &sink))
}

/// Puts what stands in other files into the tree.
fn inline(tree: &mut Node, source: &Source, overrides: &Overrides, variables: Variables<'_>, sink: &Sink) {
    let folder = if let Source::File(path) = source { path.parent().unwrap_or(Path::new("")) } else { Path::new("") };
    let check = |path: &Path| overrides.trust.check_file(source, path);
    data::inline(tree, &data::NamedFiles { folder, check: &check }, variables, sink);
}

/// The scenario that is stored with a run, which has `${VAR}` where the scenario had it: the plan as far as expectations and results ask for it.
/// `recorded` as in [`Overrides`].
///
/// # Errors
/// As [`load`].
pub fn load_stored(path: &Path, recorded: bool) -> Result<Plan, Errors> {
    let overrides = Overrides { recorded, ..Overrides::default() };
    let as_stored = RefCell::new(None);
    let mend = |tree: &mut Node, _: Variables<'_>| {
        as_stored.replace(Some(tree.clone()));
        stored::mend(tree);
    };
    let mut plan = read_plan(&Source::File(path.to_owned()), &overrides, &stored::stand_in, (mend, true))?;
    // What is stored again, as by `merge`, is what was stored.
    if let Some(tree) = as_stored.take() {
        plan.resolved = resolved(&plan, stored::stored(tree));
    }
    Ok(plan)
}

fn read_plan(
    source: &Source,
    overrides: &Overrides,
    variables: Variables<'_>,
    (mend, stored): (impl Fn(&mut Node, Variables<'_>), bool),
) -> Result<Plan, Errors> {
    let sink = Sink::reading(overrides.trust.untrusted.then(|| overrides.trust.env.clone()));
    let held = RefCell::new(BTreeMap::new());
    let noted = |name: &str| {
        let value = variables(name).filter(|value| !value.is_empty() && overrides.trust.allows_env(name))?;
        held.borrow_mut().insert(name.to_owned(), value.clone());
        Some(value)
    };
    let plan = plan(source, overrides, (&noted, &held), (mend, stored), &sink);
    match plan {
        Ok(plan) if sink.is_empty() => Ok(plan),
        Ok(Plan { secrets, .. }) | Err(secrets) => Err(sink.into_errors(secrets)),
    }
}

/// The plan; where there is none, at least what must not be shown. `stored`: it ran, and files with data are not there any more.
fn plan(
    source: &Source,
    overrides: &Overrides,
    (variables, held): (Variables<'_>, &RefCell<BTreeMap<String, String>>),
    (mend, stored): (impl Fn(&mut Node, Variables<'_>), bool),
    sink: &Sink,
) -> Result<Plan, Secrets> {
    let mut tree = read(source, &overrides.trust, variables, sink).ok_or_else(Secrets::default)?;
    let whole = sink.is_empty();
    apply(&mut tree, overrides, sink);
    mend(&mut tree, variables);
    if sink.is_empty() {
        inline(&mut tree, source, overrides, variables, sink);
        overrides.trust.check_requests(&tree, sink);
    }
    let whole = whole && sink.is_empty();
    // With broken syntax the tree has holes, and complaints about them would only distract.
    let mut built = if whole { build(&tree, source, overrides.recorded, sink) } else { None };
    if let (Some(plan), Some(clients)) = (&mut built, overrides.clients) {
        scale(&mut plan.cohorts, clients, sink);
    }
    if let Some(plan) = &mut built {
        finish_dialogues(&mut plan.cohorts, &tree, (variables, stored), sink);
    }
    // Variables that messages take are among those that are held.
    let mut secrets = Secrets::new(held.take());
    stored::collect(&tree, &mut secrets);
    let Some(mut plan) = built else { return Err(secrets) };
    overrides.trust.check(&mut plan, source, sink);
    plan.notices.extend(plan.late_arrivals());
    plan.notices.extend(plan.short_of_clients());
    plan.whole = resolved(&plan, stored::handed_over(tree.clone()));
    plan.resolved = resolved(&plan, stored::stored(tree));
    plan.secrets = secrets;
    Ok(plan)
}

/// The tree of the scenario, over the one that it extends.
fn read(source: &Source, trust: &ScenarioTrust, variables: Variables<'_>, sink: &Sink) -> Option<Node> {
    let (name, text) = match text(source) {
        Ok(found) => found,
        Err((name, why)) => {
            let stem = Path::new(&name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let names = BUNDLED.iter().map(|bundled| bundled.name);
            let cannot = Diagnostic::bare(format!("cannot read the scenario {name}: {why}"));
            let url = address::perhaps(&name).map(|url| format!("of a server write the URL: {}", mask_address(&url)));
            sink.push(url.into_iter().fold(cannot, Diagnostic::help).suggest(&stem, names, "bundled scenarios"));
            return None;
        }
    };
    let origin = sink.scenario_origin(name, text.clone(), false, matches!(source, Source::File(_)));
    let mut tree = tree::parse(origin, &text, variables, sink);
    let Some(extends) = tree.remove("extends") else { return Some(tree) };
    let TomlValue::Text(base) = &extends.node.value else {
        return reader::wrong("extends", "the path of a scenario", &extends.node, sink);
    };
    let (name, text) = match text_of_base(source, trust, base) {
        Ok(found) => found,
        Err((_, why)) => {
            sink.push(Diagnostic::new(&extends.node.at, "the scenario in `extends` cannot be read", why));
            return None;
        }
    };
    // It may be any file of this machine: what is wrong with it is said by place only. Bundled ones are public.
    let public = BUNDLED.iter().any(|bundled| bundled.text == text);
    let origin = sink.scenario_origin(name, text.clone(), !public, !public);
    let mut merged = tree::parse(origin, &text, variables, sink);
    if let Some(second) = merged.remove("extends") {
        sink.push(Diagnostic::new(&second.at, "`extends` goes one level", "this scenario uses `extends` itself").help(
            "extend its base \
            directly",
        ));
    }
    merged.merge(tree, sink);
    Some(merged)
}

/// The base is looked for beside the scenario, then among the bundled ones.
fn text_of_base(source: &Source, trust: &ScenarioTrust, base: &str) -> Result<(String, String), (String, String)> {
    let folder = if let Source::File(path) = source { path.parent().unwrap_or(Path::new("")) } else { Path::new("") };
    let path = folder.join(base);
    match bundled(base) {
        Some(bundled) if !path.exists() => text(&Source::Bundled(bundled.name.to_owned())),
        _ => match trust.check_file(source, &path) {
            Ok(()) => utf8(read_regular(&path), path.display().to_string()),
            Err(why) => Err((path.display().to_string(), why)),
        },
    }
}

/// Name and text of a file; on failure its name and why, without a word of what is in it.
fn utf8(read: std::io::Result<Vec<u8>>, name: String) -> Result<(String, String), (String, String)> {
    match read.map(String::from_utf8) {
        Ok(Ok(text)) => Ok((name, text)),
        Ok(Err(_)) => Err((name, "it is not UTF-8".to_owned())),
        Err(error) => Err((name, error.to_string())),
    }
}

/// Name and text of a scenario; on failure its name and why.
fn text(source: &Source) -> Result<(String, String), (String, String)> {
    match source {
        Source::Url(url) => Ok((url.clone(), UrlScenario::of(url).text())),
        Source::Text { name, text } => Ok((name.clone(), text.clone())),
        Source::Bundled(name) => match bundled(name) {
            Some(found) => Ok((format!("scenarios/{}.toml", found.name), found.text.to_owned())),
            None => Err((name.clone(), "there is no bundled scenario of this name".to_owned())),
        },
        Source::File(path) => {
            let name = path.display().to_string();
            utf8(read_named(path), name)
        }
    }
}

/// Lays the options of the command line over the tree: first each `--set`, then the options that have a name of their own.
fn apply(tree: &mut Node, overrides: &Overrides, sink: &Sink) {
    let duration = overrides.duration.map(|duration| ("--duration", format!("duration={}", print_duration(duration))));
    let seed = overrides.seed.map(|seed| ("--seed", format!("seed={seed}")));
    let set = overrides.set.iter().map(|set| ("--set", set.clone()));
    let all: Vec<Node> = set.chain(duration).chain(seed).filter_map(|(option, text)| tree::parse_set(option, &text, sink)).collect();
    // The scenario's words answer by its own expectations: of others they would say what was not asked.
    if all.iter().any(|over| over.get("expect").is_some_and(|list| matches!(list.value, TomlValue::Array(_)))) {
        tree.remove("answer");
    }
    if let Some(address) = &overrides.target {
        target::put_address(tree, address);
    }
    for over in all {
        if are_there(tree, &over, sink) {
            tree.merge(over, sink);
        }
    }
}

/// Whether the scenario has all cohorts and faults that are changed; complains of others: a slip would make a new one.
fn are_there(tree: &Node, over: &Node, sink: &Sink) -> bool {
    let cohorts: Vec<_> = tree.get("clients").map_or(&[][..], Node::entries).iter().map(|entry| entry.key.clone()).collect();
    let faults = tree.get("faults").map_or(Vec::new(), Node::ids);
    let mut all = true;
    for (key, what, known) in [("clients", "cohort", cohorts), ("faults", "fault", faults)] {
        let number = |key: &str| what == "fault" && key.parse().is_ok_and(|index: usize| index < known.len());
        let changed = over.get(key).map_or(&[][..], Node::entries);
        for new in changed.iter().filter(|new| !known.contains(&new.key) && !number(&new.key)) {
            all = false;
            let title = format!("the scenario has no {what} `{}`", new.key);
            let diagnostic = Diagnostic::new(&new.at, title, format!("not a {what} of the scenario"));
            // Where there is only one, it is meant, however it was spelt.
            sink.push(match known.as_slice() {
                [] => diagnostic.help(format!("it has no {what} at all")),
                [only] => diagnostic.help(format!("did you mean `{only}`? It is the only {what}")),
                _ => diagnostic.suggest(&new.key, known.iter().map(String::as_str), &format!("{what}s")),
            });
        }
    }
    all
}

/// The plan of a tree; complaints go to the sink.
fn build(tree: &Node, source: &Source, recorded: bool, sink: &Sink) -> Option<Plan> {
    let top = Reader::open(tree, &keys::TOP, sink)?;
    let duration = top.positive("duration").unwrap_or(DURATION);
    if duration > DURATION_MAX {
        top.complain(
            "duration",
            "`duration` is out of bounds",
            format!("found {}", print_duration(duration)),
            "a run lasts at most a week",
        );
    }
    let mut notices = Vec::new();
    let target = target::read(&top);
    notices.extend(target.as_ref().and_then(target::proxy_notice));
    let model = top.get("model").and_then(|model| model::read(model, target.as_ref(), sink));
    let cohorts = cohort::read(&top, target.as_ref(), duration, &mut notices);
    let context = faults::Context { target: target.as_ref(), model: model.as_ref(), cohorts: &cohorts, run: Some(duration) };
    notices.extend(target.as_ref().and_then(|target| target::resolved_for_nobody(target, &cohorts)));
    let faults = faults::read(&top, &context, &mut notices);
    let names =
        (cohorts.iter().map(|one| one.name.clone()).collect::<Vec<_>>(), faults.iter().map(|one| one.name.clone()).collect::<Vec<_>>());
    // With broken cohorts or faults their names are not known, and each expectation about them would be a second complaint.
    let whole = sink.is_empty();
    let scripts = || cohorts.iter().filter_map(|cohort| cohort.script.as_deref());
    let causes: Vec<_> = scripts().flat_map(|script| script.causes()).collect();
    let errors: Vec<_> = scripts().flat_map(|script| script.errors()).map(str::to_owned).collect();
    let names = Names { cohorts: &names.0, faults: &names.1, causes: &causes, errors: &errors };
    let (expectations, expected_at) = expectations(&top, names, duration, whole, recorded).into_iter().unzip();
    let expectations: Vec<Expectation> = expectations;
    notices.extend(expectations.iter().filter_map(|expectation| expectation.beyond(duration)));
    Some(Plan {
        name: name(source),
        question: said(&top, "question"),
        hypothesis: said(&top, "hypothesis"),
        answer: answer(&top),
        duration,
        seed: Seed(top.whole("seed", 0..=i64::MAX as u64).unwrap_or(SEED)),
        target: target?,
        model,
        cohorts,
        faults,
        expectations,
        expected_at,
        resolved: String::new(),
        whole: String::new(),
        secrets: Secrets::default(),
        notices,
        all_events: false,
        limits: LoadLimits::default(),
    })
}

/// Reads a text that says something.
fn said(top: &Reader<'_>, key: &str) -> Option<String> {
    let text = top.text(key)?;
    if text.trim().is_empty() {
        top.complain(key, format!("`{key}` is empty"), "this text is empty", "leave the key out instead");
    }
    Some(text.to_owned())
}

/// Reads `answer`: both texts, as nobody knows beforehand which one it takes, to a question that is asked.
fn answer(top: &Reader<'_>) -> Option<AuthorAnswer> {
    let reader = top.table("answer", &keys::ANSWER)?;
    if top.get("question").is_none() {
        top.complain("answer", "`answer` needs a `question`", "there is no `question`", "write the `question` that it answers");
    }
    let text = |key: &str| {
        let text = reader.need(key, reader.text(key))?;
        // What a verdict leaves out in front of its figures is no answer.
        if text.trim().trim_end_matches(SENTENCE_ENDS).is_empty() {
            reader.complain(key, format!("`{key}` is empty"), "it contains no word", "write words, as \"Yes\" and \"No\"");
        }
        Some(text.to_owned())
    };
    let (pass, fail) = (text("pass"), text("fail"));
    Some(AuthorAnswer { pass: pass?, fail: fail? })
}

/// Reads `expect`, of a run of this length, with the places of the expectations. `whole`: all names are known; `recorded` as in [`Overrides`].
fn expectations(
    top: &Reader<'_>,
    names: Names<'_>,
    run: Duration,
    whole: bool,
    recorded: bool,
) -> Vec<(Expectation, Option<ScenarioPlace>)> {
    let mut parsed = Vec::new();
    for (text, at) in top.texts("expect") {
        match Expectation::parse_as(text, names, recorded) {
            Ok(expectation) => {
                if let (Some(from), false) = (expectation.begins().filter(|from| *from >= run), recorded) {
                    let title = format!(
                        "in this expectation: its window begins at {} and the run ends at {}",
                        print_duration(from),
                        print_duration(run)
                    );
                    let place = top.sink.inside(at, text, &(0..text.len()));
                    top.sink.push(
                        Diagnostic::new(&place, title, "nothing would be measured in this window")
                            .help("begin the window before the end of the run, or lengthen `duration`"),
                    );
                }
                parsed.push((expectation, top.sink.place(at)));
            }
            Err(problems) => problems.into_iter().filter(|problem| whole || !problem.is_name()).for_each(|problem| {
                let place = top.sink.inside(at, text, &problem.at);
                top.sink.push(Diagnostic::new(&place, format!("in this expectation: {}", problem.found), "found here").help(problem.help));
            }),
        }
    }
    parsed
}

/// Names the folder below `results/`: the file's stem, or a URL's host.
fn name(source: &Source) -> String {
    let name = match source {
        Source::Bundled(name) | Source::Text { name, .. } => name.clone(),
        Source::File(path) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        Source::Url(url) => {
            // Neither credentials nor a path: they may be secret.
            Address::parse(url).map(|address| address.authority).unwrap_or_default()
        }
    };
    let safe: String = name.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    let safe = safe.trim_matches(['.', '-']).to_owned();
    if safe.is_empty() { "scenario".to_owned() } else { safe }
}

/// Shares `clients` out in proportion, by largest remainder, at least one each; renumbers the clients.
fn scale(cohorts: &mut [Cohort], clients: u32, sink: &Sink) {
    let total: u64 = cohorts.iter().map(|cohort| u64::from(cohort.count)).sum();
    if u64::from(clients) < cohorts.len() as u64 || clients > CLIENTS_MAX {
        let text = format!("--clients {clients}");
        let at = At::new(sink.origin("command line", text.clone()), 0..text.len());
        let label = format!("the scenario has {} cohorts", cohorts.len());
        sink.push(
            Diagnostic::new(&at, "`--clients` is out of bounds", label)
                .help(format!("at least one for each cohort, at most {CLIENTS_MAX}")),
        );
        return;
    }
    let exact = |cohort: &Cohort| u64::from(cohort.count) * u64::from(clients);
    let floors: Vec<u64> = cohorts.iter().map(|cohort| exact(cohort).checked_div(total).unwrap_or(0).max(1)).collect();
    let mut order: Vec<usize> = (0..cohorts.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(exact(&cohorts[*i]).checked_rem(total).unwrap_or(0)));
    let mut counts = floors;
    // What is left over goes to the largest remainders; what the least of one took too much comes from the largest cohorts.
    let mut left = i64::from(clients) - counts.iter().sum::<u64>() as i64;
    for i in order.iter().cycle() {
        match left {
            0 => break,
            1.. => (counts[*i], left) = (counts[*i] + 1, left - 1),
            _ => {
                let largest = (0..counts.len()).max_by_key(|i| counts[*i]).unwrap_or(*i);
                (counts[largest], left) = (counts[largest] - 1, left + 1);
            }
        }
    }
    let mut first = 0;
    for (cohort, count) in cohorts.iter_mut().zip(counts) {
        (cohort.first, cohort.count) = (first, u32::try_from(count).unwrap_or(CLIENTS_MAX));
        first += cohort.count;
    }
}

/// Numbers the steps of dialogues, fills in what is the same in the whole run, and complains of what is not there to be filled in.
fn finish_dialogues(cohorts: &mut [Cohort], tree: &Node, (variables, stored): (Variables<'_>, bool), sink: &Sink) {
    let (mut first, mut first_error) = (0_u16, 0_u16);
    let number = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
    for cohort in cohorts {
        if let Some(script) = &mut cohort.script {
            (script.first_step, script.first_error) = (first, first_error);
            first = first.saturating_add(number(script.steps().count()));
            first_error = first_error.saturating_add(number(script.errors().count()));
        }
        data::check(cohort).into_iter().for_each(|wrong| sink.push(Diagnostic::bare(wrong)));
        let name = cohort.name.clone();
        let written = tree.get("clients").and_then(|clients| clients.get(&name));
        let complain = |placeholder: &str, why: String| {
            let title = format!("clients.{name}: `{placeholder}`: {why}");
            match written.and_then(|node| data::place_of(node, placeholder, sink)) {
                Some(at) => Diagnostic::new(&at, title, "found here"),
                None => Diagnostic::bare(title),
            }
        };
        let unknown = if stored { Vec::new() } else { data::unknown_names(cohort) };
        unknown.into_iter().for_each(|(placeholder, why)| sink.push(complain(&placeholder, why)));
        let mut unset = Vec::new();
        cohort.templates(&mut |template| {
            template.know(&mut |known| match known {
                Name::Cohort => Some(name.clone()),
                Name::Env(variable) => {
                    let value = variables(variable);
                    if value.is_none() {
                        unset.push(variable.to_string());
                    }
                    value
                }
                _ => None,
            });
        });
        unset.dedup();
        for variable in unset {
            let (why, help) = sink.no_variable(&variable);
            sink.push(complain(&format!("{{env.{variable}}}"), why).help(help));
        }
    }
}

/// The scenario as it is run, as TOML that loads again to the same plan.
fn resolved(plan: &Plan, mut tree: Node) -> String {
    for cohort in &plan.cohorts {
        tree.set(&["clients", &cohort.name, "count"], TomlValue::Integer(i64::from(cohort.count)));
        if cohort.arrive.own_count().is_some_and(|own| own != u64::from(cohort.count)) {
            tree.set(&["clients", &cohort.name, "scaled"], TomlValue::Bool(true));
        }
    }
    tree.set(&["duration"], TomlValue::Text(print_duration(plan.duration)));
    tree.set(&["seed"], TomlValue::Integer(i64::try_from(plan.seed.0).unwrap_or(i64::MAX)));
    let head = format!(
        "# {}: as it was run, with base and options of the command line filled in; what goes to the target as it was written, secrets as ***.\n",
        plan.name
    );
    head + &toml::to_string(&tree.to_toml()).unwrap_or_default()
}
