use std::future::{pending, poll_fn};
use std::task::Poll;
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::Instant;

use crate::hub::Hub;

/// How long a client that was told to go may take to do so once it has its answers.
const GOING_TIMEOUT: Duration = Duration::from_secs(5);

/// When a connection is to be looked at, and why: it is idle, or going, or may have no client any more.
pub(super) struct Pace {
    pings: PingPong,
    idle_timeout: Duration,
    heartbeat: Duration,
    stall_timeout: Duration,
    stage: Stage,
    /// When it was told to go.
    told_at: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Stage {
    /// It has no request, and is told to go at this time, or else ended.
    Idle(Instant),
    /// It is asked at this time whether it is there.
    Busy(Instant),
    /// It was asked, and is given up at this time.
    Asked(Instant),
}

/// What is to be done about a connection.
pub(super) enum Due {
    Nothing,
    Goodbye,
    End(&'static str),
}

impl Pace {
    pub(super) fn new(hub: &Hub, pings: PingPong) -> Pace {
        let &Hub { idle_timeout, heartbeat, stall_timeout, .. } = hub;
        let stage = Stage::Idle(Instant::now() + idle_timeout);
        Pace { pings, idle_timeout, heartbeat, stall_timeout, stage, told_at: None }
    }

    pub(super) fn due(&self) -> Instant {
        match self.stage {
            Stage::Idle(at) | Stage::Busy(at) | Stage::Asked(at) => at,
        }
    }

    pub(super) fn is_going(&self) -> bool {
        self.told_at.is_some()
    }

    /// Whether it was told to go so long ago that whoever still asks does not listen.
    pub(super) fn is_overdue(&self) -> bool {
        self.told_at.is_some_and(|told_at| told_at.elapsed() > GOING_TIMEOUT)
    }

    pub(super) fn note_busy(&mut self) {
        if matches!(self.stage, Stage::Idle(_)) {
            self.stage = Stage::Busy(Instant::now() + self.heartbeat);
        }
    }

    pub(super) fn note_idle(&mut self) {
        let timeout = if self.is_going() { GOING_TIMEOUT } else { self.idle_timeout };
        self.stage = Stage::Idle(Instant::now() + timeout);
    }

    pub(super) fn note_going(&mut self, is_idle: bool) {
        self.told_at = Some(Instant::now());
        if is_idle {
            self.note_idle();
        }
    }

    /// The client has answered that it is there.
    pub(super) async fn pong(&mut self) {
        if !matches!(self.stage, Stage::Asked(_)) {
            return pending().await;
        }
        // An error comes again where requests are waited for.
        let pong = poll_fn(|context| match self.pings.poll_pong(context) {
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(_)) => Poll::Ready(()),
        });
        pong.await;
        self.stage = Stage::Busy(Instant::now() + self.heartbeat);
    }

    /// What is to be done now that it is due.
    pub(super) fn look(&mut self) -> Due {
        match self.stage {
            Stage::Idle(_) if self.is_going() => Due::End("it does not go"),
            Stage::Idle(_) => Due::Goodbye,
            Stage::Asked(_) => Due::End("its client does not answer"),
            Stage::Busy(_) => {
                // One that was asked before it was idle, and has not answered since, is not asked again.
                if let Err(error) = self.pings.send_ping(Ping::opaque()) {
                    tracing::debug!(%error, "a client could not be asked whether it is there");
                }
                self.stage = Stage::Asked(Instant::now() + self.stall_timeout);
                Due::Nothing
            }
        }
    }
}
