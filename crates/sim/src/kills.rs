use crate::{Answer, Connection, End, History, Kill, Moment, Verdict};

/// Counts how each kill fell.
pub(crate) fn count(history: &History, verdict: &mut Verdict) {
    let mut kills = history.kills.clone();
    kills.sort_unstable();
    let mut in_flight = vec![false; kills.len()];
    let mut in_frame = vec![false; kills.len()];
    let mut after_head = vec![false; kills.len()];

    for attempt in history.publications.iter().flat_map(|p| &p.attempts) {
        if attempt.answer == Answer::None
            && let Some(written) = attempt.written
            && let Some(kill) = ended_by(&kills, written, attempt.ended)
        {
            in_flight[kill] = true;
        }
    }
    for connection in history.subscribers.iter().flat_map(|s| &s.connections) {
        // A browser does not say when it began to connect, so the head is what surely lay before the kill.
        let began = connection.head.unwrap_or(connection.began);
        let Some(kill) = connection.ended.and_then(|ended| ended_by(&kills, began, ended)) else { continue };
        if connection.end == End::InFrame {
            in_frame[kill] = true;
        }
        if connection.head.is_some() && was_cut(connection) && !connection.has_event() {
            after_head[kill] = true;
        }
    }

    let count = |kills: &[bool]| kills.iter().filter(|kill| **kill).count();
    verdict.counts.kills = kills.len();
    verdict.counts.kills_in_flight = count(&in_flight);
    verdict.counts.kills_in_frame = count(&in_frame);
    verdict.counts.kills_after_head = count(&after_head);
}

/// The first kill that was not over at `began`, if it had begun at `ended`: nothing outlives a kill, so
/// whatever is noticed later was ended by that one.
fn ended_by(kills: &[Kill], began: Moment, ended: Moment) -> Option<usize> {
    let kill = kills.partition_point(|kill| kill.to < began);
    (kill < kills.len() && kills[kill].from <= ended).then_some(kill)
}

/// A browser does not say how a stream ended either; what ended at a kill was cut by it.
fn was_cut(connection: &Connection) -> bool {
    matches!(connection.end, End::InFrame | End::BetweenFrames | End::Unknown)
}
