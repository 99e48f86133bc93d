//! How much memory the system has for this process.

use std::path::Path;

use sysinfo::{MemoryRefreshKind, System};

/// What may be used: what the system calls available, as far as the control groups of this process let it have that, less a tenth. None
/// where the system does not say.
pub fn free() -> Option<u64> {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let available = Some(system.available_memory()).filter(|&bytes| bytes > 0)?;
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).ok();
    let available = available.min(groups(&read).unwrap_or(u64::MAX));
    Some(available - available / 10)
}

/// Where control groups lie, in which files they say what they may have and what they have, and in which lines of `memory.stat` what of
/// that is contents of files, which the system gives up where memory is wanted.
struct Interface {
    root: &'static str,
    limit: &'static str,
    usage: &'static str,
    files: [&'static str; 2],
}

const SECOND: Interface = Interface {
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    usage: "memory.current",
    files: ["inactive_file", "active_file"],
};

const FIRST: Interface = Interface {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    files: ["total_inactive_file", "total_active_file"],
};

/// What the control groups of this process, the one that it is in and those around that, leave it at most; none where none has a limit.
/// (Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.)
fn groups(read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let own = read("/proc/self/cgroup")?;
    let left = own.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let interface = match controllers {
            "" => SECOND,
            list if list.split(',').any(|controller| controller == "memory") => FIRST,
            _ => return None,
        };
        // Within a container the path may be that of the host, of which only the root is to be seen here.
        Path::new(path).ancestors().filter_map(|group| left(&interface, group.to_str()?, read)).min()
    });
    left.min()
}

/// What one control group has left.
fn left(interface: &Interface, group: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let file = |name: &str| read(&format!("{}{}/{name}", interface.root, group.trim_end_matches('/')));
    let number = |text: String| text.trim().parse::<u64>().ok();
    let limit = file(interface.limit).and_then(number)?;
    let usage = file(interface.usage).and_then(number)?;
    let stat = file("memory.stat").unwrap_or_default();
    let fields = stat.lines().filter_map(|line| line.split_once(' '));
    let of_files = fields.filter(|(name, _)| interface.files.contains(name)).filter_map(|(_, n)| n.parse::<u64>().ok());
    Some(limit.saturating_sub(usage.saturating_sub(of_files.sum())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)]) -> Option<u64> {
        groups(&|path| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn a_group_has_what_its_processes_do_not_hold() {
        let job = [
            ("/proc/self/cgroup", "0::/slurm/job_7/step_0\n"),
            ("/sys/fs/cgroup/slurm/job_7/step_0/memory.max", "max\n"),
            ("/sys/fs/cgroup/slurm/job_7/step_0/memory.current", "2000\n"),
            ("/sys/fs/cgroup/slurm/job_7/memory.max", "8000\n"),
            ("/sys/fs/cgroup/slurm/job_7/memory.current", "5000\n"),
            ("/sys/fs/cgroup/slurm/job_7/memory.stat", "anon 3000\nfile 2500\ninactive_file 1200\nactive_file 300\n"),
            ("/sys/fs/cgroup/slurm/memory.max", "100000\n"),
            ("/sys/fs/cgroup/slurm/memory.current", "9000\n"),
        ];
        assert_eq!(of(&job), Some(8000 - (5000 - 1500)));
    }

    #[test]
    fn in_a_container_the_group_is_the_root() {
        let second = [
            ("/proc/self/cgroup", "0::/\n"),
            ("/sys/fs/cgroup/memory.max", "1000\n"),
            ("/sys/fs/cgroup/memory.current", "300\n"),
        ];
        assert_eq!(of(&second), Some(700));
        let first = [
            ("/proc/self/cgroup", "12:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n0::/\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "900\n"),
            ("/sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 200\ntotal_active_file 50\n"),
        ];
        assert_eq!(of(&first), Some(350));
    }

    #[test]
    fn without_limits_groups_say_nothing() {
        assert_eq!(of(&[]), None);
        assert_eq!(
            of(&[("/proc/self/cgroup", "0::/user.slice\n"), ("/sys/fs/cgroup/user.slice/memory.max", "max")]),
            None
        );
        assert_eq!(of(&[("/proc/self/cgroup", "nonsense\n::\n4:memory")]), None);
    }

    #[test]
    fn this_system_says_what_is_free() {
        assert!(free().is_some_and(|bytes| bytes > 1_000_000), "{:?}", free());
    }
}
