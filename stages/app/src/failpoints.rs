//! Arms the named places of this process as a file says, for `fillstream chaos`.
//!
//! `FILLSTREAM_FAILPOINTS=PREFIX`: the line of `PREFIX.arm` is `<place> <kill|stop> <n>`. At the n-th time that the place
//! is reached the process writes its name to `PREFIX.fired` and sends itself SIGKILL or SIGSTOP; once a line. By the
//! number in `PREFIX.clock`, microseconds, the OS clock seems to have jumped for the engine.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fillstream_kafka::failpoint::{arm, disarm, jump_clock};
use rustix::process::{Signal, getpid, kill_process};

const VARIABLE: &str = "FILLSTREAM_FAILPOINTS";
const LOOK: Duration = Duration::from_millis(10);

/// Follows the file in a thread, where the variable names one.
///
/// # Errors
/// The thread cannot be started.
pub fn follow() -> anyhow::Result<()> {
    let Some(prefix) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return Ok(()) };
    let file = |extension: &str| prefix.with_extension(extension);
    let (order, fired, clock) = (file("arm"), file("fired"), file("clock"));
    std::thread::Builder::new().name("fail points".into()).spawn(move || {
        let mut before = String::new();
        loop {
            let now = fs::read_to_string(&order).unwrap_or_default();
            if now != before {
                if let Some(place) = before.split_whitespace().next() {
                    disarm(place);
                }
                set(&now, &fired);
                before = now;
            }
            jump_clock(fs::read_to_string(&clock).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0));
            std::thread::park_timeout(LOOK);
        }
    })?;
    Ok(())
}

fn set(line: &str, fired: &Path) {
    let mut words = line.split_whitespace();
    let (Some(place), Some(action), Some(nth)) = (words.next(), words.next(), words.next()) else { return };
    let Ok(nth) = nth.parse::<u32>() else { return };
    let signal = if action == "stop" { Signal::STOP } else { Signal::KILL };
    let (reached, name, fired) = (AtomicU32::new(0), place.to_owned(), fired.to_owned());
    let armed = arm(place, move || {
        if reached.fetch_add(1, Ordering::Relaxed) + 1 == nth {
            // Without evidence there was no fault: the process goes on.
            let written =
                File::options().create(true).append(true).open(&fired).and_then(|mut f| writeln!(f, "{name}"));
            if written.is_ok() {
                let _ = kill_process(getpid(), signal);
            }
        }
    });
    if let Err(error) = armed {
        tracing::error!(place, error, "a fail point cannot be armed");
    }
}
