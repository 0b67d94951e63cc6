//! Turning writers away before memory runs out.
//!
//! A process that is killed for its memory has to read its whole log again, with the same memory, and
//! all its writers wait. It is better to have them wait before: they keep what they could not send.
//! What counts is anonymous memory, as what is mapped from files is given back by the operating
//! system. It is known on Linux only; elsewhere nobody is turned away.

use std::fs;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Part of the memory that there is for the process which it may take by default, in percent.
pub const DEFAULT_MEMORY_PERCENT: u64 = 85;

/// How long a reading holds. Requests come by the thousand, and memory does not grow that fast.
const READING_HOLDS: Duration = Duration::from_millis(200);

/// Says whether there is room for more. Shared by all writers.
#[derive(Debug)]
pub struct Pressure {
    limit_bytes: u64,
    read: fn() -> Option<u64>,
    reading: Mutex<Option<(Instant, u64)>>,
}

impl Pressure {
    /// Watches over the process, which may take `limit_bytes` of anonymous memory.
    pub fn new(limit_bytes: u64) -> Self {
        Self::reading_from(limit_bytes, anonymous_bytes)
    }

    /// Watches over what `read` says.
    pub(crate) fn reading_from(limit_bytes: u64, read: fn() -> Option<u64>) -> Self {
        Self { limit_bytes, read, reading: Mutex::default() }
    }

    /// Watches over the process, which may take [`DEFAULT_MEMORY_PERCENT`] of what there is for it;
    /// `None` if that is not known.
    pub fn of_this_machine() -> Option<Self> {
        Some(Self::new(available_bytes()? / 100 * DEFAULT_MEMORY_PERCENT))
    }

    /// Most memory that the process may take, in bytes.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// Tells whether the process has taken all that it may.
    pub fn is_high(&self) -> bool {
        let mut reading = self.reading.lock();
        let bytes = match *reading {
            Some((time, bytes)) if time.elapsed() < READING_HOLDS => bytes,
            _ => {
                let bytes = (self.read)().unwrap_or_default();
                *reading = Some((Instant::now(), bytes));
                bytes
            }
        };
        bytes >= self.limit_bytes
    }
}

/// Anonymous memory of this process that is resident, in bytes.
fn anonymous_bytes() -> Option<u64> {
    kib_of(&fs::read_to_string("/proc/self/status").ok()?, "RssAnon:")
}

/// Memory there is for this process: that of the machine, or of the control group if that is less.
fn available_bytes() -> Option<u64> {
    let machine = kib_of(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    let group = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    // Without a limit there is a word, or a number larger than any memory.
    let group = group.iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    Some(group.unwrap_or(u64::MAX).min(machine))
}

/// The value of a line such as `RssAnon:  1234 kB`, in bytes.
fn kib_of(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_high_from_the_limit_on() {
        for (limit, expected) in [(999, true), (1000, true), (1001, false)] {
            let pressure = Pressure::reading_from(limit, || Some(1000));
            assert_eq!((pressure.is_high(), pressure.is_high()), (expected, expected));
        }
        assert!(!Pressure::reading_from(1, || None).is_high());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_takes_memory_and_less_than_there_is() {
        let taken = anonymous_bytes().expect("Linux tells it");
        let pressure = Pressure::of_this_machine().expect("Linux tells it");
        assert!(taken > 100_000 && taken < pressure.limit_bytes(), "{taken}");
        assert!(!pressure.is_high() && Pressure::new(1).is_high());
    }

    #[test]
    fn lines_in_kib_are_read() {
        let text = "RssFile:\t 7 kB\nRssAnon:\t     12 kB\nRssOdd: 5\n";
        assert_eq!(kib_of(text, "RssAnon:"), Some(12 << 10));
        assert_eq!((kib_of(text, "RssOdd:"), kib_of(text, "RssNone:")), (None, None));
    }
}
