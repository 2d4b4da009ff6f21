//! RCU grace periods that end at once, for as long as programs come and go.
//!
//! Each TCX program that is attached or detached, and each device that goes with
//! one, waits for a grace period under rtnl (`tcx_entry_sync`, Linux 6.18): some
//! 12 ms, 24 s for a thousand ports. The kernel has a switch for all of the host,
//! `/sys/kernel/rcu_expedited`, with which each takes a tenth of a millisecond, at
//! the price of an interrupt to every processor. It is on only while steps are
//! done, and what is noted beforehand puts it back after a kill.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::datapath;
use crate::plan::Step;
use crate::state::{Attach, Object};
use crate::store::Store;

const NO_FOLLOW: i32 = OFlags::NOFOLLOW.bits().cast_signed();
const SWITCH: &str = "/sys/kernel/rcu_expedited";
/// Who set this wants no processor disturbed, and it wins over the switch.
const NORMAL_ONLY: &str = "/sys/kernel/rcu_normal";
/// How long to wait for others who do the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// Grace periods end at once until this is dropped.
#[derive(Debug)]
pub(super) struct Expedited {
    /// The note, locked until this is dropped: one at a time, or one would put back
    /// what another relies on.
    _locked: File,
}

/// Whether the host has the switch, and nobody forbids its use.
pub(super) fn is_possible() -> bool {
    let off = |path| fs::read_to_string(path).is_ok_and(|text| text.trim() == "0");
    Path::new(SWITCH).exists()
        && off(NORMAL_ONLY)
        && rustix::fs::access(SWITCH, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Puts back what a killed command left. Who still holds the note is alive.
pub fn recover_grace_periods() {
    if let Err(error) = try_recover() {
        log::warn!("{SWITCH} may be on still and should be 0: {error}");
    }
}

fn try_recover() -> io::Result<()> {
    let path = Store::expedited_note();
    let mut note = match OpenOptions::new().read(true).custom_flags(NO_FOLLOW).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        note => note?,
    };
    match flock(&note, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(()),
        locked => locked?,
    }
    if !is_at(&note, &path) {
        return Ok(());
    }
    let mut noted = String::new();
    note.read_to_string(&mut noted)?;
    if !noted.is_empty() {
        fs::write(SWITCH, "0")?;
    }
    fs::remove_file(path)
}

/// Whether an open file is the one that is there now.
fn is_at(file: &File, path: &Path) -> bool {
    let inodes =
        [fs::symlink_metadata(path), file.metadata()].map(|about| about.map(|about| about.ino()));
    matches!(inodes, [Ok(there), Ok(open)] if there == open)
}

impl Expedited {
    /// Turns the switch for a lab whose programs are attached by TCX, or come to be.
    /// `None` for others, and where it cannot be turned: all is the same then, but
    /// slow.
    pub(super) fn for_tcx(store: &Store, steps: &[Step]) -> Option<Self> {
        let loaded = datapath::observe(store).map(|(datapath, _)| datapath.attach);
        let wanted = steps.iter().any(|step| match step {
            Step::Add(Object::Datapath(to)) | Step::Change { to: Object::Datapath(to), .. } => {
                to.attach == Attach::Tcx
            }
            _ => false,
        });
        if wanted || loaded == Some(Attach::Tcx) { Self::begin() } else { None }
    }

    fn begin() -> Option<Self> {
        if !is_possible() {
            return None;
        }
        let begun = Self::try_begin();
        begun.inspect_err(|error| log::warn!("{SWITCH} stays as it is: {error}")).ok()?
    }

    fn try_begin() -> io::Result<Option<Self>> {
        let mut note = open_locked()?;
        let mut noted = String::new();
        note.read_to_string(&mut noted)?;
        // Who turned it on before us, unless that was us, keeps it on.
        if noted.is_empty() && fs::read_to_string(SWITCH)?.trim() != "0" {
            fs::remove_file(Store::expedited_note())?;
            return Ok(None);
        }
        note.rewind()?;
        note.write_all(b"on\n")?;
        fs::write(SWITCH, "1")?;
        Ok(Some(Self { _locked: note }))
    }
}

/// Makes and locks the note. It goes when it is let go of, so that one which was
/// waited for may be no longer there.
fn open_locked() -> io::Result<File> {
    let path = Store::expedited_note();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let note = options.custom_flags(NO_FOLLOW).open(&path)?;
        match flock(&note, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                if is_at(&note, &path) {
                    return Ok(note);
                }
            }
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

impl Drop for Expedited {
    fn drop(&mut self) {
        let put_back = fs::write(SWITCH, "0");
        let put_back = put_back.and_then(|()| fs::remove_file(Store::expedited_note()));
        if let Err(error) = put_back {
            log::warn!("{SWITCH} may be on still and should be 0: {error}");
        }
    }
}
