//! The ledger: every attempt, connection and ending is counted on two sides that must agree.
//!
//! One side counts beginnings, the other what became of them. A run whose ledger does not balance is a bug of the program.

use super::attempts::AttemptCounts;
use serde::{Deserialize, Serialize};

/// The counts of one cohort.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Attempts, by what became of them.
    pub attempts: AttemptCounts,
    /// Connections ended.
    pub closed: u64,
    /// Connections open when the measurement ended, counted client by client.
    pub open_at_end: u64,
    /// Endings classified.
    pub endings: u64,
}

/// A row of the ledger whose sides differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("inconsistent counts in row `{row}` of {scope}: {left} ≠ {right} ({rule}); this is a bug in closestorm, please report it")]
pub struct LedgerError {
    /// `attempts`, `connections`, `endings`, `outages` or `messages`.
    pub row: &'static str,
    /// `cohort web`, or `the run`.
    pub scope: String,
    /// What began.
    pub left: u64,
    /// What became of it.
    pub right: u64,
    /// The rule in words.
    pub rule: &'static str,
}

impl Ledger {
    /// Adds the counts of another.
    pub fn add(&mut self, other: &Ledger) {
        self.attempts.add(&other.attempts);
        self.closed += other.closed;
        self.open_at_end += other.open_at_end;
        self.endings += other.endings;
    }

    /// Whether all rows balance; `scope` says whose ledger this is.
    pub fn check(&self, scope: &str) -> Result<(), LedgerError> {
        let became = self.attempts.opened + self.attempts.unopened();
        let rule = "attempts = opened + refused + timed_out + rejected + failed + abandoned";
        same("attempts", scope, self.attempts.total, became, rule)?;
        same("connections", scope, self.attempts.opened, self.closed + self.open_at_end, "opened = closed + open_at_end")?;
        same("endings", scope, self.closed, self.endings, "closed = sum of endings")
    }
}

/// Whether both sides of a row agree.
pub(super) fn same(row: &'static str, scope: &str, left: u64, right: u64, rule: &'static str) -> Result<(), LedgerError> {
    if left == right { Ok(()) } else { Err(LedgerError { row, scope: scope.to_owned(), left, right, rule }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unbalanced_row_is_named() {
        let attempts = AttemptCounts { total: 10, opened: 6, refused: 3, abandoned: 1, ..AttemptCounts::default() };
        let balanced = Ledger { attempts, closed: 4, open_at_end: 2, endings: 4 };
        assert_eq!(balanced.check("cohort web"), Ok(()));
        for (row, broken) in [
            ("attempts", Ledger { attempts: AttemptCounts { total: 11, ..attempts }, ..balanced.clone() }),
            ("attempts", Ledger { attempts: AttemptCounts { refused: 2, ..attempts }, ..balanced.clone() }),
            ("connections", Ledger { open_at_end: 3, ..balanced.clone() }),
            ("endings", Ledger { endings: 5, ..balanced.clone() }),
        ] {
            let error = broken.check("cohort web").unwrap_err();
            assert_eq!(error.row, row);
            assert!(error.to_string().contains("cohort web"), "{error}");
        }
    }
}
