use mio::net::TcpStream;

use super::*;
use crate::Admission;

const PEER: ClientAddress = ClientAddress::Unix;

/// A connection as the shard has it, and the client's end.
fn connect() -> (Transport, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let client = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("it listens");
    let (socket, _) = listener.accept().expect("somebody connects");
    socket.set_nonblocking(true).expect("it may be set");
    (Transport::Tcp(TcpStream::from_std(socket)), client)
}

fn undecided() -> Decide {
    Box::new(|| Admission::HandOver)
}

#[test]
fn what_waits_to_be_decided_goes_with_its_connection_and_its_key_soon_after() {
    let mut heads = Heads::default();
    let mut clients = Vec::new();
    let mut insert = |heads: &mut Heads| {
        let (socket, client) = connect();
        clients.push(client);
        let key = heads.insert(socket, PEER, b"GET".to_vec(), Stage::Reading, 0);
        assert!(heads.note_deciding(key, Work::Seeking, undecided(), 2, 0).is_none());
        key
    };
    let first = insert(&mut heads);
    for _ in 0..2 * GONE_KEYS_MAX {
        let key = insert(&mut heads);
        drop(heads.remove(key));
        assert_eq!(heads.waiting(), 1);
        assert!(heads.undecided[Work::Seeking as usize].len() <= GONE_KEYS_MAX + 4);
    }
    let last = insert(&mut heads);
    assert_eq!(heads.next_undecided(Work::Seeking).map(|(key, _)| key), Some(first));
    assert_eq!(heads.next_undecided(Work::Seeking).map(|(key, _)| key), Some(last));
    assert!(heads.next_undecided(Work::Seeking).is_none() && heads.waiting() == 0);
}

/// The story: each event of a socket queued its connection, and a turn served 64 entries. Clients who
/// sent byte by byte made the queue longer than it was served, without limit.
#[test]
fn a_connection_is_queued_once_however_often_it_becomes_readable() {
    let mut heads = Heads::default();
    let (socket, _client) = connect();
    let key = heads.insert(socket, PEER, Vec::new(), Stage::Reading, 0);
    for _ in 0..10 {
        heads.note_readable(key);
    }
    assert_eq!(heads.readable(), 1);
    assert_eq!(heads.take_readable(), Some(key));
    assert_eq!(heads.take_readable(), None);
    heads.note_readable(key);
    assert_eq!(heads.take_readable(), Some(key), "it may be queued again");
}

#[test]
fn of_one_unfinished_head_too_many_the_oldest_goes_and_finished_ones_do_not_count() {
    let mut heads = Heads::default();
    let mut clients = Vec::new();
    let mut insert = |heads: &mut Heads, stage| {
        let (socket, client) = connect();
        clients.push(client);
        heads.insert(socket, PEER, b"GET".to_vec(), stage, 0)
    };
    let keys: Vec<HeadKey> = (0..4).map(|_| insert(&mut heads, Stage::Reading)).collect();
    assert!(heads.note_unfinished(keys[0], 2).is_none());
    assert!(heads.note_unfinished(keys[1], 2).is_none());
    assert!(heads.note_unfinished(keys[1], 2).is_none(), "it is counted once");
    assert!(
        heads.note_deciding(keys[0], Work::Seeking, undecided(), 2, 0).is_none(),
        "a small head gives its buffer back"
    );
    assert!(heads.note_unfinished(keys[2], 2).is_none());
    let taken = heads.note_unfinished(keys[3], 2).expect("one more than the limit");
    assert_eq!(taken.serial, keys[1].serial);
    assert_eq!((heads.buffers, heads.connections.len()), (2, 3));
    for key in keys {
        heads.remove(key);
    }
    assert_eq!(heads.buffers, 0);
    // One that stays holds up no others' keys.
    let stays = insert(&mut heads, Stage::Reading);
    assert!(heads.note_unfinished(stays, 2).is_none());
    for _ in 0..2 * GONE_KEYS_MAX {
        let goes = insert(&mut heads, Stage::Reading);
        assert!(heads.note_unfinished(goes, 2).is_none());
        drop(heads.remove(goes));
        assert!(heads.unfinished.len() <= GONE_KEYS_MAX + 5);
    }
    assert_eq!(heads.buffers, 1);
}

/// The story: an unfinished head held one of so many buffers, and a whole one that waited for the disk none. As
/// many as there may be connections, each with a head of 64 KiB and a publisher's id to be sought, took a gigabyte.
#[test]
fn long_heads_hold_buffers_while_they_are_decided() {
    let mut heads = Heads::default();
    let mut clients = Vec::new();
    let mut insert = |heads: &mut Heads, length: usize| {
        let (socket, client) = connect();
        clients.push(client);
        heads.insert(socket, PEER, vec![b'x'; length], Stage::Reading, 0)
    };
    let small: Vec<HeadKey> = (0..5).map(|_| insert(&mut heads, SMALL_BYTES_MAX)).collect();
    for key in small {
        assert!(heads.note_deciding(key, Work::Seeking, undecided(), 2, 0).is_none());
    }
    let long: Vec<HeadKey> = (0..3).map(|_| insert(&mut heads, SMALL_BYTES_MAX + 1)).collect();
    assert!(heads.note_deciding(long[0], Work::Seeking, undecided(), 2, 0).is_none());
    assert!(heads.note_deciding(long[1], Work::Seeking, undecided(), 2, 0).is_none());
    let taken = heads.note_deciding(long[2], Work::Seeking, undecided(), 2, 0).expect("one more than the limit");
    assert_eq!((taken.serial, heads.buffers), (long[0].serial, 2));
    drop(heads.remove(long[1]));
    assert_eq!(heads.buffers, 1);
}

/// The story: a head lay read by nobody in the queue of a busy shard until it was late, and its connection was
/// closed with bytes unread, which resets it. Those who were reset came back, and the storm went on.
#[test]
fn who_waits_to_be_read_is_not_late_and_who_was_read_is() {
    let mut heads = Heads::default();
    let (socket, _client) = connect();
    let key = heads.insert(socket, PEER, Vec::new(), Stage::Reading, 0);
    assert!(heads.take_late(1_000, 1_000).is_none(), "nobody has looked at it");
    assert_eq!(heads.take_readable(), Some(key));
    assert!(heads.take_late(999, 1_999).is_none(), "it has the same time again");
    let late = heads.take_late(1_000, 2_000).expect("it said nothing");
    assert_eq!((late.serial, heads.len()), (key.serial, 0));
}

/// One that stays held up the keys of all who came and went after it.
#[test]
fn arrivals_who_have_gone_are_forgotten() {
    let mut heads = Heads::default();
    let mut clients = Vec::new();
    let mut insert = |heads: &mut Heads| {
        let (socket, client) = connect();
        clients.push(client);
        heads.insert(socket, PEER, Vec::new(), Stage::Reading, 0)
    };
    insert(&mut heads);
    for _ in 0..3 * GONE_KEYS_MAX {
        let key = insert(&mut heads);
        drop(heads.remove(key));
        assert!(heads.arrivals.len() <= GONE_KEYS_MAX + 5);
    }
}

#[test]
fn the_memory_of_a_storm_is_given_back_and_no_key_names_another() {
    let mut heads = Heads::default();
    let (socket, _client) = connect();
    let first = heads.insert(socket, PEER, Vec::new(), Stage::Reading, 0);
    heads.connections.reserve(2 * KEPT_MAX);
    drop(heads.remove(first));
    assert_eq!((heads.connections.capacity(), heads.arrivals.capacity(), heads.readable.capacity()), (0, 0, 0));
    let (socket, _client) = connect();
    let second = heads.insert(socket, PEER, Vec::new(), Stage::Reading, 1);
    assert_eq!((first.index, second.index), (0, 0));
    assert!(heads.get_mut(first).is_none() && heads.get_mut(second).is_some());
    assert_eq!(heads.take_readable(), Some(second));
}

#[test]
fn who_is_put_off_twice_is_late_from_the_first_time_on() {
    let mut heads = Heads::default();
    let (first, _first_client) = connect();
    let (second, _second_client) = connect();
    let first = heads.insert(first, PEER, Vec::new(), Stage::Reading, 0);
    let second = heads.insert(second, PEER, Vec::new(), Stage::Reading, 0);
    assert!(heads.note_deciding(first, Work::Reading, undecided(), 2, 10).is_none());
    assert!(heads.next_undecided(Work::Reading).is_some());
    assert!(heads.note_deciding(second, Work::Seeking, undecided(), 2, 15).is_none());
    assert!(heads.note_deciding(first, Work::Seeking, undecided(), 2, 20).is_none());
    assert!(heads.take_undecided(9).is_none());
    assert!(heads.take_undecided(14).is_some());
    assert!(heads.get_mut(first).is_none() && heads.take_undecided(14).is_none());
    assert!(heads.take_undecided(20).is_some());
    assert_eq!((heads.len(), heads.waiting()), (0, 0));
}

/// The story: requests over HTTP/2 that were reset while a place was sought for them were sought places for all the same.
#[test]
fn nobody_decides_on_a_pipe_whose_reader_has_left() {
    let mut heads = Heads::default();
    let (writer, reader) = crate::pipe::pipe(PEER);
    let key = heads.insert(Transport::Pipe(writer), PEER, Vec::new(), Stage::Reading, 0);
    heads.note_deciding(key, Work::Seeking, Box::new(|| Admission::HandOver), 1, 0);
    assert_eq!(heads.waiting(), 1);
    drop(reader);
    assert!(heads.next_undecided(Work::Seeking).is_none());
    assert_eq!((heads.waiting(), heads.len()), (0, 0));
}
