//! Comparing what is on the disk with what would be written there.

use disk::{AccessFailed, ReadAt, WriteAt};

use crate::image::region::Region;

/// Takes the writes of a formatter and compares them with what is already there.
pub(super) struct Comparison<'a> {
    region: Region<'a>,
    pub(super) differing_bytes: u64,
    pub(super) first_difference: Option<u64>,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(region: Region<'a>) -> Self {
        Self { region, differing_bytes: 0, first_difference: None }
    }
}

impl WriteAt for Comparison<'_> {
    fn write_all_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), AccessFailed> {
        let mut there = vec![0; bytes.len()];
        self.region.read_exact_at(offset, &mut there)?;
        if there == bytes {
            return Ok(());
        }
        for (place, (is, wanted)) in (offset..).zip(there.iter().zip(bytes)) {
            if is != wanted {
                self.differing_bytes += 1;
                self.first_difference = self.first_difference.or(Some(place));
            }
        }
        Ok(())
    }
}
