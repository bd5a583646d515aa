use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::BenchError;

/// Open files that a run takes beside its connections.
const OTHER_FILES: u64 = 64;

/// Makes room for so many connections, as far as the system lets a process have it.
pub(super) fn make_room(connections: u64) -> Result<(), BenchError> {
    let needed = connections + OTHER_FILES;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    // What is started from here inherits it, so it is all that may be had.
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let enough = limit.maximum.is_none_or(|maximum| maximum >= needed);
    if enough && setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    Err(BenchError::Usage(format!(
        "{connections} connections take {needed} open files, and the system lets a process have {allowed}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_end_to_it() {
        assert!(make_room(10).is_ok());
        if getrlimit(Resource::Nofile).maximum.is_some() {
            let error = make_room(u64::MAX - OTHER_FILES).expect_err("nobody has so many").to_string();
            assert!(error.contains("open files"), "{error}");
        }
    }
}
