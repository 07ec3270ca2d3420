//! The client: what it offers. How an operation gets there is the business of [`crate::cluster`].

use crate::api::{
    AddMemberRequest, Applied, Condition, DeleteReply, DeleteRequest, GetReply, Health, Item, KEY_BYTES_MAX,
    LeaderReply, Member, MembersReply, PromoteMemberRequest, RemoveMemberRequest, ReplaceMemberRequest, SetReply,
    SetRequest, TransferRequest,
};
use crate::backup::{self, SnapshotProgress, Target};
use crate::builder::ClientBuilder;
use crate::cluster::Cluster;
use crate::endpoints::Endpoint;
use crate::error::Error;
use crate::lane::Lanes;
use crate::retry::Limits;
use crate::snapshot::SnapshotInfo;
use crate::status::{self, NodeStatus};
use crate::watch::LeaderWatch;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::Write;
use std::sync::Arc;
use url::form_urlencoded::byte_serialize;

/// A handle to a cluster.
///
/// Clones are cheap and share everything; use one from as many threads as you like. Operations that run
/// at the same time use connections of their own.
///
/// ```
/// use kvclient::Client;
///
/// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
/// # let endpoints = cluster.endpoints();
/// let client = Client::connect(endpoints)?;
/// client.set("color", "blue")?;
/// let item = client.get("color")?.expect("just written");
/// assert_eq!(item.value_str(), Some("blue"));
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    cluster: Arc<Cluster>,
}

impl Client {
    /// A client of the cluster that the given nodes belong to, with default settings.
    ///
    /// The endpoints are the nodes' client URLs. They are checked here and used later, so this neither
    /// needs a running cluster nor waits for one.
    ///
    /// # Errors
    /// [`Error::Configuration`] if there is no endpoint, or one is no URL.
    ///
    /// ```
    /// use kvclient::Client;
    ///
    /// let client = Client::connect(["http://127.0.0.1:8081", "http://127.0.0.1:8082"])?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn connect(endpoints: impl IntoIterator<Item: AsRef<str>>) -> Result<Self, Error> {
        Self::builder().endpoints(endpoints).build()
    }

    /// A client with settings of its own.
    ///
    /// ```
    /// use kvclient::Client;
    /// use std::time::Duration;
    ///
    /// let client = Client::builder()
    ///     .endpoint("http://127.0.0.1:8081")
    ///     .attempt_timeout(Duration::from_millis(500))
    ///     .build()?;
    /// # Ok::<(), kvclient::Error>(())
    /// ```
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) fn new(endpoints: Vec<Endpoint>, limits: Limits) -> Self {
        Self { cluster: Arc::new(Cluster::new(endpoints, limits, Lanes::new())) }
    }

    /// As [`Client::new`], with the nodes asked in the order given.
    #[cfg(test)]
    pub(crate) fn in_order(endpoints: Vec<Endpoint>, limits: Limits) -> Self {
        Self { cluster: Arc::new(Cluster::new(endpoints, limits, Lanes::starting_at(0))) }
    }

    #[cfg(test)]
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn read_key(&self, key: &str, options: &str) -> Result<Option<Item>, Error> {
        check_key(key)?;
        let key: String = byte_serialize(key.as_bytes()).collect();
        let reply: Option<GetReply> = self.cluster.read(&format!("/get?key={key}{options}"))?;
        Ok(reply.map(|reply| reply.item))
    }

    fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.cluster.read(path)?.ok_or_else(|| {
            let message = format!("key_not_found for {path}");
            Error::Unexpected { endpoint: "a node".into(), applied: Applied::No, message }
        })
    }

    /// Reads one key; `None` where there is no such key.
    ///
    /// The read is linearizable: it sees every write that was acknowledged before it began, by whatever
    /// client and through whatever node.
    ///
    /// # Errors
    /// [`Error::NoLeader`] or [`Error::Unreachable`] when no node could serve it within the total time,
    /// [`Error::Overloaded`] when none wanted to, [`Error::InvalidRequest`] for a bad key.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
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

    /// Reads one key from any node's own store, at once and without asking the others.
    ///
    /// The answer may be old by as much as that node is behind, which is unbounded for a node cut off
    /// from the rest; and two reads in a row may be served by two nodes. In return it is answered also
    /// when the cluster has no leader.
    ///
    /// # Errors
    /// As [`Client::get`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
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

    /// Writes one key, whatever was there.
    ///
    /// When this returns, the write is on the disks of a majority. It is applied once, however often it
    /// had to be sent.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] when no certain answer came within the total time: the write may have
    /// been applied. With all other errors it was not and never will be (see [`Error::applied`]):
    /// [`Error::NoLeader`], [`Error::Unreachable`], [`Error::Overloaded`], [`Error::TooLarge`],
    /// [`Error::InvalidRequest`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// assert!(client.set("color", "blue")?.created);
    /// assert!(!client.set("color", [0xff, 0x00])?.created); // a value is any bytes
    /// # anyhow::Ok(())
    /// ```
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<SetReply, Error> {
        self.set_with(SetRequest::new(key, value.as_ref()))
    }

    /// Writes one key where a condition holds, say that nobody has changed it since it was read.
    ///
    /// Of several writers with the same condition exactly one wins: it is decided where the write is
    /// applied, not where it was sent.
    ///
    /// # Errors
    /// [`Error::ConditionFailed`] with the item as it is, where the condition does not hold; otherwise
    /// as [`Client::set`].
    ///
    /// ```
    /// use kvclient::{Client, Condition, Error};
    ///
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
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

    /// Writes one key with every option of the API: asks for the item as it was before, or carries a
    /// request id of the caller's own, which makes the write safe to repeat even by another process.
    ///
    /// # Errors
    /// As [`Client::set_if`], and [`Error::StaleRequest`] where a newer request under the caller's own
    /// name has been applied.
    ///
    /// ```
    /// use kvclient::{Client, RequestId, SetRequest};
    ///
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
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
    pub fn set_with(&self, request: SetRequest) -> Result<SetReply, Error> {
        check_key(&request.key)?;
        let mut lane = self.cluster.lanes.borrow();
        let request = match request.request {
            Some(_) => request,
            None => SetRequest { request: Some(lane.session.next()), ..request },
        };
        self.cluster.write(&mut lane, "/set", &request)
    }

    /// Deletes one key; `deleted` in the reply is 0 where there was none.
    ///
    /// # Errors
    /// As [`Client::set`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
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

    /// Deletes one key where a condition holds.
    ///
    /// # Errors
    /// As [`Client::set_if`].
    ///
    /// ```
    /// use kvclient::{Client, Condition};
    ///
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
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
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// let reply = client.delete_with(DeleteRequest { prev: true, ..DeleteRequest::new("color") })?;
    /// assert_eq!(reply.prev.flatten().expect("asked for").value_str(), Some("blue"));
    /// # anyhow::Ok(())
    /// ```
    pub fn delete_with(&self, request: DeleteRequest) -> Result<DeleteReply, Error> {
        check_key(&request.key)?;
        let mut lane = self.cluster.lanes.borrow();
        let request = match request.request {
            Some(_) => request,
            None => DeleteRequest { request: Some(lane.session.next()), ..request },
        };
        self.cluster.write(&mut lane, "/delete", &request)
    }

    /// What one node knows: its state, term, log and store. That node alone is asked, and once.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the endpoint is no URL, [`Error::Unreachable`] if the node does not
    /// answer within the time limit of an attempt.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let health = client.health(&endpoints[0])?;
    /// println!("{} is {} in term {}", health.id, health.state, health.term);
    /// # anyhow::Ok(())
    /// ```
    pub fn health(&self, endpoint: &str) -> Result<Health, Error> {
        let endpoint = Endpoint::parse(endpoint).map_err(|message| Error::Configuration { message })?;
        let lane = self.cluster.lanes.borrow();
        let limits = self.cluster.limits;
        self.cluster.health(&lane.transport, &endpoint, limits.attempt_timeout.min(limits.total_timeout))
    }

    /// The members of the cluster, as one node that answers knows them.
    ///
    /// # Errors
    /// As [`Client::get`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// for member in client.members()? {
    ///     println!("{} at {}", member.id, member.client_url);
    /// }
    /// # anyhow::Ok(())
    /// ```
    pub fn members(&self) -> Result<Vec<Member>, Error> {
        let reply: MembersReply = self.fetch("/members")?;
        self.cluster.endpoints_mut().learn_members(&reply.members);
        Ok(reply.members)
    }

    /// Adds a node, as a learner at first, and returns the members.
    ///
    /// A node that is started with `--join` asks for this by itself. Done here, it is let in before, or in spite of not
    /// reaching the cluster itself; it must be one that waits to join (see [`Health::waiting_for`]).
    ///
    /// Like all changes of the members this says what is to be: a node that is a member already is no error.
    ///
    /// # Errors
    /// [`Error::ChangeRefused`] where another member that lives has its name, or it was removed before; otherwise as
    /// [`Client::set`].
    ///
    /// ```
    /// use kvclient::Client;
    /// use kvclient::api::AddMemberRequest;
    ///
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(1))?;
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let members = client.add_member(AddMemberRequest {
    ///     name: "node4".into(),
    ///     node: "00000000000000a4".into(), // from `GET /health` of the node itself
    ///     client_url: "http://127.0.0.1:9".into(),
    ///     peer_url: "http://127.0.0.1:9".into(),
    ///     learner: true,
    ///     returning: false,
    /// })?;
    /// assert!(members.iter().any(|member| member.id == "node4" && !member.voter));
    /// # anyhow::Ok(())
    /// ```
    pub fn add_member(&self, request: AddMemberRequest) -> Result<Vec<Member>, Error> {
        self.change_members("/members/add", &request)
    }

    /// Makes a voter of a learner, and returns the members.
    ///
    /// # Errors
    /// [`Error::MemberNotFound`]; [`Error::ChangeRefused`] where the learner has yet to catch up; otherwise as
    /// [`Client::set`].
    ///
    /// ```no_run
    /// # let client = kvclient::Client::connect(["http://127.0.0.1:8081"])?;
    /// let members = client.promote_member("node4")?;
    /// assert!(members.iter().any(|member| member.id == "node4" && member.voter));
    /// # anyhow::Ok(())
    /// ```
    pub fn promote_member(&self, name: &str) -> Result<Vec<Member>, Error> {
        self.change_members("/members/promote", &PromoteMemberRequest { id: name.to_owned() })
    }

    /// Removes a member, and returns those that are left. It may be the leader: another takes over.
    ///
    /// `force` goes on where the leader hears no majority of the voters that would be left; nothing can be written then
    /// until enough of them are back.
    ///
    /// # Errors
    /// [`Error::MemberNotFound`]; [`Error::ChangeRefused`] for the last voter, and without `force` where no majority would
    /// be heard; otherwise as [`Client::set`].
    ///
    /// ```no_run
    /// # let client = kvclient::Client::connect(["http://127.0.0.1:8081"])?;
    /// let members = client.remove_member("node2", false)?;
    /// assert!(members.iter().all(|member| member.id != "node2"));
    /// # anyhow::Ok(())
    /// ```
    pub fn remove_member(&self, name: &str, force: bool) -> Result<Vec<Member>, Error> {
        self.change_members("/members/remove", &RemoveMemberRequest { id: name.to_owned(), force })
    }

    /// Makes a voter of the learner `new` in the place of `old`, in one change: at no moment are there fewer voters.
    /// Returns the members. Where `old` is no member any more and `new` votes, it is done already.
    ///
    /// # Errors
    /// As [`Client::promote_member`] and [`Client::remove_member`]; [`Error::ChangeRefused`] also where `new` votes and `old`
    /// is still a member, or `old` does not vote: there would be one voter fewer, or one more.
    ///
    /// ```no_run
    /// # let client = kvclient::Client::connect(["http://127.0.0.1:8081"])?;
    /// let members = client.replace_member("node2", "node4")?;
    /// assert!(members.iter().all(|member| member.id != "node2"));
    /// # anyhow::Ok(())
    /// ```
    pub fn replace_member(&self, old: &str, new: &str) -> Result<Vec<Member>, Error> {
        self.change_members("/members/replace", &ReplaceMemberRequest { old: old.to_owned(), new: new.to_owned() })
    }

    fn change_members(&self, path: &str, request: &impl Serialize) -> Result<Vec<Member>, Error> {
        let lane = self.cluster.lanes.borrow();
        let reply: MembersReply = self.cluster.change(&lane, path, request)?;
        self.cluster.endpoints_mut().learn_members(&reply.members);
        Ok(reply.members)
    }

    /// Every member of the cluster with its health, reachable or not, in the order of their names.
    ///
    /// All nodes are asked at once. This takes at most twice the time limit of an attempt and no longer than
    /// the total, however many nodes are down, and fails for none of them: a node that is down is part of the
    /// answer.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if no node answered at all.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// for node in client.status()? {
    ///     match node.health {
    ///         Ok(health) => println!("{}: {}", node.name, health.state),
    ///         Err(error) => println!("{}: {error}", node.name),
    ///     }
    /// }
    /// # anyhow::Ok(())
    /// ```
    pub fn status(&self) -> Result<Vec<NodeStatus>, Error> {
        status::of_all_nodes(&self.cluster)
    }

    /// The node that leads, as one node that knows a leader tells it.
    ///
    /// # Errors
    /// [`Error::NoLeader`] when no node knew one within the total time; otherwise as [`Client::get`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let leader = client.leader()?;
    /// println!("{} leads term {} at {}", leader.id, leader.term, leader.url);
    /// # anyhow::Ok(())
    /// ```
    pub fn leader(&self) -> Result<LeaderReply, Error> {
        self.fetch("/leader")
    }

    /// Hands leadership over to a member, or to the most up-to-date one, and returns the new leader.
    ///
    /// The present leader brings the other up to date first and takes no writes meanwhile, so that the cluster is
    /// without a leader for a moment only; writes of this and other clients wait for that moment. Useful before the
    /// machine of a leader is shut down, or to keep it on the fastest one.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] where there is no such member, or it cannot lead; [`Error::TransferFailed`] where it did
    /// not take over within an election timeout, or there is nobody who could; otherwise as [`Client::set`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let leader = client.transfer_leader(Some("node2"))?;
    /// assert_eq!(leader.id, "node2");
    /// # anyhow::Ok(())
    /// ```
    pub fn transfer_leader(&self, to: Option<&str>) -> Result<LeaderReply, Error> {
        let lane = self.cluster.lanes.borrow();
        let request = TransferRequest { to: to.map(str::to_owned) };
        let leader: LeaderReply = self.cluster.change(&lane, "/leader/transfer", &request)?;
        self.cluster.learn_leader(&leader);
        Ok(leader)
    }

    /// Downloads a backup: the whole store at one revision, with every write that was acknowledged before, while the
    /// cluster goes on. `progress` is told how far it is.
    ///
    /// The bytes are those of [`crate::snapshot`], and every one is checked on its way. Only what this returned `Ok`
    /// for is a backup, so write it to a temporary file first.
    ///
    /// The total time ([`ClientBuilder::total_timeout`]) is for finding a node that gives it; the download may take
    /// longer, as long as the node is not silent for two minutes.
    ///
    /// # Errors
    /// [`Error::SnapshotBroken`] if it broke off or arrived damaged, [`Error::Output`] if `to` fails; else as
    /// [`Client::get`], and then nothing was written.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// let mut backup = Vec::new();
    /// let info = client.save_snapshot(&mut backup, |progress| {
    ///     println!("{} of {} bytes", progress.bytes, progress.bytes_total);
    /// })?;
    /// assert_eq!(info.bytes, backup.len() as u64);
    /// assert_eq!(info.summary.expect("of a known format").keys, 1);
    /// # anyhow::Ok(())
    /// ```
    pub fn save_snapshot(
        &self,
        mut to: impl Write,
        mut progress: impl FnMut(SnapshotProgress),
    ) -> Result<SnapshotInfo, Error> {
        backup::of_any_node(&self.cluster, &mut Target { to: &mut to, progress: &mut progress })
    }

    /// Downloads a backup of what one node has, at once and without asking the others. That node alone is asked, and
    /// once.
    ///
    /// It may be old by as much as that node is behind. In return there is one also when the cluster has no leader, and
    /// never will have again.
    ///
    /// # Errors
    /// As [`Client::save_snapshot`], and [`Error::Configuration`] if the endpoint is no URL.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// client.set("color", "blue")?;
    /// let info = client.save_snapshot_stale(&endpoints[0], std::io::sink(), |_| {})?;
    /// println!("up to index {} of the log", info.head.last_index);
    /// # anyhow::Ok(())
    /// ```
    pub fn save_snapshot_stale(
        &self,
        endpoint: &str,
        mut to: impl Write,
        mut progress: impl FnMut(SnapshotProgress),
    ) -> Result<SnapshotInfo, Error> {
        let endpoint = Endpoint::parse(endpoint).map_err(|message| Error::Configuration { message })?;
        backup::of_node(&endpoint, &mut Target { to: &mut to, progress: &mut progress })
    }

    /// Watches who leads: first the present leader, then each change, whichever nodes come and go.
    ///
    /// The watch is an endless iterator, whose `next` waits for the next change. It is independent of
    /// this client, which may be dropped.
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = kvd::dev::Cluster::start(kvd::dev::Options::ephemeral(3))?;
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// for change in client.watch_leader() {
    ///     println!("term {}: {:?} -> {:?}", change.term, change.previous, change.leader);
    ///     # break;
    /// }
    /// # anyhow::Ok(())
    /// ```
    pub fn watch_leader(&self) -> LeaderWatch {
        LeaderWatch::new(Arc::clone(&self.cluster))
    }
}

fn check_key(key: &str) -> Result<(), Error> {
    match key.len() {
        0 => Err(Error::InvalidRequest { message: "the key is empty; a key has at least one byte".into() }),
        1..=KEY_BYTES_MAX => Ok(()),
        bytes => Err(Error::InvalidRequest {
            message: format!("the key has {bytes} bytes; the longest has {KEY_BYTES_MAX}"),
        }),
    }
}
