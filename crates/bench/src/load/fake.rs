//! A server of event streams for the tests of the generator, which does to what it delivers what it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Request, Target};

/// What it does with each event, beside delivering it to everyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    /// Leaves out this one.
    Lose(usize),
    /// Sends this one twice.
    Double(usize),
    /// Keeps this one, and sends it behind the next one.
    Swap(usize),
    /// Sends to every subscriber, whatever its topic.
    Stray,
    /// Cuts so many bytes off the end of each.
    Cut(usize),
    /// Changes the byte at this place of each.
    Change(usize),
    /// Waits before this one is delivered; its answer comes at once.
    Stall(usize, Duration),
    /// Waits so long before each answer; delivers at once.
    AnswerLate(Duration),
    /// Answers this one with 503, and does not deliver it.
    Refuse(usize),
    /// Answers neither this one nor any behind it, and delivers none of them.
    NeverAnswer(usize),
    /// Ends all streams behind this one.
    Hang(usize),
    /// Sends comments without end behind this one, and no event any more.
    Flood(usize),
    /// Answers subscriptions with 503.
    Full,
}

/// What a publisher is told.
enum Answer {
    Success,
    Refusal,
    None,
}

struct Fake {
    fault: Fault,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    streams: Vec<(String, TcpStream)>,
    events: usize,
    kept: Option<(String, String)>,
}

/// Starts one. Its threads end with the test program.
pub(super) fn target(fault: Fault) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let fake = Arc::new(Fake { fault, state: Mutex::default() });
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let fake = Arc::clone(&fake);
            // A client that is gone is none of its business.
            std::thread::spawn(move || _ = fake.serve(socket));
        }
    });
    requests(address)
}

fn requests(address: SocketAddr) -> Target {
    Target {
        subscribe: Request::subscribe(&format!("http://{address}/{{topic}}"), &[]).expect("a request"),
        publish: Request::publish("POST", &format!("http://{address}/{{topic}}"), &[], "{payload}").expect("a request"),
        tokens: Vec::new(),
        process: None,
    }
}

impl Fake {
    fn serve(&self, socket: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(socket.try_clone()?);
        let mut socket = socket;
        loop {
            let (mut line, mut length) = (String::new(), 0);
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let topic = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let publishes = line.starts_with("POST");
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line)?;
                length = line.strip_prefix("Content-Length: ").map_or(length, |text| text.trim().parse().unwrap_or(0));
            }
            if !publishes && self.fault == Fault::Full {
                return socket.write_all(b"HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n");
            }
            if !publishes {
                socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                self.lock().streams.push((topic, socket));
                return Ok(());
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let answer = self.publish(topic, String::from_utf8_lossy(&body).into_owned());
            if let Fault::AnswerLate(time) = self.fault {
                wait(time);
            }
            let status = match answer {
                Answer::Success => "200 OK",
                Answer::Refusal => "503 No",
                Answer::None => continue,
            };
            socket.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok").as_bytes())?;
        }
    }

    /// Delivers an event, but for the fault. What its publisher is told.
    fn publish(&self, topic: String, data: String) -> Answer {
        let mut state = self.lock();
        let number = state.events;
        state.events += 1;
        match self.fault {
            Fault::Lose(which) if which == number => {}
            Fault::Flood(which) if which == number => {
                self.deliver(&mut state, &topic, &data);
                state.streams.drain(..).for_each(|(_, socket)| _ = std::thread::spawn(|| flood(socket)));
            }
            Fault::Refuse(which) if which == number => return Answer::Refusal,
            Fault::NeverAnswer(from) if from <= number => return Answer::None,
            Fault::Swap(which) if which == number => {
                state.kept = Some((topic, data));
                return Answer::Success;
            }
            Fault::Stall(which, time) if which == number => {
                // Nothing else is delivered meanwhile: that is what a stall is.
                wait(time);
                self.deliver(&mut state, &topic, &data);
            }
            Fault::Double(which) if which == number => {
                self.deliver(&mut state, &topic, &data);
                self.deliver(&mut state, &topic, &data);
            }
            _ => self.deliver(&mut state, &topic, &data),
        }
        if let Some((topic, data)) = state.kept.take() {
            self.deliver(&mut state, &topic, &data);
        }
        if self.fault == Fault::Hang(number) {
            state.streams.clear();
        }
        Answer::Success
    }

    fn deliver(&self, state: &mut State, topic: &str, data: &str) {
        let mut data = data.to_owned();
        match self.fault {
            Fault::Cut(bytes) => data.truncate(data.len() - bytes),
            // The payload has no such byte.
            Fault::Change(at) => data.replace_range(at..=at, "_"),
            _ => {}
        }
        let event = format!("id: 7\ndata: {{\"data\":\"{data}\"}}\n\n");
        for (watched, socket) in &mut state.streams {
            if watched == topic || self.fault == Fault::Stray {
                // One that is gone gets nothing.
                let _ = socket.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes());
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends until nobody reads any more.
fn flood(mut socket: TcpStream) {
    let comment = format!(":{}\n", "x".repeat(1 << 20));
    let chunk = format!("{:x}\r\n{comment}\r\n", comment.len());
    while socket.write_all(chunk.as_bytes()).is_ok() {}
}

/// Time that passes is what these faults are.
#[expect(clippy::disallowed_methods, reason = "a server that is slow on purpose")]
fn wait(time: Duration) {
    std::thread::sleep(time); // The fault itself.
}
