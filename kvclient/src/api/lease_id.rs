//! Ids of leases.

use super::hex_id::{hex_id, parse_hex_id};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// Id of a lease: any number but 0, as sixteen hexadecimal digits in JSON and in queries.
///
/// The store chooses ids from 1 to 2^63−1. A client may choose any id.
///
/// ```
/// use kvclient::api::LeaseId;
///
/// let lease = LeaseId::new(1234).expect("not zero");
/// assert_eq!(serde_json::to_string(&lease)?, r#""00000000000004d2""#);
/// assert_eq!("00000000000004d2".parse(), Ok(lease));
/// assert_eq!(LeaseId::new(0), None);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(NonZeroU64);

impl LeaseId {
    /// Returns the id with this number, or `None` for 0.
    ///
    /// ```
    /// assert_eq!(kvclient::api::LeaseId::new(1234).expect("not zero").get(), 1234);
    /// ```
    pub fn new(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }

    /// Returns the number.
    ///
    /// ```
    /// assert_eq!(kvclient::api::LeaseId::new(1).map(|lease| lease.get()), Some(1));
    /// ```
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex_id(self.get()))
    }
}

impl FromStr for LeaseId {
    /// A sentence that says how an id is written.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = parse_hex_id(text).and_then(Self::new);
        id.ok_or_else(|| format!("{text:?} is not a lease: an id has 16 hexadecimal digits, not all of them 0"))
    }
}

impl Serialize for LeaseId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex_id(self.get()))
    }
}

impl<'de> Deserialize<'de> for LeaseId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_sixteen_digits_and_is_not_zero() {
        for number in [1, 1234, u64::MAX] {
            let id = LeaseId::new(number).unwrap();
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(serde_json::from_str::<LeaseId>(&serde_json::to_string(&id).unwrap()).unwrap(), id);
        }
        for text in ["", "4d2", "0000000000000000", "00000000000004D2", "+0000000000004d2", "000000000000004d2"] {
            assert!(text.parse::<LeaseId>().is_err_and(|sentence| sentence.contains("16 hexadecimal")), "{text}");
        }
        assert!(serde_json::from_str::<LeaseId>("1234").is_err(), "a number loses digits in some parsers");
    }
}
