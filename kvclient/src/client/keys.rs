//! Reading and writing keys.

use super::handle::Client;
use crate::api::{self, Condition, DeleteReply, DeleteRequest, GetReply, Item, SetReply, SetRequest};
use crate::error::Error;
use std::time::Duration;
use url::form_urlencoded::byte_serialize;

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
    pub fn get(&self, key: &str) -> Result<Option<Item>, Error> {
        self.read_key(key, "")
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
    pub fn get_stale(&self, key: &str) -> Result<Option<Item>, Error> {
        self.read_key(key, "&consistency=stale")
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
    pub fn get_stale_within(&self, key: &str, age_max: Duration) -> Result<Option<Item>, Error> {
        self.read_key(key, &format!("&consistency=stale&max_stale_ms={}", age_max.as_millis()))
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
    /// # anyhow::Ok(())
    /// ```
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<SetReply, Error> {
        self.set_with(SetRequest::new(key, value.as_ref()))
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
    pub fn set_if(&self, key: &str, value: impl AsRef<[u8]>, condition: Condition) -> Result<SetReply, Error> {
        self.set_with(SetRequest { condition: Some(condition), ..SetRequest::new(key, value.as_ref()) })
    }

    /// Writes one key with every option of the API: it can ask for the previous item, or carry the caller's own request
    /// id, which makes the write safe to repeat even by another process.
    ///
    /// # Errors
    /// As [`Client::set_if`], and [`Error::StaleRequest`] if a newer request under the caller's own name has been
    /// applied.
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
    /// # anyhow::Ok(())
    /// ```
    pub fn set_with(&self, mut request: SetRequest) -> Result<SetReply, Error> {
        check_key(&request.key)?;
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
    pub fn delete(&self, key: &str) -> Result<DeleteReply, Error> {
        self.delete_with(DeleteRequest::new(key))
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
    pub fn delete_if(&self, key: &str, condition: Condition) -> Result<DeleteReply, Error> {
        self.delete_with(DeleteRequest { condition: Some(condition), ..DeleteRequest::new(key) })
    }

    /// Deletes one key with every option of the API; see [`Client::set_with`].
    ///
    /// # Errors
    /// As [`Client::set_with`].
    ///
    /// ```
    /// use kvclient::{Client, DeleteRequest};
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// let reply = client.delete_with(DeleteRequest { prev: true, ..DeleteRequest::new("color") })?;
    /// assert_eq!(reply.prev.flatten().expect("asked for").value_str(), Some("blue"));
    /// # anyhow::Ok(())
    /// ```
    pub fn delete_with(&self, mut request: DeleteRequest) -> Result<DeleteReply, Error> {
        check_key(&request.key)?;
        let mut lane = self.cluster.lanes.borrow();
        request.request.get_or_insert_with(|| lane.session.next());
        self.cluster.write(&mut lane, "/delete", &request)
    }

    fn read_key(&self, key: &str, options: &str) -> Result<Option<Item>, Error> {
        check_key(key)?;
        let key: String = byte_serialize(key.as_bytes()).collect();
        let reply: Option<GetReply> = self.cluster.read(&format!("/get?key={key}{options}"))?;
        Ok(reply.map(|reply| reply.item))
    }
}

fn check_key(key: &str) -> Result<(), Error> {
    api::check_key(key).map_err(|message| Error::InvalidRequest { message })
}
