use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};

use super::CountWrites;
use super::alarm::Alarm;
use super::files;
use super::outcome::{Outcome, Sample};
use super::plan::Plan;
use super::publishers::Publishers;
use super::schedule::Schedule;
use super::stamp::Stamp;
use super::subscribers::Subscribers;
use super::target::Target;
use crate::BenchError;
use crate::clock::now;
use crate::process::{CpuTime, Memory, resident_bytes_max};
use crate::progress::Progress;

/// Readiness that is taken in one turn.
const EVENTS_AT_ONCE: usize = 4_096;

/// Of it, how much is worked off before it is looked whether an event is due.
const EVENTS_BETWEEN_OFFERS: usize = 32;

/// Subscriptions under way at once: fewer than a server's backlog usually holds.
const CONNECTING_MAX: usize = 512;

/// The same in a storm: nearly all that a backlog of 4,096 holds.
const STORM_CONNECTING_MAX: usize = 4_000;

/// How long no subscription may be answered before the server counts as hung.
const CONNECT_SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long it is listened for what comes twice, once everything was there.
const LISTEN_ON: Duration = Duration::from_millis(300);

/// How often conditions are looked at that nothing tells of.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often it is looked whether a server's count of its writes stands: heartbeats may keep it going.
const WRITES_LOOKS_MAX: u32 = 20;

/// A run under way.
struct Run<'a> {
    plan: &'a Plan,
    process: Option<u32>,
    poll: Poll,
    events: Events,
    alarm: Alarm,
    began: Instant,
    subscribers: Subscribers,
    publishers: Publishers,
    /// The schedule under way, and from when it counts.
    schedule: Option<(Schedule, Duration)>,
}

/// Subscribes, and puts the load of a plan on a server. `run` tells this run's events from others.
pub(crate) fn run(plan: &Plan, target: &Target, run: u32, writes: CountWrites<'_>) -> Result<Outcome, BenchError> {
    Run::new(plan, target, run)?.all(writes)
}

/// Publishes, and then subscribes all at once with a request that asks for what they missed: how long it takes from the
/// first connection until everyone has everything.
pub(crate) fn storm(plan: &Plan, target: &Target, run: u32) -> Result<(Duration, Outcome), BenchError> {
    Run::new(plan, target, run)?.storm()
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, target: &Target, run: u32) -> Result<Run<'a>, BenchError> {
        plan.check()?;
        files::make_room(u64::from(plan.connections) + plan.lanes() as u64)?;
        let began = now();
        let poll = Poll::new().map_err(BenchError::io("wait for connections"))?;
        let first_lane = plan.connections as usize;
        let alarm_token = Token(first_lane + plan.lanes());
        let alarm = Alarm::new(poll.registry(), alarm_token).map_err(BenchError::io("set an alarm"))?;
        let run = run % Stamp::RUNS;
        Ok(Run {
            plan,
            process: target.process,
            poll,
            events: Events::with_capacity(EVENTS_AT_ONCE),
            alarm,
            began,
            subscribers: Subscribers::new(target, plan, run, began),
            publishers: Publishers::new(&target.publish, plan, run, began, first_lane),
            schedule: None,
        })
    }

    fn all(&mut self, writes: CountWrites<'_>) -> Result<Outcome, BenchError> {
        let mut memory = Vec::new();
        memory.extend(self.memory());
        let mut connected_within = Duration::ZERO;
        for connections in self.plan.slope_from.into_iter().chain([self.plan.connections]) {
            let begun = self.began.elapsed();
            self.connect(connections as usize, CONNECTING_MAX)?;
            connected_within += self.began.elapsed() - begun;
            self.wait_until(self.began.elapsed() + self.plan.settle())?;
            memory.extend(self.memory());
        }

        self.publish(self.plan.warm_up_events)?;
        self.wait_for_readers()?;
        let writes_before = self.settled(writes)?;
        let before = self.sample();
        let from = self.begin_measuring();
        self.publish(self.plan.events)?;
        self.wait_for_readers()?;
        let after = self.sample();
        let writes = self.settled(writes)?.zip(writes_before).map(|(after, before)| after.saturating_sub(before));
        memory.extend(self.memory());

        if self.plan.slow_readers > 0 {
            self.subscribers.resume_slow(self.poll.registry())?;
            self.wait_for_all()?;
        }
        self.wait_until(self.began.elapsed() + LISTEN_ON)?;
        let outcome = Outcome::of(
            self.plan,
            &self.subscribers.received,
            &self.publishers.offered,
            connected_within,
            memory,
            (from, before, after),
            writes,
        );
        Ok(Outcome { resident_bytes_max: self.process.and_then(resident_bytes_max), ..outcome })
    }

    /// How many writes the server counts once the number stands, since it may count one after it was made.
    fn settled(&mut self, writes: CountWrites<'_>) -> Result<Option<u64>, BenchError> {
        let mut count = writes()?;
        for _ in 0..WRITES_LOOKS_MAX {
            if count.is_none() {
                break;
            }
            self.wait_until(self.began.elapsed() + LOOK_EVERY)?;
            let before = std::mem::replace(&mut count, writes()?);
            if before == count {
                break;
            }
        }
        Ok(count)
    }

    fn storm(&mut self) -> Result<(Duration, Outcome), BenchError> {
        self.publish(self.plan.events)?;
        let before = self.sample();
        self.connect(self.plan.connections as usize, STORM_CONNECTING_MAX)?;
        self.wait_for_all()?;
        let after = self.sample();
        let within = self.subscribers.received.last_to_readers_at.saturating_sub(before.at);
        self.wait_until(self.began.elapsed() + LISTEN_ON)?;
        let (received, offered) = (&self.subscribers.received, &self.publishers.offered);
        let samples = (before.at, before, after);
        Ok((within, Outcome::of(self.plan, received, offered, within, Vec::new(), samples, None)))
    }

    /// Opens streams until there are so many, with so many under way at once.
    fn connect(&mut self, connections: usize, at_once: usize) -> Result<(), BenchError> {
        let bar = Progress::bar("subscribing", connections as u64);
        let (mut open, mut open_since) = (0, self.began.elapsed());
        while self.subscribers.received.open < connections {
            let under_way = self.subscribers.len() - self.subscribers.received.open;
            let more = (connections - self.subscribers.len()).min(at_once.saturating_sub(under_way));
            for _ in 0..more {
                self.subscribers.connect(self.poll.registry())?;
            }
            self.turn(LOOK_EVERY)?;
            let elapsed = self.began.elapsed();
            let open_now = self.subscribers.received.open;
            if open_now > open {
                bar.advance((open_now - open) as u64);
                (open, open_since) = (open_now, elapsed);
            } else if elapsed - open_since > CONNECT_SILENCE_MAX {
                let what = format!("answered {open} of {} subscriptions, and no more", self.subscribers.len());
                return Err(BenchError::Program { program: "the server", what });
            }
        }
        Ok(())
    }

    /// Publishes so many events.
    fn publish(&mut self, events: u64) -> Result<(), BenchError> {
        if events == 0 {
            return Ok(());
        }
        let schedule = self.plan.schedule(events);
        let from = self.began.elapsed();
        self.publishers.begin(&schedule);
        self.schedule = Some((schedule, from));
        let bar = Progress::bar("publishing", events);
        let (mut seen, sent_before) = (0, self.publishers.offered.sent);
        let (mut heard, mut heard_at) = (0, from);
        while !self.publishers.is_done(&schedule) {
            self.turn(LOOK_EVERY)?;
            let sent = self.publishers.offered.sent - sent_before;
            if sent > seen {
                bar.advance(sent - seen);
                seen = sent;
            }
            // A server that answers none of its publishers holds everything up for so long, and no longer.
            let offered = &self.publishers.offered;
            let answered = offered.published.iter().sum::<u64>() + offered.failed;
            let elapsed = self.began.elapsed();
            if answered > heard || offered.in_flight == 0 {
                (heard, heard_at) = (answered, elapsed);
            } else if elapsed - heard_at > self.plan.patience() {
                break;
            }
        }
        self.schedule = None;
        Ok(())
    }

    /// From now on, deliveries count. When that is.
    fn begin_measuring(&mut self) -> Duration {
        let from = self.began.elapsed();
        self.subscribers.received.measured_from = from;
        self.publishers.offered.measured_from = from;
        from
    }

    fn wait_for_readers(&mut self) -> Result<(), BenchError> {
        self.wait_for(self.plan.readers(), |run| run.subscribers.received.to_readers)
    }

    fn wait_for_all(&mut self) -> Result<(), BenchError> {
        self.wait_for(self.plan.connections, |run| run.subscribers.received.counts().delivered)
    }

    /// Waits until the first `subscribers` have got all that was published, or until nothing comes any more.
    fn wait_for(&mut self, subscribers: u32, got: impl Fn(&Self) -> u64) -> Result<(), BenchError> {
        let due = self.publishers.offered.due_to(self.plan, subscribers);
        let (mut last, mut last_at) = (got(self), self.began.elapsed());
        while got(self) < due {
            self.turn(LOOK_EVERY)?;
            let (now_got, elapsed) = (got(self), self.began.elapsed());
            if now_got > last {
                (last, last_at) = (now_got, elapsed);
            } else if elapsed - last_at > self.plan.patience() {
                break;
            }
        }
        Ok(())
    }

    fn wait_until(&mut self, time: Duration) -> Result<(), BenchError> {
        loop {
            let left = time.saturating_sub(self.began.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left)?;
        }
    }

    /// Waits for what comes next, for at most `wait`, and works it off.
    fn turn(&mut self, wait: Duration) -> Result<(), BenchError> {
        self.offer()?;
        let elapsed = self.began.elapsed();
        let next = self.schedule.as_ref().and_then(|(schedule, from)| {
            let due = schedule.due_by(elapsed.saturating_sub(*from));
            (due < schedule.events).then(|| (*from + schedule.due(due)).saturating_sub(elapsed))
        });
        let wait = next.map_or(wait, |next| next.min(wait));
        let wait = if self.subscribers.has_unread() { Duration::ZERO } else { wait };
        let timeout = self.alarm.set(wait).map_err(BenchError::io("set an alarm"))?;
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        let worked_off = match self.poll.poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                Err(BenchError::io("wait for connections")(error))
            }
            _ => self.work_off(&events),
        };
        self.events = events;
        worked_off?;
        self.subscribers.turn_unread(EVENTS_BETWEEN_OFFERS, self.poll.registry())
    }

    fn work_off(&mut self, events: &Events) -> Result<(), BenchError> {
        for (number, event) in events.iter().enumerate() {
            if number % EVENTS_BETWEEN_OFFERS == 0 {
                self.offer()?;
            }
            let token = event.token().0;
            if token < self.subscribers.len() {
                self.subscribers.turn(token, self.poll.registry(), event.is_read_closed() || event.is_error())?;
            } else if self.publishers.has(token) {
                self.publishers.turn(token);
            }
        }
        Ok(())
    }

    fn offer(&mut self) -> Result<(), BenchError> {
        match &self.schedule {
            Some((schedule, from)) => self.publishers.offer(schedule, *from, self.poll.registry()),
            None => Ok(()),
        }
    }

    fn memory(&self) -> Option<(usize, Memory)> {
        Some((self.subscribers.received.open, Memory::of(self.process?)?))
    }

    fn sample(&self) -> Sample {
        Sample {
            at: self.began.elapsed(),
            cpu: self.process.and_then(CpuTime::of),
            own_cpu: CpuTime::of(std::process::id()),
            delivered: self.subscribers.received.counts().delivered,
            bytes: self.subscribers.received.bytes,
            sent: self.publishers.offered.sent,
        }
    }
}
