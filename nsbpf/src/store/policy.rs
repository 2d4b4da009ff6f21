//! What the kernel is not told of a policy: one file for each that is in force or was a
//! moment ago, by its generation, and one that says which generation was the last.
//!
//! A file is written before its policy is in force. So what the kernel says is in force
//! has one, however a command ended.

use std::fs;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::note::{read_note, write_note};
use super::{Store, StoreError, failed, if_there, list};

/// A policy, as it was put in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// Which one since there was none.
    pub generation: u64,
    /// Tells it from others.
    pub digest: [u8; 16],
    /// What is done with packets that no rule is about.
    pub default: String,
    /// Whether replies to what was allowed are allowed.
    pub established: bool,
    /// What the default counted in maps that there were before.
    #[serde(default, skip_serializing_if = "Carried::is_nothing")]
    pub default_carried: Carried,
    /// The file of rules that it was read from; `None` if the lab's own file says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules_file: Option<String>,
    /// Rules, in their order.
    pub rules: Vec<RuleRecord>,
}

/// A rule, as it was put in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleRecord {
    /// Its name.
    pub name: String,
    /// What packets it is about.
    pub matches: String,
    /// What is done with them.
    pub action: String,
    /// If they are logged: one of so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<u32>,
    /// The slot of its counters.
    pub slot: u32,
    /// Its limit, as the kernel has it.
    #[serde(default, skip_serializing_if = "SettingRecord::is_nothing")]
    pub setting: SettingRecord,
    /// What it counted in maps that there were before.
    #[serde(default, skip_serializing_if = "Carried::is_nothing")]
    pub carried: Carried,
}

/// A limit: see [`RuleSetting`](nsbpf_common::policy::RuleSetting).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingRecord {
    /// What a packet takes, or a bit.
    pub interval: u64,
    /// How long before it is due a packet may come, in nanoseconds.
    pub burst_ns: u64,
    /// 1 if bits are counted.
    pub counts_bits: u32,
    /// One of so many packets is logged.
    pub log_one_of: u32,
}

/// What was counted in maps that there are no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the last one came, in nanoseconds of `CLOCK_MONOTONIC`; 0 for never.
    pub last_seen_ns: u64,
}

impl Carried {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl SettingRecord {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl Store {
    fn policies(&self) -> PathBuf {
        self.folder().join("policy")
    }

    fn policy_file(&self, generation: u64) -> PathBuf {
        self.policies().join(format!("{generation}.json"))
    }

    fn last_policy_file(&self) -> PathBuf {
        self.policies().join("last")
    }

    /// Locked by who reads what the policy logs.
    #[must_use]
    pub fn policy_reader_lock(&self) -> PathBuf {
        self.folder().join("policy-log")
    }

    /// The policy of a generation; `None` if there is no such file.
    pub fn policy_record(&self, generation: u64) -> Result<Option<PolicyRecord>, StoreError> {
        read_note(&self.policy_file(generation))
    }

    /// Writes down a policy that is about to be in force.
    pub fn write_policy_record(&self, record: &PolicyRecord) -> Result<(), StoreError> {
        let last = self.last_policy_generation()?.max(record.generation);
        write_note(&self.last_policy_file(), Some(&last))?;
        write_note(&self.policy_file(record.generation), Some(record))
    }

    /// The highest generation that a policy had; 0 if there was none.
    pub fn last_policy_generation(&self) -> Result<u64, StoreError> {
        Ok(read_note(&self.last_policy_file())?.unwrap_or(0))
    }

    /// The generations of policies that are written down, the last one first.
    pub fn policy_generations(&self) -> Result<Vec<u64>, StoreError> {
        let files = list(&self.policies())?;
        let generation =
            |file: &PathBuf| file.file_name()?.to_str()?.strip_suffix(".json")?.parse::<u64>().ok();
        let mut generations: Vec<u64> = files.iter().filter_map(generation).collect();
        generations.sort_unstable_by(|one, other| other.cmp(one));
        Ok(generations)
    }

    /// Forgets all policies but that of a generation.
    pub fn forget_policies_but(&self, generation: Option<u64>) -> Result<(), StoreError> {
        for other in self.policy_generations()? {
            if Some(other) != generation {
                let path = self.policy_file(other);
                if_there(fs::remove_file(&path)).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }
}
