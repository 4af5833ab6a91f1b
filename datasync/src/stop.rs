//! Stopping on request.

use std::{future::Future, io};

use connector_core::{Error, ErrorKind, Result};
use tokio::sync::watch;
use tracing::warn;

/// Tells whether somebody asked the program to stop. Asked once, the data set in hand is finished
/// and no other begun; asked again, it is abandoned.
#[derive(Debug, Clone)]
pub(crate) struct Stop(watch::Receiver<u32>);

impl Stop {
    /// Makes one, and the counter of requests that it looks at.
    pub(crate) fn new() -> (watch::Sender<u32>, Self) {
        let (requests, seen) = watch::channel(0);
        (requests, Self(seen))
    }

    /// Listens to the operating system's requests, until nobody looks at them any more.
    pub(crate) fn on_signals() -> io::Result<Self> {
        let (requests, stop) = Self::new();
        let mut signals = Signals::new()?;
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = signals.next() => {}
                    () = requests.closed() => return,
                }
                let mut first = false;
                requests.send_modify(|count| {
                    first = *count == 0;
                    *count += 1;
                });
                if first {
                    warn!("Stopping after the data set in hand; ask again to abandon it");
                }
            }
        });
        Ok(stop)
    }

    pub(crate) fn is_asked(&self) -> bool {
        *self.0.borrow() > 0
    }

    /// Waits for the first request.
    pub(crate) async fn asked(&self) {
        self.requested(1).await;
    }

    /// Does the work, unless a second request comes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Cancelled`] when it did.
    pub(crate) async fn unless_asked_again<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            done = work => Ok(done),
            () = self.requested(2) => Err(Error::new(
                ErrorKind::Cancelled,
                "abandoned on request; the next cycle goes on from the last whole state",
            )),
        }
    }

    async fn requested(&self, times: u32) {
        let mut seen = self.0.clone();
        if seen.wait_for(|requests| *requests >= times).await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The twins on Windows: Ctrl-C, Ctrl-Break, a closed console and a shutdown.
#[cfg(windows)]
struct Signals {
    interrupt: tokio::signal::windows::CtrlC,
    r#break: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::windows;
        Ok(Self {
            interrupt: windows::ctrl_c()?,
            r#break: windows::ctrl_break()?,
            close: windows::ctrl_close()?,
            shutdown: windows::ctrl_shutdown()?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.r#break.recv() => {}
            _ = self.close.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_request_is_seen_and_the_second_abandons() {
        let (requests, stop) = Stop::new();
        assert!(!stop.is_asked());
        requests.send_replace(1);
        stop.asked().await;
        assert!(stop.is_asked());
        assert_eq!(stop.unless_asked_again(async { 7 }).await.unwrap(), 7);
        requests.send_replace(2);
        let error = stop
            .unless_asked_again(std::future::pending::<()>())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}
