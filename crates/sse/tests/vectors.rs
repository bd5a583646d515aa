//! Every wire vector of `conformance/sse`, whole, byte by byte and in random pieces.

use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use tidewire_sse::{Decoder, Item, Limits, Message};

const RANDOM_RUNS: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    #[serde(default)]
    last_event_id_before: String,
    bytes: String,
    items: Vec<ExpectedItem>,
    last_event_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ExpectedItem {
    Event(ExpectedEvent),
    Checkpoint(String),
    Comment(String),
    Retry(u64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedEvent {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    data: String,
}

impl From<ExpectedItem> for Item {
    fn from(item: ExpectedItem) -> Self {
        match item {
            ExpectedItem::Event(ExpectedEvent { id, event_type, data }) => {
                Self::Event(Message { id, event_type, data })
            }
            ExpectedItem::Checkpoint(id) => Self::Checkpoint(id),
            ExpectedItem::Comment(text) => Self::Comment(text),
            ExpectedItem::Retry(ms) => Self::Retry(ms),
        }
    }
}

#[test]
fn every_vector_decodes_as_written_however_it_is_cut() {
    let seed = seed();
    println!("seed {seed}: run again with TEST_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut count = 0;
    for path in files() {
        let text = std::fs::read_to_string(&path).expect("a vector file can be read");
        let vectors: Vec<Vector> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        for vector in vectors {
            count += 1;
            check(vector, &mut random);
        }
    }
    assert!(count >= 100, "only {count} vectors were found");
}

fn check(vector: Vector, random: &mut StdRng) {
    let Vector { name, last_event_id_before, bytes, items, last_event_id } = vector;
    let one_byte = |character| u8::try_from(character).unwrap_or_else(|_| panic!("{name}: {character:?} is no byte"));
    let bytes: Vec<u8> = bytes.chars().map(one_byte).collect();
    let expected = (items.into_iter().map(Item::from).collect::<Vec<_>>(), last_event_id);

    assert_eq!(decode(&last_event_id_before, [&bytes[..]]), expected, "{name}: whole");
    assert_eq!(decode(&last_event_id_before, bytes.chunks(1)), expected, "{name}: byte by byte");
    for _ in 0..RANDOM_RUNS {
        let pieces = cut(&bytes, random);
        assert_eq!(decode(&last_event_id_before, pieces.iter().copied()), expected, "{name}: as {pieces:?}");
    }
}

fn decode<'a>(before: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Item>, String) {
    let mut decoder = Decoder::with_last_event_id(Limits::default(), before);
    let mut items = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        while let Some(item) = decoder.next() {
            items.push(item.expect("no vector is over a limit"));
        }
    }
    (items, decoder.last_event_id().to_owned())
}

/// Pieces of 0 to 8 bytes: an empty one must change nothing.
fn cut<'a>(mut bytes: &'a [u8], random: &mut StdRng) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(random.random_range(0..=bytes.len().min(8)));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/sse");
    let entries = std::fs::read_dir(directory).expect("the vectors are in the repository");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry can be read").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

fn seed() -> u64 {
    match std::env::var("TEST_SEED") {
        Ok(seed) => seed.parse().expect("TEST_SEED is a number"),
        Err(_) => rand::random(),
    }
}
