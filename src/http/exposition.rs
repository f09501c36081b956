//! Metrics as Prometheus reads them: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{Display, Write};

/// Type of an answer with this text.
pub(crate) const TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text so far.
#[derive(Debug, Default)]
pub(crate) struct Exposition(String);

impl Exposition {
    /// Begins a metric, whose samples follow: `of` is its type, `help` one line.
    pub(crate) fn metric<'a>(&'a mut self, name: &'a str, of: &str, help: &str) -> MetricSamples<'a> {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {of}");
        MetricSamples { text: &mut self.0, name }
    }

    /// All of it.
    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// The samples of one metric.
#[derive(Debug)]
pub(crate) struct MetricSamples<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl MetricSamples<'_> {
    /// Adds one.
    pub(crate) fn put(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.ending("", labels, value);
    }

    /// Adds one whose name ends so, as those of a histogram do.
    pub(crate) fn ending(&mut self, end: &str, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", label(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{}{end}{labels} {value}", self.name);
    }
}

/// A value of a label.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_end_a_line_or_a_value() {
        let mut text = Exposition::default();
        text.metric("a_total", "counter", "what it counts").put(&[("name", "x\"} 1\n\\")], 2.5);
        text.metric("b", "gauge", "what").put(&[], 3);
        let expected = "# HELP a_total what it counts\n# TYPE a_total counter\na_total{name=\"x\\\"} 1\\n\\\\\"} 2.5\n\
                        # HELP b what\n# TYPE b gauge\nb 3\n";
        assert_eq!(text.into_text(), expected);
    }
}
