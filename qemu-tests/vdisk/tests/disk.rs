//! What survives a power cut, held against a model.

use std::collections::BTreeMap;
use std::io::Write;

use proptest::prelude::*;
use vdisk::store::{Cut, Fault, SECTOR, Store};

const SECTORS: u64 = 64;
const BASE_SECTORS: u64 = 40;

/// A disk over an image whose sectors hold their own number.
fn disk() -> (Store, tempfile::NamedTempFile) {
    let mut image = tempfile::NamedTempFile::new().expect("a file");
    for sector in 0..BASE_SECTORS {
        image.write_all(&[u8::try_from(sector).expect("small"); 512]).expect("written");
    }
    (Store::over(image.path(), SECTORS * SECTOR).expect("a disk"), image)
}

/// The mark of one sector; a sector that isn't whole has none.
fn read(store: &mut Store, sector: u64) -> u8 {
    let mut bytes = [0; 512];
    store.read(sector * SECTOR, &mut bytes).expect("readable");
    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a sector is never torn");
    bytes[0]
}

#[test]
fn it_begins_as_the_image_and_the_image_is_never_written() {
    let (mut store, image) = disk();
    let before = std::fs::read(image.path()).expect("an image");
    assert_eq!(read(&mut store, 7), 7);
    assert_eq!(read(&mut store, BASE_SECTORS), 0, "beyond the image are zeros");
    store.write(0, &[9; 512]).expect("written");
    store.flush().expect("flushed");
    assert_eq!(read(&mut store, 0), 9);
    assert_eq!(std::fs::read(image.path()).expect("an image"), before);
}

#[test]
fn a_saved_disk_goes_on_where_it_was_and_is_not_written_either() {
    let (mut store, image) = disk();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk");
    store.write(0, &[9; 512]).expect("written");
    store.write(50 * SECTOR, &[8; 1024]).expect("written, and not flushed");
    store.save(&path).expect("saved");
    let saved = std::fs::read(&path).expect("there");
    let resume = || Store::resume(image.path(), SECTORS * SECTOR, &path).expect("a disk");
    let mut again = resume();
    let sectors = [0, 1, 50, 51, 52].map(|sector| read(&mut again, sector));
    assert_eq!(sectors, [9, 1, 8, 8, 0]);
    again.write(0, &[7; 512]).expect("written");
    again.write(SECTOR, &[6; 512]).expect("written");
    again.cut(Cut::All).expect("cut");
    assert_eq!((read(&mut again, 0), read(&mut again, 1)), (9, 1), "a cut leaves what was saved");
    again.write(0, &[7; 512]).expect("written");
    // What is saved once more has what both wrote.
    let second = folder.path().join("second");
    again.save(&second).expect("saved");
    let mut third = Store::resume(image.path(), SECTORS * SECTOR, &second).expect("a disk");
    assert_eq!((read(&mut third, 0), read(&mut third, 50)), (7, 8));
    assert_eq!(read(&mut resume(), 0), 9);
    assert_eq!(std::fs::read(&path).expect("there"), saved);
}

#[test]
fn a_saved_disk_of_another_size_or_none_is_refused() {
    let (mut store, image) = disk();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("disk");
    store.save(&path).expect("saved");
    assert!(Store::resume(image.path(), 2 * SECTORS * SECTOR, &path).is_err());
    let error = Store::resume(image.path(), SECTORS * SECTOR, &folder.path().join("none"));
    assert!(error.expect_err("nothing is there").to_string().contains("none"));
    assert!(store.save(&path).is_err(), "a saved disk is never written over");
}

#[test]
fn a_cut_loses_what_was_not_flushed_and_nothing_else() {
    let (mut store, _image) = disk();
    store.write(0, &[1; 512]).expect("written");
    store.flush().expect("flushed");
    store.write(0, &[2; 512]).expect("written");
    store.write(SECTOR, &[3; 512]).expect("written");
    assert_eq!(read(&mut store, 0), 2, "the guest sees its own writes");
    assert_eq!(store.unflushed_sectors(), 2);
    store.cut(Cut::All).expect("cut");
    assert_eq!((read(&mut store, 0), read(&mut store, 1)), (1, 1));
    assert_eq!(store.counts().lost_sectors, 2);
}

#[test]
fn some_keeps_whole_writes_torn_keeps_sectors() {
    let torn = |cut: fn(u64) -> Cut| {
        let mut torn = 0;
        for seed in 0..50 {
            let (mut store, _image) = disk();
            store.write(0, &[200; 8 * 512]).expect("written");
            store.cut(cut(seed)).expect("cut");
            let kept = (0..8).filter(|sector| read(&mut store, *sector) == 200).count();
            torn += u32::from(kept != 0 && kept != 8);
        }
        torn
    };
    assert_eq!(torn(|seed| Cut::Some { seed }), 0);
    assert!(torn(|seed| Cut::Torn { seed }) > 40);
}

#[test]
fn faults_are_what_the_guest_sees_until_they_are_healed() {
    let (mut store, _image) = disk();
    store.break_range(SECTOR..2 * SECTOR);
    assert_eq!(store.write(0, &[1; 1024]), Err(Fault::InputOutput));
    assert_eq!(store.read(SECTOR, &mut [0; 512]), Err(Fault::InputOutput));
    store.write(0, &[1; 512]).expect("beside it all is well");
    store.set_full(true);
    assert_eq!(store.write(0, &[1; 512]), Err(Fault::NoSpace));
    assert_eq!(read(&mut store, 0), 1, "reading goes on");
    store.heal();
    store.write(SECTOR, &[1; 512]).expect("healed");
    assert_eq!(store.write(1, &[1; 512]), Err(Fault::Invalid));
    assert_eq!(store.read(u64::MAX - 511, &mut [0; 512]), Err(Fault::Invalid));
    assert_eq!(store.read(SECTORS * SECTOR, &mut [0; 512]), Err(Fault::Invalid));
}

#[derive(Clone, Debug)]
enum Step {
    Write { sector: u64, count: u64, mark: u8 },
    Flush,
    Cut(Cut),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..SECTORS - 8, 1_u64..8, any::<u8>())
            .prop_map(|(sector, count, mark)| Step::Write { sector, count, mark }),
        1 => Just(Step::Flush),
        1 => prop_oneof![
            Just(Cut::All),
            any::<u64>().prop_map(|seed| Cut::Some { seed }),
            any::<u64>().prop_map(|seed| Cut::Torn { seed }),
        ].prop_map(Step::Cut),
    ]
}

proptest! {
    #[test]
    fn a_sector_is_what_was_flushed_or_something_written_since(
        steps in proptest::collection::vec(steps(), 0..60)
    ) {
        let (mut store, _image) = disk();
        let base = |sector: u64| if sector < BASE_SECTORS { u8::try_from(sector).unwrap_or(0) } else { 0 };
        let mut durable: BTreeMap<u64, u8> = (0..SECTORS).map(|s| (s, base(s))).collect();
        let mut unflushed: BTreeMap<u64, u8> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Write { sector, count, mark } => {
                    let bytes = vec![mark; usize::try_from(count * SECTOR).expect("small")];
                    store.write(sector * SECTOR, &bytes).expect("written");
                    unflushed.extend((sector..sector + count).map(|sector| (sector, mark)));
                }
                Step::Flush => {
                    store.flush().expect("flushed");
                    durable.append(&mut unflushed);
                }
                Step::Cut(cut) => {
                    store.cut(cut).expect("cut");
                    for (sector, mark) in std::mem::take(&mut unflushed) {
                        let now = read(&mut store, sector);
                        let kept = cut != Cut::All && now == mark;
                        prop_assert!(kept || now == durable[&sector]);
                        durable.insert(sector, now);
                    }
                }
            }
            for sector in 0..SECTORS {
                let expected = unflushed.get(&sector).unwrap_or(&durable[&sector]);
                prop_assert_eq!(read(&mut store, sector), *expected);
            }
        }
    }
}

#[test]
fn a_desk_that_fails_is_told_from_a_fault_that_was_asked_for() {
    let (mut store, image) = disk();
    store.break_range(0..SECTOR);
    assert_eq!(store.read(0, &mut [0; 512]), Err(Fault::InputOutput));
    assert!(store.desk_failure().is_none());
    store.heal();
    image.as_file().set_len(0).expect("cut short");
    assert_eq!(store.read(0, &mut [0; 512]), Err(Fault::InputOutput));
    assert!(store.desk_failure().is_some());
}
