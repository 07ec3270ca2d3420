//! Settings of an application: listed, changed, and changed back, with their history.
//!
//!     cargo run -p kvclient --example configuration -- http://127.0.0.1:8081
//!
//! The store keeps the changes of the recent past by itself (`kvd --history-age`, `--history-bytes`). At the end the
//! example makes the cluster forget that past, to show the error that a reader of it gets. Run it against a cluster
//! whose history nobody needs.

use anyhow::{Context as _, Result, bail, ensure};
use kvclient::api::HistoryChange;
use kvclient::{Client, Condition, Error, Item, Range, Txn};
use std::env;

fn main() -> Result<()> {
    let mut endpoints: Vec<String> = env::args().skip(1).collect();
    if endpoints.is_empty() {
        endpoints = (8081..=8083).map(|port| format!("http://127.0.0.1:{port}")).collect();
    }
    run(&Client::connect(&endpoints)?)
}

pub(crate) fn run(client: &Client) -> Result<()> {
    let settings = format!("examples/configuration/{}/", std::process::id());
    let level = format!("{settings}log-level");

    // Sets all settings at once, so that nobody sees some without the others.
    let mut txn = Txn::new();
    let _ = txn.then().set(&*level, "info");
    let _ = txn.then().set(format!("{settings}workers"), "4");
    let began = client.commit(txn)?.revision();
    println!("set at revision {began}:");
    for item in client.list(Range::prefix(&*settings)).items() {
        let item = item?;
        println!("  {} = {}", item.key, text(&item)?);
    }

    // A change that turns out to be a mistake.
    client.set(&level, "trace")?;
    println!("history of {level}, newest first:");
    for change in client.history(&level)?.changes {
        match change {
            HistoryChange::Put { item } => println!("  revision {}: {}", item.mod_revision, text(&item)?),
            HistoryChange::Delete { revision } => println!("  revision {revision}: deleted"),
        }
    }
    undo(client, &level)?;
    let item = client.get(&level)?.context("the setting is gone")?;
    println!("undone, it is {} again, at revision {}", text(&item)?, item.mod_revision);
    ensure!(item.value == b"info", "the change was not undone");

    // A forgotten revision can no longer be read. The error says so, and names the oldest revision that is kept.
    client.compact(item.mod_revision)?;
    match client.get_at(&level, began) {
        Err(error @ Error::Compacted { .. }) => println!("after compaction: {error}"),
        other => bail!("the past was not forgotten: {other:?}"),
    }
    client.delete_range(Range::prefix(settings))?;
    Ok(())
}

/// Undoes the last change of a setting, unless somebody changes it meanwhile: then [`Error::ConditionFailed`] says so.
fn undo(client: &Client, key: &str) -> Result<()> {
    let now = client.get(key)?.context("there is no such setting")?;
    let unchanged = Condition::ModRevision(now.mod_revision);
    match client.get_at(key, now.mod_revision - 1)? {
        Some(before) => client.set_if(key, before.value, unchanged).map(drop)?,
        None => client.delete_if(key, unchanged).map(drop)?,
    }
    Ok(())
}

fn text(item: &Item) -> Result<&str> {
    item.value_str().context("a setting is not text")
}
