//! The embedded font, and how wide a text is in it.

use plotters::prelude::*;
use std::sync::Once;

pub(super) static REGULAR: &[u8] = include_bytes!("fonts/DejaVuSans-subset.ttf");
pub(super) static BOLD: &[u8] = include_bytes!("fonts/DejaVuSans-Bold-subset.ttf");

/// The name of the embedded font here, and the list of families that a viewer of the SVG tries; Verdana is as wide.
pub(super) const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

/// The bitmap backend takes ascent and descent as the size, and those of DejaVu Sans are this many em.
pub(super) const PNG_EM: f64 = 0.928_222_66 + 0.235_839_84;

/// Makes the embedded fonts known to plotters, once.
pub(super) fn register_fonts() {
    static FONTS: Once = Once::new();
    FONTS.call_once(|| {
        for (style, bytes) in [(FontStyle::Normal, REGULAR), (FontStyle::Bold, BOLD)] {
            // The bytes are constants and the tests draw with them: this cannot fail at run time.
            let _ = plotters::style::register_font(FAMILY, style, bytes);
        }
    });
}

/// Width of a text in px at an em of `size` px.
pub(super) fn text_width(text: &str, size: f64, bold: bool) -> f64 {
    const FINE: f64 = 1000.0; // plotters rounds the width to an integer
    register_fonts();
    let width = font(FINE * PNG_EM, bold).layout_box(text).map_or(0, |(_, (right, _))| right);
    f64::from(width) / FINE * size
}

/// The embedded font at a size in px.
pub(super) fn font(size: f64, bold: bool) -> FontDesc<'static> {
    FontDesc::new(FontFamily::Name(FAMILY), size, if bold { FontStyle::Bold } else { FontStyle::Normal })
}
