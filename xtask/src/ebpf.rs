//! `cargo xtask ebpf`: compiles the kernel half and keeps the object.

use std::{fs, io::ErrorKind, path::Path};

use anyhow::{Context as _, Result, bail};
use nsbpf_ebpf_build::{TARGET, Toolchain, compile, digest, prebuilt};

use crate::{setup, test, workspace};

/// Compile the kernel half and keep the object, to be committed with its sources
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing: check that the kept object is what the sources make
    #[arg(long)]
    check: bool,
}

/// The environment variable by which `nsbpf`'s build script takes another object.
const OVERRIDE: &str = "NSBPF_OBJECT";

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let root = workspace::root();
    if arguments.check { check(&root) } else { renew(&root) }
}

fn renew(root: &Path) -> Result<()> {
    let digest = digest(root)?;
    let toolchain = setup::ensure()?;
    describe(&toolchain);
    let object = compile(root, &workspace::ebpf_cache()?, &toolchain)?;
    let record = prebuilt::Record::new(digest, &object, &toolchain);
    prebuilt::write(root, &record, &object)?;
    eprintln!("kept {} ({} bytes)", prebuilt::path(root).display(), object.len());
    Ok(())
}

fn check(root: &Path) -> Result<()> {
    let Some((record, kept)) = prebuilt::read(root)? else {
        bail!(
            "{} is missing, or is not the object that the record beside it is about; \
             run `cargo xtask ebpf` and commit both",
            prebuilt::path(root).display(),
        );
    };
    if record.digest != digest(root)? {
        bail!(
            "the kernel half was changed since its object was kept (nsbpf-ebpf, nsbpf-common or \
             what they are locked to); run `cargo xtask ebpf` and commit the object and the record",
        );
    }
    let toolchain = setup::ensure()?;
    describe(&toolchain);
    let cache = workspace::ebpf_cache()?;
    remove(&cache.join(TARGET))?;
    let fresh = compile(root, &cache, &toolchain)?;
    if fresh == kept {
        eprintln!("the kept object is, byte for byte, what its sources make");
        return Ok(());
    }
    let fresh_path = cache.join("checked.o");
    fs::write(&fresh_path, &fresh).with_context(|| format!("write {}", fresh_path.display()))?;
    if record.made_by(&toolchain) {
        bail!(
            "with the recorded tools the sources make another object than the kept one; run \
             `cargo xtask ebpf` and commit it, or look where they differ: `llvm-objdump -dr` and \
             `readelf -SsW` of\n  {}\n  {}",
            prebuilt::path(root).display(),
            fresh_path.display(),
        );
    }
    eprintln!(
        "the kept object was made by other tools, so its bytes differ; testing the fresh one\n  \
         recorded: {}, {}\n  here:     {}, {}",
        record.compiler, record.linker, toolchain.compiler.version, toolchain.linker.version,
    );
    test::with_environment(&[(OVERRIDE, fresh_path.as_os_str())])
}

/// From clean: nothing of what becomes part of the object may be left over from
/// earlier. What only runs on the host while compiling may.
fn remove(compiled: &Path) -> Result<()> {
    match fs::remove_dir_all(compiled) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", compiled.display()))
        }
        _ => Ok(()),
    }
}

fn describe(toolchain: &Toolchain) {
    eprintln!(
        "compiling the kernel half with {} and {}",
        toolchain.compiler.version, toolchain.linker.version,
    );
}
