//! A progress bar for what takes longer than a second, on a terminal.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::apply::Oversight;
use crate::plan::Step;

/// What is over sooner shows no bar.
const PATIENCE: Duration = Duration::from_secs(1);
const TEMPLATE: &str = "{bar:30} {pos}/{len} {msg}";

/// Watches something being done, until it is dropped.
pub(super) struct Bar {
    start: Instant,
    bar: OnceLock<ProgressBar>,
}

impl Bar {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), bar: OnceLock::new() }
    }

    /// So much of it is done; `message` says of what.
    pub(super) fn show(&self, done: usize, all: usize, message: impl fmt::Display) {
        if self.start.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_init(|| {
            // Draws nothing where standard error is no terminal.
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // The template is right: it is tested.
            let style = ProgressStyle::with_template(TEMPLATE);
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        bar.set_message(message.to_string());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

/// Watches steps being done, until it is dropped.
pub(super) struct Progress {
    wish_to_stop: Arc<AtomicBool>,
    bar: Bar,
}

impl Progress {
    /// Stops the steps once the flag is set.
    pub(super) fn new(wish_to_stop: Arc<AtomicBool>) -> Self {
        Self { wish_to_stop, bar: Bar::new() }
    }
}

impl Oversight for Progress {
    fn cancelled(&self) -> bool {
        self.wish_to_stop.load(Ordering::Relaxed)
    }

    fn progress(&self, done: usize, steps: usize, next: &Step) {
        self.bar.show(done, steps, format_args!("{} {}", next.verb(), next.key()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_one() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
