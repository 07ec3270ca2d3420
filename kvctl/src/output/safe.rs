//! Text from elsewhere, in a form that a terminal shows instead of obeying it.

use std::fmt::Write as _;

/// Returns the text on one line: every control character is shown as an escape, line breaks as blanks.
pub(crate) fn safe_line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.trim_end().chars() {
        match character {
            '\n' | '\t' => safe.push(' '),
            '\r' => {}
            character => push_safe(&mut safe, character),
        }
    }
    safe
}

/// Returns the beginning of a value, on one line of at most `characters`.
pub(crate) fn short_line(value: &[u8], characters: usize) -> String {
    // No character has more bytes than four. What is cut off is not looked at, however long the value is.
    let beginning = &value[..value.len().min(characters * 4 + 4)];
    let text = safe_text(beginning).replace(['\n', '\t'], " ");
    if beginning.len() == value.len() && text.chars().count() <= characters {
        return text;
    }
    text.chars().take(characters.saturating_sub(1)).chain(['…']).collect()
}

/// Returns a value for a terminal: lines and tabs unchanged, other control characters and bytes that are not UTF-8 as
/// escapes.
pub(super) fn safe_text(value: &[u8]) -> String {
    let mut safe = String::with_capacity(value.len());
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' | '\t' => safe.push(character),
                character => push_safe(&mut safe, character),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(safe, "\\x{byte:02x}");
        }
    }
    safe
}

/// Escapes the remaining control characters: JSON escapes those of ASCII only. In JSON they occur only inside strings.
pub(super) fn safe_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if is_obeyed(character) {
            let _ = write!(safe, "\\u{:04x}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    safe
}

fn push_safe(safe: &mut String, character: char) {
    if is_obeyed(character) {
        safe.extend(character.escape_default());
    } else {
        safe.push(character);
    }
}

/// Returns whether a terminal acts on this character instead of showing it: control characters, and those that change
/// the direction of the following text, which can make text look like other text.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        let evil = "a\u{1b}]0;title\u{7}b\u{9b}2Jc\u{202e}d\r\n\te";
        assert_eq!(safe_line(evil), r"a\u{1b}]0;title\u{7}b\u{9b}2Jc\u{202e}d  e");
        assert_eq!(safe_text(evil.as_bytes()), "a\\u{1b}]0;title\\u{7}b\\u{9b}2Jc\\u{202e}d\\r\n\te");
        assert_eq!(safe_text(b"\xff\x00blue\xc3"), r"\xff\u{0}blue\xc3");
        assert_eq!(safe_text("größe 🙂".as_bytes()), "größe 🙂");
    }

    #[test]
    fn a_long_value_is_cut() {
        assert_eq!(short_line(b"blue", 4), "blue");
        assert_eq!(short_line(b"blueish", 4), "blu…");
        assert_eq!(short_line("größer".as_bytes(), 5), "größ…");
        assert_eq!(short_line(b"two\nlines", 20), "two lines");
        assert_eq!(short_line(&[b'x'; 1 << 20], 3), "xx…");
    }

    #[test]
    fn json_for_a_terminal_means_the_same() {
        let json = serde_json::to_string("\u{1b}\u{7f}\u{9b}\u{202e}ö").expect("a string is JSON");
        let safe = safe_json(&json);
        assert!(safe.is_ascii() || !safe.chars().any(is_obeyed), "{safe:?}");
        assert_eq!(serde_json::from_str::<String>(&safe).ok(), serde_json::from_str(&json).ok());
    }
}
