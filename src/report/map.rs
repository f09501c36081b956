//! The report of a map: Markdown, HTML and the terminal, from its files. Decides nothing.

use super::document::{Block, Table};
use super::{html as web, markdown as text};
use crate::number;
use crate::plot::ChartSvg;
use crate::plot::map::{NAME_OF_FILES, scene, value};
use crate::results::map::{BoundaryRow, Mapped, PointOutcome, PointRow, WayRow};

/// The report as Markdown. The chart is linked as `map.svg` in the same folder.
pub fn markdown(mapped: &Mapped) -> String {
    text::page(&title(mapped), &blocks(mapped), &|_| scene(mapped).title)
}

/// The report as one HTML document; `charts` from [`crate::plot::map::svg`].
pub fn html(mapped: &Mapped, charts: &[ChartSvg]) -> String {
    web::page(&title(mapped), &blocks(mapped), charts)
}

/// The result for a terminal: the sentence, the table of a curve, the boundary of a map, and what gets out.
pub fn terminal(mapped: &Mapped) -> String {
    let map = &mapped.map;
    let mut out = format!("{} · {} · simulated · seed {}\n\n", map.scenario, map.target, map.seed);
    let table = if map.vary.len() > 1 { edges(mapped) } else { Some(points(mapped)) };
    out += &table.map(|table| plain_table(&table) + "\n").unwrap_or_default();
    out += &format!("{}\n", plain(mapped));
    if let Some(table) = ways(mapped) {
        out += &format!("\n{}\n{}\n", plain_table(&table), way_out(mapped));
    }
    out
}

/// What came out, in a few plain sentences.
pub fn plain(mapped: &Mapped) -> String {
    mapped.stopped() + &if mapped.map.vary.len() > 1 { map_words(mapped) } else { curve_words(mapped) }
}

fn title(mapped: &Mapped) -> String {
    let keys: Vec<_> = mapped.map.vary.iter().map(|vary| vary.key.as_str()).collect();
    format!("{}: {} (simulated)", mapped.map.scenario, keys.join(" and "))
}

fn blocks(mapped: &Mapped) -> Vec<Block> {
    let map = &mapped.map;
    let heading = |text: &str| Block::Heading(text.to_owned());
    let length = number::time(map.duration_ms * 1000);
    let made = format!("Target: {} · seed {} · {} points of {length} · simulated", map.target, map.seed, mapped.points.len());
    let mut blocks = vec![Block::Command(map.command.clone()), Block::Paragraph(made)];
    blocks.extend(map.question.iter().map(|question| Block::Paragraph(format!("Question: {question}"))));
    blocks.push(Block::Paragraph(plain(mapped)));
    blocks.push(Block::Chart(NAME_OF_FILES));
    if let Some(table) = edges(mapped).filter(|_| map.vary.len() > 1) {
        blocks.extend([heading("Where it stops recovering"), Block::Paragraph(edge_words(mapped)), Block::Table(table)]);
    }
    if let Some(table) = ways(mapped) {
        let how = "Each mitigation was tried alone, at points that do not recover, in order of effort: server settings first, then \
            changes that need a new release of the client.";
        blocks.extend([heading("Mitigations"), Block::Paragraph(format!("{} {how}", way_out(mapped))), Block::Table(table)]);
    }
    blocks.extend([heading("All points"), Block::Paragraph(how(mapped)), Block::Table(points(mapped))]);
    blocks
}

fn how(mapped: &Mapped) -> String {
    let map = &mapped.map;
    let within = number::time(map.within_us);
    let over = map.over_us.map_or("lasts until the end of the run".to_owned(), |us| format!("ends at {}", number::time(us)));
    let cause = map.cause_us.map_or("there is no fault".to_owned(), |us| {
        format!("the fault ({}) begins at {} and {over}", map.faults.join(", "), number::time(us))
    });
    format!(
        "Each point is a simulated run of {}: {cause}. A point recovers if 99 % of the outages end within {within}, recovers late if \
         they end before the end of the run, and never recovers if more than 1 % of the clients are still disconnected at the end of \
         the run. What would happen after the run is unknown.",
        number::time(map.duration_ms * 1000)
    )
}

fn map_words(mapped: &Mapped) -> String {
    let [recovers, late, never] = mapped.map.points;
    let all = recovers + late + never;
    let within = number::time(mapped.map.within_us);
    let mut words = format!("Of {all} points, {recovers} recover within {within}, {late} later, and {never} not at all");
    words += &mapped.map.over_us.filter(|_| never > 0).map_or(".".to_owned(), |_| ", although the fault is over.".to_owned());
    let edge = &mapped.map.boundary;
    if let Some(row) = edge.get(edge.len() / 2) {
        words += &format!(" {}", edge_sentence(mapped, row));
    }
    words
}

/// One piece of the boundary as a sentence.
fn edge_sentence(mapped: &Mapped, row: &BoundaryRow) -> String {
    let (last, first) = (&mapped.map.vary[row.along], mapped.map.vary.get(1 - row.along));
    let at = first.zip(row.at).map(|(first, at)| format!("with {} {}, ", first.key, value(first, at))).unwrap_or_default();
    let (out, stuck) = if row.low_outcome == PointOutcome::Never { (row.high, row.low) } else { (row.low, row.high) };
    let text = format!("{at}it recovers with {} {} and stays down with {}.", last.key, value(last, out), value(last, stuck));
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |letter| letter.to_uppercase().chain(letters).collect())
}

fn edge_words(mapped: &Mapped) -> String {
    let along = mapped.map.boundary.first().map_or(1, |row| row.along);
    let [decides, each] = [along, 1 - along].map(|place| &mapped.map.vary[place].key);
    format!("For each value of {each}: the values of {decides} between which recovery stops.")
}

/// The forecast: how soon, at each value, and from which value on soon enough.
fn curve_words(mapped: &Mapped) -> String {
    let vary = &mapped.map.vary[0];
    let nodes = vary.key.ends_with("instances");
    let name = |at: f64| match nodes {
        true => number::counted(at as u64, "node"),
        false => format!("{} {}", vary.key, value(vary, at)),
    };
    let cause = if mapped.map.faults.is_empty() { String::new() } else { format!("After {}: ", mapped.map.faults.join(", ")) };
    let of = |point: &PointRow| match point.p99_us.filter(|_| point.outcome != PointOutcome::Never) {
        Some(us) => format!("with {}, 99 % reconnect within {}", name(point.first), number::time(us)),
        None if point.outcome == PointOutcome::Never => {
            format!("with {} {:.0} % are still disconnected at the end", name(point.first), point.away_percent)
        }
        None => format!("with {} no client is disconnected", name(point.first)),
    };
    let mut words: Vec<String> = mapped.points.iter().map(of).collect();
    if words.len() > 4 {
        // The ends and the middle; the table has them all.
        let middle = words.len() / 2;
        words = vec![words[0].clone(), words[1].clone(), words[middle].clone(), words[words.len() - 1].clone()];
    }
    let mut sentence = format!("{cause}{}.", words.join("; "));
    let soon = mapped.points.iter().rposition(|point| point.outcome != PointOutcome::Recovers).map_or(0, |last| last + 1);
    if let Some(point) = mapped.points.get(soon).filter(|_| soon > 0) {
        sentence += &format!(" From {} on, 99 % are back within {}.", name(point.first), number::time(mapped.map.within_us));
    }
    sentence + &mapped.map.boundary.iter().map(|row| format!(" {}", edge_sentence(mapped, row))).collect::<String>()
}

fn points(mapped: &Mapped) -> Table {
    let two = mapped.map.vary.len() > 1;
    let head =
        ["First", "Second", "Outcome", "Half back", "99 % back", "Disconnected at the end", "Gave up", "Attempts", "Peak per second"];
    let mut table = Table::new(if two { 3 } else { 2 }, &if two { head.to_vec() } else { [&["Value"], &head[2..]].concat() });
    for point in &mapped.points {
        let mut row = vec![value(&mapped.map.vary[0], point.first)];
        row.extend(point.second.map(|second| value(&mapped.map.vary[1], second)));
        row.push(point.outcome.name().to_owned());
        row.extend([point.p50_us, point.p99_us].map(|us| us.map_or_else(|| "–".to_owned(), number::time)));
        row.push(number::percent(point.away_percent));
        row.extend([point.gave_up, point.attempts, point.attempts_peak_per_s].map(number::count));
        table.rows.push(row);
    }
    table
}

/// The boundary; `None` where there is none.
fn edges(mapped: &Mapped) -> Option<Table> {
    let vary = &mapped.map.vary;
    let mut table = Table::new(1, &["At", "From", "is", "To", "is"]);
    for row in &mapped.map.boundary {
        let side = |at: f64, outcome: PointOutcome| [value(&vary[row.along], at), outcome.name().to_owned()];
        let at = vary.get(1 - row.along).zip(row.at).map(|(other, at)| value(other, at)).unwrap_or_default();
        table.rows.push(std::iter::once(at).chain(side(row.low, row.low_outcome)).chain(side(row.high, row.high_outcome)).collect());
    }
    Some(table).filter(|table| !table.rows.is_empty())
}

/// Which change gets out, in a sentence.
fn way_out(mapped: &Mapped) -> String {
    let of = |way: &WayRow| {
        let worst = way.p99_worst_us.map(|us| format!(", 99 % back in at most {}", number::time(us))).unwrap_or_default();
        format!("helps at {} of {} points{worst}: {}", way.recover + way.late, way.points, way.setting)
    };
    match mapped.map.ways_out.iter().find(|way| Some(&way.change) == mapped.map.cheapest.as_ref()) {
        Some(way) => format!("The mitigation with the least effort that helps: {}. It {}.", way.change, of(way)),
        None => "None of the mitigations helps.".to_owned(),
    }
}

/// What was tried; `None` where nothing is stuck.
fn ways(mapped: &Mapped) -> Option<Table> {
    let mut table = Table::new(1, &["Change", "Points tested", "Recover", "Late", "Still down", "99 % back at most"]);
    for way in &mapped.map.ways_out {
        let stuck = way.points.saturating_sub(way.recover.saturating_add(way.late));
        let mut row = vec![way.change.clone()];
        row.extend([way.points, way.recover, way.late, stuck].map(number::count));
        row.push(way.p99_worst_us.map_or_else(|| "–".to_owned(), number::time));
        table.rows.push(row);
    }
    Some(table).filter(|table| !table.rows.is_empty())
}

/// A table in columns, for a terminal.
fn plain_table(table: &Table) -> String {
    let width = |column: usize| {
        let cells = table.rows.iter().map(|row| row[column].chars().count());
        cells.chain([table.head[column].chars().count()]).max().unwrap_or(0)
    };
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().enumerate().map(|(column, cell)| {
            let width = width(column);
            if column < table.words { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let rows = table.rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(line(table.head.clone())).chain(rows).collect()
}
