use std::io;

use super::recovery::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

/// Why a log could not be opened. Nothing was changed but what a crash had left half done.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the folder.
    #[error("another process uses the log: stop it, or choose another folder")]
    Locked,
    /// An import into the folder has not ended.
    #[error("an import into the folder did not end: run it again")]
    Importing,
    /// The segment size is not in the range that the format allows.
    #[error("segment_bytes is {bytes}, and must be from {} to {}", SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)]
    SegmentBytes {
        /// What was asked for.
        bytes: u64,
    },
    /// A newer version wrote the folder.
    #[error("{file} has format {found}, and this version reads format {expected}: use the version that wrote it")]
    OtherFormat {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
        /// The format that this version reads.
        expected: u32,
    },
    /// There are segments, and nothing says which log they are.
    #[error(
        "the log has segments and no manifest: put it back from a copy, or start with --salvage, which makes one \
         from the segments"
    )]
    NoManifest,
    /// The manifest cannot be read.
    #[error("manifest is damaged: put it back from a copy, or start with --salvage, which makes one from the segments")]
    BadManifest,
    /// Salvage has nothing to go by.
    #[error(
        "neither the manifest nor any segment's header can be read, and nothing says which log this is: put the \
         manifest back from a copy, or move the segments away to begin a new log"
    )]
    Nameless,
    /// A segment of another log.
    #[error(
        "{file} or the manifest belongs to another log: move away what does not belong here, and put back what stood \
         in its place"
    )]
    OtherLog {
        /// The segment's file.
        file: String,
    },
    /// A segment under another one's name.
    #[error("{file} has another file's contents: give it back the name it had, or put it back from a copy")]
    Misnamed {
        /// The segment's file.
        file: String,
    },
    /// A segment is missing.
    #[error(
        "the segment before {file} is missing: put it back from a copy, or start with --salvage, which goes on \
         without it"
    )]
    MissingSegment {
        /// The segment that should follow it.
        file: String,
    },
    /// The newest segments are missing.
    #[error(
        "{file}, the segment behind {last}, is missing: put it back from a copy, or start with --salvage, which goes \
         on without it and says what is gone"
    )]
    MissingNewest {
        /// The segment that is missing.
        file: String,
        /// The newest one that is there.
        last: String,
    },
    /// There is no segment at all.
    #[error(
        "the log has a manifest and no segments: put them back from a copy, or move the manifest away to begin a \
         new log"
    )]
    NoSegments,
    /// What was acknowledged cannot be read.
    #[error(
        "{file} is damaged at byte {position} ({what}): put it back from a copy, or start with --salvage, which goes \
         on without what is damaged and says what is gone"
    )]
    Damaged {
        /// The file.
        file: String,
        /// The byte at which the damage begins.
        position: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The disk failed.
    #[error("failed to {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the disk said.
        source: io::Error,
    },
}
