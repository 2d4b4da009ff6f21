//! One word, or a list of them, with their places.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::problem::listed;

/// `one` or `[one, another]`.
pub(super) enum Words {
    One(String),
    Many(Vec<Spanned<String>>),
}

impl Words {
    /// Each word with its place; `whole` is that of all of them.
    pub(super) fn places(&self, whole: Location) -> Vec<(&str, Location)> {
        match self {
            Self::One(word) => vec![(word, whole)],
            Self::Many(words) => {
                words.iter().map(|word| (word.value.as_str(), word.referenced)).collect()
            }
        }
    }
}

impl fmt::Display for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(word) => formatter.write_str(word),
            Self::Many(words) => formatter.write_str(&listed(words.iter().map(|word| &word.value))),
        }
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordsVisitor)
    }
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Words;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name, or a list of names")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Words, E> {
        Ok(Words::One(word.to_owned()))
    }

    // A namespace may be called `1`.
    fn visit_u64<E: Error>(self, word: u64) -> Result<Words, E> {
        Ok(Words::One(word.to_string()))
    }

    fn visit_i64<E: Error>(self, word: i64) -> Result<Words, E> {
        Ok(Words::One(word.to_string()))
    }

    // How it was written is lost, as in `true` or `1e3`.
    fn visit_bool<E: Error>(self, _: bool) -> Result<Words, E> {
        Err(E::custom("a name that looks like something else goes into quotes"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Words, E> {
        Err(E::custom("a name that looks like something else goes into quotes"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Words, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = list.next_element()? {
            words.push(word);
        }
        Ok(Words::Many(words))
    }

    fn visit_map<A: MapAccess<'de>>(self, _map: A) -> Result<Words, A::Error> {
        Err(A::Error::custom("this should be a name, or a list of names"))
    }
}
