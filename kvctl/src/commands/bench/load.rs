//! The load: threads that send requests and keep time.
//!
//! Each thread has a tally of its own, so that measuring costs a thread only two readings of the clock. Only the
//! counters of the live line are shared.

use super::plan::{Plan, Workload};
use super::tally::Tally;
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::{progress, units};
use anyhow::Context as _;
use kvclient::Client;
use rand::RngExt as _;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Interval at which the live line is drawn.
const REDRAW: Duration = Duration::from_millis(500);

/// Interval at which threads check for an interrupt and for the end of a phase.
const GLANCE: Duration = Duration::from_millis(20);

/// Error message for when the system has no thread left.
const NO_THREAD: &str = "cannot start a thread for each client; ask for fewer --clients";

/// The live counters.
#[derive(Default)]
struct Live {
    answered: AtomicU64,
    failed: AtomicU64,
}

/// Writes every key once, all clients together.
///
/// # Errors
/// The first write that fails, or an interrupt.
pub(super) fn fill(client: &Client, plan: &Plan, interrupt: &Interrupt) -> anyhow::Result<()> {
    for_each_key(plan, "writing the keys", || interrupt.noticed(), |key| client.set(key, &plan.value).map(drop))?;
    if interrupt.noticed() { Err(interrupted_early()) } else { Ok(()) }
}

/// Deletes all keys of this bench, including those that were never written.
///
/// # Errors
/// The first delete that fails.
pub(super) fn clear(client: &Client, plan: &Plan) -> anyhow::Result<()> {
    for_each_key(plan, "removing the keys", || false, |key| client.delete(key).map(drop))
}

/// Applies a function to every key, from as many clients as the plan has, until one call fails or `over` returns true.
fn for_each_key(
    plan: &Plan,
    what: &'static str,
    over: impl Fn() -> bool + Sync,
    act: impl Fn(&str) -> Result<(), kvclient::Error> + Sync,
) -> anyhow::Result<()> {
    let next = AtomicU32::new(0);
    let line = progress::line(u64::from(plan.keys), what);
    let results = thread::scope(|scope| {
        let client = || {
            // Each client claims the next key; an error makes the others run out of keys.
            while !over() {
                let number = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |number| {
                    (number < plan.keys).then_some(number + 1)
                });
                let Ok(number) = number else { break };
                if let Err(error) = act(&plan.key(number)) {
                    next.store(plan.keys, Ordering::Relaxed);
                    return Err(error);
                }
                line.inc(1);
            }
            Ok(())
        };
        let clients = plan.clients.min(plan.keys);
        let threads = (0..clients).map(|_| thread::Builder::new().spawn_scoped(scope, client));
        let threads = threads.collect::<Vec<_>>();
        threads.into_iter().map(|thread| anyhow::Ok(join(thread.context(NO_THREAD)?)?)).collect::<Vec<_>>()
    });
    line.finish_and_clear();
    results.into_iter().collect()
}

/// Returns the error for an interrupt before there is anything to show.
pub(super) fn interrupted_early() -> anyhow::Error {
    Failure::Interrupted("interrupted before anything was measured".into()).into()
}

// The phases of a run.
const WARM_UP: u8 = 0;
const MEASURE: u8 = 1;
const DONE: u8 = 2;

/// Runs the load: first uncounted, then measured, until the time is over or an interrupt arrives.
///
/// # Errors
/// If the system refuses a thread.
pub(super) fn run(client: &Client, plan: &Plan, interrupt: &Interrupt) -> anyhow::Result<Tally> {
    let phase = AtomicU8::new(WARM_UP);
    let live = Live::default();
    let mut total = Tally::default();
    thread::scope(|scope| -> anyhow::Result<()> {
        let threads = (0..plan.clients)
            .map(|_| thread::Builder::new().spawn_scoped(scope, || client_loop(client, plan, &phase, &live)))
            .collect::<Result<Vec<_>, _>>();
        let threads = match threads {
            Ok(threads) => threads,
            Err(error) => {
                phase.store(DONE, Ordering::Relaxed);
                return Err(error).context(NO_THREAD);
            }
        };
        if wait(plan.warm_up, "warming up", &live, interrupt) {
            phase.store(MEASURE, Ordering::Relaxed);
            wait(plan.measured, "measuring", &live, interrupt);
        }
        phase.store(DONE, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| total.add(join(thread)));
        Ok(())
    })?;
    Ok(total)
}

/// Runs one client: sends, waits for the answer, sends again.
fn client_loop(client: &Client, plan: &Plan, phase: &AtomicU8, live: &Live) -> Tally {
    let mut random = rand::rng();
    let mut tally = Tally::default();
    let mut measured_since = None;
    loop {
        let now = phase.load(Ordering::Relaxed);
        if now == DONE {
            break;
        }
        let key = plan.key(random.random_range(0..plan.keys));
        let writes = match plan.workload {
            Workload::Set => true,
            Workload::Get => false,
            Workload::Mixed => random.random(),
        };
        let began = Instant::now();
        let result = if writes { client.set(&key, &plan.value).map(drop) } else { client.get(&key).map(drop) };
        let latency = began.elapsed();
        let series = if writes { &mut tally.sets } else { &mut tally.gets };
        let measured = now == MEASURE;
        if measured {
            measured_since.get_or_insert(began);
        }
        match result {
            Ok(()) => {
                live.answered.fetch_add(1, Ordering::Relaxed);
                if measured {
                    series.answered(latency);
                }
            }
            Err(error) => {
                live.failed.fetch_add(1, Ordering::Relaxed);
                if measured {
                    series.failed(&error);
                }
                tally.last_error = Some(error);
            }
        }
    }
    if let Some(since) = measured_since {
        tally.time = since.elapsed();
        tally.sets.over(tally.time);
        tally.gets.over(tally.time);
    }
    tally
}

/// Waits for `time` under a live line. Returns false if an interrupt cut it short.
fn wait(time: Duration, what: &'static str, live: &Live, interrupt: &Interrupt) -> bool {
    let began = Instant::now();
    let line = progress::line(units::ms(time), what);
    let (mut drawn, mut answered) = (began, live.answered.load(Ordering::Relaxed));
    while began.elapsed() < time && !interrupt.noticed() {
        thread::sleep(GLANCE);
        if drawn.elapsed() >= REDRAW {
            let (total, failed) = (live.answered.load(Ordering::Relaxed), live.failed.load(Ordering::Relaxed));
            let rate = (total - answered) as f64 / drawn.elapsed().as_secs_f64();
            (drawn, answered) = (Instant::now(), total);
            line.set_position(units::ms(began.elapsed()));
            line.set_message(format!("{} requests/s, {failed} failed", units::grouped(rate as u64)));
        }
    }
    line.finish_and_clear();
    !interrupt.noticed()
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
