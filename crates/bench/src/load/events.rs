use memchr::{memchr_iter, memchr2};

use super::payload::Payload;
use super::stamp::Stamp;

/// The field whose value counts.
const FIELD: &[u8] = b"data:";

/// Reads `text/event-stream` as far as it takes to find the payloads, and compares them with what was published: in place, with nothing allocated, and with so little
/// kept between two reads that there may be many of these.
#[derive(Clone, Debug)]
pub(crate) struct EventReader {
    line: Line,
    /// The last byte was a carriage return: a line feed behind it ends no other line.
    behind_cr: bool,
    /// What the event that has begun holds.
    event: Event,
    /// The end of what was received of a `data` line, where a stamp may have begun.
    kept: [u8; KEPT_MAX],
    kept_bytes: u8,
}

/// One byte less than a stamp.
const KEPT_MAX: usize = Stamp::BYTES - 1;

/// Where in a line.
#[derive(Clone, Copy, Debug)]
enum Line {
    /// So many bytes of [`FIELD`] were there.
    Begun(u8),
    Data,
    /// Behind a stamp: so many bytes of its filling were there.
    Filling(u32),
    /// Of another field, a comment, or data behind the payload.
    Other,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// No `data` line: nobody is told of it.
    Empty,
    Unstamped,
    Stamped(Found),
}

/// The payload of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) stamp: Stamp,
    /// It is what was published with this stamp, to its end.
    pub(crate) is_whole: bool,
}

impl EventReader {
    pub(crate) fn new() -> EventReader {
        EventReader { line: Line::Begun(0), behind_cr: false, event: Event::Empty, kept: [0; KEPT_MAX], kept_bytes: 0 }
    }

    /// Reads on, and calls `deliver` for each event that is whole: with its payload, if it has one.
    pub(crate) fn read(&mut self, mut bytes: &[u8], payload: &Payload, mut deliver: impl FnMut(Option<Found>)) {
        while let Some(&first) = bytes.first() {
            if self.behind_cr {
                self.behind_cr = false;
                if first == b'\n' {
                    bytes = &bytes[1..];
                    continue;
                }
            }
            match self.line {
                Line::Begun(0) if bytes.starts_with(FIELD) => {
                    self.line = Line::Data;
                    bytes = &bytes[FIELD.len()..];
                    self.begin_data();
                }
                Line::Begun(0) if first == b'\n' || first == b'\r' => {
                    self.behind_cr = first == b'\r';
                    bytes = &bytes[1..];
                    match std::mem::replace(&mut self.event, Event::Empty) {
                        Event::Empty => {}
                        Event::Unstamped => deliver(None),
                        Event::Stamped(found) => deliver(Some(found)),
                    }
                }
                Line::Begun(matched) if FIELD.get(usize::from(matched)) == Some(&first) => {
                    bytes = &bytes[1..];
                    if usize::from(matched) + 1 == FIELD.len() {
                        self.line = Line::Data;
                        self.begin_data();
                    } else {
                        self.line = Line::Begun(matched + 1);
                    }
                }
                Line::Begun(matched) => {
                    // `data` alone is a field with an empty value.
                    if usize::from(matched) + 1 == FIELD.len() && (first == b'\n' || first == b'\r') {
                        self.begin_data();
                    }
                    self.line = Line::Other;
                }
                Line::Data | Line::Filling(_) | Line::Other => {
                    let end = memchr2(b'\n', b'\r', bytes);
                    let value = &bytes[..end.unwrap_or(bytes.len())];
                    let behind_stamp = if matches!(self.line, Line::Data) { self.look_for_stamp(value) } else { value };
                    self.compare(behind_stamp, end.is_some(), payload);
                    bytes = &bytes[value.len()..];
                    if end.is_some() {
                        self.behind_cr = bytes[0] == b'\r';
                        bytes = &bytes[1..];
                        self.line = Line::Begun(0);
                        self.kept_bytes = 0;
                    }
                }
            }
        }
    }

    fn begin_data(&mut self) {
        if matches!(self.event, Event::Empty) {
            self.event = Event::Unstamped;
        }
    }

    /// Looks at more of a `data` line, which may go on. What is behind its stamp, if that ends here.
    fn look_for_stamp<'a>(&mut self, value: &'a [u8]) -> &'a [u8] {
        if matches!(self.event, Event::Stamped(_)) {
            self.line = Line::Other;
            return &[];
        }
        let kept = usize::from(self.kept_bytes);
        if kept > 0 {
            // What a stamp across the border may take of the new bytes.
            let mut joined = [0; 2 * KEPT_MAX];
            let more = value.len().min(KEPT_MAX);
            joined[..kept].copy_from_slice(&self.kept[..kept]);
            joined[kept..kept + more].copy_from_slice(&value[..more]);
            if let Some(end) = self.find(&joined[..kept + more]) {
                // A whole one was not kept, so it ends in the new bytes.
                return &value[end - kept..];
            }
            if more == value.len() {
                self.keep(&joined[..kept + more]);
                return &[];
            }
        }
        match self.find(value) {
            Some(end) => &value[end..],
            None => {
                self.keep(value);
                &[]
            }
        }
    }

    /// Looks for a whole stamp: where it ends.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        // Its prefix ends with a byte that is rare otherwise.
        for last in memchr_iter(Stamp::PREFIX[Stamp::PREFIX.len() - 1], bytes) {
            let begin = (last + 1).saturating_sub(Stamp::PREFIX.len());
            if let Some(stamp) = bytes.get(begin..).and_then(<[u8]>::first_chunk).and_then(Stamp::read) {
                self.event = Event::Stamped(Found { stamp, is_whole: false });
                self.line = Line::Filling(0);
                self.kept_bytes = 0;
                return Some(begin + Stamp::BYTES);
            }
        }
        None
    }

    /// Compares more of what is behind a stamp, up to the end of the line if it has one, with what is to be there.
    fn compare(&mut self, value: &[u8], ends: bool, payload: &Payload) {
        let (Line::Filling(matched), Event::Stamped(found)) = (&mut self.line, &mut self.event) else { return };
        let rest = &payload.filling(&found.stamp)[*matched as usize..];
        let (here, behind) = value.split_at(rest.len().min(value.len()));
        if !rest.starts_with(here) {
            self.line = Line::Other;
        } else if let Some(&byte) = behind.first() {
            found.is_whole = !Payload::may_hold(byte);
            self.line = Line::Other;
        } else {
            found.is_whole = ends && here.len() == rest.len();
            *matched += here.len() as u32;
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let end = &bytes[bytes.len().saturating_sub(KEPT_MAX)..];
        self.kept[..end.len()].copy_from_slice(end);
        self.kept_bytes = end.len() as u8;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const BYTES: u32 = 64;

    fn stamp(number: u32) -> Stamp {
        Stamp { run: 7, topic: 1, lane: 2, number, due: Duration::from_micros(u64::from(number)) }
    }

    fn whole(number: u32) -> Option<Found> {
        Some(Found { stamp: stamp(number), is_whole: true })
    }

    fn text(number: u32) -> String {
        let mut text = Vec::new();
        Payload::new(BYTES).write(stamp(number), &mut text);
        String::from_utf8(text).expect("digits and letters")
    }

    fn read(pieces: &[&[u8]]) -> Vec<Option<Found>> {
        let (mut reader, payload, mut events) = (EventReader::new(), Payload::new(BYTES), Vec::new());
        pieces.iter().for_each(|piece| reader.read(piece, &payload, |found| events.push(found)));
        events
    }

    #[test]
    fn events_with_and_without_a_stamp() {
        let stream = format!(
            ": hello\n\nretry: 3\n\nid: 1\ndata: {} xxx\n\ndata: none\n\nevent: x\n\ndata\n\ndata:{{\"a\":\"{}\"}}\nid: 2\n\n",
            text(1),
            text(2)
        );
        assert_eq!(read(&[stream.as_bytes()]), [whole(1), None, None, whole(2)]);
    }

    #[test]
    fn only_a_whole_event_counts() {
        assert_eq!(read(&[format!("data: {}\n", text(1)).as_bytes()]), []);
        assert_eq!(read(&[format!("id: {}\n\ndatax: {}\n\n", text(1), text(2)).as_bytes()]), []);
        assert_eq!(read(&[format!("data: {}\r\rdata: {}\r\n\r\n", text(1), text(2)).as_bytes()]).len(), 2);
    }

    #[test]
    fn the_first_stamp_of_an_event_is_its_own() {
        let stream = format!("data: tw~tw~{} {}\ndata: {}\n\n", text(1), text(2), text(3));
        assert_eq!(read(&[stream.as_bytes()]), [whole(1)]);
    }

    /// A payload that was cut by less than what a server puts around it was not told from a whole one.
    #[test]
    fn a_payload_is_whole_or_not() {
        let payload = text(1);
        let is_whole = |data: &str| read(&[format!("data: {{\"data\":\"{data}\"}}\n\n").as_bytes()]) == [whole(1)];
        assert!(is_whole(&payload));
        assert!(!is_whole(&payload[..payload.len() - 1]) && !is_whole(&format!("{payload}A")));
        assert_eq!(read(&[format!("data: {}\n\n", &payload[..63]).as_bytes()]).len(), 1, "cut at the end of the line");
        assert!(!read(&[format!("data: {}\n\n", &payload[..63]).as_bytes()]).contains(&whole(1)));
        for at in 0..payload.len() {
            let mut changed = payload.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).expect("digits and letters");
            let is_changed =
                read(&[format!("data: {changed}\n\n").as_bytes()]).iter().flatten().all(|found| !found.is_whole);
            assert!(is_changed, "{changed}");
        }
    }

    fn line() -> impl Strategy<Value = String> {
        let value = prop_oneof![
            "[ -~]{0,60}",
            "(tw~){0,3}",
            (0..9u32, "[ -~]{0,50}", "[ -~]{0,50}").prop_map(|(number, before, after)| before + &text(number) + &after),
        ];
        let field =
            prop_oneof![4 => Just("data:"), 1 => Just("data: "), 1 => Just("id:"), 1 => Just("da"), 1 => Just("")];
        let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r"), Just("\n\n"), Just("\r\n\r\n")];
        (field, value, end).prop_map(|(field, value, end)| format!("{field}{value}{end}"))
    }

    /// What a stream holds, seen as a whole.
    fn oracle(stream: &str) -> Vec<Option<Found>> {
        let (mut events, mut data) = (Vec::new(), None::<String>);
        let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
        let payload = Payload::new(BYTES);
        let found = |at: usize, data: &str| {
            let stamp = data.as_bytes().get(at..).and_then(<[u8]>::first_chunk).and_then(Stamp::read)?;
            let mut whole = Vec::new();
            payload.write(stamp, &mut whole);
            let behind = data.as_bytes()[at..].strip_prefix(&whole[..]);
            let is_whole = behind.is_some_and(|behind| !behind.first().is_some_and(|byte| Payload::may_hold(*byte)));
            Some(Found { stamp, is_whole })
        };
        for line in stream.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            if line.is_empty() {
                events.extend(data.take().map(|data| (0..data.len()).find_map(|at| found(at, &data))));
            } else if let Some(value) = line.strip_prefix("data:").or((line == "data").then_some("")) {
                data = Some(data.unwrap_or_default() + "\n" + value);
            }
        }
        events
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(lines in prop::collection::vec(line(), 0..12), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
            let stream = lines.concat();
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            prop_assert_eq!(read(&pieces), oracle(&stream));
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(read(&single), oracle(&stream));
        }
    }
}
