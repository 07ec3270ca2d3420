//! `kvctl completions`: prints a script with which a shell completes commands and flags.

use crate::output::Output;
use clap::Args;
use clap_complete::Shell;

/// Print a script that lets a shell complete kvctl's commands and flags
#[derive(Args)]
#[command(after_help = "\
Examples:
  bash  kvctl completions bash > ~/.local/share/bash-completion/completions/kvctl
  zsh   kvctl completions zsh > \"${fpath[1]}/_kvctl\"
  fish  kvctl completions fish > ~/.config/fish/completions/kvctl.fish")]
pub(crate) struct Completions {
    /// The shell to write for
    shell: Shell,
}

impl Completions {
    /// `command` is the command line to complete.
    pub(crate) fn run(self, command: &mut clap::Command, mut output: Output) -> anyhow::Result<()> {
        // Written to memory first: clap_complete panics when a pipe is closed.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "kvctl", &mut script);
        output.raw(&script)
    }
}
