//! How the dashboard looks: two charts, then what ended connections, how soon clients are back, and what faults do.

use super::so_far::SoFar;
use super::state::{ChartLine, RunState};
use crate::close;
use crate::number;
use crate::plot::axis::count_ticks;
use crate::report::{shortened, wrapped};
use crate::text::printable;
use crate::units::print_duration;
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line as TextLine, Span};
use ratatui::widgets::{Axis, Chart, Dataset, GraphType, Paragraph};
use std::time::Duration;

/// Columns and rows that it needs.
pub(super) const SMALLEST: (u16, u16) = (80, 24);
/// Expectations that are listed where there is room for a list.
const EXPECTED_MAX: usize = 8;

/// How it is drawn.
#[derive(Clone, Copy)]
pub(super) struct DashboardLook {
    pub(super) colour: bool,
    pub(super) paused: bool,
    pub(super) stopping: bool,
    /// So many faults, the first ones of the plan, can be fired by their numbers.
    pub(super) fires: usize,
}

impl DashboardLook {
    fn colour(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }
}

/// Draws a run.
pub(super) fn draw(frame: &mut Frame<'_>, run: &RunState, look: DashboardLook) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!("too small: {} by {}, of {} by {}", area.width, area.height, SMALLEST.0, SMALLEST.1);
        return frame.render_widget(Paragraph::new(text), area);
    }
    let question = wrapped(run.question.as_deref().unwrap_or_default(), usize::from(area.width));
    let question = &question[..question.len().min(2)];
    let expected = run.expectations();
    let (lists, stand) = if area.height < 36 { (6, expected.len().min(1)) } else { (12, (expected.len() + 1).min(EXPECTED_MAX + 1)) };
    let stand = if expected.is_empty() { 0 } else { stand as u16 };
    let rows = [1, question.len() as u16, 1, stand]
        .map(Constraint::Length)
        .into_iter()
        .chain([Constraint::Fill(1)])
        .chain([1, lists, 1].map(Constraint::Length));
    let [head, asked, figures, stands, charts, _, below, keys] = Layout::vertical(rows).areas(area);
    heading(frame, head, run, look);
    frame.render_widget(Paragraph::new(question.join("\n")).style(look.dim()), asked);
    numbers(frame, figures, run, look);
    expectations(frame, stands, &expected, look);
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2).areas(charts);
    chart(frame, left, ("open clients", &run.open, Color::Cyan), run, look);
    chart(frame, right, ("attempts per second", &run.attempts, Color::Yellow), run, look);
    let thirds = [Constraint::Fill(1), Constraint::Length(22), Constraint::Fill(1)];
    let [codes, back, faults] = Layout::horizontal(thirds).spacing(2).areas(below);
    closes(frame, codes, run, look);
    reconnects(frame, back, run, look);
    fired(frame, faults, run, look);
    help(frame, keys, look);
}

fn heading(frame: &mut Frame<'_>, area: Rect, run: &RunState, look: DashboardLook) {
    let bar_width = usize::from(area.width / 4);
    let full = (run.share() * bar_width as f64).round() as usize;
    let bar = format!("{}{}", "█".repeat(full), "░".repeat(bar_width - full));
    let time = format!("{:.1} s of {} ", run.latest.at.as_secs_f64(), print_duration(run.duration));
    let text = [Span::raw(time), Span::styled(bar, look.colour(Color::Cyan))];
    let width = text.iter().map(Span::width).sum::<usize>() as u16;
    let [name, progress] = Layout::horizontal([Constraint::Fill(1), Constraint::Length(width)]).spacing(2).areas(area);
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Paragraph::new(Span::styled(format!("closestorm · {}", printable(&run.name)), bold)), name);
    frame.render_widget(Paragraph::new(TextLine::from_iter(text)), progress);
}

fn numbers(frame: &mut Frame<'_>, area: Rect, run: &RunState, look: DashboardLook) {
    let state = &run.latest.state;
    let attempts = (number::count(state.ledger.attempts.total), number::count(state.failed()));
    let attempts = format!(" · attempts {}, {} failed", attempts.0, attempts.1);
    let open = format!("open {}", number::count(state.open));
    let of = format!(" of {}", number::count(run.clients));
    // Of millions there is no room for all figures: what was planned does not change.
    let needs = [&open, &of, &attempts].map(|text| text.chars().count()).iter().sum::<usize>() + 26;
    let mut spans = vec![Span::raw(if needs > usize::from(area.width) { open } else { open + &of })];
    let away = format!(" · disconnected {}", number::count(state.disconnected));
    spans.push(if state.disconnected > 0 { Span::styled(away, look.colour(Color::Red)) } else { Span::raw(away) });
    if state.lost > 0 {
        spans.push(Span::styled(format!(" · gave up {}", number::count(state.lost)), look.colour(Color::Red)));
    }
    spans.push(Span::raw(attempts));
    if run.missed > 0 {
        spans.push(Span::styled(" · this terminal is slow", look.dim()));
    }
    frame.render_widget(Paragraph::new(TextLine::from(spans)), area);
}

/// How expectations stand: those that do not hold so far first; where there is a line only, one of them and how many there are of each kind.
fn expectations(frame: &mut Frame<'_>, area: Rect, expected: &[(&str, SoFar)], look: DashboardLook) {
    let mut order: Vec<_> = expected.iter().collect();
    order.sort_by_key(|(_, stands)| match stands {
        SoFar::Fails(_) => 0,
        SoFar::Holds(_) => 1,
        SoFar::Open => 2,
        SoFar::AtTheEnd => 3,
    });
    let said = |stands: &SoFar| match stands {
        SoFar::Fails(value) => ("✗", value.clone(), look.colour(Color::Red)),
        SoFar::Holds(value) => ("✓", value.clone(), look.colour(Color::Green)),
        SoFar::Open => ("?", "not yet".to_owned(), Style::new()),
        SoFar::AtTheEnd => ("?", "at the end".to_owned(), look.dim()),
    };
    let counts = ["✗", "✓", "?"].map(|mark| (mark, order.iter().filter(|(_, stands)| said(stands).0 == mark).count()));
    let counts: Vec<String> = counts.iter().filter(|(_, count)| *count > 0).map(|(mark, count)| format!("{mark} {count}")).collect();
    let title = format!("expectations so far {}", counts.join("  "));
    let fails = |(_, stands): &&&(&str, SoFar)| matches!(stands, SoFar::Fails(_));
    let mut lines = Vec::new();
    match order.iter().find(fails) {
        // What fails is worth the line.
        Some((text, stands)) if area.height == 1 => {
            let (_, value, style) = said(stands);
            let room = usize::from(area.width).saturating_sub(title.chars().count() + 2);
            let text = shortened(&format!("{text}: {value}"), room);
            lines.push(TextLine::from(vec![Span::styled(title, look.dim()), Span::raw("  "), Span::styled(text, style)]));
        }
        _ => lines.push(TextLine::styled(title, look.dim())),
    }
    let more = order.len().saturating_sub(EXPECTED_MAX);
    let shown = if more > 0 { EXPECTED_MAX - 1 } else { order.len() };
    for (text, stands) in order.iter().take(shown) {
        let (mark, value, style) = said(stands);
        lines.push(TextLine::styled(beside(&format!("{mark} {text}"), &value, area.width.min(100)), style));
    }
    if more > 0 {
        lines.push(TextLine::raw(format!("  and {} more", order.len() - shown)));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn chart(frame: &mut Frame<'_>, area: Rect, (title, line, colour): (&str, &ChartLine, Color), run: &RunState, look: DashboardLook) {
    let most = count_ticks(line.greatest(), 4).last().copied().unwrap_or(1.0);
    let end = run.duration.as_secs_f64().max(run.latest.at.as_secs_f64());
    let data = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line).style(look.colour(colour)).data(line.points());
    let seconds = |share: f64| print_duration(Duration::from_secs((end * share).round() as u64));
    let across = Axis::default().bounds([0.0, end]).style(look.dim()).labels(["0".to_owned(), seconds(0.5), seconds(1.0)]);
    let up = Axis::default().bounds([0.0, most]).style(look.dim()).labels(["0".to_owned(), number::count(most as u64)]);
    let [top, rest] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    frame.render_widget(Paragraph::new(Span::styled(title.to_owned(), look.colour(colour))), top);
    frame.render_widget(Chart::new(vec![data]).x_axis(across).y_axis(up), rest);
}

fn closes(frame: &mut Frame<'_>, area: Rect, run: &RunState, look: DashboardLook) {
    let mut codes: Vec<_> = run.latest.state.closes.iter().collect();
    codes.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let room = usize::from(area.height) - 1;
    let shown = if codes.len() > room { room - 1 } else { codes.len() };
    let mut lines: Vec<_> = codes[..shown].iter().map(|(code, count)| named(**code, **count, area.width)).collect();
    if shown < codes.len() {
        let rest: u64 = codes[shown..].iter().map(|(_, count)| **count).sum();
        lines.push(beside(&number::counted((codes.len() - shown) as u64, "other code"), &number::count(rest), area.width));
    }
    let all = run.latest.state.ledger.closed;
    let title = if all > 0 { format!("{} by code", number::counted(all, "close")) } else { "closes by code".to_owned() };
    list(frame, area, &title, &lines, "none so far", look);
}

fn named(code: u16, count: u64, width: u16) -> String {
    let name = format!("{code} {}", close::name(code));
    beside(&name, &number::count(count), width)
}

fn reconnects(frame: &mut Frame<'_>, area: Rect, run: &RunState, look: DashboardLook) {
    let back = format!("{} of {}", number::count(run.latest.state.recovered), number::count(run.outages()));
    let mut lines = vec![beside("back", &back, area.width)];
    lines.extend(run.quantiles().map(|(name, text)| beside(name, &text, area.width)));
    let lines = if run.outages() == 0 { Vec::new() } else { lines };
    list(frame, area, "reconnect time so far", &lines, "no outage so far", look);
}

fn fired(frame: &mut Frame<'_>, area: Rect, run: &RunState, look: DashboardLook) {
    // Of many the ones that are next or fired last.
    let room = usize::from(area.height) - 1;
    let now = run.planned.iter().take_while(|fault| fault.at <= run.latest.at).count();
    let last = run.planned.len().min((now + room / 2).max(room));
    let shown = last.saturating_sub(room)..last;
    let lines: Vec<_> = shown
        .map(|index| {
            let fault = &run.planned[index];
            let number = if index < look.fires { format!("{} ", index + 1) } else { String::new() };
            let (name, doing) = (number + &printable(&fault.name), run.doing(index));
            let both = format!("{name} {}", fault.kind);
            let fits = name != fault.kind && both.chars().count() + doing.chars().count() < usize::from(area.width);
            beside(if fits { &both } else { &name }, &doing, area.width)
        })
        .collect();
    list(frame, area, "faults", &lines, "none planned", look);
}

fn list(frame: &mut Frame<'_>, area: Rect, title: &str, lines: &[String], nothing: &str, look: DashboardLook) {
    let mut text = vec![TextLine::styled(title.to_owned(), look.dim())];
    text.extend(lines.iter().map(|line| TextLine::raw(line.clone())));
    if lines.is_empty() {
        text.push(TextLine::raw(nothing.to_owned()));
    }
    frame.render_widget(Paragraph::new(text), area);
}

/// A name at the left, cut where it is too long, and a value at the right.
fn beside(name: &str, value: &str, width: u16) -> String {
    let room = usize::from(width).saturating_sub(value.chars().count() + 1);
    let name = shortened(name, room);
    format!("{name:room$} {value}")
}

fn help(frame: &mut Frame<'_>, area: Rect, look: DashboardLook) {
    let (text, style) = match look {
        DashboardLook { stopping: true, .. } => ("stopping: results are written · Ctrl-C again leaves at once", look.colour(Color::Yellow)),
        DashboardLook { paused: true, .. } => {
            ("the view is paused, the run is not · p goes on · q stops the run", look.colour(Color::Yellow))
        }
        DashboardLook { fires, .. } => {
            let fire = match fires {
                0 => String::new(),
                1 => " · 1 fire the fault now".to_owned(),
                many => format!(" · 1 to {many} fire a fault now"),
            };
            (&*format!("q stop the run and write its results · p pause the view{fire}"), look.dim())
        }
    };
    frame.render_widget(Paragraph::new(text).style(style).alignment(Alignment::Left), area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{FaultSoFar, Snapshot};
    use crate::scenario::{Overrides, Source, load};
    use crate::snapshots::Update;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn state(clients: u64, seconds: u64) -> RunState {
        let plan = load(&Source::of(Some("default")), &Overrides::default()).unwrap();
        let mut run = RunState::of(&plan);
        run.clients = clients;
        for tenth in 0..=seconds * 10 {
            let away = (30..50).contains(&tenth);
            let mut state = Snapshot { open: if away { 0 } else { clients.min(clients * tenth / 10) }, ..Snapshot::default() };
            if tenth >= 30 {
                state.disconnected = if away { clients } else { clients / 4 };
                state.recovered = clients - state.disconnected;
                state.reconnect.add(2_310_000, state.recovered);
                state.closes.insert(1006, clients);
                state.ledger.closed = clients;
                state.ledger.attempts.refused = clients;
                state.faults = vec![FaultSoFar { fired: 1, injected: clients }];
            }
            let mut update = Update { at: Duration::from_millis(tenth * 100), state, ..Update::default() };
            update.rates.attempts = if away { clients as f64 } else { 1.0 };
            run.add(update);
        }
        run
    }

    fn screen(run: &RunState, width: u16, height: u16, look: DashboardLook) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, run, look)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>().trim_end().to_owned();
        (0..height).map(row).collect::<Vec<_>>().join("\n")
    }

    const PLAIN: DashboardLook = DashboardLook { colour: false, paused: false, stopping: false, fires: 1 };

    #[test]
    fn all_that_is_known_stands_on_the_smallest_terminal() {
        for (width, height) in [(80, 24), (120, 40), (200, 60)] {
            for clients in [1, 1_000, 1_000_000] {
                let text = screen(&state(clients, 6), width, height, PLAIN);
                if std::env::var_os("CLOSESTORM_CHARTS").is_some() {
                    println!("{text}\n{}", "-".repeat(usize::from(width)));
                }
                let planned = number::count(clients);
                let parts = [
                    &format!("open {planned}"),
                    "failed",
                    "disconnected ",
                    "6.0 s of 10s",
                    "open clients",
                    "attempts per second",
                    "1006 abnormal",
                    "p50",
                    "by code",
                    "1 cra",
                    "fire the fault now",
                    "fired, hit",
                    "expectations so far ",
                    "q stop the run",
                ];
                for part in parts {
                    assert!(text.contains(part), "{width}×{height}, {clients}: {part} is missing in\n{text}");
                }
                assert!(text.contains("not yet") == (clients > 1), "a quarter is away\n{text}");
            }
        }
        let tall = screen(&state(1_000, 6), 120, 40, PLAIN);
        assert!(tall.contains("? reconnect_time p99") && tall.contains("✓ clients_lost count == 0"), "{tall}");
        let mut lost = state(1_000, 6);
        lost.latest.state.lost = 3;
        let small = screen(&lost, 80, 24, PLAIN);
        assert!(small.contains("✗ 1  ✓ 2  ? 1") && small.contains("clients_lost count == 0: 3"), "{small}");
        let before = screen(&state(10, 0), 80, 24, PLAIN);
        for part in ["none so far", "no outage so far", "in 3s"] {
            assert!(before.contains(part), "{part} is missing in\n{before}");
        }
        assert_eq!(screen(&state(10, 1), 79, 24, PLAIN).trim_end(), "too small: 79 by 24, of 80 by 24");
        assert!(screen(&state(10, 1), 80, 24, DashboardLook { paused: true, ..PLAIN }).contains("the view is paused, the run is not"));
        assert!(screen(&state(10, 1), 80, 24, DashboardLook { stopping: true, ..PLAIN }).contains("Ctrl-C again leaves at once"));
    }
}
