//! Several threads move money between accounts. Each transfer is one transaction, so no money appears or vanishes.
//!
//!     cargo run -p kvclient --example move_money -- http://127.0.0.1:8081
//!
//! A transfer reads two balances, and writes both on condition that neither has changed. If somebody else was faster,
//! it begins again. Kill the leader while it runs: each transfer leaves a receipt in the same transaction, so one whose
//! outcome is unknown can be tried again, and is never made twice.

use anyhow::{Context as _, Result, ensure};
use kvclient::{Applied, Client, Item, Range, Txn, TxnOutcome};
use std::env;
use std::thread;

const ACCOUNTS: [&str; 3] = ["alice", "bob", "carol"];
const BALANCE_AT_FIRST: u64 = 1000;
const TRANSFERS_PER_THREAD: usize = 100;

fn main() -> Result<()> {
    let mut endpoints: Vec<String> = env::args().skip(1).collect();
    if endpoints.is_empty() {
        endpoints = (8081..=8083).map(|port| format!("http://127.0.0.1:{port}")).collect();
    }
    run(&Client::connect(&endpoints)?)
}

pub(crate) fn run(client: &Client) -> Result<()> {
    let bank = format!("examples/move_money/{}/", std::process::id());
    for name in ACCOUNTS {
        client.set(account(&bank, name), BALANCE_AT_FIRST.to_string())?;
    }
    println!("each of {ACCOUNTS:?} has {BALANCE_AT_FIRST}");

    // Everybody pays the next one, all at once.
    let threads: Vec<_> = (0..ACCOUNTS.len())
        .map(|payer| {
            let (client, bank) = (client.clone(), bank.clone());
            let (from, to) = (ACCOUNTS[payer], ACCOUNTS[(payer + 1) % ACCOUNTS.len()]);
            thread::spawn(move || {
                (0..TRANSFERS_PER_THREAD)
                    .map(|number| transfer(&client, &bank, &format!("{from}-{number}"), (from, to), 1))
                    .sum::<Result<u64>>()
            })
        })
        .collect();
    // Meanwhile the sum is always the same.
    while threads.iter().any(|thread| !thread.is_finished()) {
        audit(client, &bank)?;
    }
    let mut attempts = 0;
    for thread in threads {
        attempts += thread.join().expect("a paying thread panicked")?;
    }

    let transfers = client.list(Range::prefix(format!("{bank}receipts/"))).count()?;
    println!("{transfers} transfers took {attempts} attempts; the accounts have {} together", audit(client, &bank)?);
    ensure!(transfers as usize == ACCOUNTS.len() * TRANSFERS_PER_THREAD, "some transfers were not made");
    client.delete_range(Range::prefix(bank))?;
    Ok(())
}

/// Makes a transfer, once, under an id that no other transfer has. Returns the number of attempts.
fn transfer(client: &Client, bank: &str, id: &str, (from, to): (&str, &str), amount: u64) -> Result<u64> {
    let receipt = format!("{bank}receipts/{id}");
    for attempt in 1.. {
        let payer = client.get(account(bank, from))?.context("there is no such payer")?;
        let payee = client.get(account(bank, to))?.context("there is no such payee")?;
        let left = balance(&payer)?.checked_sub(amount).with_context(|| format!("{from} has less than {amount}"))?;

        let mut txn = Txn::new();
        txn.when_unchanged(&payer).when_unchanged(&payee).when_absent(&*receipt);
        let _ = txn.then().set(payer.key.clone(), left.to_string());
        let _ = txn.then().set(payee.key.clone(), (balance(&payee)? + amount).to_string());
        let _ = txn.then().set(&*receipt, format!("{from} paid {amount} to {to}"));
        let made_before = txn.otherwise().get(&*receipt);
        match client.commit(txn) {
            Ok(TxnOutcome::Then(_)) => return Ok(attempt),
            // Nothing was written: an earlier attempt, whose outcome was unknown, was made, or somebody else was
            // faster.
            Ok(TxnOutcome::Else(mut results)) => {
                if results.take(made_before).is_some() {
                    return Ok(attempt);
                }
            }
            Err(error) if error.applied() == Applied::Unknown => eprintln!("transfer {id}: {error}"),
            Err(error) => return Err(error.into()),
        }
    }
    unreachable!("attempts have no end")
}

/// Sums up all accounts, as they are at one revision.
fn audit(client: &Client, bank: &str) -> Result<u64> {
    let accounts = client.list(Range::prefix(account(bank, ""))).items();
    let sum = accounts.map(|item| balance(&item?)).sum::<Result<u64>>()?;
    ensure!(sum == BALANCE_AT_FIRST * ACCOUNTS.len() as u64, "the accounts have {sum} together");
    Ok(sum)
}

fn account(bank: &str, name: &str) -> String {
    format!("{bank}accounts/{name}")
}

fn balance(item: &Item) -> Result<u64> {
    Ok(item.value_str().context("a balance is not text")?.parse()?)
}
