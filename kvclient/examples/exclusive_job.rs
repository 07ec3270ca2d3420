//! A job that one process at a time does, under a lock, and whose late writes are refused.
//!
//!     cargo run -p kvclient --example exclusive_job -- http://127.0.0.1:8081
//!
//! A lock alone cannot keep two processes apart: one that is paused while it holds the lock goes on afterwards, though
//! another holds it by then. So whatever the job changes must itself refuse those who have lost the lock. Keys of this
//! store do so by a condition. Anything else compares fencing tokens.
//!
//! A long job also asks `Lock::lost` between its steps, to stop early. That saves work, and protects nothing.

use anyhow::{Result, bail, ensure};
use kvclient::{Client, Condition, Error, Lock, Txn};
use std::env;
use std::time::Duration;

/// Time for which the second process waits for its turn.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let mut endpoints: Vec<String> = env::args().skip(1).collect();
    if endpoints.is_empty() {
        endpoints = (8081..=8083).map(|port| format!("http://127.0.0.1:{port}")).collect();
    }
    run(&Client::connect(&endpoints)?)
}

pub(crate) fn run(client: &Client) -> Result<()> {
    let job = format!("examples/exclusive_job/{}", std::process::id());
    let report = format!("{job}/report");
    let mut printer = Printer::default();

    let first = client.lock(&*job).value("first").acquire()?;
    println!("the first process has the lock, under the token {}", first.token());
    write(client, &report, "from the first", &first)?;
    printer.print(first.token(), "from the first")?;

    // The first is paused for so long that its lease ends. Revoking the lease does the same, without the wait.
    client.revoke_lease(first.lease())?;
    let second = client.lock(&*job).value("second").wait(PATIENCE).acquire()?;
    println!("the first is paused, and the second has the lock, under the token {}", second.token());
    write(client, &report, "from the second", &second)?;
    printer.print(second.token(), "from the second")?;

    // The first goes on, and does not know yet that it has lost the lock.
    match write(client, &report, "late", &first) {
        Err(Error::ConditionFailed { .. }) => println!("the first writes late, and the store refuses it"),
        other => bail!("a late write was not refused: {other:?}"),
    }
    let mut both = Txn::new();
    both.when_held(first.held());
    let _ = both.then().set(&*report, "late");
    let _ = both.then().set(format!("{job}/done"), "yes");
    ensure!(!client.commit(both)?.succeeded(), "a late transaction was not refused");
    println!("so it does with a transaction of the first");
    match printer.print(first.token(), "late") {
        Err(refused) => println!("the printer refuses it, too: {refused}"),
        Ok(()) => bail!("a late page was printed"),
    }
    match first.release() {
        Err(Error::LockLost { .. }) => println!("the first learns that it had lost the lock"),
        other => bail!("a lost lock was given up: {other:?}"),
    }

    let item = client.get(&report)?;
    ensure!(item.is_some_and(|item| item.value == b"from the second"), "the report is not from the second");
    client.delete_if(&report, Condition::Held(second.held()))?;
    second.release()?;
    Ok(())
}

/// Writes on condition that the lock is still held. The store decides, in the order in which it applies all writes, so
/// no clock can be wrong about it.
fn write(client: &Client, key: &str, value: &str, lock: &Lock) -> Result<(), Error> {
    client.set_if(key, value, Condition::Held(lock.held())).map(drop)
}

/// A resource outside the store. It remembers the highest token that it has seen, and refuses a lower one.
#[derive(Default)]
struct Printer {
    highest_token: u64,
}

impl Printer {
    fn print(&mut self, token: u64, page: &str) -> Result<()> {
        ensure!(token >= self.highest_token, "the token {token} is older than {}", self.highest_token);
        self.highest_token = token;
        println!("the printer prints: {page}");
        Ok(())
    }
}
