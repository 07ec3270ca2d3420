//! Replies to writes that may be repeats.

use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Reply to a write with a request id. A repeat of a write whose reply was too large to keep gets the revision alone.
///
/// ```
/// use kvclient::api::{SetReply, WriteReply};
///
/// let first: WriteReply<SetReply> = serde_json::from_str(r#"{"revision":7,"created":true}"#)?;
/// assert!(matches!(&first, WriteReply::Whole(reply) if reply.created));
/// let repeat: WriteReply<SetReply> = serde_json::from_str(r#"{"revision":7,"reply_kept":false}"#)?;
/// assert_eq!(repeat, WriteReply::NotKept { revision: 7 });
/// assert_eq!(serde_json::to_string(&repeat)?, r#"{"revision":7,"reply_kept":false}"#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteReply<T> {
    /// The reply.
    Whole(T),
    /// The write was applied when it was sent before. The rest of its reply is no longer known.
    NotKept {
        /// Revision of the store after the write.
        revision: u64,
    },
}

impl<T> WriteReply<T> {
    /// Returns the reply, `None` if it was not kept.
    ///
    /// ```
    /// use kvclient::api::WriteReply;
    ///
    /// assert_eq!(WriteReply::Whole("reply").whole(), Some("reply"));
    /// assert_eq!(WriteReply::<&str>::NotKept { revision: 7 }.whole(), None);
    /// ```
    pub fn whole(self) -> Option<T> {
        match self {
            Self::Whole(reply) => Some(reply),
            Self::NotKept { .. } => None,
        }
    }
}

impl<T: Serialize> Serialize for WriteReply<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(reply) => reply.serialize(to),
            Self::NotKept { revision } => {
                let mut reply = to.serialize_struct("WriteReply", 2)?;
                reply.serialize_field("revision", revision)?;
                reply.serialize_field("reply_kept", &false)?;
                reply.end()
            }
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for WriteReply<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Wire<T> {
            NotKept {
                revision: u64,
                #[serde(rename = "reply_kept")]
                _kept: False,
            },
            Whole(T),
        }
        /// The word `false`, and nothing else.
        #[derive(Deserialize)]
        #[serde(try_from = "bool")]
        struct False;
        impl TryFrom<bool> for False {
            type Error = &'static str;

            fn try_from(word: bool) -> Result<Self, Self::Error> {
                if word { Err("expected false") } else { Ok(Self) }
            }
        }
        Ok(match Wire::deserialize(from)? {
            Wire::NotKept { revision, .. } => Self::NotKept { revision },
            Wire::Whole(reply) => Self::Whole(reply),
        })
    }
}
