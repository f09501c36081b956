//! Whatever reads bytes of others, thrown at with bytes that nobody would write: nothing may panic, and nothing may take more memory
//! than [`MOST_MEMORY`] for a small input. Run by `scripts/test` (a minute for all) and `scripts/long fuzz` (five minutes each).
//!
//! `FUZZ_SECONDS`: for each target. `FUZZ_SEED`: of the mutations; a failure prints both it and the input, as small as it could be made,
//! which `FUZZ_INPUT=FILE` runs alone. Small inputs to begin with are in `corpus/<target>/`.

mod folders;
mod mutate;
mod readers;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Counts what is allocated, so that an input that asks for gigabytes is found and not only slow.
#[global_allocator]
static ALLOCATED: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

/// Most that a reader may take for an input of [`mutate::LONGEST`] at most, bytes.
const MOST_MEMORY: usize = 64 << 20;
/// Longest that it may take for one, in a debug build beside other work.
const LONGEST: Duration = Duration::from_secs(20);

fn number(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap_or_else(|_| panic!("{name} is a whole number")))
}

/// The files of `corpus/<name>/`, by name.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read(file).expect("a readable file")).collect()
}

/// Runs `read` on mutations of `seeds` until the time is over.
#[expect(clippy::disallowed_methods, reason = "how long it takes is measured, and nothing here pauses a clock")]
fn fuzz(name: &str, seeds: &[Vec<u8>], read: impl Fn(&[u8])) {
    assert!(!seeds.is_empty(), "{name} has nothing to begin with");
    if let Ok(file) = std::env::var("FUZZ_INPUT") {
        return read(&std::fs::read(file).expect("FUZZ_INPUT is a readable file"));
    }
    let (seconds, seed) = (number("FUZZ_SECONDS").unwrap_or(4), number("FUZZ_SEED").unwrap_or(1));
    let begun = Instant::now();
    let judged = |input: &[u8]| -> Result<(), TestCaseError> {
        let (before, begun) = (ALLOCATED.current_usage(), Instant::now());
        ALLOCATED.reset_peak_usage();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| read(input)));
        prop_assert!(caught.is_ok(), "it panicked");
        let taken = ALLOCATED.peak_usage().saturating_sub(before);
        prop_assert!(taken <= MOST_MEMORY, "it took {taken} bytes of memory");
        prop_assert!(begun.elapsed() < LONGEST, "it took {:?}", begun.elapsed());
        Ok(())
    };
    // What a panic says is of interest only for the smallest input, which is run again below.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut cases = 0;
    let mut found: Option<(Vec<u8>, String)> = None;
    for round in 0.. {
        if found.is_some() || begun.elapsed() >= Duration::from_secs(seconds) {
            break;
        }
        let mut random = [0; 32];
        random[..8].copy_from_slice(&seed.to_le_bytes());
        random[8..16].copy_from_slice(&u64::to_le_bytes(round));
        let config = Config { cases: 32, failure_persistence: None, max_shrink_iters: 2_000, max_shrink_time: 60_000, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &random));
        let outcome = runner.run(&mutate::mutations(seeds.len()), |(which, mutations)| judged(&mutate::mutated(seeds, which, &mutations)));
        match outcome {
            Ok(()) => cases += 32,
            Err(TestError::Fail(why, (which, mutations))) => found = Some((mutate::mutated(seeds, which, &mutations), why.to_string())),
            Err(TestError::Abort(why)) => panic!("{name}: {why}"),
        }
    }
    std::panic::set_hook(hook);
    println!("{name}: {cases} inputs in {:.1} s, seed {seed}", begun.elapsed().as_secs_f64());
    let Some((input, why)) = found else { return };
    let file = std::env::temp_dir().join(format!("closestorm-fuzz-{name}"));
    std::fs::write(&file, &input).expect("the temporary folder can be written");
    println!("{name}: {why}; the input: {:?}", String::from_utf8_lossy(&input[..input.len().min(2_000)]));
    println!("again: FUZZ_INPUT={} cargo test --test fuzz -- {name} --nocapture", file.display());
    read(&input);
    panic!("{name}: {why}");
}
