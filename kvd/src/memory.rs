//! The memory that this process may use.

use std::fs;
use std::path::Path;

/// Returns the memory that this process may use, in bytes: that of the machine, or of its control group if that has
/// less (a container, a systemd unit). `None` if the system does not tell.
pub(crate) fn usable_bytes() -> Option<u64> {
    let of_machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = group_limits(&groups, Path::new("/sys/fs/cgroup"));
    limits.into_iter().chain(of_machine).min()
}

/// Returns `MemTotal` of `/proc/meminfo`, in bytes.
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Returns the limits of the control groups that `/proc/self/cgroup` names, and of those around them. Version 2 of
/// control groups has one line `0::/path`; version 1 has one for each resource.
fn group_limits(groups: &str, root: &Path) -> Vec<u64> {
    let mut limits = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(resources), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (base, file) = match resources {
            "" => (root.to_owned(), "memory.max"),
            _ if resources.split(',').any(|resource| resource == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let within = base.join(path.trim_start_matches('/'));
        let around = within.ancestors().take_while(|dir| dir.starts_with(&base));
        // A group without a limit says `max`, or a number that no machine has.
        limits.extend(around.filter_map(|dir| fs::read_to_string(dir.join(file)).ok()?.trim().parse::<u64>().ok()));
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_in_kibibytes() {
        assert_eq!(total_of("MemTotal:       24610504 kB\nMemFree:  1 kB\n"), Some(24_610_504 * 1024));
        for other in ["", "MemFree: 1 kB", "MemTotal: many kB", "MemTotal: 5"] {
            assert_eq!(total_of(other), None, "{other}");
        }
        assert!(usable_bytes().is_some(), "this machine tells");
    }

    #[test]
    fn the_limits_of_a_group_and_of_those_around_it_count() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("memory.max", "max\n");
        write("a/memory.max", "700\n");
        write("a/b/memory.max", "max\n");
        write("memory/c/memory.limit_in_bytes", "500\n");
        for (groups, expected) in [
            ("0::/a/b\n", vec![700]),
            ("0::/\n", vec![]),
            ("5:cpu,memory:/c\n4:cpu:/a\n", vec![500]),
            ("", vec![]),
            ("nothing\n", vec![]),
        ] {
            assert_eq!(group_limits(groups, root.path()), expected, "{groups}");
        }
    }
}
