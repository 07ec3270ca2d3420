//! The members of the cluster, and changes of them.

use super::handle::Client;
use crate::api::{
    AddMemberRequest, Member, MembersReply, PromoteMemberRequest, RemoveMemberRequest, ReplaceMemberRequest,
    UpdateMemberRequest,
};
use crate::error::Error;
use serde::Serialize;

impl Client {
    /// Returns the members of the cluster, as one answering node knows them.
    ///
    /// # Errors
    /// As [`Client::get`].
    ///
    /// ```
    /// # use kvclient::Client;
    /// # let cluster = testkit::DocCluster::take_turn();
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

    /// Adds a node, at first as a learner, and returns the members.
    ///
    /// A node that is started with `--join` asks for this by itself. This call adds it beforehand, or even if it cannot
    /// reach the cluster itself. The node must be waiting to join (see
    /// [`Health::waiting_for`](crate::Health::waiting_for)).
    ///
    /// Like all membership changes this states the desired result: a node that is already a member is not an error.
    ///
    /// # Errors
    /// [`Error::ChangeRefused`] if another live member has its name, it was removed before, or it does not know the
    /// level of the cluster's data; otherwise as [`Client::set`].
    ///
    /// ```
    /// use kvclient::Client;
    /// use kvclient::api::AddMemberRequest;
    ///
    /// # let cluster = testkit::DocCluster::take_turn();
    /// # let endpoints = cluster.endpoints();
    /// let client = Client::connect(endpoints)?;
    /// let request = AddMemberRequest {
    ///     name: "node4".into(),
    ///     node: "00000000000000a4".into(), // from `GET /health` of the node itself
    ///     client_url: "http://127.0.0.1:9".into(),
    ///     peer_url: "http://127.0.0.1:9".into(),
    ///     learner: true,
    ///     returning: false,
    /// };
    /// let level_max = 3; // from there as well
    /// let members = client.add_member(request, level_max)?;
    /// assert!(members.iter().any(|member| member.id == "node4" && !member.voter));
    /// # client.remove_member("node4", false)?;
    /// # anyhow::Ok(())
    /// ```
    pub fn add_member(&self, request: AddMemberRequest, level_max: u32) -> Result<Vec<Member>, Error> {
        self.change_members_at("/members/add", Some(level_max), &request)
    }

    /// Makes a learner a voter, and returns the members.
    ///
    /// # Errors
    /// [`Error::MemberNotFound`]; [`Error::ChangeRefused`] if the learner has not caught up yet; otherwise as
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

    /// Removes a member, and returns the remaining ones. If it is the leader, another node takes over.
    ///
    /// `force` removes it even if the leader does not hear a majority of the remaining voters. Writes then stop until
    /// enough of them return.
    ///
    /// # Errors
    /// [`Error::MemberNotFound`]; [`Error::ChangeRefused`] for the last voter, and without `force` if the leader would
    /// not hear a majority; otherwise as [`Client::set`].
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

    /// Replaces the voter `old` with the learner `new`, in one change: at no moment are there fewer voters. Returns the
    /// members. If `old` is no longer a member and `new` is a voter, there is nothing to do.
    ///
    /// # Errors
    /// As [`Client::promote_member`] and [`Client::remove_member`]; [`Error::ChangeRefused`] also if `new` is a voter
    /// while `old` is still a member, or if `old` is not a voter: there would be one voter fewer, or one more.
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

    /// Changes the recorded URLs of a member before it moves to another address, and returns the members. The other
    /// nodes then find it there, even those that move at the same time. Until the node restarts at the new address,
    /// they keep reaching it at the old one.
    ///
    /// # Errors
    /// [`Error::MemberNotFound`]; [`Error::ChangeRefused`] for the URL of another member; otherwise as [`Client::set`].
    ///
    /// ```no_run
    /// # let client = kvclient::Client::connect(["http://127.0.0.1:8081"])?;
    /// use kvclient::api::UpdateMemberRequest;
    ///
    /// let peer_url = Some("http://10.0.0.9:8081".to_owned());
    /// let members = client.update_member(UpdateMemberRequest { id: "node2".into(), client_url: None, peer_url })?;
    /// # anyhow::Ok(())
    /// ```
    pub fn update_member(&self, request: UpdateMemberRequest) -> Result<Vec<Member>, Error> {
        self.change_members("/members/update", &request)
    }

    fn change_members(&self, path: &str, request: &impl Serialize) -> Result<Vec<Member>, Error> {
        self.change_members_at(path, None, request)
    }

    fn change_members_at(
        &self,
        path: &str,
        level: Option<u32>,
        request: &impl Serialize,
    ) -> Result<Vec<Member>, Error> {
        let lane = self.cluster.lanes.borrow();
        let reply: MembersReply = self.cluster.change(&lane, path, level, request)?;
        self.cluster.endpoints_mut().learn_members(&reply.members);
        Ok(reply.members)
    }
}
