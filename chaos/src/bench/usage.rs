//! What a process has used, by the kernel's books.

use std::fs::read_to_string;

use anyhow::Context as _;

/// Clock ticks a second in `/proc`: fixed on every platform that Linux has kept.
const TICKS: f64 = 100.0;

/// CPU seconds of a live process, user and system, all threads, also of those that have ended.
pub fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = read_to_string(format!("/proc/{pid}/stat")).context("read CPU time")?;
    ticks(&stat).map(|ticks| ticks / TICKS).with_context(|| format!("no times in {stat:?}"))
}

/// CPU seconds of the thread that asks, to the nanosecond.
pub fn thread_cpu_seconds() -> anyhow::Result<f64> {
    let text = read_to_string("/proc/thread-self/schedstat").context("read the thread's CPU time")?;
    let nanos: f64 = text.split(' ').next().unwrap_or_default().parse().context("read the thread's CPU time")?;
    Ok(nanos / 1e9)
}

/// Resident memory of a live process now and at its peak, MB.
pub fn resident_mb(pid: u32) -> anyhow::Result<(f64, f64)> {
    let status = read_to_string(format!("/proc/{pid}/status")).context("read memory")?;
    let field = |name: &str| kilobytes(&status, name).map(|kb| kb * 1024.0 / 1e6);
    field("VmRSS:").zip(field("VmHWM:")).context("no resident memory in /proc: has it ended?")
}

/// User and system time: the 12th and 13th field behind the name, which stands in parentheses and may have blanks.
fn ticks(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some(next()? + next()?)
}

fn kilobytes(status: &str, name: &str) -> Option<f64> {
    let text = status.lines().find_map(|line| line.strip_prefix(name))?;
    text.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_books_are_read_behind_a_name_with_blanks_and_parentheses() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 9 1 1";
        assert_eq!(ticks(stat), Some(300.0));
        assert_eq!(kilobytes("Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t 1000 kB\n", "VmHWM:"), Some(2048.0));
        assert!(cpu_seconds(std::process::id()).unwrap() >= 0.0);
        let (now, peak) = resident_mb(std::process::id()).unwrap();
        assert!(now > 0.1 && peak >= now);
    }
}
