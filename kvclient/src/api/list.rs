//! `/list`: ranges of items, in pages or as a stream.

use super::byte_field::{AFTER, FROM, KEY, PREFIX, TO, VALUE};
use super::error::ErrorBody;
use super::item::ListItem;
use super::key::Key;
use super::lease_id::LeaseId;
use super::object::read_from_object;
use super::optional::is_false;
use super::query::{Query, QueryText};
use super::range::Range;
use super::read_options::ReadOptions;
use super::wait::Wait;
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Most items of a page, and the limit of a page that sets none.
///
/// ```
/// assert_eq!(kvclient::api::PAGE_ITEMS_MAX, 10_000);
/// ```
pub const PAGE_ITEMS_MAX: u64 = 10_000;

/// Bytes of keys and values after which a page ends. A page has at least one item, if there is one.
///
/// ```
/// assert_eq!(kvclient::api::PAGE_BYTES_MAX, 1_048_576);
/// ```
pub const PAGE_BYTES_MAX: usize = 1 << 20;

/// Order of a list by key, bytewise.
///
/// ```
/// assert_eq!(serde_json::to_string(&kvclient::api::Order::Desc)?, r#""desc""#);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The lowest key first.
    #[default]
    Asc,
    /// The highest key first.
    Desc,
}

/// A range to list, and how: the body of `{"list":{...}}` in a transaction, and a part of [`ListQuery`].
///
/// ```
/// use kvclient::api::{ListOp, Order, Range};
///
/// let list = ListOp { limit: Some(10), order: Order::Desc, ..ListOp::new(Range::Prefix("app/".into())) };
/// let json = r#"{"prefix":"app/","limit":10,"order":"desc"}"#;
/// assert_eq!(serde_json::to_string(&list)?, json);
/// assert_eq!(serde_json::from_str::<ListOp>(json)?, list);
/// assert_eq!(serde_json::from_str::<ListOp>("{}")?, ListOp::new(Range::All));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListOp {
    /// The keys to list. [`Range::Key`] is sent as bounds that contain only this key.
    pub range: Range,
    /// Most items of the page, 1 to [`PAGE_ITEMS_MAX`], which is also the default.
    pub limit: Option<u64>,
    /// Begin after this key, in the order of the list.
    pub after: Option<Key>,
    /// Order of the items.
    pub order: Order,
    /// Leave out the values.
    pub keys_only: bool,
    /// Ask for the number of keys, and nothing else.
    pub count_only: bool,
    /// Ask for the number of keys of the whole range as well.
    pub count: bool,
    /// Roll up keys that have this text after the prefix: each beginning up to the text is listed once in `prefixes`.
    pub delimiter: Option<String>,
}

impl ListOp {
    /// Creates a list of whole items, in ascending order.
    ///
    /// ```
    /// use kvclient::api::{ListOp, Range};
    ///
    /// let list = ListOp::new(Range::Prefix("app/".into()));
    /// assert_eq!(serde_json::to_string(&list)?, r#"{"prefix":"app/"}"#);
    /// # anyhow::Ok(())
    /// ```
    pub fn new(range: Range) -> Self {
        Self {
            range,
            limit: None,
            after: None,
            order: Order::Asc,
            keys_only: false,
            count_only: false,
            count: false,
            delimiter: None,
        }
    }

    /// Checks the range, the limit and the delimiter.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    ///
    /// ```
    /// use kvclient::api::{ListOp, Range};
    ///
    /// assert!(ListOp { limit: Some(10_000), ..ListOp::new(Range::All) }.check().is_ok());
    /// assert!(ListOp { limit: Some(10_001), ..ListOp::new(Range::All) }.check().is_err());
    /// ```
    pub fn check(&self) -> Result<(), String> {
        self.range.check()?;
        check_page_limit(self.limit)?;
        if self.delimiter.as_ref().is_some_and(String::is_empty) {
            return Err("`delimiter` is empty: leave it out, or give a text such as /".into());
        }
        Ok(())
    }

    /// Returns the range as a list names it: it has no field for a single key.
    fn listed_range(&self) -> Range {
        match &self.range {
            Range::Key(_) => {
                let (from, to) = self.range.bounds();
                Range::Between { from: Some(from), to }
            }
            range => range.clone(),
        }
    }

    fn take(query: &mut Query<'_>) -> Result<Self, String> {
        let mut bound = |field| Ok::<_, String>(query.take_bytes(field)?.map(|bytes| bytes.as_bytes().to_vec()));
        let (prefix, from, to) = (bound(PREFIX)?, bound(FROM)?, bound(TO)?);
        let list = Self {
            range: Range::of(None, prefix, from, to, false)?.unwrap_or(Range::All),
            limit: query.take_as("limit", "a number")?,
            after: query.take_bytes(AFTER)?,
            order: match query.take("order")?.as_deref() {
                None | Some("asc") => Order::Asc,
                Some("desc") => Order::Desc,
                Some(_) => return Err("`order` must be asc or desc".into()),
            },
            keys_only: query.take_flag("keys_only")?,
            count_only: query.take_flag("count_only")?,
            count: query.take_flag("count")?,
            delimiter: query.take("delimiter")?.map(Into::into),
        };
        list.check()?;
        Ok(list)
    }

    fn add_to(&self, query: &mut QueryText) {
        self.listed_range().add_to(query);
        query.add_some("limit", self.limit);
        self.after.iter().for_each(|after| query.add_bytes(AFTER, after));
        query.add_some("order", (self.order == Order::Desc).then_some("desc"));
        query.add_flag("keys_only", self.keys_only);
        query.add_flag("count_only", self.count_only);
        query.add_flag("count", self.count);
        query.add_some("delimiter", self.delimiter.as_ref());
    }
}

/// Checks the `limit` of a page.
pub(super) fn check_page_limit(limit: Option<u64>) -> Result<(), String> {
    match limit {
        Some(limit) if !(1..=PAGE_ITEMS_MAX).contains(&limit) => {
            Err(format!("`limit` must be a number from 1 to {PAGE_ITEMS_MAX}"))
        }
        _ => Ok(()),
    }
}

impl Serialize for ListOp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_map(None)?;
        let (prefix, from, to) = match self.listed_range() {
            Range::Prefix(prefix) => (Some(prefix), None, None),
            Range::Between { from, to } => (None, from, to),
            Range::Key(_) | Range::All => (None, None, None),
        };
        let mut bytes = |field: super::byte_field::ByteField, bytes: Option<&Key>| {
            let Some(bytes) = bytes else { return Ok(()) };
            let (name, content) = field.encode(bytes.as_bytes());
            list.serialize_entry(name, &content)
        };
        bytes(PREFIX, prefix.as_ref())?;
        bytes(FROM, from.as_ref())?;
        bytes(TO, to.as_ref())?;
        bytes(AFTER, self.after.as_ref())?;
        if let Some(limit) = self.limit {
            list.serialize_entry("limit", &limit)?;
        }
        if self.order != Order::Asc {
            list.serialize_entry("order", &self.order)?;
        }
        for (name, flag) in [("keys_only", self.keys_only), ("count_only", self.count_only), ("count", self.count)] {
            if flag {
                list.serialize_entry(name, &true)?;
            }
        }
        if let Some(delimiter) = &self.delimiter {
            list.serialize_entry("delimiter", delimiter)?;
        }
        list.end()
    }
}

read_from_object!(
    ListOp, "an object with `prefix`, or `from` and `to`, or neither",
    bytes { prefix / prefix_base64, from / from_base64, to / to_base64, after / after_base64 },
    {
        #[serde(default)] limit: Option<u64>,
        #[serde(default)] order: Order,
        #[serde(default)] keys_only: bool,
        #[serde(default)] count_only: bool,
        #[serde(default)] count: bool,
        #[serde(default)] delimiter: Option<String>
    },
    {
        let range = Range::of(None, prefix, from, to, false)?.unwrap_or(Range::All);
        let after = after.map(Key::from);
        let list = ListOp { range, limit, after, order, keys_only, count_only, count, delimiter };
        list.check()?;
        Ok(list)
    }
);

/// Query of `GET /list`.
///
/// ```
/// use kvclient::api::{ListOp, ListQuery, Query, Range};
///
/// let list = ListOp { limit: Some(10), ..ListOp::new(Range::Prefix("app/".into())) };
/// let query = ListQuery { revision: Some(7), ..ListQuery::new(list) };
/// assert_eq!(query.to_query(), "prefix=app%2F&limit=10&revision=7");
///
/// let mut parameters = Query::parse("prefix=app%2F&limit=10&revision=7")?;
/// assert_eq!(ListQuery::take(&mut parameters)?, query);
/// parameters.finish()?;
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// The range, and how to list it.
    pub list: ListOp,
    /// List the items as they were at this revision.
    pub revision: Option<u64>,
    /// Token of the page to return: `next` of the [`ListReply`] before it. All other parameters must be the same.
    pub next: Option<String>,
    /// Wait for a change before answering.
    pub wait: Option<Wait>,
    /// State of the store that the read may see.
    pub read: ReadOptions,
}

impl ListQuery {
    /// Creates a linearizable list of the present items, from the first page on.
    ///
    /// ```
    /// use kvclient::api::{ListOp, ListQuery, Range};
    ///
    /// assert_eq!(ListQuery::new(ListOp::new(Range::All)).to_query(), "");
    /// ```
    pub fn new(list: ListOp) -> Self {
        Self { list, revision: None, next: None, wait: None, read: ReadOptions::default() }
    }

    /// Takes the parameters from a query.
    ///
    /// # Errors
    /// A sentence that says which parameter is wrong.
    ///
    /// ```
    /// use kvclient::api::{ListQuery, Query};
    ///
    /// assert!(ListQuery::take(&mut Query::parse("limit=0")?).is_err());
    /// # Ok::<(), String>(())
    /// ```
    pub fn take(query: &mut Query<'_>) -> Result<Self, String> {
        let (list, revision) = (ListOp::take(query)?, query.take_as("revision", "a revision")?);
        let next = query.take("next")?.map(Into::into);
        let (wait, read) = (Wait::take(query)?, ReadOptions::take(query)?);
        if revision.is_some() && wait.is_some() {
            return Err("give `revision` or `newer_than`, not both: the past does not change".into());
        }
        Ok(Self { list, revision, next, wait, read })
    }

    /// Returns the query.
    ///
    /// ```
    /// use kvclient::api::{ListOp, ListQuery, Range};
    ///
    /// let range = Range::Between { from: Some("a".into()), to: Some([0xff].into()) };
    /// assert_eq!(ListQuery::new(ListOp::new(range)).to_query(), "from=a&to_base64=_w");
    /// ```
    pub fn to_query(&self) -> String {
        let mut query = QueryText::default();
        self.list.add_to(&mut query);
        query.add_some("revision", self.revision);
        query.add_some("next", self.next.as_ref());
        self.wait.iter().for_each(|wait| wait.add_to(&mut query));
        self.read.add_to(&mut query);
        query.finish()
    }
}

/// Reply of `GET /list`: one page.
///
/// ```
/// use kvclient::api::ListReply;
///
/// let json = r#"{"items":[{"key":"app/a","value":"1","create_revision":4,"mod_revision":7,"version":2}],"prefixes":["app/b/"],"revision":9,"more":true,"next":"t"}"#;
/// let page: ListReply = serde_json::from_str(json)?;
/// assert_eq!((page.items.len(), page.more, page.next.as_deref()), (1, true, Some("t")));
/// assert_eq!(page.prefixes, ["app/b/"]);
/// assert_eq!(serde_json::to_string(&page)?, json);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListReply {
    /// The items, in the order of the list.
    #[serde(default)]
    pub items: Vec<ListItem>,
    /// With a delimiter: the beginnings of the keys that were rolled up, each once. In JSON, a beginning that is not
    /// UTF-8 is `{"prefix_base64":"..."}` instead of a string.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "prefixes")]
    pub prefixes: Vec<Key>,
    /// Revision of the store that is listed.
    pub revision: u64,
    /// True if the range goes on after this page.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// Token for the next page, with `more`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Number of keys of the whole range, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// Beginnings of keys in JSON: strings, or objects for those that are not UTF-8.
mod prefixes {
    use super::*;

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Wire {
        Text(String),
        Bytes { prefix_base64: String },
    }

    struct Prefix<'k>(&'k Key);

    impl Serialize for Prefix<'_> {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            match self.0.as_str() {
                Some(text) => to.serialize_str(text),
                None => PREFIX.serialize(self.0.as_bytes(), to),
            }
        }
    }

    pub(super) fn serialize<S: Serializer>(prefixes: &[Key], to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(prefixes.len()))?;
        prefixes.iter().try_for_each(|prefix| list.serialize_element(&Prefix(prefix)))?;
        list.end()
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Key>, D::Error> {
        let read = |wire| match wire {
            Wire::Text(text) => Ok(text.into()),
            Wire::Bytes { prefix_base64 } => PREFIX.decode_base64(&prefix_base64).map(Key::from),
        };
        let prefixes = Vec::deserialize(from)?.into_iter().map(read).collect::<Result<_, String>>();
        prefixes.map_err(de::Error::custom)
    }
}

/// One line of `GET /list` with `Accept: application/x-ndjson`.
///
/// A stream that ends without [`ListLine::End`] or [`ListLine::Error`] was cut off.
///
/// ```
/// use kvclient::api::ListLine;
///
/// let item = r#"{"key":"color","value":"blue","create_revision":4,"mod_revision":7,"version":2}"#;
/// assert!(matches!(serde_json::from_str(item)?, ListLine::Item(item) if item.key == "color"));
///
/// let end = r#"{"end":true,"revision":9,"count":1}"#;
/// assert_eq!(serde_json::from_str::<ListLine>(end)?, ListLine::End { revision: 9, count: 1 });
///
/// let error = r#"{"error":{"code":"compacted","message":"list it again","applied":"no"},"after":"color"}"#;
/// let line: ListLine = serde_json::from_str(error)?;
/// assert!(matches!(&line, ListLine::Error { after: Some(after), .. } if after == "color"));
/// assert_eq!(serde_json::to_string(&line)?, error);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListLine {
    /// An item of the range.
    Item(ListItem),
    /// With a delimiter: the beginning of keys that were rolled up, `{"prefix":"app/"}`.
    Prefix(Key),
    /// The last line of a whole list.
    End {
        /// Revision of the store that was listed.
        revision: u64,
        /// Number of lines before this one.
        count: u64,
    },
    /// The last line of a list that could not be finished.
    Error {
        /// Reason why the list could not be finished.
        error: ErrorBody,
        /// The key or beginning on the line before this one, absent if there was none.
        after: Option<Key>,
    },
}

impl Serialize for ListLine {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Item(item) => item.serialize(to),
            Self::Prefix(prefix) => PREFIX.serialize(prefix.as_bytes(), to),
            Self::End { revision, count } => {
                let mut line = to.serialize_map(Some(3))?;
                line.serialize_entry("end", &true)?;
                line.serialize_entry("revision", revision)?;
                line.serialize_entry("count", count)?;
                line.end()
            }
            Self::Error { error, after } => {
                let mut line = to.serialize_map(None)?;
                line.serialize_entry("error", error)?;
                if let Some(after) = after {
                    let (name, content) = AFTER.encode(after.as_bytes());
                    line.serialize_entry(name, &content)?;
                }
                line.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for ListLine {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(default)]
        #[derive(Default)]
        struct Wire {
            key: Option<String>,
            key_base64: Option<String>,
            value: Option<String>,
            value_base64: Option<String>,
            create_revision: u64,
            mod_revision: u64,
            version: u64,
            lease: Option<LeaseId>,
            prefix: Option<String>,
            prefix_base64: Option<String>,
            end: bool,
            revision: u64,
            count: u64,
            error: Option<ErrorBody>,
            after: Option<String>,
            after_base64: Option<String>,
        }
        fn read(wire: Wire) -> Result<ListLine, String> {
            let Wire { create_revision, mod_revision, version, lease, revision, count, .. } = wire;
            if let Some(error) = wire.error {
                let after = AFTER.decode(wire.after, wire.after_base64)?.map(Key::from);
                return Ok(ListLine::Error { error, after });
            }
            if wire.end {
                return Ok(ListLine::End { revision, count });
            }
            if let Some(prefix) = PREFIX.decode(wire.prefix, wire.prefix_base64)? {
                return Ok(ListLine::Prefix(prefix.into()));
            }
            let key = KEY.require(KEY.decode(wire.key, wire.key_base64)?)?.into();
            let value = VALUE.decode(wire.value, wire.value_base64)?;
            Ok(ListLine::Item(ListItem { key, value, create_revision, mod_revision, version, lease }))
        }
        read(Wire::deserialize(from)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::super::range::strategies::{key, range};
    use super::super::read_options::Consistency;
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn list()(
            range in range(), limit in proptest::option::of(1..=PAGE_ITEMS_MAX), after in proptest::option::of(key()),
            is_desc in any::<bool>(), [keys_only, count_only, count] in any::<[bool; 3]>(),
            delimiter in proptest::option::of("[/ é]{1,2}"),
        ) -> ListOp {
            let order = if is_desc { Order::Desc } else { Order::Asc };
            ListOp { range, limit, after, order, keys_only, count_only, count, delimiter }
        }
    }

    /// The list that a reader gets: one key is written as its bounds.
    fn as_read(list: &ListOp) -> ListOp {
        ListOp { range: list.listed_range(), ..list.clone() }
    }

    proptest! {
        #[test]
        fn a_list_comes_back_as_it_went(
            list in list(), [number, min_revision] in any::<[Option<u64>; 2]>(), waits in any::<bool>(),
            stale in any::<Option<Option<u64>>>(), next in proptest::option::of("[-_a-z+ ]{1,5}"),
        ) {
            let json = serde_json::to_string(&list).unwrap();
            prop_assert_eq!(serde_json::from_str::<ListOp>(&json).unwrap(), as_read(&list), "{}", json);
            let consistency = stale.map_or(Consistency::Linearizable, |max_stale_ms| Consistency::Stale { max_stale_ms });
            let query = ListQuery {
                list: as_read(&list),
                revision: number.filter(|_| !waits),
                next,
                wait: number.filter(|_| waits).map(|newer_than| Wait { newer_than, wait_ms: 5 }),
                read: ReadOptions { consistency, min_revision },
            };
            let text = query.to_query();
            let mut read = Query::parse(&text).unwrap();
            prop_assert_eq!(ListQuery::take(&mut read), Ok(query), "{}", text);
            prop_assert_eq!(read.finish(), Ok(()));
        }
    }

    #[test]
    fn what_a_list_does_not_take_is_refused() {
        for (query, complaint) in [
            ("limit=0", "`limit` must be a number from 1 to 10000"),
            ("limit=10001", "`limit` must be a number from 1 to 10000"),
            ("limit=x", "`limit` must be a number"),
            ("revision=7&newer_than=7", "give `revision` or `newer_than`, not both"),
            ("order=up", "`order` must be asc or desc"),
            ("keys_only=1", "`keys_only` must be true or false"),
            ("delimiter=", "`delimiter` is empty"),
            ("prefix=a&from=b", "given twice"),
            ("prefix=a&prefix=b", "given twice"),
            ("wait_ms=5", "`wait_ms` needs `newer_than`"),
            ("newer_than=5&wait_ms=600001", "`wait_ms` is at most 600000"),
            ("consistency=weak", "linearizable or stale"),
            ("max_stale_ms=5", "needs consistency=stale"),
        ] {
            let error = ListQuery::take(&mut Query::parse(query).unwrap()).expect_err(query);
            assert!(error.contains(complaint), "{query}: {error}");
        }
        for name in ["key", "revision", "next", "consistency", "wait_ms"] {
            let error = serde_json::from_str::<ListOp>(&format!(r#"{{"{name}":"a"}}"#)).expect_err(name).to_string();
            assert!(error.contains("unknown field"), "{error}");
        }
    }

    #[test]
    fn lines_and_prefixes_of_bytes_come_back_as_they_went() {
        let item =
            ListItem { key: [0xff].into(), value: None, create_revision: 4, mod_revision: 7, version: 2, lease: None };
        let prefixes = vec!["app/".into(), Key::from([0xff, b'/'])];
        let page = ListReply { items: vec![item.clone()], prefixes, revision: 9, ..ListReply::default() };
        let json = serde_json::to_string(&page).unwrap();
        assert!(json.contains(r#""prefixes":["app/",{"prefix_base64":"/y8="}],"revision":9}"#), "{json}");
        assert_eq!(serde_json::from_str::<ListReply>(&json).unwrap(), page);
        for line in [ListLine::Item(item), ListLine::Prefix([0xff].into()), ListLine::End { revision: 9, count: 0 }] {
            let json = serde_json::to_string(&line).unwrap();
            assert_eq!(serde_json::from_str::<ListLine>(&json).unwrap(), line, "{json}");
        }
        assert!(serde_json::from_str::<ListLine>("{}").is_err());
    }
}
