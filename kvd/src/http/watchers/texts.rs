//! Rendered changes, shared by all watchers that get the same bytes.
//!
//! Watchers of the same keys, in the same form, are woken by the same revision and read the same changes from there on.
//! So one of them renders these changes, and the others take its text. A text ends at the revision up to which its
//! reader had read everything, and all of them continue from there.

use crate::kv::{Revision, Spans};
use bytes::Bytes;
use kvclient::api::ChangeKind;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Memory for texts, in bytes. The oldest go first.
const BYTES_MAX: usize = 1 << 20;

/// Longest text that is kept, in bytes. A longer one is charged to its reader: a few of them would push out all others.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Memory that a text takes in addition to its bytes. Bytes.
const OVERHEAD_BYTES: usize = 128;

/// Most texts that begin at the same revision, each for watchers of other keys.
const SAME_START_MAX: usize = 16;

/// The form in which a watch wants its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Form {
    /// True if changes come with the items before them.
    pub(in crate::http) prev: bool,
    /// Kind of the changes, if the watch wants only one.
    pub(in crate::http) only: Option<ChangeKind>,
}

/// All changes of some keys between two revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct Text {
    /// Revision before the first change. All changes are later.
    pub(in crate::http) behind: Revision,
    /// Revision up to which the changes are included.
    pub(in crate::http) up_to: Revision,
    pub(in crate::http) bytes: Bytes,
}

/// The texts that are kept.
#[derive(Debug, Default)]
pub(super) struct Texts {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The texts, by the revision where they begin.
    texts: BTreeMap<Revision, Vec<OfKeys>>,
    bytes: usize,
}

/// A text, and the keys and the form that a watcher must have to get it.
#[derive(Debug)]
struct OfKeys {
    keys: Arc<Spans>,
    form: Form,
    text: Text,
}

impl OfKeys {
    fn is_for(&self, keys: &Arc<Spans>, form: Form) -> bool {
        self.form == form && (Arc::ptr_eq(&self.keys, keys) || self.keys == *keys)
    }

    fn size(&self) -> usize {
        self.text.bytes.len() + OVERHEAD_BYTES
    }
}

impl Texts {
    /// Returns the text that begins after this revision, if a watcher of the same keys has rendered it.
    pub(super) fn find(&self, keys: &Arc<Spans>, form: Form, behind: Revision) -> Option<Text> {
        let kept = self.kept();
        let found = kept.texts.get(&behind)?.iter().find(|text| text.is_for(keys, form));
        found.map(|found| found.text.clone())
    }

    /// Keeps a text for other watchers of the same keys.
    pub(super) fn keep(&self, keys: &Arc<Spans>, form: Form, text: &Text) {
        if text.bytes.len() > TEXT_BYTES_MAX {
            return;
        }
        let mut kept = self.kept();
        let Kept { texts, bytes } = &mut *kept;
        let same_start = texts.entry(text.behind).or_default();
        if same_start.len() == SAME_START_MAX || same_start.iter().any(|other| other.is_for(keys, form)) {
            return;
        }
        let new = OfKeys { keys: Arc::clone(keys), form, text: text.clone() };
        *bytes += new.size();
        same_start.push(new);
        while *bytes > BYTES_MAX
            && let Some((_, oldest)) = texts.pop_first()
        {
            *bytes -= oldest.iter().map(OfKeys::size).sum::<usize>();
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::KeyRange;

    const ALL: Form = Form { prev: false, only: None };

    fn keys(prefix: &str) -> Arc<Spans> {
        let mut keys = Spans::default();
        keys.add(&KeyRange::of_prefix(prefix.as_bytes()));
        Arc::new(keys)
    }

    fn text(behind: Revision, bytes: usize) -> Text {
        Text { behind, up_to: behind + 1, bytes: vec![b'x'; bytes].into() }
    }

    #[test]
    fn a_text_is_for_watchers_of_the_same_keys_in_the_same_form_at_the_same_place() {
        let (texts, some) = (Texts::default(), text(7, 10));
        texts.keep(&keys("a/"), ALL, &some);
        let with_prev = Form { prev: true, ..ALL };
        let only_puts = Form { only: Some(ChangeKind::Put), ..ALL };
        for (case, prefix, form, behind, expected) in [
            ("the same", "a/", ALL, 7, Some(some)),
            ("other keys", "a/b", ALL, 7, None),
            ("with the items before", "a/", with_prev, 7, None),
            ("only some changes", "a/", only_puts, 7, None),
            ("another place", "a/", ALL, 6, None),
        ] {
            assert_eq!(texts.find(&keys(prefix), form, behind), expected, "{case}");
        }
    }

    #[test]
    fn the_first_text_of_a_place_stays() {
        let texts = Texts::default();
        texts.keep(&keys("a/"), ALL, &text(7, 10));
        texts.keep(&keys("a/"), ALL, &text(7, 20));
        assert_eq!(texts.find(&keys("a/"), ALL, 7), Some(text(7, 10)));
    }

    #[test]
    fn the_oldest_texts_make_room() {
        let (texts, keys) = (Texts::default(), keys("a/"));
        let count = (BYTES_MAX / (TEXT_BYTES_MAX + OVERHEAD_BYTES)) as Revision;
        for behind in 1..=count + 1 {
            texts.keep(&keys, ALL, &text(behind, TEXT_BYTES_MAX));
        }
        assert_eq!(texts.find(&keys, ALL, 1), None);
        assert!((2..=count + 1).all(|behind| texts.find(&keys, ALL, behind).is_some()));
        assert_eq!(texts.kept().bytes, count as usize * (TEXT_BYTES_MAX + OVERHEAD_BYTES));

        texts.keep(&keys, ALL, &text(count + 2, TEXT_BYTES_MAX + 1));
        assert_eq!(texts.find(&keys, ALL, count + 2), None, "too long");
    }
}
