//! A compiler and a linker that go together.

use crate::{Compiler, Error, Linker, compiler, linker};

/// What compiles the kernel half.
#[derive(Debug, Clone)]
pub struct Toolchain {
    /// The compiler.
    pub compiler: Compiler,
    /// The linker, whose LLVM is at least the compiler's.
    pub linker: Linker,
}

impl Toolchain {
    /// Finds the preferred pair; never installs or downloads anything.
    pub fn find() -> Result<Self, Error> {
        let compilers = compiler::installed();
        let mut missing = Error::NoCompiler;
        for compiler in compilers {
            let linkers = linker::installed(&compiler);
            let found = linkers.iter().fold(String::new(), |found, linker| {
                found + &format!(", found {} at {}", linker.version, linker.path.display())
            });
            if let Some(linker) = linkers.into_iter().find(|linker| linker.suits(&compiler)) {
                return Ok(Self { compiler, linker });
            }
            missing = Error::NoLinker { llvm: compiler.llvm, compiler: compiler.version, found };
        }
        Err(missing)
    }
}
