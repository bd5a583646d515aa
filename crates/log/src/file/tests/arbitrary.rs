//! Whatever lies in a folder, opening it does not panic, and salvage does not either.

use proptest::prelude::*;

use super::super::layout::{LogId, SegmentEnd, SegmentHeader, segment_name};
use super::super::manifest::MANIFEST;
use super::super::open::{self, Opening};
use super::super::{OnDamage, SimDisk};
use super::{BEGINNING, opening};
use crate::HubId;
use crate::idempotence::Fingerprints;
use crate::testing::TestClock;

/// Numbers at which arithmetic goes wrong, and small ones that fit together.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..20_u64, 1 => Just(u64::MAX), 1 => Just(u64::MAX - 1), 1 => any::<u64>()]
}

fn header() -> impl Strategy<Value = SegmentHeader> {
    let end = (number(), number(), (number(), number()), number(), number());
    let end = end.prop_map(|(first_sequence, sequence, (ms, seq), length, retention_ms)| SegmentEnd {
        first_sequence,
        sequence,
        id: HubId { ms, seq },
        length,
        retention_ms,
    });
    let file_bytes = prop_oneof![4 => 4096..9000_u64, 1 => number()];
    (any::<bool>(), number(), file_bytes, end).prop_map(|(is_own, first_sequence, file_bytes, before)| SegmentHeader {
        log_id: if is_own { LogId::default() } else { [1; 16] },
        first_sequence,
        file_bytes,
        before,
    })
}

/// A manifest with its checksum, and any fields.
fn manifest() -> impl Strategy<Value = Vec<u8>> {
    let fields = prop::collection::vec(number(), 5);
    (fields, 0..5_u32, 0..4_u32, prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(fields, state, epochs, rest)| {
        let mut bytes = b"TWMANIF\0\0\0\0\0\x02\0\0\0".to_vec();
        bytes.extend([0; 16]);
        fields.iter().for_each(|field| bytes.extend(field.to_le_bytes()));
        bytes.extend(state.to_le_bytes());
        bytes.extend([7; 16]);
        bytes.extend(epochs.to_le_bytes());
        for _ in 0..epochs {
            bytes.extend(1_u16.to_le_bytes());
            bytes.push(b'1');
            fields[..4].iter().for_each(|field| bytes.extend(field.to_le_bytes()));
        }
        if epochs == 0 {
            bytes.extend(rest);
        }
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_folder_makes_a_start_panic(
        manifest in proptest::option::weighted(0.8, prop_oneof![4 => manifest(), 1 => prop::collection::vec(any::<u8>(), 0..200)]),
        segments in prop::collection::vec((header(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 0..4)
    ) {
        for on_damage in [OnDamage::Stop, OnDamage::Salvage] {
            let disk = SimDisk::default();
            if let Some(manifest) = &manifest {
                disk.put(MANIFEST, manifest.clone());
            }
            for (header, is_right, rest) in &segments {
                let mut bytes = if *is_right { header.encode().to_vec() } else { vec![3; 128] };
                bytes.extend(rest);
                disk.put(&segment_name(header.first_sequence), bytes);
            }
            let opening = Opening { on_damage, ..opening(TestClock::at(BEGINNING)) };
            drop(open::open::<_, ()>(disk, &opening, &Fingerprints::default()));
        }
    }
}
