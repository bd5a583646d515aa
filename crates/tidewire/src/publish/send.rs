//! Sending: one event, or lines gathered into requests.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use serde_json::value::{RawValue, to_raw_value};
use tidewire_client::{Client, NewEvent, PublishError};
use tidewire_topic::Topic;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Args;
use super::batch::Waiting;
use super::ids::{Form, IdPrinter, random_prefix};
use super::input::{InputError, Line, read_stdin};
use super::progress::Progress;

/// How long to wait for the hub before saying so.
const PATIENCE: Duration = Duration::from_secs(3);

/// Publishes one event.
pub(super) async fn one(args: &Args, text: String) -> anyhow::Result<()> {
    let id = match &args.id {
        Some(id) => id.clone(),
        None => random_prefix()?,
    };
    let event = event(args, id.clone(), text).context("the data is not JSON")?;
    let client = client(args)?;
    let events = [event];
    let mut publishing = pin!(client.publish(&events));
    let ids = match timeout(PATIENCE, &mut publishing).await {
        Ok(ids) => ids,
        Err(_) => {
            eprintln!("no answer from {} yet; trying for {} s in all", args.hub.url(), args.retry_for);
            publishing.await
        }
    };
    let ids = ids.context("failed to publish")?;
    print_ids(&mut printer(args), &Progress::hidden(), &ids, &[id])
}

/// Publishes each line of standard input. After an error, what came before it is still
/// published; after a refusal, nothing more is.
pub(super) async fn lines(args: &Args) -> anyhow::Result<()> {
    let prefix = match &args.id_prefix {
        Some(prefix) => prefix.clone(),
        None => random_prefix()?,
    };
    let mut sending = Sending {
        args,
        client: client(args)?,
        waiting: Waiting::new(),
        under_way: VecDeque::new(),
        progress: Progress::of_stdin(),
        printer: printer(args),
        refused: None,
    };
    let mut input = read_stdin();
    let mut unreadable = None;
    let mut at_end = false;
    while !at_end || !sending.is_done() {
        sending.start();
        tokio::select! {
            read = input.recv(), if !at_end && !sending.waiting.is_full() => match read {
                Some(read) => unreadable = sending.take(&prefix, read).err(),
                None => at_end = true,
            },
            sent = next_sent(&mut sending.under_way), if !sending.under_way.is_empty() => sending.finish(sent)?,
        }
        at_end |= unreadable.is_some() || sending.refused.is_some();
    }
    match sending.refused.or(unreadable) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// A line that is to be published.
struct Pending {
    event: NewEvent,
    id: String,
    number: u64,
    ends_at: u64,
}

/// A request that is under way.
struct Request {
    ids: Vec<String>,
    lines: RangeInclusive<u64>,
    ends_at: u64,
    answer: JoinHandle<Result<Vec<String>, PublishError>>,
}

/// A request that was answered, and what came of it.
struct Sent {
    request: Request,
    result: anyhow::Result<Vec<String>>,
}

struct Sending<'a> {
    args: &'a Args,
    client: Client,
    waiting: Waiting<Pending>,
    /// In the order in which they were sent.
    under_way: VecDeque<Request>,
    progress: Progress,
    printer: IdPrinter<std::io::Stdout>,
    refused: Option<anyhow::Error>,
}

impl Sending<'_> {
    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_empty()
    }

    /// Puts lines in the queue, up to the first that is not good.
    fn take(&mut self, prefix: &str, read: Result<Vec<Line>, InputError>) -> anyhow::Result<()> {
        for Line { number, ends_at, text } in read? {
            if self.args.json_data && text.trim().is_empty() {
                continue;
            }
            let id = format!("{prefix}-{number}");
            let event = event(self.args, id.clone(), text).with_context(|| format!("line {number} is not JSON"))?;
            let bytes = encoded_bytes(&event);
            self.waiting.push(Pending { event, id, number, ends_at }, bytes);
        }
        Ok(())
    }

    /// Sends what waits, as far as requests may be under way.
    fn start(&mut self) {
        while self.under_way.len() < usize::from(self.args.in_flight) {
            let batch = self.waiting.take_batch();
            let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return };
            let lines = first.number..=last.number;
            let ends_at = last.ends_at;
            let (events, ids): (Vec<_>, Vec<_>) = batch.into_iter().map(|line| (line.event, line.id)).unzip();
            let client = self.client.clone();
            let answer = tokio::spawn(async move { client.publish(&events).await });
            self.under_way.push_back(Request { ids, lines, ends_at, answer });
        }
    }

    /// Prints the ids of a request that was answered, or keeps the first refusal.
    fn finish(&mut self, sent: Sent) -> anyhow::Result<()> {
        let Sent { request, result } = sent;
        match result {
            Ok(ids) => {
                self.progress.published(ids.len(), request.ends_at);
                print_ids(&mut self.printer, &self.progress, &ids, &request.ids)
            }
            Err(error) => {
                let (first, last) = request.lines.into_inner();
                self.waiting.clear();
                let which = if first == last { format!("line {first}") } else { format!("lines {first} to {last}") };
                self.refused.get_or_insert(error.context(format!("failed to publish {which}")));
                Ok(())
            }
        }
    }
}

async fn next_sent(under_way: &mut VecDeque<Request>) -> Sent {
    let answer = match under_way.front_mut() {
        Some(request) => (&mut request.answer).await,
        None => return std::future::pending().await,
    };
    let request = under_way.pop_front().expect("its answer was just awaited");
    Sent { request, result: answer.map_err(anyhow::Error::from).and_then(|answer| answer.map_err(Into::into)) }
}

fn event(args: &Args, id: String, text: String) -> Result<NewEvent, serde_json::Error> {
    let data: Box<RawValue> = if args.json_data { serde_json::from_str(&text)? } else { to_raw_value(&text)? };
    Ok(NewEvent {
        topics: args.topics.iter().map(Topic::to_string).collect(),
        data,
        event_type: args.event_type.clone(),
        id: Some(id),
        private: args.private,
        retry: None,
    })
}

/// How many bytes an event takes in a request, or a few more.
fn encoded_bytes(event: &NewEvent) -> usize {
    /// Names, quotes, commas and an id.
    const FRAME_BYTES: usize = 256;
    FRAME_BYTES + event.data.get().len() + event.topics.iter().map(String::len).sum::<usize>()
}

fn client(args: &Args) -> anyhow::Result<Client> {
    Ok(args.hub.client()?.publish_timeout(Duration::from_secs(args.retry_for)))
}

fn printer(args: &Args) -> IdPrinter<std::io::Stdout> {
    IdPrinter::new(std::io::stdout(), if args.json { Form::Json } else { Form::Bare })
}

fn print_ids(
    printer: &mut IdPrinter<std::io::Stdout>,
    progress: &Progress,
    ids: &[String],
    publisher_ids: &[String],
) -> anyhow::Result<()> {
    let pairs = ids.iter().map(String::as_str).zip(publisher_ids.iter().map(String::as_str));
    progress.beside(|| printer.print(pairs)).context("failed to print the ids")
}
