//! `kvctl lock` and `kvctl elect`: work that only one process may do at a time.

mod job;

use super::list::short;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Table, Tone};
use crate::{units, values};
use anyhow::Context as _;
use clap::Args;
use job::Job;
use kvclient::api::{HolderEvent, LockPlace, LockState};
use kvclient::{Lock as Held, LockBuilder};
use serde::Serialize;
use std::ffi::OsString;
use std::time::Duration;

/// Longest wait between two looks at whether an interrupt has arrived.
const TICK: Duration = Duration::from_millis(200);

/// Message for when a signal ends the wait for a lock.
const INTERRUPTED_WAIT: &str = "interrupted; the place in the queue is given up, at the latest with its lease";

/// Flags of the commands that take a lock.
#[derive(Args)]
struct Claim {
    /// Wait at most this long instead of without end; `0s` does not wait. Exit code 4 if another client still holds it
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    wait: Option<Duration>,
    /// Time after which it is free for others if this process dies or is cut off
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::ttl)]
    ttl: Duration,
}

impl Claim {
    fn acquire(self, context: &Context, lock: LockBuilder) -> anyhow::Result<Held> {
        context.interrupt.remark(INTERRUPTED_WAIT);
        let lock = lock.ttl(self.ttl);
        let lock = if let Some(wait) = self.wait { lock.wait(wait) } else { lock };
        Ok(lock.acquire()?)
    }
}

/// Run a command while holding a lock, so that only one holder in the whole cluster runs it at a time
///
/// Waits for the lock, first come, first served, and gives it up when the command ends; the exit code is that of the
/// command. If no node can be reached for most of --ttl, the lock is lost: the command gets SIGTERM, and after --grace
/// SIGKILL. Without a command, the lock is held until an interrupt.
///
/// A process that is paused learns too late that its lock is lost. So its late writes should be refused: pass
/// KVD_LOCK_NAME and KVD_LOCK_TOKEN on with each write, as the condition `held` of this store, or as a number that must
/// never go down.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl lock jobs/nightly -- ./nightly.sh            wait for the lock, however long
  kvctl lock jobs/nightly --wait 0s -- ./nightly.sh  exit code 4 if another holds it
  kvctl lock jobs/nightly -- sh -c 'echo \"$KVD_LOCK_NAME $KVD_LOCK_TOKEN\"'
  kvctl lock jobs/nightly --show                     who holds it, and who waits")]
pub(crate) struct Lock {
    /// Name of the lock. Its queue is the keys that begin with NAME/
    #[arg(value_parser = values::lock_name)]
    name: String,
    #[command(flatten)]
    claim: Claim,
    /// Time between SIGTERM and SIGKILL when the lock is lost
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::time)]
    grace: Duration,
    /// Show who holds the lock and who waits for it, and exit
    #[arg(long, conflicts_with_all = ["wait", "command"])]
    show: bool,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Lock {
    pub(crate) fn run(self, mut context: Context) -> anyhow::Result<()> {
        if self.show {
            return show(&mut context, &self.name);
        }
        let lock = self.claim.acquire(&context, context.client.lock(self.name))?;
        match Job::new(self.command, self.grace) {
            Some(job) => job.run(lock, &context.interrupt),
            None => hold(context, lock),
        }
    }
}

/// Shows the queue of a lock.
fn show(context: &mut Context, name: &str) -> anyhow::Result<()> {
    let state = context.client.lock_state(name)?;
    if context.output.is_json() {
        return context.output.json(&state);
    }
    if state.holder.is_none() && context.output.is_terminal() {
        output::say(&format!("nobody holds `{}`", output::safe_line(name)));
        return Ok(());
    }
    context.output.table(&queue(&state))?;
    if state.more {
        output::say(&format!("more wait for it than the {} that are shown", state.waiters.len()));
    }
    Ok(())
}

fn queue(state: &LockState) -> Table {
    let mut table = Table::new(&["STATE", "#TOKEN", "VALUE", "LEASE", "SINCE"]);
    let row = |place: &LockPlace, state: &str| {
        let since = place.held_ms.map(|ms| units::short(Duration::from_millis(ms))).unwrap_or_default();
        [state.to_owned(), place.token.to_string(), short(Some(&place.value)), place.lease.to_string(), since]
    };
    if let Some(holder) = &state.holder {
        table.push(row(holder, "holds"), Some(Tone::Good));
    }
    for waiter in &state.waiters {
        table.push(row(waiter, "waits"), None);
    }
    table
}

/// A lock that is held, for programs.
#[derive(Serialize)]
struct Line<'l> {
    name: &'l str,
    token: u64,
    lease: String,
}

/// Holds a lock until an interrupt.
fn hold(mut context: Context, lock: Held) -> anyhow::Result<()> {
    context.interrupt.notice();
    output::end_when_the_reader_is_gone().context("cannot start a thread")?;
    let (name, token) = (output::safe_line(lock.name()), lock.token());
    if context.output.is_json() {
        context.output.json(&Line { name: lock.name(), token, lease: lock.lease().to_string() })?;
    } else {
        context.output.line(&format!("ok  holds {name}, token {token}"))?;
    }
    let loss = lock.loss();
    while !context.interrupt.noticed() {
        if loss.wait_for(TICK) {
            return Err(job::lost(&name).into());
        }
    }
    lock.release()?;
    Err(Failure::Interrupted(format!("interrupted; `{name}` was given up")).into())
}

/// Stand for election, or follow who is elected
///
/// A candidate that is elected leads until it exits or its lease ends; then the next candidate in the queue leads. With
/// --listen, prints a line for each leader, the present one first.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl elect service/leader 10.0.0.1:80             stand, and lead until interrupted
  kvctl elect service/leader 10.0.0.1:80 -- ./serve  stand, and run a command while leading
  kvctl elect service/leader --listen
  kvctl elect service/leader --listen -o json | jq -r .holder.value")]
pub(crate) struct Elect {
    /// Name of the election
    #[arg(value_parser = values::lock_name)]
    name: String,
    /// Value that describes the leader, such as its address
    #[arg(required_unless_present = "listen", conflicts_with = "listen", allow_negative_numbers = true)]
    value: Option<OsString>,
    #[command(flatten)]
    claim: Claim,
    /// Time between SIGTERM and SIGKILL when the leadership is lost
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::time)]
    grace: Duration,
    /// Do not stand for election: print who leads
    #[arg(long, conflicts_with_all = ["wait", "command"])]
    listen: bool,
    /// A command to run while leading
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Elect {
    pub(crate) fn run(self, mut context: Context) -> anyhow::Result<()> {
        if self.listen {
            return listen(&mut context, &self.name);
        }
        let value = self.value.unwrap_or_default().into_encoded_bytes();
        let lock = self.claim.acquire(&context, context.client.lock(self.name).value(value))?;
        match Job::new(self.command, self.grace) {
            Some(job) => job.run(lock, &context.interrupt),
            None => hold(context, lock),
        }
    }
}

fn listen(context: &mut Context, name: &str) -> anyhow::Result<()> {
    output::end_when_the_reader_is_gone().context("cannot start a thread")?;
    for told in context.client.watch_lock(name) {
        let told = told?;
        if context.output.is_json() {
            context.output.json(&told)?;
        } else {
            let tone = if told.holder.is_some() { Tone::Good } else { Tone::Bad };
            let line = context.output.toned(&text(&told), tone);
            context.output.line(&line)?;
        }
    }
    Ok(())
}

fn text(told: &HolderEvent) -> String {
    match &told.holder {
        Some(LockPlace { token, value, .. }) => format!("token {token}  {}", short(Some(value))),
        None => format!("nobody, at revision {}", told.revision),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kvclient::LeaseId;

    fn place(token: u64, held_ms: Option<u64>) -> LockPlace {
        let lease = LeaseId::new(token + 0x100).expect("not zero");
        LockPlace { lease, token, value: format!("10.0.0.{token}").into_bytes(), held_ms }
    }

    #[test]
    fn the_queue_has_the_holder_first() {
        let state = LockState {
            name: "jobs".into(),
            holder: Some(place(7, Some(2_400))),
            waiters: vec![place(9, None), place(12, None)],
            more: false,
            revision: 12,
        };
        let lines = "\
STATE  TOKEN  VALUE      LEASE             SINCE
holds      7  10.0.0.7   0000000000000107  2.4 s
waits      9  10.0.0.9   0000000000000109  -
waits     12  10.0.0.12  000000000000010c  -";
        assert_eq!(queue(&state).to_string(), lines);
    }

    #[test]
    fn a_line_says_who_leads_or_that_nobody_does() {
        let told = |holder| text(&HolderEvent { name: "jobs".into(), holder, revision: 12 });
        assert_eq!(told(Some(place(7, None))), "token 7  10.0.0.7");
        assert_eq!(told(None), "nobody, at revision 12");
    }
}
