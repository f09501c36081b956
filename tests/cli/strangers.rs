//! Scenarios that somebody else wrote: what they name is no device and no pipe, errors show nothing of other files, and their size has a bound.

use super::Place;
use std::fmt::Write as _;

/// A file of this machine that is none of the scenario's.
const PRIVATE: &str = "root:$6$verysecret:19000:0:99999:7:::\n[section]\nduration = \"hidden-value\"\n";

#[test]
fn a_base_is_a_regular_file_and_errors_show_nothing_of_it() {
    let place = Place::new();
    place.write("private", PRIVATE);
    place.write("almost.toml", "unknown_secret_key = \"hidden-value\"\n");
    place.shell("mkfifo pipe").end().assert_code(0);
    for (base, why) in [
        ("/dev/zero", "not a regular file"),
        ("/dev/stdin", ""),
        ("pipe", "not a regular file"),
        (".", "not a regular file"),
        ("private", "private:1:"),
        ("almost.toml", "almost.toml:1:1"),
    ] {
        place.write("test.toml", &format!("extends = \"{base}\"\n[target.embedded]\n[clients.web]\ncount = 1\n"));
        let ended = place.run(&["validate", "test.toml"]);
        ended.assert_code(2);
        assert!(ended.err.contains(why), "{base}: {}", ended.err);
        for hidden in ["verysecret", "hidden-value", "unknown_secret_key", "section"] {
            assert!(!ended.err.contains(hidden), "{base}: {}", ended.err);
        }
    }
}

#[test]
fn a_scenario_is_a_regular_file_or_what_is_open_already() {
    let place = Place::new();
    place.shell("mkfifo pipe").end().assert_code(0);
    for path in ["./pipe", "/dev/zero", "."] {
        place.assert_refuses(&["validate", path], 2, &["cannot read the scenario", "not a regular file"]);
    }
    let clients = "[clients.web]\ncount = 1\n";
    place.write("test.toml", clients);
    for line in [
        "$C validate /dev/stdin <test.toml",
        "cat test.toml | $C validate /dev/stdin",
        "cat test.toml | $C validate /dev/fd/0",
        "cat test.toml | $C validate /proc/self/fd/0",
        "exec bash -c '$C validate <(cat test.toml)'",
    ] {
        let ended = place.shell(line).end();
        assert!(ended.code == Some(0) && ended.out.contains("1 client,"), "{line}: {ended:?}");
    }
}

#[test]
fn a_certificate_is_a_regular_file_and_errors_show_nothing_of_it() {
    let place = Place::new();
    place.write("private", PRIVATE);
    place.shell("mkfifo pipe").end().assert_code(0);
    for (ca, why) in [("/dev/zero", "not a regular file"), ("pipe", "not a regular file"), ("private", "there is none")] {
        let target = format!("[target.url]\naddress = \"wss://127.0.0.1:9/\"\nca = \"{ca}\"\n");
        place.write("test.toml", &format!("duration = \"1s\"\n{target}[clients.web]\ncount = 1\n"));
        let ended = place.run(&["run", "test.toml"]);
        ended.assert_code(1);
        assert!(ended.err.contains(why) && !ended.err.contains("verysecret"), "{ca}: {}", ended.err);
    }
}

#[test]
fn a_scenario_has_at_most_a_thousand_cohorts_and_faults_and_fifty_errors_are_shown() {
    let place = Place::new();
    let scenario = |cohorts: usize, faults: usize| {
        let mut text = "duration = \"2s\"\n[target.embedded]\n".to_owned();
        (0..cohorts).for_each(|n| writeln!(text, "[clients.c{n}]\ncount = 1").expect("a String"));
        (0..faults).for_each(|_| writeln!(text, "[[faults]]\nat = \"1s\"\ninject = {{ drop_rst = {{}} }}").expect("a String"));
        text
    };
    place.write("most.toml", &scenario(1000, 1000));
    place.run(&["validate", "most.toml"]).assert_code(0);
    for (cohorts, faults, why) in [(1001, 1, "too many cohorts"), (1, 1001, "too many faults")] {
        place.write("more.toml", &scenario(cohorts, faults));
        place.assert_refuses(&["validate", "more.toml"], 2, &[why, "found 1001", "at most 1000"]);
    }
    place.write("wrong.toml", &scenario(90, 1).replace("count = 1", "cuont = 1"));
    let ended = place.run(&["validate", "wrong.toml"]);
    ended.assert_code(2);
    assert_eq!(ended.err.matches("error: ").count(), 50, "{}", ended.err);
    assert!(ended.err.contains("more errors are not shown"), "{}", ended.err);
}

#[test]
fn an_untrusted_scenario_starts_reads_and_contacts_nothing_that_was_not_allowed() {
    let place = Place::new();
    place.shell("mkdir inside outside && ln -s ../outside/base.toml inside/link.toml").end().assert_code(0);
    place.write("outside/base.toml", "duration = \"1s\"\n");
    place.write("outside/ca.pem", "none\n");
    let clients = "[clients.web]\ncount = 1\n";
    let url = |host: &str, more: &str| format!("[target.url]\naddress = \"wss://{host}:9/\"\n{more}{clients}");
    let env = format!("question = \"${{HOME}}\"\n{clients}");
    let up = format!("extends = \"../outside/base.toml\"\n{clients}");
    let link = format!("extends = \"link.toml\"\n{clients}");
    let command = format!("[target.command]\nrun = \"touch started {{port}}\"\n{clients}");
    let ca = url("127.0.0.1", "ca = \"outside/ca.pem\"\n");
    for (text, why, allow) in [
        (command.as_str(), "would start a program", None),
        (&env, "the environment variable `HOME` is not allowed", Some(["--allow-env", "HOME"])),
        (&up, "outside the scenario's folder", Some(["--allow-path", "outside"])),
        (&link, "outside the scenario's folder", Some(["--allow-path", "outside"])),
        (&ca, "outside the scenario's folder", Some(["--allow-path", "outside"])),
        (&url("example.org", ""), "example.org is not on this machine", Some(["--allow-host", "example.org"])),
    ] {
        place.write("inside/test.toml", text);
        let args = ["validate", "inside/test.toml"];
        place.run(&args).assert_code(0);
        let untrusted = [&args[..], &["--untrusted"]].concat();
        place.assert_refuses(&untrusted, 2, &[why]);
        if let Some(allow) = allow {
            place.run(&[&untrusted[..], &allow[..]].concat()).assert_code(0);
        }
        let ended = place.run(&["run", "inside/test.toml", "--untrusted"]);
        ended.assert_code(2);
    }
    assert!(!place.path("started").exists());
    for (text, says) in [
        (command, "starts the program `touch`"),
        (url("u:hidden@example.org", ""), "starts nothing, contacts wss://***@example.org:9/"),
        (clients.to_owned(), "contacts nobody else"),
    ] {
        place.write("inside/test.toml", &text);
        let ended = place.run(&["validate", "inside/test.toml"]);
        assert!(ended.out.contains(says), "{ended:?}");
    }
}

#[test]
fn files_of_an_untrusted_scenario_are_in_its_folder_whatever_names_them() {
    let place = Place::new();
    place
        .shell("mkdir inside outside inside/sub && ln -s ../outside inside/out && ln -s ../outside/values.csv inside/values.csv")
        .end()
        .assert_code(0);
    for folder in ["outside", "inside/sub"] {
        place.write(&format!("{folder}/values.csv"), "token\na\n");
        place.write(&format!("{folder}/hello"), "hello");
        place.write(&format!("{folder}/arrivals.csv"), "arrivals\n1\n");
        place.write(&format!("{folder}/learned.toml"), "reconnect = { fixed = { delay = \"1s\" } }\n");
        place.write(&format!("{folder}/talk.toml"), "[[open]]\nsend = \"file:hello\"\n".replace("file:hello", "file:sub/hello").as_str());
    }
    let scenario = |what: &str| format!("duration = \"1s\"\n[clients.web]\ncount = 1\n{what}\n");
    for (path, is_inside) in
        [("sub", true), ("sub/../sub", true), ("../outside", false), ("out", false), ("../inside/out", false), ("sub/../../outside", false)]
    {
        for what in [
            format!("data = \"{path}/values.csv\""),
            format!("data = {{ file = \"{path}/values.csv\" }}"),
            format!("first_message = \"file:{path}/hello\""),
            format!("dialogue = {{ open = [{{ send = \"file:{path}/hello\" }}] }}"),
            format!("dialogue = \"{path}/talk.toml\""),
            format!("arrive = {{ file = \"{path}/arrivals.csv\" }}"),
            format!("reconnect = {{ file = \"{path}/learned.toml\" }}"),
        ] {
            place.write("inside/test.toml", &scenario(&what));
            let args = ["validate", "inside/test.toml"];
            place.run(&args).assert_code(0);
            let untrusted = [&args[..], &["--untrusted"]].concat();
            if is_inside {
                place.run(&untrusted).assert_code(0);
            } else {
                place.assert_refuses(&untrusted, 2, &["outside the scenario's folder"]);
                place.run(&[&untrusted[..], &["--allow-path", "outside"]].concat()).assert_code(0);
            }
        }
    }
    // One link in the folder that leads out of it, and what asks other hosts.
    for (what, why) in [
        ("data = \"values.csv\"", "outside the scenario's folder"),
        ("data = \"missing.csv\"", "there is no such file"),
        ("dialogue = { before = [{ get = \"http://192.0.2.1/\" }] }", "`before` asks other hosts"),
    ] {
        place.write("inside/test.toml", &scenario(what));
        place.assert_refuses(&["validate", "inside/test.toml", "--untrusted"], 2, &[why]);
        place.assert_refuses(&["run", "inside/test.toml", "--untrusted"], 2, &[why]);
    }
}

/// Of what is outside, nothing tells whether it is there.
#[test]
fn an_untrusted_scenario_is_told_of_files_that_are_missing_in_its_folder_only() {
    let place = Place::new();
    let links = "ln -s ../outside inside/out && ln -s ../outside/values.csv inside/there && ln -s ../outside/missing inside/dangling \
        && ln -s sub inside/link && ln -s missing inside/lost";
    place.shell(&format!("mkdir -p inside/sub outside && {links}")).end().assert_code(0);
    place.write("outside/values.csv", "token\na\n");
    place.write("inside/values.csv", "token\na\n");
    let validate = |key: &str, more: &[&str], why: &str| {
        place.write("inside/test.toml", &format!("{key}\nduration = \"1s\"\n[clients.web]\ncount = 1\n"));
        place.assert_refuses(&[&["validate", "inside/test.toml", "--untrusted"], more].concat(), 2, &[why]);
    };
    let (missing, outside) = ("there is no such file", "outside the scenario's folder");
    for (path, why) in [
        ("missing.csv", missing),
        ("sub/missing.csv", missing),
        ("missing/deep/values.csv", missing),
        ("sub/../missing.csv", missing),
        ("../inside/missing.csv", missing),
        ("link/missing.csv", missing),
        ("values.csv/missing", missing),
        ("../outside/missing.csv", outside),
        ("../outside/values.csv", outside),
        ("../missing/values.csv", outside),
        ("out/missing.csv", outside),
        ("out/values.csv", outside),
        ("there", outside),
        ("dangling", outside),
        ("lost", outside),
        ("/missing/values.csv", outside),
    ] {
        validate(&format!("clients.api = {{ count = 1, data = \"{path}\" }}"), &[], why);
        validate(&format!("extends = \"{path}\""), &[], why);
    }
    validate("extends = \"../outside/missing.csv\"", &["--allow-path", "outside"], missing);
    let target = |ca: &str| format!("target.url = {{ address = \"wss://127.0.0.1:9/\", ca = \"{ca}\" }}");
    for (ca, why) in [("inside/missing.pem", missing), ("missing.pem", outside), ("outside/values.csv", outside)] {
        validate(&target(ca), &[], why);
    }
}

#[test]
fn variables_that_an_untrusted_scenario_may_not_read_are_told_as_such_whether_set_or_not() {
    let place = Place::new();
    for name in ["HOME", "NOT_SET"] {
        for text in [format!("question = \"${{{name}}}\""), format!("clients.web.headers = {{ Token = \"{{env.{name}}}\" }}")] {
            place.write("test.toml", &format!("{text}\nduration = \"1s\"\nclients.web.count = 1\n"));
            let allow = format!("--allow-env {name}");
            place.assert_refuses(&["validate", "test.toml", "--untrusted"], 2, &[&format!("`{name}` is not allowed"), &allow]);
            if name == "NOT_SET" {
                place.assert_refuses(&["validate", "test.toml", "--untrusted", "--allow-env", name], 2, &["is not set"]);
            }
        }
    }
}

#[test]
fn files_that_a_cohort_names_are_regular_and_errors_show_nothing_of_them() {
    let place = Place::new();
    place.write("private", PRIVATE);
    place.shell("mkfifo pipe").end().assert_code(0);
    for (file, why) in [("/dev/zero", "not a regular file"), ("pipe", "not a regular file"), ("private", "")] {
        for what in [
            format!("data = \"{file}\"\nquery = \"a={{data.none}}\""),
            format!("first_message = \"file:{file}\"\ncuont = 1"),
            format!("dialogue = \"{file}\""),
            format!("reconnect = {{ file = \"{file}\" }}"),
        ] {
            place.write("test.toml", &format!("duration = \"1s\"\n[clients.web]\ncount = 1\n{what}\n"));
            let ended = place.run(&["validate", "test.toml"]);
            ended.assert_code(2);
            assert!(ended.err.contains(why), "{what}: {}", ended.err);
            for hidden in ["verysecret", "hidden-value", "section"] {
                assert!(!ended.err.contains(hidden), "{what}: {}", ended.err);
            }
        }
    }
}

#[test]
fn of_an_untrusted_scenario_the_address_decides_and_not_the_name() {
    let place = Place::new();
    let scenario = "duration = \"1s\"\n[target.url]\naddress = \"ws://localhost:9/\"\n[clients.web]\ncount = 1\n";
    place.write("test.toml", scenario);
    // For documentation only (RFC 5737): nobody has it.
    place.write("hosts", "192.0.2.1 localhost\n");
    let other = |line: &str| place.shell(&format!("exec unshare -m sh -c 'mount --bind hosts /etc/hosts && {line}'")).end();
    if other("getent ahosts localhost | grep -q 192.0.2.1").code != Some(0) {
        eprintln!("!! LEFT OUT: a machine whose localhost is another one: not allowed to mount /etc/hosts");
        return;
    }
    let ended = other("exec $C run test.toml --untrusted --out run");
    ended.assert_one_message(1, &["localhost is 192.0.2.1, which is not on this machine", "--allow-host localhost"]);
    assert!(!place.path("run").exists());
    // As the machine has it, it is connected.
    place.assert_refuses(&["run", "test.toml", "--untrusted", "--out", "run"], 1, &["refused"]);
    // The same of the proxy on the way to a target that is allowed; and an address that the scenario gives counts in place of the name's.
    place.write("test.toml", &scenario.replace("localhost:9/\"", "app.test/\"\nproxy = \"http://localhost:9\""));
    let ended = other("exec $C run test.toml --untrusted --allow-host app.test --yes --out run");
    ended.assert_one_message(1, &["localhost is 192.0.2.1, which is not on this machine", "--allow-host localhost"]);
    place.write("test.toml", &scenario.replace(":9/\"", ":9/\"\nresolve = [\"localhost=127.0.0.1\"]"));
    other("exec $C run test.toml --untrusted --out run").assert_one_message(1, &["refused"]);
    assert!(!place.path("run").exists());
}

#[test]
fn what_strangers_wrote_steers_no_terminal_and_no_ci_service() {
    let place = Place::new();
    place.write("test.toml", "question = \"q \\u001b]0;PWNED\\u0007\"\nduration = \"1s\"\n\"\\u001b[2J\" = 1\n[clients.web]\ncount = 1\n");
    let ended = place.run(&["validate", "test.toml"]);
    ended.assert_code(2);
    assert!(!ended.err.contains('\u{1b}'), "{:?}", ended.err);
    place.write("test.toml", "question = \"q \\u001b]0;PWNED\\u0007\"\nduration = \"1s\"\n[clients.web]\ncount = 1\n");
    let ended = place.run(&["run", "test.toml", "--dry-run"]);
    ended.assert_code(0);
    assert!(ended.out.contains("PWNED") && !ended.out.contains('\u{1b}') && !ended.out.contains('\u{7}'), "{:?}", ended.out);
    let run = "sh -c 'printf \\\"::error::x\\\\n\\\\033]0;pwned\\\\007\\\\n\\\"; exit 1' {port}";
    place.write("test.toml", &format!("duration = \"1s\"\n[target.command]\nrun = \"{run}\"\n[clients.web]\ncount = 1\n"));
    let ended = place.run(&["run", "test.toml"]);
    ended.assert_code(1);
    assert!(ended.err.contains("  | \\u{3a}:error::x") && ended.err.contains("pwned"), "{}", ended.err);
    assert!(!ended.err.contains('\u{1b}') && !ended.err.lines().any(|line| line.trim_start().starts_with("::")), "{:?}", ended.err);
}
