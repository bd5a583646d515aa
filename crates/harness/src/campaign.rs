use std::time::Duration;

use tidewire_sim::{Asked, Connection, Demands, Filter, History, Kill, Subscriber, Until, Verdict};

use crate::clock::{instant, pause};
use crate::{Clock, Hub, Numbers, Pace, Publishers, RawReader, Seed, wait_until};

/// How many publishers there are, each with one request in flight: more than the 8 that must
/// be, since one that has just been answered has none.
const PUBLISHERS: usize = 12;
/// At so many requests in flight a kill may fall.
const IN_FLIGHT: usize = 8;
/// So slow that the slow reader stands inside a large event when the hub is killed.
const SLOW: Pace = Pace::Slow { bytes_per_second: 1_500_000 };
/// Every so many kills one falls as soon as the head of a new stream has come.
const AFTER_HEAD_EVERY: usize = 5;
/// How long anything that must happen may take, beside a build.
const WITHIN: Duration = Duration::from_secs(120);
/// After how long without news from a reader it is held to have all it will get. Browsers wait up to 5 s
/// before they connect again.
const SILENCE: Duration = Duration::from_secs(20);

/// Kills the hub over and over while numbers are published, and lets the checker judge what a
/// witness and the raw readers beside it saw.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// What the seed and the report are printed under.
    pub name: &'static str,
    /// What is published.
    pub numbers: Numbers,
    /// How often the hub is killed.
    pub kills: usize,
    /// What the campaign must have reached.
    pub demands: Demands,
}

/// Who is on trial beside the hub: a browser, or our own client.
pub trait Witness {
    /// How many events of publishers it has seen.
    fn events(&mut self) -> usize;

    /// Stops, and answers what it saw.
    fn finish(self) -> Subscriber;
}

/// A campaign under way.
struct Run<'a, W> {
    campaign: &'a Campaign,
    clock: Clock,
    seed: Seed,
    hub: Hub,
    witness: W,
    publishers: Publishers,
    /// How many had been acknowledged when the hub was last killed.
    acknowledged: usize,
    allowed: usize,
    kills: Vec<Kill>,
    newcomers: Vec<Subscriber>,
}

impl Campaign {
    /// The usual campaign: 10,000 numbers and 20 kills, at least 15 of them with a publish
    /// in flight and 5 with a frame half written. With `XTASK_LONG=1` five times that.
    #[must_use]
    pub fn of_ten_thousand(name: &'static str) -> Campaign {
        let times = if std::env::var("XTASK_LONG").is_ok_and(|long| long == "1") { 5 } else { 1 };
        Campaign {
            name,
            numbers: Numbers::new(10_000 * times),
            kills: 20 * times,
            demands: Demands {
                kills: 20 * times,
                kills_in_flight: 15 * times,
                kills_in_frame: 5 * times,
                kills_after_head: 2 * times,
            },
        }
    }

    /// Runs it with the hub's binary and a witness, and prints the verdict.
    ///
    /// # Panics
    /// If the checker found anything, or something did not happen in time.
    pub fn run<W: Witness>(&self, binary: &str, witness: impl FnOnce(&Hub, Clock, &Numbers) -> W) {
        let verdict = self.judge(binary, witness);
        println!("{}: {verdict}", self.name);
        verdict.assert_clean();
        assert_eq!(verdict.counts.gaps, 0, "nothing was removed, so there is nothing to say");
    }

    fn judge<W: Witness>(&self, binary: &str, witness: impl FnOnce(&Hub, Clock, &Numbers) -> W) -> Verdict {
        let (clock, seed) = (Clock::start(), Seed::new(self.name));
        // Short segments, so that kills fall beside their beginnings, and readers come back to older ones.
        let settings = [("TIDEWIRE_RETRY", "500ms"), ("TIDEWIRE_SEGMENT_BYTES", "4MiB")];
        let hub = Hub::start_with(binary, &["--dev"], &settings);
        let witness = witness(&hub, clock, &self.numbers);
        let start = |name, pace| {
            let first = Connection::begin(Asked::Earliest, clock.now());
            let subscriber = Subscriber::new(name, self.numbers.filter(), Until::Everything).connection(first);
            RawReader::start(hub.address(), hub.life(), clock, pace, subscriber)
        };
        let (slow, quick) = (start("slow reader", SLOW), start("quick reader", Pace::Fast));
        let publishers = Publishers::start(hub.address(), clock, self.numbers.clone(), PUBLISHERS);
        let mut run = Run {
            campaign: self,
            clock,
            seed,
            hub,
            witness,
            publishers,
            acknowledged: 0,
            allowed: 0,
            kills: Vec::new(),
            newcomers: Vec::new(),
        };
        for kill in 1..=self.kills {
            if kill % AFTER_HEAD_EVERY == 0 {
                run.kill_after_head();
            } else {
                run.kill_in_flight(kill);
            }
        }
        run.allow(self.numbers.count);
        wait_until("everything is acknowledged", WITHIN, || run.publishers.acknowledged() == self.numbers.count);
        slow.hurry();
        for reader in [&slow, &quick] {
            settle(self.numbers.count, || reader.events());
        }
        settle(self.numbers.count, || run.witness.events());
        let mut subscribers = vec![run.witness.finish(), slow.stop(), quick.stop()];
        subscribers.append(&mut run.newcomers);
        let publications = run.publishers.finish();
        let history = History { publications, subscribers, kills: run.kills, ..History::default() };
        history.check().demand(self.demands)
    }
}

impl<W: Witness> Run<'_, W> {
    /// Lets the publishers send their next share, and kills at some point in it.
    fn kill_in_flight(&mut self, kill: usize) {
        let share = self.campaign.numbers.count / (self.campaign.kills + 1);
        // The witness must have seen something of this life, or nothing of its resuming is tested. What had
        // been sent before may be all there is to see.
        let new = self.acknowledged + PUBLISHERS;
        self.allow(new + 2 * PUBLISHERS);
        wait_until("the witness reads on in this life", WITHIN, || self.witness.events() > new);
        self.allow(share * kill);
        let at = share * (kill - 1) + share / 4 + self.seed.below(share / 3);
        wait_until("the publishers go on", WITHIN, || self.publishers.acknowledged() >= at);
        wait_until("publishes are in flight", WITHIN, || self.publishers.in_flight() >= IN_FLIGHT);
        pause(Duration::from_micros(self.seed.below(3_000) as u64));
        self.kill();
    }

    /// Opens a new stream and kills the hub as soon as its head has come, with publishes in flight if it
    /// does not answer them all in that time.
    fn kill_after_head(&mut self) {
        self.allow(self.acknowledged + 3 * PUBLISHERS);
        let name = format!("newcomer {}", self.newcomers.len());
        let first = Connection::begin(Asked::Live, self.clock.now());
        let subscriber = Subscriber::new(&name, Filter::any(), Until::LastSeen).connection(first);
        let life = self.hub.life();
        let newcomer = RawReader::start(self.hub.address(), life.clone(), self.clock, Pace::Fast, subscriber);
        let began = instant();
        while !newcomer.has_head_in(life.number()) {
            assert!(began.elapsed() < WITHIN, "{name}: no head within {WITHIN:?}");
            std::thread::yield_now();
        }
        self.kill();
        self.newcomers.push(newcomer.stop());
    }

    fn kill(&mut self) {
        self.kills.push(self.hub.kill(self.clock));
        self.acknowledged = self.publishers.acknowledged();
        // Publishers and readers knock at a closed port meanwhile.
        pause(Duration::from_millis(20 + self.seed.below(200) as u64));
        self.hub.restart();
    }

    fn allow(&mut self, below: usize) {
        self.allowed = self.allowed.max(below).min(self.campaign.numbers.count);
        self.publishers.allow(self.allowed);
    }
}

/// Waits until a reader has seen `count` events, or sees nothing more: then the checker says
/// what is missing.
fn settle(count: usize, mut events: impl FnMut() -> usize) {
    let (mut last, mut since) = (events(), instant());
    while last < count && since.elapsed() < SILENCE {
        pause(Duration::from_millis(50));
        let now = events();
        if now != last {
            (last, since) = (now, instant());
        }
    }
}
