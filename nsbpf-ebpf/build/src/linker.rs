//! Which bpf-linker here reads what a compiler writes.
//!
//! LLVM reads the bitcode of its own and earlier versions only. bpf-linker does
//! not say which LLVM it is built on, but it stamps that into bitcode that it
//! writes, so it is asked to write some.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Compiler, compiler};

/// A linker for BPF objects.
#[derive(Debug, Clone)]
pub struct Linker {
    /// The program.
    pub path: PathBuf,
    /// What `bpf-linker --version` says, and the LLVM that it is built on.
    pub version: String,
    /// That LLVM's major version, where it can be told.
    pub llvm: Option<u32>,
}

impl Linker {
    /// Whether this linker reads what `compiler` writes. One whose LLVM is
    /// unknown gets the benefit of the doubt: linking will tell.
    #[must_use]
    pub fn suits(&self, compiler: &Compiler) -> bool {
        self.llvm.is_none_or(|llvm| llvm >= compiler.llvm)
    }
}

/// Every bpf-linker on PATH and in cargo's bin folder, as `compiler` sees it.
#[must_use]
pub fn installed(compiler: &Compiler) -> Vec<Linker> {
    let mut candidates: Vec<PathBuf> = Vec::new();
    let path = env::var_os("PATH").unwrap_or_default();
    for folder in env::split_paths(&path).chain(cargo_home().map(|home| home.join("bin"))) {
        let candidate = folder.join("bpf-linker");
        if candidate.is_file() && !candidates.contains(&candidate) {
            candidates.push(candidate);
        }
    }
    let probe = Probe::new(compiler);
    let describe = |path: PathBuf| {
        let output = Command::new(&path).arg("--version").output().ok()?;
        let version = String::from_utf8(output.stdout).ok()?;
        let producer = probe.as_ref().and_then(|probe| probe.producer(&path));
        let llvm = producer.as_deref().map(|llvm| compiler::numbers(llvm).0);
        let built_on = producer.map_or_else(String::new, |llvm| format!(" (LLVM {llvm})"));
        Some(Linker { version: format!("{}{built_on}", version.trim()), path, llvm })
    };
    candidates.into_iter().filter_map(describe).collect()
}

/// Where cargo keeps its registry and what it installs.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")))
}

/// A folder with an empty module, compiled to bitcode, for linkers to pass on.
struct Probe(PathBuf);

impl Probe {
    fn new(compiler: &Compiler) -> Option<Self> {
        let folder = env::temp_dir().join(format!("nsbpf-linker-probe-{}", std::process::id()));
        // Not `create_dir_all`: a folder that is already there is somebody else's.
        fs::create_dir(&folder).ok()?;
        let probe = Self(folder);
        let source = probe.0.join("empty.rs");
        fs::write(&source, "#![feature(no_core)]\n#![no_core]\n").ok()?;
        let status = Command::new(&compiler.rustc)
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["--target", crate::compile::TARGET])
            .args(["--crate-type", "lib", "--emit", "llvm-bc", "-o"])
            .arg(probe.0.join("empty.bc"))
            .arg(source)
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success()).then_some(probe)
    }

    /// The LLVM version that `linker` stamps into its output. The empty module
    /// has nothing in it that an older LLVM would stumble over.
    fn producer(&self, linker: &Path) -> Option<String> {
        let output = self.0.join("relinked.bc");
        let status = Command::new(linker)
            .args(["--emit", "llvm-bc", "-o"])
            .arg(&output)
            .arg(self.0.join("empty.bc"))
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success()).then_some(())?;
        producer(&fs::read(output).ok()?)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // What stays behind in the temporary folder is of no consequence.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The version in a bitcode file's identification block, whose text is six bits
/// a letter at no particular bit offset.
fn producer(bitcode: &[u8]) -> Option<String> {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._";
    const HEAD: usize = 64;
    let bits: Vec<u8> =
        bitcode.iter().take(HEAD).flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1)).collect();
    (0..bits.len()).find_map(|start| {
        let text: String = bits[start..]
            .chunks_exact(6)
            .map(|six| six.iter().rev().fold(0, |value, bit| value << 1 | bit))
            .map(|letter| char::from(LETTERS[usize::from(letter)]))
            .collect();
        let version = text.strip_prefix("LLVM")?;
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.');
        let version = &version[..end.unwrap_or(version.len())];
        version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::producer;

    #[test]
    fn producer_of_real_bitcode() {
        let head = [
            0x42, 0x43, 0xc0, 0xde, 0x35, 0x14, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x62, 0x0c,
            0x30, 0x24, 0x4a, 0x59, 0xbe, 0xa6, 0x6d, 0xfb, 0xb5, 0xcf, 0x0b, 0x51, 0x80, 0x4c,
            0x01, 0x00, 0x00, 0x00, 0x21, 0x0c, 0x00, 0x00,
        ];
        assert_eq!(producer(&head).as_deref(), Some("22.1.8"));
        assert_eq!(producer(b"BC\xc0\xde"), None);
    }
}
