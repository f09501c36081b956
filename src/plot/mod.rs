//! The charts of a run, from its result files alone: no engine, no clock. One chart per file and a line in [`CHARTS`].
//!
//! A chart turns [`Loaded`] into a [`scene::Scene`]; `draw` makes SVG and PNG of it. Titles say what came out, not what is drawn.

pub mod atlas;
pub mod axis;
pub mod capacity;
pub mod compared;
pub mod draw;
pub mod fidelity;
pub mod learned;
pub mod map;
pub mod scene;
pub mod sheet;
pub mod survival;
mod text;

mod attempts;
mod bands;
mod broadcasts;
mod codes;
mod curves;
mod endings;

#[cfg(test)]
pub(crate) mod fixture;
mod limits;
mod marks;
mod missed;
mod multiples;
mod phases;
mod reconnect;
mod round_trips;
mod timeline;

use crate::output;
pub use crate::results::read::Loaded;
use std::path::{Path, PathBuf};

pub(crate) use endings::{EndingLine, Matrix, NO_RECORD, matrix, meanings as endings_meanings};
pub(crate) use limits::{CurveLimit, of as limits_of, of_expectations as limits_of_expectations};
pub(crate) use marks::{Mark, of as marks_of};
pub(crate) use reconnect::outage;
pub(crate) use sheet::interval_ms;
pub(crate) use survival::{PlottedOutage, SurvivalCurve, estimate};

pub use draw::DrawError;

/// A chart: its file name and how to draw it.
#[derive(Clone, Copy, Debug)]
pub struct Chart {
    /// Name of its files, without extension.
    pub name: &'static str,
    /// What it shows, for readers who do not see it.
    pub about: &'static str,
    /// From results to the picture; never fails: without data the picture says so.
    pub scene: fn(&Loaded) -> scene::Scene,
    /// Whether there is anything to draw; otherwise it is left out.
    pub applies: fn(&Loaded) -> bool,
    /// What its picture of `fixture::crash_storm` says: the names of its axes with their units, what data is labelled with, its samples.
    #[cfg(test)]
    says: &'static [&'static str],
}

/// All charts, in the order of the report.
pub static CHARTS: &[Chart] = &[
    Chart {
        name: "timeline",
        about: "open clients and attempts over time, with the faults",
        scene: timeline::scene,
        applies: |loaded| loaded.timeline.iter().any(|row| row.attempts + row.open > 0),
        #[cfg(test)]
        says: &["Open clients (count)", "Attempts per 100 ms (count)", "Time since the first arrival (s)", "n = 1,000 clients"],
    },
    Chart {
        name: "attempts",
        about: "attempts per second, stacked by what became of them",
        scene: attempts::scene,
        applies: attempts::applies,
        #[cfg(test)]
        says: &["Attempts per second (count)", "refused", "Time since the first arrival (s)", "attempts, by the time at which they began"],
    },
    Chart {
        name: "reconnect",
        about: "time to come back by percentile, a line per cohort",
        scene: reconnect::scene,
        applies: |loaded| loaded.summary.reconnect.recovered > 0,
        #[cfg(test)]
        says: &["Time to reconnect", "Percentile of outages, logarithmic (%)", "n = 1,000 outages", "full jitter, 200 ms to 1 s"],
    },
    Chart {
        name: "phases",
        about: "where the median and the 90th percentile outage spent their time",
        scene: phases::scene,
        applies: |loaded| loaded.reconnects.iter().any(|row| row.reconnect_us.is_some_and(|us| us > 0)),
        #[cfg(test)]
        says: &["Time since the fault (s)", "backoff", "median", "n = 1,000 outages"],
    },
    Chart {
        name: "close-codes",
        about: "reported close codes by side",
        scene: codes::scene,
        applies: codes::applies,
        #[cfg(test)]
        says: &["Connections (count)", "1006", "abnormal closure", "n = 1,000 endings"],
    },
    Chart {
        name: "endings",
        about: "causes of endings against the codes that were reported",
        scene: endings::scene,
        applies: endings::applies,
        #[cfg(test)]
        says: &["Cause (connections)", "app sees", "no record: the server was killed", "n = 1,000 endings"],
    },
    Chart {
        name: "missed",
        about: "messages that clients missed in an outage",
        scene: missed::scene,
        applies: missed::applies,
        #[cfg(test)]
        says: &["Outages (count)", "Messages missed in an outage", "none", "not known", "n = 1,020 outages"],
    },
    Chart {
        name: "round-trips",
        about: "round trips over time",
        scene: round_trips::scene,
        applies: round_trips::applies,
        #[cfg(test)]
        says: &["Round trip (logarithmic)", "Time since the first arrival (s)", "p99", "echoed messages"],
    },
    Chart {
        name: "broadcasts",
        about: "how old messages were by their own time when they came, by percentile",
        scene: broadcasts::scene,
        applies: broadcasts::applies,
        #[cfg(test)]
        says: &["Broadcast latency", "Percentile of messages, logarithmic (%)", "n = 20,000 messages", "p90"],
    },
];

/// Whether the chart of this name has anything to show.
pub fn applies(name: &str, loaded: &Loaded) -> bool {
    CHARTS.iter().any(|chart| chart.name == name && (chart.applies)(loaded))
}

/// What the chart of this name says: its title. Empty where there is no such chart.
pub fn title(name: &str, loaded: &Loaded) -> String {
    CHARTS.iter().find(|chart| chart.name == name).map_or_else(String::new, |chart| (chart.scene)(loaded).title)
}

/// The charts that have anything to show.
fn of(loaded: &Loaded) -> impl Iterator<Item = &'static Chart> {
    CHARTS.iter().filter(|chart| (chart.applies)(loaded))
}

/// A chart that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartFile {
    /// [`Chart::name`].
    pub name: &'static str,
    /// The chart's title: its answer.
    pub title: String,
    /// The SVG.
    pub svg: PathBuf,
    /// The PNG, of twice the size in pixels.
    pub png: PathBuf,
}

/// One chart as an SVG document; the same results give the same bytes.
pub fn svg(chart: &Chart, loaded: &Loaded) -> Result<String, DrawError> {
    draw::svg(&(chart.scene)(loaded))
}

/// A chart as an SVG document, to be put into a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartSvg {
    /// [`Chart::name`].
    pub name: &'static str,
    /// [`Chart::about`].
    pub about: &'static str,
    /// The document, without XML declaration.
    pub svg: String,
}

/// All charts that have anything to show as SVG documents, in the order of [`CHARTS`].
pub fn svgs(loaded: &Loaded) -> Result<Vec<ChartSvg>, DrawError> {
    of(loaded).map(|chart| Ok(ChartSvg { name: chart.name, about: chart.about, svg: svg(chart, loaded)? })).collect()
}

/// Writes all charts that have anything to show into `dir`, which exists, as `<name>.svg` and `<name>.png`.
pub fn render_all(loaded: &Loaded, dir: &Path) -> Result<Vec<ChartFile>, RenderError> {
    of(loaded).map(|chart| render(chart, loaded, dir)).collect()
}

/// A chart could not be drawn or written.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The backend failed.
    #[error(transparent)]
    Draw(#[from] DrawError),
    /// The file could not be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

fn render(chart: &Chart, loaded: &Loaded, dir: &Path) -> Result<ChartFile, RenderError> {
    write_scene(chart.name, (chart.scene)(loaded), dir)
}

/// Writes one scene into `dir`, which exists, as `<name>.svg` and `<name>.png`.
pub fn write_scene(name: &'static str, scene: scene::Scene, dir: &Path) -> Result<ChartFile, RenderError> {
    let svg = dir.join(format!("{name}.svg"));
    output::write(&svg, draw::svg(&scene)?.as_bytes()).map_err(|source| RenderError::Write { path: svg.clone(), source })?;
    let png = dir.join(format!("{name}.png"));
    output::by_path(&png, |at| Ok(draw::png(&scene, at, &png)?), |source| RenderError::Write { path: png.clone(), source })?;
    Ok(ChartFile { name, title: scene.title, svg, png })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_the_canvas_or_covers_another() {
        for (run, loaded) in fixture::all() {
            for chart in CHARTS {
                (chart.scene)(&loaded).assert_readable(&format!("{run}/{}", chart.name));
            }
        }
    }

    #[test]
    fn every_chart_names_its_axes_and_states_its_samples() {
        let loaded = fixture::crash_storm();
        for chart in CHARTS {
            let svg = svg(chart, &loaded).unwrap();
            assert!(!chart.says.is_empty(), "{}", chart.name);
            for word in chart.says {
                assert!(svg.contains(word), "{} lacks {word}", chart.name);
            }
            assert_eq!(super::svg(chart, &loaded).unwrap(), super::svg(chart, &fixture::crash_storm()).unwrap(), "{}", chart.name);
        }
    }

    #[test]
    fn without_data_charts_say_so() {
        let loaded = fixture::nothing();
        for chart in CHARTS {
            assert!(svg(chart, &loaded).unwrap().contains("n = 0"), "{}", chart.name);
        }
        // And are left out of a report.
        let left_out = |loaded: &Loaded| CHARTS.iter().filter(|chart| !(chart.applies)(loaded)).map(|chart| chart.name).collect::<Vec<_>>();
        assert_eq!((left_out(&loaded).len(), svgs(&loaded).unwrap()), (CHARTS.len(), vec![]));
        assert_eq!((left_out(&fixture::crash_storm()), svgs(&fixture::crash_storm()).unwrap().len()), (vec![], CHARTS.len()));
        // Nobody came back: there is no time to draw, and no axis of a microsecond.
        let mut gone = fixture::crash_storm();
        gone.summary.reconnect.recovered = 0;
        gone.reconnects.iter_mut().for_each(|row| row.reconnect_us = None);
        assert_eq!(left_out(&gone), ["reconnect", "phases"]);
        // A simulated path that takes no time.
        gone.summary.simulated = true;
        for row in &mut gone.timeline {
            let zero = |us: Option<u64>| us.map(|_| 0);
            (row.rtt_p50_us, row.rtt_p99_us, row.rtt_max_us) = (zero(row.rtt_p50_us), zero(row.rtt_p99_us), zero(row.rtt_max_us));
        }
        assert_eq!(left_out(&gone), ["reconnect", "phases", "round-trips"]);
    }

    /// With `CLOSESTORM_CHARTS=DIR` the pictures stay in DIR to be looked at.
    #[test]
    fn files_are_written_for_every_chart() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = std::env::var_os("CLOSESTORM_CHARTS").map_or_else(|| temporary.path().to_path_buf(), PathBuf::from);
        for (run, loaded) in fixture::all() {
            let dir = dir.join(run);
            std::fs::create_dir_all(&dir).unwrap();
            let files = render_all(&loaded, &dir).unwrap();
            assert_eq!(files.len(), CHARTS.iter().filter(|chart| applies(chart.name, &loaded)).count(), "{run}");
            for file in files {
                assert!(std::fs::read(&file.png).unwrap().starts_with(b"\x89PNG"), "{run}/{}", file.name);
                assert!(std::fs::read_to_string(&file.svg).unwrap().ends_with("</svg>\n"), "{run}/{}", file.name);
            }
        }
    }
}
