//! Input files that fuzzing starts from. Their names describe their contents.

use std::path::{Path, PathBuf};
use std::{fs, panic};

/// A file of the corpus.
#[derive(Clone, Debug)]
pub(crate) struct File {
    path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

impl File {
    /// Passes its bytes to `check`, and names the file if that fails.
    pub(crate) fn try_out(&self, check: fn(&[u8])) {
        if let Err(failure) = panic::catch_unwind(|| check(&self.bytes)) {
            eprintln!("that was {}", self.path.display());
            panic::resume_unwind(failure);
        }
    }
}

/// Returns all files of a target.
pub(crate) fn files(target: &str) -> Vec<File> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|cause| panic!("{}: {cause}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    // The same order everywhere, so that the seed of a failed run means the same on every machine.
    paths.sort();
    assert!(paths.len() >= 10, "only {} files in {}", paths.len(), dir.display());
    let read = |path: PathBuf| File { bytes: fs::read(&path).expect("a readable file"), path };
    paths.into_iter().map(read).collect()
}
