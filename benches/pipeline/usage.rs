//! What a process has used, by the kernel's books.

use std::fs::read_to_string;

/// Clock ticks a second in `/proc`: fixed on every platform that Linux has kept.
const TICKS: f64 = 100.0;

/// CPU and memory of one process.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// CPU seconds, user and system, all threads.
    pub cpu: f64,
    /// Largest resident memory, MB.
    pub peak_mb: f64,
}

impl Usage {
    /// Of a live process.
    pub fn of(pid: u32) -> Self {
        let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // The name in parentheses may have blanks; user and system time are the 12th and 13th field behind it.
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
        let status = read_to_string(format!("/proc/{pid}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kilobytes: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        Self { cpu: ticks / TICKS, peak_mb: kilobytes * 1024.0 / 1e6 }
    }
}
