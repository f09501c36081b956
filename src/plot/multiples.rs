//! Small multiples: a panel for each cohort, all on the same axes. From six cohorts on, lines in one panel would lie on one another.

use super::axis::Axis;
use super::scene::{Ink, NAME, NOTE, Scene, TextAnchor, Type};
use super::sheet::{MARGIN, Panel, WIDTH};

/// From so many cohorts on, each has a panel of its own.
pub(super) const MANY: usize = 6;
/// Cohorts beyond this are left out and counted.
pub(super) const PANELS_MAX: usize = 30;

/// Of the notes above a panel.
pub(super) const NOTES: Type = Type { size: 10.5, ..NOTE };

const LEFT: f64 = 76.0;
const GAP: f64 = 18.0;
/// A line with the name, two of notes.
const HEAD: f64 = 48.0;
/// Below each row of panels.
const BELOW: f64 = 20.0;

/// Where the panels stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    panels: usize,
    columns: usize,
    top: f64,
    height: f64,
}

impl Grid {
    /// For so many panels, from `top` on.
    pub(super) fn of(panels: usize, top: f64) -> Grid {
        let (columns, height) = match panels {
            0..=9 => (3, 112.0),
            10..=16 => (4, 96.0),
            _ => (5, 84.0),
        };
        Grid { panels, columns, top, height }
    }

    /// The panel of this number, row by row.
    pub(super) fn panel(&self, n: usize) -> Panel {
        let width = (WIDTH - MARGIN - LEFT - GAP * (self.columns - 1) as f64) / self.columns as f64;
        let left = LEFT + (n % self.columns) as f64 * (width + GAP);
        let top = self.top + HEAD + (n / self.columns) as f64 * (HEAD + self.height + BELOW);
        Panel { left, right: left + width, top, bottom: top + self.height }
    }

    /// Where the last row ends, with the ticks below it.
    pub(super) fn bottom(&self) -> f64 {
        self.panel(self.panels.saturating_sub(1)).bottom + BELOW
    }

    /// Name and notes of a panel, its grid lines, and ticks where they are read: at the left, and below the last panel of a column.
    pub(super) fn frame(&self, scene: &mut Scene, n: usize, (name, notes): (&str, &[String]), axes: &GridAxes) {
        let panel = self.panel(n);
        let room = panel.right - panel.left;
        scene.text(panel.left, panel.top - HEAD + 16.0, TextAnchor::Start, NAME, NAME.fit(name, room));
        for (line, note) in notes.iter().take(2).enumerate() {
            scene.text(panel.left, panel.top - HEAD + 29.0 + line as f64 * 13.0, TextAnchor::Start, NOTES, NOTES.fit(note, room));
        }
        let y = (axes.y)(&panel);
        for (value, label) in axes.y_ticks {
            scene.rule((panel.left, y.at(*value)), (panel.right, y.at(*value)), Ink::Grid, 1.0);
            if n.is_multiple_of(self.columns) {
                scene.text(panel.left - 8.0, y.at(*value) + 4.0, TextAnchor::End, NOTE, label.as_str());
            }
        }
        scene.rule((panel.left, panel.bottom), (panel.right, panel.bottom), Ink::Axis, 1.0);
        let x = (axes.x)(&panel);
        let mut free = f64::MIN;
        for (value, label) in axes.x_ticks {
            let at = x.at(*value);
            scene.rule((at, panel.bottom), (at, panel.bottom + 3.0), Ink::Axis, 1.0);
            let half = NOTE.width(label) / 2.0;
            // Of labels that would touch, the first stays; none leaves the panel to where the next one begins.
            if n + self.columns >= self.panels && at - half > free && at + half < panel.right + GAP / 2.0 {
                scene.text(at, panel.bottom + 16.0, TextAnchor::Middle, NOTE, label.as_str());
                free = at + half + 4.0;
            }
        }
    }
}

/// What all panels share.
pub(super) struct GridAxes<'a> {
    pub(super) x: &'a dyn Fn(&Panel) -> Axis,
    pub(super) y: &'a dyn Fn(&Panel) -> Axis,
    pub(super) x_ticks: &'a [(f64, String)],
    pub(super) y_ticks: &'a [(f64, String)],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_of_any_number_of_cohorts_stand_apart_on_the_sheet() {
        for panels in MANY..=PANELS_MAX {
            let grid = Grid::of(panels, 100.0);
            let all: Vec<Panel> = (0..panels).map(|n| grid.panel(n)).collect();
            assert!(all.iter().all(|panel| panel.right <= WIDTH - MARGIN + 1e-6 && panel.bottom < grid.bottom()), "{panels}");
            assert!(all.iter().all(|panel| panel.right - panel.left > 150.0), "{panels}");
            for (n, a) in all.iter().enumerate() {
                let apart = |b: &Panel| a.right < b.left || b.right < a.left || a.bottom + HEAD < b.top || b.bottom + HEAD < a.top;
                assert!(all.iter().skip(n + 1).all(apart), "{panels}: {n}");
            }
        }
    }
}
