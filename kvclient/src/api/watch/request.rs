//! The request for a watch.

use super::super::byte_field::{FROM, KEY, PREFIX, TO};
use super::super::object::read_from_object;
use super::super::optional::is_false;
use super::super::query::{Query, QueryText};
use super::super::range::Range;
use super::super::read_options::ReadOptions;
use super::change::ChangeKind;
use serde::{Serialize, Serializer};

/// Time between two `progress` events if the watch sets none, in milliseconds.
///
/// ```
/// assert_eq!(kvclient::api::PROGRESS_MS_DEFAULT, 5_000);
/// ```
pub const PROGRESS_MS_DEFAULT: u64 = 5_000;

/// Query of `GET /watch`, or body of `POST /watch`.
///
/// ```
/// use kvclient::api::{Query, Range, WatchRequest};
///
/// let watch = WatchRequest { from_revision: Some(7), ..WatchRequest::new(Range::Prefix("app/".into())) };
/// assert_eq!(watch.to_query().as_deref(), Some("prefix=app%2F&from_revision=7"));
///
/// let mut query = Query::parse("prefix=app%2F&from_revision=7").map_err(anyhow::Error::msg)?;
/// assert_eq!(WatchRequest::take(&mut query).map_err(anyhow::Error::msg)?, watch);
///
/// let json = r#"{"ranges":[{"prefix":"app/"}],"from_revision":7}"#;
/// assert_eq!(serde_json::to_string(&watch)?, json);
/// assert_eq!(serde_json::from_str::<WatchRequest>(json)?, watch);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRequest {
    /// The keys to watch. A change is sent once, however many of the ranges it is in.
    pub ranges: Vec<Range>,
    /// The first revision to send. By default the next one.
    pub from_revision: Option<u64>,
    /// Ask for the item before each change.
    pub prev: bool,
    /// Ask for changes of this kind only.
    pub only: Option<ChangeKind>,
    /// Longest time between two events while nothing happens, in milliseconds; [`PROGRESS_MS_DEFAULT`] unless given.
    pub progress_ms: Option<u64>,
    /// Ask for the present items first.
    pub initial: bool,
    /// State of the store with which the watch may begin.
    pub read: ReadOptions,
}

impl WatchRequest {
    /// Creates a watch of a key or a range, from now on.
    ///
    /// ```
    /// use kvclient::api::{Range, WatchRequest};
    ///
    /// assert_eq!(WatchRequest::new("color").to_query().as_deref(), Some("key=color"));
    /// assert_eq!(WatchRequest::new(Range::All).to_query().as_deref(), Some(""));
    /// ```
    pub fn new(range: impl Into<Range>) -> Self {
        Self {
            ranges: vec![range.into()],
            from_revision: None,
            prev: false,
            only: None,
            progress_ms: None,
            initial: false,
            read: ReadOptions::default(),
        }
    }

    /// Checks the ranges and the times.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    ///
    /// ```
    /// use kvclient::api::WatchRequest;
    ///
    /// assert!(WatchRequest { ranges: vec![], ..WatchRequest::new("color") }.check().is_err());
    /// ```
    pub fn check(&self) -> Result<(), String> {
        if self.ranges.is_empty() {
            return Err("`ranges` is empty: give at least one, or leave it out to watch every key".into());
        }
        self.ranges.iter().try_for_each(Range::check)?;
        if self.progress_ms == Some(0) {
            return Err("`progress_ms` must be at least 1".into());
        }
        Ok(())
    }

    /// Takes the parameters from a query.
    ///
    /// # Errors
    /// A sentence that says which parameter is wrong.
    ///
    /// ```
    /// use kvclient::api::{Query, Range, WatchRequest};
    ///
    /// let watch = WatchRequest::take(&mut Query::parse("key=a&key=b&prefix=c")?)?;
    /// assert_eq!(watch.ranges, [Range::Key("a".into()), Range::Key("b".into()), Range::Prefix("c".into())]);
    /// # Ok::<(), String>(())
    /// ```
    pub fn take(query: &mut Query<'_>) -> Result<Self, String> {
        let mut ranges: Vec<Range> = query.take_all_bytes(KEY)?.into_iter().map(Range::Key).collect();
        ranges.extend(query.take_all_bytes(PREFIX)?.into_iter().map(Range::Prefix));
        let (from, to) = (query.take_bytes(FROM)?, query.take_bytes(TO)?);
        if from.is_some() || to.is_some() {
            ranges.push(Range::Between { from, to });
        }
        if ranges.is_empty() {
            ranges.push(Range::All);
        }
        let watch = Self {
            ranges,
            from_revision: query.take_as("from_revision", "a revision")?,
            prev: query.take_flag("prev")?,
            only: match query.take("only")?.as_deref() {
                None => None,
                Some("put") => Some(ChangeKind::Put),
                Some("delete") => Some(ChangeKind::Delete),
                Some(_) => return Err("`only` must be put or delete".into()),
            },
            progress_ms: query.take_as("progress_ms", "a number of milliseconds")?,
            initial: query.take_flag("initial")?,
            read: ReadOptions::take(query)?,
        };
        watch.check()?;
        Ok(watch)
    }

    /// Returns the query. `None` if no query can express the request: if two ranges have bounds, or if every key is
    /// watched beside other ranges. Then send the request as the body of a `POST`.
    ///
    /// ```
    /// use kvclient::api::{Range, WatchRequest};
    ///
    /// let between = |from: &str| Range::Between { from: Some(from.into()), to: None };
    /// let watch = WatchRequest { ranges: vec![between("a"), between("b")], ..WatchRequest::new("color") };
    /// assert_eq!(watch.to_query(), None);
    /// ```
    pub fn to_query(&self) -> Option<String> {
        let with_bounds = self.ranges.iter().filter(|range| matches!(range, Range::Between { .. })).count();
        let is_all = |range: &Range| matches!(range, Range::All | Range::Between { from: None, to: None });
        if with_bounds > 1 || (self.ranges.len() > 1 && self.ranges.iter().any(is_all)) {
            return None;
        }
        let mut query = QueryText::default();
        self.ranges.iter().for_each(|range| range.add_to(&mut query));
        query.add_some("from_revision", self.from_revision);
        query.add_flag("prev", self.prev);
        query.add_some("only", self.only.map(ChangeKind::name));
        query.add_some("progress_ms", self.progress_ms);
        query.add_flag("initial", self.initial);
        self.read.add_to(&mut query);
        Some(query.finish())
    }
}

impl Serialize for WatchRequest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'w> {
            ranges: &'w [Range],
            #[serde(skip_serializing_if = "Option::is_none")]
            from_revision: Option<u64>,
            #[serde(skip_serializing_if = "is_false")]
            prev: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            only: Option<ChangeKind>,
            #[serde(skip_serializing_if = "Option::is_none")]
            progress_ms: Option<u64>,
            #[serde(skip_serializing_if = "is_false")]
            initial: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            consistency: Option<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            max_stale_ms: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            min_revision: Option<u64>,
        }
        let Self { ranges, from_revision, prev, only, progress_ms, initial, read } = self;
        let (consistency, max_stale_ms) = read.consistency_fields();
        Wire {
            ranges,
            from_revision: *from_revision,
            prev: *prev,
            only: *only,
            progress_ms: *progress_ms,
            initial: *initial,
            consistency,
            max_stale_ms,
            min_revision: read.min_revision,
        }
        .serialize(to)
    }
}

read_from_object!(
    WatchRequest, "an object with `ranges`",
    bytes {},
    {
        #[serde(default)] ranges: Option<Vec<Range>>,
        #[serde(default)] from_revision: Option<u64>,
        #[serde(default)] prev: bool,
        #[serde(default)] only: Option<ChangeKind>,
        #[serde(default)] progress_ms: Option<u64>,
        #[serde(default)] initial: bool,
        #[serde(default)] consistency: Option<String>,
        #[serde(default)] max_stale_ms: Option<u64>,
        #[serde(default)] min_revision: Option<u64>
    },
    {
        let ranges = ranges.unwrap_or_else(|| vec![Range::All]);
        let read = ReadOptions::of(consistency.as_deref(), max_stale_ms, min_revision)?;
        let watch = WatchRequest { ranges, from_revision, prev, only, progress_ms, initial, read };
        watch.check()?;
        Ok(watch)
    }
);

#[cfg(test)]
mod tests {
    use super::super::super::range::strategies::range;
    use super::super::super::read_options::Consistency;
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_watch_comes_back_as_it_went(
            ranges in vec(range(), 1..4), [from_revision, max_stale_ms] in any::<[Option<u64>; 2]>(),
            [prev, initial] in any::<[bool; 2]>(), progress_ms in proptest::option::of(1..u64::MAX),
            only in proptest::option::of(prop_oneof![Just(ChangeKind::Put), Just(ChangeKind::Delete)]),
        ) {
            let read = ReadOptions { consistency: Consistency::Stale { max_stale_ms }, min_revision: from_revision };
            let watch = WatchRequest { ranges, from_revision, prev, only, progress_ms, initial, read };
            let json = serde_json::to_string(&watch).unwrap();
            prop_assert_eq!(&serde_json::from_str::<WatchRequest>(&json).unwrap(), &watch, "{}", json);
            if let Some(text) = watch.to_query() {
                let mut query = Query::parse(&text).unwrap();
                let mut read = WatchRequest::take(&mut query).unwrap();
                prop_assert_eq!(query.finish(), Ok(()));
                // A query groups the ranges by their kinds.
                prop_assert!(watch.ranges.iter().all(|range| read.ranges.contains(range)), "{}", text);
                prop_assert_eq!(read.ranges.len(), watch.ranges.len());
                read.ranges.clone_from(&watch.ranges);
                prop_assert_eq!(read, watch);
            }
        }
    }

    #[test]
    fn what_a_watch_does_not_take_is_refused() {
        for (query, complaint) in [
            ("only=both", "`only` must be put or delete"),
            ("progress_ms=0", "`progress_ms` must be at least 1"),
            ("key=", "the key is empty"),
            ("from=a&from=b", "given twice"),
            ("to=", "`to` is empty"),
        ] {
            let error = WatchRequest::take(&mut Query::parse(query).unwrap()).expect_err(query);
            assert!(error.contains(complaint), "{query}: {error}");
        }
        for (json, complaint) in [
            (r#"{"ranges":[]}"#, "`ranges` is empty"),
            (r#"{"ranges":[{}]}"#, "missing field `key`, or a range"),
            (r#"{"key":"a"}"#, "unknown field `key`"),
            (r#"{"consistency":"weak"}"#, "linearizable or stale"),
        ] {
            let error = serde_json::from_str::<WatchRequest>(json).expect_err(json).to_string();
            assert!(error.contains(complaint), "{json}: {error}");
        }
        assert_eq!(serde_json::from_str::<WatchRequest>("{}").unwrap(), WatchRequest::new(Range::All));
    }
}
