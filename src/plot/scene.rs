//! What a chart consists of before it is drawn: rectangles, areas, lines, dots and texts in pixels of a canvas, y downwards.
//!
//! Charts fill a [`Scene`]; `draw` carries it out as SVG and PNG, so both show the same, and tests can look for texts that overlap.

use crate::text::printable;

/// The closed list of colours: reports restyle it for dark screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Background.
    Paper,
    /// Text that matters.
    Strong,
    /// Text on a pale series; stays dark on dark screens too.
    OnPale,
    /// Text that explains.
    Muted,
    /// Axes and ticks.
    Axis,
    /// Grid lines.
    Grid,
    /// A band during which a fault is active.
    Band,
    /// A band during which the target is down.
    Down,
    /// A fault's mark.
    Fault,
    /// A data series, 0 to 5; they differ in lightness too.
    Series(usize),
    /// A step of a scale from 0 (pale) to 4 (dark).
    Heat(usize),
}

impl Ink {
    /// Red, green, blue on a light screen.
    pub fn rgb(self) -> (u8, u8, u8) {
        match self {
            Ink::Paper => (255, 255, 255),
            Ink::Strong => (23, 29, 38),
            Ink::OnPale => (24, 28, 36),
            Ink::Muted => (84, 93, 107),
            Ink::Axis => (133, 141, 153),
            Ink::Grid => (229, 232, 236),
            Ink::Band => (253, 240, 219),
            Ink::Down => (214, 217, 223),
            Ink::Fault => (168, 44, 28),
            Ink::Series(n) => SERIES[n % SERIES.len()],
            Ink::Heat(n) => HEAT[n.min(HEAT.len() - 1)],
        }
    }
}

/// Of a text on a step of the scale: light on dark and dark on light, in both colour schemes.
pub fn on_heat(step: usize) -> Ink {
    if step >= 3 { Ink::Paper } else { Ink::Strong }
}

/// Dark and light in turn, so that neighbours differ in grey; distinguishable with red-green blindness. Each has a contrast of at least 3:1
/// against the paper (WCAG 2.2, 1.4.11).
const SERIES: [(u8, u8, u8); 6] = [(27, 73, 124), (201, 112, 20), (10, 105, 100), (196, 121, 178), (107, 62, 38), (72, 140, 194)];

const HEAT: [(u8, u8, u8); 5] = [(237, 243, 250), (197, 217, 238), (132, 174, 216), (61, 116, 172), (23, 64, 110)];

/// Where a text stands relative to its x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextAnchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Type {
    /// Em size in px.
    pub size: f64,
    /// Bold.
    pub bold: bool,
    /// Colour.
    pub ink: Ink,
}

/// Title of a chart.
pub const TITLE: Type = Type { size: 19.0, bold: true, ink: Ink::Strong };
/// Name of an axis or a panel, and labels of data.
pub const NAME: Type = Type { size: 12.0, bold: true, ink: Ink::Strong };
/// Values and labels.
pub const LABEL: Type = Type { size: 12.0, bold: false, ink: Ink::Strong };
/// Ticks, subtitles, notes.
pub const NOTE: Type = Type { size: 11.5, bold: false, ink: Ink::Muted };

impl Type {
    /// The same in another colour.
    pub fn in_ink(self, ink: Ink) -> Type {
        Type { ink, ..self }
    }

    /// The same in another size.
    pub fn sized(self, size: f64) -> Type {
        Type { size, ..self }
    }

    /// Width of a text in px.
    pub fn width(self, text: &str) -> f64 {
        super::text::text_width(text, self.size, self.bold)
    }

    /// The text, cut with `…` where it is wider than `room` px.
    pub fn fit(self, text: &str, room: f64) -> String {
        if self.width(text) <= room {
            return text.to_string();
        }
        let mut kept: String = text.to_string();
        while kept.pop().is_some() {
            let candidate = format!("{}…", kept.trim_end());
            if self.width(&candidate) <= room {
                return candidate;
            }
        }
        String::new()
    }

    /// The text in lines no wider than `room` px, broken at spaces; at most `lines`, the last one cut.
    pub fn wrap(self, text: &str, room: f64, lines: usize) -> Vec<String> {
        let mut out: Vec<String> = vec![String::new()];
        let words: Vec<&str> = text.split(' ').collect();
        for (i, word) in words.iter().enumerate() {
            let current = &out[out.len() - 1];
            let longer = if current.is_empty() { word.to_string() } else { format!("{current} {word}") };
            let last = out.len() - 1;
            if self.width(&longer) <= room || current.is_empty() {
                out[last] = longer;
            } else if out.len() < lines {
                out.push(word.to_string());
            } else {
                out[last] = self.fit(&format!("{current} {}", words[i..].join(" ")), room);
                break;
            }
        }
        out.iter().map(|line| self.fit(line, room)).collect()
    }
}

/// Dashes of a line, as lengths drawn and left out in px; empty is solid.
pub type Dash = &'static [f64];

/// The dashes of the series: with the lightness of the ink they tell lines apart in grey.
pub fn dash(series: usize) -> Dash {
    const DASHES: [Dash; 4] = [&[], &[8.0, 3.0], &[2.5, 2.5], &[10.0, 3.0, 2.5, 3.0]];
    DASHES[series % DASHES.len()]
}

/// One thing on the canvas.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A filled rectangle.
    Rect {
        /// Left.
        x: f64,
        /// Top.
        y: f64,
        /// Width.
        w: f64,
        /// Height.
        h: f64,
        /// Fill.
        ink: Ink,
    },
    /// An area that lets through what is below it.
    Area {
        /// x with the upper and the lower edge there, by x; at least two.
        points: Vec<(f64, f64, f64)>,
        /// Fill.
        ink: Ink,
        /// From 0 (not there) to 1 (hides what is below).
        opacity: f64,
    },
    /// A line through points.
    Line {
        /// At least two.
        points: Vec<(f64, f64)>,
        /// Stroke.
        ink: Ink,
        /// Width in px.
        width: f64,
        /// Dashes.
        dash: Dash,
    },
    /// A filled circle.
    Dot {
        /// Centre.
        x: f64,
        /// Centre.
        y: f64,
        /// Radius.
        r: f64,
        /// Fill.
        ink: Ink,
    },
    /// A text on one line.
    Text {
        /// Anchor.
        x: f64,
        /// Baseline.
        y: f64,
        /// Anchor.
        anchor: TextAnchor,
        /// Looks.
        style: Type,
        /// Not empty.
        text: String,
    },
}

/// A canvas with things on it, in drawing order.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    /// Width in px.
    pub width: f64,
    /// Height in px.
    pub height: f64,
    /// The answer, in a sentence.
    pub title: String,
    /// What is drawn.
    pub items: Vec<Item>,
}

impl Scene {
    /// A filled rectangle; none if it has no area.
    pub fn rect(&mut self, x: f64, y: f64, w: f64, h: f64, ink: Ink) {
        if w > 0.0 && h > 0.0 {
            self.items.push(Item::Rect { x, y, w, h, ink });
        }
    }

    /// An area between an upper and a lower edge, by x; nothing below two points.
    pub fn area(&mut self, points: Vec<(f64, f64, f64)>, ink: Ink, opacity: f64) {
        if points.len() > 1 {
            self.items.push(Item::Area { points, ink, opacity });
        }
    }

    /// A solid line between two points.
    pub fn rule(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink, width: f64) {
        self.line(vec![from, to], ink, width, &[]);
    }

    /// A line through points; nothing below two.
    pub fn line(&mut self, points: Vec<(f64, f64)>, ink: Ink, width: f64, dash: Dash) {
        if points.len() > 1 {
            self.items.push(Item::Line { points, ink, width, dash });
        }
    }

    /// A filled circle.
    pub fn dot(&mut self, x: f64, y: f64, r: f64, ink: Ink) {
        self.items.push(Item::Dot { x, y, r, ink });
    }

    /// A text with its baseline at y.
    pub fn text(&mut self, x: f64, y: f64, anchor: TextAnchor, style: Type, text: impl Into<String>) {
        let text = printable(&text.into()); // XML has no place for controls
        if !text.is_empty() {
            self.items.push(Item::Text { x, y, anchor, style, text });
        }
    }

    /// Left, top, right and bottom of each text, with the text: what must neither overlap nor leave the canvas.
    pub fn text_boxes(&self) -> Vec<(f64, f64, f64, f64, &str)> {
        let boxes = self.items.iter().filter_map(|item| match item {
            Item::Text { x, y, anchor, style, text } => {
                let w = style.width(text);
                let left = match anchor {
                    TextAnchor::Start => *x,
                    TextAnchor::Middle => x - w / 2.0,
                    TextAnchor::End => x - w,
                };
                Some((left, y - style.size * 0.76, left + w, y + style.size * 0.2, text.as_str()))
            }
            _ => None,
        });
        boxes.collect()
    }

    /// No text leaves the canvas, and none covers another.
    #[cfg(test)]
    pub(crate) fn assert_readable(&self, name: &str) {
        let boxes = self.text_boxes();
        for (i, a) in boxes.iter().enumerate() {
            assert!(a.0 >= 0.0 && a.1 >= 0.0 && a.2 <= self.width && a.3 <= self.height, "{name}: {a:?} leaves the canvas");
            for b in &boxes[i + 1..] {
                assert!(a.2 <= b.0 || b.2 <= a.0 || a.3 <= b.1 || b.3 <= a.1, "{name}: {a:?} covers {b:?}");
            }
        }
    }
}

/// Moves positions apart so that neighbours are at least `gap` apart and all lie in `low..=high` where there is room. Keeps the order.
pub fn spread(positions: &[f64], gap: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..positions.len()).collect();
    order.sort_by(|&a, &b| positions[a].total_cmp(&positions[b]));
    let mut placed = positions.to_vec();
    let mut floor = low;
    for &i in &order {
        placed[i] = placed[i].max(floor);
        floor = placed[i] + gap;
    }
    let mut ceiling = high;
    for &i in order.iter().rev() {
        placed[i] = placed[i].min(ceiling);
        ceiling = placed[i] - gap;
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_keeps_order_distance_and_bounds() {
        for (positions, expected) in [
            (vec![10.0, 10.0, 10.0], vec![10.0, 20.0, 30.0]),
            (vec![99.0, 98.0], vec![100.0, 90.0]),   // order kept: the second was higher
            (vec![100.0, 100.0], vec![90.0, 100.0]), // pushed back from the bottom
            (vec![0.0, 50.0], vec![0.0, 50.0]),      // nothing to do
        ] {
            assert_eq!(spread(&positions, 10.0, 0.0, 100.0), expected, "{positions:?}");
        }
    }

    #[test]
    fn text_is_cut_and_wrapped_to_the_room() {
        assert_eq!(LABEL.fit("short", 100.0), "short");
        let cut = LABEL.fit("a name that is far too long for its place", 100.0);
        assert!(cut.ends_with('…') && LABEL.width(&cut) <= 100.0, "{cut}");
        let lines = LABEL.wrap("one two three four five six seven eight nine ten", 80.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| LABEL.width(line) <= 80.0), "{lines:?}");
        assert!(lines[1].ends_with('…'));
    }

    #[test]
    fn neighbouring_series_differ_in_grey() {
        let grey = |n| {
            let (r, g, b) = Ink::Series(n).rgb();
            0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b)
        };
        for n in 0..5 {
            assert!(f64::abs(grey(n) - grey(n + 1)) > 35.0, "{n}: {} {}", grey(n), grey(n + 1));
        }
    }
}
