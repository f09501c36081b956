//! What the program refuses, and in which words: wrong scenarios and arguments, too few files, machines that are not ours.

use super::{LISTENING, Place, SHORT};

#[test]
fn everything_that_is_wrong_with_a_scenario_is_told_at_once_with_its_place() {
    let place =
        Place::with("durration = \"10s\"\nexpect = [\"reconnect_tim p99 < 10s\"]\n[target.embedded]\n[clients.web]\ncount = \"a\"\n");
    let ended = place.run(&["run", "test.toml"]);
    ended.assert_code(2);
    for part in ["test.toml:1:1", "^^^^^^^^^", "did you mean `duration`?", "test.toml:2:12", "`reconnect_tim`", "test.toml:5:9"] {
        assert!(ended.err.contains(part), "{part} is not in {}", ended.err);
    }
    assert_eq!((ended.err.matches("error: ").count(), ended.out.as_str()), (3, ""), "{ended:?}");
    assert_eq!(place.litter(), Vec::<String>::new());
}

#[test]
fn a_wrong_argument_is_a_usage_error_that_says_what_is_right() {
    let place = Place::with(SHORT);
    let table: [(&[&str], &[&str]); 15] = [
        (&["run", "nothere.toml"], &["cannot read the scenario nothere.toml", "No such file", "bundled scenarios: default"]),
        (&["run", "ftp://127.0.0.1:1/"], &["not a ws:// or wss:// URL", "as \"ws://127.0.0.1:9000/path\""]),
        (&["run", "--clients", "0"], &["`--clients` is out of bounds", "at least one"]),
        (&["run", "--clients", "99999999"], &["`--clients` is out of bounds", "at most"]),
        (&["run", "--clients", "-1"], &["'-1' for '--clients <N>'"]),
        (&["run", "--seed", "-1"], &["'-1' for '--seed <N>'"]),
        (&["run", "--duration", "0s"], &["greater than zero", "\"1ms\""]),
        (&["run", "--duration", "-1s"], &["\"-1s\" is not a duration", "\"250ms\""]),
        (&["run", "--duration", "10"], &["\"10s\""]),
        (&["run", "--set", "nope=1"], &["unknown key `nope`", "allowed: "]),
        (&["run", "--set", "nope"], &["not `key=value`", "--set clients.web.count=500"]),
        (&["run", "--out", ""], &["--out"]),
        (&["faults", "drop_rts"], &["did you mean `drop_rst`?"]),
        (&["scenarios", "defalt"], &["did you mean `default`?"]),
        (&["learn", "--listen", "[::1]:0", "--refuse", "closed-port"], &["over IPv4 only"]),
    ];
    table.iter().for_each(|(args, parts)| place.assert_refuses(args, 2, parts));
}

#[test]
fn instances_of_the_model_are_simulated_and_not_run() {
    let place = Place::with(
        "duration = \"2s\"\n[model]\ninstances = 3\n[clients.web]\ncount = 9\n[[faults]]\nname = \"lost\"\nat = \"1s\"\n\
         inject = { server_crash = { instance = 2, down = \"1m\" } }\n",
    );
    place.run(&["simulate", "test.toml", "--out", "simulated"]).assert_code(0);
    assert_eq!(place.json("simulated/summary.json")["target"], "embedded, 3 instances");
    for args in [&["run", "test.toml"][..], &["run", "test.toml", "--dry-run"]] {
        place.assert_refuses(args, 2, &["fault lost: there is no instance 2: the target has 1"]);
    }
}

#[test]
fn more_clients_than_files_are_refused_with_the_number_that_fits() {
    let place = Place::with(LISTENING);
    // Also where the limit is met on the way, by whatever opens a file.
    let out = ["closestorm: ", "Too many open files", "raise it (`ulimit -n`)"];
    let table: [(&str, &[&str]); 5] = [
        ("ulimit -n 80; exec $C run test.toml --clients 60", &[&out[..], &["the limit of 80 open files"]].concat()),
        ("ulimit -n 8; exec $C serve", &[&out[..], &["the limit of 8 open files"]].concat()),
        ("ulimit -n 8; exec $C simulate test.toml", &out),
        (
            "ulimit -n 256; exec $C run crash-storm --workers 1",
            &["5000 clients need 5064 open files", "the limit of this process is 256", "`ulimit -n 5064`", "`--clients 192`"],
        ),
        (
            "ulimit -n 40; exec $C run test.toml",
            &["not even one client is possible", "may open 40 files", "needs 64 of them for itself", "raise the limit", "`ulimit -n`"],
        ),
    ];
    for (line, parts) in table {
        let ended = place.shell(line).end();
        ended.assert_one_message(1, parts);
        assert!(!ended.err.contains("--clients 0"), "{ended:?}");
        assert_eq!((ended.out.as_str(), place.litter()), ("", vec![]), "{ended:?}");
    }
}

#[test]
fn a_run_at_exactly_the_limit_of_files_opens_all_its_connections_and_one_more_is_refused() {
    let place = Place::with(
        "duration = \"2s\"\nexpect = [\"attempts{outcome=opened} count == 200\", \"opening_handshake p50 < 20s\"]\n\
         [target.embedded]\n[clients.web]\ncount = 200\narrive = { over = \"500ms\" }\n",
    );
    let ended = place.shell("ulimit -n 264; exec $C run test.toml --workers 1 --out at --format json 2>/dev/null").end();
    ended.assert_code(0);
    assert_eq!(ended.json()["clients"]["open_at_end"], 200);
    let ended = place.shell("ulimit -n 263; exec $C run test.toml --workers 1 --out above").end();
    ended.assert_one_message(1, &["need 264 open files", "`--clients 199`"]);
}

#[test]
fn off_this_machine_the_plan_is_shown_and_many_clients_need_yes() {
    let place = Place::with(SHORT);
    // 192.0.2.1 is an address of documentation, RFC 5737: nothing is ever sent to it, for the refusal comes first.
    let table: [(&[&str], &str); 7] = [
        (
            &["--clients", "101", "--set", "clients.default.arrive={over=\"1m\"}", "--duration", "1m"],
            "101 clients (without it, at most 100)",
        ),
        (&["--clients", "60", "--duration", "2s"], "up to 60 first attempts a second (at most 50)"),
        (&["--clients", "101"], "101 clients (without it, at most 100)"),
        (&["--clients", "40", "--set", "clients.default.traffic={send={rate=\"30/s\"}}"], "1200 messages a second (at most 1000)"),
        (
            &["--clients", "40", "--set", "clients.default.heartbeat={every=\"20ms\",timeout=\"1s\"}"],
            "2000 messages a second (at most 1000)",
        ),
        (&["--clients", "40", "--set", "clients.default.traffic={send={rate=\"1/s\",payload=\"64KiB\"}}"], "a second (at most 1MiB)"),
        (&["--clients", "1", "--set", "clients.default.traffic={echo={in_flight=1,payload=\"2MiB\"}}"], "a second (at most 1MiB)"),
    ];
    for (args, why) in table {
        let args = [&["run", "ws://192.0.2.1/"], args].concat();
        let plan = "target ws://192.0.2.1/";
        place.assert_refuses(&args, 2, &[plan, "is on another machine", why, "--yes"]);
        // Who only looks at the plan is told; and what the user allows needs no word.
        let note = "note: a run against ws://192.0.2.1/ needs --yes, it is on another machine: ";
        let validate = [&["validate"], &args[1..]].concat();
        for args in [&validate[..], &[&args[..], &["--dry-run"]].concat()] {
            let ended = place.run(args);
            assert!(ended.code == Some(0) && ended.out.contains(note) && ended.out.contains(why), "{ended:?}");
        }
        assert!(!place.run(&[&args[..], &["--dry-run", "--yes"]].concat()).out.contains("needs --yes"), "{args:?}");
        for name in ["CI", "YES"] {
            let ended = place.shell(&format!("{name}=true exec $C {}", args.join(" ").replace('"', "\\\""))).end();
            if !args.contains(&"--set") {
                ended.assert_one_message(2, &[plan, why, "--yes"]);
            }
        }
    }
}

#[test]
fn this_machine_is_what_a_name_leads_to() {
    let place = Place::with(SHORT);
    for (host, needs) in
        [("app.test", true), ("localhost", false), ("[::1]", false), ("[::ffff:127.0.0.1]", false), ("[2001:db8::1]", true)]
    {
        let ended = place.run(&["validate", &format!("ws://{host}/"), "--clients", "101"]);
        assert!(ended.code == Some(0) && ended.out.contains("needs --yes") == needs, "{ended:?}");
        assert_eq!(ended.out.contains("unless this name leads to this machine"), host == "app.test", "{ended:?}");
    }
    for host in ["localhost", "127.1", "0x7f.1", "[::ffff:127.0.0.1]"] {
        // Nobody listens there: it is tried.
        let ended = place.run(&["run", &format!("ws://{host}:9/"), "--clients", "101"]);
        ended.assert_code(1);
        assert!(!ended.err.contains("on another machine"), "{host}: {}", ended.err);
    }
}
