//! Compares a page with the output of its commands.
//!
//! Some things differ from run to run. Both sides are converted to a common form, in which each of these is a name in
//! angle brackets:
//!
//! | name | stands for |
//! |---|---|
//! | `<nodeN>` | address of a node: `localhost:808N`, `127.0.0.1:808N` or `10.0.0.N:PORT` on the page, another port here |
//! | `<id>` | 16 or 32 hexadecimal digits: ids of nodes and clusters, hashes |
//! | `<n>` | a term, an index of the log, an uptime, a number of bytes, a time |
//! | `<role>` | leader or follower, of a node by itself |
//! | `<leader>` | name and address of the leader |
//! | `<time>` | a time of the clock |
//!
//! Runs of spaces count as one. On a page `...` stands for any text within a line, and alone on a line for any number
//! of lines.

/// JSON fields and reply headers whose numbers differ.
const NUMBERS: &[&str] = &[
    "\"term\":",
    "\"uptime_ms\":",
    "\"last_log_index\":",
    "\"commit_index\":",
    "\"applied_index\":",
    "kvd-term: ",
    "term ",
    "content-length: ",
    "date: ",
];

/// Units of numbers that differ.
const UNITS: &[&str] = &["B", "KB", "MB", "bytes", "ms", "s"];

/// The ports of 127.0.0.1 that stand for the nodes, counted from node 1.
#[derive(Clone, Debug)]
pub(crate) struct Ports(pub(crate) Vec<u16>);

impl Ports {
    /// Returns a line of the page with our ports instead of the ports on the page.
    pub(crate) fn ours(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (port, number) in self.0.iter().zip(1..) {
            line = line.replace(&format!("10.0.0.{number}:8081"), &format!("127.0.0.1:{port}"));
            line = line.replace(&format!("10.0.0.{number}:8080"), &format!("127.0.0.1:{port}"));
            line = line.replace(&format!(":808{number}"), &format!(":{port}"));
        }
        // In a loop over node numbers. The ports are consecutive.
        line.replace(":808$n", &format!(":$(({} + $n))", self.0[0] - 1))
    }

    fn named(&self, line: &str) -> String {
        let mut line = line.to_owned();
        for (port, number) in self.0.iter().zip(1..) {
            for address in [
                format!("127.0.0.1:{port}"),
                format!("localhost:{port}"),
                format!("10.0.0.{number}:8081"),
                format!("10.0.0.{number}:8080"),
                format!("127.0.0.1:808{number}"),
                format!("localhost:808{number}"),
            ] {
                line = line.replace(&address, &format!("<node{number}>"));
            }
        }
        line
    }
}

/// Returns a line in the form in which two runs are equal.
pub(crate) fn common_form(line: &str, ports: &Ports) -> String {
    let mut line = ports.named(line).split_whitespace().collect::<Vec<_>>().join(" ");
    for number in 1..=ports.0.len() {
        line = line.replace(&format!("\"id\":\"node{number}\",\"url\":\"http://<node{number}>\""), "<leader>");
    }
    for name in NUMBERS {
        line = after_each(&line, name, |rest| rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len());
    }
    for role in ["leader", "follower"] {
        line = line.replace(&format!("\"state\":\"{role}\""), "\"state\":<role>");
    }
    let words: Vec<&str> = line.split(' ').collect();
    // A row of `kvctl status`: the role, whether the node leads, and numbers.
    let is_status = words.len() > 3 && ["leader", "follower"].contains(&words[1]) && ["*", "-"].contains(&words[2]);
    let form = |at: usize, word: &str| match word {
        _ if is_status && (at == 1 || at == 2) => "<role>".to_owned(),
        word if is_number(word) && (is_status || words.get(at + 1).is_some_and(|next| is_unit(next))) => {
            "<n>".to_owned()
        }
        // A line of `kvctl watch-leader`: the old and the new leader, and the new one's URL.
        word if is_node(word) && [at.wrapping_sub(1), at + 1].iter().any(|at| words.get(*at) == Some(&"->")) => {
            "<leader>".to_owned()
        }
        word if word.starts_with("http://<node") && words.get(at.wrapping_sub(2)) == Some(&"->") => {
            "<leader>".to_owned()
        }
        word if is_time(word) => "<time>".to_owned(),
        word => ids(word),
    };
    let words: Vec<String> = words.iter().enumerate().map(|(at, word)| form(at, word)).collect();
    words.join(" ")
}

/// Returns whether this line, in common form, is optional: `kvctl watch-leader` reports that there is no leader only if
/// it notices in time.
pub(crate) fn is_passed_over(line: &str) -> bool {
    line.starts_with("<time> term ") && line.ends_with(" -> none")
}

fn is_node(word: &str) -> bool {
    word.strip_prefix("node").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Returns whether this is a time as in logs: `2026-01-31T12:00:00.000Z`.
fn is_time(word: &str) -> bool {
    word.len() > 16 && word.ends_with('Z') && word.starts_with("20") && word.contains('T') && word.contains(':')
}

fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit()) && word.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ',')
}

fn is_unit(word: &str) -> bool {
    UNITS.contains(&word.trim_end_matches([',', '.', ')', ';']))
}

/// Replaces the text after each `name`, of the length that `length` returns.
fn after_each(line: &str, name: &str, length: impl Fn(&str) -> usize) -> String {
    let mut parts = line.split(name);
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        replaced.push_str(name);
        let digits = length(part);
        if digits > 0 {
            replaced.push_str("<n>");
        }
        replaced.push_str(&part[digits..]);
    }
    replaced
}

/// Replaces runs of 16 or 32 hexadecimal digits.
fn ids(word: &str) -> String {
    let mut replaced = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        let is_id = [16, 32].contains(&run.len()) && run.bytes().all(|byte| byte.is_ascii_hexdigit());
        replaced.push_str(if is_id { "<id>" } else { run });
        let next = after.chars().next().map_or(0, char::len_utf8);
        replaced.push_str(&after[..next]);
        rest = &after[next..];
    }
    replaced
}

/// Returns whether these lines were printed, both in the form of [`common_form`].
pub(crate) fn matches(shown: &[String], printed: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == "..." => (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..])),
        Some((first, rest)) => {
            printed.split_first().is_some_and(|(line, others)| line_matches(first, line) && matches(rest, others))
        }
    }
}

fn line_matches(shown: &str, printed: &str) -> bool {
    match shown.split_once("...") {
        None => shown == printed,
        Some((before, after)) => printed.strip_prefix(before).is_some_and(|rest| {
            let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.into_iter().any(|at| line_matches(after, &rest[at..]))
        }),
    }
}
