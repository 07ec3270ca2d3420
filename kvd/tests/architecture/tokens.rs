//! Rust source as a sequence of names and signs, without comments and literals.

/// One word of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Name(String),
    /// `::`
    Path,
    Sign(char),
}

impl Token {
    /// Returns the name, if this token is one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Path | Self::Sign(_) => None,
        }
    }
}

/// Returns the tokens of a source that compiles.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => quoted(rest),
            '\'' => character(rest),
            'r' | 'b' | 'c' if prefixed_string(rest) > 0 => prefixed_string(rest),
            _ if is_of_name(first) => {
                let end = rest.find(|c| !is_of_name(c)).unwrap_or(rest.len());
                if !first.is_ascii_digit() {
                    tokens.push(Token::Name(rest[..end].to_owned()));
                }
                end
            }
            ':' if rest.starts_with("::") => {
                tokens.push(Token::Path);
                2
            }
            _ if first.is_whitespace() => first.len_utf8(),
            _ => {
                tokens.push(Token::Sign(first));
                first.len_utf8()
            }
        };
        rest = &rest[skipped..];
    }
    tokens
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns the length of the string literal that begins with its quotation mark.
fn quoted(source: &str) -> usize {
    let mut escaped = false;
    let end = source.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(source.len(), |(index, _)| index + 1)
}

/// Returns the length of the character literal that begins here; one for a lifetime.
fn character(source: &str) -> usize {
    let mut chars = source.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((index, escaped))) => {
            let after = index + escaped.len_utf8();
            source[after..].find('\'').map_or(source.len(), |end| after + end + 1)
        }
        (_, Some((index, '\''))) => index + 1,
        _ => 1,
    }
}

/// Returns the length of the string literal with a prefix, such as `br#"…"#`, that begins here; otherwise zero.
fn prefixed_string(source: &str) -> usize {
    let marks = source.trim_start_matches(['r', 'b', 'c']);
    let hashes = marks.len() - marks.trim_start_matches('#').len();
    let prefix = source.len() - marks.len() + hashes;
    if prefix > 2 + hashes || !marks[hashes..].starts_with('"') {
        return 0;
    }
    let is_raw = source[..prefix - hashes].contains('r');
    if !is_raw {
        return prefix + quoted(&source[prefix..]);
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = prefix + 1;
    source[body..].find(&end).map_or(source.len(), |found| body + found + end.len())
}

#[test]
fn what_is_no_code_is_passed_over() {
    let source = r##"
        // crate::comment
        fn f<'a>(x: &'a str) -> char { /* crate::comment */ g("crate::text \" more", r#"crate::"raw""#, b"x", '\'', '"') }
        use crate::real;
    "##;
    let names: Vec<_> = tokens(source).iter().filter_map(|token| token.name().map(str::to_owned)).collect();
    assert_eq!(names, ["fn", "f", "a", "x", "a", "str", "char", "g", "use", "crate", "real"]);
}
