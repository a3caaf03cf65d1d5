//! Reading a BPF object: its programs with their sizes, its maps, its licence and its BTF.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use anyhow::{Context as _, Result, bail};
use object::{
    File, Object as _, ObjectSection as _, ObjectSymbol as _, SectionIndex, SectionKind, SymbolKind,
};

use super::stack::{Deepest, MOST, Stacks};

/// Bytes of one BPF instruction, `struct bpf_insn`; `lddw` counts as two.
const INSTRUCTION: u64 = 8;

/// Where the compiler puts functions that programs call; every other code section is a hook.
const SUBPROGRAMS: &str = ".text";

/// What is in a BPF object.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Programs by name.
    programs: BTreeMap<String, Program>,
    /// Names of the maps.
    maps: Vec<String>,
    /// The licence that the kernel reads to allow GPL-only helpers.
    licence: Option<String>,
    /// Type information of programs and maps; loading and verifier messages use it.
    has_btf: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Program {
    /// The section, which tells the loader the program type and hook.
    section: String,
    instructions: u64,
    /// What it and the functions that it calls keep on their stacks at most.
    stack: Deepest,
}

/// What must be in a BPF object.
pub struct Expected<'a> {
    /// Each program's name and section.
    pub programs: &'a [(&'a str, &'a str)],
    pub maps: &'a [&'a str],
}

impl Object {
    /// Reads an ELF file for the BPF machine.
    pub fn parse(data: &[u8]) -> Result<Self> {
        let file = File::parse(data).context("not an object file")?;
        if file.architecture() != object::Architecture::Bpf {
            bail!("made for {:?}, not for BPF", file.architecture());
        }
        let stacks = Stacks::of(&file)?;
        let mut object =
            Self { has_btf: file.section_by_name(".BTF").is_some(), ..Self::default() };
        if let Some(section) = file.section_by_name("license") {
            let text = section.data().context("section license")?;
            let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
            object.licence = Some(String::from_utf8_lossy(text).into_owned());
        }
        let sections: HashMap<SectionIndex, (&str, SectionKind)> = file
            .sections()
            .map(|section| Ok((section.index(), (section.name()?, section.kind()))))
            .collect::<object::Result<_>>()
            .context("section table")?;
        for symbol in file.symbols() {
            let name = symbol.name().context("symbol table")?;
            let Some(&(section, kind)) = symbol.section_index().and_then(|at| sections.get(&at))
            else {
                continue;
            };
            if kind == SectionKind::Text && symbol.kind() == SymbolKind::Text {
                if section == SUBPROGRAMS {
                    continue;
                }
                let instructions = symbol.size() / INSTRUCTION;
                let stack = stacks.deepest(name);
                let program = Program { section: section.to_owned(), instructions, stack };
                object.programs.insert(name.to_owned(), program);
            } else if matches!(section, "maps" | ".maps") && symbol.kind() == SymbolKind::Data {
                object.maps.push(name.to_owned());
            }
        }
        object.maps.sort_unstable();
        Ok(object)
    }

    /// Fails with every difference to what is expected.
    pub fn check(&self, expected: &Expected<'_>) -> Result<()> {
        let Self { programs, maps, licence, has_btf } = self;
        let mut wrong = Vec::new();
        for &(name, section) in expected.programs {
            match programs.get(name) {
                None => wrong.push(format!("program {name} is missing")),
                Some(Program { section: found, .. }) if found != section => {
                    wrong.push(format!("program {name} is in section {found}, not {section}"));
                }
                Some(Program { instructions: 0, .. }) => {
                    wrong.push(format!("program {name} is empty"));
                }
                Some(Program { stack: Deepest { bytes, way }, .. }) if *bytes > MOST => {
                    let way = way.iter().map(|(function, own)| format!("{function} {own}"));
                    let way = way.collect::<Vec<_>>().join(", ");
                    wrong.push(format!(
                        "program {name} keeps {bytes} bytes on its stack, as kernels before 6.8 round them: {way}; \
                         {MOST} are allowed"
                    ));
                }
                Some(_) => {}
            }
        }
        let unexpected = programs
            .keys()
            .filter(|name| !expected.programs.iter().any(|(expected, _)| expected == name));
        wrong.extend(unexpected.map(|name| format!("program {name} is not expected")));
        let missing = expected.maps.iter().filter(|name| !maps.iter().any(|map| map == *name));
        wrong.extend(missing.map(|name| format!("map {name} is missing")));
        let unexpected = maps.iter().filter(|map| !expected.maps.contains(&map.as_str()));
        wrong.extend(unexpected.map(|name| format!("map {name} is not expected")));
        match licence {
            None => wrong.push("no section license".to_owned()),
            Some(licence) if !is_gpl_compatible(licence) => {
                wrong.push(format!("licence {licence:?} bars GPL-only helpers"));
            }
            Some(_) => {}
        }
        if !has_btf {
            wrong.push("no section .BTF".to_owned());
        }
        if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
    }
}

/// The strings of the kernel's [`license_is_gpl_compatible`].
///
/// [`license_is_gpl_compatible`]: https://github.com/torvalds/linux/blob/v6.12/include/linux/license.h
fn is_gpl_compatible(licence: &str) -> bool {
    matches!(
        licence,
        "GPL"
            | "GPL v2"
            | "GPL and additional rights"
            | "Dual BSD/GPL"
            | "Dual MIT/GPL"
            | "Dual MPL/GPL"
    )
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { programs, maps, licence, has_btf } = self;
        let name_width = programs.keys().map(String::len).max().unwrap_or(0).max(7);
        let sections = programs.values().map(|program| program.section.len());
        let section_width = sections.max().unwrap_or(0).max(7);
        writeln!(
            f,
            "{:name_width$}  {:section_width$}  instructions  stack",
            "program", "section"
        )?;
        for (name, Program { section, instructions, stack: Deepest { bytes, .. } }) in programs {
            writeln!(
                f,
                "{name:name_width$}  {section:section_width$}  {instructions:>12}  {bytes:>5}"
            )?;
        }
        writeln!(f, "maps: {}", maps.join(", "))?;
        let licence = licence.as_deref().unwrap_or("none");
        writeln!(f, "licence: {licence}, BTF: {}", if *has_btf { "yes" } else { "no" })
    }
}

#[cfg(test)]
mod tests {
    use object::{
        Architecture, BinaryFormat, Endianness, SymbolFlags, SymbolScope,
        write::{Object as Writer, Symbol, SymbolSection},
    };

    use super::*;

    const EXPECTED: Expected<'static> =
        Expected { programs: &[("egress", "cgroup_skb/egress")], maps: &["RULES"] };

    fn elf(licence: &[u8], with_btf: bool) -> Vec<u8> {
        let mut elf = Writer::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        let mut add = |name: &str, section: &str, kind, symbol_kind, size: usize| {
            let section = elf.add_section(Vec::new(), section.into(), kind);
            elf.append_section_data(section, &vec![0; size], 8);
            elf.add_symbol(Symbol {
                name: name.into(),
                value: 0,
                size: size as u64,
                kind: symbol_kind,
                scope: SymbolScope::Linkage,
                weak: false,
                section: SymbolSection::Section(section),
                flags: SymbolFlags::None,
            });
        };
        add("egress", "cgroup_skb/egress", SectionKind::Text, SymbolKind::Text, 24);
        add("memcpy", ".text", SectionKind::Text, SymbolKind::Text, 16);
        add("RULES", "maps", SectionKind::Data, SymbolKind::Data, 32);
        let section = elf.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
        elf.append_section_data(section, licence, 1);
        if with_btf {
            elf.add_section(Vec::new(), b".BTF".to_vec(), SectionKind::Other);
        }
        elf.write().unwrap()
    }

    #[test]
    fn an_object_is_read_and_passes() {
        let object = Object::parse(&elf(b"Dual MIT/GPL\0", true)).unwrap();
        let stack = Deepest { bytes: 32, way: vec![("egress".to_owned(), 0)] };
        let program = Program { section: "cgroup_skb/egress".to_owned(), instructions: 3, stack };
        assert_eq!(object.programs, BTreeMap::from([("egress".to_owned(), program)]));
        assert_eq!(object.maps, ["RULES"]);
        object.check(&EXPECTED).unwrap();
    }

    #[test]
    fn every_difference_is_named() {
        let object = Object::parse(&elf(b"MIT\0", false)).unwrap();
        let expected = Expected {
            programs: &[("egress", "cgroup_skb/ingress"), ("connect4", "cgroup/connect4")],
            maps: &["LEDGER"],
        };
        let message = object.check(&expected).unwrap_err().to_string();
        let lines: Vec<&str> = message.lines().collect();
        assert_eq!(
            lines,
            [
                "program egress is in section cgroup_skb/egress, not cgroup_skb/ingress",
                "program connect4 is missing",
                "map LEDGER is missing",
                "map RULES is not expected",
                "licence \"MIT\" bars GPL-only helpers",
                "no section .BTF",
            ]
        );
    }

    #[test]
    fn a_stack_that_is_too_large_for_an_old_kernel_is_named() {
        let mut object = Object::parse(&elf(b"GPL\0", true)).unwrap();
        let program = object.programs.get_mut("egress").unwrap();
        program.stack =
            Deepest { bytes: 544, way: vec![("egress".to_owned(), 40), ("read".to_owned(), 456)] };
        let message = object.check(&EXPECTED).unwrap_err().to_string();
        assert_eq!(
            message,
            "program egress keeps 544 bytes on its stack, as kernels before 6.8 round them: egress 40, read 456; 512 are \
             allowed"
        );
    }

    #[test]
    fn a_program_of_no_table_is_named() {
        let object = Object::parse(&elf(b"GPL\0", true)).unwrap();
        let message = object.check(&Expected { programs: &[], maps: &["RULES"] }).unwrap_err();
        assert_eq!(message.to_string(), "program egress is not expected");
    }

    #[test]
    fn another_machine_is_refused() {
        let elf = Writer::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let message = Object::parse(&elf.write().unwrap()).unwrap_err().to_string();
        assert_eq!(message, "made for X86_64, not for BPF");
    }
}
