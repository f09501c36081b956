//! Tests: a plan as three shards whose results are added up, and as one process. In memory and on a paused clock nothing may differ.

use super::tests::{CRASH, FULL, PHONES, QUICK, TELEVISIONS, TWO_CRASHES, plan};
use crate::metrics::Results;
use crate::metrics::meta::RunMeta;
use crate::metrics::shard::{decode, encode};
use crate::plan::{Plan, Shard};
use crate::results::evidence::Evidence;
use crate::results::summary::summarise;
use crate::run::in_memory::compare::{engine, engine_of};
use crate::verdict::judge;
use serde_json::Value;

/// What each has in common with no other: whom faults hit is decided client by client, or all are hit.
const PLANS: &[(&str, &[&str])] = &[
    ("crashes of three cohorts", &[TWO_CRASHES, FULL, PHONES, TELEVISIONS]),
    (
        "every third, by both sides",
        &[
            r#"faults=[{at="5003ms",select={nth=3},inject={close_code={code=1012,reason="restart"}}},
                {at="6003ms",every="4s",side="client",select={nth=4},inject={drop_rst={}}}]"#,
            QUICK,
            PHONES,
        ],
    ),
    (
        "every second in the dark, found by a heartbeat",
        &[
            r#"faults=[{at="5003ms",for="6s",side="client",select={nth=2},inject={blackhole={on_revert="resume"}}}]"#,
            FULL,
            r#"clients.web.traffic={echo={rate="5/s"}}"#,
            r#"clients.web.heartbeat={every="900ms",timeout="400ms"}"#,
        ],
    ),
    (
        "turned away, given up",
        &[
            r#"faults=[{at="5003ms",inject={drop_fin={}}},{at="5s",for="7s",select={nth=3},inject={upgrade_status={status=503,retry_after="2s"}}}]"#,
            r#"clients.web.reconnect={preset="reconnecting-websocket",max_retries=2}"#,
        ],
    ),
    ("stays", &[CRASH, QUICK, r#"clients.web.stay={for="3s",return="1500ms"}"#, r#"clients.web.traffic={send={rate="5/s"}}"#]),
    (
        "stages, a spike, arrivals by second",
        &[
            TWO_CRASHES,
            QUICK,
            PHONES,
            TELEVISIONS,
            r#"clients.web.arrive={stages=[{to=40,over="3200ms"},{to=8,over="3200ms"},{hold="1s"},{to=40},{hold="2s"},{to=0,over="4s"}]}"#,
            r#"clients.web.traffic={send={rate={stages=[{to="5/s",over="9s"},{to="1/s"}]}}}"#,
            r#"clients.phone.arrive={per_second=[0,10,5,0,10]}"#,
            r#"clients.tv.after="4s""#,
        ],
    ),
    ("over TLS", &[TWO_CRASHES, QUICK, "target.embedded.tls=true"]),
    (
        "instances, a rolling restart",
        &[
            r#"faults=[{at="5003ms",inject={server_restart_rolling={interval="2s",down="700ms",mode="crash"}}}]"#,
            QUICK,
            "target.embedded.instances=3",
            r#"target.embedded.balance="sticky""#,
        ],
    ),
    (
        "what new connections meet",
        &[r#"faults=[{at="5003ms",inject={drop_fin={}}},{at="5s",new=true,side="client",select={nth=2},inject={close_empty={}}}]"#, QUICK],
    ),
];

const EXPECTED: &str =
    r#"expect=["clients_lost count == 0","reconnect_time p90 < 30s","attempts peak < 500/s","closes{reported=1006} share > 10%"]"#;

/// Each part has a server of its own, in which nobody waits for others.
const FREE: &str = "target.embedded.handshake_cost=\"0s\"";

/// As `merge` does.
fn added_up(plan: &Plan, of: u32) -> Results {
    let part = |index| {
        let results = engine_of(plan, Shard { index, of }).0;
        decode(RunMeta::of(plan), &encode(results)).expect("readable")
    };
    let mut sum = part(0);
    (1..of).for_each(|index| sum.add(&part(index)));
    sum
}

/// All that a summary says of what happened; what it says of the process that measured it is that of several.
fn summary(results: &Results, plan: &Plan) -> Value {
    results.check_ledger().expect("balanced");
    let verdict = judge(&Evidence::of(results), &plan.expectations);
    let mut summary = serde_json::to_value(summarise(results, None, &verdict, "")).expect("JSON");
    summary.as_object_mut().expect("a table").remove("generator");
    summary
}

/// Where two differ, as `place: one | other`.
fn differences(place: &str, one: &Value, other: &Value) -> Vec<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
            let of = |table: &serde_json::Map<_, _>, key: &String| table.get(key).cloned().unwrap_or_default();
            keys.flat_map(|key| differences(&format!("{place}.{key}"), &of(one, key), &of(other, key))).collect()
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => (0_usize..)
            .zip(one.iter().zip(other))
            .flat_map(|(at, (one, other))| differences(&format!("{place}[{at}]"), one, other))
            .collect(),
        _ if one == other => Vec::new(),
        _ => vec![format!("{place}: {one} | {other}")],
    }
}

#[test]
fn three_shards_are_what_one_process_is() {
    let mut wrong = Vec::new();
    for (name, changes) in PLANS {
        for seed in 1..=3 {
            let changes: Vec<_> = changes.iter().copied().chain([EXPECTED, FREE]).collect();
            let plan = plan(&changes, seed);
            let (whole, sum) = (engine(&plan).0, added_up(&plan, 3));
            let found = differences("", &summary(&whole, &plan), &summary(&sum, &plan));
            wrong.extend(found.into_iter().map(|found| format!("{name}, seed {seed}: {found}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
