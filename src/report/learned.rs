//! The report of what was learnt of a client, the card first: Markdown and HTML. Decides nothing.

use super::document::{Block, Table};
use super::{html as web, markdown as text};
use crate::number::counted;
use crate::plot::ChartSvg;
use crate::plot::learned::{NAME_OF_FILES, scene};
use crate::results::learned::{LearnedClient, LearnedRule};

/// The report as Markdown. The chart is linked as `waits.svg` in the same folder.
pub fn markdown(client: &LearnedClient) -> String {
    text::page(&title(client), &blocks(client), &|_| scene(client).title)
}

/// The report as one HTML document; `charts` from [`crate::plot::learned::svg`].
pub fn html(client: &LearnedClient, charts: &[ChartSvg]) -> String {
    web::page(&title(client), &blocks(client), charts)
}

fn title(client: &LearnedClient) -> String {
    format!("How {} comes back", client.client)
}

fn blocks(client: &LearnedClient) -> Vec<Block> {
    let heading = |text: &str| Block::Heading(text.to_owned());
    let mut blocks = vec![Block::Command(client.command.clone())];
    let (kept, broken, open) = (client.count("pass"), client.count("fail"), client.count("not tested"));
    let result = match (broken, open, client.doubts.is_empty()) {
        (1.., ..) => "fail",
        (0, 0, true) => "pass",
        _ => "inconclusive",
    };
    blocks.push(Block::Verdict {
        result: result.to_owned(),
        text: format!("{} kept, {broken} broken, {open} not tested", counted(kept as u64, "rule")),
    });
    blocks.extend(client.doubts.iter().cloned().map(Block::Paragraph));
    blocks.push(Block::Table(card(client)));
    let broken: Vec<String> = client.rules.iter().filter(|rule| rule.result == "fail").map(reason).collect();
    if !broken.is_empty() {
        blocks.extend([heading("Why it matters"), Block::List(broken)]);
    }
    blocks.extend([heading("Waits"), Block::Paragraph(format!("{}.", client.made))]);
    if client.waits_ms.iter().any(|waits| !waits.is_empty()) {
        blocks.push(Block::Chart(NAME_OF_FILES));
    }
    if let Some(schedule) = &client.schedule {
        blocks.push(Block::Table(numbers(&schedule.numbers)));
        blocks.extend([Block::List(schedule.goodness.clone()), Block::Command(schedule.table.clone())]);
    }
    if !client.answers.is_empty() {
        let mut table = Table::new(3, &["After", "It", "Answer to the Close frame"]);
        table.rows.extend(client.answers.iter().map(|row| row.to_vec()));
        blocks.extend([heading("What it did after what"), Block::Table(table)]);
    }
    if !client.slow.is_empty() {
        let took = client.slow.iter().map(|(what, time)| format!("{what}: {time}"));
        blocks.extend([heading("Questions that took long"), Block::List(took.collect())]);
    }
    if !client.not_asked.is_empty() {
        blocks.extend([heading("Not asked, or no answer"), Block::List(client.not_asked.clone())]);
    }
    blocks
}

fn card(client: &LearnedClient) -> Table {
    let mut table = Table::new(4, &["", "Rule", "What it asks", "What was seen"]);
    let mark = |result: &str| match result {
        "pass" => "✓",
        "fail" => "✗",
        _ => "–",
    };
    table.rows.extend(
        client.rules.iter().map(|rule| vec![mark(rule.result).to_owned(), rule.name.to_owned(), rule.text.to_owned(), rule.seen.clone()]),
    );
    table
}

fn reason(rule: &LearnedRule) -> String {
    format!("{}: {}", rule.name, rule.why)
}

fn numbers(numbers: &[[String; 4]]) -> Table {
    let mut table = Table::new(1, &["Number", "value", "95 % from", "to"]);
    table.rows.extend(numbers.iter().map(|row| row.to_vec()));
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot;
    use crate::results::fixture::learned;

    #[test]
    fn the_card_comes_first_and_everything_is_escaped() {
        let (_, mut client) = learned().swap_remove(0);
        client.client = "node <b>app.js</b>".to_owned();
        let page = html(&client, &plot::learned::svg(&client).unwrap());
        assert!(!page.contains("<b>app.js") && page.contains("<svg "));
        let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text}: {page}"));
        assert!(place("1 rule kept, 1 broken, 1 not tested") < place("What was seen") && place("What was seen") < place("<svg "));
        assert!(place("<svg ") < place("reconnect = {"));
        let text = markdown(&client);
        for words in ["| ✗ | jitter |", "![Waits are exponential", "Not asked", "status code 1000"] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    /// With `CLOSESTORM_CHARTS=DIR` the reports stay in DIR to be looked at.
    #[test]
    fn reports_of_all_made_up_clients_are_written() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = std::env::var_os("CLOSESTORM_CHARTS").map_or_else(|| temporary.path().to_path_buf(), std::path::PathBuf::from);
        for (name, client) in learned() {
            let dir = dir.join(format!("learned-{name}"));
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join("report.html"), html(&client, &plot::learned::svg(&client).unwrap())).unwrap();
            std::fs::write(dir.join("report.md"), markdown(&client)).unwrap();
        }
    }
}
