//! A reader on a good connection, while others go wrong before and in their handshakes: it is no later than without them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tidewire_harness::Clock;

use super::*;

const TICK: Duration = Duration::from_millis(20);
const TICKS: usize = 100;
/// How much later the latest tick may be than the latest of an undisturbed run.
const MORE_MAX: Duration = Duration::from_millis(100);
const TRIES: usize = 3;
const THREADS: usize = 3;
/// Those who say nothing.
const SILENT: usize = 100;

/// How long after its publisher had the answer the latest tick was read. Before the answer is no delay.
fn latest(tls: &TlsHub, clock: Clock) -> Duration {
    let mut stream = tls.open("");
    let reader =
        std::thread::spawn(move || (0..TICKS).map(|_| (stream.published().id, clock.now())).collect::<Vec<_>>());
    let mut publisher = tls.connect();
    let mut committed = Vec::new();
    for tick in 0..TICKS {
        committed.push((publish(&mut publisher, &tick.to_string()), clock.now()));
        std::thread::park_timeout(TICK);
    }
    let read = reader.join().expect("it reads every tick");
    let late = read.iter().zip(&committed).map(|((id, read), (published, commit))| {
        assert_eq!(id, published, "every tick comes once, in order");
        read.0.saturating_sub(commit.0)
    });
    Duration::from_micros(late.max().expect("there are ticks"))
}

/// Wrong beginnings one after the other, until it is over.
fn disturb(tls: &TlsHub, number: usize, is_over: &AtomicBool, count: &AtomicUsize) {
    let connect = || TcpStream::connect(tls.hub.address()).expect("the hub accepts");
    let _silent: Vec<TcpStream> = (0..SILENT).map(|_| connect()).collect();
    let wrong: [&[u8]; 5] =
        [b"GET / HTTP/1.1\r\nhost: hub\r\n\r\n", b"\x16\x03\x01\xff\xff", b"\x16", b"\0\x01\x02\x03\x04\x05", b""];
    for bytes in wrong.iter().cycle().skip(number) {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        let mut socket = connect();
        socket.set_read_timeout(Some(TICK)).expect("a timeout");
        // It may be refused before it has all, and nobody wants to know.
        let _ = socket.write_all(bytes).and_then(|()| socket.read(&mut [0; 4_096]));
        // And one that is in order, which costs the most.
        drop(tls.connect());
        count.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_reader_of_a_ticker_is_not_held_up_by_handshakes_that_go_wrong() {
    let tls = TlsHub::start_with(&["--durability", "memory", "--head-timeout", "2s"]);
    let clock = Clock::start();
    let mut tries = Vec::new();
    for _ in 0..TRIES {
        let undisturbed = latest(&tls, clock);
        let (is_over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
        let disturbed = std::thread::scope(|scope| {
            for number in 0..THREADS {
                let (tls, is_over, count) = (&tls, &is_over, &count);
                scope.spawn(move || disturb(tls, number, is_over, count));
            }
            let disturbed = latest(&tls, clock);
            is_over.store(true, Ordering::SeqCst);
            disturbed
        });
        let count = count.into_inner();
        println!("the latest tick: {undisturbed:?}, and {disturbed:?} beside {count} that were wrong");
        assert!(count > THREADS, "nobody disturbed");
        if disturbed <= undisturbed + MORE_MAX {
            return;
        }
        tries.push((undisturbed, disturbed));
    }
    panic!("the latest tick, undisturbed and disturbed: {tries:?}");
}
