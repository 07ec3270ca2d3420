//! Names of files, and changes to them.

use std::collections::BTreeMap;

/// Identifies a file, whatever its name.
pub(super) type FileId = u64;

/// A change to a name.
#[derive(Debug)]
pub(super) enum NameChange {
    Create { name: String, file: FileId },
    Rename { from: String, to: String, file: FileId },
    Remove { name: String, file: FileId },
}

impl NameChange {
    /// Makes the change. The change names the file that it affects, since of two changes the earlier one may be lost.
    pub(super) fn apply(&self, names: &mut BTreeMap<String, FileId>) {
        match self {
            Self::Create { name, file } => {
                names.insert(name.clone(), *file);
            }
            Self::Rename { from, to, file } => {
                if names.get(from) == Some(file) {
                    names.remove(from);
                }
                names.insert(to.clone(), *file);
            }
            Self::Remove { name, file } => {
                if names.get(name) == Some(file) {
                    names.remove(name);
                }
            }
        }
    }
}
