//! scratch
fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args[1].as_str() {
        "__server" => std::process::exit(closestorm::engine::server::main(&args[2]).into()),
        "__guard" => std::process::exit(closestorm::engine::target::guard::main(&args[2]).into()),
        _ => {}
    }
    let plan = match closestorm::scenario::load(&closestorm::scenario::Source::of(Some(&args[2])), &Default::default()) {
        Ok(p) => p,
        Err(e) => {
            eprintln!("{e}");
            return;
        }
    };
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let places = closestorm::engine::Places { program: closestorm::engine::this_program(), output: "/tmp/out.log".into() };
    let plan = std::sync::Arc::new(plan);
    let r = rt.block_on(closestorm::engine::run(plan.clone(), &places, std::future::pending(), |at, live| eprintln!("{at:?} {live:?}")));
    match r {
        Ok(r) => {
            println!("{:?}", r.check_ledger());
            let v = closestorm::verdict::judge(&closestorm::results::evidence::Evidence::of(&r), &plan.expectations);
            println!("{}", serde_json::to_string_pretty(&closestorm::results::summary::summarise(&r, &v, "x")).unwrap());
        }
        Err(e) => eprintln!("error {e}"),
    }
}
