//! The closed books of a part of a run as bytes, on their way to the whole.
//!
//! Not a format for others: only the program that wrote it reads it, in the same version, with the plan beside it. `results::shard`
//! sees to that, and [`Results::add`] puts parts together.

use super::bank::Bank;
use super::book::{Book, FaultBook, Kept, Meta, Results, Status, Usage};
use super::ending::{Counted, Reasons};
use super::outage::Outage;
use super::sample::Sample;
use super::timeline::Timeline;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// [`Results`] without what the plan tells.
#[derive(Serialize, Deserialize)]
struct Body {
    status: Status,
    measured: Duration,
    books: Vec<Book>,
    peak_open: u64,
    faults: Vec<FaultBook>,
    bank: Bank,
    timeline: Timeline,
    endings: BTreeMap<Counted, u64>,
    reasons: Reasons,
    outages: Sample<Outage>,
    milestones: Sample<Kept>,
    events: Sample<Kept>,
    notices: BTreeMap<String, u64>,
    usage: Usage,
    workers: u32,
    lost: Vec<String>,
}

/// Why bytes are no books.
#[derive(Debug, thiserror::Error)]
#[error("the books of a part cannot be read: {0}")]
pub struct Unreadable(String);

/// Closed books as bytes.
pub fn encode(results: Results) -> Vec<u8> {
    let Results {
        meta: _,
        simulated: _,
        status,
        measured,
        books,
        peak_open,
        faults,
        bank,
        timeline,
        endings,
        reasons,
        outages,
        milestones,
        events,
        notices,
        usage,
        workers,
        lost,
    } = results;
    let body = Body {
        status,
        measured,
        books,
        peak_open,
        faults,
        bank,
        timeline,
        endings,
        reasons,
        outages,
        milestones,
        events,
        notices,
        usage,
        workers,
        lost,
    };
    // Fails only for types without a length or a full writer; ours have one, and memory grows.
    postcard::to_stdvec(&body).expect("every type of the books has its length")
}

/// Closed books of the plan that `meta` is of.
///
/// # Errors
/// The bytes are cut, of another version, or of a plan with other cohorts or faults.
pub fn decode(meta: Meta, bytes: &[u8]) -> Result<Results, Unreadable> {
    let body: Body = postcard::from_bytes(bytes).map_err(|error| Unreadable(error.to_string()))?;
    if body.books.len() != meta.cohorts.len() || body.faults.len() != meta.faults.len() {
        return Err(Unreadable("they are of another plan".to_owned()));
    }
    Ok(Results {
        meta,
        simulated: false,
        status: body.status,
        measured: body.measured,
        books: body.books,
        peak_open: body.peak_open,
        faults: body.faults,
        bank: body.bank,
        timeline: body.timeline,
        endings: body.endings,
        reasons: body.reasons,
        outages: body.outages,
        milestones: body.milestones,
        events: body.events,
        notices: body.notices,
        usage: body.usage,
        workers: body.workers,
        lost: body.lost,
    })
}
