//! The folder of a map: `map.json` and `map.csv`, what a scenario does at each of many values of one or two parameters.
//!
//! The simulator computes the points; what can be told from them alone, as the boundary, is computed here.

use super::capacity::VaryRow;
use super::folder::{Folder, FolderError, put, put_csv, put_json};
use super::read::{self, ReadError};
use crate::metrics::Status;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of the two files; raised when a reader could misunderstand them.
pub const MAP_VERSION: u32 = 1;
/// Share of clients, in percent, that may be away for good before a point counts as one that does not recover.
pub const AWAY_PERCENT: f64 = 1.0;

/// What becomes of the clients at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointOutcome {
    /// 99 % are back within [`Map::within_us`] of the fault, or nobody was away.
    Recovers,
    /// 99 % are back before the end of the run.
    Late,
    /// They are not.
    Never,
}

impl PointOutcome {
    /// All, the best first.
    pub const ALL: [PointOutcome; 3] = [PointOutcome::Recovers, PointOutcome::Late, PointOutcome::Never];

    /// As in files.
    pub fn name(self) -> &'static str {
        match self {
            PointOutcome::Recovers => "recovers",
            PointOutcome::Late => "late",
            PointOutcome::Never => "never",
        }
    }

    /// Of a point: its time until 99 % are back, where that was reached, and the share of clients in percent that is away at the end.
    pub fn of(p99_us: Option<u64>, away_percent: f64, within_us: u64) -> PointOutcome {
        match p99_us {
            _ if away_percent > AWAY_PERCENT => PointOutcome::Never,
            Some(us) if us > within_us => PointOutcome::Late,
            _ => PointOutcome::Recovers,
        }
    }
}

/// `map.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Map {
    /// [`MAP_VERSION`].
    pub schema_version: u32,
    /// Always true: there is no map of real runs.
    pub simulated: bool,
    /// Name of the scenario.
    pub scenario: String,
    /// Its question; null where it has none.
    pub question: Option<String>,
    /// Command line that makes it again.
    pub command: String,
    /// `completed`, or `aborted`: a signal came before all points were done.
    #[serde(default = "completed")] // absent in older folders
    pub status: String,
    /// Points asked for; the files have those that were done. 0 in older folders, which have all.
    #[serde(default)]
    pub points_planned: u64,
    /// Kind of target and address; where it varies, at the first point and at the last.
    pub target: String,
    /// Root seed of the first run of every point.
    pub seed: u64,
    /// Seeds of each point; figures are medians over them.
    pub runs: u32,
    /// Length of each run, ms.
    pub duration_ms: u64,
    /// First firing of a fault, offset in the run; null without faults.
    pub cause_us: Option<u64>,
    /// From when no fault acts any more; null where one holds to the end.
    pub over_us: Option<u64>,
    /// Names of the faults.
    pub faults: Vec<String>,
    /// A point whose 99th percentile is beyond this recovers late.
    pub within_us: u64,
    /// One or two, the one of the horizontal axis first.
    pub vary: Vec<VaryRow>,
    /// Points of each outcome, the best outcome first.
    pub points: [u64; 3],
    /// Where neighbours differ in whether they recover at all.
    pub boundary: Vec<BoundaryRow>,
    /// Changes that were tried at points that do not recover, the cheapest first.
    pub ways_out: Vec<WayRow>,
    /// The cheapest change that gets the most of these points out; null where none gets any out, and where none is stuck.
    pub cheapest: Option<String>,
}

fn completed() -> String {
    Status::Completed.name().to_owned()
}

/// A piece of the boundary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundaryRow {
    /// The parameter along which neighbours differ, as in [`Map::vary`] from 0.
    pub along: usize,
    /// Value of the other parameter; null where there is one.
    pub at: Option<f64>,
    /// Value on this side.
    pub low: f64,
    /// What happens there.
    pub low_outcome: PointOutcome,
    /// The next value.
    pub high: f64,
    /// What happens there.
    pub high_outcome: PointOutcome,
}

/// A change that was tried at points that do not recover.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WayRow {
    /// In words.
    pub change: String,
    /// What to write for it.
    pub setting: String,
    /// Points tried.
    pub points: u64,
    /// Of them recovering within [`Map::within_us`].
    pub recover: u64,
    /// Of them recovering later.
    pub late: u64,
    /// The longest time until 99 % are back, over the points that recover; null without such.
    pub p99_worst_us: Option<u64>,
}

/// A row of `map.csv`: a point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PointRow {
    /// Value of the first parameter, in the unit of `map.json`.
    pub first: f64,
    /// Value of the second parameter; empty where there is one.
    pub second: Option<f64>,
    /// `recovers`, `late` or `never`.
    pub outcome: PointOutcome,
    /// Time until half of the outages are over; empty where that is not reached, and without outages.
    pub p50_us: Option<u64>,
    /// Time until 99 % of them are over; empty where that is not reached, and without outages.
    pub p99_us: Option<u64>,
    /// Clients that are not open at the end of the run, in percent of those that arrived.
    pub away_percent: f64,
    /// Clients that gave up by their policy.
    pub gave_up: u64,
    /// Attempts.
    pub attempts: u64,
    /// Most attempts within any second.
    pub attempts_peak_per_s: u64,
}

/// Columns of `map.csv`.
pub const POINTS: &[&str] =
    &["first", "second", "outcome", "p50_us", "p99_us", "away_percent", "gave_up", "attempts", "attempts_peak_per_s"];

/// A folder of a map in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapped {
    /// `map.json`.
    pub map: Map,
    /// `map.csv`: by second parameter, then by first.
    pub points: Vec<PointRow>,
}

impl Mapped {
    /// Values of the first parameter, ascending.
    pub fn columns(&self) -> Vec<f64> {
        let mut values: Vec<f64> = self.points.iter().map(|point| point.first).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        values
    }

    /// The points row by row, one for each value of the second parameter, ascending; in each a place for every column, empty where the
    /// map was stopped before.
    pub fn rows(&self) -> Vec<Vec<Option<&PointRow>>> {
        let columns = self.columns();
        let place = |row: &'_ [PointRow], first: f64| row.iter().position(|point| point.first == first);
        let rows = self.points.chunk_by(|one, next| one.second == next.second);
        rows.map(|row| columns.iter().map(|first| place(row, *first).map(|at| &row[at])).collect()).collect()
    }

    /// How many points are missing, in words; empty if none is.
    pub fn stopped(&self) -> String {
        match self.map.status == completed() {
            true => String::new(),
            false => format!("Stopped after {} of {} points. ", self.points.len(), self.map.points_planned),
        }
    }
}

/// Points of each outcome.
pub fn counts(points: &[PointRow]) -> [u64; 3] {
    PointOutcome::ALL.map(|outcome| points.iter().filter(|point| point.outcome == outcome).count() as u64)
}

/// Where neighbours differ in whether they recover at all: along the second parameter for each value of the first; where that does not
/// decide, or there is only one, along the first.
pub fn boundary(points: &[PointRow]) -> Vec<BoundaryRow> {
    let second = edges(points, 1, |point| point.second, |point| Some(point.first));
    if second.is_empty() { edges(points, 0, |point| Some(point.first), |point| point.second) } else { second }
}

/// The edges along one parameter, for each value of the other, in the order of the points.
fn edges(
    points: &[PointRow],
    along: usize,
    value: impl Fn(&PointRow) -> Option<f64>,
    at: impl Fn(&PointRow) -> Option<f64>,
) -> Vec<BoundaryRow> {
    type MapLine = (Option<f64>, Vec<(f64, PointOutcome)>);
    let mut lines: Vec<MapLine> = Vec::new();
    for point in points {
        let Some(place) = value(point).map(|value| (value, point.outcome)) else { continue };
        match lines.iter_mut().find(|(of, _)| *of == at(point)) {
            Some((_, line)) => line.push(place),
            None => lines.push((at(point), vec![place])),
        }
    }
    let pairs = lines.iter().flat_map(|(at, line)| line.windows(2).map(|pair| (*at, pair[0], pair[1])));
    let differ = pairs.filter(|(_, low, high)| (low.1 == PointOutcome::Never) != (high.1 == PointOutcome::Never));
    let row = |(at, low, high): (Option<f64>, (f64, PointOutcome), (f64, PointOutcome))| BoundaryRow {
        along,
        at,
        low: low.0,
        low_outcome: low.1,
        high: high.0,
        high_outcome: high.1,
    };
    differ.map(row).collect()
}

/// The change that gets the most points out; of equals the first, which is the cheapest.
pub fn cheapest(ways: &[WayRow]) -> Option<&WayRow> {
    let most = ways.iter().map(|way| way.recover + way.late).max().filter(|most| *most > 0)?;
    ways.iter().find(|way| way.recover + way.late == most)
}

/// Writes the data of a folder, `map.json` first.
///
/// # Errors
/// The first file that could not be written.
pub fn write(folder: &Folder, mapped: &Mapped, resolved: &str) -> Result<(), FolderError> {
    let at = |name: &str| folder.path().join(name);
    put(&at("map.json"), &|out| put_json(out, &mapped.map))?;
    put(&at("scenario.toml"), &|out| std::io::Write::write_all(out, resolved.as_bytes()))?;
    put(&at("map.csv"), &|out| put_csv(out, mapped.points.clone(), POINTS))
}

/// Whether a folder holds a map rather than a run.
pub fn is_map(dir: &Path) -> bool {
    dir.join("map.json").is_file()
}

/// Reads a folder of a map.
///
/// # Errors
/// A file is missing or damaged, or the schema version is another one.
pub fn read(dir: &Path) -> Result<Mapped, ReadError> {
    let path = dir.join("map.json");
    let value: serde_json::Value = read::json(&path, &read::bytes(&path)?)?;
    if let Some(found) = value.get("schema_version").and_then(serde_json::Value::as_u64)
        && found != u64::from(MAP_VERSION)
    {
        return Err(ReadError::Version { path, found });
    }
    let damaged = |what: String| ReadError::Damaged { path: path.clone(), what };
    let map: Map = read::bounded(&path, serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?)?;
    if !(1..=2).contains(&map.vary.len()) {
        return Err(damaged(format!("it names {} parameters: one or two are needed", map.vary.len())));
    }
    if map.boundary.iter().any(|row| row.along >= map.vary.len()) {
        return Err(damaged("its boundary has a parameter that it does not name".to_owned()));
    }
    let why = "it is needed to draw the map";
    let points = read::rows(&dir.join("map.csv"))?.ok_or_else(|| ReadError::Missing { path: dir.join("map.csv"), why })?;
    if points.iter().any(|point: &PointRow| point.second.is_some() != (map.vary.len() == 2)) {
        return Err(damaged("the values of a point are not those of its parameters".to_owned()));
    }
    Ok(Mapped { map, points })
}

#[cfg(test)]
pub(crate) mod fixture {
    use super::*;

    /// A made-up map, or a curve.
    pub(crate) fn mapped(two: bool) -> Mapped {
        let vary = |key: &str, unit: &str| VaryRow { key: key.to_owned(), unit: unit.to_owned(), low: 1.0, high: 12.0 };
        let point = |first: u64, second: Option<u64>| {
            let load = first * second.unwrap_or(1);
            let p99_us = (load < 40).then_some(load * 400_000);
            let away_percent = if p99_us.is_some() { 0.0 } else { 83.25 };
            PointRow {
                first: first as f64,
                second: second.map(|second| second as f64),
                outcome: PointOutcome::of(p99_us, away_percent, 7_000_000),
                p50_us: p99_us.map(|us| us / 2),
                p99_us,
                away_percent,
                gave_up: 0,
                attempts: 10,
                attempts_peak_per_s: 4,
            }
        };
        let seconds: Vec<_> = if two { (1..=12).map(Some).collect() } else { vec![None] };
        let points: Vec<_> = seconds
            .into_iter()
            .flat_map(|second| (1..=12).map(move |first| (first, second)))
            .map(|(a, b)| point(a * if two { 1 } else { 5 }, b))
            .collect();
        let way = WayRow {
            change: "serve the newest opening handshake first".to_owned(),
            setting: "model.queue=lifo".to_owned(),
            points: 8,
            recover: 2,
            late: 5,
            p99_worst_us: Some(17_400_000),
        };
        let map = Map {
            schema_version: MAP_VERSION,
            simulated: true,
            scenario: "stuck".to_owned(),
            question: None,
            command: "closestorm simulate stuck --vary clients=1..12".to_owned(),
            status: completed(),
            points_planned: points.len() as u64,
            target: "embedded, 1 instance".to_owned(),
            seed: 1,
            runs: 1,
            duration_ms: 30_000,
            cause_us: Some(8_000_000),
            over_us: Some(10_000_000),
            faults: vec!["crash".to_owned()],
            within_us: 7_000_000,
            vary: [vary("clients", "count"), vary("clients.web.deadlines.handshake", "s")][..1 + usize::from(two)].to_vec(),
            points: counts(&points),
            boundary: boundary(&points),
            ways_out: vec![way],
            cheapest: None,
        };
        Mapped { map, points }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(first: f64, second: Option<f64>, outcome: PointOutcome) -> PointRow {
        PointRow { first, second, outcome, p50_us: None, p99_us: None, away_percent: 0.0, gave_up: 0, attempts: 0, attempts_peak_per_s: 0 }
    }

    #[test]
    fn a_map_names_one_or_two_parameters_and_its_boundary_no_other() {
        type Change = fn(&mut Mapped);
        let changes: [(Change, Option<&str>); 5] = [
            (|_| {}, None),
            (|mapped| mapped.map.vary.clear(), Some("0 parameters")),
            (|mapped| mapped.map.vary = vec![mapped.map.vary[0].clone(); 3], Some("3 parameters")),
            (|mapped| mapped.map.boundary[0].along = 2, Some("does not name")),
            (|mapped| mapped.points[0].second = None, Some("values of a point")),
        ];
        for (change, expected) in changes {
            let folder = tempfile::tempdir().unwrap();
            let mut mapped = fixture::mapped(true);
            change(&mut mapped);
            std::fs::write(folder.path().join("map.json"), serde_json::to_vec(&mapped.map).unwrap()).unwrap();
            let mut csv = csv::Writer::from_path(folder.path().join("map.csv")).unwrap();
            mapped.points.iter().for_each(|point| csv.serialize(point).unwrap());
            csv.flush().unwrap();
            let found = read(folder.path()).err().map(|error| error.to_string());
            assert_eq!(found.is_none(), expected.is_none(), "{found:?}");
            assert!(found.zip(expected).is_none_or(|(found, expected)| found.contains(expected)));
        }
    }

    #[test]
    fn a_point_is_judged_by_who_is_away_then_by_its_time() {
        for (p99, away, expected) in [
            (Some(4), 0.0, PointOutcome::Recovers),
            (Some(5), 1.0, PointOutcome::Recovers),
            (Some(6), 0.0, PointOutcome::Late),
            (Some(4), 1.1, PointOutcome::Never), // those who never opened have no outage
            (None, 100.0, PointOutcome::Never),
            (None, 0.0, PointOutcome::Recovers), // nobody was away
        ] {
            assert_eq!(PointOutcome::of(p99, away, 5), expected, "{p99:?} {away}");
        }
    }

    #[test]
    fn the_boundary_lies_between_neighbours() {
        use PointOutcome::{Late, Never, Recovers};
        let line = [(1.0, Recovers), (2.0, Late), (3.0, Never), (4.0, Recovers)].map(|(first, outcome)| point(first, None, outcome));
        let found: Vec<_> = boundary(&line).iter().map(|edge| (edge.at, edge.low, edge.high)).collect();
        assert_eq!(found, [(None, 2.0, 3.0), (None, 3.0, 4.0)]);
        // Two columns, two rows: only the second column has an edge, going up.
        let square = [(1.0, 10.0, Late), (2.0, 10.0, Never), (1.0, 20.0, Recovers), (2.0, 20.0, Recovers)];
        let square = square.map(|(first, second, outcome)| point(first, Some(second), outcome));
        let found: Vec<_> = boundary(&square).iter().map(|edge| (edge.at, edge.low, edge.high)).collect();
        assert_eq!(found, [(Some(2.0), 10.0, 20.0)]);
        assert_eq!(counts(&square), [2, 1, 1]);
        // Only the first decides.
        let columns = [(1.0, 10.0, Late), (2.0, 10.0, Never), (1.0, 20.0, Recovers), (2.0, 20.0, Never)];
        let columns = columns.map(|(first, second, outcome)| point(first, Some(second), outcome));
        let found: Vec<_> = boundary(&columns).iter().map(|edge| (edge.along, edge.at, edge.low, edge.high)).collect();
        assert_eq!(found, [(0, Some(10.0), 1.0, 2.0), (0, Some(20.0), 1.0, 2.0)]);
    }

    #[test]
    fn of_changes_that_do_as_much_the_first_is_the_cheapest() {
        let way = |change: &str, recover, late| WayRow {
            change: change.to_owned(),
            setting: String::new(),
            points: 4,
            recover,
            late,
            p99_worst_us: None,
        };
        let ways = [way("a", 1, 1), way("b", 4, 0), way("c", 3, 1)];
        assert_eq!(cheapest(&ways).map(|way| way.change.as_str()), Some("b"));
        assert_eq!(cheapest(&[way("a", 0, 0)]), None);
    }
}
