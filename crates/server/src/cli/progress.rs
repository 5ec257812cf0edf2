//! Progress bars for long work, shown on a terminal only.

use std::fmt;

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

/// Layout of the bar: task, bar, progress, rate and remaining time.
const TEMPLATE: &str = "{msg:22} {bar:40} {human_pos} of {human_len}, {rate}/s, {eta} left";

/// Formats the rate as a whole number per second.
fn whole_rate(state: &ProgressState, to: &mut dyn fmt::Write) {
    // An error only leaves the rate out of the bar.
    let _ = write!(to, "{}", HumanCount(state.per_sec() as u64));
}

/// A progress bar that shows one task after the other.
pub(super) struct Progress<T> {
    bar: ProgressBar,
    doing: Option<T>,
}

impl<T: PartialEq> Progress<T> {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new(0);
        let bar = match ProgressStyle::with_template(TEMPLATE) {
            Ok(style) => bar.with_style(style.with_key("rate", whole_rate)),
            Err(_) => bar,
        };
        Self { bar, doing: None }
    }

    /// Shows that `done` of `all` units of a task are done. Starts from zero when `doing` changes;
    /// `told` is the text for people.
    pub(super) fn show(&mut self, doing: T, told: &str, done: u64, all: u64) {
        if self.doing.as_ref() != Some(&doing) {
            self.bar.reset();
            self.bar.set_message(told.to_owned());
            self.doing = Some(doing);
        }
        self.bar.set_length(all);
        self.bar.set_position(done);
    }

    /// Prints a line above the bar.
    pub(super) fn print(&self, line: &str) -> std::io::Result<()> {
        self.bar.suspend(|| super::session::print(line))
    }
}

impl<T> Drop for Progress<T> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
