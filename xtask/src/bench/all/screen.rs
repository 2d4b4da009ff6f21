//! What is shown while benchmarks run.

use std::io::{self, Write as _};

/// Standard output, for as long as somebody reads it: whoever had enough (`| head`)
/// still gets a report.
#[derive(Default)]
pub(super) struct Screen {
    closed: bool,
}

impl Screen {
    pub(super) fn show(&mut self, text: &[u8]) {
        let mut stdout = io::stdout();
        if !self.closed {
            self.closed = stdout.write_all(text).and_then(|()| stdout.flush()).is_err();
        }
    }
}
