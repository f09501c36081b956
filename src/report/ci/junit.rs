//! `junit.xml`, as GitLab, Jenkins and the actions of GitHub that read such files take it.
//!
//! What failed is a `failure`, what cannot be told is `skipped`, which nobody counts as passed, and a run that cannot be judged as a whole
//! has an `error`. GitLab shows the text of these elements, others their attribute `message`: both say the same.

use super::cases::{CaseResult, CiCase, CiSuite, suites};
use super::record::CiReport;
use crate::text::printable;
use std::fmt::Write;

/// The file, XML 1.0 in UTF-8.
pub fn junit(report: &CiReport) -> String {
    let suites = suites(report);
    let all = || suites.iter().flat_map(|suite| &suite.cases);
    let time: f64 = suites.iter().map(|suite| suite.time_s).sum();
    let mut out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    put(&mut out, format_args!("<testsuites name=\"closestorm\" time=\"{time:.3}\"{}>\n", counts(all(), false)));
    for suite in &suites {
        write_suite(&mut out, suite);
    }
    out + "</testsuites>\n"
}

fn write_suite(out: &mut String, suite: &CiSuite) {
    let started = if suite.started.is_empty() { String::new() } else { format!(" timestamp=\"{}\"", escape(&suite.started)) };
    let counts = counts(suite.cases.iter(), true);
    put(out, format_args!("  <testsuite name=\"{}\" time=\"{:.3}\"{started}{counts}>\n", escape(&suite.name), suite.time_s));
    if !suite.properties.is_empty() {
        out.push_str("    <properties>\n");
        for (name, value) in &suite.properties {
            put(out, format_args!("      <property name=\"{}\" value=\"{}\"/>\n", escape(name), escape(value)));
        }
        out.push_str("    </properties>\n");
    }
    // All cases are of the same run: shared out, their sum is its length.
    let time = suite.time_s / suite.cases.len().max(1) as f64;
    for case in &suite.cases {
        write_case(out, suite, case, time);
    }
    out.push_str("  </testsuite>\n");
}

fn write_case(out: &mut String, suite: &CiSuite, case: &CiCase, time: f64) {
    let place = case.place.as_ref().map_or_else(String::new, |place| format!(" file=\"{}\" line=\"{}\"", escape(&place.file), place.line));
    let (class, name) = (escape(&suite.class), escape(&case.name));
    put(out, format_args!("    <testcase classname=\"{class}\" name=\"{name}\" time=\"{time:.3}\"{place}>\n"));
    let message = escape(&case.message);
    let element = match case.result {
        CaseResult::Held => None,
        CaseResult::Crossed => Some(("failure", " type=\"expectation\"")),
        CaseResult::Unknown => Some(("skipped", "")),
        CaseResult::Broken => Some(("error", " type=\"run\"")),
    };
    match element {
        Some((element, kind)) => {
            put(out, format_args!("      <{element} message=\"{message}\"{kind}>{message}{}</{element}>\n", again(suite)));
        }
        None => put(out, format_args!("      <system-out>{message}</system-out>\n")),
    }
    if let Some(picture) = suite.picture.as_ref().filter(|_| case.result != CaseResult::Held) {
        put(out, format_args!("      <system-out>[[ATTACHMENT|{}]]</system-out>\n", escape(picture)));
    }
    out.push_str("    </testcase>\n");
}

/// How to see more.
fn again(suite: &CiSuite) -> String {
    let property = |name: &str| suite.properties.iter().find(|(found, value)| *found == name && !value.is_empty());
    let line = |name: &str| property(name).map_or_else(String::new, |(name, value)| format!("\n{name}: {}", escape(value)));
    line("command") + &line("folder")
}

fn counts<'a>(cases: impl Iterator<Item = &'a CiCase>, skipped: bool) -> String {
    let results: Vec<CaseResult> = cases.map(|case| case.result).collect();
    let count = |wanted: CaseResult| results.iter().filter(|result| **result == wanted).count();
    let mut out =
        format!(" tests=\"{}\" failures=\"{}\" errors=\"{}\"", results.len(), count(CaseResult::Crossed), count(CaseResult::Broken));
    // The schema of Jenkins knows it of suites only.
    if skipped {
        out += &format!(" skipped=\"{}\"", count(CaseResult::Unknown));
    }
    out
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = out.write_fmt(text);
}

/// Text of others for XML, as an attribute or between elements, on one line.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            // The two characters beside controls that XML does not allow.
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
