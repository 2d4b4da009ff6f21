//! Time that processors spent, and on what: the kernel's own accounting
//! (`/proc/stat`), which samples at every tick where it does not measure.

use std::fs;
use std::io;
use std::ops::{AddAssign, Sub};

/// Ticks of some processors, in hundredths of a second (`USER_HZ`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CpuTime {
    /// In processes, in user space and in the kernel.
    pub(super) process: u64,
    /// Taking packets from where they wait.
    pub(super) softirq: u64,
    /// Taken by the host of this machine, if it is a virtual one.
    pub(super) stolen: u64,
    /// All of it, idle time included.
    pub(super) all: u64,
}

/// Nanoseconds of a tick.
pub(super) const TICK_NS: u64 = 10_000_000;

impl CpuTime {
    /// Of these processors, since they started; of all if there are none of them.
    pub(super) fn of(processors: &[usize]) -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        Self::parse(&stat, processors).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of
    /// user (`show_stat`, Linux 6.18).
    fn parse(stat: &str, processors: &[usize]) -> Option<Self> {
        let mut sum = Self::default();
        let mut found = 0;
        for line in stat.lines() {
            let mut words = line.split_whitespace();
            let Some(number) = words.next().and_then(|name| name.strip_prefix("cpu")) else {
                continue;
            };
            let wanted = match number.parse::<usize>() {
                Ok(number) => processors.contains(&number),
                Err(_) => processors.is_empty(),
            };
            if wanted {
                let ticks: Vec<u64> =
                    words.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
                let [user, nice, system, _, _, _, softirq, stolen] = *ticks.as_slice() else {
                    return None;
                };
                sum += Self {
                    process: user + nice + system,
                    softirq,
                    stolen,
                    all: ticks.iter().sum(),
                };
                found += 1;
            }
        }
        (found == processors.len().max(1)).then_some(sum)
    }
}

impl AddAssign for CpuTime {
    fn add_assign(&mut self, other: Self) {
        let Self { process, softirq, stolen, all } = other;
        self.process += process;
        self.softirq += softirq;
        self.stolen += stolen;
        self.all += all;
    }
}

impl Sub for CpuTime {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            process: self.process.saturating_sub(before.process),
            softirq: self.softirq.saturating_sub(before.softirq),
            stolen: self.stolen.saturating_sub(before.stolen),
            all: self.all.saturating_sub(before.all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_those_of_the_processors() {
        const STAT: &str = "cpu  11 2 30 400 5 6 70 8 9 0\ncpu0 1 0 10 200 5 6 40 8 0 0\n\
            cpu1 10 2 20 200 0 0 30 0 9 0\ncpu10 9 9 9 9 9 9 9 9 9 9\nintr 5\n";
        let both = CpuTime::parse(STAT, &[0, 1]).unwrap();
        assert_eq!(both, CpuTime { process: 43, softirq: 70, stolen: 8, all: 532 });
        assert_eq!(CpuTime::parse(STAT, &[]), Some(both));
        let one = CpuTime::parse(STAT, &[1]).unwrap();
        assert_eq!(one, CpuTime { process: 32, softirq: 30, stolen: 0, all: 262 });
        assert_eq!((both - one).softirq, 40);
        assert_eq!(CpuTime::parse(STAT, &[2]), None);
        assert_eq!(CpuTime::parse("cpu0 1 2 3", &[0]), None);
    }
}
