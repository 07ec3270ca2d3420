//! Reads the lines of a file.

use super::hash::Fnv;
use anyhow::{Context as _, bail};
use kvclient::Item;
use kvclient::api::{ListItem, ListLine, check_key};
use serde::Deserialize;
use std::io::{BufRead, BufReader, Read};

/// Longest line that is read: a value of 8 MiB fits even if JSON writes each byte as six.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Item(Item),
    /// The last line of a whole file.
    End,
}

/// A line, which people may have written without the revisions that `kvctl export` adds. They do not matter here.
#[derive(Deserialize)]
struct Plain {
    #[serde(default)]
    create_revision: u64,
    #[serde(default)]
    mod_revision: u64,
    #[serde(default)]
    version: u64,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// The lines of a file, one after the other.
pub(super) struct Lines {
    reader: BufReader<Box<dyn Read>>,
    name: String,
    number: u64,
    bytes: u64,
    items: u64,
}

impl Lines {
    pub(super) fn of(reader: BufReader<Box<dyn Read>>, name: &str) -> Self {
        Self { reader, name: name.to_owned(), number: 0, bytes: 0, items: 0 }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the next line, `None` at the end of the file.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Line>> {
        self.next_with(|_| ())
    }

    /// Returns the next line as [`Lines::next`] does. Passes the bytes of each line that it reads to `show`.
    fn next_with(&mut self, mut show: impl FnMut(&[u8])) -> anyhow::Result<Option<Line>> {
        loop {
            let mut line = Vec::new();
            let read = self.reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
            self.bytes += read.with_context(|| format!("cannot read {}", self.name))? as u64;
            show(&line);
            self.number += 1;
            match line.trim_ascii() {
                [] if line.is_empty() => return Ok(None),
                [] => {}
                text => {
                    let place = || format!("{}, line {}", self.name, self.number);
                    let line = parse(text).with_context(place)?;
                    match &line {
                        Parsed::Item(_) => self.items += 1,
                        Parsed::End(count) if *count == self.items => {}
                        Parsed::End(count) => {
                            bail!("{}: number of keys before it: {}, but it says {count}", place(), self.items)
                        }
                    }
                    return Ok(Some(match line {
                        Parsed::Item(item) => Line::Item(item),
                        Parsed::End(_) => Line::End,
                    }));
                }
            }
        }
    }
}

enum Parsed {
    Item(Item),
    /// The number of items, as the last line says.
    End(u64),
}

fn parse(text: &[u8]) -> anyhow::Result<Parsed> {
    let item = match serde_json::from_slice(text) {
        Ok(ListLine::Item(item)) => item,
        Ok(ListLine::End { count, .. }) => return Ok(Parsed::End(count)),
        Ok(ListLine::Error { error, .. }) => bail!("the list broke off there: {}", error.message),
        Ok(ListLine::Prefix(_)) => bail!("this is a list with a delimiter, without the keys below it"),
        Err(_) => plain(text)?,
    };
    check_key(&item.key).map_err(anyhow::Error::msg)?;
    Item::try_from(item).map(Parsed::Item).map_err(anyhow::Error::msg)
}

/// Reads an item without revisions.
fn plain(text: &[u8]) -> anyhow::Result<ListItem> {
    let Plain { create_revision, mod_revision, version, mut rest } = serde_json::from_slice(text)?;
    for (name, value) in [("create_revision", create_revision), ("mod_revision", mod_revision), ("version", version)] {
        rest.insert(name.into(), value.into());
    }
    Ok(serde_json::from_value(rest.into())?)
}

/// Identity and length of a file, found before it is imported.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Survey {
    /// Hash of its bytes.
    pub(super) hash: u64,
    /// Its length in bytes.
    pub(super) bytes: u64,
}

impl Survey {
    /// Reads the whole file, and checks each line.
    pub(super) fn of(reader: BufReader<Box<dyn Read>>, name: &str) -> anyhow::Result<Self> {
        let mut lines = Lines::of(reader, name);
        let mut hash = Fnv::new();
        while lines.next_with(|bytes| hash.write(bytes))?.is_some() {}
        Ok(Self { hash: hash.get(), bytes: lines.bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(text: &'static str) -> BufReader<Box<dyn Read>> {
        BufReader::new(Box::new(text.as_bytes()))
    }

    fn read(text: &'static str) -> anyhow::Result<Vec<Line>> {
        let mut lines = Lines::of(reader(text), "f");
        std::iter::from_fn(|| lines.next().transpose()).collect()
    }

    #[test]
    fn a_line_has_a_key_and_a_value_and_may_have_more() {
        let lines = read(concat!(
            "{\"key\":\"a\",\"value\":\"1\"}\n\n",
            "{\"key_base64\":\"/w==\",\"value_base64\":\"/w==\",\"create_revision\":4,\"mod_revision\":7,\"version\":2,\"note\":1}\n",
            "{\"end\":true,\"revision\":9,\"count\":2}\n",
        ));
        let lines = lines.expect("they are lines");
        let item = |line: &Line| match line {
            Line::Item(item) => (item.key.as_bytes().to_vec(), item.value.clone(), item.version),
            Line::End => (Vec::new(), Vec::new(), 0),
        };
        let items: Vec<_> = lines.iter().map(item).collect();
        assert_eq!(items, [(b"a".to_vec(), b"1".to_vec(), 0), (vec![0xff], vec![0xff], 2), (vec![], vec![], 0)]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, complaint) in [
            ("{\"key\":\"a\",\"value\":\"1\"}\nnonsense\n", "f, line 2: expected"),
            ("{\"key\":\"a\"}\n", "f, line 1: missing field `value`"),
            ("{\"key\":\"\",\"value\":\"1\"}\n", "f, line 1: the key is empty"),
            (
                "{\"key\":\"a\",\"value\":\"1\"}\n{\"end\":true,\"revision\":9,\"count\":2}\n",
                "f, line 2: number of keys before it: 1, but it says 2",
            ),
            (
                "{\"error\":{\"code\":\"compacted\",\"message\":\"gone\",\"applied\":\"no\"}}\n",
                "f, line 1: the list broke off there: gone",
            ),
            ("{\"prefix\":\"a/\"}\n", "f, line 1: this is a list with a delimiter"),
        ] {
            let error = format!("{:#}", read(text).expect_err(text));
            assert!(error.starts_with(complaint), "{text}: {error}");
        }
    }

    #[test]
    fn a_survey_tells_files_apart() {
        let of = |text| Survey::of(reader(text), "f").expect("they are lines");
        let (one, other) = (of("{\"key\":\"a\",\"value\":\"1\"}\n"), of("{\"key\":\"a\",\"value\":\"2\"}\n"));
        assert_eq!((one.bytes, other.bytes), (24, 24));
        assert_ne!(one.hash, other.hash);
        assert_eq!(of(""), Survey { hash: 0xcbf2_9ce4_8422_2325, bytes: 0 });
    }
}
