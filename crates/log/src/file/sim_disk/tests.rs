use super::*;

fn write(disk: &SimDisk, name: &str, bytes: &[u8]) -> SimFile {
    let file = disk.create(name).expect("made");
    file.write_at(bytes, 0).expect("written");
    file
}

#[test]
fn what_was_synced_survives_every_power_cut() {
    for seed in 0..50 {
        let disk = SimDisk::default();
        let file = write(&disk, "a", b"hello");
        file.sync().expect("synced");
        disk.sync_names().expect("synced");
        file.write_at(b"HE", 0).expect("written");
        let disk = disk.restart(Outage::PowerCut(seed));
        let bytes = disk.contents("a").expect("there");
        assert_eq!(&bytes[2..], b"llo", "seed {seed}");
        assert!(file.sync().is_err(), "a handle from before");
    }
}

#[test]
fn what_was_not_synced_is_sometimes_whole_sometimes_torn_and_sometimes_gone() {
    let outcomes: BTreeSet<Option<Vec<u8>>> = (0..200)
        .map(|seed| {
            let disk = SimDisk::default();
            write(&disk, "a", b"xyz");
            disk.restart(Outage::PowerCut(seed)).contents("a").ok()
        })
        .collect();
    for expected in [None, Some(vec![]), Some(b"x".to_vec()), Some(b"xy".to_vec()), Some(b"xyz".to_vec())] {
        assert!(outcomes.contains(&expected), "{expected:?} in {outcomes:?}");
    }
}

#[test]
fn a_killed_process_loses_nothing_it_had_written() {
    let disk = SimDisk::default();
    write(&disk, "a", b"xyz");
    assert_eq!(disk.restart(Outage::Kill).contents("a").expect("there"), b"xyz");
}

#[test]
fn after_a_failed_sync_another_one_makes_nothing_of_it_durable() {
    let lost = (0..20).any(|others| {
        let disk = SimDisk::default();
        let file = write(&disk, "a", b"xyz");
        for _ in 0..others {
            disk.sync_names().expect("synced");
        }
        disk.fail_sync_after(0);
        assert!(file.sync().is_err());
        file.sync().expect("says nothing");
        assert_eq!(disk.contents("a").expect("there"), b"xyz", "processes see it");
        disk.sync_names().expect("synced");
        disk.restart(Outage::PowerCut(0)).contents("a").expect("there").is_empty()
    });
    assert!(lost);
}

#[test]
fn a_full_disk_refuses_what_makes_files_longer_and_nothing_else() {
    let disk = SimDisk::default();
    disk.set_space(Some(4));
    let file = write(&disk, "a", b"xyz");
    assert_eq!(file.write_at(b"12", 3).map_err(|error| error.kind()), Err(io::ErrorKind::StorageFull));
    file.write_at(b"XYZ", 0).expect("in place");
}

#[test]
fn the_machine_stops_at_the_operation_asked_for() {
    let disk = SimDisk::default();
    disk.stop_at(2);
    let file = disk.create("a").expect("the first");
    assert!(file.write_at(b"xy", 0).is_err(), "the second");
    assert!(disk.list().is_err(), "and everything after");
    assert_eq!(disk.restart(Outage::Kill).contents("a").expect("there"), b"x", "cut short");
}

#[test]
fn writes_fail_when_they_are_told_to_and_all_of_them_where_nothing_may_be_written() {
    let disk = SimDisk::default();
    disk.fail_writes(1, 2);
    let file = write(&disk, "a", b"xy");
    for _ in 0..2 {
        assert!(file.write_at(b"XY", 0).is_err());
    }
    assert_eq!(disk.contents("a").expect("there"), b"Xy", "half of it was written");
    disk.set_read_only(true);
    let refused = [file.write_at(b"x", 0).err(), disk.create("b").err(), disk.rename("a", "b").err()];
    for error in refused {
        assert_eq!(error.map(|error| error.kind()), Some(io::ErrorKind::ReadOnlyFilesystem));
    }
    disk.set_read_only(false);
    file.write_at(b"x", 0).expect("written");
}
