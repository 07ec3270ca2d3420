//! The command that a user of another store is looking for.

/// Returns which command does what `word` does in etcdctl, `consul kv`, `redis-cli` or a shell.
pub(crate) fn instead_of(word: &str) -> Option<&'static str> {
    Some(match word.to_ascii_lowercase().as_str() {
        "put" | "write" | "store" | "add" => "to write a key: `kvctl set KEY VALUE`",
        "read" | "cat" | "show" => "to read a key: `kvctl get KEY`",
        "del" | "rm" | "remove" | "unset" => "to delete a key: `kvctl delete KEY`",
        "keys" | "scan" | "range" | "dir" | "tree" => "to list keys: `kvctl list PREFIX`",
        "subscribe" | "psubscribe" => "to follow the changes of keys: `kvctl watch KEY`, or `--prefix P`",
        "health" | "info" | "endpoint" | "stats" | "ping" => "to see the state of the cluster: `kvctl status`",
        "nodes" | "peers" | "servers" => "to list the nodes: `kvctl member list`",
        "move-leader" | "transfer" | "leader-transfer" => "to transfer leadership: `kvctl transfer-leader`",
        "backup" | "save" | "dump" => "to save a backup: `kvctl snapshot save FILE`",
        "restore" => "to restore a backup: `kvd restore FILE`",
        "recover" => "to recover the data of a remaining node: `kvd recover`",
        "benchmark" | "perf" | "check" => "to measure the cluster: `kvctl bench`",
        "version" => "to see the version: `kvctl --version`",
        "transaction" | "multi" => "to change several keys as one: `kvctl txn FILE`",
        "ttl" | "expire" | "session" => {
            "to let a key end by itself: `kvctl set KEY VALUE --ttl TIME`, or `kvctl lease grant`"
        }
        "log" | "changes" | "revisions" => "to see the changes of a key: `kvctl history KEY`",
        "mutex" | "flock" | "semaphore" => "to run a command under a lock: `kvctl lock NAME -- CMD`",
        "election" | "leader-election" | "campaign" => "to choose one of several: `kvctl elect NAME VALUE`",
        "user" | "role" | "auth" => "kvd has no users yet: let a firewall protect its port",
        "compaction" => "to forget the past: `kvctl compact REVISION`",
        "defrag" => "there is nothing to do: kvd has no file that grows holes",
        "alarm" => "to see what is wrong with a node: `kvctl status`",
        "dev" | "start" | "server" | "run" => "to start a node or a test cluster: `kvd`, `kvd dev`",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory as _;

    #[test]
    fn no_hint_is_for_a_command_that_there_is_and_each_names_one() {
        let mut cli = Cli::command();
        cli.build();
        for command in cli.get_subcommands().map(clap::Command::get_name) {
            assert_eq!(instead_of(command), None, "{command}");
        }
        for word in [
            "put",
            "del",
            "rm",
            "keys",
            "SCAN",
            "restore",
            "move-leader",
            "transaction",
            "ttl",
            "log",
            "campaign",
            "user",
            "compaction",
            "alarm",
        ] {
            let hint = instead_of(word).expect(word);
            let named = hint.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.strip_prefix("kvctl "));
            for command in named {
                let name = command.split(' ').next().expect("a word");
                assert!(name == "--version" || cli.find_subcommand(name).is_some(), "{word}: {hint}");
            }
        }
    }
}
