//! The clients that watch.

use super::notes::Revised;
use kvclient::api::Change;
use kvclient::{Client, Range};
use std::time::{Duration, Instant};

/// Longest silence of a watch in a cluster that serves.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// All that a watch told, and when it was heard.
pub(super) type Told = Vec<(Revised, Instant)>;

/// Watches everything from the first revision on, until a change of this key is told.
pub(super) fn watch(client: &Client, until: &str) -> Told {
    let mut told = Told::new();
    let mut watch = client.watch(Range::All).from_revision(1);
    loop {
        let revised = watch.next_timeout(SILENCE_MAX).expect("a watch is not silent while others write");
        let revised = revised.expect("everything is kept");
        let at = Instant::now();
        let has_ended = revised.changes.iter().any(|change| change.key().as_str() == Some(until));
        told.push((revision(revised), at));
        if has_ended {
            return told;
        }
    }
}

fn revision(revised: kvclient::Revised) -> Revised {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("all keys and values here are text");
    let effect = |change: &Change| match change {
        Change::Put { item, .. } => (text(item.key.as_bytes()), Some(text(&item.value))),
        Change::Delete { key, .. } => (text(key.as_bytes()), None),
    };
    let number = revised.changes.len();
    let effects: std::collections::BTreeMap<_, _> = revised.changes.iter().map(effect).collect();
    assert_eq!(effects.len(), number, "a key changes once in a revision");
    Revised { revision: revised.revision, effects }
}
