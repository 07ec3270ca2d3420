//! Measurements: a line for each round, and a summary.

use crate::disturbances::Kind;
use crate::load::Written;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;
use testkit::Cluster;

const MB: f64 = 1e6;

/// Factor by which the nodes' use of disk and memory may vary and still count as flat: the allocator keeps memory that
/// it once had, and a log segment exists or not.
const FLAT_FACTOR: f64 = 1.25;
const FLAT_BYTES: f64 = 48.0 * MB;

/// Rounds below which growth is not judged.
const ROUNDS_JUDGED: usize = 6;

/// One round.
#[derive(Default)]
pub(crate) struct Round {
    gaps: Vec<(Kind, Duration)>,
    /// Largest use by any node at any moment of the round, in bytes.
    disk: u64,
    memory: u64,
    time: Duration,
    written: Written,
    history: String,
}

impl Round {
    /// Notes a disturbance, with the longest time without an acknowledged write during it.
    pub(crate) fn disturbed(&mut self, kind: Kind, gap: Duration) {
        self.gaps.push((kind, gap));
    }

    /// Measures the nodes' use of disk and memory.
    pub(crate) fn measure(&mut self, cluster: &Cluster) {
        for node in &cluster.nodes {
            self.disk = self.disk.max(bytes_on_disk(node.data_dir()));
            self.memory = self.memory.max(node.memory_bytes());
        }
    }

    pub(crate) fn wrote(&mut self, time: Duration, written: Written) {
        self.time = time;
        self.written = written;
    }

    pub(crate) fn recorded(&mut self, history: String) {
        self.history = history;
    }

    fn print(&self, number: usize) {
        let Self { gaps, disk, memory, time, written, .. } = self;
        let latency = |quantile| written.latencies.value_at_quantile(quantile) as f64 / 1e3;
        let gap = gaps.iter().map(|(_, gap)| *gap).max().unwrap_or_default();
        println!(
            "{number:>5} {:>12} {:>8.0} {:>7.1} {:>7.1} {:>7.1} {:>9.0} {:>8} {:>8} {:>8.1} {:>10.1}",
            gaps.len(),
            written.latencies.len() as f64 / time.as_secs_f64(),
            latency(0.5),
            latency(0.99),
            latency(0.999),
            gap.as_secs_f64() * 1e3,
            written.refused,
            written.unknown,
            *disk as f64 / MB,
            *memory as f64 / MB,
        );
    }
}

/// Returns the bytes that the files of a directory occupy.
fn bytes_on_disk(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten();
    // A file may be deleted during the scan.
    files.filter_map(|file| file.ok()?.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}

/// All rounds.
#[derive(Default)]
pub(crate) struct Report(Vec<Round>);

impl Report {
    pub(crate) fn rounds(&self) -> usize {
        self.0.len()
    }

    /// Adds a round that has succeeded.
    pub(crate) fn add(&mut self, round: Round) {
        if self.0.is_empty() {
            println!("latencies and gaps in ms; disk and memory: the most that a node took, in MB");
            println!(
                "{:>5} {:>12} {:>8} {:>7} {:>7} {:>7} {:>9} {:>8} {:>8} {:>8} {:>10}",
                "round",
                "disturbances",
                "writes/s",
                "p50",
                "p99",
                "p99.9",
                "worst gap",
                "refused",
                "unknown",
                "disk",
                "memory"
            );
        }
        self.0.push(round);
        self.0[self.0.len() - 1].print(self.0.len());
    }

    /// Prints the summary.
    ///
    /// # Panics
    /// If the nodes' use of disk or memory has grown.
    pub(crate) fn finish(&self) {
        let mut gaps: BTreeMap<Kind, Vec<Duration>> = BTreeMap::new();
        for (kind, gap) in self.0.iter().flat_map(|round| &round.gaps) {
            gaps.entry(*kind).or_default().push(*gap);
        }
        println!("\n{:<34} {:>6} {:>12} {:>12}", "disturbance", "times", "median gap", "worst gap");
        for (kind, mut gaps) in gaps {
            gaps.sort_unstable();
            let ms = |gap: Duration| format!("{:.0} ms", gap.as_secs_f64() * 1e3);
            let (median, worst) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
            println!("{kind:<34} {:>6} {:>12} {:>12}", gaps.len(), ms(median), ms(worst));
        }
        let writes: u64 = self.0.iter().map(|round| round.written.latencies.len()).sum();
        println!("\n{writes} writes acknowledged, all of them found on every node; every history linearizable:");
        for (number, round) in self.0.iter().enumerate() {
            println!("  round {}: {}", number + 1, round.history);
        }
        self.judge_growth("disk", |round| round.disk);
        self.judge_growth("memory", |round| round.memory);
    }

    fn judge_growth(&self, what: &str, of: impl Fn(&Round) -> u64) {
        if self.0.len() < ROUNDS_JUDGED {
            return;
        }
        let third = self.0.len() / 3;
        let median = |rounds: &[Round]| {
            let mut values: Vec<u64> = rounds.iter().map(&of).collect();
            values.sort_unstable();
            values[values.len() / 2] as f64
        };
        let (first, last) = (median(&self.0[..third]), median(&self.0[self.0.len() - third..]));
        println!(
            "{what} of a node: {:.1} MB in the first third of the rounds, {:.1} MB in the last",
            first / MB,
            last / MB
        );
        assert!(last <= first * FLAT_FACTOR + FLAT_BYTES, "{what} grows");
    }
}
