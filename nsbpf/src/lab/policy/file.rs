//! A policy in a file of its own.

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::places::Known;
use super::spec::{PolicySpec, RuleSpec};
use super::{Policy, check};
use crate::lab::problem::Problem;
use crate::lab::spec::{self, Entries};
use crate::lab::words::Words;
use crate::lab::{Lab, LabError};

const EXAMPLE: &str =
    "a small policy: {default: deny, rules: [{from: vnet0, to: vnet1, action: allow}]}";

/// A policy, or a mapping that has it under its one key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileSpec {
    policy: Option<Spanned<PolicySpec>>,
    default: Option<Spanned<String>>,
    established: Option<bool>,
    sets: Option<Entries<Option<Spanned<Words>>>>,
    rules: Option<Vec<RuleSpec>>,
}

impl FileSpec {
    fn policy(self) -> Result<PolicySpec, Problem> {
        let Self { policy, default, established, sets, rules } = self;
        let says_more =
            default.is_some() || established.is_some() || sets.is_some() || rules.is_some();
        match policy {
            Some(policy) if says_more => {
                let title = "the file has a policy, and parts of one beside it".to_owned();
                let help = "put all of it below `policy:`, or leave that key out";
                Err(Problem::new(title, policy.referenced).help(help))
            }
            Some(policy) => Ok(policy.value),
            None if !says_more => {
                let title = "the file says nothing about a policy".to_owned();
                Err(Problem::new(title, Location::UNKNOWN).help(EXAMPLE))
            }
            None => Ok(PolicySpec {
                default,
                established,
                sets: sets.unwrap_or_default(),
                rules: rules.unwrap_or_default(),
            }),
        }
    }
}

impl Lab {
    /// Reads a policy for the lab from a file of its own: the policy itself, or a mapping
    /// that has it under `policy`. `file` is what errors call the source.
    ///
    /// # Errors
    /// Everything that is wrong with the policy, each with its place and what would be
    /// right.
    pub fn read_policy(&self, source: &str, file: &str) -> Result<Policy, LabError> {
        let spec = spec::parse(source, EXAMPLE)
            .and_then(FileSpec::policy)
            .map_err(|problem| LabError::new(source, file, vec![problem]))?;
        let Self { namespaces, bridges, groups, .. } = self;
        let mut problems = Vec::new();
        let known = Known { namespaces, bridges, groups };
        let policy = check(&spec, known, &mut problems);
        policy.ok_or_else(|| LabError::new(source, file, problems))
    }
}
