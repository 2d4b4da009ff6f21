//! Standard output on a thread of its own: whoever reads it may stop reading
//! (Ctrl-S, a stalled pipe), and that must not keep a lab from coming down.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::counters::Frame;
use super::view::{Format, View};

/// Frames and lines that wait for a slow reader at most; later frames are left
/// out.
const WAITING: usize = 64;
/// How long the reader may take for what waits, once all is over.
const PATIENCE: Duration = Duration::from_secs(2);

enum Output {
    Line(String),
    Frame(Frame),
}

/// Where reports go.
pub(super) struct Screen {
    output: Option<SyncSender<Output>>,
    ended: Option<oneshot::Receiver<io::Result<()>>>,
}

impl Screen {
    pub(super) fn new(format: Format) -> Self {
        let (output, outputs) = sync_channel(WAITING);
        let (end, ended) = oneshot::channel();
        // Not joined: at the end of the process it may still wait for a reader.
        thread::spawn(move || {
            // Nobody may be left to tell.
            let _ = end.send(write(&mut View::new(format), &outputs));
        });
        Self { output: Some(output), ended: Some(ended) }
    }

    /// Says a line.
    pub(super) fn say(&self, line: String) {
        self.put(Output::Line(line));
    }

    /// Shows a frame.
    pub(super) fn show(&self, frame: Frame) {
        self.put(Output::Frame(frame));
    }

    fn put(&self, output: Output) {
        let Some(sender) = &self.output else { return };
        if let Err(TrySendError::Full(_)) = sender.try_send(output) {
            log::info!("nobody reads what is shown: left out");
        }
    }

    /// Waits until nothing can be shown any more, because the reader went away or
    /// something failed.
    pub(super) async fn failed(&mut self) -> io::Error {
        if let Some(ended) = &mut self.ended {
            let outcome = ended.await;
            self.ended = None;
            if let Ok(Err(error)) = outcome {
                return error;
            }
        }
        std::future::pending().await
    }

    /// Waits until all is shown, or the reader has had its time.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.output = None;
        let Some(ended) = self.ended.take() else { return Ok(()) };
        match tokio::time::timeout(PATIENCE, ended).await {
            Ok(Ok(outcome)) => outcome,
            // A reader that does not read, or a thread that panicked and said so.
            _ => Ok(()),
        }
    }
}

fn write(view: &mut View, outputs: &Receiver<Output>) -> io::Result<()> {
    for output in outputs {
        match output {
            Output::Line(line) => view.say(&line)?,
            Output::Frame(frame) => view.show(&frame)?,
        }
    }
    Ok(())
}
