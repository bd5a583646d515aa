//! The checker: one judge for every test that delivers events.
//!
//! A test writes down what happened in a [`History`]: what was sent to the hub and what it
//! answered ([`Publication`], [`Attempt`]), what each reader saw ([`Subscriber`],
//! [`Connection`], [`Item`]), and when the hub was killed. [`History::check`] decides:
//!
//! - nothing acknowledged was lost, unless a gap event covers it;
//! - nothing came twice, and nothing lies twice in the log;
//! - the order is the log's: hub ids increase for every reader, and the log's order does not
//!   contradict time;
//! - nothing private reached a stranger, and nothing came that was not asked for;
//! - every gap was said, and quotes what was asked;
//! - nothing was invented: what was seen is what was sent. What was sent and never answered may
//!   appear, but then to everyone; what was refused never appears;
//! - an array is there whole, or not at all.
//!
//! It also counts, so that a test can demand that it was hard enough ([`Demands`]): how many
//! kills fell with a publish in flight, how many with a frame half written, how many between
//! a stream's head and its first event.
//!
//! There is no socket and no clock here: a [`Moment`] is whatever the test measured.
//!
//! ```
//! use tidewire_sim::{
//!     Answer, Asked, Attempt, Connection, Filter, History, Item, Moment, Publication, Subscriber, Until,
//! };
//!
//! let mut history = History::default();
//! let id = "#5-0".parse()?;
//! let attempt = Attempt::answered(Moment(1), Moment(2), Answer::Acknowledged(id));
//! history.publications.push(Publication::new(["news"], "hello").attempt(attempt));
//! let mut connection = Connection::begin(Asked::Earliest, Moment(0));
//! connection.items.push(Item::event("#5-0", "message", "hello"));
//! history.subscribers.push(Subscriber::new("reader", Filter::any(), Until::Everything).connection(connection));
//! history.check().assert_clean();
//! # Ok::<(), tidewire_sim::ParsePlaceError>(())
//! ```

mod arrays;
mod check;
mod digest;
mod fault;
mod history;
mod kills;
mod ledger;
mod place;
mod reader;
mod subscriber;
mod verdict;

pub use digest::Digest;
pub use fault::Fault;
pub use history::{Answer, Attempt, History, Kill, Moment, Publication};
pub use place::{ParsePlaceError, Place};
pub use subscriber::{Asked, Connection, End, Filter, Item, Subscriber, Topics, Until};
pub use verdict::{Counts, Demands, Verdict};
