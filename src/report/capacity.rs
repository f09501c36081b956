//! The report of a search for the largest load: Markdown, HTML and the terminal, from its files. Decides nothing.
//!
//! `plain` says it in a paragraph; here is what stands around it.

mod plain;

use super::document::{Block, Table};
use super::lines::Page;
use super::{html as web, markdown as text, phrase};
use crate::capacity::{RunOutcome, Unit};
use crate::number;
use crate::plot::ChartSvg;
use crate::plot::capacity::{NAME_OF_FILES, limit_words, scene};
use crate::results::capacity::{LimitRow, Search, StepRow, UslRow};
pub use plain::plain;

/// ✓, ✗ or ? for what became of a step.
pub fn mark(outcome: &str) -> &'static str {
    match outcome {
        _ if outcome == RunOutcome::Held.name() => "✓",
        _ if outcome == RunOutcome::Failed.name() => "✗",
        _ => "?",
    }
}

/// The report as Markdown. The chart is linked as `capacity.svg` in the same folder.
pub fn markdown(search: &Search) -> String {
    text::page(&title(search), &blocks(search), &|_| scene(search).title)
}

/// The report as one HTML document; `charts` from [`crate::plot::capacity::svg`].
pub fn html(search: &Search, charts: &[ChartSvg]) -> String {
    web::page(&title(search), &blocks(search), charts)
}

/// The result for a terminal of `width` columns, ending with the verdict. `colour` adds ANSI colours and nothing else.
pub fn terminal(search: &Search, width: usize, colour: bool) -> String {
    let c = &search.capacity;
    let unit = &search.searched().unit;
    let mut page = Page::new(width, colour);
    page.line(&page.bold(&c.command));
    page.line(&page.dim(&format!(
        "{} · {} · {} of {} · seed {}",
        c.scenario,
        c.target,
        number::counted(search.steps.len() as u64, "run"),
        number::time(c.duration_ms * 1000),
        c.seed
    )));
    page.line("");
    let [first, ..] = &c.vary[..] else { return page.into_text() };
    for limit in &c.limits {
        let name = limit.level.map_or_else(|| "limit".to_owned(), |level| number::observed(level, &first.unit));
        page.entry(&name, &format!("{} {}", search.searched().key, limit_words(limit, unit)));
    }
    if let [limit] = &c.limits[..] {
        for (name, value) in figures(search, limit) {
            page.entry(&name, &value);
        }
        for (name, text) in usl_words(limit) {
            page.entry(&name, &text);
        }
    }
    for notice in &c.notices {
        page.entry("notice", notice);
    }
    page.line("");
    page.entry("", &plain(search));
    page.line("");
    for reason in &c.verdict.reasons {
        page.entry("", reason);
    }
    let verdict = format!("{} {}", phrase::mark(&c.verdict.result), c.verdict.result.to_uppercase());
    page.line(&page.verdict(&c.verdict.result, &verdict));
    page.into_text()
}

fn title(search: &Search) -> String {
    format!("Capacity of {}", search.capacity.scenario)
}

fn heading(text: &str) -> Block {
    Block::Heading(text.to_owned())
}

fn blocks(search: &Search) -> Vec<Block> {
    let c = &search.capacity;
    let mut blocks = vec![Block::Command(c.command.clone())];
    let length = number::time(c.duration_ms * 1000);
    let runs = number::counted(search.steps.len() as u64, "run");
    blocks.push(Block::Paragraph(format!(
        "Target: {} · seed {} · {runs} of {length} · measured on real sockets · {}",
        c.target, c.seed, c.status
    )));
    blocks.extend(c.question.iter().map(|question| Block::Paragraph(format!("Question: {question}"))));
    blocks.push(Block::Verdict { result: c.verdict.result.clone(), text: verdict(search) });
    blocks.push(Block::Paragraph(plain(search)));
    if let [limit] = &c.limits[..] {
        blocks.push(Block::Figures(all_figures(search, limit)));
    } else {
        blocks.push(Block::Table(limits(search)));
    }
    // One load is no curve.
    if search.steps.windows(2).any(|pair| pair[0].value != pair[1].value) {
        blocks.push(Block::Chart(NAME_OF_FILES));
    }
    blocks.extend([heading("Expectations of each run"), Block::List(c.expect.clone())]);
    if let [limit] = &c.limits[..] {
        blocks.extend(curve_words(limit));
    }
    blocks.extend([heading("The runs"), Block::Paragraph(how(search)), Block::Table(steps(search))]);
    if !c.notices.is_empty() {
        blocks.extend([heading("Notices"), Block::List(c.notices.clone())]);
    }
    blocks
}

fn verdict(search: &Search) -> String {
    let c = &search.capacity;
    let limit = match &c.limits[..] {
        [limit] => format!("{}: {}", search.searched().key, limit_words(limit, &search.searched().unit)),
        many => format!("{} of {} limits found", many.iter().filter(|limit| limit.limit.is_some()).count(), many.len()),
    };
    [vec![limit], c.verdict.reasons.clone()].concat().join("; ")
}

fn all_figures(search: &Search, limit: &LimitRow) -> Vec<(String, String)> {
    let mut all = vec![("largest value that holds".to_owned(), limit_words(limit, &search.searched().unit))];
    all.extend(figures(search, limit));
    all.push(("runs".to_owned(), number::count(limit.runs)));
    all
}

fn figures(search: &Search, limit: &LimitRow) -> Vec<(String, String)> {
    let (c, unit) = (&search.capacity, &search.searched().unit);
    let rate = |rate: f64| format!("{}/s", number::quantity(rate.round()));
    let mut figures = Vec::new();
    figures.extend(limit.throughput_per_s.map(|value| (format!("{} there", c.throughput), rate(value))));
    figures.extend(limit.p99_us.map(|us| ("p99 there".to_owned(), number::time(us))));
    figures.extend(limit.throughput_max_per_s.map(|value| (format!("most {}", c.throughput), rate(value))));
    figures.extend(limit.knee.map(|at| ("knee".to_owned(), number::observed(at, unit))));
    figures.extend(limit.knee_p99.map(|at| ("knee of p99".to_owned(), number::observed(at, unit))));
    figures
}

/// Knee and scalability law with what is to be said of them.
fn curve_words(limit: &LimitRow) -> Vec<Block> {
    let mut blocks = vec![heading("The curve")];
    let knee = "The knee is the load at which the curve of throughput, or of the 99th percentile, bends most, computed with Kneedle \
        (Satopää et al., 2011) on the median of the runs at each load.";
    let note = limit.knee_note.as_ref().map(|note| format!(" Not found: {note}.")).unwrap_or_default();
    blocks.push(Block::Paragraph(format!("{knee}{note}")));
    match &limit.usl {
        Some(usl) => {
            blocks.push(Block::Paragraph(
                "Universal Scalability Law (Gunther): throughput of N is λN / (1 + σ(N − 1) + κN(N − 1)).".to_owned(),
            ));
            blocks.push(Block::Table(usl_table(usl)));
            blocks.extend(limit.usl_note.iter().map(|note| Block::Paragraph(format!("The fit: {note}."))));
        }
        None => blocks.extend(limit.usl_note.iter().map(|note| Block::Paragraph(format!("Universal Scalability Law: {note}.")))),
    }
    blocks
}

fn usl_table(usl: &UslRow) -> Table {
    let mut table = Table::new(2, &["Parameter", "Meaning", "Value", "95 % from", "to"]);
    for (name, what, [value, low, high]) in [
        ("λ", "throughput at N = 1, per second", usl.lambda),
        ("σ", "contention: share of the work that cannot run in parallel", usl.sigma),
        ("κ", "coherency: cost of coordination between parallel work", usl.kappa),
    ] {
        table.rows.push([name.to_owned(), what.to_owned()].into_iter().chain([value, low, high].map(significant)).collect());
    }
    let peak = usl.peak.zip(usl.peak_throughput_per_s);
    let peak = peak.map_or_else(
        || "never falls".to_owned(),
        |(n, rate)| format!("{} at {}/s", number::quantity(n.round()), number::quantity(rate.round())),
    );
    table.rows.push(vec!["N*".to_owned(), "N with the greatest throughput".to_owned(), peak, String::new(), String::new()]);
    table.rows.push(vec![
        "R²".to_owned(),
        "explained share of the variance".to_owned(),
        significant(usl.r_squared),
        String::new(),
        String::new(),
    ]);
    table
}

/// Three significant digits; in powers of ten where it is small.
fn significant(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 1e-3 => format!("{value:.2e}"),
        size if size < 1.0 => number::trimmed(value, 3),
        _ => number::quantity(value),
    }
}

fn usl_words(limit: &LimitRow) -> Vec<(String, String)> {
    let words = |usl: &UslRow| {
        let [l, s, k] = [usl.lambda, usl.sigma, usl.kappa]
            .map(|part| format!("{} ({} to {})", significant(part[0]), significant(part[1]), significant(part[2])));
        format!("λ {l} a second, σ {s}, κ {k}, R² {}", significant(usl.r_squared))
    };
    let text = limit.usl.as_ref().map(words).or_else(|| limit.usl_note.clone());
    text.map(|text| ("scalability".to_owned(), text)).into_iter().collect()
}

fn limits(search: &Search) -> Table {
    let c = &search.capacity;
    let mut table =
        Table::new(1, &["First parameter", "Largest value that holds", "Throughput there", "p99 there", "Runs", "What failed above it"]);
    for limit in &c.limits {
        table.rows.push(vec![
            limit.level.map_or_else(|| "—".to_owned(), |level| Unit::parse(&c.vary[0].unit).text(level)),
            limit_words(limit, &search.searched().unit),
            limit.throughput_per_s.map_or_else(|| "—".to_owned(), |rate| format!("{}/s", number::quantity(rate.round()))),
            phrase::dash(limit.p99_us),
            number::count(limit.runs),
            limit.broke.clone().unwrap_or_else(|| "—".to_owned()),
        ]);
    }
    table
}

fn how(search: &Search) -> String {
    let s = &search.capacity.search;
    let warm = match s.warm_up_ms {
        0 => "a new target".to_owned(),
        ms => format!("a new target that first gets opening handshakes for {} as a warm-up", number::time(ms * 1000)),
    };
    format!(
        "Each run starts {warm}. The search doubles the value until an expectation fails, then bisects until the value that holds and \
         the value that fails are within {} of each other. It repeats both up to {} times, and the majority decides. Then it tests two \
         values below the limit again, because the expectations may also fail below it. Throughput is the mean rate of the longest \
         burst without a pause of a second. steps/N.json is the summary of step N; the command in it repeats this step alone.",
        number::percent(s.precision_percent),
        s.repeats
    )
}

fn steps(search: &Search) -> Table {
    let two = search.capacity.vary.len() > 1;
    let head: &[&'static str] = if two {
        &["", "Why", "First parameter", "Step", "Value", "Per second", "p50", "p99", "max"]
    } else {
        &["", "Why", "Step", "Value", "Per second", "p50", "p99", "max"]
    };
    let mut table = Table::new(2, head);
    for step in &search.steps {
        let StepRow { throughput_per_s, p50_us, p99_us, max_us, .. } = step;
        let mut row = vec![mark(&step.outcome).to_owned(), why(step)];
        row.extend(step.level.map(|level| Unit::parse(&search.capacity.vary[0].unit).text(level)));
        row.extend([number::count(step.step.into()), step.setting.clone()]);
        row.push(throughput_per_s.map_or_else(|| "—".to_owned(), |rate| number::quantity(rate.round())));
        row.extend([p50_us, p99_us, max_us].map(|us| phrase::dash(*us)));
        table.rows.push(row);
    }
    table
}

/// Why it was tried, and what came of it where it did not hold: the first reason, the others counted.
fn why(step: &StepRow) -> String {
    let Some(reason) = step.reason.as_ref().filter(|_| step.outcome != RunOutcome::Held.name()) else { return step.why.clone() };
    let mut reasons = reason.split("; ");
    let first = reasons.next().unwrap_or_default();
    let more = match reasons.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    format!("{}: {}, {first}{more}", step.why, step.outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::capacity::svg;
    use crate::results::fixture::{all, found, mapped, with_law};

    #[test]
    fn the_command_comes_first_and_the_limit_before_the_runs() {
        let text = markdown(&found());
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is missing in\n{text}"));
        let order = [
            "closestorm capacity node-capacity",
            "**✓ clients.page.arrive.rate: 4,000 ± 100 a second",
            "All expectations hold while",
            "capacity.svg",
            "## The runs",
            "| ✗ |",
        ];
        assert!(order.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{text}");
        assert!(text.contains("left out: a rate is not"), "{text}");
    }

    #[test]
    fn pages_are_complete_and_tables_have_as_many_cells_as_columns() {
        for (name, search) in all() {
            for block in blocks(&search) {
                if let Block::Table(table) = block {
                    assert!(table.rows.iter().all(|row| row.len() == table.head.len()), "{name}: {:?}", table.head);
                }
            }
            let page = html(&search, &svg(&search).unwrap());
            // One load is no curve.
            let charts = usize::from(name != "nothing");
            assert!(page.ends_with("</html>\n") && page.matches("<svg ").count() == charts, "{name}");
            assert_eq!(page.matches("http").count(), charts, "{name}: only the name space of SVG");
            let text = terminal(&search, 90, false);
            assert!(text.lines().all(|line| line.chars().count() <= 90 || line.starts_with("closestorm ")), "{name}:\n{text}");
            if let Some(dir) = std::env::var_os("CLOSESTORM_CHARTS") {
                let dir = std::path::Path::new(&dir);
                std::fs::write(dir.join(format!("capacity-{name}.html")), page).unwrap();
                std::fs::write(dir.join(format!("capacity-{name}.md")), markdown(&search)).unwrap();
                std::fs::write(dir.join(format!("capacity-{name}.txt")), text).unwrap();
            }
        }
    }

    #[test]
    fn the_law_has_its_parameters_with_intervals_and_the_map_a_row_for_each_level() {
        let text = markdown(&with_law());
        assert!(
            text.contains("| λ | throughput at N = 1, per second | 1.1 | 1 | 1.2 |") && text.contains("| κ |") && text.contains("2.00e-8"),
            "{text}"
        );
        let text = markdown(&mapped());
        assert!(text.contains("| 1s | 4,000 ± 100 a second |") && text.contains("| 8s | none |"), "{text}");
    }
}
