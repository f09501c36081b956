//! What becomes of attempts to connect, and how many came to which end. Ledger, timeline, snapshots and `summary.json` count with the same
//! type; `timeline.csv` has a column for each but those abandoned, as CSV knows no parts (`results::rows`).

use crate::expect::OutcomeLabel;
use serde::{Deserialize, Serialize};

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AttemptStep {
    /// It began.
    Begun,
    /// 101.
    Opened,
    /// ECONNREFUSED.
    Refused,
    /// A deadline passed.
    TimedOut,
    /// Another HTTP answer.
    Rejected,
    /// All else.
    Failed,
    /// Under way at the end, or cut by a fault.
    Abandoned,
}

/// Numbers of attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct AttemptCounts {
    /// All that began. Of a whole run the sum of those below.
    pub total: u64,
    /// Ended with 101.
    pub opened: u64,
    /// ECONNREFUSED.
    pub refused: u64,
    /// A connect, TLS or upgrade deadline passed.
    pub timed_out: u64,
    /// An HTTP answer other than 101.
    pub rejected: u64,
    /// All else.
    pub failed: u64,
    /// Under way at the end, or cut by a fault.
    pub abandoned: u64,
}

impl AttemptStep {
    /// As expectations and files call it; `None` of a beginning.
    pub fn outcome(self) -> Option<OutcomeLabel> {
        Some(match self {
            AttemptStep::Begun => return None,
            AttemptStep::Opened => OutcomeLabel::Opened,
            AttemptStep::Refused => OutcomeLabel::Refused,
            AttemptStep::TimedOut => OutcomeLabel::TimedOut,
            AttemptStep::Rejected => OutcomeLabel::Rejected,
            AttemptStep::Failed => OutcomeLabel::Failed,
            AttemptStep::Abandoned => OutcomeLabel::Abandoned,
        })
    }
}

impl AttemptCounts {
    /// Counts one step of one attempt.
    pub fn count(&mut self, step: AttemptStep) {
        *match step {
            AttemptStep::Begun => &mut self.total,
            AttemptStep::Opened => &mut self.opened,
            AttemptStep::Refused => &mut self.refused,
            AttemptStep::TimedOut => &mut self.timed_out,
            AttemptStep::Rejected => &mut self.rejected,
            AttemptStep::Failed => &mut self.failed,
            AttemptStep::Abandoned => &mut self.abandoned,
        } += 1;
    }

    /// Adds the counts of another part.
    pub fn add(&mut self, other: &AttemptCounts) {
        self.total += other.total;
        self.opened += other.opened;
        self.refused += other.refused;
        self.timed_out += other.timed_out;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.abandoned += other.abandoned;
    }

    /// Those that ended without a connection.
    pub fn unopened(&self) -> u64 {
        self.refused + self.timed_out + self.rejected + self.failed + self.abandoned
    }
}
