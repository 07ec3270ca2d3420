//! Variables of the environment that stand for flags.

use clap::{Arg, Command, Id};
use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};

/// Least similarity at which a name is suggested instead of another. From 0 for names that share nothing to 1 for equal
/// ones.
const LIKENESS_MIN: f64 = 0.5;

/// Returns the command line with empty variables treated as unset.
pub fn without_empty_variables(command: Command) -> Command {
    without(command, &|name| env::var_os(name).is_some_and(|value| value.is_empty()))
}

/// Leaves out the variables for which `is_empty` returns true, here and in all subcommands.
fn without(mut command: Command, is_empty: &dyn Fn(&OsStr) -> bool) -> Command {
    let reads_one = |argument: &&Arg| argument.get_env().is_some_and(is_empty);
    let unset: Vec<Id> = command.get_arguments().filter(reads_one).map(|argument| argument.get_id().clone()).collect();
    for id in unset {
        command = command.mut_arg(id, |argument| argument.env(None));
    }
    command.mut_subcommands(|subcommand| without(subcommand, is_empty))
}

/// Returns a sentence for each variable that begins with `prefix`, is not empty, and is read by no flag of this command
/// line.
pub fn unknown_variables(command: &Command, prefix: &str) -> Vec<String> {
    unknown(command, prefix, env::vars_os())
}

fn unknown(command: &Command, prefix: &str, set: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<String> {
    let mut known = BTreeSet::new();
    collect_known(command, &mut known);
    let program = command.get_name();
    let mut sentences = Vec::new();
    for (name, value) in set {
        let Some(name) = name.to_str().filter(|name| name.starts_with(prefix)) else { continue };
        if known.contains(name) || value.is_empty() || is_of_a_service(name, &value) {
            continue;
        }
        let alike = known.iter().map(|known| (strsim::normalized_levenshtein(known, name), known));
        let nearest = alike.filter(|(likeness, _)| *likeness >= LIKENESS_MIN).max_by(|a, b| a.0.total_cmp(&b.0));
        let hint = match nearest {
            Some((_, nearest)) => format!("did you mean {nearest}?"),
            None => format!("`{program} --help` lists the variables"),
        };
        sentences.push(format!("{name} is set but has no effect: {program} has no such variable; {hint}"));
    }
    sentences.sort();
    sentences
}

/// Collects the names of all variables that flags read.
fn collect_known(command: &Command, known: &mut BTreeSet<String>) {
    known.extend(command.get_arguments().filter_map(Arg::get_env).filter_map(OsStr::to_str).map(str::to_owned));
    command.get_subcommands().for_each(|subcommand| collect_known(subcommand, known));
}

/// Returns whether a variable looks like those that Kubernetes sets for every service of a namespace. For a service
/// called `kvd` they resemble ours.
fn is_of_a_service(name: &str, value: &OsStr) -> bool {
    let is_address = value.to_str().is_some_and(|value| value.contains("://"));
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.contains("_TCP")
        || name.contains("_UDP")
        || (name.ends_with("_PORT") && is_address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ArgMatches;

    fn command() -> Command {
        let arg = |name: &'static str, variable: &'static str| Arg::new(name).long(name).env(variable).num_args(1);
        Command::new("kvd").arg(arg("peers", "KVD_PEERS")).subcommand(
            Command::new("restore").arg(arg("name", "KVD_NAME").required(true)).arg(arg("dir", "KVD_DATA_DIR")),
        )
    }

    fn said(set: &[(&str, &str)]) -> Vec<String> {
        unknown(&command(), "KVD_", set.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn a_variable_that_is_set_to_nothing_counts_as_not_set_in_subcommands_too() {
        let reads = |command: &Command, id: &str| {
            let argument = command.get_arguments().find(|argument| argument.get_id() == id);
            argument.is_some_and(|argument| argument.get_env().is_some())
        };
        let command = without(command(), &|name| name == "KVD_PEERS" || name == "KVD_NAME");
        let restore = command.find_subcommand("restore").expect("a subcommand");
        assert!(!reads(&command, "peers") && !reads(restore, "name") && reads(restore, "dir"));
        let given = |words: &[&str]| command.clone().try_get_matches_from(words);
        let is_given = |matches: &ArgMatches, id: &str| matches.get_one::<String>(id).is_some();
        assert!(!is_given(&given(&["kvd"]).expect("nothing is required"), "peers"));
        assert!(given(&["kvd", "restore"]).is_err(), "the name is still required");
        let named = given(&["kvd", "restore", "--name", "node1"]).expect("a name");
        assert!(is_given(named.subcommand_matches("restore").expect("given"), "name"), "the flag is as it was");
    }

    #[test]
    fn a_variable_that_no_flag_reads_is_named_with_the_nearest_one() {
        assert_eq!(
            said(&[("KVD_PEER", "a"), ("KVD_DATADIR", "b"), ("KVD_NAME", "c"), ("KVCTL_PEER", "d"), ("KVD_X", "")]),
            [
                "KVD_DATADIR is set but has no effect: kvd has no such variable; did you mean KVD_DATA_DIR?",
                "KVD_PEER is set but has no effect: kvd has no such variable; did you mean KVD_PEERS?",
            ]
        );
        assert_eq!(
            said(&[("KVD_ZZZZZZZZZZZ", "1")]),
            ["KVD_ZZZZZZZZZZZ is set but has no effect: kvd has no such variable; `kvd --help` lists the variables"]
        );
    }

    #[test]
    fn what_kubernetes_says_of_a_service_is_no_mistake() {
        let of_services = [
            ("KVD_SERVICE_HOST", "10.0.0.1"),
            ("KVD_SERVICE_PORT_HTTP", "8081"),
            ("KVD_PORT", "tcp://10.0.0.1:8081"),
            ("KVD_PORT_8081_TCP_ADDR", "10.0.0.1"),
            ("KVD_PEERS_SERVICE_HOST", "10.0.0.2"),
        ];
        assert_eq!(said(&of_services), [""; 0]);
        assert_eq!(said(&[("KVD_PORT", "8081")]).len(), 1);
    }
}
