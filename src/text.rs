//! Text of others, made safe to print: what a server says must not steer a terminal, break a table or hide what stands beside it.

/// The text on one line, without anything that a terminal, a browser or a reader would obey in place of showing it.
///
/// Line breaks and tabs become spaces. Other control characters, line separators and marks that change the direction of writing are shown
/// as escapes: ESC as `\u{1b}`. Used wherever something is printed that a peer may have written; JSON has escapes of its own.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if is_hidden(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
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

/// Controls, separators of lines, and marks of direction (Unicode TR 36, "bidirectional text spoofing").
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
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
        ] {
            assert_eq!(printable(text), shown);
            assert!(printable(text).chars().all(|c| !is_hidden(c)));
        }
        assert_eq!(printable_lines("a\u{1b}c\r\nb"), "a\\u{1b}c\nb");
    }
}
