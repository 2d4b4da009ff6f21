//! The linked object without what only a debugger reads.
//!
//! BTF is made from DWARF, so an object with BTF comes with DWARF, which is nine
//! tenths of it. The kernel and aya read BTF only, and of that only the sections
//! themselves: their relocations are for linkers, and already done in place.

use object::{
    build::{
        Error,
        elf::{Builder, SectionData},
    },
    elf::SHT_STRTAB,
};

/// What the names of the sections to drop begin with.
const DROPPED: &[&str] = &[".debug_", ".rel.debug_", ".rel.BTF"];

/// Drops every DWARF section, with its relocations and section symbol.
pub(crate) fn without_dwarf(elf: &[u8]) -> Result<Vec<u8>, String> {
    rewrite(elf).map_err(|error| error.to_string())
}

fn rewrite(elf: &[u8]) -> Result<Vec<u8>, Error> {
    let mut builder = Builder::read(elf)?;
    for section in &mut builder.sections {
        let name = section.name.to_string();
        section.delete = DROPPED.iter().any(|dropped| name.starts_with(dropped));
    }
    builder.delete_orphans();
    // LLVM keeps the names of sections among those of symbols; the builder does not.
    if builder.sections.iter().all(|section| !matches!(section.data, SectionData::SectionString)) {
        let names = builder.sections.add();
        names.name = ".shstrtab".into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}
