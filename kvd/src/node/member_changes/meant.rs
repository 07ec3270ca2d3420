//! The nodes that a request means, and the change that makes the members as requested.

use super::change::{ChangeError, MemberChange};
use crate::mutants::{self, Mutant};
use crate::raft::{Configuration, MemberInfo, MembershipChange, NodeId, Raft};
use std::collections::{BTreeMap, BTreeSet};

/// Most members of a cluster, learners included. With more, not every node could have a stream to every other.
pub const MEMBERS_MAX: usize = 48;

/// The ids of the nodes that a request names, as of its first evaluation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Meant {
    /// Nodes to be promoted to voters.
    promote: BTreeSet<NodeId>,
    /// Nodes to be removed.
    remove: BTreeSet<NodeId>,
    /// Nodes whose URLs are to change.
    update: BTreeSet<NodeId>,
}

impl Meant {
    /// Looks the names up.
    ///
    /// # Errors
    /// [`ChangeError::UnknownMember`].
    pub(super) fn by(change: &MemberChange, configuration: &Configuration) -> Result<Self, ChangeError> {
        let called = |name: &str| members_called(configuration, name);
        let known = |name: &str| {
            let ids = called(name);
            if ids.is_empty() { Err(ChangeError::UnknownMember(name.to_owned())) } else { Ok(ids) }
        };
        Ok(match change {
            // The request contains the node's id.
            MemberChange::Add { .. } => Self::default(),
            MemberChange::Promote { name } => Self { promote: known(name)?, ..Self::default() },
            MemberChange::Remove { name, .. } => Self { remove: known(name)?, ..Self::default() },
            MemberChange::Update { name, .. } => Self { update: known(name)?, ..Self::default() },
            MemberChange::Replace { old, new } => {
                let promote = known(new)?;
                let votes = promote.iter().any(|id| configuration.voters.contains(id));
                // If `new` votes and `old` is not a member, the replacement is done already.
                let remove = if votes { called(old) } else { known(old)? };
                Self { promote, remove, ..Self::default() }
            }
        })
    }
}

/// Returns the change that makes the members as asked, if any is left to make.
///
/// # Errors
/// [`ChangeError`] if it cannot be done.
pub(super) fn wanted(
    change: &MemberChange,
    meant: &Meant,
    raft: &Raft,
) -> Result<Option<MembershipChange>, ChangeError> {
    let configuration = raft.configuration();
    match change {
        MemberChange::Add { node, name, client_url, peer_url, learner, returning, level: _ } => {
            let (name, client_url, peer_url) = (name.clone(), client_url.clone(), peer_url.clone());
            let info = MemberInfo { name, client_url, peer_url };
            addition(raft, NodeId(*node), info, *learner, *returning)
        }
        MemberChange::Promote { name } => promotion(configuration, meant, name),
        MemberChange::Remove { force, .. } => Ok(removal(configuration, meant, *force)),
        MemberChange::Replace { old, new } => replacement(configuration, meant, old, new),
        MemberChange::Update { name, client_url, peer_url } => {
            update(configuration, &meant.update, name, client_url.as_ref(), peer_url.as_ref())
        }
    }
}

fn promotion(
    configuration: &Configuration,
    meant: &Meant,
    name: &str,
) -> Result<Option<MembershipChange>, ChangeError> {
    if meant.promote.iter().any(|id| configuration.voters.contains(id)) {
        return Ok(None);
    }
    let promote = still_members(configuration, &meant.promote);
    if promote.is_empty() {
        return Err(ChangeError::UnknownMember(name.to_owned()));
    }
    Ok(Some(MembershipChange { promote, ..MembershipChange::default() }))
}

fn removal(configuration: &Configuration, meant: &Meant, force: bool) -> Option<MembershipChange> {
    let remove = still_members(configuration, &meant.remove);
    (!remove.is_empty()).then(|| MembershipChange { remove, force, ..MembershipChange::default() })
}

/// Returns what is left to do for a replacement, which keeps the number of voters: the learner `new` takes the vote of
/// `old`. So it is done if `old` is no longer a member and `new` votes. If both are members and `new` votes already,
/// removing `old` would leave one voter fewer; if `old` does not vote, promoting `new` would leave one more.
pub(super) fn replacement(
    configuration: &Configuration,
    meant: &Meant,
    old: &str,
    new: &str,
) -> Result<Option<MembershipChange>, ChangeError> {
    let votes = |ids: &BTreeSet<NodeId>| ids.iter().any(|id| configuration.voters.contains(id));
    let promote = still_members(configuration, &meant.promote);
    let remove = still_members(configuration, &meant.remove);
    if promote.is_empty() {
        return Err(ChangeError::UnknownMember(new.to_owned()));
    }
    if votes(&promote) && remove.is_empty() {
        return Ok(None);
    }
    if votes(&promote) {
        if mutants::is_on(Mutant::ReplaceByVoter) {
            return Ok(Some(MembershipChange { remove, ..MembershipChange::default() }));
        }
        return Err(ChangeError::Refused(format!(
            "{new} is already a voter, so it cannot replace {old}: choose a learner. To remove {old} and have one \
             voter fewer, use kvctl member remove {old}"
        )));
    }
    if remove.is_empty() {
        return Err(ChangeError::UnknownMember(old.to_owned()));
    }
    if !votes(&remove) {
        return Err(ChangeError::Refused(format!(
            "{old} is not a voter, so {new} cannot take over its vote. To remove {old}, use kvctl member remove {old}; \
             to make {new} one more voter, use kvctl member promote {new}"
        )));
    }
    Ok(Some(MembershipChange { promote, remove, ..MembershipChange::default() }))
}

/// Replaces the recorded URLs with the given ones.
fn update(
    configuration: &Configuration,
    meant: &BTreeSet<NodeId>,
    name: &str,
    client_url: Option<&String>,
    peer_url: Option<&String>,
) -> Result<Option<MembershipChange>, ChangeError> {
    let members = still_members(configuration, meant);
    if members.is_empty() {
        return Err(ChangeError::UnknownMember(name.to_owned()));
    }
    let mut update = BTreeMap::new();
    for id in members {
        let known = &configuration.members[&id];
        let info = MemberInfo {
            name: known.name.clone(),
            client_url: client_url.unwrap_or(&known.client_url).clone(),
            peer_url: peer_url.unwrap_or(&known.peer_url).clone(),
        };
        if info != *known {
            update.insert(id, info);
        }
    }
    with_updates(configuration, update)
}

/// Returns the change that records these names and URLs, if there are any.
fn with_updates(
    configuration: &Configuration,
    update: BTreeMap<NodeId, MemberInfo>,
) -> Result<Option<MembershipChange>, ChangeError> {
    if let Some((info, (url, other))) = update.values().find_map(|info| Some((info, taken_url(configuration, info)?))) {
        let name = &info.name;
        return Err(ChangeError::Refused(format!(
            "{url} is the URL of {other}, and each member needs its own: use another URL for {name}, or update or remove {other} \
             first"
        )));
    }
    Ok((!update.is_empty()).then(|| MembershipChange { update, ..MembershipChange::default() }))
}

/// Returns the URL of a node to be added that is already another member's, and that member's name. A node may come back
/// to its own address under the name of a member.
fn taken_url<'a>(configuration: &'a Configuration, info: &'a MemberInfo) -> Option<(&'a str, &'a str)> {
    let others = configuration.members.values().filter(|other| other.name != info.name);
    let mut taken = others.filter_map(|other| {
        let urls = [&info.client_url, &info.peer_url];
        let url = urls.into_iter().find(|url| **url == other.client_url || **url == other.peer_url)?;
        Some((url.as_str(), other.name.as_str()))
    });
    taken.next()
}

/// Returns all members of this name: two while a node's new incarnation replaces its old one.
fn members_called(configuration: &Configuration, name: &str) -> BTreeSet<NodeId> {
    configuration.members.iter().filter(|(_, info)| info.name == name).map(|(id, _)| *id).collect()
}

fn still_members(configuration: &Configuration, ids: &BTreeSet<NodeId>) -> BTreeSet<NodeId> {
    ids.iter().copied().filter(|id| configuration.members.contains_key(id)).collect()
}

fn addition(
    raft: &Raft,
    id: NodeId,
    info: MemberInfo,
    learner: bool,
    returning: bool,
) -> Result<Option<MembershipChange>, ChangeError> {
    let configuration = raft.configuration();
    let name = &info.name;
    if let Some(known) = configuration.members.get(&id) {
        if known.name != *name {
            let known = &known.name;
            return Err(ChangeError::Refused(format!(
                "the node with this id is named {known}, not {name}: start it as {known}"
            )));
        }
        // The node asks again after it was restarted with other URLs, and may not be reachable at the recorded ones.
        let update = if *known == info { BTreeMap::new() } else { BTreeMap::from([(id, info)]) };
        return with_updates(configuration, update);
    }
    if configuration.removed.contains(&id) && !mutants::is_on(Mutant::RemovedIdAddedAgain) {
        return Err(ChangeError::WasRemoved(name.clone()));
    }
    let namesakes = members_called(configuration, name);
    if namesakes.is_empty() && returning {
        return Err(ChangeError::UnknownMember(name.clone()));
    }
    if namesakes.is_empty() && configuration.members.len() >= MEMBERS_MAX {
        return Err(ChangeError::Refused(format!(
            "the cluster has {MEMBERS_MAX} members, which is the maximum: remove some first"
        )));
    }
    if let Some((url, other)) = taken_url(configuration, &info) {
        return Err(ChangeError::Refused(format!(
            "{url} is the URL of {other}, and each member needs its own: use another URL for {name}. If {other} is \
             permanently gone, start the node as {other}, which it then replaces, or remove {other} first (kvctl: \
             member remove {other})"
        )));
    }
    if namesakes.iter().any(|id| !raft.is_silent(*id)) {
        return Err(ChangeError::Refused(format!(
            "another running node named {name} is already a member: choose another name, or remove that one first. If \
             this is the same node and it has lost its data, try again in a moment"
        )));
    }
    Ok(Some(MembershipChange::to_join(configuration, id, info, learner)))
}
