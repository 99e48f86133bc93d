//! Progress on a terminal; silence in a pipe.

use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::plan::Plan;
use crate::report::text::number;
use crate::train::Observer;

/// A bar over the steps of all cells, with the latest measurements.
pub struct Progress {
    bar: ProgressBar,
    latest: Mutex<Vec<(String, String)>>,
}

/// How many measurements are shown at a time.
const SHOWN: usize = 3;

impl Progress {
    /// A bar for a plan. indicatif draws on the error stream, and only where that is a terminal.
    pub fn new(plan: &Plan) -> Progress {
        let steps: u64 = plan.arms.iter().map(|a| a.steps() * plan.seeds.len() as u64).sum();
        let bar = ProgressBar::new(steps);
        let style = ProgressStyle::with_template("{bar:24} {pos}/{len} steps  {rate}  {eta} left  {wide_msg}");
        let rate = |state: &ProgressState, out: &mut dyn Write| {
            // A bar that cannot be drawn is no reason to end a run.
            let _ = write!(out, "{:.0} steps/s", state.per_sec());
        };
        bar.set_style(style.expect("the template is well formed").with_key("rate", rate));
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress { bar, latest: Mutex::new(vec![]) }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Progress {
    fn stepped(&self, _arm: &str, _seed: u64, _step: u64) {
        self.bar.inc(1);
    }

    fn measured(&self, arm: &str, _seed: u64, measure: &str, step: u64, value: f64) {
        if self.bar.is_hidden() {
            return;
        }
        let Ok(mut latest) = self.latest.lock() else { return };
        let name = format!("{arm}.{measure}");
        latest.retain(|(n, _)| *n != name);
        latest.push((name, format!("[{step}] {}", number(value))));
        let from = latest.len().saturating_sub(SHOWN);
        let message: Vec<String> = latest[from..].iter().map(|(n, v)| format!("{n}{v}")).collect();
        self.bar.set_message(message.join("  "));
    }
}
