//! Several threads count together: each reads a number and writes the next, on condition that nobody else has written
//! in between.
//!
//!     cargo run -p kvclient --example counter -- http://127.0.0.1:8081
//!
//! Kill the leader while it runs. The count stays right, because a resent write is applied once. If the outcome of a
//! write stays unknown, the counter says so and reads the key again.

use anyhow::{Context as _, Result, ensure};
use kvclient::{Applied, Client, Condition, Error, Item};
use std::collections::BTreeSet;
use std::env;
use std::thread;

const THREADS: u64 = 4;
const INCREMENTS_PER_THREAD: u64 = 250;

fn main() -> Result<()> {
    let mut endpoints: Vec<String> = env::args().skip(1).collect();
    if endpoints.is_empty() {
        endpoints = (8081..=8083).map(|port| format!("http://127.0.0.1:{port}")).collect();
    }
    run(&Client::connect(&endpoints)?)
}

pub(crate) fn run(client: &Client) -> Result<()> {
    let key = format!("examples/counter/{}", std::process::id());

    let threads: Vec<_> = (0..THREADS)
        .map(|number| {
            let (client, key) = (client.clone(), key.clone());
            thread::spawn(move || {
                (0..INCREMENTS_PER_THREAD)
                    .map(|step| increment(&client, &key, &format!("{number}.{step}")))
                    .collect::<Result<Vec<u64>>>()
            })
        })
        .collect();
    let mut reached = BTreeSet::new();
    for thread in threads {
        reached.extend(thread.join().expect("a counting thread panicked")?);
    }

    let item = client.get(&key)?.context("the counter is gone")?;
    let (count, _) = parse(&item)?;
    println!("{THREADS} threads counted to {count} in {} writes", item.version);
    ensure!(count == THREADS * INCREMENTS_PER_THREAD, "some increments are missing, or were applied twice");
    ensure!(reached.len() as u64 == count, "two threads were told the same number");
    client.delete(&key)?;
    Ok(())
}

/// Adds one and returns the new count.
///
/// `mark` identifies this increment and is stored beside the count. After an unknown outcome the item shows whether the
/// write took effect, provided that nobody has counted since.
fn increment(client: &Client, key: &str, mark: &str) -> Result<u64> {
    let mut current = client.get(key)?;
    let mut in_doubt_at = None;
    loop {
        let (count, by) = current.as_ref().map(parse).transpose()?.unwrap_or((0, ""));
        if by == mark {
            return Ok(count);
        }
        ensure!(in_doubt_at.is_none_or(|at| at == count), "cannot tell whether increment {mark} was applied");
        let condition = current.as_ref().map_or(Condition::Absent, |item| Condition::ModRevision(item.mod_revision));
        match client.set_if(key, format!("{} {mark}", count + 1), condition) {
            Ok(_) => return Ok(count + 1),
            Err(Error::ConditionFailed { current: found }) => current = found,
            Err(error) if error.applied() == Applied::Unknown => {
                eprintln!("increment {mark}: {error}");
                in_doubt_at = Some(count);
                current = client.get(key)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the count, and the mark of the increment that wrote it.
fn parse(item: &Item) -> Result<(u64, &str)> {
    let text = item.value_str().context("the counter is not text")?;
    let (count, mark) = text.split_once(' ').context("the counter has no mark")?;
    Ok((count.parse()?, mark))
}
