//! Which kernel is meant by a word: a suite of Debian's, or a version.

use anyhow::{Result, bail};

/// The suites whose newest kernel has that version; others are in the last one.
const SUITES: [(&str, &str); 3] =
    [("6.1", "bookworm-security"), ("6.12", "trixie"), ("", "trixie-backports")];

/// A kernel that can be asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Release {
    pub(super) suite: String,
    /// What its version begins with; the newest of the suite without.
    pub(super) version: Option<String>,
}

impl Release {
    pub(super) fn parse(word: &str) -> Result<Self> {
        let plain = |character: char| character.is_ascii_alphanumeric() || ".-".contains(character);
        if !word.starts_with(|first: char| first.is_ascii_alphanumeric())
            || !word.chars().all(plain)
        {
            bail!("{word:?} is neither a suite nor a version of a kernel");
        }
        if word.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Ok(Self { suite: word.to_owned(), version: None });
        }
        let known = SUITES.iter().find(|(version, _)| *version == word);
        Ok(match known {
            Some((_, suite)) => Self { suite: (*suite).to_owned(), version: None },
            // "6.1" is not "6.18".
            None => Self { suite: SUITES[2].1.to_owned(), version: Some(format!("{word}.")) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_and_versions() {
        for (word, suite, version) in [
            ("trixie", "trixie", None),
            ("bookworm-security", "bookworm-security", None),
            ("6.12", "trixie", None),
            ("6.18", "trixie-backports", Some("6.18.")),
        ] {
            let release = Release::parse(word).unwrap();
            assert_eq!((release.suite.as_str(), release.version.as_deref()), (suite, version));
        }
        for word in ["", "../etc", "a b", "a\n"] {
            assert!(Release::parse(word).is_err(), "{word:?}");
        }
    }
}
