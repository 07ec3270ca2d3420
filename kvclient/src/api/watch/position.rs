//! Positions of watches in the changes of a cluster.

use super::super::hex_id::{hex_id, parse_hex_id};
use std::fmt;
use std::str::FromStr;

/// Position of a watch, `CLUSTER:REVISION`: the `id` of an event, and `Last-Event-ID` of a request that continues the
/// watch after it.
///
/// ```
/// use kvclient::api::WatchPosition;
///
/// let position: WatchPosition = "51f0c2d3a4b5e697:42".parse()?;
/// assert_eq!(position, WatchPosition { cluster: 0x51f0_c2d3_a4b5_e697, revision: 42 });
/// assert_eq!(position.to_string(), "51f0c2d3a4b5e697:42");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WatchPosition {
    /// Id of the cluster.
    pub cluster: u64,
    /// Revision up to which all changes have been sent.
    pub revision: u64,
}

impl fmt::Display for WatchPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", hex_id(self.cluster), self.revision)
    }
}

impl FromStr for WatchPosition {
    /// A sentence that says how a position is written.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (cluster, revision) = text.split_once(':')?;
            let position = Self { cluster: parse_hex_id(cluster)?, revision: revision.parse().ok()? };
            // Reads only the form that is written, which has no sign and no leading zeros.
            (position.to_string() == text).then_some(position)
        };
        read().ok_or_else(|| format!("{text:?} is not a position: send `id` of the last event, CLUSTER:REVISION"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_position_comes_back_as_it_went(cluster in any::<u64>(), revision in any::<u64>()) {
            let position = WatchPosition { cluster, revision };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }
    }

    #[test]
    fn what_no_event_had_is_refused() {
        for text in ["", ":", "42", "51f0c2d3a4b5e697", "51f0c2d3a4b5e697:", "51f0c2d3a4b5e697:+1", "51f0:1", ":1"] {
            assert!(
                text.parse::<WatchPosition>().is_err_and(|sentence| sentence.contains("CLUSTER:REVISION")),
                "{text}"
            );
        }
    }
}
