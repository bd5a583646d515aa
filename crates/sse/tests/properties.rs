//! What holds for any event and any bytes.

use proptest::collection::vec;
use proptest::prelude::*;
use tidewire_sse::{DecodeError, Decoder, Event, Item, Limits, Message, encode};

/// Small, so that random streams come over them.
const SMALL: Limits = Limits { line_bytes_max: 24, event_bytes_max: 32 };

#[derive(Clone, Debug)]
struct Sent {
    id: Option<String>,
    event_type: Option<String>,
    data: String,
    retry_ms: Option<u64>,
    comment: Option<String>,
}

fn line() -> impl Strategy<Value = String> {
    "[^\r\n\0]{0,12}"
}

fn sent() -> impl Strategy<Value = Sent> {
    let data = prop_oneof!["[ab :\r\n]{0,12}", "(?s).{0,40}"];
    let event_type = "[^\r\n\0]{1,12}";
    (
        proptest::option::of(line()),
        proptest::option::of(event_type),
        data,
        proptest::option::of(any::<u64>()),
        proptest::option::of(line()),
    )
        .prop_map(|(id, event_type, data, retry_ms, comment)| Sent { id, event_type, data, retry_ms, comment })
}

/// Bytes of which many are meaningful, so that lines and events come up.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        8 => prop::sample::select(vec![
            &b"data"[..], b"data: ", b"event: ", b"id: ", b"retry: ", b":", b" ", b"\r", b"\n", b"\r\n", b"\n\n",
            b"\xef\xbb\xbf", b"\0", b"\xe2\x82", b"\xac", b"12", b"x", b"0123456789",
        ])
        .prop_map(<[u8]>::to_vec),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(word, 0..60).prop_map(|words| words.concat())
}

fn decode<'a>(limits: Limits, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Result<Item, DecodeError>> {
    let mut decoder = Decoder::new(limits);
    let mut items = Vec::new();
    for piece in pieces {
        decoder.feed(piece);
        items.extend(std::iter::from_fn(|| decoder.next()));
    }
    items
}

fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let ends = places.iter().copied().chain([bytes.len()]);
    let starts = std::iter::once(0).chain(places.iter().copied());
    starts.zip(ends).map(|(start, end)| &bytes[start..end]).collect()
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(all in vec(sent(), 0..6), places in vec(any::<prop::sample::Index>(), 0..12)) {
        let mut wire = Vec::new();
        let mut expected = Vec::new();
        let mut last_id = String::new();
        for sent in all {
            if let Some(comment) = sent.comment {
                encode::comment(&mut wire, &comment).expect("the strategy makes only what can be sent");
                expected.push(Ok(Item::Comment(comment)));
            }
            let mut event = Event::new(sent.data.as_str());
            if let Some(id) = sent.id {
                event = event.with_id(id.as_str()).expect("the strategy makes only what can be sent");
                last_id = id;
            }
            if let Some(event_type) = &sent.event_type {
                event = event.with_type(event_type.as_str()).expect("the strategy makes only what can be sent");
            }
            if let Some(ms) = sent.retry_ms {
                event = event.with_retry(ms);
                expected.push(Ok(Item::Retry(ms)));
            }
            event.encode(&mut wire);
            expected.push(Ok(Item::Event(Message {
                id: last_id.clone(),
                event_type: sent.event_type.unwrap_or_else(|| "message".to_owned()),
                data: sent.data.replace("\r\n", "\n").replace('\r', "\n"),
            })));
        }
        prop_assert_eq!(decode(Limits::default(), cut(&wire, &places)), expected);
    }

    #[test]
    fn any_cutting_of_any_bytes_gives_the_same_items(
        bytes in stream(),
        places in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        for limits in [SMALL, Limits::default()] {
            let whole = decode(limits, [&bytes[..]]);
            prop_assert_eq!(&decode(limits, cut(&bytes, &places)), &whole);
            prop_assert_eq!(&decode(limits, bytes.chunks(1)), &whole);
        }
    }
}
