//! Commands on a data directory while no daemon runs on it: `kvd restore` makes a new cluster of a backup, `kvd
//! recover` makes one of the data that one node of a lost cluster has.

use crate::cli::{LISTEN, RecoverArgs, RestoreArgs, UrlArgs};
use crate::config::{Config, ConfigError, Options, is_dialable};
use crate::data::{
    Founder, RecoverError, RefoundError, Refounded, RestoreBackupError, Survivor, restore as restore_backup, survivor,
};
use crate::raft::{Configuration, MemberInfo, NodeId, Settings};
use crate::storage::{Disk, RealDisk, WalOptions};
use kvclient::api::hex_id;
use std::fs::{self, File};
use std::io::{self, BufRead as _, IsTerminal as _, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Directory that a file system keeps at its root, and that is no data.
const LOST_AND_FOUND: &str = "lost+found";

/// File argument that means standard input.
const STANDARD_INPUT: &str = "-";

/// Reason why a command failed.
#[derive(Debug, Error)]
pub(crate) enum OfflineError {
    /// A flag is invalid.
    #[error("{0}")]
    Usage(String),
    /// Something that a flag names does not exist yet.
    #[error("{0}")]
    NotYet(String),
    /// The backup cannot be opened.
    #[error("the backup {from}: {cause}. Nothing was restored")]
    File {
        /// Source of the backup.
        from: String,
        /// The operating system's error.
        cause: io::Error,
    },
    /// The backup cannot be restored.
    #[error("the backup {from}: {cause}")]
    Backup {
        /// Source of the backup.
        from: String,
        /// The reason.
        cause: RestoreBackupError,
    },
    /// The directory cannot be used.
    #[error("--data-dir {}: {cause}", .dir.display())]
    DataDir {
        /// The directory.
        dir: PathBuf,
        /// The operating system's error.
        cause: io::Error,
    },
    /// The backup cannot be restored into this directory.
    #[error("--data-dir {}: {cause}", .dir.display())]
    Restore {
        /// The directory.
        dir: PathBuf,
        /// The reason.
        cause: RestoreBackupError,
    },
    /// The data in the directory cannot be recovered.
    #[error("--data-dir {}: {cause}", .dir.display())]
    Recover {
        /// The directory.
        dir: PathBuf,
        /// The reason.
        cause: RecoverError,
    },
    /// The directory failed while it was written.
    #[error("--data-dir {}: {cause}", .dir.display())]
    Refound {
        /// The directory.
        dir: PathBuf,
        /// The failure.
        cause: RefoundError,
    },
    /// The user did not confirm.
    #[error("nothing was changed: {0}")]
    NotConfirmed(&'static str),
}

type Done = Result<(), OfflineError>;

/// `kvd restore`.
pub(crate) fn restore(args: RestoreArgs) -> Done {
    let RestoreArgs { file, data_dir, name, listen, urls } = args;
    let start = Start { name, listen: Some(listen), urls };
    let info = start.info(&data_dir, None)?;
    let (source, backup): (_, Box<dyn Read>) = match file.as_os_str() == STANDARD_INPUT {
        true => ("standard input".to_owned(), Box::new(io::stdin())),
        false => {
            let source = file.display().to_string();
            let opened = File::open(&file).map_err(|cause| OfflineError::File { from: source.clone(), cause })?;
            (source, Box::new(opened))
        }
    };
    let of_dir = |cause| OfflineError::DataDir { dir: data_dir.clone(), cause };
    if let Some(name) = other_than_files(&data_dir).map_err(of_dir)? {
        return Err(OfflineError::Restore { dir: data_dir, cause: RestoreBackupError::NotEmpty(name) });
    }
    let disk = disk(&data_dir)?;
    let restored = restore_backup(&disk, backup, founder(info.clone()));
    let restored = restored.map_err(|cause| match cause.is_of_backup() {
        true => OfflineError::Backup { from: source.clone(), cause },
        false => OfflineError::Restore { dir: data_dir.clone(), cause },
    })?;
    say(&format!("restored {} at revision {} from {}", keys(restored.keys), restored.revision, source));
    say(&new_cluster(&restored, &info));
    say(&format!("\nstart it:\n  {}\n{}", start.command(&data_dir, &info), how_others_join(&info)));
    Ok(())
}

/// `kvd recover`.
pub(crate) fn recover(args: RecoverArgs) -> Done {
    let RecoverArgs { data_dir, yes, listen, urls } = args;
    let of_recover = |cause| OfflineError::Recover { dir: data_dir.clone(), cause };
    if !data_dir.is_dir() {
        return Err(of_recover(RecoverError::Nothing));
    }
    let disk = disk(&data_dir)?;
    let wal = WalOptions::new(rand::random());
    let survivor = survivor(&disk, wal, Settings::default().cache_bytes_max).map_err(of_recover)?;
    let start = Start { name: survivor.identity.name.clone(), listen, urls };
    let info = start.info(&data_dir, survivor.info.as_ref())?;
    say(&prospect(&survivor, &data_dir));
    if !yes {
        confirm()?;
    }
    let kept_as = survivor.kept_as();
    let recovered = survivor.recover(founder(info.clone()));
    let recovered = recovered.map_err(|cause| OfflineError::Refound { dir: data_dir.clone(), cause })?;
    say(&format!("recovered {} at revision {}", keys(recovered.keys), recovered.revision));
    say(&new_cluster(&recovered, &info));
    say(&format!("the old data is kept in the files {kept_as}*: remove them once the new cluster works"));
    say(&format!(
        "\nstart it with its usual flags, but without --peers (KVD_PEERS):\n  {} ...\n{}",
        start.command(&data_dir, &info),
        how_others_join(&info)
    ));
    Ok(())
}

/// Start of the node afterwards, as far as it is known.
struct Start {
    name: String,
    listen: Option<String>,
    urls: UrlArgs,
}

impl Start {
    /// Returns the node's entry in the new cluster: from the flags, or else from the old cluster. Once the node starts
    /// it reports its own URLs, as far as its settings give them.
    fn info(&self, dir: &Path, known: Option<&MemberInfo>) -> Result<MemberInfo, OfflineError> {
        let UrlArgs { advertise_client_url, advertise_peer_url, .. } = &self.urls;
        let own_peer = self.own_peer();
        // A given address is where the node will be. An address that stands for all addresses of a machine does not
        // make a URL.
        let known = known.filter(|_| own_peer.is_none() && self.listen.as_deref().is_none_or(is_no_url));
        let url = |flag: &Option<String>, known: Option<&String>| flag.clone().or_else(|| known.cloned());
        let listen = self.listen.clone().unwrap_or_else(|| LISTEN.to_owned());
        let options = Options {
            advertise_client_url: url(advertise_client_url, known.map(|info| &info.client_url)),
            advertise_peer_url: url(advertise_peer_url, known.map(|info| &info.peer_url)),
            ..Options::new(&self.name, &listen, own_peer.into_iter().collect(), dir.to_owned())
        };
        let config = Config::check(options).map_err(|error| match error {
            ConfigError::Wrong(why) => OfflineError::Usage(why),
            ConfigError::NotYet(why) => OfflineError::NotYet(why),
        })?;
        if config.is_peer_url_guessed {
            return Err(OfflineError::Usage(format!(
                "--listen {listen} is not an address that other nodes can connect to: set --advertise-peer-url \
                 (KVD_ADVERTISE_PEER_URL) to where they will reach {}, or list it in --peers (KVD_PEERS)",
                self.name
            )));
        }
        Ok(MemberInfo { name: config.name, client_url: config.client_url, peer_url: config.peer_url })
    }

    /// Returns this node's entry in the list of the old cluster's members. A node that joined later may be missing from
    /// that list.
    fn own_peer(&self) -> Option<String> {
        let is_own = |peer: &&String| peer.trim().split_once('=').is_some_and(|(name, _)| name == self.name);
        self.urls.peers.iter().find(is_own).cloned()
    }

    /// Returns the command that starts the node. The command has no --peers, so it includes the URLs that nothing else
    /// gives.
    fn command(&self, dir: &Path, info: &MemberInfo) -> String {
        let UrlArgs { advertise_client_url, advertise_peer_url, .. } = &self.urls;
        let says_less = self.own_peer().is_some() || self.listen.as_deref().is_some_and(is_no_url);
        let needed = |flag: &Option<String>, url: &String| flag.clone().or_else(|| says_less.then(|| url.clone()));
        let mut command = format!("kvd --name {}", self.name);
        let flags = [
            (" --listen ", self.listen.clone()),
            (" --advertise-client-url ", needed(advertise_client_url, &info.client_url)),
            (" --advertise-peer-url ", needed(advertise_peer_url, &info.peer_url)),
        ];
        for (flag, value) in flags {
            if let Some(value) = value {
                command.push_str(flag);
                command.push_str(&value);
            }
        }
        command + &format!(" --data-dir {}", dir.display())
    }
}

/// Returns true if a listen address does not tell where the node is.
fn is_no_url(listen: &str) -> bool {
    listen.parse().is_ok_and(|address| !is_dialable(address))
}

fn founder(info: MemberInfo) -> Founder {
    Founder { info, node_id: NodeId(rand::random()), wal: WalOptions::new(rand::random()) }
}

fn disk(dir: &Path) -> Result<Arc<dyn Disk>, OfflineError> {
    let disk = RealDisk::open(dir).map_err(|cause| OfflineError::DataDir { dir: dir.to_owned(), cause })?;
    Ok(Arc::new(disk))
}

/// Returns the name of something in the directory that is not a file. A [`Disk`] does not see it, but the directory is
/// not empty. For example, `kvd dev` keeps a directory for each node.
fn other_than_files(dir: &Path) -> io::Result<Option<String>> {
    let listed = match fs::read_dir(dir) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        listed => listed?,
    };
    for item in listed {
        let item = item?;
        if !item.file_type()?.is_file() && item.file_name() != LOST_AND_FOUND {
            return Ok(Some(item.file_name().to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn keys(count: u64) -> String {
    if count == 1 { "1 key".to_owned() } else { format!("{count} keys") }
}

/// Returns a description of the recovery, and of the data that may be lost by it.
fn prospect(survivor: &Survivor, dir: &Path) -> String {
    let Survivor { identity, members, last, commit_index, torn_tail, damaged_snapshots, .. } = survivor;
    let cluster = identity.cluster.as_ref().map(|cluster| hex_id(cluster.id)).unwrap_or_default();
    let (name, node_id) = (&identity.name, identity.node_id);
    let mut names: Vec<&str> = members.members.values().map(|info| info.name.as_str()).collect();
    names.sort_unstable();
    let mut notes = String::new();
    let mut note = |text: String| notes += &format!("{text}\n");
    note(format!(
        "{} holds the data of {name} (id {node_id}) of cluster {cluster}.\n\
         The members were {}; {}.\n\
         Its log ends at entry {last}: {} at revision {}.",
        dir.display(),
        names.join(", "),
        part(members, node_id),
        keys(survivor.keys()),
        survivor.revision(),
    ));
    let beyond = last.index.0.saturating_sub(commit_index.0);
    note(match beyond {
        0 => "All entries are known to be committed.".to_owned(),
        1 => format!("Entries up to {commit_index} are known to be committed; the last one may not be."),
        _ => format!("Entries up to {commit_index} are known to be committed; the last {beyond} may not be."),
    });
    for warning in damaged_snapshots.iter().map(ToString::to_string).chain(torn_tail.as_ref().map(ToString::to_string))
    {
        note(format!("{warning}."));
    }
    if let Some(index) = identity.diverged_at {
        note(format!(
            "\nTHIS DATA HAS DIVERGED: at entry {index} it was found to differ from the data of other nodes. Make sure \
             that this is the data to keep."
        ));
    }
    if members.is_sole_voter(node_id) {
        note(format!(
            "\n{name} is the only voter of its cluster and has every acknowledged write. It needs no recovery: start \
             kvd on it as it is."
        ));
    }
    note("\nThis makes a NEW cluster of this node alone, with the data that it has:".to_owned());
    note("- Acknowledged writes that had not reached this node ARE LOST.".to_owned());
    if beyond > 0 {
        let last = if beyond == 1 { "The last entry".to_owned() } else { format!("The last {beyond} entries") };
        let counts = if beyond == 1 { "counts" } else { "count" };
        note(format!(
            "- {last} of its log {counts} as committed from now on, although they may never have been acknowledged and \
             the old cluster may have committed other entries in their place."
        ));
    }
    note(
        "- Keys keep their revisions, and retried requests are still recognized.\n\
         - No other node of the old cluster can join the new one with its old data. Do not start one on that data \
         again, or clients may mistake it for the new cluster. They can join with empty directories.\n\
         Do this only if a majority of the old cluster is permanently lost. If it may come back, wait for it: it has \
         every acknowledged write."
            .to_owned(),
    );
    notes
}

/// Returns the node's role in its cluster, as far as the node knew it.
fn part(members: &Configuration, id: NodeId) -> &'static str {
    if members.is_voter(id) {
        "it was a voter"
    } else if members.members.contains_key(&id) {
        "it was a learner: a remaining voter may have newer data"
    } else if members.removed.contains(&id) {
        "IT HAD BEEN REMOVED: later writes of the cluster are not here"
    } else {
        "it had not received the list of members yet: a remaining voter may have newer data"
    }
}

fn confirm() -> Done {
    if !io::stdin().is_terminal() {
        return Err(OfflineError::NotConfirmed(
            "this needs confirmation and there is no terminal: use --yes if you are \
             sure",
        ));
    }
    let mut out = io::stdout();
    let _ = write!(out, "Go on? [y/N] ");
    let _ = out.flush();
    let mut answer = String::new();
    // An input that cannot be read is not a yes.
    let _ = io::stdin().lock().read_line(&mut answer);
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(OfflineError::NotConfirmed("the answer was not yes")),
    }
}

fn new_cluster(made: &Refounded, info: &MemberInfo) -> String {
    let Refounded { cluster, node_id, .. } = made;
    format!("the new cluster is {}, and {} (id {node_id}) is its only member", hex_id(cluster.id), info.name)
}

fn how_others_join(info: &MemberInfo) -> String {
    format!(
        "then add other nodes, each with an empty data directory:\n  \
         kvd --name ANOTHER --listen ADDRESS:PORT --data-dir DIR --join {}",
        info.client_url
    )
}

/// Prints for a person who watches.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::Goal;

    fn info(client_url: &str, peer_url: &str) -> MemberInfo {
        MemberInfo { name: "node1".into(), client_url: client_url.into(), peer_url: peer_url.into() }
    }

    fn start(flags: [Option<&str>; 3]) -> Start {
        let [listen, advertise_client_url, advertise_peer_url] = flags.map(|flag| flag.map(str::to_owned));
        Start {
            name: "node1".into(),
            listen,
            urls: UrlArgs { advertise_client_url, advertise_peer_url, peers: Vec::new() },
        }
    }

    /// Returns the start options with a list of the old cluster's members.
    fn start_of(peers: &[&str], flags: [Option<&str>; 3]) -> Start {
        let mut start = start(flags);
        start.urls.peers = peers.iter().map(|peer| (*peer).to_owned()).collect();
        start
    }

    #[test]
    fn a_node_is_where_the_flags_say_or_else_where_it_was() {
        let dir = Path::new("data");
        let known = info("http://c:1", "http://p:1");
        for (flags, known, expected) in [
            ([None, None, None], Some(&known), known.clone()),
            ([None, None, None], None, info("http://127.0.0.1:8081", "http://127.0.0.1:8081")),
            ([None, Some("http://d:1"), None], Some(&known), info("http://d:1", "http://p:1")),
            ([Some("127.0.0.2:1"), None, None], Some(&known), info("http://127.0.0.2:1", "http://127.0.0.2:1")),
            ([Some("192.0.2.1:1"), Some("http://d:1"), None], None, info("http://d:1", "http://192.0.2.1:1")),
            ([Some("0.0.0.0:1"), Some("http://d:1"), Some("http://e:1")], None, info("http://d:1", "http://e:1")),
            // As in a container: the flags say nothing about the node that the data does not know.
            ([Some("0.0.0.0:1"), None, None], Some(&known), known.clone()),
            ([Some("0.0.0.0:1"), Some("http://d:1"), None], Some(&known), info("http://d:1", "http://p:1")),
            ([Some("[::]:1"), None, Some("http://e:1")], Some(&known), info("http://c:1", "http://e:1")),
        ] {
            assert_eq!(start(flags).info(dir, known).expect("flags that are right"), expected, "{flags:?}");
        }
        for (flags, flag) in [
            ([Some("0.0.0.0:1"), None, None], "--advertise-client-url"),
            ([Some("0.0.0.0:1"), Some("http://d:1"), None], "--advertise-peer-url"),
        ] {
            let refusal = start(flags).info(dir, None).expect_err("no address");
            assert!(refusal.to_string().contains(flag), "{refusal}");
        }
    }

    #[test]
    fn of_the_old_list_of_members_the_url_of_the_node_itself_is_taken() {
        let (dir, known) = (Path::new("data"), info("http://c:1", "http://p:1"));
        let peers = ["node1=http://q:1", "node2=http://r:1"];
        let client = [Some("0.0.0.0:1"), Some("http://d:1"), None];
        for known in [None, Some(&known)] {
            let both = start_of(&peers, [Some("0.0.0.0:1"), None, None]).info(dir, known).expect("a URL");
            assert_eq!(both, info("http://q:1", "http://q:1"));
            let start = start_of(&peers, client);
            let peer = start.info(dir, known).expect("a URL");
            assert_eq!(peer, info("http://d:1", "http://q:1"));
            let command = start.command(dir, &peer);
            assert!(command.contains("--advertise-peer-url http://q:1 "), "nothing else says it then: {command}");
        }
        // A node that joined later is in no list.
        let joined = start_of(&["node2=http://r:1"], client).info(dir, Some(&known)).expect("a URL");
        assert_eq!(joined, info("http://d:1", "http://p:1"));
    }

    #[test]
    fn the_command_that_starts_a_node_has_the_flags_that_it_needs() {
        for (flags, command) in [
            ([None, None, None], "kvd --name node1 --data-dir /data"),
            ([Some("127.0.0.2:1"), None, None], "kvd --name node1 --listen 127.0.0.2:1 --data-dir /data"),
            (
                [Some("0.0.0.0:1"), Some("http://d:1"), Some("http://e:1")],
                "kvd --name node1 --listen 0.0.0.0:1 --advertise-client-url http://d:1 --advertise-peer-url http://e:1 \
                 --data-dir /data",
            ),
            (
                [Some("0.0.0.0:1"), None, None],
                "kvd --name node1 --listen 0.0.0.0:1 --advertise-client-url http://c:1 --advertise-peer-url http://p:1 \
                 --data-dir /data",
            ),
        ] {
            assert_eq!(start(flags).command(Path::new("/data"), &info("http://c:1", "http://p:1")), command);
        }
    }

    #[test]
    fn what_the_node_was_is_said() {
        let id = NodeId(1);
        let known = info("http://c:1", "http://p:1");
        let voters = |ids: &[u64]| Configuration::of_voters(ids.iter().map(|id| (NodeId(*id), known.clone())));
        let learner = Configuration { learners: [(id, Goal::Voter)].into(), ..voters(&[2]) };
        let learner = Configuration { members: voters(&[1, 2]).members, ..learner };
        for (members, says) in [
            (voters(&[1, 2]), "it was a voter"),
            (Configuration { outgoing: voters(&[1, 2]).voters, ..voters(&[2]) }, "it was a voter"),
            (learner, "a learner"),
            (Configuration { removed: vec![id], ..voters(&[2]) }, "REMOVED"),
            (voters(&[2]), "had not received"),
        ] {
            assert!(part(&members, id).contains(says), "{members:?}: {}", part(&members, id));
        }
    }
}
