//! What is done to a data directory while no daemon runs on it: `kvd restore` makes a new cluster of a backup, `kvd recover` of
//! what one node of a lost cluster has.

use crate::cli::{RecoverArgs, RestoreArgs};
use crate::config::{Config, Options};
use crate::data::{RecoverError, Refounded, RestoreBackupError, Survivor, restore as restore_backup, survivor};
use crate::raft::{MemberInfo, NodeId, Settings};
use crate::storage::{Disk, RealDisk, StorageError};
use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// Why it was not done.
#[derive(Debug, Error)]
pub(crate) enum OfflineError {
    /// A flag will not do.
    #[error("{0}")]
    Usage(String),
    /// The file cannot be opened.
    #[error("{}: {cause}", .file.display())]
    File {
        /// The backup.
        file: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The directory cannot be used.
    #[error("--data-dir {}: {cause}", .dir.display())]
    DataDir {
        /// The directory.
        dir: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The backup is not restored.
    #[error("--data-dir {}: {cause}", .dir.display())]
    Restore {
        /// The directory.
        dir: PathBuf,
        /// Why.
        cause: RestoreBackupError,
    },
    /// The backup will not do.
    #[error("{}: {cause}", .file.display())]
    Backup {
        /// The backup.
        file: PathBuf,
        /// Why.
        cause: RestoreBackupError,
    },
    /// The node is not recovered.
    #[error("--data-dir {}: {cause}", .dir.display())]
    Recover {
        /// The directory.
        dir: PathBuf,
        /// Why.
        cause: RecoverError,
    },
    /// The directory failed while it was written.
    #[error("--data-dir {}: {cause}. What was there is there yet, or the new cluster is: start kvd on it to see", .dir.display())]
    Storage {
        /// The directory.
        dir: PathBuf,
        /// What failed.
        cause: StorageError,
    },
    /// Nobody said yes.
    #[error("nothing was changed, since {0}")]
    NotConfirmed(&'static str),
}

type Done = Result<(), OfflineError>;

/// `kvd restore`.
pub(crate) fn restore(args: RestoreArgs) -> Done {
    let RestoreArgs { file, data_dir, name, listen, advertise_client_url, advertise_peer_url } = args;
    let (client_url, peer_url) = (advertise_client_url.clone(), advertise_peer_url.clone());
    let options = Options {
        advertise_client_url,
        advertise_peer_url,
        ..Options::new(&name, listen.clone(), Vec::new(), data_dir.clone())
    };
    let config = Config::check(options).map_err(|error| OfflineError::Usage(error.to_string()))?;
    let backup = File::open(&file).map_err(|cause| OfflineError::File { file: file.clone(), cause })?;
    let disk = disk(&data_dir)?;
    let info = MemberInfo { name: config.name, client_url: config.client_url, peer_url: config.peer_url };
    let url = info.client_url.clone();
    let restored = restore_backup(&disk, BufReader::new(backup), info, NodeId(rand::random()), rand::random());
    let restored = restored.map_err(|cause| match cause {
        RestoreBackupError::NotEmpty(_) | RestoreBackupError::Storage(_) => {
            OfflineError::Restore { dir: data_dir.clone(), cause }
        }
        cause => OfflineError::Backup { file: file.clone(), cause },
    })?;
    say(&format!("restored {} keys at revision {} from {}", restored.keys, restored.revision, file.display()));
    let advertised = [("--advertise-client-url", client_url), ("--advertise-peer-url", peer_url)];
    let advertised = advertised.iter().filter_map(|(flag, url)| Some(format!(" {flag} {}", url.as_ref()?)));
    let dir = data_dir.display();
    let start =
        format!("start it:\n  kvd --name {name} --listen {listen} --data-dir {dir}{}", advertised.collect::<String>());
    say_what_is_next(&restored, &name, &start, &url);
    Ok(())
}

/// `kvd recover`.
pub(crate) fn recover(args: RecoverArgs) -> Done {
    let RecoverArgs { data_dir, yes } = args;
    if !data_dir.is_dir() {
        return Err(OfflineError::Recover { dir: data_dir, cause: RecoverError::Nothing });
    }
    let disk = disk(&data_dir)?;
    let survivor = survivor(&disk, rand::random(), Settings::default().cache_bytes_max)
        .map_err(|cause| OfflineError::Recover { dir: data_dir.clone(), cause })?;
    survivor.warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
    say(&prospect(&survivor, &data_dir));
    if !yes {
        confirm()?;
    }
    let (name, old) = (survivor.identity.name.clone(), survivor.identity.node_id);
    let url = survivor.client_url().to_owned();
    let recovered = survivor.recover(NodeId(rand::random()), rand::random());
    let recovered = recovered.map_err(|cause| OfflineError::Storage { dir: data_dir.clone(), cause })?;
    say(&format!("recovered {} keys at revision {}", recovered.keys, recovered.revision));
    say(&format!("what was there is kept in files that begin with before-{old}-: remove them when all is well"));
    let start = "start it with the flags that it had, but without --peers and --join";
    say_what_is_next(&recovered, &name, start, &url);
    Ok(())
}

fn disk(dir: &Path) -> Result<Arc<dyn Disk>, OfflineError> {
    let disk = RealDisk::open(dir).map_err(|cause| OfflineError::DataDir { dir: dir.to_owned(), cause })?;
    Ok(Arc::new(disk))
}

/// What would be done, and what may be lost by it.
fn prospect(survivor: &Survivor, dir: &Path) -> String {
    let Survivor { identity, members, last, commit_index, .. } = survivor;
    let cluster = identity.cluster.as_ref().map(|cluster| format!("{:016x}", cluster.id)).unwrap_or_default();
    let (name, node_id) = (&identity.name, identity.node_id);
    let votes = match members.members.contains_key(&node_id) {
        true if members.is_voter(node_id) => "it voted",
        true => "it was a learner",
        false => "it had been removed",
    };
    let mut names: Vec<&str> = members.members.values().map(|info| info.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let beyond = last.index.0.saturating_sub(commit_index.0);
    let diverged = identity.diverged_at.map_or_else(String::new, |index| {
        format!(
            "THIS DATA HAS DIVERGED: after entry {index} it was found to differ from what other nodes held. Be sure that it is \
             the one to trust.\n\n"
        )
    });
    format!(
        "{} holds {name} (id {node_id}) of cluster {cluster}, whose members were {}; {votes}.\n\
         Its log ends with entry {} of term {}; it knows entries up to {commit_index} to be committed.\n\n\
         {diverged}This makes a NEW cluster of this node alone, with all that it has:\n\
         - Writes that the other nodes acknowledged and that had not reached this one ARE LOST.\n\
         - What follows entry {commit_index} in its log ({beyond} in number) counts as committed from now on, though it may never have \
         been acknowledged, and may contradict what the others hold.\n\
         - No other node of the old cluster can ever be part of the new one with its old data. Do not start them again where clients \
         could take them for it. They may join with empty directories.\n\
         Do this only if a majority of the old cluster is lost for ever. If it may come back, wait for it.\n",
        dir.display(),
        names.join(", "),
        last.index,
        last.term,
    )
}

fn confirm() -> Done {
    if !std::io::stdin().is_terminal() {
        return Err(OfflineError::NotConfirmed("there is no terminal to ask at: say --yes if you are sure"));
    }
    let mut out = std::io::stdout();
    let _ = write!(out, "Go on? [y/N] ");
    let _ = out.flush();
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(OfflineError::NotConfirmed("the answer was not yes")),
    }
}

fn say_what_is_next(made: &Refounded, name: &str, start: &str, url: &str) {
    let Refounded { cluster, node_id, .. } = made;
    say(&format!(
        "cluster {:016x} is new, and {name} (id {node_id}) is its only member\n\n\
         {start}\n\
         and then others, each on an empty directory of its own machine:\n  \
         kvd --name ANOTHER --listen ADDRESS:PORT --data-dir DIR --join {url}",
        cluster.id,
    ));
}

/// Prints for whoever looks on.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
