//! Files that commands read, or standard input in their place.

use anyhow::Context as _;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// Name of standard input on a command line.
const STANDARD: &str = "-";

/// A file, or standard input.
pub(super) struct Input {
    /// Its name, for messages.
    pub(super) name: String,
    pub(super) reader: BufReader<Box<dyn Read>>,
    /// True for a regular file: it can be read twice.
    pub(super) is_file: bool,
}

impl Input {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new(STANDARD) {
            let reader = BufReader::new(Box::new(io::stdin()) as Box<dyn Read>);
            return Ok(Self { name: "standard input".into(), reader, is_file: false });
        }
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot open {name}"))?;
        let is_file = file.metadata().with_context(|| format!("cannot open {name}"))?.is_file();
        Ok(Self { name, reader: BufReader::new(Box::new(file)), is_file })
    }
}
