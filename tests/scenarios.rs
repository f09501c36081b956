//! Scenarios as a user meets them: every bundled one loads, the documented example loads, errors point at their place.

use closestorm::expect::{Limit, Metric};
use closestorm::fault::Side;
use closestorm::plan::{Arrive, Patience, Pick, Plan, Readiness, Repeat, Target, Traffic};
use closestorm::reconnect::Policy;
use closestorm::scenario::{BUNDLED, Errors, Overrides, Source, load, load_with};
use closestorm::units::{Bytes, Rate};
use predicates::prelude::PredicateBooleanExt;
use std::path::PathBuf;
use std::time::Duration;

const EXAMPLE: &str = r#"
question   = "Does a crash with 2,000 clients recover within ten seconds?"
hypothesis = "Two thousand attempts fall into about one second, and everybody is back within ten."
duration   = "40s"
seed       = 7
expect = [
  "reconnect_time p99 < 10s",
  "clients_lost count == 0",
  "closes{reported=1006} share > 99%",
  "attempts peak < 2500/s",
]

[target.embedded]
handshake_cost = "500us"             # one at a time: 2,000 opening handshakes a second
backlog        = 1024

[clients.web]                        # one table per cohort: strategies can be compared inside one run
count     = 2000
arrive    = { over = "5s" }
reconnect = "socket.io-client"
traffic   = { echo = { rate = "1/s", payload = "100B" } }

[[faults]]
at     = "10s"
inject = { server_crash = { down = "2.5s" } }

[[faults]]
name   = "flaky-network"
at     = "25s"
every  = "1s"
until  = "35s"
side   = "client"
select = { percent = "5%", cohort = "web" }
inject = { drop_rst = {} }
"#;

/// Loads a text as a file of a temporary folder, beside a file `base.toml`.
fn load_text(text: &str, overrides: &Overrides) -> Result<Plan, Errors> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("test.toml");
    std::fs::write(folder.path().join("base.toml"), EXAMPLE).expect("the folder can be written");
    std::fs::write(&file, text).expect("the folder can be written");
    load_with(&Source::File(file), overrides, &|name| (name == "DOWN").then(|| "4s".to_owned()))
}

fn plan(text: &str) -> Plan {
    load_text(text, &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn set(list: &[&str]) -> Overrides {
    Overrides { set: list.iter().map(|set| (*set).to_owned()).collect(), ..Overrides::default() }
}

#[test]
fn deadlines_are_the_scenarios_then_the_presets_then_ten_seconds() {
    let of = |set_to: &[&str]| {
        let base = "duration = \"5s\"\n[target.embedded]\n[clients.web]\ncount = 1\n";
        let plan = load_text(base, &set(set_to)).unwrap_or_else(|errors| panic!("{errors}"));
        let text = plan.dry_run();
        let line = text.lines().find(|line| line.contains("deadlines ")).unwrap_or_default().trim().to_owned();
        (plan.cohorts[0].deadlines.connect, plan.cohorts[0].deadlines.handshake, line)
    };
    let own = |seconds| Patience::Own(Duration::from_secs(seconds));
    for (set_to, connect, handshake, words) in [
        (&[][..], own(10), own(10), "deadlines connect 10s, handshake 10s, close 10s, fin 2s"),
        (&["clients.web.reconnect=\"none\""], own(10), own(10), "deadlines connect 10s, handshake 10s, close 10s, fin 2s"),
        (
            &["clients.web.reconnect=\"socket.io-client\""],
            Patience::Strategy,
            Patience::Strategy,
            "deadlines attempt 20s, connect the attempt's, handshake the attempt's, close 10s, fin 2s",
        ),
        (
            &["clients.web.reconnect=\"phoenix\""],
            Patience::Strategy,
            Patience::Strategy,
            "deadlines connect the kernel's, handshake none, close 10s, fin 2s",
        ),
        (
            &["clients.web.reconnect={preset=\"phoenix\",connect_timeout=\"4s\"}", "clients.web.deadlines={connect=\"1s\"}"],
            own(1),
            Patience::Strategy,
            "deadlines attempt 4s, connect 1s, handshake the attempt's, close 10s, fin 2s",
        ),
        (
            &["clients.web.reconnect={fixed={delay=\"1s\"},connect_timeout=\"0s\"}"],
            Patience::Strategy,
            Patience::Strategy,
            "deadlines connect the kernel's, handshake none, close 10s, fin 2s",
        ),
        (
            &["clients.web.deadlines={connect=\"0s\",handshake=\"0s\"}"],
            own(0),
            own(0),
            "deadlines connect the kernel's, handshake none, close 10s, fin 2s",
        ),
    ] {
        assert_eq!(of(set_to), (connect, handshake, words.to_owned()), "{set_to:?}");
    }
}

#[test]
fn ready_is_the_scenarios_then_the_first_reply_then_the_presets_then_open() {
    let of = |target: &str, set_to: &[&str]| {
        let base = format!("duration = \"5s\"\n{target}\n[clients.web]\ncount = 1\n");
        load_text(&base, &set(set_to)).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let seconds = Duration::from_secs;
    let echo = "clients.web.traffic={echo={rate=\"1/s\"}}";
    for (set_to, ready) in [
        (&[][..], Readiness::Open),
        (&[echo], Readiness::Reply),
        (&["clients.web.reconnect=\"phoenix\""], Readiness::Message),
        (&["clients.web.reconnect=\"phoenix\"", echo], Readiness::Reply),
        (&["clients.web.reconnect=\"partysocket\""], Readiness::OpenFor(seconds(5))),
        (&["clients.web.reconnect={preset=\"partysocket\",reset_uptime=\"2s\"}"], Readiness::OpenFor(seconds(2))),
        (&["clients.web.reconnect=\"python-websockets\""], Readiness::Open),
        (&["clients.web.reconnect={fixed={delay=\"1s\"},reset=\"uptime\",reset_uptime=\"5s\"}"], Readiness::Open),
        (&["clients.web.reconnect=\"phoenix\"", "clients.web.ready=\"open\"", echo], Readiness::Open),
        (&["clients.web.ready=\"message\"", echo], Readiness::Message),
        (&["clients.web.ready={message=\"welcome\"}"], Readiness::Matches("welcome".to_owned())),
        (&["clients.web.ready={open_for=\"3s\"}"], Readiness::OpenFor(seconds(3))),
    ] {
        for target in ["[target.embedded]", "[target.url]\naddress = \"ws://127.0.0.1:9/\""] {
            let plan = of(target, set_to);
            assert_eq!(plan.cohorts[0].ready, ready, "{set_to:?}");
            let waits = matches!(ready, Readiness::Message | Readiness::Matches(_));
            let (ours, told) = (
                target.contains("embedded"),
                plan.notices.iter().any(|notice| notice.contains("if the server never sends it, no client becomes ready")),
            );
            assert_eq!(
                (plan.cohorts[0].dialogue().greeting.is_some(), told),
                (waits && ours, waits && !ours),
                "{set_to:?} {:?}",
                plan.notices
            );
            assert_eq!(plan.dry_run().contains("if the server never sends it, no client becomes ready"), told);
            let too_short = plan.notices.iter().any(|notice| notice.contains("no client can become ready"));
            assert_eq!(too_short, ready == Readiness::OpenFor(seconds(5)), "{set_to:?} in 5 s: {:?}", plan.notices);
        }
    }
    for (wrong, words) in [
        ("clients.web.ready=\"opened\"", "did you mean"),
        ("clients.web.ready={message=\"\"}", "found 0 bytes"),
        ("clients.web.ready={open_for=\"0s\"}", "greater than zero"),
        ("clients.web.ready={message=\"x\",open_for=\"1s\"}", "has two conflicting keys"),
        ("clients.web.reconnect={preset=\"phoenix\",ready=\"open\"}", "unknown key `ready`"),
    ] {
        let base = "duration = \"5s\"\n[target.embedded]\n[clients.web]\ncount = 1\n";
        let errors = load_text(base, &set(&[wrong])).map(|_| ()).unwrap_err().to_string();
        assert!(errors.contains(words), "{wrong}: {errors}");
    }
}

#[test]
fn the_documented_example_loads_with_all_its_parts() {
    let plan = plan(EXAMPLE);
    assert_eq!((plan.duration, plan.seed.0, plan.clients()), (Duration::from_secs(40), 7, 2000));
    let Target::Embedded(embedded) = &plan.target else { panic!("{:?}", plan.target) };
    assert_eq!((embedded.handshake_cost, embedded.backlog), (Duration::from_micros(500), 1024));
    let web = &plan.cohorts[0];
    assert_eq!(web.arrive, Arrive::Over(Duration::from_secs(5)));
    assert_eq!((&web.reconnect, web.reconnect_label.as_str()), (&Policy::preset("socket.io-client").unwrap(), "socket.io-client"));
    assert_eq!(web.traffic, Traffic::Echo { rate: Rate(1.0), payload: Bytes(100) });
    assert_eq!(web.deadlines.connect, Patience::Strategy, "the preset's own");
    assert_eq!(plan.notices.len(), 1, "a heartbeat of the server is off: {:?}", plan.notices);
    let [crash, flaky] = &plan.faults[..] else { panic!("{:?}", plan.faults) };
    assert_eq!((crash.name.as_str(), crash.side), ("server_crash-1", Side::Server));
    assert_eq!(crash.inject.values.duration("down"), Some(Duration::from_millis(2500)));
    assert_eq!(
        (flaky.side, flaky.schedule.repeat, flaky.select.pick),
        (Side::Client, Repeat::Every(Duration::from_secs(1)), Pick::Share(0.05))
    );
    assert_eq!(flaky.select.cohort, Some(0));
    assert_eq!(flaky.firings(plan.seed, plan.duration).len(), 10, "25 s to 34 s");
    assert_eq!((plan.expectations[0].metric, plan.expectations[0].limit), (Metric::ReconnectTime, Limit::Micros(1e7)));
    assert_eq!(plan.expectations.len(), 4);
}

#[test]
fn every_bundled_scenario_loads_and_teaches() {
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios")).expect("the folder of scenarios");
    let files = files.filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "toml"))).count();
    assert_eq!(files, BUNDLED.len(), "every file is bundled");
    for bundled in BUNDLED {
        let plan = load(&Source::Bundled(bundled.name.to_owned()), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(plan.question.is_some() && plan.hypothesis.is_some() && !plan.expectations.is_empty(), "{}", bundled.name);
        assert!(bundled.text.starts_with("# "), "{} opens with what it shows", bundled.name);
        assert_eq!(plan.notices, Vec::<String>::new(), "{}", bundled.name);
        for fault in &plan.faults {
            assert!(!fault.firings(plan.seed, plan.duration).is_empty(), "{}: {} never fires", bundled.name, fault.name);
        }
    }
}

#[test]
fn the_resolved_scenario_loads_to_the_same_plan() {
    let scaled = Overrides { clients: Some(77), seed: Some(3), duration: Some(Duration::from_secs(50)), ..Overrides::default() };
    for bundled in BUNDLED {
        for overrides in [&scaled, &Overrides::default()] {
            let source = Source::Bundled(bundled.name.to_owned());
            let first = load(&source, overrides).unwrap_or_else(|errors| panic!("{errors}"));
            let second = plan(&first.resolved);
            let body = |plan: &Plan| plan.dry_run().split_once('\n').map(|(_, rest)| rest.to_owned());
            assert_eq!(body(&first), body(&second), "{}", bundled.name);
        }
    }
}

#[test]
fn a_dry_run_depends_on_the_seed_and_on_nothing_else() {
    let dry = |seed| {
        let overrides = Overrides { seed: Some(seed), ..Overrides::default() };
        load(&Source::Bundled("aborts".to_owned()), &overrides).unwrap_or_else(|errors| panic!("{errors}")).dry_run()
    };
    assert_eq!(dry(7), dry(7));
    let without_first_line = |text: String| text.split_once('\n').map(|(_, rest)| rest.to_owned());
    assert_ne!(without_first_line(dry(7)), without_first_line(dry(8)), "waits and random firings are drawn");
}

#[test]
fn clients_are_scaled_in_proportion() {
    let text = "[clients.a]\ncount = 1\n[clients.b]\ncount = 1\n[clients.c]\ncount = 998\n";
    for (clients, expected) in [(3, [1, 1, 1]), (10, [1, 1, 8]), (1000, [1, 1, 998]), (1500, [2, 1, 1497]), (4000, [4, 4, 3992])] {
        let plan =
            load_text(text, &Overrides { clients: Some(clients), ..Overrides::default() }).unwrap_or_else(|errors| panic!("{errors}"));
        let counts: Vec<_> = plan.cohorts.iter().map(|cohort| cohort.count).collect();
        assert_eq!(counts, expected, "{clients}");
        assert_eq!(plan.cohorts[2].first, expected[0] + expected[1]);
    }
    assert!(load_text(text, &Overrides { clients: Some(2), ..Overrides::default() }).is_err(), "fewer clients than cohorts");
}

#[test]
fn bases_variables_and_options_are_laid_over_one_another() {
    let text = "extends = 'base.toml'\nduration = '50s'\nexpect = []\n[clients.web]\ncount = 5\n[target.url]\naddress = \
        'ws://127.0.0.1:1/'\n[[faults]]\nat = '${AT:-1s}'\ninject = { drop_fin = {} }\n";
    let plan = plan(text);
    assert_eq!((plan.seed.0, plan.duration, plan.clients(), plan.faults.len()), (7, Duration::from_secs(50), 5, 1));
    assert!(matches!(plan.target, Target::Url(_)) && plan.expectations.is_empty());
    assert_eq!((plan.faults[0].side, plan.faults[0].schedule.at), (Side::Client, Duration::from_secs(1)));

    let overrides = set(&["clients.web.reconnect.max_retries=5", "faults.0.inject.server_crash.down=1s", "faults.flaky-network.at=26s"]);
    let plan = load_text(EXAMPLE, &overrides).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(plan.cohorts[0].reconnect.max_retries, Some(5));
    assert_eq!(plan.cohorts[0].reconnect.kind, Policy::preset("socket.io-client").unwrap().kind, "still the preset");
    assert_eq!(plan.faults[0].inject.values.duration("down"), Some(Duration::from_secs(1)));
    assert_eq!(plan.faults[1].schedule.at, Duration::from_secs(26));
}

#[test]
fn a_misspelt_cohort_of_several_gets_the_nearest_as_suggestion() {
    let text = "[clients.mobile]\ncount = 1\n[clients.desktop]\ncount = 1\n";
    let errors = load_text(text, &set(&["clients.moblie.count=5"])).expect_err("a slip").to_string();
    assert!(errors.contains("did you mean `mobile`?") && errors.contains("cohorts: mobile, desktop"), "{errors}");
}

#[test]
fn an_option_changes_only_cohorts_that_are_there() {
    for (option, found, at) in
        [("clients.wb.count=5", "wb", 9), ("clients.new={count=5}", "new", 9), ("clients={web={count=5},x={}}", "x", 26)]
    {
        let errors = load_text(EXAMPLE, &set(&[option])).expect_err(option);
        let title = format!("the scenario has no cohort `{found}`");
        assert_eq!(errors.summaries(), [(title.as_str(), 1, at)], "{errors}");
        assert!(errors.to_string().contains("did you mean `web`?"), "{errors}");
    }
}

#[test]
fn an_option_changes_only_faults_that_are_there() {
    let two = format!("{EXAMPLE}[[faults]]\nat = \"30s\"\ninject = {{ drop_fin = {{}} }}\n");
    for (option, found, at) in [("faults.flaky-netwrok.at=5s", "flaky-netwrok", 8), ("faults.9.at=5s", "9", 8), ("faults={x={}}", "x", 11)]
    {
        let errors = load_text(&two, &set(&[option])).expect_err(option);
        let title = format!("the scenario has no fault `{found}`");
        assert_eq!(errors.summaries(), [(title.as_str(), 1, at)], "{errors}");
        assert!(errors.to_string().contains("faults: server_crash-1, flaky-network, drop_fin-3"), "{errors}");
    }
    let near = load_text(&two, &set(&["faults.flaky-netwrok.at=5s"])).expect_err("a slip").to_string();
    assert!(near.contains("did you mean `flaky-network`?"), "{near}");
    let none = load_text("[clients.web]\ncount = 1\n", &set(&["faults.crash.at=5s"])).expect_err("a slip").to_string();
    assert!(none.contains("the scenario has no fault `crash`"), "{none}");
    // By number from 0, by its name, and by the id that a fault without a name has in all results.
    for option in ["faults.2.at=5s", "faults.drop_fin-3.at=5s"] {
        let plan = load_text(&two, &set(&[option])).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(plan.faults[2].schedule.at, Duration::from_secs(5), "{option}");
    }
    // Deeper, too, the nearest word is suggested.
    for (option, suggested) in [
        ("clients.web.arive.rate=5/s", "arrive"),
        ("clients.web.arrive.rte=5/s", "rate"),
        ("clients.web.reconnect.max_retris=5", "max_retries"),
        ("clients.web.traffic.echo.rat=5/s", "rate"),
        ("faults.flaky-network.select.percnt=5%", "percent"),
        ("faults.0.inject.server_crsh.down=5s", "server_crash"),
        ("faults.0.inject.server_crash.dwn=5s", "down"),
        ("target.embeded.backlog=5", "embedded"),
        ("target.embedded.baklog=5", "backlog"),
        ("model.instnces=5", "instances"),
        ("duraton=5s", "duration"),
    ] {
        let errors = load_text(EXAMPLE, &set(&[option])).expect_err(option).to_string();
        assert!(errors.contains(&format!("did you mean `{suggested}`?")), "{option}: {errors}");
    }
}

#[test]
fn a_window_that_ends_after_the_run_is_told_before_it() {
    let text = "duration = \"20s\"\nexpect = [\"closes{from=10s,to=40s} count == 0\"]\n[clients.web]\ncount = 1\n";
    let told = "closes{from=10s,to=40s} count == 0: its window ends at 40s, after the run: only 10s to 20s can be judged";
    assert!(plan(text).dry_run().contains(&format!("note: {told}\n")));
    let whole = text.replace("to=40s", "to=20s");
    assert!(!plan(&whole).dry_run().contains("can be judged"));
    // A shorter run on the command line is told, and refused where nothing is left to judge.
    assert_eq!(load_text(&whole, &set(&["duration=15s"])).unwrap_or_else(|errors| panic!("{errors}")).notices.len(), 1);
    assert!(load_text(text, &set(&["duration=10s"])).is_err());
}

#[test]
fn a_source_is_a_file_a_bundled_name_or_an_address() {
    for (argument, expected) in [
        (None, Source::Bundled("default".to_owned())),
        (Some("crash-storm"), Source::Bundled("crash-storm".to_owned())),
        (Some("nowhere/x.toml"), Source::File(PathBuf::from("nowhere/x.toml"))),
        (Some("ws://127.0.0.1:9000/path"), Source::Url("ws://127.0.0.1:9000/path".to_owned())),
        (Some("https://h.test/path"), Source::Url("wss://h.test/path".to_owned())),
        (Some("localhost:9000/path"), Source::Url("ws://localhost:9000/path".to_owned())),
    ] {
        assert_eq!(Source::of(argument), expected);
    }
    let plan = load(&Source::of(Some("ws://127.0.0.1:9000/path")), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((plan.name.as_str(), plan.clients(), plan.cohorts[0].traffic), ("127.0.0.1-9000", 10, Traffic::None));
    for url in ["WS://joe:secret@127.0.0.1:9000/path", "wSs://joe:secret@127.0.0.1:9000?a={client}"] {
        let plan = load(&Source::of(Some(url)), &Overrides::default()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(plan.name, "127.0.0.1-9000");
        assert!(!plan.dry_run().contains("secret") && plan.dry_run().contains("probe: one opening handshake"), "{}", plan.dry_run());
    }
    // In a scenario an address is what it says; as a word of the command line, people paste what they have.
    let http = load_text("[target.url]\naddress = \"http://127.0.0.1/\"\n[clients.web]\ncount = 1\n", &Overrides::default());
    assert!(http.unwrap_err().to_string().contains("\"ws://127.0.0.1/\""));
}

/// Each text has one error, with this title, at this line and column.
#[test]
fn errors_say_what_is_wrong_and_where() {
    let clients = "[clients.web]\ncount = 5\n";
    let fault = |keys: &str| format!("{clients}[[faults]]\n{keys}\n");
    let url = |keys: &str| format!("[target.url]\naddress = 'ws://x/'\n{}", fault(keys));
    let mut wrong = Vec::new();
    let command = |keys: &str| format!("[target.command]\nrun = 'server {{port}}'\n{}", fault(keys));
    for (text, title, line, column) in [
        ("".to_owned(), "there are no clients", 1, 1),
        ("[clients.web]\n".to_owned(), "[clients.NAME] needs `count`", 1, 1),
        ("[clients.web]\ncuont = 5\n".to_owned(), "unknown key `cuont`", 2, 1),
        (format!("duration = 10\n{clients}"), "`duration` takes a duration with its unit", 1, 12),
        (format!("duration = '10'\n{clients}"), "10 has no unit", 1, 12),
        (format!("duration = '0s'\n{clients}"), "greater than zero", 1, 12),
        (format!("duration = '9999h'\n{clients}"), "`duration` is out of bounds", 1, 12),
        (format!("question = '?'\nanswer = {{ pass = 'Yes' }}\n{clients}"), "answer needs `fail`", 2, 10),
        (format!("question = '?'\nanswer = {{ pass = 'Yes', fail = '' }}\n{clients}"), "`fail` is empty", 2, 33),
        (format!("question = '?'\nanswer = {{ pass = ' .', fail = 'No' }}\n{clients}"), "`pass` is empty", 2, 19),
        (format!("answer = {{ pass = 'Yes', fail = 'No' }}\n{clients}"), "`answer` needs a `question`", 1, 10),
        (format!("question = ' '\n{clients}"), "`question` is empty", 1, 12),
        (
            format!("[target.command]\nrun = 'server {{port}}'\nready = {{ http = {{ path = 'up' }} }}\n{clients}"),
            "no path of a URL",
            3,
            27,
        ),
        (
            format!("[target.command]\nrun = 'server {{port}}'\nready = {{ http = {{ path = \"/x\\r\\nEvil: 1\" }} }}\n{clients}"),
            "no path of a URL",
            3,
            27,
        ),
        (format!("expect = ['attempts{{from=10s}} count > 1']\n{clients}"), "its window begins at 10s and the run ends at 10s", 1, 12),
        (
            format!("expect = ['closes{{reported=1006,to=2s}} share_of{{from=12s,to=15s}} > 1%']\n{clients}"),
            "its window begins at 12s",
            1,
            12,
        ),
        (format!("seed = -1\n{clients}"), "`seed` is out of bounds", 1, 8),
        (format!("expect = ['attempts p99 < 1s']\n{clients}"), "unknown stat `p99`", 1, 21),
        (format!("[target.embeded]\n{clients}"), "unknown key `embeded`", 1, 9),
        (format!("[target.embedded]\nhandshake_cost = 5\n{clients}"), "`handshake_cost` takes a duration", 2, 18),
        (format!("[target.url]\naddress = 'http://x/'\n{clients}"), "not a ws:// or wss:// URL", 2, 11),
        (format!("[target.url]\n{clients}"), "[target.url] needs `address`", 1, 1),
        (format!("[target.url]\naddress = 'ws://x/{{clinet}}'\n{clients}"), "unknown placeholder `{clinet}`", 2, 19),
        (format!("[target.url]\naddress = 'ws://x{{client}}/'\n{clients}"), "the host of a URL must be the same for all clients", 2, 11),
        (
            format!("[target.command]\nrun = 's {{port}}'\naddress = 'ws://h:{{port}}/{{prot}}'\n{clients}"),
            "unknown placeholder `{prot}`",
            3,
            26,
        ),
        (format!("{clients}query = 'token={{token}}'\n"), "unknown placeholder `{token}`", 3, 16),
        (format!("{clients}path = '/{{room}}'\n"), "unknown placeholder `{room}`", 3, 10),
        (format!("{clients}path = 'room'\n"), "this is not the path of a URL", 3, 8),
        (format!("{clients}headers = {{ X-Who = 'a{{cilent}}' }}\n"), "unknown placeholder `{cilent}`", 3, 23),
        (format!("{clients}subprotocols = ['v{{1}}']\n"), "unknown placeholder `{1}`", 3, 19),
        (format!("{clients}subprotocols = ['a,{{client}}']\n"), "this is not the name of a subprotocol", 3, 17),
        (format!("[target.command]\nrun = 'node x.js'\n{clients}"), "the server does not get its port", 2, 7),
        (format!("[target.command]\nrun = 'node \"x.js'\n{clients}"), "not a command line", 2, 7),
        (format!("[model]\nlos = '1%'\n{clients}"), "unknown key `los`", 2, 1),
        (format!("{clients}reconnect = 'phenix'\n"), "unknown reconnect preset \"phenix\"", 3, 13),
        (format!("{clients}reconnect = {{ fixed = {{ delay = 3 }} }}\n"), "`delay` takes a duration", 3, 33),
        (format!("{clients}reconnect = {{ exponential = {{ factor = 2 }} }}\n"), "`exponential` needs `base`", 3, 29),
        (format!("{clients}reconnect = {{ preset = 'phoenix', max_retry = 5 }}\n"), "unknown key `max_retry`", 3, 35),
        (format!("{clients}reconnect = {{ preset = 'phoenix', fixed = {{ delay = '1s' }} }}\n"), "has two conflicting keys", 3, 35),
        (format!("{clients}reconnect = {{ exponential = {{ base = '1s', factor = 0.5 }} }}\n"), "`factor` does not fit", 3, 53),
        (format!("{clients}stay = {{ for = '1s', close = {{ code = 1006 }} }}\n"), "1006 may not stand in a Close frame", 3, 39),
        (format!("{clients}stay = {{ for = '1s', close = {{ reason = 'x' }} }}\n"), "a reason needs a code", 3, 41),
        (
            format!("{clients}stay = {{ for = '1s', close = {{ code = 1000, reason = '{}' }} }}\n", "x".repeat(124)),
            "reason is too long",
            3,
            54,
        ),
        (format!("{clients}headers = {{ Upgrade = 'x' }}\n"), "belongs to the opening handshake", 3, 13),
        (format!("{clients}traffic = 'echo'\n"), "`traffic` takes \"none\" or a table", 3, 11),
        (format!("{clients}traffic = {{ echo = {{ rate = '1/s', in_flight = 1 }} }}\n"), "`rate` and `in_flight` conflict", 3, 48),
        (format!("{clients}traffic = {{ echo = {{ in_flight = 0 }} }}\n"), "`in_flight` is out of bounds", 3, 34),
        (format!("[target.url]\naddress = 'ws://x/'\nsource = ['10.0.0']\n{clients}"), "this is not an IP address", 3, 11),
        (fault("inject = { drop_rst = {} }"), "[[faults]] needs `at`", 3, 1),
        (fault("at = '1s'"), "[[faults]] needs `inject`", 3, 1),
        (fault("at = '1s'\ninject = { drop_rts = {} }"), "unknown kind of fault `drop_rts`", 5, 12),
        (fault("at = '1s'\nfor = '1s'\ninject = { drop_rst = {} }"), "`for` has no effect with `drop_rst`", 5, 7),
        (fault("at = '1s'\ninject = { close_ack_delay = { delay = 2 } }"), "`delay` takes a duration", 5, 40),
        (fault("at = '1s'\ninject = { close_code = { code = 65536 } }"), "`code` is out of bounds", 5, 34),
        (fault("at = '1s'\ninject = { frame_oversize = { size = '4000GiB' } }"), "`size` is out of bounds", 5, 38),
        (fault("at = '1s'\ninject = { close_reason_long = { size = '1025KiB' } }"), "`size` is out of bounds", 5, 41),
        (fault("at = '1s'\ninject = { close_code = { cod = 1000 } }"), "unknown parameter `cod`", 5, 27),
        (fault(&format!("at = '1s'\ninject = {{ close_code = {{ reason = '{}' }} }}", "x".repeat(124))), "`reason` is too long", 5, 36),
        (fault("at = '1s'\ninject = { server_crash = { instance = 1 } }"), "there is no instance 1", 5, 40),
        (fault("at = '1s'\nside = 'client'\ninject = { server_crash = {} }"), "not possible on the client side", 5, 8),
        (fault("at = '1s'\nevery = '1s'\nrate = '1/s'\ninject = { drop_rst = {} }"), "`every` and `rate` conflict", 6, 8),
        (fault("at = '1s'\nevery = '1us'\ninject = { drop_rst = {} }"), "this fault fires too often", 5, 9),
        (fault("at = '1s'\nuntil = '1s'\nevery = '1s'\ninject = { drop_rst = {} }"), "`until` is not after `at`", 5, 9),
        (fault("at = '1s'\nselect = { cohort = 'wep' }\ninject = { drop_rst = {} }"), "there is no cohort \"wep\"", 5, 21),
        (fault("at = '1s'\nselect = { count = 1, nth = 2 }\ninject = { drop_rst = {} }"), "select has two conflicting keys", 5, 29),
        (fault("name = 'stay'\nat = '1s'\ninject = { drop_rst = {} }"), "cannot be the name of a fault", 4, 8),
        (
            fault("name = 'x'\nat = '1s'\ninject = { drop_rst = {} }\n[[faults]]\nname = 'x'\nat = '1s'\ninject = { drop_rst = {} }"),
            "two faults have the name",
            8,
            8,
        ),
        (url("at = '1s'\ninject = { server_crash = {} }"), "`server_crash` is not possible with a URL target", 7, 10),
        (url("at = '1s'\nside = 'server'\ninject = { drop_rst = {} }"), "not possible on the server side with a URL target", 7, 8),
        (command("at = '1s'\nside = 'server'\ninject = { drop_rst = {} }"), "not possible on the server side with a command target", 7, 8),
        (command("at = '1s'\ninject = { upgrade_status = {} }"), "`upgrade_status` is not possible with a command target", 7, 10),
        (format!("{clients}query = '${{NOWHERE}}'\n"), "the environment variable `NOWHERE` is not set", 3, 9),
        (format!("extends = 'nowhere.toml'\n{clients}"), "the scenario in `extends` cannot be read", 1, 11),
        (format!("{clients}x = = 1\n"), "not TOML", 3, 5),
    ] {
        let errors = load_text(&text, &Overrides::default()).expect_err(&text);
        let found = errors.summaries();
        let right = found[0].0.contains(title) && (found[0].1, found[0].2) == (line, column) && (found.len() == 1 || title == "not TOML");
        if !right {
            wrong.push(format!("{text}\nexpected {title} at {line}:{column}\n{errors}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n----\n"));
}

#[test]
fn all_errors_of_a_file_come_at_once_and_read_like_a_compilers() {
    let text = "sed = 7\n[clients.web]\ncount = '5'\narrive = { over = 5 }\n";
    let errors = load_text(text, &Overrides::default()).unwrap_err();
    assert_eq!(errors.count(), 3, "{errors}");
    let page = errors.to_string();
    let at = page.find("error: `over`").expect("the third error");
    let (head, tail) = page[at..].split_once("--> ").expect("a place");
    assert_eq!(head, "error: `over` takes a duration with its unit, as text\n ");
    let (path, rest) = tail.split_once('\n').expect("a line");
    assert!(path.ends_with("test.toml:4:19"), "{path}");
    assert_eq!(rest, "  |\n4 | arrive = { over = 5 }\n  |                   ^ found the number 5\n  |\n  = help: write \"5s\" or \"5ms\"");
    assert!(page.contains("did you mean `seed`?") && !page.contains('\u{1b}'), "{page}");
    assert!(errors.coloured(true).to_string().contains('\u{1b}'));
}

#[test]
fn an_option_of_the_command_line_is_shown_where_it_is_wrong() {
    let errors = load_text(EXAMPLE, &set(&["clients.web.cuont=5"])).unwrap_err();
    let page = errors.to_string();
    assert!(page.contains("--> --set:1:13") && page.contains("clients.web.cuont = 5") && page.contains("`count`"), "{page}");
}

#[test]
fn validate_exits_with_2_and_names_the_place() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("wrong.toml");
    std::fs::write(&file, "[clients.web]\ncuont = 5\n").expect("the folder can be written");
    let program = || assert_cmd::Command::new(env!("CARGO_BIN_EXE_closestorm"));
    let wrong = program().arg("validate").arg(&file).arg("default").assert().code(2);
    let wrong = wrong.stdout(predicates::str::starts_with("ok default: 1,000 clients"));
    wrong.stderr(predicates::str::contains("wrong.toml:2:1").and(predicates::str::contains("did you mean `count`?")));
    program().args(["validate", "default", "--set", "seed=9"]).assert().code(0);
    program().args(["run", "nowhere.toml", "--dry-run"]).assert().code(2).stderr(predicates::str::contains("cannot read the scenario"));
    program().args(["faults", "drop_rts"]).assert().code(2).stderr(predicates::str::contains("did you mean `drop_rst`?"));
}

#[test]
fn catalogues_print_and_a_closed_stdout_is_no_error() {
    let program = || std::process::Command::new(env!("CARGO_BIN_EXE_closestorm"));
    for arguments in
        [&["faults"][..], &["faults", "close_code"], &["presets"], &["presets", "phoenix"], &["scenarios"], &["validate", "--keys"]]
    {
        let output = program().args(arguments).output().expect("the program starts");
        assert!(output.status.success() && output.stdout.ends_with(b"\n"), "{arguments:?}");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let closed = program().args(arguments).stdout(writer).output().expect("the program starts");
        assert!(closed.status.success() && closed.stderr.is_empty(), "{arguments:?}: {closed:?}");
    }
}

proptest::proptest! {
    /// Whatever a user does to a scenario, there is a plan or a page of errors that prints.
    #[test]
    #[ignore = "long: scripts/test"]
    fn a_mangled_scenario_never_panics(from in 0_usize..1100, length in 0_usize..12, piece in 0_usize..20) {
        const PIECES: [&str; 20] = [
            "", "5", "\"5s\"", "-1", "1e400", "[]", "{}", "=", "\n", "\"", "'é'", "ü", "${X}", "true", "[[faults]]\n", "99999999999999999999", "1979-05-27",
            "[target]\n", "x = 1\n", "\"clients_lost{cohört=wéb} count < 5\",",
        ];
        let mut text = EXAMPLE.to_owned();
        let end = (from + length).min(text.len());
        text.replace_range(from.min(end)..end, PIECES[piece]);
        if let Err(errors) = load_text(&text, &Overrides::default()) {
            proptest::prop_assert!(!errors.to_string().is_empty() && errors.count() > 0);
            proptest::prop_assert_eq!(errors.summaries().len(), errors.count());
        }
    }
}

#[test]
fn words_that_answer_go_with_the_expectations_that_they_were_written_for() {
    let text = "question = \"Well?\"\nanswer = { pass = \"Yes\", fail = \"No\" }\nexpect = [\"clients_lost count == \
        0\"]\n[target.embedded]\n[clients.web]\ncount = 1\n";
    let pass = |list: &[&str]| load_text(text, &set(list)).unwrap_or_else(|errors| panic!("{errors}")).answer.map(|answer| answer.pass);
    let other = "expect=[\"reconnect_time p99 < 20s\"]";
    assert_eq!(pass(&[]).as_deref(), Some("Yes"));
    assert_eq!(pass(&["duration=\"5s\""]).as_deref(), Some("Yes"));
    assert_eq!(pass(&[other]), None);
    assert_eq!(pass(&["answer={pass=\"Fine\",fail=\"Bad\"}", other]).as_deref(), Some("Fine"));
}
