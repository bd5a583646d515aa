use tokio::sync::{mpsc, watch};

/// Tells connections that the hub stops, and the hub when they have ended.
#[derive(Clone, Debug)]
pub(crate) struct Shutdown {
    stage: watch::Receiver<Stage>,
    /// Dropped with the last connection.
    _alive: mpsc::Sender<()>,
}

/// The end that begins it.
#[derive(Debug)]
pub(crate) struct Stopper {
    stage: watch::Sender<Stage>,
    ended: mpsc::Receiver<()>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    Draining,
    Begun,
}

/// A shutdown that has not begun.
pub(crate) fn shutdown() -> (Stopper, Shutdown) {
    let (begin, stage) = watch::channel(Stage::Serving);
    let (alive, ended) = mpsc::channel(1);
    (Stopper { stage: begin, ended }, Shutdown { stage, _alive: alive })
}

impl Shutdown {
    /// Waits until it begins.
    pub(crate) async fn begun(&self) {
        self.reached(Stage::Begun).await;
    }

    /// Waits until streams are ended, and whoever has another request is to go elsewhere with it.
    pub(crate) async fn draining(&self) {
        self.reached(Stage::Draining).await;
    }

    async fn reached(&self, stage: Stage) {
        // A stopper that is gone has stopped.
        let _ = self.stage.clone().wait_for(|reached| *reached >= stage).await;
    }
}

impl Stopper {
    /// Says that streams are being ended.
    pub(crate) fn drain(&self) {
        self.stage.send_replace(Stage::Draining);
    }

    /// Begins it, and waits until every [`Shutdown`] is dropped.
    pub(crate) async fn stop(mut self) {
        self.stage.send_replace(Stage::Begun);
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
