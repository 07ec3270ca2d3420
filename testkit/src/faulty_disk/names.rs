//! Names of files, and how they change.

use std::collections::BTreeMap;

/// Tells files apart, whatever their names.
pub(super) type FileId = u64;

/// What happened to a name.
#[derive(Debug)]
pub(super) enum NameChange {
    Create { name: String, file: FileId },
    Rename { from: String, to: String, file: FileId },
    Remove { name: String, file: FileId },
}

impl NameChange {
    /// Makes the change. It names the file it meant, since of two changes the earlier one may be lost.
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
