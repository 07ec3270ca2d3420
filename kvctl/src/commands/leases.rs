//! `kvctl lease ...`: leases, which delete their keys when they end.

use super::keys::INTERRUPTED_WRITE;
use super::list::shown;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{self, Table, Tone};
use crate::{units, values};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use kvclient::Error;
use kvclient::api::{GrantRequest, LeaseId, LeaseReply};
use serde::Serialize;
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait between two looks at whether an interrupt has arrived.
const TICK: Duration = Duration::from_millis(100);

/// Longest wait before a keepalive that failed is tried again.
const RETRIED_AFTER_MAX: Duration = Duration::from_secs(1);

/// Grant, keep alive, revoke, list and show leases
///
/// A lease ends when its time is over without a keepalive, or when it is revoked, and the keys that are attached to it
/// are deleted with it. For one key alone, `kvctl set --ttl` is enough.
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl lease grant 30s                                  prints the id
  kvctl set services/web/1 10.0.0.1:80 --lease ID        attach a key
  kvctl lease keep-alive ID                              until interrupted
  kvctl lease show ID --keys
  kvctl lease revoke ID                                  its keys are deleted")]
pub(crate) struct LeaseCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Grant(Grant),
    KeepAlive(KeepAlive),
    Revoke(Revoke),
    List(Leases),
    Show(Show),
}

impl LeaseCommand {
    pub(crate) fn run(self, context: Context) -> anyhow::Result<()> {
        match self.action {
            Action::Grant(command) => command.run(context),
            Action::KeepAlive(command) => command.run(context),
            Action::Revoke(command) => command.run(context),
            Action::List(command) => command.run(context),
            Action::Show(command) => command.run(context),
        }
    }
}

/// Grant a lease, and print its id
#[derive(Args)]
#[command(after_help = "\
Examples:
  kvctl lease grant 30s
  lease=$(kvctl lease grant 30s) && kvctl set host \"$HOSTNAME\" --lease \"$lease\"")]
struct Grant {
    /// Time after which it ends without a keepalive: `30s`, `500ms`, or plain seconds
    #[arg(value_name = "TIME", value_parser = values::ttl)]
    ttl: Duration,
    /// Choose the id, 16 hexadecimal digits, instead of leaving it to the store
    #[arg(long, value_name = "ID")]
    id: Option<LeaseId>,
}

impl Grant {
    fn run(self, mut context: Context) -> anyhow::Result<()> {
        context.interrupt.remark("interrupted; the lease may have been granted: check with `kvctl lease list`");
        let request = GrantRequest { lease: self.id, ..GrantRequest::new(units::ms(self.ttl)) };
        let granted = context.client.grant_lease_with(request)?;
        if context.output.is_json() {
            return context.output.json(&granted);
        }
        context.output.line(&granted.lease.to_string())
    }
}

/// Keep a lease alive until interrupted, or once
///
/// Prints a line for each keepalive. After an interrupt the lease lives on for its time: revoke it to end it at once.
/// If the lease has ended, the exit code is 3.
#[derive(Args)]
struct KeepAlive {
    /// The lease
    #[arg(value_name = "ID")]
    lease: LeaseId,
    /// Start the time of the lease anew once, and exit
    #[arg(long)]
    once: bool,
}

impl KeepAlive {
    fn run(self, mut context: Context) -> anyhow::Result<()> {
        output::end_when_the_reader_is_gone().context("cannot start a thread")?;
        let mut ttl = renew(&context, self.lease)?;
        tell(&mut context, self.lease, ttl)?;
        if self.once {
            return Ok(());
        }
        context.interrupt.notice();
        let (mut renewed, mut wait) = (Instant::now(), ttl / 3);
        while pause(&context, wait) {
            match renew(&context, self.lease) {
                Ok(again) => {
                    (ttl, renewed, wait) = (again, Instant::now(), again / 3);
                    tell(&mut context, self.lease, ttl)?;
                }
                Err(error) if is_worth_another(&error) && renewed.elapsed() < ttl => {
                    output::warn(&format!("{error:#}; trying again"));
                    wait = (ttl / 20).min(RETRIED_AFTER_MAX);
                }
                Err(error) => return Err(error),
            }
        }
        let left = units::short(ttl.saturating_sub(renewed.elapsed()));
        Err(Failure::Interrupted(format!("interrupted; the lease ends in {left} (`kvctl lease revoke` ends it now)"))
            .into())
    }
}

/// Waits for this time. Returns `false` if an interrupt has arrived meanwhile.
fn pause(context: &Context, time: Duration) -> bool {
    let began = Instant::now();
    while !context.interrupt.noticed() {
        let left = time.saturating_sub(began.elapsed());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(TICK));
    }
    false
}

fn renew(context: &Context, lease: LeaseId) -> anyhow::Result<Duration> {
    context.client.renew_lease(lease).map_err(|error| or_missing(error, lease))
}

fn is_worth_another(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_none()
}

fn tell(context: &mut Context, lease: LeaseId, ttl: Duration) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Line {
        lease: LeaseId,
        ttl_ms: u64,
    }
    if context.output.is_json() {
        return context.output.json(&Line { lease, ttl_ms: units::ms(ttl) });
    }
    context.output.line(&format!("ok  {lease} lives for {}", units::short(ttl)))
}

/// Revoke a lease: it ends, and its keys are deleted
#[derive(Args)]
struct Revoke {
    /// The lease
    #[arg(value_name = "ID")]
    lease: LeaseId,
}

impl Revoke {
    fn run(self, mut context: Context) -> anyhow::Result<()> {
        context.interrupt.remark(INTERRUPTED_WRITE);
        let revoked = context.client.revoke_lease(self.lease).map_err(|error| or_missing(error, self.lease))?;
        if context.output.is_json() {
            return context.output.json(&revoked);
        }
        context.output.line(&format!("ok  revision {} ({} deleted)", revoked.revision, units::keys(revoked.deleted)))
    }
}

/// List all leases
///
/// The list leaves out the leases of single keys (`kvctl set --ttl`).
#[derive(Args)]
struct Leases {}

impl Leases {
    fn run(self, mut context: Context) -> anyhow::Result<()> {
        let mut leases = context.client.leases();
        if context.output.is_json() {
            return leases.try_for_each(|lease| context.output.json(&lease?));
        }
        let leases = leases.collect::<Result<Vec<_>, _>>()?;
        if leases.is_empty() && context.output.is_terminal() {
            output::say("there are no leases");
            return Ok(());
        }
        context.output.table(&table(&leases))
    }
}

fn table(leases: &[LeaseReply]) -> Table {
    let mut table = Table::new(&["LEASE", "#TIME", "#LEFT", "#KEYS"]);
    for lease in leases {
        let time = |ms| units::short(Duration::from_millis(ms));
        // A holder renews after a third of the time. If less than a third is left, it has probably stopped.
        let tone = (lease.remaining_ms < lease.ttl_ms / 3).then_some(Tone::Doubtful);
        let row = [lease.lease.to_string(), time(lease.ttl_ms), time(lease.remaining_ms), lease.keys.to_string()];
        table.push(row, tone);
    }
    table
}

/// Show one lease
#[derive(Args)]
struct Show {
    /// The lease
    #[arg(value_name = "ID")]
    lease: LeaseId,
    /// Show the keys that are attached to it as well
    #[arg(short, long)]
    keys: bool,
}

impl Show {
    fn run(self, mut context: Context) -> anyhow::Result<()> {
        let lease = match self.keys {
            true => context.client.lease_with_keys(self.lease)?,
            false => context.client.lease(self.lease)?,
        };
        let lease = lease.ok_or_else(|| missing(self.lease))?;
        if context.output.is_json() {
            return context.output.json(&lease);
        }
        context.output.table(&table(std::slice::from_ref(&lease)))?;
        for key in lease.items.iter().flatten() {
            context.output.line(&format!("  {}", shown(key)))?;
        }
        Ok(())
    }
}

/// Returns the failure for an error of the client: for a lease that does not exist, one that names the lease.
fn or_missing(error: Error, lease: LeaseId) -> anyhow::Error {
    match error {
        Error::LeaseNotFound { .. } => missing(lease).into(),
        error => error.into(),
    }
}

fn missing(lease: LeaseId) -> Failure {
    Failure::LeaseNotFound(format!("there is no lease {lease}, or it has ended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_how_much_time_is_left() {
        let lease = LeaseReply {
            lease: LeaseId::new(1234).expect("not zero"),
            ttl_ms: 30_000,
            remaining_ms: 11_800,
            keys: 3,
            items: None,
        };
        let lines = "\
LEASE               TIME    LEFT  KEYS
00000000000004d2  30.0 s  11.8 s     3";
        assert_eq!(table(&[lease]).to_string(), lines);
    }
}
