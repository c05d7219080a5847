//! The first register of a cluster, on a node whose operator has no shell to make it.
//!
//! ```text
//!                  register there      register missing
//!   no mark        mark it, serve      make it, mark it, serve      (first boot)
//!   mark           serve               refuse: it was here and is gone
//! ```
//!
//! A register that was lost must not begin anew by itself, so where one was ever made a mark says so.
//! It is kept in another folder than the registers, and both are on the disk before anyone is
//! answered. Power lost between the two leaves a register without a mark, which is then marked.

use std::path::Path;

use ring::rand::{SecureRandom, SystemRandom};

use super::cluster_number;
use super::config::{Cluster, Config};
use super::register::{FileDisk, Kept, RegisterError};

/// Only the witness's user may read or write it.
const MODE: u32 = 0o600;

/// Takes up a cluster's register, and makes it if the configuration says so and none was made before.
pub(super) fn take_up(config: &Config, cluster: &Cluster) -> Result<Kept<FileDisk>, RegisterError> {
    let number = cluster_number(&cluster.name);
    let path = config.register(cluster);
    let opened = Kept::open(FileDisk::new(&path), number);
    let Some(marks) = &config.made else { return opened };
    let mark = marks.join(format!("{}.made", cluster.name));
    match opened {
        Err(RegisterError::Missing { place }) if mark.exists() => {
            Err(RegisterError::Lost { place, mark: mark.display().to_string() })
        }
        Err(RegisterError::Missing { .. }) => {
            let kept = Kept::init(FileDisk::new(&path), number, incarnation(&path)?)?;
            write_mark(&mark)?;
            Ok(kept)
        }
        Ok(kept) if !mark.exists() => {
            write_mark(&mark)?;
            Ok(kept)
        }
        other => other,
    }
}

/// A number that no other register has.
fn incarnation(path: &Path) -> Result<u64, RegisterError> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| RegisterError::Unwritten {
        place: path.display().to_string(),
        why: "the operating system gives no random numbers".to_owned(),
    })?;
    Ok(u64::from_be_bytes(bytes))
}

fn write_mark(mark: &Path) -> Result<(), RegisterError> {
    let text = "a witness's register was made here; without it this cluster is not served\n";
    sys::durable::write(mark, text.as_bytes(), MODE).map_err(|error| RegisterError::Unwritten {
        place: mark.display().to_string(),
        why: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config(folder: &Path) -> Config {
        for name in ["registers", "made"] {
            fs::create_dir(folder.join(name)).unwrap();
        }
        let text = "state = 'registers'\nmade = 'made'\n[[clusters]]\nname = 'plant3'\n\
                    nodes = ['n1', 'n2']\nca_certificate = 'c'\ncertificate = 'w'\nkey = 'k'\n";
        Config::parse(text, folder).unwrap()
    }

    fn taken_up(config: &Config) -> Result<Kept<FileDisk>, RegisterError> {
        take_up(config, config.cluster("plant3").unwrap())
    }

    #[test]
    fn the_first_boot_makes_a_register_and_no_later_one_does() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let first = taken_up(&config).unwrap().register();
        assert_eq!(first.config, None);
        assert_eq!(taken_up(&config).unwrap().register(), first);
        fs::remove_file(folder.path().join("registers/plant3.register")).unwrap();
        let lost = taken_up(&config).unwrap_err();
        assert!(matches!(lost, RegisterError::Lost { .. }), "{lost}");
        assert!(!folder.path().join("registers/plant3.register").exists());
    }

    #[test]
    fn power_lost_before_the_mark_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let first = taken_up(&config).unwrap().register();
        let mark = folder.path().join("made/plant3.made");
        fs::remove_file(&mark).unwrap();
        assert_eq!(taken_up(&config).unwrap().register(), first);
        assert!(mark.exists());
    }

    #[test]
    fn a_damaged_register_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        taken_up(&config).unwrap();
        let path = folder.path().join("registers/plant3.register");
        fs::write(&path, "torn").unwrap();
        fs::remove_file(folder.path().join("made/plant3.made")).unwrap();
        assert!(matches!(taken_up(&config), Err(RegisterError::Damaged { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"torn");
    }

    #[test]
    fn a_mark_that_cannot_be_written_is_no_service() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        fs::remove_dir(folder.path().join("made")).unwrap();
        assert!(matches!(taken_up(&config), Err(RegisterError::Unwritten { .. })));
    }
}
