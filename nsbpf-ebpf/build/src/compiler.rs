//! Which compilers here can build `core` for the BPF target.
//!
//! There is no compiled `core` for BPF to download, so a compiler only counts
//! when the sources of its standard library lie in its sysroot. Toolchains are
//! looked up on disk and started directly, never through rustup's proxies: those
//! may decide to download something.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What marks a sysroot as having the sources of its standard library.
const SOURCES: &str = "lib/rustlib/src/rust";

/// A compiler with the sources of its standard library.
#[derive(Debug, Clone)]
pub struct Compiler {
    /// The `rustc` to run.
    pub rustc: PathBuf,
    /// The cargo to drive it with.
    pub cargo: PathBuf,
    /// What `rustc --version` says.
    pub version: String,
    /// Its LLVM's major version.
    pub llvm: u32,
    /// Where it keeps its libraries and their sources.
    pub sysroot: PathBuf,
    /// Whether `RUSTC_BOOTSTRAP=1` is needed to unlock unstable options.
    pub bootstrap: bool,
}

impl Compiler {
    /// The folder of the standard library's sources, as the compiler calls it.
    #[must_use]
    pub fn sources(&self) -> PathBuf {
        self.sysroot.join(SOURCES)
    }

    fn probe(rustc: &Path, cargo: PathBuf) -> Option<Self> {
        let sysroot = PathBuf::from(said(rustc, &["--print", "sysroot"])?.trim());
        if !has_sources(&sysroot) {
            return None;
        }
        let verbose = said(rustc, &["-vV"])?;
        let release = field(&verbose, "release: ")?;
        if numbers(release) < numbers(env!("CARGO_PKG_RUST_VERSION")) {
            return None;
        }
        Some(Self {
            rustc: rustc.to_path_buf(),
            cargo,
            version: verbose.lines().next()?.to_owned(),
            llvm: numbers(field(&verbose, "LLVM version: ")?).0,
            sysroot,
            bootstrap: !release.contains("nightly"),
        })
    }
}

/// Every compiler that will do, the preferred one first: rustup's nightlies, its
/// other toolchains, then the distribution's own.
#[must_use]
pub fn installed() -> Vec<Compiler> {
    let from_rustup = rustup_toolchains()
        .into_iter()
        .filter(|sysroot| has_sources(sysroot))
        .filter_map(|sysroot| {
            let bin = sysroot.join("bin");
            let cargo = Some(bin.join("cargo")).filter(|cargo| cargo.is_file());
            Compiler::probe(&bin.join("rustc"), cargo.unwrap_or_else(running_cargo))
        });
    let from_distribution = ["/usr/bin/rustc", "/usr/local/bin/rustc"]
        .into_iter()
        .map(Path::new)
        .filter(|rustc| rustc.is_file() && !is_rustup_proxy(rustc))
        .filter_map(|rustc| Compiler::probe(rustc, running_cargo()));
    from_rustup.chain(from_distribution).collect()
}

/// The toolchain folders of rustup, nightlies first.
fn rustup_toolchains() -> Vec<PathBuf> {
    let home = env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".rustup")));
    let entries = home.and_then(|home| fs::read_dir(home.join("toolchains")).ok());
    let mut toolchains: Vec<_> =
        entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    toolchains.sort_by_key(|path| {
        let name = path.file_name().unwrap_or_default().to_owned();
        (!name.to_string_lossy().starts_with("nightly"), name)
    });
    toolchains
}

/// The cargo that runs us, which is known to read this workspace; else PATH's.
fn running_cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from)
}

fn has_sources(sysroot: &Path) -> bool {
    sysroot.join(SOURCES).join("library/Cargo.lock").is_file()
}

/// Distributions that package rustup put its proxies where a compiler would be.
fn is_rustup_proxy(rustc: &Path) -> bool {
    fs::canonicalize(rustc).is_ok_and(|real| real.file_name().is_some_and(|name| name == "rustup"))
}

fn said(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let said = output.status.success().then_some(output.stdout)?;
    String::from_utf8(said).ok()
}

fn field<'a>(verbose: &'a str, name: &str) -> Option<&'a str> {
    verbose.lines().find_map(|line| line.strip_prefix(name))
}

/// Major and minor number of a version, zero where there is none.
pub(crate) fn numbers(version: &str) -> (u32, u32) {
    let mut numbers =
        version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
                          binary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";

    #[test]
    fn fields_of_a_verbose_version() {
        assert_eq!(field(DEBIAN, "release: "), Some("1.96.0"));
        assert_eq!(field(DEBIAN, "LLVM version: "), Some("22.1.8"));
        assert_eq!(field(DEBIAN, "host: "), None);
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(numbers("1.97.0-nightly"), (1, 97));
        assert_eq!(numbers("22"), (22, 0));
        assert_eq!(numbers(""), (0, 0));
        assert!(numbers("1.100.0") > numbers("1.89"));
    }
}
