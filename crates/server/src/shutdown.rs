use tokio::sync::{mpsc, watch};

/// Tells connections that the hub stops, and the hub when they have ended.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown {
    begun: watch::Receiver<bool>,
    /// Dropped with the last connection.
    _alive: mpsc::Sender<()>,
}

/// The end that begins it.
#[derive(Debug)]
pub(crate) struct Stopper {
    begin: watch::Sender<bool>,
    ended: mpsc::Receiver<()>,
}

/// A shutdown that has not begun.
pub(crate) fn shutdown() -> (Stopper, Shutdown) {
    let (begin, begun) = watch::channel(false);
    let (alive, ended) = mpsc::channel(1);
    (Stopper { begin, ended }, Shutdown { begun, _alive: alive })
}

impl Shutdown {
    /// Waits until it begins.
    pub(crate) async fn begun(&self) {
        let mut begun = self.begun.clone();
        // A stopper that is gone has stopped.
        let _ = begun.wait_for(|begun| *begun).await;
    }
}

impl Stopper {
    /// Begins it, and waits until every [`Shutdown`] is dropped.
    pub(crate) async fn stop(mut self) {
        self.begin.send_replace(true);
        // Nothing is ever sent: this is over when there is nobody left to send.
        let _ = self.ended.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_over_when_everybody_has_left() {
        let (stopper, shutdown) = shutdown();
        let connection = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.begun().await }
        });
        drop(shutdown);
        stopper.stop().await;
        connection.await.expect("it was told");
    }
}
