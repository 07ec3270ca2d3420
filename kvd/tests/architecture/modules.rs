//! A module's references to others: the names that it imports, and the paths that it mentions.

use crate::tokens::{Token, tokens};
use std::collections::BTreeSet;

/// A path as written in the source, such as `super::log::Log`.
pub(crate) type Path = Vec<String>;

/// A module, in a file or in braces.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// Names of the modules in their own files. Test modules are left out.
    pub(crate) files: Vec<String>,
    /// Modules in braces.
    pub(crate) inline: Vec<(String, Module)>,
    pub(crate) imports: Vec<Import>,
    /// Names of the types, functions and constants defined in it.
    pub(crate) definitions: BTreeSet<String>,
    /// Paths outside imports, including single names.
    pub(crate) mentions: Vec<Path>,
}

/// A name that a module imports.
#[derive(Debug)]
pub(crate) struct Import {
    /// `*` for everything in the path.
    pub(crate) name: String,
    pub(crate) path: Path,
    /// True if other modules may import it from here.
    pub(crate) is_public: bool,
}

impl Module {
    /// Reads a source, without code for tests only.
    pub(crate) fn read(source: &str) -> Self {
        Self::of(&tokens(source))
    }

    fn of(tokens: &[Token]) -> Self {
        let mut module = Self::default();
        let mut at = 0;
        let mut is_public = false;
        while at < tokens.len() {
            let rest = &tokens[at..];
            let word = rest[0].name().unwrap_or_default();
            let next = rest.get(1).and_then(Token::name);
            at += match (word, next) {
                ("pub", _) => {
                    is_public = true;
                    // `pub(super)` mentions nothing.
                    if rest.get(1) == Some(&Token::Sign('(')) { 1 + group(&rest[1..]) } else { 1 }
                }
                // `use<'a>` is not an import: it names the lifetimes that a type captures.
                ("use", _) if rest.get(1) != Some(&Token::Sign('<')) => {
                    let end = end_of_statement(rest);
                    module.import(&rest[1..end - 1], Vec::new(), is_public);
                    is_public = false;
                    end
                }
                ("mod", Some(name)) if rest.get(2) == Some(&Token::Sign(';')) => {
                    module.files.push(name.to_owned());
                    is_public = false;
                    3
                }
                ("mod", Some(name)) => {
                    let length = group(&rest[2..]);
                    module.inline.push((name.to_owned(), Self::of(&rest[3..1 + length])));
                    is_public = false;
                    2 + length
                }
                ("const" | "enum" | "fn" | "static" | "struct" | "trait" | "type", Some(name)) => {
                    module.definitions.insert(name.to_owned());
                    is_public = false;
                    2
                }
                ("", _) => test_attribute(rest).map_or(1, |length| length + item(&rest[length..])),
                _ => {
                    is_public = false;
                    let (path, length) = path(rest);
                    module.mentions.push(path);
                    length
                }
            };
        }
        module
    }

    /// Adds the imports that follow `use`, below `prefix`.
    fn import(&mut self, tokens: &[Token], prefix: Path, is_public: bool) {
        let (mut path, length) = path(tokens);
        path.splice(0..0, prefix);
        match &tokens[length..] {
            [] => {
                // `use a::{self}` imports `a`.
                if path.len() > 1 && path.last().is_some_and(|name| name == "self") {
                    path.pop();
                }
                let name = path.last().cloned().unwrap_or_default();
                self.imports.push(Import { name, path, is_public });
            }
            [Token::Name(r#as), Token::Name(name)] if r#as == "as" => {
                self.imports.push(Import { name: name.clone(), path, is_public });
            }
            [Token::Path, Token::Sign('*')] | [Token::Sign('*')] => {
                self.imports.push(Import { name: "*".into(), path, is_public })
            }
            [Token::Path, group @ ..] | group => {
                for part in parts(&group[1..group.len() - 1]) {
                    self.import(part, path.clone(), is_public);
                }
            }
        }
    }
}

/// Returns the path that begins here, and its number of tokens.
fn path(tokens: &[Token]) -> (Path, usize) {
    let mut path: Path = tokens.first().and_then(Token::name).map(str::to_owned).into_iter().collect();
    let mut length = path.len();
    while let [Token::Path, Token::Name(name), ..] = &tokens[length..] {
        path.push(name.clone());
        length += 2;
    }
    (path, length)
}

/// Returns the number of tokens of the statement, including its semicolon.
fn end_of_statement(tokens: &[Token]) -> usize {
    tokens.iter().position(|token| *token == Token::Sign(';')).map_or(tokens.len(), |at| at + 1)
}

/// Returns the number of tokens of the group that begins with its bracket, including both brackets.
fn group(tokens: &[Token]) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('(' | '[' | '{') => depth += 1,
            Token::Sign(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// Returns the parts between commas, ignoring commas in inner groups.
fn parts(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
    while at < tokens.len() {
        if tokens[at] == Token::Sign(',') {
            parts.push(&tokens[begin..at]);
            begin = at + 1;
        }
        at += group(&tokens[at..]);
    }
    parts.push(&tokens[begin..]);
    parts.into_iter().filter(|part| !part.is_empty()).collect()
}

/// Returns the number of tokens of the attribute that begins here, if it limits the next item to tests: `#[cfg(test)]`,
/// or `#[cfg(all(test, …))]`.
fn test_attribute(tokens: &[Token]) -> Option<usize> {
    let attribute = tokens.strip_prefix(&[Token::Sign('#')])?;
    let length = group(attribute);
    let names: Vec<_> = attribute[..length].iter().filter_map(Token::name).collect();
    let is_for_tests = names.starts_with(&["cfg", "test"]) || names.starts_with(&["cfg", "all", "test"]);
    is_for_tests.then_some(1 + length)
}

/// Returns the number of tokens of an item, with its attributes: up to a semicolon, or the end of its braces.
fn item(tokens: &[Token]) -> usize {
    let is_statement = tokens.iter().filter_map(Token::name).find(|name| *name != "pub") == Some("use");
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at] {
            Token::Sign(';') => return at + 1,
            Token::Sign('{') if !is_statement => return at + group(&tokens[at..]),
            _ => at += group(&tokens[at..]),
        }
    }
    at
}

#[test]
fn imports_and_mentions_are_found_and_tests_are_not() {
    let module = Module::read(
        "
        pub(super) use super::log::{self, Log, entry::{Entry as E, *}};
        mod file;
        #[cfg(all(test, unix))]
        mod tests;
        #[cfg(test)]
        #[derive(Debug)]
        struct OfTests { f: crate::of_tests::T }
        mod inline { use crate::kv::Store; fn f() { super::g() } }
        fn f(x: [u8; 3]) -> crate::raft::Term { file::g(x) }
        ",
    );
    let imports: Vec<_> =
        module.imports.iter().map(|import| format!("{} of {}", import.name, import.path.join("::"))).collect();
    let expected =
        ["log of super::log", "Log of super::log::Log", "E of super::log::entry::Entry", "* of super::log::entry"];
    assert_eq!(imports, expected);
    assert!(module.imports.iter().all(|import| import.is_public));
    assert_eq!(module.files, ["file"]);
    assert_eq!(module.inline[0].1.imports[0].path, ["crate", "kv", "Store"]);
    let mentions: Vec<_> =
        module.mentions.iter().map(|path| path.join("::")).filter(|path| path.contains("::")).collect();
    assert_eq!(mentions, ["crate::raft::Term", "file::g"]);
}
