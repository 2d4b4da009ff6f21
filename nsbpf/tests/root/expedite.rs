//! The host's switch that ends RCU grace periods at once: on only while it is needed,
//! and not ours where others turned it on.

use std::fs;

use libtest_mimic::Failed;

use crate::Test;
use crate::command::{ended, ran};

pub(crate) const TESTS: &[Test] = &[
    ("expedite::what_a_killed_command_left_is_put_back", left),
    ("expedite::what_others_turned_on_stays", of_others),
];

const LAB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../labs/quickstart.yaml");
const SWITCH: &str = "/sys/kernel/rcu_expedited";
const NOTE: &str = "/run/nsbpf/expedited";

/// Turns the switch off however the test ends: it is all of the host's.
struct Off;

impl Drop for Off {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, "0");
    }
}

fn is_on() -> bool {
    fs::read_to_string(SWITCH).is_ok_and(|text| text == "1\n")
}

fn left() -> Result<(), Failed> {
    let _off = Off;
    for command in [["up", LAB], ["down", "quickstart"], ["gc", "-v"]] {
        fs::create_dir_all("/run/nsbpf")?;
        fs::write(NOTE, "on\n")?;
        fs::write(SWITCH, "1")?;
        ended(&command, 0);
        assert!(!is_on(), "{command:?}");
        assert!(!fs::exists(NOTE)?, "{command:?}");
    }
    fs::remove_dir("/run/nsbpf")?;
    Ok(())
}

fn of_others() -> Result<(), Failed> {
    let _off = Off;
    fs::write(SWITCH, "1")?;
    ran(&["up", LAB, "--attach", "tcx"]);
    assert!(is_on());
    ran(&["down", "quickstart"]);
    assert!(is_on());
    fs::write(SWITCH, "0")?;
    ran(&["up", LAB, "--attach", "tcx"]);
    assert!(!is_on() && !fs::exists(NOTE)?);
    ran(&["down", "quickstart"]);
    assert!(!is_on());
    Ok(())
}
