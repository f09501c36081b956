//! Carries out a [`Scene`] with plotters, as SVG text or as a PNG file, with an embedded font and no fontconfig.
//!
//! Nothing here knows what a chart means.

use super::scene::{Ink, Item, Scene, TextAnchor, Type};
use super::text::{PNG_EM, font, register_fonts};
use crate::text::printable;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

/// plotters knows integer coordinates only, so SVG is drawn this much larger and shrunk by its view box.
const SVG_SCALE: f64 = 4.0;
/// PNG has two pixels for each of the scene.
const PNG_SCALE: f64 = 2.0;
/// plotters' SVG font size is the size given divided by this.
const SVG_EM: f64 = 1.24;
/// The scene could not be drawn or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot draw {what}: {cause}")]
pub struct DrawError {
    what: String,
    cause: String,
}

/// An error of any backend by its text: nobody matches on it.
type Failed = String;

/// The scene as an SVG document; the same scene gives the same bytes.
pub fn svg(scene: &Scene) -> Result<String, DrawError> {
    register_fonts();
    let mut out = String::new();
    let size = pixels(scene, SVG_SCALE);
    {
        let mut backend = SVGBackend::with_string(&mut out, size);
        paint(&mut backend, scene, &SVG).map_err(|cause| DrawError { what: "an SVG".to_string(), cause })?;
    }
    let head_end = out.find('>').map_or(0, |at| at + 1);
    let head = format!(
        "<svg width=\"{}\" height=\"{}\" viewBox=\"0 0 {} {}\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\">\n<title>{}</title>",
        scene.width,
        scene.height,
        size.0,
        size.1,
        escape(&scene.title)
    );
    out.replace_range(..head_end, &head);
    Ok(out)
}

/// Writes the scene as a PNG of twice its size in pixels.
pub fn png(scene: &Scene, path: &Path, named: &Path) -> Result<(), DrawError> {
    register_fonts();
    let mut backend = BitMapBackend::new(path, pixels(scene, PNG_SCALE));
    paint(&mut backend, scene, &PNG).map_err(|cause| DrawError { what: named.display().to_string(), cause: plain(cause) })
}

/// The message of an I/O error that the backend wraps in its debug output, without the wrapping.
fn plain(cause: Failed) -> Failed {
    let inner = cause.split_once("IoError(").and_then(|(_, inner)| inner.split('"').nth(1));
    inner.map_or(cause.clone(), str::to_owned)
}

/// Text on one line with the five characters of markup replaced, and without controls, for which XML and HTML have no place.
pub fn escape(text: &str) -> String {
    printable(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

fn pixels(scene: &Scene, scale: f64) -> (u32, u32) {
    ((scene.width * scale).ceil() as u32, (scene.height * scale).ceil() as u32)
}

/// What differs between the two backends.
struct Medium {
    scale: f64,
    em: f64,
    /// From the y that is given to the baseline, in em.
    baseline: f64,
    /// It has shapes of its own. Otherwise it has pixels: plotters fills some of a shape twice, which shows where it is translucent.
    shapes: bool,
}

const SVG: Medium = Medium { scale: SVG_SCALE, em: SVG_EM, baseline: 0.76, shapes: true };
const PNG: Medium = Medium { scale: PNG_SCALE, em: PNG_EM, baseline: PNG_EM / 2.0, shapes: false };

impl Medium {
    fn point(&self, (x, y): (f64, f64)) -> (i32, i32) {
        ((x * self.scale).round() as i32, (y * self.scale).round() as i32)
    }
}

fn paint<B: DrawingBackend>(backend: &mut B, scene: &Scene, medium: &Medium) -> Result<(), Failed> {
    backend.ensure_prepared().map_err(failed)?;
    let (w, h) = backend.get_size();
    backend.draw_rect((0, 0), (w as i32, h as i32), &colour(Ink::Paper), true).map_err(failed)?;
    for item in &scene.items {
        match item {
            Item::Rect { x, y, w, h, ink } => {
                backend.draw_rect(medium.point((*x, *y)), medium.point((x + w, y + h)), &colour(*ink).filled(), true).map_err(failed)?;
            }
            Item::Area { points, ink, opacity } if medium.shapes => {
                let upper = points.iter().map(|(x, top, _)| (*x, *top));
                let lower = points.iter().rev().map(|(x, _, bottom)| (*x, *bottom));
                let mut edge: Vec<_> = upper.chain(lower).map(|point| medium.point(point)).collect();
                edge.dedup();
                backend.fill_polygon(edge, &colour(*ink).mix(*opacity)).map_err(failed)?;
            }
            Item::Area { points, ink, opacity } => {
                for (x, top, bottom) in columns(points, medium.scale) {
                    for y in top.floor() as i32..bottom.ceil() as i32 {
                        // The pixels at both edges by as much as is covered of them.
                        let covered = (f64::from(y) + 1.0).min(bottom) - f64::from(y).max(top);
                        let pixel = colour(*ink).mix(opacity * covered).to_backend_color();
                        backend.draw_pixel((x, y), pixel).map_err(failed)?;
                    }
                }
            }
            Item::Dot { x, y, r, ink } => {
                let radius = (r * medium.scale).round() as u32;
                backend.draw_circle(medium.point((*x, *y)), radius, &colour(*ink).filled(), true).map_err(failed)?;
            }
            Item::Line { points, ink, width, dash } => {
                let style = colour(*ink).stroke_width((width * medium.scale).round().max(1.0) as u32);
                for piece in dashes(points, dash) {
                    let mut piece: Vec<_> = piece.into_iter().map(|point| medium.point(point)).collect();
                    piece.dedup();
                    if piece.len() > 1 {
                        backend.draw_path(piece, &style).map_err(failed)?;
                    }
                }
            }
            Item::Text { x, y, anchor, style, text } => {
                let at = medium.point((*x, y - medium.baseline * style.size));
                backend.draw_text(text, &text_style(*style, *anchor, medium), at).map_err(failed)?;
            }
        }
    }
    backend.present().map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Failed {
    error.to_string()
}

fn colour(ink: Ink) -> RGBColor {
    let (r, g, b) = ink.rgb();
    RGBColor(r, g, b)
}

fn text_style(style: Type, anchor: TextAnchor, medium: &Medium) -> TextStyle<'static> {
    let h_pos = match anchor {
        TextAnchor::Start => HPos::Left,
        TextAnchor::Middle => HPos::Center,
        TextAnchor::End => HPos::Right,
    };
    let font = font(style.size * medium.em * medium.scale, style.bold);
    TextStyle { color: colour(style.ink).to_backend_color(), ..TextStyle::from(font) }.pos(Pos::new(h_pos, VPos::Top))
}

/// An area as columns of pixels, each once: x, and from where to where.
fn columns(points: &[(f64, f64, f64)], scale: f64) -> Vec<(i32, f64, f64)> {
    let mut columns = Vec::new();
    for pair in points.windows(2) {
        let [(x0, top0, bottom0), (x1, top1, bottom1)] = [pair[0], pair[1]].map(|(x, a, b)| (x * scale, a * scale, b * scale));
        for x in x0.round() as i32..x1.round() as i32 {
            let share = ((f64::from(x) + 0.5 - x0) / (x1 - x0)).clamp(0.0, 1.0);
            columns.push((x, top0 + (top1 - top0) * share, bottom0 + (bottom1 - bottom0) * share));
        }
    }
    columns
}

/// Cuts a line into the pieces that its dashes leave; solid is one piece. plotters' SVG knows no dashes.
fn dashes(points: &[(f64, f64)], dash: &[f64]) -> Vec<Vec<(f64, f64)>> {
    if dash.is_empty() {
        return vec![points.to_vec()];
    }
    let mut pieces = Vec::new();
    let (mut slot, mut left) = (0, dash[0]);
    let mut piece = vec![points[0]];
    for pair in points.windows(2) {
        let (mut from, to) = (pair[0], pair[1]);
        loop {
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            let drawn = slot % 2 == 0;
            if length <= left {
                left -= length;
                if drawn {
                    piece.push(to);
                }
                break;
            }
            let share = left / length;
            from = (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
            if drawn {
                piece.push(from);
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![from];
            }
            slot = (slot + 1) % dash.len();
            left = dash[slot];
        }
    }
    if piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use ab_glyph::Font;

    #[test]
    fn both_fonts_have_every_character_the_charts_use() {
        for bytes in [crate::plot::text::REGULAR, crate::plot::text::BOLD] {
            let font = ab_glyph::FontRef::try_from_slice(bytes).unwrap();
            for c in (' '..='~').chain("✓✗→–—−·µ≤≥≠≈×…°±½äöüßéñ“”‘’".chars()) {
                assert_ne!(font.glyph_id(c).0, 0, "{c:?}");
            }
        }
    }

    #[test]
    fn dashes_of_a_straight_line() {
        let pieces = dashes(&[(0.0, 0.0), (10.0, 0.0)], &[4.0, 2.0]);
        assert_eq!(pieces, [vec![(0.0, 0.0), (4.0, 0.0)], vec![(6.0, 0.0), (10.0, 0.0)]]);
        assert_eq!(dashes(&[(0.0, 0.0), (10.0, 0.0)], &[]).len(), 1);
    }

    #[test]
    fn areas_are_columns_that_do_not_overlap() {
        // A slope, a step at 2, and a flat end of no height.
        let points = [(0.0, 0.0, 4.0), (2.0, 2.0, 6.0), (2.0, 5.0, 5.0), (3.0, 5.0, 5.0)];
        assert_eq!(columns(&points, 1.0), [(0, 0.5, 4.5), (1, 1.5, 5.5), (2, 5.0, 5.0)]);
        let fine: Vec<i32> = columns(&points, 2.0).into_iter().map(|column| column.0).collect();
        assert_eq!(fine, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn svg_is_escaped_titled_and_the_same_twice() {
        let mut scene = Scene { width: 100.0, height: 50.0, title: "a < b & \"c\"".to_string(), items: Vec::new() };
        scene.text(10.0, 20.0, TextAnchor::Start, super::super::scene::LABEL, "x < y & z");
        let first = svg(&scene).unwrap();
        assert_eq!(first, svg(&scene).unwrap());
        assert!(first.starts_with("<svg width=\"100\" height=\"50\" viewBox=\"0 0 400 200\""), "{first}");
        assert!(first.contains("<title>a &lt; b &amp; &quot;c&quot;</title>"), "{first}");
        assert!(first.contains("x &lt; y &amp; z"), "{first}");
    }
}
