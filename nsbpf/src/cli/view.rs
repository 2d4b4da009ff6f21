//! What is watched, on a screen: redrawn on a terminal, page after page elsewhere,
//! or a JSON object a line.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::time::Duration;

use crossterm::cursor::MoveToPreviousLine;
use crossterm::queue;
use crossterm::terminal::{self, Clear, ClearType, DisableLineWrap, EnableLineWrap};
use serde::Serialize;

/// How to show reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: one JSON object a line
    Json,
}

/// What is shown at one moment: as an object to programs, as text to people.
pub(super) trait Page: Serialize {
    /// The text, in so many lines at most where that can be: one that scrolls
    /// cannot be redrawn.
    fn text(&self, lines: usize) -> String;
}

/// Reads the time from one page to the next.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(10) {
        return Err("at least 10ms".to_owned());
    }
    Ok(interval)
}

/// Shows pages on standard output, and what is said besides where it does not
/// disturb them.
pub(super) struct View {
    format: Format,
    redraw: bool,
    drawn_lines: u16,
}

impl View {
    pub(super) fn new(format: Format) -> Self {
        let redraw = format == Format::Table && io::stdout().is_terminal();
        Self { format, redraw, drawn_lines: 0 }
    }

    /// Says a line: on standard output, unless that is for programs.
    pub(super) fn say(&self, line: &str) -> io::Result<()> {
        match self.format {
            Format::Table => writeln!(io::stdout(), "{line}"),
            // What it says besides is no reason to stop for a program.
            Format::Json => {
                let _ = writeln!(io::stderr(), "{line}");
                Ok(())
            }
        }
    }

    /// Shows a page, in place of the one before where that is possible.
    pub(super) fn show(&mut self, page: &impl Page) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.format {
            Format::Json => {
                // Standard output has room for a kilobyte, and an object may have many.
                let mut out = BufWriter::with_capacity(1 << 16, &mut out);
                serde_json::to_writer(&mut out, page)?;
                writeln!(out)?;
                out.flush()?;
            }
            Format::Table if self.redraw => {
                const FALLBACK: (u16, u16) = (80, 24);
                let (_, lines) = terminal::size().unwrap_or(FALLBACK);
                // One is the cursor's.
                let text = page.text(usize::from(lines).saturating_sub(1));
                if self.drawn_lines > 0 {
                    queue!(out, MoveToPreviousLine(self.drawn_lines))?;
                    queue!(out, Clear(ClearType::FromCursorDown))?;
                }
                // A wrapped line would be two, and the next page off by one.
                queue!(out, DisableLineWrap)?;
                write!(out, "{text}")?;
                queue!(out, EnableLineWrap)?;
                self.drawn_lines = u16::try_from(text.lines().count()).unwrap_or(u16::MAX);
            }
            Format::Table => write!(out, "{}", page.text(usize::MAX))?,
        }
        out.flush()
    }
}
