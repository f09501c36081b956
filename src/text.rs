//! Text of others, made safe to print: what a server says must not steer a terminal or a CI service, break a table or hide what stands
//! beside it.

use serde::Serialize;
use std::iter::repeat_n;

/// The text on one line, without anything that a terminal, a browser, a CI service or a reader would obey in place of showing it.
///
/// Line breaks and tabs become spaces. Other control characters, line separators and marks that change the direction of writing are shown
/// as escapes: ESC as `\u{1b}`. So is one character of what a CI service takes for a command. Used wherever something is printed that a
/// peer may have written; [`json`] has escapes of its own.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if is_hidden(c) || begins_command(text, at) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// A document as JSON of several lines, with a line break at its end: what [`printable`] escapes is escaped as JSON does.
///
/// # Errors
/// As `serde_json`.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let plain = serde_json::to_string_pretty(value)?;
    let mut out = String::with_capacity(plain.len() + 1);
    for (at, c) in plain.char_indices() {
        // Both stand in strings only, but for the line breaks.
        if c != '\n' && is_hidden(c) || begins_command(&plain, at) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    Ok(out)
}

/// The text with its lines, and every byte where it was, so that places in it stay what they are: what [`printable`] escapes is a sign of
/// the same length here.
pub fn printable_in_place(text: &str) -> String {
    let shown = |(at, c): (usize, char)| match c {
        '\n' | '\r' | '\t' => c.to_string(),
        c if is_hidden(c) || begins_command(text, at) => repeat_n('?', c.len_utf8()).collect(),
        c => c.to_string(),
    };
    text.char_indices().map(shown).collect()
}

/// As [`printable`], with the line breaks kept: for messages of several lines.
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(|line| printable(line.trim_end_matches('\r'))).collect::<Vec<_>>().join("\n")
}

/// As [`printable_lines`], each line behind a bar: nothing of it stands at the beginning of a line, where CI services look for commands.
pub fn barred_lines(text: &str) -> String {
    text.lines().map(|line| format!("  | {}", printable(line))).collect::<Vec<_>>().join("\n")
}

/// Percent-decoded, as a URL has it; `None` where `%` does not stand before two hexadecimal digits, or it is not UTF-8.
pub fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        (rest, _) = match first {
            b'%' => {
                let digits = behind.get(..2).and_then(|digits| str::from_utf8(digits).ok())?;
                if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return None;
                }
                (&behind[2..], bytes.push(u8::from_str_radix(digits, 16).ok()?))
            }
            byte => (behind, bytes.push(*byte)),
        };
    }
    String::from_utf8(bytes).ok()
}

/// Controls, separators of lines, marks of direction (Unicode TR 36, "bidirectional text spoofing"), and letters that nobody sees.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a CI service could begin to read a command here: GitHub `::error::` at the beginning of a line, where any word may come to stand,
/// and `##[error]` anywhere in it; Azure Pipelines `##vso[` and TeamCity `##teamcity[` likewise.
fn begins_command(text: &str, at: usize) -> bool {
    let (before, rest) = text.split_at(at);
    if let Some(behind) = rest.strip_prefix("::") {
        // One of them alone is an IPv6 address.
        return before.chars().next_back().is_none_or(char::is_whitespace) && behind.contains("::");
    }
    let Some(behind) = rest.strip_prefix('#') else { return false };
    before.ends_with('#') && behind.starts_with(|c: char| c == '[' || c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_that_steers() {
        for (text, shown) in [
            ("going away", "going away"),
            ("\u{1b}[31mred\u{7}", "\\u{1b}[31mred\\u{7}"),
            ("two\r\nlines\tand\0", "two  lines and\\u{0}"),
            ("\u{9b}31m", "\\u{9b}31m"),                   // CSI as one character
            ("abc\u{202e}gpj.exe", "abc\\u{202e}gpj.exe"), // would read backwards
            ("naïve 日本語 👩‍💻", "naïve 日本語 👩‍💻"),
            ("pay\u{ad}load \u{e0041}", "pay\\u{ad}load \\u{e0041}"),
            ("::error::x", "\\u{3a}:error::x"),
            ("closed: \t::set-output name=a::b", "closed:  \\u{3a}:set-output name=a::b"), // a line may be broken before it
            ("std::fmt::Write from ::1", "std::fmt::Write from ::1"),
            ("a ##[error]x", "a #\\u{23}[error]x"),
            ("##vso[task.setvariable]", "#\\u{23}vso[task.setvariable]"),
            ("## heading #1", "## heading #1"),
        ] {
            assert_eq!(printable(text), shown);
            assert!(printable(text).chars().all(|c| !is_hidden(c)));
            let told = json(&[text]).unwrap();
            assert_eq!(serde_json::from_str::<[String; 1]>(&told).unwrap(), [text]);
            assert!(!told.contains("##[") && !told.contains("##v") && told.chars().all(|c| c == '\n' || !is_hidden(c)), "{told:?}");
            let in_place = printable_in_place(text);
            assert_eq!((in_place.len(), printable(&in_place)), (text.len(), in_place.replace(['\r', '\n', '\t'], " ")));
        }
        assert_eq!(printable_lines("a\u{1b}c\r\nb"), "a\\u{1b}c\nb");
    }
}
