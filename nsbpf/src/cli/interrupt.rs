//! SIGINT, SIGTERM and SIGHUP: a wish to stop, seen by blocking work as a flag
//! and by async work as a future.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Whether somebody wants the process to stop.
#[derive(Clone, Debug)]
pub(super) struct Interrupt {
    flag: Arc<AtomicBool>,
    wished: watch::Receiver<bool>,
}

impl Interrupt {
    /// Starts to listen; from now on these signals no longer end the process.
    pub(super) fn listen() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        let (wish, wished) = watch::channel(false);
        let mut int = signal(SignalKind::interrupt())?;
        let mut term = signal(SignalKind::terminate())?;
        let mut hup = signal(SignalKind::hangup())?;
        let seen = Arc::clone(&flag);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                    _ = hup.recv() => {}
                }
                seen.store(true, Ordering::Relaxed);
                // Nobody listens any more: nothing left to stop.
                let _ = wish.send(true);
            }
        });
        Ok(Self { flag, wished })
    }

    /// Set once somebody wishes it.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.flag)
    }

    /// Waits for the wish.
    pub(super) async fn wished(&mut self) {
        // An error means that the listener is gone, with the runtime.
        let _ = self.wished.wait_for(|wished| *wished).await;
    }
}

/// Runs blocking work that may be asked to stop: the flag is set on the first
/// signal.
pub(super) fn interruptible<T: Send + 'static>(
    work: impl FnOnce(Arc<AtomicBool>) -> T + Send + 'static,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let flag = Interrupt::listen()?.flag();
        Ok(tokio::task::spawn_blocking(move || work(flag)).await?)
    })
}
