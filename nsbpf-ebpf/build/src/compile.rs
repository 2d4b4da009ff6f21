//! From sources to linked object, with the same bytes wherever it is done.
//!
//! This may run inside an outer cargo's build script. So it starts a cargo of its
//! own with a target folder of its own (the outer one is locked) and without the
//! outer one's environment, which would change the compiler or its flags.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{Error, Toolchain, linker::cargo_home, strip};

/// The little-endian BPF target: what every architecture that we know runs.
pub const TARGET: &str = "bpfel-unknown-none";

/// Everything about the way of compiling that changes the object's bytes; the
/// workspace's own release profile is for user space. BTF is made from full
/// debug information, which is stripped afterwards.
pub(crate) const PROFILE: &[(&str, &str)] = &[
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3"),
    ("CARGO_PROFILE_RELEASE_LTO", "fat"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
    ("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "false"),
    ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "false"),
    ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
    ("CARGO_PROFILE_RELEASE_STRIP", "none"),
];

/// What the linker is told.
pub(crate) const LINK_ARGUMENTS: &[&str] = &["-Clink-arg=--btf"];

/// Compiles the kernel half of `workspace` and returns the stripped object.
/// Everything in between is kept in `cache`, which makes the next time faster.
pub fn compile(workspace: &Path, cache: &Path, toolchain: &Toolchain) -> Result<Vec<u8>, Error> {
    let name = binary_name(workspace)?;
    // Sources have to be on disk before their folders can be remapped.
    run(
        command(&toolchain.compiler.cargo, workspace, toolchain)
            .args(["fetch", "--locked", "--target", TARGET])
            .args(["-Z", "build-std=core"]),
        "fetch the dependencies of nsbpf-ebpf",
    )?;
    fs::create_dir_all(cache).map_err(Error::write(cache))?;
    run(
        command(&toolchain.compiler.cargo, workspace, toolchain)
            .args(["build", "--locked", "--package", "nsbpf-ebpf", "--release"])
            .args(["--target", TARGET, "-Z", "build-std=core", "--target-dir"])
            .arg(cache)
            .env("CARGO_ENCODED_RUSTFLAGS", flags(workspace, cache, toolchain)),
        "compile nsbpf-ebpf",
    )?;
    let linked = cache.join(TARGET).join("release").join(name);
    let bytes = fs::read(&linked).map_err(Error::read(&linked))?;
    strip::without_dwarf(&bytes).map_err(|reason| Error::Strip { path: linked, reason })
}

/// A command in `workspace` for a `program` that is cargo or starts it: it will use
/// `toolchain` and the profile of the kernel half, and know of no outer build.
#[must_use]
pub fn command(program: &Path, workspace: &Path, toolchain: &Toolchain) -> Command {
    let compiler = &toolchain.compiler;
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| belongs_to_outer_build(name)) {
        command.env_remove(name);
    }
    command
        .current_dir(workspace)
        .env("CARGO", &compiler.cargo)
        .env("RUSTC", &compiler.rustc)
        .envs(PROFILE.iter().copied())
        // A build script's standard output is read by the outer cargo.
        .stdout(Stdio::null())
        .stdin(Stdio::null());
    if compiler.bootstrap {
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    command
}

/// The user's settings for network and terminal are kept; what an outer cargo
/// sets for its children, and what chooses compilers and flags, is not.
fn belongs_to_outer_build(name: &OsStr) -> bool {
    const KEPT: &[&str] = &[
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    const DROPPED: &[&str] = &["CARGO", "RUSTC", "RUSTDOC"];
    const DROPPED_WHOLE: &[&str] = &[
        "HOST",
        "MAKEFLAGS",
        "MFLAGS",
        "OUT_DIR",
        "PROFILE",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "TARGET",
    ];
    let Some(name) = name.to_str() else {
        return false;
    };
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    DROPPED_WHOLE.contains(&name) || starts(DROPPED) && !starts(KEPT)
}

/// The compiler's flags, in cargo's encoding, which allows blanks in paths and
/// takes precedence over every flag in a configuration file.
fn flags(workspace: &Path, cache: &Path, toolchain: &Toolchain) -> OsString {
    let mut linker = OsString::from("-Clinker=");
    linker.push(&toolchain.linker.path);
    let mut flags = vec![linker];
    flags.extend(LINK_ARGUMENTS.iter().map(OsString::from));
    for (from, to) in remapped(workspace, cache, toolchain) {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flags.push(flag);
    }
    flags.join(OsStr::new("\x1f"))
}

/// Which folders get which place-independent names. BTF holds the path of every
/// line of source. Of several that match the compiler takes the last.
fn remapped(workspace: &Path, cache: &Path, toolchain: &Toolchain) -> Vec<(PathBuf, &'static str)> {
    let registries = cargo_home().map(|home| home.join("registry/src"));
    let registries = registries.and_then(|registries| fs::read_dir(registries).ok());
    let sources = toolchain.compiler.sources();
    // Some distributions link the sources to a folder that bears the version.
    let real_sources = fs::canonicalize(&sources).ok();
    registries
        .into_iter()
        .flatten()
        .filter_map(|registry| Some((registry.ok()?.path(), "/crates")))
        .chain([(sources, "/rust")])
        .chain(real_sources.map(|sources| (sources, "/rust")))
        .chain([(workspace.to_path_buf(), "/nsbpf")])
        .chain([(cache.to_path_buf(), "/target")])
        .collect()
}

/// The name of the object that cargo makes: the first `[[bin]]`, else the package.
fn binary_name(workspace: &Path) -> Result<String, Error> {
    let path = workspace.join("nsbpf-ebpf/Cargo.toml");
    let text = fs::read_to_string(&path).map_err(Error::read(&path))?;
    let manifest: toml::Table = text.parse().map_err(Error::malformed::<toml::de::Error>(&path))?;
    let of_binary = manifest.get("bin").and_then(|bins| bins.get(0)?.get("name"));
    let name = of_binary.and_then(toml::Value::as_str);
    Ok(name.unwrap_or("nsbpf-ebpf").to_owned())
}

fn run(command: &mut Command, step: &str) -> Result<(), Error> {
    let status = command
        .status()
        .map_err(|source| Error::Spawn { program: command.get_program().into(), source })?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed { step: step.to_owned(), status })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outer_build_is_kept_out() {
        let dropped = |name: &str| belongs_to_outer_build(OsStr::new(name));
        assert!(dropped("CARGO"));
        assert!(dropped("CARGO_ENCODED_RUSTFLAGS"));
        assert!(dropped("CARGO_TARGET_DIR"));
        assert!(dropped("RUSTC_WRAPPER"));
        assert!(dropped("RUSTUP_TOOLCHAIN"));
        assert!(!dropped("CARGO_HOME"));
        assert!(!dropped("CARGO_REGISTRIES_MINE_INDEX"));
        assert!(!dropped("CARGO_NET_OFFLINE"));
        assert!(!dropped("RUSTUP_HOME"));
        assert!(!dropped("PATH"));
    }
}
