//! Cost of the state machine: memory per key and per session, commands and reads per second, snapshots, and the largest
//! commands.
//!
//! ```text
//! cargo bench -p kvd --bench store -- --keys 1000000 --value-bytes 100
//! ```
//!
//! One thread, no log, no network: only the store's share of a node's work. Memory is the growth of the process's
//! resident size (VmRSS), so it includes the overhead of the allocator and the tree. Each row is measured in a separate
//! process, so no memory of an earlier row remains.
//!
//! For snapshots the delay of other requests matters: the longest piece, and the rate at which commands are applied
//! between pieces. A restored store takes less memory than the original, since the nodes of its tree are full.
//!
//! For the largest commands the longest time counts, since nothing else is applied meanwhile. The history is full, as it
//! is in a store that has been in use for a while.

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use kvd::kv::{
    Command, DeleteRange, KeyRange, Level, Op, Operation, Outcome, Put, RequestId, Restoring, Store,
    TXN_OPERATIONS_MAX, Txn,
};
use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

const KEY_BYTES: usize = 16;

/// Clients that write under a request id; each repeats its client name as a pooled connection would.
const CLIENTS: usize = 64;

/// Bytes of a snapshot's piece.
const PIECE_BYTES: usize = 64 << 10;

/// Commands applied between two pieces, where commands continue.
const COMMANDS_PER_PIECE: u64 = 100;

/// Encoded commands prepared at a time, outside the measurement, so that they take little memory.
const BATCH: usize = 10_000;

/// Keys that one command deletes.
const DELETED: u64 = 100_000;

/// Times that each of the largest commands is applied.
const REPEATS: u64 = 10;

/// Measures the state machine of kvd: memory per key and per session, commands and reads a second, snapshots, and the
/// largest commands.
#[derive(Parser)]
struct Options {
    /// Keys in the store.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    keys: u64,
    /// Bytes of each value.
    #[arg(long, default_value_t = 100)]
    value_bytes: usize,
    /// Measure only this, in this process.
    #[arg(long, requires = "order")]
    subject: Option<Subject>,
    /// Measure only with keys that arrive in this order.
    #[arg(long, requires = "subject")]
    order: Option<Order>,
    /// Passed by `cargo bench`; means nothing.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Subject of a measurement.
#[derive(Clone, Copy, ValueEnum)]
enum Subject {
    Commands,
    Snapshots,
    LargeCommands,
}

/// The order in which keys arrive decides how full the nodes of the tree are, and how near each other
/// neighbouring keys lie.
#[derive(Clone, Copy, ValueEnum)]
enum Order {
    Ascending,
    Shuffled,
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ascending => "ascending",
            Self::Shuffled => "shuffled",
        })
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    match (options.subject, options.order) {
        (Some(Subject::Commands), Some(order)) => return measure_commands(&options, order),
        (Some(Subject::Snapshots), Some(order)) => return measure_snapshots(&options, order),
        (Some(Subject::LargeCommands), Some(order)) => return measure_large_commands(&options, order),
        _ => {}
    }
    println!("{} keys of {KEY_BYTES} bytes with values of {} bytes", options.keys, options.value_bytes);
    println!("keys arrive   memory    per key  new keys/s  overwrites/s      gets/s  per session");
    measure_each(&options, "commands")?;
    println!("\nkeys arrive  snapshot  longest piece  with commands  longest piece  commands/s  kept       restored");
    measure_each(&options, "snapshots")?;
    println!("\nlongest times of {REPEATS}");
    println!("keys arrive  {DELETED} keys deleted  {TXN_OPERATIONS_MAX} keys written  of that decoding");
    measure_each(&options, "large-commands")
}

fn measure_each(options: &Options, subject: &str) -> anyhow::Result<()> {
    for order in [Order::Ascending, Order::Shuffled] {
        let status = std::process::Command::new(std::env::current_exe()?)
            .args(["--keys", &options.keys.to_string()])
            .args(["--value-bytes", &options.value_bytes.to_string()])
            .args(["--subject", subject])
            .args(["--order", &order.to_string()])
            .status()?;
        ensure!(status.success(), "the measurement of {subject} with {order} keys ended with {status}");
    }
    Ok(())
}

fn measure_commands(options: &Options, order: Order) -> anyhow::Result<()> {
    let keys = options.keys;
    let mut store = Store::default();

    let before = resident_bytes()?;
    let filling = apply_all(&mut store, keys, |i| set(nth_key(order, i, keys), options.value_bytes, None));
    let filled = resident_bytes()?.saturating_sub(before);
    ensure!(store.len() as u64 == keys, "{} keys in the store, not {keys}", store.len());

    let overwriting = apply_all(&mut store, keys, |i| {
        let client = format!("client {}", i as usize % CLIENTS);
        set(nth_key(Order::Shuffled, i, keys), options.value_bytes, Some(RequestId { client, seq: i + 1 }))
    });
    ensure!(store.revision() == 1 + 2 * keys, "revision {} after {keys} overwrites", store.revision());

    let began = Instant::now();
    for i in 0..keys {
        black_box(store.get(nth_key(Order::Shuffled, i, keys).as_bytes()));
    }
    let reading = began.elapsed();

    let before = resident_bytes()?;
    let sessions = 100_000;
    apply_all(&mut store, sessions, |i| {
        let client = format!("a client of some name {i:010}");
        set(nth_key(Order::Ascending, i % keys, keys), options.value_bytes, Some(RequestId { client, seq: 1 }))
    });
    let remembered = resident_bytes()?.saturating_sub(before);

    println!(
        "{order:11}  {:4} MB  {:5} bytes  {:10.0}  {:12.0}  {:10.0}  {:5} bytes",
        filled / 1_000_000,
        filled / keys,
        rate(keys, filling),
        rate(keys, overwriting),
        rate(keys, reading),
        remembered / sessions,
    );
    Ok(())
}

fn measure_snapshots(options: &Options, order: Order) -> anyhow::Result<()> {
    let keys = options.keys;
    let mut store = Store::default();
    apply_all(&mut store, keys, |i| set(nth_key(order, i, keys), options.value_bytes, None));
    let alone = take_snapshot(&mut store, |_| Ok(()))?;

    let summary = store.begin_snapshot()?;
    let before = resident_bytes()?;
    let mut restoring = Restoring::new(summary)?;
    let mut restore_time = Duration::ZERO;
    while let Some(piece) = store.snapshot_piece(PIECE_BYTES)? {
        let began = Instant::now();
        restoring.piece(&piece)?;
        restore_time += began.elapsed();
    }
    let began = Instant::now();
    let restored = restoring.finish()?;
    restore_time += began.elapsed();
    let restored_bytes = resident_bytes()?.saturating_sub(before);
    drop((store.end_snapshot(), restored));

    let (mut commands, mut command_time) = (0, Duration::ZERO);
    let before = resident_bytes()?;
    let mut kept_bytes = 0;
    let meanwhile = take_snapshot(&mut store, |store| {
        let first = commands;
        commands += COMMANDS_PER_PIECE;
        command_time += apply_all(store, COMMANDS_PER_PIECE, |i| {
            set(nth_key(Order::Shuffled, (first + i) % keys, keys), options.value_bytes, None)
        });
        kept_bytes = kept_bytes.max(resident_bytes()?.saturating_sub(before));
        Ok(())
    })?;

    println!(
        "{order:11}  {:5} ms  {:10} µs  {:10} ms  {:10} µs  {:10.0}  {:3} MB  {:4} ms, {} bytes per key",
        alone.total.as_millis(),
        alone.longest_piece.as_micros(),
        meanwhile.total.as_millis(),
        meanwhile.longest_piece.as_micros(),
        rate(commands, command_time),
        kept_bytes / 1_000_000,
        restore_time.as_millis(),
        restored_bytes / keys,
    );
    Ok(())
}

fn measure_large_commands(options: &Options, order: Order) -> anyhow::Result<()> {
    let keys = options.keys.max(DELETED);
    let mut store = Store::default();
    store.apply(0, &Command { operation: Operation::RaiseLevel { to: Level::DATA_MODEL }, request: None });
    let fill = |i| set(nth_key(order, i, keys), options.value_bytes, None);
    apply_all(&mut store, keys, fill);
    // The history is full of versions that were replaced.
    apply_all(&mut store, keys, fill);

    let (mut deleting, mut writing, mut decoding) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for round in 0..REPEATS {
        let range = KeyRange {
            from: nth_key(Order::Ascending, 0, keys).into(),
            to: Some(nth_key(Order::Ascending, DELETED, keys).into()),
        };
        let delete = DeleteRange { range, limit: None, prev: false };
        let (outcome, _, took) = apply(&mut store, Operation::DeleteRange { delete, held: None });
        let deleted = matches!(outcome, Outcome::DeletedRange { ref done, .. } if done.deleted == DELETED);
        ensure!(deleted, "instead of a deletion of {DELETED} keys: {outcome:?}");
        deleting = deleting.max(took);
        apply_all(&mut store, keys, fill);

        let put = |i| Op::Put(Put::new(format!("txn/{round}/{i:05}"), vec![b'v'; options.value_bytes]));
        let then = (0..TXN_OPERATIONS_MAX).map(put).collect();
        let (outcome, decoded, took) =
            apply(&mut store, Operation::Txn(Txn { compares: vec![], then, or_else: vec![] }));
        ensure!(matches!(outcome, Outcome::Txn { .. }), "instead of a transaction: {outcome:?}");
        (writing, decoding) = (writing.max(took), decoding.max(decoded));
    }
    println!(
        "{order:11}  {:16.1} ms  {:15.1} ms  {:13.1} ms",
        deleting.as_secs_f64() * 1e3,
        writing.as_secs_f64() * 1e3,
        decoding.as_secs_f64() * 1e3,
    );
    Ok(())
}

/// Applies one command, decoded first. Returns its outcome, the duration of the decoding, and that of both.
fn apply(store: &mut Store, operation: Operation) -> (Outcome, Duration, Duration) {
    let encoded = Command { operation, request: None }.encode();
    let began = Instant::now();
    let command = Command::decode(&encoded).expect("an encoded command decodes");
    let decoded = began.elapsed();
    let outcome = store.apply(0, &command);
    (outcome, decoded, began.elapsed())
}

/// Durations of pieces.
#[derive(Default)]
struct Pieces {
    total: Duration,
    longest_piece: Duration,
}

/// Takes a whole snapshot, and runs something else between its pieces.
fn take_snapshot(
    store: &mut Store,
    mut between: impl FnMut(&mut Store) -> anyhow::Result<()>,
) -> anyhow::Result<Pieces> {
    let mut pieces = Pieces::default();
    store.begin_snapshot()?;
    loop {
        let began = Instant::now();
        let piece = store.snapshot_piece(PIECE_BYTES)?;
        let elapsed = began.elapsed();
        pieces.total += elapsed;
        pieces.longest_piece = pieces.longest_piece.max(elapsed);
        if piece.is_none() {
            break;
        }
        between(store)?;
    }
    ensure!(store.end_snapshot().is_empty(), "a complete snapshot keeps nothing");
    Ok(pieces)
}

/// Applies `count` commands, each decoded first as a replica has to. Returns the duration.
fn apply_all(store: &mut Store, count: u64, command: impl Fn(u64) -> Command) -> Duration {
    let mut elapsed = Duration::ZERO;
    for first in (0..count).step_by(BATCH) {
        let encoded: Vec<_> = (first..count).take(BATCH).map(|i| command(i).encode()).collect();
        let began = Instant::now();
        for encoded in &encoded {
            let command = Command::decode(encoded).expect("an encoded command decodes");
            black_box(store.apply(0, &command));
        }
        elapsed += began.elapsed();
    }
    elapsed
}

fn set(key: String, value_bytes: usize, request: Option<RequestId>) -> Command {
    let value = vec![b'v'; value_bytes];
    Command { operation: Operation::Set { put: Put::new(key, value), condition: None }, request }
}

fn nth_key(order: Order, i: u64, keys: u64) -> String {
    // A prime larger than any number of keys visits each key once, in an order that looks random.
    const STRIDE: u64 = 6_364_136_257;
    let number = match order {
        Order::Ascending => i,
        Order::Shuffled => i * STRIDE % keys,
    };
    format!("key-{number:0width$}", width = KEY_BYTES - "key-".len())
}

fn rate(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

/// Returns the memory of this process that is in RAM.
fn resident_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("memory is measured on Linux only")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc/self/status")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
