//! Reading and writing keys, and deleting ranges of them.

use super::handle::Client;
use super::time::to_ms;
use crate::api::{
    self, Condition, Consistency, DeleteReply, DeleteRequest, GetQuery, Item, Range, ReadOptions, SetReply, SetRequest,
};
use crate::error::Error;
use std::time::Duration;

impl Client {
    /// Reads one key. Returns `None` if there is no such key.
    ///
    /// The read is linearizable: it sees every write that was acknowledged before it began, by any client and through
    /// any node.
    ///
    /// # Errors
    /// [`Error::NoLeader`] or [`Error::Unreachable`] if no node could serve it within the total time,
    /// [`Error::Overloaded`] if all were overloaded, [`Error::InvalidRequest`] for a bad key.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// assert_eq!(client.get("color")?, None);
    /// client.set("color", "blue")?;
    /// assert_eq!(client.get("color")?.expect("just written").value, b"blue");
    /// # anyhow::Ok(())
    /// ```
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Item>, Error> {
        self.read_key(key.as_ref(), Consistency::Linearizable)
    }

    /// Reads one key from any node's own store, at once and without asking other nodes.
    ///
    /// The answer may be as old as that node is behind, which is unbounded for a node that is cut off from the rest.
    /// Two reads in a row may be served by two nodes. In return the read works even if the cluster has no leader.
    ///
    /// # Errors
    /// As [`Client::get`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// match client.get_stale("color")? {
    ///     Some(item) => println!("{} at some time", item.value_str().unwrap_or("(bytes)")),
    ///     None => println!("no such key, or not yet on that node"),
    /// }
    /// # anyhow::Ok(())
    /// ```
    pub fn get_stale(&self, key: impl AsRef<[u8]>) -> Result<Option<Item>, Error> {
        self.read_key(key.as_ref(), Consistency::Stale { max_stale_ms: None })
    }

    /// Reads one key from a node's own store that has at least everything committed `age_max` ago.
    ///
    /// A node that is connected to the leader knows this without asking it for each read. A node that is not connected
    /// refuses, and another one is asked.
    ///
    /// # Errors
    /// As [`Client::get`]; [`Error::NoLeader`] if every node that answers may be further behind.
    ///
    /// ```
    /// # use kvclient::Client;
    /// use std::time::Duration;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// match client.get_stale_within("color", Duration::from_millis(500))? {
    ///     Some(item) => println!("{} half a second ago, or since", item.value_str().unwrap_or("(bytes)")),
    ///     None => println!("no such key half a second ago, or since"),
    /// }
    /// # anyhow::Ok(())
    /// ```
    pub fn get_stale_within(&self, key: impl AsRef<[u8]>, age_max: Duration) -> Result<Option<Item>, Error> {
        self.read_key(key.as_ref(), Consistency::Stale { max_stale_ms: Some(to_ms(age_max)) })
    }

    /// Writes one key unconditionally.
    ///
    /// When this returns, the write is on the disks of a majority. It is applied once, however often it was sent.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] if no certain answer came within the total time: the write may have been applied. With
    /// all other errors it was not and never will be (see [`Error::applied`]): [`Error::NoLeader`],
    /// [`Error::Unreachable`], [`Error::Overloaded`], [`Error::TooLarge`], [`Error::InvalidRequest`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// assert!(client.set("color", "blue")?.created);
    /// assert!(!client.set("color", [0xff, 0x00])?.created); // a value is any bytes
    /// client.set([0xff, 0x00], "blue")?; // and so is a key
    /// assert_eq!(client.get([0xff, 0x00])?.expect("just written").value_str(), Some("blue"));
    /// # anyhow::Ok(())
    /// ```
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<SetReply, Error> {
        self.set_with(SetRequest::new(key.as_ref(), value.as_ref()))
    }

    /// Writes one key if a condition holds, for example that nobody has changed it since it was read.
    ///
    /// If several writers have the same condition, exactly one wins: the condition is evaluated when the write is
    /// applied, not when it is sent.
    ///
    /// # Errors
    /// [`Error::ConditionFailed`] with the present item if the condition does not hold; otherwise as [`Client::set`].
    ///
    /// ```
    /// use kvclient::{Client, Condition, Error};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let revision = client.set_if("lock", "held by me", Condition::Absent)?.revision;
    /// let error = client.set_if("lock", "held by you", Condition::Absent).unwrap_err();
    /// assert!(matches!(error, Error::ConditionFailed { current: Some(item) } if item.mod_revision == revision));
    /// client.set_if("lock", "still held by me", Condition::ModRevision(revision))?;
    /// # anyhow::Ok(())
    /// ```
    pub fn set_if(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        condition: Condition,
    ) -> Result<SetReply, Error> {
        self.set_with(SetRequest { condition: Some(condition), ..SetRequest::new(key.as_ref(), value.as_ref()) })
    }

    /// Writes one key with every option of the API. The write can attach the key to a lease, let it end after a time,
    /// ask for the previous item, or carry the caller's own request id, which makes it safe to repeat even by another
    /// process.
    ///
    /// # Errors
    /// As [`Client::set_if`]; [`Error::LeaseNotFound`] if the lease has ended; [`Error::StaleRequest`] if a newer
    /// request under the caller's own name has been applied.
    ///
    /// ```
    /// use kvclient::{Client, RequestId, SetRequest};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// let request = Some(RequestId { client: "nightly job".into(), seq: 1 });
    /// let repaint = SetRequest { prev: true, request, ..SetRequest::new("color", "green") };
    /// let first = client.set_with(repaint.clone())?;
    /// assert_eq!(first.prev.clone().flatten().expect("asked for").value_str(), Some("blue"));
    /// assert_eq!(client.set_with(repaint)?, first); // applied once, answered twice
    ///
    /// // A key that ends by itself, unless it is set again within half a minute.
    /// client.set_with(SetRequest { ttl_ms: Some(30_000), ..SetRequest::new("sessions/alice", "laptop") })?;
    /// assert!(client.get("sessions/alice")?.expect("just written").lease.is_some());
    /// # anyhow::Ok(())
    /// ```
    pub fn set_with(&self, mut request: SetRequest) -> Result<SetReply, Error> {
        check_key(&request.key)?;
        request.check().map_err(|message| Error::InvalidRequest { message })?;
        let mut lane = self.cluster.lanes.borrow();
        request.request.get_or_insert_with(|| lane.session.next());
        self.cluster.write(&mut lane, "/set", &request)
    }

    /// Deletes one key. `deleted` in the reply is 0 if there was no such key.
    ///
    /// # Errors
    /// As [`Client::set`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// assert_eq!(client.delete("color")?.deleted, 1);
    /// assert_eq!(client.delete("color")?.deleted, 0);
    /// # anyhow::Ok(())
    /// ```
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<DeleteReply, Error> {
        self.delete_with(DeleteRequest::new(key.as_ref()))
    }

    /// Deletes one key if a condition holds.
    ///
    /// # Errors
    /// As [`Client::set_if`].
    ///
    /// ```
    /// use kvclient::{Client, Condition};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("lock", "held by me")?;
    /// client.delete_if("lock", Condition::Value(b"held by me".to_vec()))?;
    /// assert_eq!(client.get("lock")?, None);
    /// # anyhow::Ok(())
    /// ```
    pub fn delete_if(&self, key: impl AsRef<[u8]>, condition: Condition) -> Result<DeleteReply, Error> {
        self.delete_with(DeleteRequest { condition: Some(condition), ..DeleteRequest::new(key.as_ref()) })
    }

    /// Deletes all keys of a range in one revision: of a prefix, between two bounds, or, with [`Range::All`], of the
    /// whole store.
    ///
    /// One request deletes at most 100,000 keys and 16 MiB. To delete more, in several revisions, give
    /// [`Client::delete_with`] a limit and repeat it.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if there is more in the range; nothing was deleted then. [`Error::InvalidRequest`] for a
    /// prefix that is empty. Otherwise as [`Client::set`].
    ///
    /// ```
    /// use kvclient::{Client, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("app/a", "1")?;
    /// client.set("app/b", "2")?;
    /// assert_eq!(client.delete_range(Range::prefix("app/"))?.deleted, 2);
    /// # anyhow::Ok(())
    /// ```
    pub fn delete_range(&self, range: Range) -> Result<DeleteReply, Error> {
        self.delete_with(DeleteRequest::new(range))
    }

    /// Deletes one key or a range with every option of the API; see [`Client::set_with`].
    ///
    /// # Errors
    /// As [`Client::set_with`] and [`Client::delete_range`]. [`Error::ReplyNotKept`] if the reply with the previous
    /// items of a range was lost.
    ///
    /// ```
    /// use kvclient::{Client, DeleteRequest, Range};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// let reply = client.delete_with(DeleteRequest { prev: true, ..DeleteRequest::new("color") })?;
    /// assert_eq!(reply.prev.flatten().expect("asked for").value_str(), Some("blue"));
    ///
    /// // A range of any size, in steps.
    /// let step = DeleteRequest { limit: Some(1_000), ..DeleteRequest::new(Range::prefix("logs/")) };
    /// while client.delete_with(step.clone())?.more {}
    /// # anyhow::Ok(())
    /// ```
    pub fn delete_with(&self, mut request: DeleteRequest) -> Result<DeleteReply, Error> {
        request.check().map_err(|message| Error::InvalidRequest { message })?;
        let mut lane = self.cluster.lanes.borrow();
        request.request.get_or_insert_with(|| lane.session.next());
        self.cluster.write(&mut lane, "/delete", &request)
    }

    /// Reads one key as `query` says. This is how a read waits for a revision (`min_revision`) at whichever node serves
    /// it.
    ///
    /// # Errors
    /// As [`Client::get`], and with a revision as [`Client::get_at`].
    ///
    /// ```
    /// use kvclient::Client;
    /// use kvclient::api::{Consistency, GetQuery, ReadOptions};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let written = client.set("color", "blue")?.revision;
    /// // One's own write, from any node, without asking the leader.
    /// let read = ReadOptions { consistency: Consistency::Stale { max_stale_ms: None }, min_revision: Some(written) };
    /// let item = client.get_with(GetQuery { read, ..GetQuery::new("color") })?.expect("it has been written");
    /// assert_eq!(item.value_str(), Some("blue"));
    /// # anyhow::Ok(())
    /// ```
    pub fn get_with(&self, query: GetQuery) -> Result<Option<Item>, Error> {
        self.observe_with(&query).map(|observed| observed.item)
    }

    fn read_key(&self, key: &[u8], consistency: Consistency) -> Result<Option<Item>, Error> {
        let read = ReadOptions { consistency, min_revision: None };
        self.get_with(GetQuery { read, ..GetQuery::new(key) })
    }
}

fn check_key(key: impl AsRef<[u8]>) -> Result<(), Error> {
    api::check_key(key).map_err(|message| Error::InvalidRequest { message })
}
