//! The page of an endpoint: every step with what it does and an example, and a console. One file, no network.

use crate::fault::KindRow;
use crate::serve::catalogue::{GROUPS, OWN, example, of_layer, when};

/// With a mark where the steps belong.
const PAGE: &str = include_str!("page.html");
/// That mark.
const STEPS: &str = "<!-- steps -->";

/// The whole page.
pub(super) fn page() -> String {
    let mut steps = group(
        "Messages, waits and chance",
        OWN.iter().map(|step| (step.usage.to_owned(), step.does.to_owned(), step.expect, String::new(), step.example.to_owned())),
    );
    for (layer, title) in GROUPS {
        steps +=
            &group(title, of_layer(layer).map(|row| (row.kind.to_owned(), row.summary.to_owned(), row.expect, more(row), example(row))));
    }
    PAGE.replace(STEPS, &steps)
}

/// When a kind acts, and its parameters.
fn more(row: &KindRow) -> String {
    let mut more = escaped(when(row));
    for param in row.params {
        let default =
            param.default.filter(|default| !default.is_empty()).map(|default| format!(" (default {default})")).unwrap_or_default();
        more += &format!("<div class=\"param\"><code>{}</code> {}{}</div>", escaped(param.name), escaped(param.doc), escaped(&default));
    }
    more
}

fn group(title: &str, steps: impl Iterator<Item = (String, String, &'static str, String, String)>) -> String {
    let rows: String = steps
        .map(|(usage, does, expect, more, example)| {
            let (usage, does, expect, example) = (escaped(&usage), escaped(&does), escaped(expect), escaped(&example));
            format!(
                "<li class=\"step\" data-text=\"{usage} {does}\"><div class=\"name\"><code>/{usage}</code></div><p>{does}</p>\
                 <p class=\"expect\">{expect}</p>{more}<button type=\"button\" class=\"try\" data-path=\"{example}\">Try <code>{example}</code></button></li>"
            )
        })
        .collect();
    format!("<section class=\"group\"><h3>{}</h3><ul>{rows}</ul></section>", escaped(title))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::catalogue::kinds;

    #[test]
    fn the_page_has_every_step_and_needs_no_network() {
        let page = page();
        kinds().for_each(|row| assert!(page.contains(&format!("<code>/{}</code>", row.kind)), "{}", row.kind));
        OWN.iter().for_each(|step| assert!(page.contains(&format!("<code>/{}</code>", step.usage)), "{}", step.usage));
        assert!(!page.contains(STEPS));
        for from_elsewhere in ["src=", "<link", "@import", "url(", "http://", "https://"] {
            assert!(!page.contains(from_elsewhere), "{from_elsewhere}");
        }
    }
}
