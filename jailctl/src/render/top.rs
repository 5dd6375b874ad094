//! `jailctl top`: two answers become one table.

use jailsupd::control::wire::{Counters, JailUsage, ProcessUsage, UsageTable};

use super::jail::program;
use super::{Paint, Style, WIDTH, bytes, cut, one_line};

const NAME: usize = 16;
const HEAD: &str =
    "NAME              CPU%    MEM PIDS   READ  WRITE   RECV   SENT  WAIT% CPU  MEM   IO";

/// A line for each jail that runs, the busiest first, and below it its processes where both answers have them.
/// Processor time is of one processor, bytes are per second, waits are the part of the time.
pub(crate) fn top(before: &UsageTable, after: &UsageTable, style: Style) -> String {
    let time = after.time_us.saturating_sub(before.time_us).max(1);
    if after.jails.is_empty() {
        return "nothing runs\n".to_owned();
    }
    let mut rows: Vec<(u64, String)> = after
        .jails
        .iter()
        .map(|jail| {
            let earlier = before.jails.iter().find(|other| other.name == jail.name);
            let used =
                jail.counters.cpu_us.saturating_sub(earlier.map_or(0, |jail| jail.counters.cpu_us));
            (used, row(earlier, jail, time) + &processes(earlier, jail, time, style))
        })
        .collect();
    // Stable: those that use the same stay in the order of their names.
    rows.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    let rows: String = rows.into_iter().map(|(_, row)| row).collect();
    format!("{}\n{rows}", style.paint(Paint::Dim, HEAD))
}

fn row(before: Option<&JailUsage>, jail: &JailUsage, time: u64) -> String {
    // A counter that has become less began anew with another start of the jail.
    let more = |of: fn(&Counters) -> u64| {
        let (earlier, now) = (before.map_or(0, |jail| of(&jail.counters)), of(&jail.counters));
        if now < earlier { now } else { now - earlier }
    };
    let percent = |of| u128::from(more(of)) * 100 / u128::from(time);
    let rate = |of| short(per_second(more(of), time));
    format!(
        "{:NAME$} {:>5} {:>6} {:>4} {:>6} {:>6} {:>6} {:>6}       {:>4} {:>4} {:>4}\n",
        cut(&one_line(&jail.name), NAME),
        tenths(more(|used| used.cpu_us), time),
        short(jail.counters.memory),
        jail.counters.pids,
        rate(|used| used.io_read),
        rate(|used| used.io_write),
        rate(|used| used.net_receive),
        rate(|used| used.net_send),
        percent(|used| used.cpu_wait_us),
        percent(|used| used.memory_wait_us),
        percent(|used| used.io_wait_us),
    )
}

fn processes(before: Option<&JailUsage>, jail: &JailUsage, time: u64, style: Style) -> String {
    let earlier = before.and_then(|jail| jail.processes.as_deref()).unwrap_or_default();
    let all = jail.processes.as_deref().unwrap_or_default().iter();
    let line = |process: &ProcessUsage| {
        let known = earlier.iter().find(|other| other.pid == process.pid);
        let more = |of: fn(&ProcessUsage) -> u64| of(process).saturating_sub(known.map_or(0, of));
        let rate = |of| short(per_second(more(of), time));
        let text = format!(
            "  {:>NUMBER$} {:>5} {:>6}      {:>6} {:>6}  {}",
            process.pid,
            tenths(more(|used| used.cpu_us), time),
            short(process.memory),
            rate(|used| used.io_read),
            rate(|used| used.io_write),
            one_line(&program(&process.command)),
            NUMBER = NAME - 2,
        );
        style.paint(Paint::Dim, &cut(&text, WIDTH)) + "\n"
    };
    all.map(line).collect()
}

fn per_second(count: u64, time_us: u64) -> u64 {
    let rate = u128::from(count) * 1_000_000 / u128::from(time_us);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

/// Percent of one processor, with a tenth.
fn tenths(used_us: u64, time_us: u64) -> String {
    let tenths = u128::from(used_us) * 1000 / u128::from(time_us);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Bytes in six characters: `12.3M`.
fn short(count: u64) -> String {
    let text = bytes(count);
    match text.split_once(' ') {
        Some((number, unit)) => format!("{number}{}", unit.chars().next().unwrap_or('B')),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jailsupd::control::wire::JailState;

    fn usage(name: &str, cpu_us: u64, io_read: u64) -> JailUsage {
        let (name, state, cpu_wait_us) = (name.to_owned(), JailState::Up, cpu_us / 2);
        let (memory, pids, net_send) = (12 << 20, 3, 5);
        let counters = Counters {
            cpu_us,
            memory,
            pids,
            io_read,
            net_send,
            cpu_wait_us,
            ..Counters::default()
        };
        JailUsage { name, state, counters, memory_max: None, processes: None }
    }

    const PLAIN: Style = Style { colour: false };

    #[test]
    fn the_busiest_is_the_first_and_rates_are_of_the_time_between() {
        let before = UsageTable { time_us: 0, jails: vec![usage("a", 100, 0), usage("b", 0, 0)] };
        let after = UsageTable {
            time_us: 2_000_000,
            jails: vec![usage("a", 100, 4096), usage("b\x07", 0, 0), usage("b", 500_000, 0)],
        };
        let text = top(&before, &after, PLAIN);
        assert_eq!(
            text,
            "NAME              CPU%    MEM PIDS   READ  WRITE   RECV   SENT  WAIT% CPU  MEM   IO\n\
             b                 25.0  12.0M    3     0B     0B     0B     0B         12    0    0\n\
             a                  0.0  12.0M    3   2.0K     0B     0B     0B          0    0    0\n\
             b\u{fffd}                 0.0  12.0M    3     0B     0B     0B     2B          0    0    0\n"
        );
    }

    #[test]
    fn a_process_has_its_rates_in_the_columns_of_its_jail() {
        let table = |time_us: u64, io_write: u64| {
            let process = ProcessUsage {
                pid: 415,
                jail_pid: 2,
                command: vec!["/bin/dd".to_owned()],
                cpu_us: 0,
                memory: 1 << 20,
                io_read: 0,
                io_write,
            };
            let jail = JailUsage { processes: Some(vec![process]), ..usage("a", 0, 0) };
            UsageTable { time_us, jails: vec![jail] }
        };
        let text = top(&table(0, 4096), &table(2_000_000, 4096 + 8192), PLAIN);
        assert_eq!(
            text.lines().last().unwrap(),
            "             415   0.0   1.0M          0B   4.0K  /bin/dd"
        );
    }

    #[test]
    fn counters_that_begin_anew_are_no_negative_rates() {
        let before = UsageTable { time_us: 0, jails: vec![usage("a", 900_000, 1 << 20)] };
        let after = UsageTable { time_us: 1_000_000, jails: vec![usage("a", 1000, 10)] };
        assert!(top(&before, &after, PLAIN).contains("    10B"));
    }
}
