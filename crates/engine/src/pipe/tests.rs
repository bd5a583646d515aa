use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use mio::{Poll as Selector, Token};

use super::*;

const PEER: ClientAddress = ClientAddress::Unix;
const KEY: fn() -> SlotKey = || SlotKey::new(3, 5);

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn stands(reader: &PipeReader) -> Poll<Piped> {
    reader.poll(&mut Context::from_waker(Waker::noop()))
}

fn mailbox() -> (Selector, Arc<Mailbox>) {
    let selector = Selector::new().expect("a poll");
    let waker = mio::Waker::new(selector.registry(), Token(0)).expect("a waker");
    (selector, Arc::new(Mailbox::new(waker)))
}

fn chunk(length: usize) -> Vec<u8> {
    [format!("{length:x}\r\n").as_bytes(), &vec![b'x'; length], b"\r\n"].concat()
}

#[test]
fn a_reader_is_woken_by_what_is_written_and_by_the_end() {
    let (writer, reader) = pipe(PEER);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    assert_eq!(reader.poll(&mut context), Poll::Pending);
    assert_eq!(writer.write(&chunk(5)).ok(), Some(10));
    assert_eq!((woken.0.load(Ordering::Relaxed), reader.poll(&mut context)), (1, Poll::Ready(Piped::Bytes(5))));
    assert_eq!((reader.take(2).len(), reader.take(9).len()), (2, 3));
    assert_eq!(reader.poll(&mut context), Poll::Pending);
    assert_eq!(writer.write(b"0\r\n\r\n").ok(), Some(5));
    drop(writer);
    assert!(woken.0.load(Ordering::Relaxed) >= 2);
    assert_eq!(reader.poll(&mut context), Poll::Ready(Piped::Ended));
}

#[test]
fn what_is_left_is_taken_before_a_clean_end_and_gone_at_any_other() {
    for (last, left) in [(&b"0\r\n\r\n"[..], Piped::Bytes(5)), (b"", Piped::Torn)] {
        let (writer, reader) = pipe(PEER);
        writer.write(&[&chunk(5), last].concat()).expect("room");
        drop(writer);
        assert_eq!(stands(&reader), Poll::Ready(left));
    }
    let (writer, reader) = pipe(PEER);
    writer.refuse(Refusal::TooManyStreams);
    drop(writer);
    assert_eq!(stands(&reader), Poll::Ready(Piped::Refused(Refusal::TooManyStreams)));
}

#[test]
fn it_holds_so_much_and_no_more_and_says_when_there_is_room_again() {
    let (_selector, mailbox) = mailbox();
    let (writer, reader) = pipe(PEER);
    assert!(writer.attach(&mailbox, KEY()));
    let bytes = chunk(PIPE_BYTES_MAX + 100);
    let written = writer.write(&bytes).expect("some of it");
    assert_eq!(written, PIPE_BYTES_MAX + "4064\r\n".len());
    let blocked = writer.write(&bytes[written..]).map_err(|error| error.kind());
    assert_eq!(blocked, Err(ErrorKind::WouldBlock));
    assert_eq!(reader.take(PIPE_BYTES_MAX - ROOM_AGAIN_BYTES - 1).len(), PIPE_BYTES_MAX - ROOM_AGAIN_BYTES - 1);
    assert!(mailbox.is_empty(), "for so little room nobody is told");
    assert_eq!(reader.take(1).len(), 1);
    assert!(matches!(&mailbox.take()[..], [Message::Writable(key)] if *key == KEY()));
    assert_eq!(reader.take(usize::MAX).len(), ROOM_AGAIN_BYTES);
    assert!(mailbox.is_empty(), "once is enough");
    assert_eq!(reader.0.lock().bytes.capacity(), 0, "an idle stream holds no buffer");
    assert_eq!(writer.write(&bytes[written..]).ok(), Some(102));
}

#[test]
fn the_shard_is_told_once_that_a_reader_has_left_and_why() {
    let (_selector, mailbox) = mailbox();
    for why in [Leave::Gone, Leave::Stalled] {
        let (writer, reader) = pipe(PEER);
        assert!(writer.attach(&mailbox, KEY()) && !writer.has_left());
        if why == Leave::Stalled {
            reader.stalled();
        }
        drop(reader);
        assert!(matches!(&mailbox.take()[..], [Message::Left(key, told)] if (*key, *told) == (KEY(), why)));
        assert!(writer.has_left() && !writer.attach(&mailbox, KEY()));
        assert_eq!(writer.write(&chunk(1)).map_err(|error| error.kind()), Err(ErrorKind::BrokenPipe));
    }
}

/// The story: a reader that had bytes to take, and a client that made no room for them, heard of the stream's end when
/// its client was given up.
#[test]
fn a_reader_that_waits_for_room_is_woken_by_the_end_alone() {
    let (writer, reader) = pipe(PEER);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    writer.write(&chunk(5)).expect("room");
    assert_eq!(reader.poll(&mut context), Poll::Ready(Piped::Bytes(5)));
    writer.write(&chunk(5)).expect("room");
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    drop(writer);
    assert_eq!((woken.0.load(Ordering::Relaxed), reader.poll(&mut context)), (1, Poll::Ready(Piped::Torn)));
}
