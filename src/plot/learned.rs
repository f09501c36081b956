//! Chart: the waits of a client by attempt, on what the schedule that explains them allows; beside it how well it does, as shares of waits.
//!
//! From [`LearnedClient`] alone.

use super::axis::{self, Axis};
use super::scene::{Ink, NAME, NOTE, Scene, TextAnchor};
use super::sheet::{self, FOOT, MARGIN, Panel, TOP, WIDTH};
use super::{ChartFile, ChartSvg, DrawError, RenderError, draw};
use crate::number;
use crate::results::learned::{LearnedClient, LearnedSchedule};
use std::path::Path;

/// Name of its files, without extension.
pub const NAME_OF_FILES: &str = "waits";
const ABOUT: &str = "waits by attempt on the schedule that explains them, and how well it does";
const HEIGHT: f64 = 520.0;
const LEFT: f64 = 84.0;
const BOTTOM: f64 = HEIGHT - FOOT - 50.0;
/// Width of the panel of shares, and the gap before it.
const SHARES: f64 = 250.0;
const BETWEEN: f64 = 76.0;
/// Longest wait as a multiple of the shortest from which the axis is logarithmic.
const WIDE: f64 = 60.0;
/// Half of the width of an attempt, as a share of the room for it.
const HALF: f64 = 0.36;
/// A law narrower than so many px is a line.
const THIN: f64 = 3.0;
/// Attempts whose numbers stand below the axis, at most.
const NUMBERS: usize = 24;

/// Draws it.
pub fn scene(client: &LearnedClient) -> Scene {
    let sub = format!("Waits by attempt · {} · {}", client.client, client.made);
    let mut scene = sheet::titled(WIDTH, HEIGHT, &title(client), &sub);
    let places = client.schedule.as_ref().map_or(&[][..], |schedule| &schedule.places);
    let right = if places.is_empty() { WIDTH - MARGIN } else { WIDTH - MARGIN - SHARES - BETWEEN };
    let panel = Panel { left: LEFT, right, top: TOP + 20.0, bottom: BOTTOM };
    waits(&mut scene, client, &panel);
    if !places.is_empty() {
        shares(&mut scene, places, &Panel { left: WIDTH - MARGIN - SHARES, right: WIDTH - MARGIN, ..panel });
    }
    let count: usize = client.waits_ms.iter().map(Vec::len).sum();
    let goodness = client.schedule.as_ref().map_or(String::new(), |schedule| format!(" · {}", schedule.goodness.join(" · ")));
    let counted =
        format!("n = {} of {}{goodness}", number::counted(count as u64, "wait"), number::counted(client.outages as u64, "outage"));
    sheet::footed(scene, &counted, &client.command)
}

/// The chart as an SVG document.
///
/// # Errors
/// The backend failed.
pub fn svg(client: &LearnedClient) -> Result<Vec<ChartSvg>, DrawError> {
    Ok(vec![ChartSvg { name: NAME_OF_FILES, about: ABOUT, svg: draw::svg(&scene(client))? }])
}

/// Writes `waits.svg` and `waits.png` into `dir`, which exists.
///
/// # Errors
/// It could not be drawn or written.
pub fn render(client: &LearnedClient, dir: &Path) -> Result<ChartFile, RenderError> {
    super::write_scene(NAME_OF_FILES, scene(client), dir)
}

fn title(client: &LearnedClient) -> String {
    match &client.schedule {
        Some(LearnedSchedule { fits: true, words, .. }) => format!("Waits are {words}"),
        Some(_) => "No schedule of the model explains these waits".to_owned(),
        None => "Too few waits for a schedule".to_owned(),
    }
}

fn waits(scene: &mut Scene, client: &LearnedClient, panel: &Panel) {
    let allowed = || client.laws.iter().flatten().flat_map(|piece| [piece.lo_ms, piece.hi_ms]);
    let all = || client.waits_ms.iter().flatten().copied().chain(allowed());
    let least = all().filter(|wait| *wait > 0.5).fold(f64::MAX, f64::min);
    let most = all().fold(1.0, f64::max);
    let wide = least < f64::MAX && most > WIDE * least;
    let y = match wide {
        true => Axis::log(1e3 * least, 1e3 * most, panel.bottom, panel.top),
        false => Axis::linear(0.0, axis::time_ceiling(1e3 * most, 5), panel.bottom, panel.top),
    };
    panel.y_axis(scene, &y, &y.time_ticks());
    let name = if wide { "Wait before the attempt (logarithmic)" } else { "Wait before the attempt" };
    scene.text(MARGIN, panel.top - 14.0, TextAnchor::Start, NAME, name);
    if !client.laws.is_empty() {
        let entries = [(Ink::Heat(1), "what the schedule allows"), (Ink::Series(0), "seen")];
        sheet::key(scene, MARGIN + NAME.width(name) + 24.0, panel.top - 14.0, &entries);
    }
    let attempts = client.waits_ms.len().max(1);
    let x = Axis::linear(0.5, attempts as f64 + 0.5, panel.left, panel.right);
    let every = attempts.div_ceil(NUMBERS);
    let ticks: Vec<(f64, String)> = (1..=attempts).step_by(every).map(|attempt| (attempt as f64, attempt.to_string())).collect();
    panel.x_axis(scene, &x, &ticks, "Attempt of an outage (number)");
    for (attempt, law) in client.laws.iter().enumerate().take(attempts) {
        let (from, to) = (x.at(attempt as f64 + 1.0 - HALF), x.at(attempt as f64 + 1.0 + HALF));
        for piece in law {
            let (low, high) = (y.at(1e3 * piece.lo_ms), y.at(1e3 * piece.hi_ms));
            let thin = low - high < THIN;
            let top = if thin { (low + high - THIN) / 2.0 } else { high };
            scene.rect(from, top, to - from, if thin { THIN } else { low - high }, Ink::Heat(if thin { 2 } else { 1 }));
        }
    }
    for (attempt, waits) in client.waits_ms.iter().enumerate() {
        for (index, wait) in waits.iter().enumerate() {
            // In the order in which they came, from the left to the right.
            let beside = if waits.len() > 1 { index as f64 / (waits.len() - 1) as f64 - 0.5 } else { 0.0 };
            scene.dot(x.at(attempt as f64 + 1.0 + 1.6 * HALF * beside), y.at(1e3 * wait), 2.2, Ink::Series(0));
        }
    }
}

/// Shares of waits that are shorter, by the schedule and as they were seen: on the diagonal they are the same.
fn shares(scene: &mut Scene, places: &[f64], panel: &Panel) {
    let x = Axis::linear(0.0, 100.0, panel.left, panel.right);
    let y = Axis::linear(0.0, 100.0, panel.bottom, panel.top);
    let ticks: Vec<(f64, String)> = [0, 25, 50, 75, 100].map(|tick| (f64::from(tick), tick.to_string())).to_vec();
    panel.y_axis(scene, &y, &ticks);
    panel.x_axis(scene, &x, &ticks, "By the schedule (%)");
    scene.text(panel.left - 32.0, panel.top - 14.0, TextAnchor::Start, NAME, "Shorter waits, as seen (%)");
    scene.rule((panel.left, panel.bottom), (panel.right, panel.top), Ink::Axis, 1.2);
    scene.text(panel.right - 4.0, panel.bottom - 8.0, TextAnchor::End, NOTE, "on the line: as the schedule says");
    let share = |index: usize| 100.0 * (index as f64 + 0.5) / places.len() as f64;
    let line = places.iter().enumerate().map(|(index, place)| (x.at(100.0 * place), y.at(share(index)))).collect();
    scene.line(line, Ink::Series(0), 2.0, &[]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture::learned;

    #[test]
    fn no_text_leaves_the_canvas_or_covers_another() {
        for (name, client) in learned() {
            scene(&client).assert_readable(name);
        }
    }

    #[test]
    fn it_says_what_fits_and_what_does_not() {
        for (name, client) in learned() {
            let text = draw::svg(&scene(&client)).unwrap();
            let expected: &[&str] = match name {
                "jitter" => {
                    &["Waits are exponential", "Attempt of an outage (number)", "Shorter waits, as seen (%)", "n = 120 waits of 20 outages"]
                }
                "steady" => &["Waits are table", "Wait before the attempt (logarithmic)"],
                "strange" => &["No schedule of the model explains these waits"],
                _ => &["Too few waits for a schedule"],
            };
            expected.iter().for_each(|words| assert!(text.contains(words), "{name}: {words}"));
            assert_eq!(text.contains("Shorter waits"), ["jitter", "strange"].contains(&name), "{name}");
        }
    }

    /// With `CLOSESTORM_CHARTS=DIR` the pictures stay in DIR to be looked at.
    #[test]
    fn files_are_written() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = std::env::var_os("CLOSESTORM_CHARTS").map_or_else(|| temporary.path().to_path_buf(), std::path::PathBuf::from);
        for (name, client) in learned() {
            let dir = dir.join(format!("learned-{name}"));
            std::fs::create_dir_all(&dir).unwrap();
            let file = render(&client, &dir).unwrap();
            assert!(std::fs::read(&file.png).unwrap().starts_with(b"\x89PNG"));
        }
    }
}
