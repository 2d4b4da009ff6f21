//! Reading one value of the kernel, which may not be there or not be for us.

use std::fs;
use std::io;
use std::path::Path;

/// What came of reading a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading<T> {
    /// It is this.
    Is(T),
    /// The kernel does not have it, or not in this network namespace.
    Absent,
    /// It may not be read, or is not what it should be.
    Unreadable(String),
}

impl<T> Reading<T> {
    pub(super) fn value(&self) -> Option<&T> {
        match self {
            Self::Is(value) => Some(value),
            _ => None,
        }
    }

    /// Another value made from this one, where it is one.
    pub(super) fn and_then<U>(self, make: impl FnOnce(T) -> Reading<U>) -> Reading<U> {
        match self {
            Self::Is(value) => make(value),
            Self::Absent => Reading::Absent,
            Self::Unreadable(why) => Reading::Unreadable(why),
        }
    }
}

/// The text of a file, without blanks around it.
pub(super) fn text(path: impl AsRef<Path>) -> Reading<String> {
    let path = path.as_ref();
    match fs::read_to_string(path) {
        Ok(text) => Reading::Is(text.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Reading::Absent,
        Err(error) => Reading::Unreadable(format!("{}: {error}", path.display())),
    }
}

/// The number that is all of a file.
pub(super) fn number(path: impl AsRef<Path>) -> Reading<u64> {
    let path = path.as_ref();
    text(path).and_then(|text| match text.parse() {
        Ok(number) => Reading::Is(number),
        Err(_) => Reading::Unreadable(format!("{}: {text:?} is no number", path.display())),
    })
}

/// The value of `net.…`, as `sysctl` names it, in the calling thread's network
/// namespace.
pub(super) fn sysctl(name: &str) -> Reading<u64> {
    number(Path::new("/proc/sys").join(name.replace('.', "/")))
}

/// Sums a column (the first is 0) of hexadecimal numbers, of which the kernel
/// writes a row a processor. Rows that begin otherwise are headings.
pub(super) fn hexadecimal_column(text: &str, column: usize) -> u64 {
    text.lines()
        .filter_map(|row| row.split_whitespace().nth(column))
        .filter_map(|cell| u64::from_str_radix(cell, 16).ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_there_or_not_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("value");
        assert_eq!(number(&path), Reading::Absent);
        fs::write(&path, "1024\n").unwrap();
        assert_eq!(number(&path), Reading::Is(1024));
        fs::write(&path, "many\n").unwrap();
        assert!(matches!(number(&path), Reading::Unreadable(why) if why.contains("\"many\"")));
    }

    #[test]
    fn columns_are_summed_over_processors() {
        let rows = "0000000a 00000010\n00000001 00000002\n";
        assert_eq!(hexadecimal_column(rows, 1), 0x12);
        assert_eq!(hexadecimal_column("entries table_fulls\n00000001 00000003\n", 1), 3);
        assert_eq!(hexadecimal_column(rows, 7), 0);
    }
}
